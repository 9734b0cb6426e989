"""Our hand types order and name hands as PokerKit's own do."""

import random
from collections.abc import Callable
from itertools import combinations, pairwise

import pytest
from pokerkit import Card, Deck, Hand, StandardHighHand

from bench.showdowns import Difference, compare, name_of
from game.poker.hand_types import (
    FastHand,
    HighHand,
    OmahaHighHand,
    OmahaLowHand,
    ShortDeckHand,
)
from game.poker.variants import VARIANTS

EXAMPLES = {
    "straight flush": "AsKsQsJsTs",
    "four of a kind": "7s7h7d7cAs",
    "full house": "2s2h2dAcAs",
    "flush": "2s4s6s8sTs",
    "straight": "As2h3d4c5s",
    "three of a kind": "9s9h9d2c3s",
    "two pair": "3s3h2d2c4s",
    "one pair": "2s2h3d4c5s",
    "high card": "2s3h4d5c7s",
}


SHORT_DECK_EXAMPLES = {
    "straight flush": "Ac6c7c8c9c",
    "four of a kind": "7s7h7d7cAs",
    "flush": "6s8s9sTsQs",
    "full house": "6s6h6dAcAs",
    "straight": "As6h7d8c9s",
    "three of a kind": "9s9h9d6c7s",
    "two pair": "7s7h6d6c8s",
    "one pair": "6s6h7d8cTs",
    "high card": "6s7h8d9cJs",
}
LOW_EXAMPLES = {
    "five low": "As2h3d4c5s",
    "six low": "6s5s4s3s2s",
    "seven low": "7sAs2s3s6s",
    "eight low": "8s7s6s5s4s",
}
DEALT: list[tuple[type[FastHand], int]] = [
    (HighHand, 2),
    (OmahaHighHand, 4),
    (OmahaLowHand, 4),
    (ShortDeckHand, 2),
]


def deals(
    kind: type[FastHand], hole: int, board: int, count: int, seed: int
) -> list[tuple[tuple[Card, ...], tuple[Card, ...]]]:
    """Hole cards and a board, from one shuffled deck each."""
    rng = random.Random(seed)
    deck = Deck.SHORT_DECK_HOLDEM if kind is ShortDeckHand else Deck.STANDARD
    drawn = [rng.sample(deck, hole + board) for _ in range(count)]
    return [(tuple(cards[:hole]), tuple(cards[hole:])) for cards in drawn]


@pytest.mark.parametrize(("kind", "hole"), DEALT)
@pytest.mark.parametrize(
    ("board", "count", "seed"), [(5, 1_500, 1), (5, 1_500, 2), (4, 400, 3), (3, 400, 4)]
)
def test_hands_order_and_name_as_pokerkits_own(
    kind: type[FastHand], hole: int, board: int, count: int, seed: int
) -> None:
    ours: list[FastHand] = []
    theirs: list[Hand] = []
    for cards in deals(kind, hole, board, count, seed):
        our, their = kind.from_game_or_none(*cards), kind.reference.from_game_or_none(*cards)
        assert (our is None) == (their is None)
        if isinstance(our, FastHand) and their is not None:
            ours.append(our)
            theirs.append(their)
    assert len(ours) > count / 50, "some lows at least"
    for our, their in zip(ours, theirs, strict=True):
        assert our.name == name_of(their)
    # One order of all hands: neighbours in it compare alike on both sides.
    for a, b in pairwise(sorted(range(len(ours)), key=lambda i: theirs[i])):
        assert (ours[a] < ours[b]) == (theirs[a] < theirs[b])
        assert (ours[a] == ours[b]) == (theirs[a] == theirs[b])
        assert (hash(ours[a]) == hash(ours[b])) == (theirs[a] == theirs[b])
        assert ours[a] <= ours[b]
        assert ours[b] >= ours[a]
        assert not ours[a] > ours[b]


@pytest.mark.parametrize("variant", VARIANTS)
def test_random_showdowns_come_out_as_with_pokerkits_own_types(variant: str) -> None:
    compared = compare(variant, 800, seed=5)
    assert compared.hands == 1_600 * len(VARIANTS[variant].hand_types)
    assert compared.ties > 5


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_hand_that_is_another_one_is_noticed(
    variant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for kind in VARIANTS[variant].hand_types:
        right = kind.from_game_or_none

        def careless(
            hole: tuple[Card, ...],
            board: tuple[Card, ...],
            right: Callable[..., Hand | None] = right,
        ) -> Hand | None:
            return right(hole, [*board[:4], hole[0]])

        monkeypatch.setattr(kind, "from_game_or_none", careless)
        with pytest.raises(Difference, match=kind.__name__):
            compare(variant, 200, seed=5)
        monkeypatch.undo()


@pytest.mark.parametrize(("kind", "hole"), DEALT)
def test_five_cards_make_the_hand(kind: type[FastHand], hole: int) -> None:
    for cards in deals(kind, hole, 5, 150, seed=3):
        hand = kind.from_game_or_none(*cards)
        if hand is None:
            continue
        assert len(hand.cards) == len(set(hand.cards)) == 5
        assert set(hand.cards) <= {*cards[0], *cards[1]}
        assert kind(hand.cards) == hand
        assert kind(hand.cards).cards == hand.cards
        assert hand.entry == kind.reference.from_game(*cards).entry
        if kind in (OmahaHighHand, OmahaLowHand):
            assert len(set(hand.cards) & set(cards[0])) == 2


@pytest.mark.parametrize(
    ("kind", "examples"),
    [(HighHand, EXAMPLES), (ShortDeckHand, SHORT_DECK_EXAMPLES), (OmahaLowHand, LOW_EXAMPLES)],
)
def test_each_class_beats_the_next(kind: type[FastHand], examples: dict[str, str]) -> None:
    hands = [kind(cards) for cards in examples.values()]
    assert [hand.name for hand in hands] == list(examples)
    for better, worse in combinations(hands, 2):
        assert better > worse


@pytest.mark.parametrize("board", ["2c3c", "2c3c4c5c6c7c", "2c3c????"])
def test_other_than_five_to_seven_known_cards_are_no_hand(board: str) -> None:
    assert HighHand.from_game_or_none("AsAh", board) is None


@pytest.mark.parametrize("board", ["2c3c", "2c3c4d5dKc", "2c3c9dTdKc"])
def test_no_low_is_no_hand(board: str) -> None:
    assert OmahaLowHand.from_game_or_none("2s3h4h4s", board) is None


@pytest.mark.parametrize("kind", [OmahaHighHand, OmahaLowHand])
def test_unknown_cards_are_no_omaha_hand(kind: type[FastHand]) -> None:
    assert kind.from_game_or_none("As2h??Kh", "3c4c5d9dTs") is None


def test_a_card_below_six_is_in_no_short_deck_hand() -> None:
    assert ShortDeckHand.from_game_or_none("AsAh", "5c6c7c8c9c") is None


def test_a_hand_is_not_made_of_six_cards() -> None:
    with pytest.raises(ValueError, match="five cards"):
        HighHand("2s4s6s8sTsQs")


@pytest.mark.parametrize("other", [StandardHighHand, OmahaHighHand])
def test_hands_of_other_types_do_not_compare(other: type[Hand]) -> None:
    ours, theirs = HighHand("2s4s6s8sTs"), other("2s4s6s8sTs")
    assert ours != theirs
    for how in ("__lt__", "__le__", "__gt__", "__ge__"):
        assert getattr(ours, how)(theirs) is NotImplemented
