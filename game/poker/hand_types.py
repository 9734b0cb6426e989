"""Hand types that evaluate through phevaluator and rank masks, in the order that PokerKit defines.

PokerKit builds and looks up every five-card combination of each hand that it compares, 130 µs a
hand of hold'em and 500 µs one of Omaha. phevaluator ranks whole hands by table: 1 is the royal
flush, 7462 the worst seven-high, equal hands have equal numbers. Each type names the one of
PokerKit's that it stands for; `cardroom bench showdowns` holds the two together.
"""

from __future__ import annotations

from abc import abstractmethod
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import chain, combinations
from typing import ClassVar, Self, cast

from phevaluator.evaluator import evaluate_cards
from phevaluator.evaluator_omaha import evaluate_omaha_cards
from pokerkit import (
    Card,
    CardsLike,
    Deck,
    Hand,
    OmahaEightOrBetterLowHand,
    OmahaHoldemHand,
    ShortDeckHoldemHand,
    StandardHighHand,
)

Cards = tuple[Card, ...]

_NUMBERS = {card: number for number, card in enumerate(Deck.STANDARD)}
"""phevaluator numbers cards by rank, then by suit (clubs first): the order of PokerKit's deck."""

_LOW_BITS = (*(2 << rank for rank in range(7)), *[0] * 5, 1)
"""By rank, deuce to ace, its bit in the mask of a low: the ace lowest; 0 for ranks above eight."""
_LOW_NAMES = {5: "five low", 6: "six low", 7: "seven low", 8: "eight low"}

_CLASSES = (
    (10, "straight flush"),
    (166, "four of a kind"),
    (322, "full house"),
    (1599, "flush"),
    (1609, "straight"),
    (2467, "three of a kind"),
    (3325, "two pair"),
    (6185, "one pair"),
    (7462, "high card"),
)
"""The weakest of phevaluator's ranks in each class, strongest class first, and its name."""

_FULL_HOUSES = _CLASSES[2][0] - _CLASSES[1][0]
_FLUSHES = _CLASSES[3][0] - _CLASSES[2][0]
"""How many ranks each of these classes has; in short deck they change places."""
_SHORT_DECK_CLASSES = (
    *_CLASSES[:2],
    (_CLASSES[1][0] + _FLUSHES, "flush"),
    (_CLASSES[3][0], "full house"),
    *_CLASSES[4:],
)
_NINE_HIGH_STRAIGHT_FLUSH = 6
_NINE_HIGH_STRAIGHT = 1605
"""phevaluator's ranks of 5-6-7-8-9."""
_SIX = min(_NUMBERS[card] for card in Deck.SHORT_DECK_HOLDEM)
_WHEEL = frozenset(_NUMBERS[card] // 4 for card in Card.parse("Ac6c7c8c9c"))


class FastHand(Hand):
    """A hand that is known by one number; the five cards are looked for only when asked.

    Orders exactly as its `reference`, one of PokerKit's own types.

    Args:
        cards: five known cards.

    Raises:
        ValueError: if these are not five known cards that make a hand of this type.
    """

    reference: ClassVar[type[Hand]]
    low = False
    """For PokerKit: what is greater is stronger, in low hands too."""
    strength: int
    """Greater is stronger; equal for hands that tie. Comparable within one type only."""

    def __init__(self, cards: CardsLike) -> None:
        five = Card.clean(cards)
        if len(five) != 5:
            raise ValueError(f"a hand has five cards, not {len(five)}")
        self._made_of: tuple[Cards, Cards] | None = None
        self._five = five
        self.strength = _made(self._of_five(five))

    @classmethod
    def from_game(cls, hole_cards: CardsLike, board_cards: CardsLike = ()) -> Self:
        """Find the best hand of hole and board cards.

        Raises:
            ValueError: if they make none, or if one is unknown.
        """
        hand = cls.__new__(cls)
        hole, board = Card.clean(hole_cards), Card.clean(board_cards)
        hand._made_of = hole, board
        hand.strength = _made(cls._of_game(hole, board))
        return hand

    @property
    def cards(self) -> Cards:
        """The five cards that make the hand."""
        if self._made_of is None:
            return self._five
        return next(
            five for five in self._fives(*self._made_of) if self._of_five(five) == self.strength
        )

    @property
    @abstractmethod
    def name(self) -> str:
        """The class of the hand in English words, such as ``two pair``."""

    @classmethod
    @abstractmethod
    def _of_five(cls, five: Cards) -> int | None:
        """Compute `strength` of five cards, None where they make no hand of this type."""

    @classmethod
    @abstractmethod
    def _of_game(cls, hole: Cards, board: Cards) -> int | None:
        """Compute `strength` of the best five, None where there is no hand of this type."""

    @classmethod
    def _fives(cls, hole: Cards, board: Cards) -> Iterator[Cards]:
        """List which five cards may make a hand."""
        yield from combinations(chain(hole, board), 5)

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self.strength == other.strength

    def __hash__(self) -> int:
        return hash(self.strength)

    def __lt__(self, other: Hand) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self.strength < other.strength

    def __le__(self, other: Hand) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self.strength <= other.strength

    def __gt__(self, other: Hand) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self.strength > other.strength

    def __ge__(self, other: Hand) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self.strength >= other.strength


class HighHand(FastHand):
    """The best high hand of five to seven cards, hole and board used in any way."""

    reference: ClassVar[type[Hand]] = StandardHighHand
    lookup = StandardHighHand.lookup
    classes: ClassVar[tuple[tuple[int, str], ...]] = _CLASSES
    """The weakest rank (`strength` without its sign) in each class, and its name."""

    @property
    def name(self) -> str:
        """The class of the hand in English words, such as ``two pair``."""
        return self.classes[bisect_left(self.classes, (-self.strength,))][1]

    @classmethod
    def _of_five(cls, five: Cards) -> int:
        return -cls._rank(_numbers(five))

    @classmethod
    def _of_game(cls, hole: Cards, board: Cards) -> int | None:
        return -cls._rank(_numbers((*hole, *board)))

    @classmethod
    def _rank(cls, numbers: list[int]) -> int:
        return cast(int, evaluate_cards(*numbers))


class OmahaHighHand(HighHand):
    """The best high hand of two hole cards and three of the board."""

    reference: ClassVar[type[Hand]] = OmahaHoldemHand
    lookup = OmahaHoldemHand.lookup

    @classmethod
    def _of_game(cls, hole: Cards, board: Cards) -> int | None:
        if (len(hole), len(board)) == (4, 5):
            return -cast(int, evaluate_omaha_cards(*_numbers((*board, *hole))))
        # phevaluator's tables are for a whole board and four hole cards.
        return max(map(cls._of_five, cls._fives(hole, board)), default=None)

    @classmethod
    def _fives(cls, hole: Cards, board: Cards) -> Iterator[Cards]:
        return _two_and_three(hole, board)


class ShortDeckHand(HighHand):
    """The best hand of five to seven cards from six to ace: flushes beat full houses.

    The ace also counts below the six. A-6-7-8-9 is a nine-high straight, and nothing else can be
    one in this deck, so it takes that straight's place among phevaluator's ranks. No seven cards
    hold a flush and a full house, or a straight and a full house, so the best class by standard
    rules is the best one here.
    """

    reference: ClassVar[type[Hand]] = ShortDeckHoldemHand
    lookup = ShortDeckHoldemHand.lookup
    classes = _SHORT_DECK_CLASSES

    @classmethod
    def _rank(cls, numbers: list[int]) -> int:
        if min(numbers) < _SIX:
            raise ValueError("a card below six is not in this deck")
        rank = super()._rank(numbers)
        quads, full_houses, flushes, straights = (worst for worst, _ in _CLASSES[1:5])
        if full_houses < rank <= flushes:
            if any(_wheel(number for number in numbers if number % 4 == suit) for suit in range(4)):
                return _NINE_HIGH_STRAIGHT_FLUSH
            return rank - _FULL_HOUSES
        if quads < rank <= full_houses:
            return rank + _FLUSHES
        if rank > straights and _wheel(numbers):
            return _NINE_HIGH_STRAIGHT
        return rank


class OmahaLowHand(FastHand):
    """The best eight-or-better low of two hole cards and three of the board; aces are low.

    It needs five different ranks from eight down; straights and flushes do not count. As a mask of
    ranks the better of two lows is the smaller number.
    """

    reference: ClassVar[type[Hand]] = OmahaEightOrBetterLowHand
    lookup = OmahaEightOrBetterLowHand.lookup

    @property
    def name(self) -> str:
        """The hand's highest card, such as ``eight low``."""
        return _LOW_NAMES[(-self.strength).bit_length()]

    @classmethod
    def _of_five(cls, five: Cards) -> int | None:
        mask = _low_mask(five)
        return -mask if mask.bit_count() == 5 else None

    @classmethod
    def _of_game(cls, hole: Cards, board: Cards) -> int | None:
        best = _best_low(_low_mask(hole), _low_mask(board))
        return None if best is None else -best

    @classmethod
    def _fives(cls, hole: Cards, board: Cards) -> Iterator[Cards]:
        return _two_and_three(hole, board)


def _made(strength: int | None) -> int:
    if strength is None:
        raise ValueError("these cards make no hand of this type")
    return strength


def _numbers(cards: Iterable[Card]) -> list[int]:
    try:
        return [_NUMBERS[card] for card in cards]
    except KeyError:
        raise ValueError("an unknown card has no rank") from None


def _two_and_three(hole: Cards, board: Cards) -> Iterator[Cards]:
    for two in combinations(hole, 2):
        for three in combinations(board, 3):
            yield two + three


def _wheel(numbers: Iterable[int]) -> bool:
    return _WHEEL.issubset(number // 4 for number in numbers)


def _low_mask(cards: Iterable[Card]) -> int:
    mask = 0
    for number in _numbers(cards):
        mask |= _LOW_BITS[number // 4]
    return mask


@cache
def _best_low(hole: int, board: int) -> int | None:
    """Find the smallest mask of two bits of `hole` and three of `board`, five together."""
    lows = (
        sum(two) + sum(three)
        for two in combinations(_bits(hole), 2)
        for three in combinations(_bits(board), 3)
        if not sum(two) & sum(three)
    )
    return min(lows, default=None)


def _bits(mask: int) -> list[int]:
    return [bit for bit in (1 << place for place in range(8)) if mask & bit]
