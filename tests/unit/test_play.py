"""The course of play: SPEC section 4."""

import pytest

from game.changes import ActionDone, HandOpened, LedgerEntry, PlayerDealt, PlayerResult
from game.presence import TakenOver
from protocol import commands
from protocol.audience import Audience
from protocol.errors import ErrorCode, Refused
from protocol.events import (
    CardsDealt,
    HandComplete,
    HandStarted,
    PlayerAction,
    PlayerSatOut,
    TurnStarted,
)
from protocol.values import BombPot, SettingsPatch
from tests.support.hands import rigged_deck
from tests.support.rooms import HAND_INTERVAL_MS, HOST, STAFF, Table

TURN_MS = 20_000
BANK_MS = 60_000


def three(**settings: object) -> Table:
    table = Table(**settings)
    table.sit(("ann", 0), ("bob", 1), ("cat", 2))
    table.deal()
    return table


def refusal_of(table: Table, user_id: str, command: commands.AnyRoomCommand) -> Refused:
    with pytest.raises(Refused) as caught:
        table.do(user_id, command)
    return caught.value


def test_a_hand_begins_with_its_events_in_order_and_cards_to_their_owners_only() -> None:
    table = three()
    assert table.names() == ["hand_started", "turn_started"]
    private = {told.audience: told.event for told in table.told if isinstance(told.audience, str)}
    assert set(private) == {"ann", "bob", "cat"}
    for user_id, event in private.items():
        assert isinstance(event, CardsDealt)
        seat = table.state.seat_of(str(user_id))
        assert seat is not None
        assert event.hole_cards == table.hand.hole_cards(seat.seat_index)
        assert event.seq == table.events()[0].seq
        assert event.private
    kinds = [told.audience is Audience.EVERYONE for told in table.told]
    assert kinds == [True, False, False, False, True]


def test_deck_and_cards_are_written_with_the_event_that_tells_the_hand() -> None:
    table = three()
    (opened,) = table.rows(HandOpened)
    assert len(opened.deck) == 104
    assert [dealt.position for dealt in table.rows(PlayerDealt)] == [0, 1, 2]


def test_the_turn_is_told_with_deadline_time_bank_and_legal_amounts() -> None:
    table = three()
    turn = table.event(TurnStarted)
    assert (turn.user_id, turn.deadline) == ("ann", table.now + TURN_MS)
    assert turn.timebank_remaining == BANK_MS
    legal = turn.legal
    assert (legal.can_fold, legal.can_check, legal.call_amount) == (True, False, 10)
    assert (legal.min_raise_to, legal.max_raise_to) == (20, 1_000)


def test_an_action_is_told_then_the_next_turn() -> None:
    table = three()
    table.act("RAISE", 30)
    assert table.names() == ["player_action", "turn_started"]
    action = table.event(PlayerAction)
    assert (action.amount, action.bet, action.chips, action.pot) == (30, 30, 970, 45)
    assert not action.auto
    (row,) = table.rows(ActionDone)
    assert (row.ordinal, row.seq, row.raise_to) == (0, action.seq, 30)


def test_out_of_turn_names_who_is_to_act() -> None:
    table = three()
    refused = refusal_of(table, "bob", commands.Action(action="FOLD"))
    assert (refused.code, refused.details) == (ErrorCode.NOT_YOUR_TURN, {"actor_seat": 0})
    refused = refusal_of(table, HOST, commands.Action(action="FOLD"))
    assert refused.code is ErrorCode.FORBIDDEN


def test_an_illegal_action_says_what_would_be_legal() -> None:
    table = three()
    refused = refusal_of(table, "ann", commands.Action(action="RAISE", amount=19))
    assert refused.code is ErrorCode.ILLEGAL_ACTION
    assert refused.details is not None
    assert refused.details["field"] == "amount"
    assert refused.details["legal"] == {
        "can_fold": True,
        "can_check": False,
        "call_amount": 10,
        "min_raise_to": 20,
        "max_raise_to": 1_000,
    }
    assert refusal_of(table, "ann", commands.Action(action="CHECK")).code is (
        ErrorCode.ILLEGAL_ACTION
    )


def test_without_a_hand_it_is_nobodys_turn() -> None:
    table = Table()
    table.sit(("ann", 0))
    refused = refusal_of(table, "ann", commands.Action(action="FOLD"))
    assert refused.code is ErrorCode.NOT_YOUR_TURN


def test_a_hand_ends_with_pots_winners_stacks_and_the_next_hands_time() -> None:
    table = three()
    table.act("RAISE", 30)
    table.act("FOLD")
    table.act("FOLD")
    assert table.names() == ["player_action", "pot_distributed", "hand_complete"]
    complete = table.event(HandComplete)
    assert [(w.user_id, w.amount, w.rank) for w in complete.winners] == [("ann", 25, None)]
    assert [(s.seat_index, s.chips) for s in complete.stacks] == [(0, 1_015), (1, 995), (2, 990)]
    assert complete.next_hand_at == table.now + HAND_INTERVAL_MS
    assert {r.seat_index: r.final_stack for r in table.rows(PlayerResult)} == {
        0: 1_015,
        1: 995,
        2: 990,
    }


def test_all_in_runs_the_board_out_and_names_the_winning_rank() -> None:
    table = Table()
    table.rigging = True
    table.sit(("ann", 0), ("bob", 1))
    deck = rigged_deck(["AhAd", "KsQc"], "2c3d4h9s7c")
    table.do(STAFF, commands.RigDeck(cards=list(deck)))
    table.deal()
    table.act("ALL_IN")
    table.act("CALL")
    assert table.names() == [
        "player_action",
        "street_advanced",
        "street_advanced",
        "street_advanced",
        "showdown",
        "pot_distributed",
        "hand_complete",
    ]
    (winner,) = table.event(HandComplete).winners
    assert (winner.user_id, winner.amount, winner.rank) == ("ann", 2_000, "one pair")


def test_a_player_without_chips_is_not_dealt_in_until_topped_up() -> None:
    table = Table()
    table.rigging = True
    table.sit(("ann", 0), ("bob", 1))
    deck = rigged_deck(["AhAd", "KsQc"], "2c3d4h9s7c")
    table.do(STAFF, commands.RigDeck(cards=list(deck)))
    table.deal()
    table.act("ALL_IN")
    table.act("CALL")
    assert table.event(HandComplete).next_hand_at is None
    table.wait(10 * HAND_INTERVAL_MS)
    assert table.state.hand is None
    table.do("bob", commands.TopUp(amount=500))
    table.deal()


def test_rake_goes_to_the_house_from_pots_that_saw_a_flop_only() -> None:
    table = three(rake_basis_points=500)
    table.fold_out()
    assert table.accounts["house"] == 0
    table.deal()
    for action in ("CALL", "CALL", "CHECK", "FOLD", "FOLD"):
        table.act(action)
    assert table.accounts["house"] == 1
    assert {row.kind for row in table.rows(LedgerEntry)} == {"hand", "rake"}


def test_the_clock_uses_the_time_bank_then_folds() -> None:
    table = three()
    table.wait(TURN_MS + BANK_MS - 1)
    assert table.actor.user_id == "ann"
    table.wait(1)
    action = table.event(PlayerAction)
    assert (action.user_id, action.action, action.auto) == ("ann", "FOLD", True)
    assert table.state.seats[0].time_bank_ms == 0


def test_the_clock_checks_where_that_is_free() -> None:
    table = three()
    table.act("CALL")
    table.act("CALL")
    table.wait(TURN_MS + BANK_MS)
    action = table.event(PlayerAction)
    assert (action.user_id, action.action, action.auto) == ("cat", "CHECK", True)


def test_acting_late_costs_time_bank_and_acting_in_time_costs_none() -> None:
    table = three()
    table.now += TURN_MS
    table.act("CALL")
    assert table.state.seats[0].time_bank_ms == BANK_MS
    table.now += TURN_MS + 5_000
    table.act("CALL")
    assert table.state.seats[1].time_bank_ms == BANK_MS - 5_000


def test_two_clock_outs_in_a_row_sit_out_and_one_does_not() -> None:
    table = Table()
    table.sit(("ann", 0), ("bob", 1), ("cat", 2), ("dan", 3))
    table.deal()
    assert table.actor.user_id == "dan"
    table.wait(TURN_MS + BANK_MS)
    assert "player_sat_out" not in table.names()
    table.fold_out()
    table.deal()
    assert table.actor.user_id == "ann"
    table.act("FOLD")
    assert table.actor.user_id == "bob"
    table.act("FOLD")
    assert table.actor.user_id == "cat"
    table.act("CALL")
    assert table.actor.user_id == "dan"
    table.wait(TURN_MS)
    assert table.event(PlayerSatOut).reason == "clock"
    assert table.state.seats[3].status == "sitting_out"


def test_a_decision_of_ones_own_ends_the_row_of_clock_outs() -> None:
    table = three()
    table.act("CALL")
    table.act("CALL")
    table.wait(TURN_MS + BANK_MS)
    assert table.state.seats[2].clock_outs == 1
    table.act("CHECK")
    table.act("CHECK")
    assert table.state.seats[2].clock_outs == 0


def test_the_next_hand_comes_three_seconds_after_the_last() -> None:
    table = three()
    table.fold_out()
    table.wait(HAND_INTERVAL_MS - 1)
    assert table.state.hand is None
    table.wait(1)
    assert table.hand.setup.number == 2


def test_after_a_restart_the_running_turn_gets_its_whole_time() -> None:
    table = three()
    table.now += 10 * TURN_MS
    table.internal(TakenOver())
    assert table.names() == ["turn_started"]
    turn = table.event(TurnStarted)
    assert (turn.user_id, turn.deadline) == ("ann", table.now + TURN_MS)
    assert turn.timebank_remaining == BANK_MS


def test_after_a_restart_between_hands_the_next_one_is_due_again() -> None:
    table = Table()
    table.sit(("ann", 0), ("bob", 1))
    table.now += 60_000
    table.internal(TakenOver())
    table.wait(HAND_INTERVAL_MS - 1)
    assert table.state.hand is None
    table.wait(1)
    assert table.state.hand is not None


def test_a_bet_without_an_amount_names_the_field() -> None:
    table = three()
    refused = refusal_of(table, "ann", commands.Action(action="RAISE"))
    assert (refused.code, refused.details) == (ErrorCode.BAD_REQUEST, {"field": "amount"})


def test_every_so_many_hands_is_a_bomb_pot_and_the_blinds_move_on_all_the_same() -> None:
    table = Table(bomb_pot=BombPot(every_n_hands=3, amount=40), ante=2, straddle=20)
    table.sit(("ann", 0), ("bob", 1), ("cat", 2))
    big_blinds = []
    for number in range(1, 7):
        hand = table.deal()
        big_blinds.append(hand.big_blind_seat)
        started = table.event(HandStarted)
        assert started.bomb_pot == (number % 3 == 0)
        if started.bomb_pot:
            assert table.names() == ["hand_started", "street_advanced", "turn_started"]
            assert (started.ante, started.straddle_seat, hand.pot) == (40, None, 120)
        else:
            assert (started.ante, started.straddle, hand.pot) == (2, 20, 6 + 5 + 10 + 20)
        (opened,) = table.rows(HandOpened)
        assert (opened.bomb_pot, opened.ante) == (started.bomb_pot, started.ante)
        table.fold_out()
    assert big_blinds == [2, 0, 1, 2, 0, 1]


def test_heads_up_nobody_straddles() -> None:
    table = Table(straddle=20)
    table.sit(("ann", 0), ("bob", 1))
    hand = table.deal()
    assert (hand.setup.straddle, table.event(HandStarted).straddle_seat) == (0, None)


def test_kinds_of_hands_change_from_the_next_hand_on() -> None:
    table = three()
    settings = SettingsPatch(ante=3, ante_kind="button", straddle=20, run_it_times=2)
    table.do(HOST, commands.ChangeSettings(settings=settings))
    assert table.hand.setup.straddle == 0
    table.fold_out()
    setup = table.deal().setup
    assert (setup.ante_kind, setup.straddle, setup.run_it_times) == ("button", 20, 2)
