"""`cardroom bench decisions` plays every variant, with PokerKit's hand types and with ours."""

import pytest

from bench.decisions import KINDS, PLAYERS, measure, with_plain_types
from game.poker.cards import parse
from game.poker.variants import VARIANTS
from tests.support.hands import shuffled_deck

COUNT = 12


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_same_hands_are_played_with_both_kinds_of_types(variant: str) -> None:
    for times in measure(variant, COUNT, seed=1):
        assert set(times) <= set(KINDS)
        assert len(times["action"]) > COUNT * PLAYERS
        assert len(times["street"]) >= COUNT
        assert len(times["showdown"]) + len(times["last fold"]) == COUNT
        assert times["showdown"]
        assert min(times["showdown"]) > 0


@pytest.mark.parametrize("variant", VARIANTS)
def test_pokerkits_types_name_hands_as_ours_do(variant: str) -> None:
    rules = VARIANTS[variant]
    plain = with_plain_types(rules)
    assert plain.hand_types == tuple(kind.reference for kind in rules.hand_types)
    for seed in range(20):
        deck = parse(shuffled_deck(seed, variant))
        hole, board = deck[: rules.hole_cards], deck[-5:]
        assert plain.rank(hole, board) == rules.rank(hole, board)
