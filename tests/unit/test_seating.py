"""Seats and stacks: SPEC sections 3 and 5."""

import pytest

from game.changes import AuditEntry, LedgerEntry, SittingEnded, SittingStarted
from game.presence import Gone
from game.roles import role_of
from protocol import commands
from protocol.errors import ErrorCode, Refused
from protocol.events import PlayerSeated, SpectatorJoined
from protocol.replies import RoleTaken, SeatLeft, StackChanged
from protocol.values import SettingsPatch
from tests.support.rooms import HOST, STAFF, Table


def refusal_of(table: Table, user_id: str, command: commands.AnyRoomCommand) -> Refused:
    with pytest.raises(Refused) as caught:
        table.do(user_id, command)
    return caught.value


def test_sitting_down_moves_the_buy_in_from_wallet_to_stack() -> None:
    table = Table()
    table.do("ann", commands.Join())
    reply = table.do("ann", commands.Seat(seat_index=4, buy_in=600, display_name="Ann B."))
    assert isinstance(reply, RoleTaken)
    assert (reply.role, reply.seat_index, reply.chips) == ("player", 4, 600)
    assert table.names() == ["player_seated"]
    assert [(row.account, row.amount, row.kind) for row in table.rows(LedgerEntry)] == [
        ("wallet", -600, "buy_in"),
        ("stack", 600, "buy_in"),
    ]
    assert table.rows(SittingStarted)
    assert [(g.role, g.seat_index) for g in table.last.grants] == [("player", 4)]


def test_who_names_no_other_name_sits_and_watches_by_the_one_that_they_joined_with() -> None:
    table = Table()
    table.do("ann", commands.Join(display_name="Annie"))
    table.do("ann", commands.Spectate())
    assert table.event(SpectatorJoined).display_name == "Annie"
    table.do("ann", commands.Seat(seat_index=0, buy_in=600))
    assert table.event(PlayerSeated).display_name == "Annie"
    table.do(STAFF, commands.Seat(seat_index=1, buy_in=600), role="staff")
    assert table.event(PlayerSeated).display_name == STAFF.title()


def test_a_guest_does_not_sit() -> None:
    table = Table()
    refused = refusal_of(table, "zoe", commands.Seat(seat_index=0, buy_in=500))
    assert refused.code is ErrorCode.NOT_APPROVED


def test_a_taken_seat_is_refused_and_so_is_a_second_seat() -> None:
    table = Table()
    table.sit(("ann", 0))
    table.do("bob", commands.Join())
    refused = refusal_of(table, "bob", commands.Seat(seat_index=0, buy_in=500))
    assert (refused.code, refused.details) == (ErrorCode.SEAT_TAKEN, {"seat_index": 0})
    refused = refusal_of(table, "ann", commands.Seat(seat_index=1, buy_in=500))
    assert refused.code is ErrorCode.ALREADY_JOINED


@pytest.mark.parametrize(("index", "buy_in", "field"), [(6, 500, "seat_index"), (0, 99, "buy_in")])
def test_seat_and_buy_in_must_be_in_range(index: int, buy_in: int, field: str) -> None:
    table = Table(max_seats=6)
    table.do("ann", commands.Join())
    refused = refusal_of(table, "ann", commands.Seat(seat_index=index, buy_in=buy_in))
    assert refused.code is ErrorCode.BAD_REQUEST
    assert refused.details is not None
    assert refused.details["field"] == field


def test_the_buy_in_limits_are_allowed_themselves() -> None:
    table = Table()
    table.sit(("ann", 0, 100), ("bob", 1, 2_000))
    table.do("cat", commands.Join())
    refused = refusal_of(table, "cat", commands.Seat(seat_index=2, buy_in=2_001))
    assert refused.details == {"field": "buy_in", "min_buy_in": 100, "max_buy_in": 2_000}


def test_nobody_takes_a_seat_that_the_next_hand_does_not_have() -> None:
    table = Table()
    table.sit(("ann", 0), ("bob", 1))
    table.deal()
    patch = SettingsPatch(max_seats=2)
    table.do(HOST, commands.ChangeSettings(settings=patch))
    table.do("cat", commands.Join())
    refused = refusal_of(table, "cat", commands.Seat(seat_index=5, buy_in=500))
    assert refused.code is ErrorCode.BAD_REQUEST


def test_a_seat_taken_while_a_hand_runs_is_dealt_in_from_the_next() -> None:
    table = Table()
    table.sit(("ann", 0), ("bob", 1))
    table.deal()
    table.sit(("cat", 2))
    assert {dealt.user_id for dealt in table.hand.setup.seats} == {"ann", "bob"}
    table.fold_out()
    table.deal()
    assert {dealt.user_id for dealt in table.hand.setup.seats} == {"ann", "bob", "cat"}


def test_a_spectator_who_sits_down_watches_no_more() -> None:
    table = Table()
    table.do("ann", commands.Join())
    table.do("ann", commands.Spectate())
    table.do("ann", commands.Seat(seat_index=0, buy_in=500))
    assert table.names() == ["spectator_left", "player_seated"]
    assert role_of(table.state, "ann") == "player"


def test_the_host_may_sit_and_stays_host() -> None:
    table = Table()
    table.do(HOST, commands.Seat(seat_index=0, buy_in=500))
    assert role_of(table.state, HOST) == "host"
    table.do(HOST, commands.LeaveSeat())
    assert role_of(table.state, HOST) == "host"
    assert not table.state.spectators


def test_leaving_a_seat_moves_the_stack_home_and_makes_a_spectator() -> None:
    table = Table()
    table.sit(("ann", 0, 700))
    reply = table.do("ann", commands.LeaveSeat())
    assert isinstance(reply, SeatLeft)
    assert (reply.pending, reply.chips) == (False, 700)
    assert table.names() == ["player_left_seat", "spectator_joined"]
    assert role_of(table.state, "ann") == "spectator"
    assert table.wallets["ann"] == 0
    assert table.rows(SittingEnded)


def test_leaving_in_a_hand_folds_at_the_turn_and_frees_the_seat_after() -> None:
    table = Table()
    table.sit(("ann", 0), ("bob", 1), ("cat", 2))
    table.deal()
    assert table.actor.user_id == "ann"
    reply = table.do("ann", commands.LeaveSeat())
    assert isinstance(reply, SeatLeft)
    assert reply.pending
    assert table.names() == ["player_action", "turn_started"]
    assert table.state.seats[0].leaving == "seat"
    table.act("FOLD")
    assert 0 not in table.state.seats
    assert table.wallets["ann"] == 0


def test_an_all_in_player_who_leaves_can_still_win() -> None:
    table = Table()
    table.sit(("ann", 0, 500), ("bob", 1, 1_000), ("cat", 2, 1_000))
    table.deal()
    table.act("ALL_IN")
    table.do("ann", commands.LeaveSeat())
    table.act("CALL")
    table.act("CALL")
    assert {s.seat_index for s in table.hand.seat_states() if s.in_hand} == {0, 1, 2}


def test_two_players_who_both_leave_end_the_hand() -> None:
    table = Table()
    table.sit(("ann", 0), ("bob", 1))
    table.deal()
    waits = next(s for s in table.state.seats.values() if s is not table.actor)
    table.do(waits.user_id, commands.LeaveSeat())
    table.do(table.actor.user_id, commands.LeaveSeat())
    assert table.state.hand is None
    assert not table.state.seats
    assert table.wallets["ann"] + table.wallets["bob"] == 0


def test_leaving_by_will_replaces_the_grace_period() -> None:
    table = Table()
    table.sit(("ann", 0), ("bob", 1), ("cat", 2))
    table.deal()
    table.internal(Gone("cat"))
    assert [seat.leaving for seat in table.state.seats.values()] == [None, None, "grace"]
    table.do("cat", commands.LeaveSeat())
    assert [seat.leaving for seat in table.state.seats.values()] == [None, None, "seat"]


def test_sitting_out_and_in() -> None:
    table = Table()
    table.sit(("ann", 0), ("bob", 1), ("cat", 2))
    table.do("ann", commands.SitOut())
    assert table.names() == ["player_sat_out"]
    assert refusal_of(table, "ann", commands.SitOut()).code is ErrorCode.CONFLICT
    table.deal()
    assert {dealt.user_id for dealt in table.hand.setup.seats} == {"bob", "cat"}
    table.do("ann", commands.SitIn())
    assert refusal_of(table, "ann", commands.SitIn()).code is ErrorCode.CONFLICT
    table.fold_out()
    table.deal()
    assert len(table.hand.setup.seats) == 3


def test_sitting_out_in_a_hand_folds_at_the_turn() -> None:
    table = Table()
    table.sit(("ann", 0), ("bob", 1), ("cat", 2))
    table.deal()
    table.do("bob", commands.SitOut())
    assert table.actor.user_id == "ann"
    table.act("CALL")
    assert table.actor.user_id == "cat"


def test_top_up_reaches_the_largest_buy_in_and_not_beyond() -> None:
    table = Table()
    table.sit(("ann", 0, 1_500))
    refused = refusal_of(table, "ann", commands.TopUp(amount=501))
    assert refused.details == {"field": "amount", "max_amount": 500}
    reply = table.do("ann", commands.TopUp(amount=500))
    assert isinstance(reply, StackChanged)
    assert reply.chips == 2_000
    assert table.names() == ["chips_added"]
    assert table.wallets["ann"] == -2_000


def test_chips_move_between_hands_only() -> None:
    table = Table()
    table.sit(("ann", 0), ("bob", 1))
    table.deal()
    assert refusal_of(table, "ann", commands.TopUp(amount=1)).code is ErrorCode.CONFLICT
    adjust = commands.AdjustChips(user_id="ann", delta=5, reason="because")
    assert refusal_of(table, HOST, adjust).code is ErrorCode.CONFLICT
    table.sit(("cat", 2))
    table.do("cat", commands.TopUp(amount=1))


@pytest.mark.parametrize("user_id", [HOST, STAFF])
@pytest.mark.parametrize("delta", [250, -250])
def test_adjusting_moves_chips_from_and_to_the_house(user_id: str, delta: int) -> None:
    table = Table()
    table.sit(("ann", 0, 700))
    adjust = commands.AdjustChips(user_id="ann", delta=delta, reason="miscounted")
    reply = table.do(user_id, adjust)
    assert isinstance(reply, StackChanged)
    assert reply.chips == 700 + delta
    assert table.accounts["house"] == -delta
    assert {row.reason for row in table.rows(LedgerEntry)} == {"miscounted"}
    assert table.rows(AuditEntry)


@pytest.mark.parametrize("delta", [0, -701])
def test_an_adjustment_is_some_chips_and_no_more_than_there_are(delta: int) -> None:
    table = Table()
    table.sit(("ann", 0, 700))
    refused = refusal_of(
        table, HOST, commands.AdjustChips(user_id="ann", delta=delta, reason="because")
    )
    assert refused.code is ErrorCode.BAD_REQUEST


def test_each_transfer_has_an_id_of_its_own() -> None:
    """The table's books check it: sitting down and getting up at once is two transfers."""
    table = Table()
    table.sit(("ann", 0, 700))
    table.do("ann", commands.LeaveSeat())
    table.do("ann", commands.Seat(seat_index=0, buy_in=700))
    table.do("ann", commands.LeaveRoom())
    assert table.accounts["stack"] == 0


@pytest.mark.parametrize(
    "command", [commands.LeaveSeat(), commands.SitOut(), commands.SitIn(), commands.TopUp(amount=1)]
)
def test_who_has_no_seat_has_nothing_to_leave(command: commands.AnyRoomCommand) -> None:
    assert refusal_of(Table(), HOST, command).code is ErrorCode.NOT_FOUND
