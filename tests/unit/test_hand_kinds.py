"""Antes by one player for all, straddles and bomb pots, by example.

Hands have blinds of 50 and 100; the player at dealing position ``i`` sits in seat ``9 - i``.
"""

import pytest

from game.poker.hand import Hand
from game.poker.variants import VARIANTS
from protocol.errors import Refused
from protocol.events import PotDistributed, PublicEvent, StreetAdvanced
from protocol.values import ActionName, AnteKind, Posted, PotAward, PotShare
from protocol.views import PotView
from tests.support.hands import make_setup, rigged_deck

BOARD = "2c7d9hJsQd"


def play(hand: Hand, *actions: tuple[int, ActionName, int | None]) -> list[PublicEvent]:
    events = hand.opening()
    for seat, action, amount in actions:
        events += hand.act(seat, action, amount)[1]
    return events


def pots_of(events: list[PublicEvent]) -> list[PotAward]:
    distributed = events[-1]
    assert isinstance(distributed, PotDistributed)
    return distributed.pots


# Antes


@pytest.mark.parametrize(
    ("kind", "posted"),
    [
        ("all", [Posted(9, 25, 50), Posted(8, 25, 100), Posted(7, 25, 0)]),
        ("big_blind", [Posted(9, 0, 50), Posted(8, 25, 100)]),
        ("button", [Posted(9, 0, 50), Posted(8, 0, 100), Posted(7, 25, 0)]),
    ],
)
def test_the_ante_is_posted_by_whom_the_setting_says(kind: AnteKind, posted: list[Posted]) -> None:
    hand = Hand.start(make_setup([1_000, 1_000, 1_000], ante=25, ante_kind=kind))
    started = hand.started()
    assert (started.ante, started.ante_kind, started.posted) == (25, kind, posted)
    assert hand.pot == sum(one.ante + one.bet for one in posted)
    assert hand.actor_seat == 7
    assert hand.legal().call_amount == 100, "an ante is no bet"


@pytest.mark.parametrize(
    ("kind", "posted"),
    [
        ("big_blind", [Posted(9, 0, 50), Posted(8, 25, 100)]),
        ("button", [Posted(9, 25, 50), Posted(8, 0, 100)]),
    ],
)
def test_heads_up_the_button_is_the_small_blind(kind: AnteKind, posted: list[Posted]) -> None:
    hand = Hand.start(make_setup([1_000, 1_000], ante=25, ante_kind=kind))
    assert hand.setup.button_seat == 9
    assert hand.started().posted == posted


def test_an_ante_for_all_need_not_be_matched_and_stays_in_the_pot() -> None:
    hand = Hand.start(make_setup([1_000, 1_000, 1_000], ante=300, ante_kind="big_blind"))
    events = play(hand, (7, "FOLD", None), (9, "FOLD", None))
    # 300 and what of the big blind the small one matched; the rest of it goes back.
    assert pots_of(events) == [PotAward(400, 0, [PotShare(8, 400)])]
    assert hand.chips() == {9: 950, 8: 1_050, 7: 1_000}


def test_whoever_antes_the_whole_stack_for_all_plays_for_the_ante_alone() -> None:
    deck = rigged_deck(["KhKd", "AhAd", "ThTs"], BOARD)
    hand = Hand.start(make_setup([1_000, 60, 1_000], ante=80, ante_kind="big_blind", deck=deck))
    assert hand.started().posted == [Posted(9, 0, 50), Posted(8, 60, 0)]
    assert hand.pots == [PotView(60, [9, 8, 7]), PotView(50, [9, 7])]
    events = play(hand, (7, "CALL", None), (9, "CHECK", None), (9, "CHECK", None))
    events += play(hand, (7, "CHECK", None), (9, "CHECK", None), (7, "CHECK", None))
    events += play(hand, (9, "CHECK", None), (7, "CHECK", None))
    assert pots_of(events) == [
        PotAward(60, 0, [PotShare(8, 60)]),
        PotAward(100, 0, [PotShare(9, 100)]),
    ]


def test_short_antes_of_all_make_side_pots() -> None:
    deck = rigged_deck(["QhQs", "KhKd", "AhAd"], BOARD)
    hand = Hand.start(make_setup([1_000, 1_000, 40], ante=100, deck=deck))
    assert hand.started().posted == [Posted(9, 100, 50), Posted(8, 100, 100), Posted(7, 40, 0)]
    assert hand.pots == [PotView(120, [9, 8, 7]), PotView(270, [9, 8])]


# Straddles


def test_the_straddler_posts_blind_and_acts_last_before_the_flop() -> None:
    hand = Hand.start(make_setup([1_000] * 4, straddle=200))
    started = hand.started()
    assert (started.straddle, started.straddle_seat) == (200, 7)
    assert started.posted == [Posted(9, 0, 50), Posted(8, 0, 100), Posted(7, 0, 200)]
    assert hand.actor_seat == 6
    legal = hand.legal()
    assert (legal.call_amount, legal.min_raise_to) == (200, 300)
    play(hand, (6, "CALL", None), (9, "CALL", None), (8, "CALL", None))
    assert hand.actor_seat == 7
    assert hand.legal().can_check
    assert hand.legal().min_raise_to == 300
    play(hand, (7, "CHECK", None))
    assert (hand.phase, hand.actor_seat) == ("flop", 9)


def test_with_three_players_the_button_straddles() -> None:
    hand = Hand.start(make_setup([1_000] * 3, straddle=250))
    assert hand.started().straddle_seat == hand.setup.button_seat
    assert hand.actor_seat == 9


def test_a_straddle_goes_as_far_as_the_stack() -> None:
    hand = Hand.start(make_setup([1_000, 1_000, 130, 1_000], straddle=200))
    assert hand.started().posted[2] == Posted(7, 0, 130)
    assert hand.actor_seat == 6
    assert hand.legal().call_amount == 130
    play(hand, (6, "CALL", None), (9, "CALL", None), (8, "CALL", None))
    assert (hand.phase, hand.actor_seat) == ("flop", 9)


# Bomb pots


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_bomb_pot_begins_on_the_flop_without_blinds(variant: str) -> None:
    hand = Hand.start(make_setup([1_000] * 3, variant=variant, ante=300, bomb_pot=True))
    started = hand.started()
    assert started.bomb_pot
    assert (started.small_blind, started.big_blind, started.ante) == (0, 0, 300)
    assert started.posted == [Posted(9, 300, 0), Posted(8, 300, 0), Posted(7, 300, 0)]
    each = VARIANTS[variant].hole_cards
    deck = hand.setup.deck
    assert hand.hole_cards(8) == [deck[1 + 3 * i] for i in range(each)]
    (flop,) = hand.opening()
    assert isinstance(flop, StreetAdvanced)
    assert (flop.street, flop.pot) == ("flop", 900)
    # A card is burnt as ever.
    assert flop.board == hand.board == list(deck[3 * each + 1 : 3 * each + 4])
    assert (hand.phase, hand.actor_seat, hand.current_bet) == ("flop", 9, 0)
    legal = hand.legal()
    assert (legal.can_check, legal.min_raise_to) == (True, 100)


def test_betting_in_a_bomb_pot_opens_left_of_the_button_heads_up_too() -> None:
    hand = Hand.start(make_setup([1_000, 1_000], ante=300, bomb_pot=True))
    assert hand.setup.button_seat == 9
    assert hand.actor_seat == 8


def test_a_bomb_pot_is_raked_even_when_all_fold() -> None:
    setup = make_setup([1_000] * 3, ante=300, bomb_pot=True, rake_basis_points=500)
    hand = Hand.start(setup)
    events = play(hand, (9, "BET", 400), (8, "FOLD", None), (7, "FOLD", None))
    assert pots_of(events) == [PotAward(900, 45, [PotShare(9, 855)])]


def test_players_whom_the_bomb_pot_takes_all_in_see_the_board_out() -> None:
    deck = rigged_deck(["ThTs", "KhKd", "AhAd"], BOARD)
    hand = Hand.start(make_setup([300, 200, 100], ante=300, bomb_pot=True, deck=deck))
    assert hand.finished
    assert [e.street for e in hand.opening() if isinstance(e, StreetAdvanced)] == [
        "flop",
        "turn",
        "river",
    ]
    # Of the largest ante, what nobody could match went back.
    assert hand.started().posted == [Posted(9, 200, 0), Posted(8, 200, 0), Posted(7, 100, 0)]
    assert pots_of(hand.opening()) == [
        PotAward(300, 0, [PotShare(7, 300)]),
        PotAward(200, 0, [PotShare(8, 200)]),
    ]
    assert hand.chips() == {9: 100, 8: 200, 7: 300}


def test_streets_of_a_bomb_pot_go_on_as_ever() -> None:
    hand = Hand.start(make_setup([1_000] * 3, ante=300, bomb_pot=True))
    play(hand, (9, "CHECK", None), (8, "CHECK", None))
    with pytest.raises(Refused):
        hand.act(8, "CHECK", None)
    play(hand, (7, "CHECK", None))
    assert (hand.phase, len(hand.board)) == ("turn", 4)
