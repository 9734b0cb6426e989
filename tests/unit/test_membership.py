"""Coming in and going out of a room: SPEC sections 2 and 3."""

import pytest

from game.changes import AuditEntry, MemberGone, TokensRevoked
from game.roles import role_of
from protocol import commands
from protocol.audience import Audience
from protocol.errors import ErrorCode, Refused
from protocol.events import (
    MembershipApproved,
    MembershipRejected,
    PlayerJoinRequested,
    PlayerKicked,
    PlayerRejected,
)
from protocol.replies import Joined, RoleTaken, SeatLeft
from tests.support.rooms import COOLDOWN_MS, HOST, STAFF, Table


def refusal_of(table: Table, user_id: str, command: commands.AnyRoomCommand) -> Refused:
    with pytest.raises(Refused) as caught:
        table.do(user_id, command)
    return caught.value


def asked(user_id: str = "ann") -> Table:
    table = Table(requires_approval=True)
    table.do(user_id, commands.Join(display_name="Ann B."))
    return table


def test_joining_makes_pending_and_tells_host_and_staff_only() -> None:
    table = Table(requires_approval=True)
    reply = table.do("ann", commands.Join(display_name="Ann B."))
    assert isinstance(reply, Joined)
    assert (reply.status, reply.waiting_for_approval) == ("pending", True)
    assert role_of(table.state, "ann") == "pending"
    (told,) = table.told
    assert isinstance(told.event, PlayerJoinRequested)
    assert told.audience is Audience.OPERATORS
    assert told.event.display_name == "Ann B."
    assert not table.last.grants


def test_a_room_without_approval_lets_in_at_once_with_a_token() -> None:
    table = Table(requires_approval=False)
    reply = table.do("ann", commands.Join())
    assert isinstance(reply, Joined)
    assert (reply.status, reply.waiting_for_approval) == ("approved", False)
    assert table.names() == ["player_approved"]
    assert [grant.user_id for grant in table.last.grants] == ["ann"]


def test_staff_enter_any_room_without_asking() -> None:
    table = Table(requires_approval=True)
    table.do(STAFF, commands.Join())
    assert role_of(table.state, STAFF) == "approved"
    table.do(STAFF, commands.Spectate())
    assert role_of(table.state, STAFF) == "spectator"


@pytest.mark.parametrize("user_id", [HOST, STAFF])
def test_host_and_staff_approve_and_the_user_is_told_on_their_own_channel(user_id: str) -> None:
    table = asked()
    table.do(user_id, commands.Approve(user_id="ann"))
    assert role_of(table.state, "ann") == "approved"
    assert table.names() == ["player_approved"]
    ((told_to, event),) = table.last.personal
    assert told_to == "ann"
    assert isinstance(event, MembershipApproved)
    assert event.channel == "player-ann"
    assert [(grant.user_id, grant.role) for grant in table.last.grants] == [("ann", "approved")]
    assert [row.action for row in table.rows(AuditEntry)] == ["approve"]


@pytest.mark.parametrize(
    "command",
    [
        commands.Approve(user_id="ann"),
        commands.Reject(user_id="ann"),
        commands.Kick(user_id="ann"),
        commands.Start(),
        commands.Pause(),
        commands.Resume(),
        commands.CloseRoom(),
        commands.TransferHost(user_id="bob"),
        commands.AdjustChips(user_id="ann", delta=1, reason="because"),
    ],
)
def test_nobody_else_runs_the_room(command: commands.AnyRoomCommand) -> None:
    table = asked()
    table.do("bob", commands.Join())
    assert refusal_of(table, "bob", command).code is ErrorCode.FORBIDDEN


def test_approving_needs_a_pending_request() -> None:
    table = asked()
    table.do(HOST, commands.Approve(user_id="ann"))
    assert refusal_of(table, HOST, commands.Approve(user_id="ann")).code is ErrorCode.NOT_FOUND
    assert refusal_of(table, HOST, commands.Reject(user_id="zoe")).code is ErrorCode.NOT_FOUND


def test_a_second_join_says_already_joined_with_the_role() -> None:
    table = asked()
    refused = refusal_of(table, "ann", commands.Join())
    assert refused.code is ErrorCode.ALREADY_JOINED
    assert refused.details == {"role": "pending"}
    assert refusal_of(table, HOST, commands.Join()).details == {"role": "host"}


def test_a_rejected_user_may_ask_again_after_the_cool_down_only() -> None:
    table = asked()
    table.do(HOST, commands.Reject(user_id="ann"))
    assert role_of(table.state, "ann") == "guest"
    assert isinstance(table.events()[0], PlayerRejected)
    ((_, event),) = table.last.personal
    assert isinstance(event, MembershipRejected)
    assert event.retry_at == table.now + COOLDOWN_MS
    table.now += COOLDOWN_MS - 1
    refused = refusal_of(table, "ann", commands.Join())
    assert (refused.code, refused.retry_after_s) == (ErrorCode.FORBIDDEN, 0.001)
    table.now += 1
    table.do("ann", commands.Join())
    assert role_of(table.state, "ann") == "pending"


def test_a_pending_user_withdraws() -> None:
    table = asked()
    table.do("ann", commands.LeaveRoom())
    assert role_of(table.state, "ann") == "guest"
    assert table.rows(MemberGone)


def test_pending_users_neither_sit_nor_watch() -> None:
    table = asked()
    for command in (commands.Seat(seat_index=0, buy_in=500), commands.Spectate()):
        assert refusal_of(table, "ann", command).code is ErrorCode.NOT_APPROVED


def test_a_room_takes_so_many_people() -> None:
    table = Table()
    table.max_members = 2
    table.do("ann", commands.Join())
    assert refusal_of(table, "bob", commands.Join()).code is ErrorCode.ROOM_FULL


def test_watching_grants_a_new_token_and_is_told() -> None:
    table = Table()
    table.do("ann", commands.Join())
    reply = table.do("ann", commands.Spectate(display_name="Annie"))
    assert isinstance(reply, RoleTaken)
    assert reply.role == "spectator"
    assert table.names() == ["spectator_joined"]
    assert [grant.role for grant in table.last.grants] == ["spectator"]
    assert refusal_of(table, "ann", commands.Spectate()).code is ErrorCode.ALREADY_JOINED


def test_no_spectators_where_the_room_has_none_but_staff() -> None:
    table = Table(spectators_allowed=False)
    table.do("ann", commands.Join())
    assert refusal_of(table, "ann", commands.Spectate()).code is ErrorCode.FORBIDDEN
    table.do(STAFF, commands.Spectate())


def test_leaving_the_room_ends_watching_and_membership_and_voids_tokens() -> None:
    table = Table()
    table.do("ann", commands.Join())
    table.do("ann", commands.Spectate())
    table.do("ann", commands.LeaveRoom())
    assert role_of(table.state, "ann") == "guest"
    assert table.names() == ["spectator_left"]
    assert table.rows(TokensRevoked)


def test_the_host_cannot_just_leave_nor_be_kicked() -> None:
    table = Table()
    assert refusal_of(table, HOST, commands.LeaveRoom()).code is ErrorCode.CONFLICT
    assert refusal_of(table, STAFF, commands.Kick(user_id=HOST)).code is ErrorCode.BAD_REQUEST


def test_a_kicked_player_loses_seat_token_and_approval_and_keeps_the_chips() -> None:
    table = Table()
    table.sit(("ann", 0, 700))
    reply = table.do(HOST, commands.Kick(user_id="ann", reason="rude"))
    assert isinstance(reply, SeatLeft)
    assert (reply.pending, reply.chips) == (False, 700)
    kicked = table.event(PlayerKicked)
    assert (kicked.seat_index, kicked.chips, kicked.reason) == (0, 700, "rude")
    assert role_of(table.state, "ann") == "guest"
    assert table.rows(TokensRevoked)
    assert table.wallets["ann"] == 0


def test_a_kick_during_a_hand_waits_for_its_end_and_folds_at_the_turn() -> None:
    table = Table()
    table.sit(("ann", 0), ("bob", 1), ("cat", 2))
    table.deal()
    assert table.actor.user_id == "ann"
    reply = table.do(HOST, commands.Kick(user_id="cat"))
    assert isinstance(reply, SeatLeft)
    assert reply.pending
    assert table.actor.user_id == "ann"
    table.act("CALL")
    table.act("CALL")
    assert table.actor.user_id == "bob", "cat folds the big blind where a check was free"
    assert table.hand.pot == 30
    table.act("FOLD")
    assert role_of(table.state, "cat") == "guest"
    assert table.wallets["cat"] == -10, "chips in the pot stay there"


def test_leaving_the_room_does_not_undo_a_kick() -> None:
    table = Table()
    table.sit(("ann", 0), ("bob", 1), ("cat", 2))
    table.deal()
    table.do(HOST, commands.Kick(user_id="cat", reason="rude"))
    table.do("cat", commands.LeaveRoom())
    table.do("cat", commands.LeaveSeat())
    table.fold_out()
    assert table.event(PlayerKicked).reason == "rude"


def test_kicking_a_stranger_is_not_found_and_a_spectator_goes_at_once() -> None:
    table = Table()
    assert refusal_of(table, HOST, commands.Kick(user_id="zoe")).code is ErrorCode.NOT_FOUND
    table.do("ann", commands.Join())
    table.do("ann", commands.Spectate())
    table.do(HOST, commands.Kick(user_id="ann"))
    assert table.names() == ["spectator_left", "player_kicked"]
