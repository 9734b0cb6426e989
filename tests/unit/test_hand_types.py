"""Our hand type orders and names hands as PokerKit's own does."""

import random
from itertools import combinations, pairwise

import pytest
from pokerkit import Card, Deck, StandardHighHand

from game.poker.hand_types import HighHand

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


def deals(count: int, size: int, seed: int) -> list[tuple[tuple[Card, ...], tuple[Card, ...]]]:
    """Hole cards and a board of `size` cards, from one shuffled deck each."""
    rng = random.Random(seed)
    drawn = [rng.sample(Deck.STANDARD, 2 + size) for _ in range(count)]
    return [(tuple(cards[:2]), tuple(cards[2:])) for cards in drawn]


@pytest.mark.parametrize(
    ("size", "count", "seed"),
    [(5, 10_000, 1), (5, 10_000, 2), (4, 2_000, 3), (3, 2_000, 4)],
)
def test_hands_order_and_name_as_pokerkits_own(size: int, count: int, seed: int) -> None:
    ours = []
    theirs = []
    for hole, board in deals(count, size, seed):
        ours.append(HighHand.from_game(hole, board))
        theirs.append(StandardHighHand.from_game(hole, board))
    for our, their in zip(ours, theirs, strict=True):
        assert our.name == their.entry.label.value.lower()
    # One order of all hands: neighbours in it compare alike on both sides.
    order = sorted(range(count), key=lambda i: theirs[i].entry.index)
    for a, b in pairwise(order):
        assert (ours[a] < ours[b]) == (theirs[a] < theirs[b])
        assert (ours[a] == ours[b]) == (theirs[a] == theirs[b])
        assert ours[a] <= ours[b]
        assert ours[b] >= ours[a]
        assert not ours[a] > ours[b]


def test_random_pairs_compare_as_pokerkits_own() -> None:
    for (hole, board), (other, _) in pairwise(deals(2_000, 5, seed=11)):
        if {*other} & {*hole, *board}:
            continue
        ours = HighHand.from_game(hole, board), HighHand.from_game(other, board)
        theirs = StandardHighHand.from_game(hole, board), StandardHighHand.from_game(other, board)
        assert (ours[0] < ours[1]) == (theirs[0] < theirs[1])
        assert (ours[0] >= ours[1]) == (theirs[0] >= theirs[1])
        assert (hash(ours[0]) == hash(ours[1])) == (theirs[0] == theirs[1])


def test_five_cards_make_the_hand() -> None:
    for hole, board in deals(200, 5, seed=3):
        hand = HighHand.from_game(hole, board)
        assert set(hand.cards) <= {*hole, *board}
        assert HighHand(hand.cards) == hand
        assert hand.entry == StandardHighHand.from_game(hole, board).entry


def test_each_class_beats_the_next() -> None:
    hands = [HighHand(cards) for cards in EXAMPLES.values()]
    assert [hand.name for hand in hands] == list(EXAMPLES)
    for better, worse in combinations(hands, 2):
        assert better > worse


@pytest.mark.parametrize("board", ["2c3c", "2c3c4c5c6c7c", "2c3c????"])
def test_other_than_five_to_seven_known_cards_are_no_hand(board: str) -> None:
    assert HighHand.from_game_or_none("AsAh", board) is None


def test_a_hand_is_not_made_of_six_cards() -> None:
    with pytest.raises(ValueError, match="five cards"):
        HighHand("2s4s6s8sTsQs")


def test_hands_of_other_types_do_not_compare() -> None:
    ours, theirs = HighHand("2s4s6s8sTs"), StandardHighHand("2s4s6s8sTs")
    assert ours != theirs
    for compare in ("__lt__", "__le__", "__gt__", "__ge__"):
        assert getattr(ours, compare)(theirs) is NotImplemented
