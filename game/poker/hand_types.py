"""Hand types that evaluate through phevaluator, in the order that PokerKit defines.

PokerKit builds and looks up every five-card combination of each hand that it compares, about
150 µs a hand. phevaluator ranks all seven cards by table: 1 is the royal flush, 7462 the worst
seven-high, equal hands have equal numbers. `tests/unit/test_hand_types.py` holds the two together.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from itertools import chain, combinations
from typing import cast

from phevaluator.evaluator import evaluate_cards
from pokerkit import Card, CardsLike, Deck, Hand, StandardHighHand

_NUMBERS = {card: number for number, card in enumerate(Deck.STANDARD)}
"""phevaluator numbers cards by rank, then by suit (clubs first): the order of PokerKit's deck."""

_WORST_RANKS = (10, 166, 322, 1599, 1609, 2467, 3325, 6185, 7462)
"""The weakest rank of each class below, of the 7462 distinct five-card hands."""

_CLASS_NAMES = (
    "straight flush",
    "four of a kind",
    "full house",
    "flush",
    "straight",
    "three of a kind",
    "two pair",
    "one pair",
    "high card",
)


def _evaluate(cards: Iterable[Card]) -> int:
    try:
        return cast(int, evaluate_cards(*[_NUMBERS[card] for card in cards]))
    except KeyError:
        raise ValueError("an unknown card has no rank") from None


class HighHand(Hand):
    """The best five-card high hand of five to seven cards, hole and board used in any way.

    Orders exactly as `pokerkit.StandardHighHand`; the five cards are looked for only when asked.

    Args:
        cards: five known cards.

    Raises:
        ValueError: if these are not five known cards.
    """

    lookup = StandardHighHand.lookup
    low = False

    def __init__(self, cards: CardsLike) -> None:
        candidates = Card.clean(cards)
        if len(candidates) != 5:
            raise ValueError(f"a hand has five cards, not {len(candidates)}")
        self._candidates: tuple[Card, ...] = candidates
        self.strength = -_evaluate(candidates)

    @classmethod
    def from_game(cls, hole_cards: CardsLike, board_cards: CardsLike = ()) -> HighHand:
        """Find the best hand of hole and board cards, five to seven together.

        Raises:
            ValueError: if there are fewer or more, or if one is unknown.
        """
        hand = cls.__new__(cls)
        hand._candidates = tuple(chain(Card.clean(hole_cards), Card.clean(board_cards)))
        hand.strength = -_evaluate(hand._candidates)
        return hand

    @property
    def cards(self) -> tuple[Card, ...]:
        """The five cards that make the hand."""
        for five in combinations(self._candidates, 5):
            if -_evaluate(five) == self.strength:
                return five
        raise AssertionError("no five cards are as strong as all of them")

    @property
    def name(self) -> str:
        """The class of the hand in English words, such as ``two pair``."""
        return _CLASS_NAMES[bisect_left(_WORST_RANKS, -self.strength)]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, HighHand):
            return NotImplemented
        return self.strength == other.strength

    def __hash__(self) -> int:
        return hash(self.strength)

    def __lt__(self, other: Hand) -> bool:
        if not isinstance(other, HighHand):
            return NotImplemented
        return self.strength < other.strength

    def __le__(self, other: Hand) -> bool:
        if not isinstance(other, HighHand):
            return NotImplemented
        return self.strength <= other.strength

    def __gt__(self, other: Hand) -> bool:
        if not isinstance(other, HighHand):
            return NotImplemented
        return self.strength > other.strength

    def __ge__(self, other: Hand) -> bool:
        if not isinstance(other, HighHand):
            return NotImplemented
        return self.strength >= other.strength
