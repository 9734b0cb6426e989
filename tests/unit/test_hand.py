"""One hand, rule by rule; and the hands that people played."""

import random

import msgspec
import pytest

from bench.recorded_hands import RecordedHand, recorded_hands
from game.poker.hand import Hand, ReplayMismatch, TakenAction
from protocol.errors import ErrorCode, Refused
from protocol.events import (
    PlayerAction,
    PotDistributed,
    PublicEvent,
    Showdown,
    StreetAdvanced,
)
from protocol.values import (
    ActionName,
    DealtIn,
    LegalActions,
    PotAward,
    PotShare,
    SeatStack,
    ShownHand,
    Winner,
)
from protocol.views import PotView
from tests.support.hands import (
    DECK,
    choose,
    make_setup,
    public_state,
    rigged_deck,
    shuffled_deck,
)

RECORDED = recorded_hands()
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


def refusal(hand: Hand, seat: int, action: ActionName, amount: int | None = None) -> Refused:
    before = public_state(hand)
    with pytest.raises(Refused) as refused:
        hand.act(seat, action, amount)
    assert public_state(hand) == before
    return refused.value


# Recorded hands


@pytest.mark.parametrize("recorded", RECORDED, ids=lambda hand: hand.name)
def test_a_recorded_hand_ends_as_it_did(recorded: RecordedHand) -> None:
    seats = tuple(
        DealtIn(player, f"p{player + 1}", recorded.stacks[player])
        for player in recorded.dealing_order
    )
    setup = msgspec.structs.replace(
        make_setup([1, 1], small_blind=recorded.small_blind, big_blind=recorded.big_blind),
        ante=recorded.ante,
        seats=seats,
        deck=recorded.deck,
    )
    hand = Hand.start(setup)
    play(hand, *recorded.actions)
    assert hand.finished
    stacks = hand.chips()
    assert tuple(stacks[i] for i in range(len(stacks))) == recorded.final_stacks
    assert tuple(hand.board) == recorded.board
    for player in recorded.dealing_order:
        shown = recorded.shown.get(player)
        assert hand.shown(player) == (None if shown is None else list(shown))


def test_recorded_decks_are_whole_and_always_the_same() -> None:
    assert len(RECORDED) == 12
    assert recorded_hands() == RECORDED
    for recorded in RECORDED:
        assert sorted(recorded.deck) == sorted(DECK)


# Dealing and posting


def test_cards_go_round_from_the_small_blind() -> None:
    hand = Hand.start(make_setup([1_000] * 3, deck=DECK))
    assert [hand.hole_cards(seat) for seat in (9, 8, 7)] == [
        [DECK[0], DECK[3]],
        [DECK[1], DECK[4]],
        [DECK[2], DECK[5]],
    ]
    assert hand.dealt(8).hole_cards == [DECK[1], DECK[4]]
    play(hand, (7, "CALL", None), (9, "CALL", None), (8, "CHECK", None))
    assert hand.board == list(DECK[7:10])


def test_heads_up_the_button_posts_small_is_dealt_first_and_acts_first_before_the_flop() -> None:
    hand = Hand.start(make_setup([1_000, 2_000], deck=DECK))
    started = hand.started()
    assert (started.button_seat, started.small_blind_seat, started.big_blind_seat) == (9, 9, 8)
    assert hand.hole_cards(9) == [DECK[0], DECK[2]]
    assert hand.chips() == {9: 950, 8: 1_900}
    assert hand.actor_seat == 9
    play(hand, (9, "CALL", None), (8, "CHECK", None))
    assert hand.phase == "flop"
    assert hand.actor_seat == 8


def test_start_tells_stacks_before_posting() -> None:
    setup = make_setup([1_000, 2_000, 3_000], ante=10)
    hand = Hand.start(setup)
    assert hand.started().seats == list(setup.seats)
    assert hand.chips() == {9: 940, 8: 1_890, 7: 2_990}
    assert (hand.pot, hand.current_bet, hand.min_raise_to) == (180, 100, 200)
    assert hand.opening() == []
    assert [state.bet for state in hand.seat_states()] == [50, 100, 0]


@pytest.mark.parametrize("deck", [DECK[:-1], (*DECK[:-1], DECK[0]), (*DECK, "2c")])
def test_a_deck_that_is_not_whole_is_no_hand(deck: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="whole deck"):
        Hand.start(make_setup([1_000] * 2, deck=deck))


@pytest.mark.parametrize("count", [1, 11])
def test_a_hand_needs_two_to_ten_players(count: int) -> None:
    with pytest.raises(ValueError, match="2 to 10"):
        Hand.start(make_setup([1_000] * count))


def test_a_hand_leaves_the_global_random_generator_alone() -> None:
    before = random.getstate()
    hand = Hand.start(make_setup([1_000] * 2))
    play(hand, (9, "ALL_IN", None), (8, "CALL", None))
    assert random.getstate() == before


# What is legal


def test_the_big_blind_may_raise_after_limps() -> None:
    hand = Hand.start(make_setup([1_000] * 3))
    play(hand, (7, "CALL", None), (9, "CALL", None))
    assert hand.legal() == LegalActions(True, True, None, 200, 1_000)
    assert refusal(hand, 8, "BET", 300).code == ErrorCode.ILLEGAL_ACTION
    taken, events = hand.act(8, "RAISE", 300)
    assert taken == TakenAction(seat_index=8, action="RAISE", amount=200, raise_to=300, auto=False)
    assert events == [
        PlayerAction(
            hand_id="hand-1",
            seat_index=8,
            user_id="u1",
            action="RAISE",
            amount=200,
            bet=300,
            chips=700,
            pot=500,
            auto=False,
        )
    ]


def test_what_may_be_raised_to_may_be_raised_to_where_nobody_has_bet() -> None:
    hand = Hand.start(make_setup([1_000] * 3))
    play(hand, (7, "CALL", None), (9, "CALL", None), (8, "CHECK", None))
    assert hand.current_bet == 0
    assert (hand.legal().min_raise_to, hand.legal().max_raise_to) == (100, 900)
    assert refusal(hand, 9, "RAISE", 99).code == ErrorCode.ILLEGAL_ACTION
    taken, _ = hand.act(9, "RAISE", 100)
    assert taken == TakenAction(seat_index=9, action="RAISE", amount=100, raise_to=100, auto=False)
    assert refusal(hand, 8, "BET", 200).code == ErrorCode.ILLEGAL_ACTION


def test_refusals_name_what_would_be_legal() -> None:
    hand = Hand.start(make_setup([1_000] * 3))
    legal = {
        "can_fold": True,
        "can_check": False,
        "call_amount": 100,
        "min_raise_to": 200,
        "max_raise_to": 1_000,
    }
    for action in ("CHECK", "BET"):
        refused = refusal(hand, 7, action, 300)
        assert (refused.code, refused.details) == (ErrorCode.ILLEGAL_ACTION, {"legal": legal})
    for amount in (199, 1_001):
        refused = refusal(hand, 7, "RAISE", amount)
        assert refused.code == ErrorCode.ILLEGAL_ACTION
        assert refused.details == {"legal": legal, "field": "amount"}
    refused = refusal(hand, 7, "RAISE")
    assert (refused.code, refused.details) == (ErrorCode.BAD_REQUEST, {"field": "amount"})
    assert refusal(hand, 9, "RAISE").code == ErrorCode.NOT_YOUR_TURN


def test_nobody_acts_in_a_finished_hand() -> None:
    hand = Hand.start(make_setup([1_000] * 2))
    play(hand, (9, "FOLD", None))
    assert hand.legal() == LegalActions(False, False, None, None, None)
    assert (hand.actor_seat, hand.phase, hand.pot, hand.pots) == (None, "showdown", 0, [])
    assert refusal(hand, 8, "CHECK").code == ErrorCode.NOT_YOUR_TURN


def test_a_short_all_in_does_not_reopen_the_betting() -> None:
    hand = Hand.start(make_setup([5_000, 380, 5_000]))
    play(hand, (7, "RAISE", 300), (9, "CALL", None), (8, "ALL_IN", None))
    assert hand.legal() == LegalActions(True, False, 80, None, None)
    assert refusal(hand, 7, "RAISE", 1_000).code == ErrorCode.ILLEGAL_ACTION
    taken, _ = hand.act(7, "ALL_IN", None)
    assert (taken.amount, taken.raise_to) == (80, None)


def test_all_in_without_anybody_to_bet_against_is_refused() -> None:
    hand = Hand.start(make_setup([1_000, 1_000, 60]))
    play(hand, (7, "ALL_IN", None), (9, "FOLD", None))
    assert hand.legal() == LegalActions(True, True, None, None, None)
    assert refusal(hand, 8, "ALL_IN").code == ErrorCode.ILLEGAL_ACTION


# The clock and those who leave


def test_the_clock_checks_if_it_can_and_folds_if_not() -> None:
    hand = Hand.start(make_setup([1_000] * 2))
    taken, _ = hand.act_for_clock(9)
    assert (taken.action, taken.auto) == ("FOLD", True)
    hand = Hand.start(make_setup([1_000] * 2))
    play(hand, (9, "CALL", None))
    taken, events = hand.act_for_clock(8)
    assert (taken.action, taken.auto) == ("CHECK", True)
    assert isinstance(events[0], PlayerAction)
    assert events[0].auto


def test_who_leaves_is_folded_though_a_check_is_free() -> None:
    hand = Hand.start(make_setup([1_000] * 2))
    play(hand, (9, "CALL", None))
    taken, events = hand.fold_out(8)
    assert (taken.action, taken.auto, hand.finished) == ("FOLD", True, True)
    assert pots_of(events) == [PotAward(200, 0, [PotShare(9, 200)])]


def test_a_side_pot_that_all_have_folded_goes_to_the_last_of_them() -> None:
    deck = rigged_deck(["AhAd", "KhKc", "3h4h"], BOARD)
    hand = Hand.start(make_setup([300, 1_000, 1_000], deck=deck))
    play(hand, (7, "RAISE", 500), (9, "ALL_IN", None), (8, "CALL", None))
    assert hand.pots == [PotView(900, [9, 8, 7]), PotView(400, [8, 7])]
    events = play(hand, (8, "FOLD", None), (7, "FOLD", None))
    assert pots_of(events) == [
        PotAward(900, 0, [PotShare(9, 900)]),
        PotAward(400, 0, [PotShare(7, 400)]),
    ]
    assert hand.chips() == {9: 900, 8: 500, 7: 900}
    assert hand.shown(9) is None


# The end of a hand


def test_a_hand_without_showdown_shows_nothing_and_returns_what_nobody_called() -> None:
    hand = Hand.start(make_setup([1_000] * 3, rake_basis_points=1_000))
    events = play(hand, (7, "RAISE", 400), (9, "FOLD", None), (8, "FOLD", None))
    assert not any(isinstance(event, Showdown) for event in events)
    assert pots_of(events) == [PotAward(250, 0, [PotShare(7, 250)])]
    assert hand.winners() == [Winner(7, "u2", 250, None)]
    assert hand.net() == {9: -50, 8: -100, 7: 150}
    assert hand.shown(7) is None


def test_all_in_runs_the_board_out_before_one_showdown() -> None:
    deck = rigged_deck(["AhAd", "KhKc"], BOARD)
    hand = Hand.start(make_setup([1_000, 600], deck=deck))
    events = play(hand, (9, "ALL_IN", None), (8, "CALL", None))
    assert events[2:] == [
        StreetAdvanced(
            hand_id="hand-1",
            street="flop",
            cards=["2c", "7d", "9h"],
            board=hand.board[:3],
            pot=1200,
        ),
        StreetAdvanced(
            hand_id="hand-1", street="turn", cards=["Js"], board=hand.board[:4], pot=1200
        ),
        StreetAdvanced(hand_id="hand-1", street="river", cards=["Qd"], board=hand.board, pot=1200),
        Showdown(
            hand_id="hand-1",
            hands=[
                ShownHand(9, ["Ah", "Ad"], "one pair"),
                ShownHand(8, ["Kh", "Kc"], "one pair"),
            ],
        ),
        PotDistributed(hand_id="hand-1", pots=[PotAward(1_200, 0, [PotShare(9, 1_200)])]),
    ]
    assert hand.winners() == [Winner(9, "u0", 1_200, "one pair")]
    assert hand.stacks() == [SeatStack(9, 1_600), SeatStack(8, 0)]
    assert [state.shown_cards for state in hand.seat_states()] == [["Ah", "Ad"], ["Kh", "Kc"]]


def test_a_losing_hand_is_mucked_unseen() -> None:
    deck = rigged_deck(["3h4h", "KhKc"], BOARD)
    hand = Hand.start(make_setup([1_000] * 2, deck=deck))
    checks: list[tuple[int, ActionName, int | None]] = [(8, "CHECK", None), (9, "CHECK", None)]
    events = play(hand, (9, "CALL", None), (8, "CHECK", None), *checks * 3)
    showdown = events[-2]
    assert isinstance(showdown, Showdown)
    assert showdown.hands == [ShownHand(8, ["Kh", "Kc"], "one pair")]
    assert hand.shown(9) is None
    assert [state.in_hand for state in hand.seat_states()] == [True, True]


def test_blinds_that_put_everybody_all_in_play_the_hand_at_once() -> None:
    deck = rigged_deck(["AhAd", "KhKc"], BOARD)
    hand = Hand.start(make_setup([40, 70], deck=deck))
    assert hand.finished
    assert [type(event) for event in hand.opening()] == [
        *[StreetAdvanced] * 3,
        Showdown,
        PotDistributed,
    ]
    assert hand.chips() == {9: 80, 8: 30}
    assert public_state(Hand.replay(hand.setup, [])) == public_state(hand)


def test_side_pots_go_to_the_best_hand_in_each() -> None:
    deck = rigged_deck(["AhAd", "KhKc", "3h4h"], BOARD)
    hand = Hand.start(make_setup([300, 1_000, 1_000], deck=deck))
    play(hand, (7, "ALL_IN", None), (9, "ALL_IN", None))
    assert hand.pots == [PotView(700, [9, 8, 7]), PotView(700, [8, 7])]
    events = hand.act(8, "CALL", None)[1]
    assert pots_of(events) == [
        PotAward(900, 0, [PotShare(9, 900)]),
        PotAward(1_400, 0, [PotShare(8, 1_400)]),
    ]


def test_pots_that_one_player_wins_are_told_apart() -> None:
    deck = rigged_deck(["3h4h", "AhAd", "KhKc"], BOARD)
    setup = make_setup([300, 1_000, 1_000], rake_basis_points=500, rake_cap=60, deck=deck)
    hand = Hand.start(setup)
    events = play(hand, (7, "ALL_IN", None), (9, "ALL_IN", None), (8, "CALL", None))
    assert pots_of(events) == [
        PotAward(900, 45, [PotShare(8, 855)]),
        PotAward(1_400, 15, [PotShare(8, 1_385)]),
    ]
    assert hand.chips() == {9: 0, 8: 2_240, 7: 0}


def test_pots_that_the_same_players_share_are_told_apart() -> None:
    deck = rigged_deck(["3h4h", "AhKd", "AcKs"], BOARD)
    hand = Hand.start(make_setup([301, 1_000, 1_000], deck=deck))
    events = play(hand, (7, "ALL_IN", None), (9, "ALL_IN", None), (8, "CALL", None))
    assert pots_of(events) == [
        PotAward(903, 0, [PotShare(8, 452), PotShare(7, 451)]),
        PotAward(1_398, 0, [PotShare(8, 699), PotShare(7, 699)]),
    ]
    assert sum(hand.net().values()) == 0


def test_the_odd_chip_goes_to_the_first_winner_left_of_the_button() -> None:
    deck = rigged_deck(["3h4h", "AhKd", "AcKs"], BOARD)
    hand = Hand.start(make_setup([1_000] * 3, small_blind=25, big_blind=50, deck=deck))
    events = play(hand, (7, "ALL_IN", None), (9, "FOLD", None), (8, "CALL", None))
    assert pots_of(events) == [PotAward(2_025, 0, [PotShare(8, 1_013), PotShare(7, 1_012)])]


# Rake


def test_rake_is_rounded_down_and_stops_at_the_cap_over_all_pots() -> None:
    deck = rigged_deck(["AhAd", "KhKc", "3h4h"], BOARD)
    setup = make_setup([333, 1_000, 1_000], rake_basis_points=500, rake_cap=60, deck=deck)
    hand = Hand.start(setup)
    events = play(hand, (7, "ALL_IN", None), (9, "ALL_IN", None), (8, "CALL", None))
    # 5 % of 999 is 49.95; of 1,334 it is 66, of which the cap leaves 11.
    assert pots_of(events) == [
        PotAward(999, 49, [PotShare(9, 950)]),
        PotAward(1_334, 11, [PotShare(8, 1_323)]),
    ]
    assert hand.rake == 60
    assert sum(hand.net().values()) == -60


def test_what_was_called_on_the_last_street_is_raked_and_the_rest_is_not() -> None:
    hand = Hand.start(make_setup([5_000] * 2, rake_basis_points=500))
    play(hand, (9, "CALL", None), (8, "CHECK", None))
    events = play(hand, (8, "BET", 300), (9, "RAISE", 900), (8, "FOLD", None))
    assert pots_of(events) == [PotAward(800, 40, [PotShare(9, 760)])]
    assert hand.chips() == {9: 5_360, 8: 4_600}


# Replay


def test_a_replay_that_does_not_fit_is_told_apart() -> None:
    hand = Hand.start(make_setup([1_000] * 2))
    fold = hand.act(9, "FOLD", None)[0]
    with pytest.raises(ReplayMismatch, match="action 1 is refused"):
        Hand.replay(hand.setup, [fold, fold])
    with pytest.raises(ReplayMismatch, match="comes out as"):
        Hand.replay(hand.setup, [msgspec.structs.replace(fold, amount=5)])


def test_a_replay_keeps_what_was_done_by_the_clock() -> None:
    rng = random.Random(5)
    hand = Hand.start(make_setup([2_000] * 6, deck=shuffled_deck(5)))
    hand.act_for_clock(7)
    while (seat := hand.actor_seat) is not None:
        hand.act(seat, *choose(hand, rng))
    assert hand.actions[0].auto
    assert Hand.replay(hand.setup, hand.actions).actions == hand.actions
