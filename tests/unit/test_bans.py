"""The ban list of a room."""

from typing import Any

import msgspec
import pytest

from game.changes import AuditEntry, BanGone, BanPut, MemberGone, TokensRevoked
from game.roles import role_of
from protocol import commands
from protocol.audience import Audience
from protocol.errors import ErrorCode, Refused
from protocol.events import BanLifted, BanTold, PlayerKicked
from protocol.replies import SeatLeft
from tests.support.rooms import HOST, STAFF, START, Table

RUDE = commands.Ban(user_id="ann", reason="rude")


def refusal_of(table: Table, user_id: str, command: commands.AnyRoomCommand) -> Refused:
    with pytest.raises(Refused) as caught:
        table.do(user_id, command)
    return caught.value


def seated() -> Table:
    table = Table()
    table.sit(("ann", 0), ("bob", 1), ("cat", 2))
    return table


@pytest.mark.parametrize("by", [HOST, STAFF])
def test_who_is_not_in_the_room_is_simply_banned(by: str) -> None:
    table = Table()
    reply = table.do(by, RUDE)
    assert isinstance(reply, SeatLeft)
    assert (reply.pending, reply.chips, reply.seq) == (False, 0, table.state.seq)
    assert table.names() == ["player_banned"]
    (row,) = table.rows(BanPut)
    assert row == BanPut("room-1", "ann", "rude", by, START)
    (entry,) = table.rows(AuditEntry)
    assert (entry.user_id, entry.action, entry.subject_id) == (by, "ban", "ann")
    assert msgspec.json.decode(entry.details) == {"reason": "rude"}


def test_the_room_is_told_who_and_only_operators_and_the_user_why() -> None:
    table = seated()
    table.do(STAFF, RUDE)
    for event in table.events():
        assert "rude" not in str(event)
        assert STAFF not in str(event)
    (told,) = [t for t in table.told if isinstance(t.event, BanTold)]
    assert told.audience is Audience.OPERATORS
    assert isinstance(told.event, BanTold)
    assert (told.event.reason, told.event.banned_by) == ("rude", STAFF)
    ((user_id, event),) = table.last.personal
    assert user_id == "ann"
    assert isinstance(event, BanTold)
    assert (event.channel, event.reason, event.banned_by) == ("player-ann", "rude", None)


def test_who_has_a_seat_is_kicked_by_it() -> None:
    table = seated()
    reply = table.do(HOST, RUDE)
    assert isinstance(reply, SeatLeft)
    assert (reply.pending, reply.chips) == (False, 1_000)
    assert table.names() == ["player_banned", "player_kicked"]
    assert table.event(PlayerKicked).reason is None
    assert table.wallets["ann"] == 0
    assert table.rows(MemberGone) == [MemberGone("room-1", "ann")]
    assert table.rows(TokensRevoked) == [TokensRevoked("room-1", "ann")]
    assert role_of(table.state, "ann") == "guest"


def test_who_is_in_a_hand_folds_and_loses_the_seat_after_it() -> None:
    table = seated()
    table.deal()
    assert table.actor.user_id == "ann"
    reply = table.do(HOST, RUDE)
    assert isinstance(reply, SeatLeft)
    assert reply.pending
    assert table.names()[:2] == ["player_banned", "player_action"]
    table.fold_out()
    assert table.event(PlayerKicked).user_id == "ann"
    assert 0 not in table.state.seats
    assert table.wallets["ann"] == 0


@pytest.mark.parametrize("way", ["pending", "approved", "spectator"])
def test_who_waits_or_watches_is_put_out(way: str) -> None:
    table = Table(requires_approval=way == "pending")
    table.do("ann", commands.Join())
    if way == "spectator":
        table.do("ann", commands.Spectate())
    table.do(HOST, RUDE)
    assert role_of(table.state, "ann") == "guest"
    assert not table.state.spectators
    assert "player_kicked" in table.names()


COMING_IN: list[commands.AnyRoomCommand] = [
    commands.Join(),
    commands.Seat(seat_index=5, buy_in=500),
    commands.Spectate(),
]


@pytest.mark.parametrize("command", COMING_IN)
def test_who_is_banned_does_not_come_in_and_is_told_why(command: Any) -> None:
    table = Table()
    table.do(HOST, RUDE)
    refused = refusal_of(table, "ann", command)
    assert refused.code is ErrorCode.FORBIDDEN
    assert refused.details == {"banned": True, "reason": "rude"}


@pytest.mark.parametrize(
    "command", [commands.Approve(user_id="ann"), commands.TransferHost(user_id="ann")]
)
def test_who_is_banned_is_not_approved_nor_made_host(command: Any) -> None:
    table = seated()
    table.deal()
    table.do(HOST, RUDE)
    assert refusal_of(table, HOST, command).code is ErrorCode.FORBIDDEN


def test_a_ban_keeps_no_staff_out() -> None:
    table = Table(requires_approval=True, spectators_allowed=False, is_private=True)
    table.do(HOST, commands.Ban(user_id=STAFF))
    table.do(STAFF, commands.Join())
    table.do(STAFF, commands.Spectate())
    assert role_of(table.state, STAFF) == "spectator"


def test_the_host_oneself_and_whoever_is_banned_cannot_be_banned() -> None:
    table = seated()
    for by, whom in ((HOST, HOST), (STAFF, HOST), (STAFF, STAFF)):
        refused = refusal_of(table, by, commands.Ban(user_id=whom))
        assert (refused.code, refused.details) == (ErrorCode.BAD_REQUEST, {"field": "user_id"})
    table.do(HOST, RUDE)
    assert refusal_of(table, HOST, RUDE).code is ErrorCode.CONFLICT
    table.max_members = 1
    assert refusal_of(table, HOST, commands.Ban(user_id="zoe")).code is ErrorCode.CONFLICT


def test_only_host_and_staff_ban_and_unban() -> None:
    table = seated()
    table.do(HOST, commands.Ban(user_id="zoe"))
    for user_id in ("ann", "zoe"):
        assert refusal_of(table, user_id, commands.Ban(user_id="bob")).code is ErrorCode.FORBIDDEN
        assert refusal_of(table, user_id, commands.Unban(user_id="zoe")).code is ErrorCode.FORBIDDEN


def test_who_is_unbanned_may_ask_again() -> None:
    table = Table(requires_approval=True)
    table.do(HOST, RUDE)
    table.do(STAFF, commands.Unban(user_id="ann"))
    assert table.names() == ["player_unbanned"]
    assert table.rows(BanGone) == [BanGone("room-1", "ann")]
    ((user_id, event),) = table.last.personal
    assert (user_id, type(event)) == ("ann", BanLifted)
    assert [row.action for row in table.rows(AuditEntry)] == ["unban"]
    table.do("ann", commands.Join())
    assert role_of(table.state, "ann") == "pending"
    assert refusal_of(table, HOST, commands.Unban(user_id="ann")).code is ErrorCode.NOT_FOUND


def test_an_unban_in_the_same_hand_takes_no_kick_back() -> None:
    table = seated()
    table.deal()
    table.do(HOST, commands.Ban(user_id="cat"))
    table.do(HOST, commands.Unban(user_id="cat"))
    table.fold_out()
    assert table.state.seat_of("cat") is None
