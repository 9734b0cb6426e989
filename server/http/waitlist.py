"""Waitlists: what players ask for, and how staff run a table's queue.

Both portals write to the one queue; an entry's `source` says which of them it came by.
"""

from msgspec import Struct

from protocol import commands
from protocol.replies import EntryReply, Ok, WaitlistAccepted, WaitlistJoined, WaitlistSeated
from server.http.answers import EntriesAnswer
from server.http.bodies import (
    BuyInBody,
    MoveBody,
    NoBody,
    QueueBody,
    SeatRequestBody,
    SeatWaitingBody,
)
from server.http.calls import Call, Routes

_ENTRY = "/api/waitlist/{entry_id}"

ROUTES = Routes("waitlist")


@ROUTES(
    "POST", "/api/seat-requests", takes=SeatRequestBody, answers=WaitlistJoined, about_asker=False
)
async def request_seat(call: Call, body: SeatRequestBody) -> Ok:
    """Wait for a seat at a table; staff may ask for anybody."""
    command = _join(body, str(body.table_id), str(body.player_id))
    return await call.run(command, source="player_portal")


@ROUTES("GET", "/api/seat-requests/{id}", takes=NoBody, answers=EntriesAnswer)
async def seat_requests(call: Call, _: NoBody) -> Struct:
    """List a player's entries at all tables, newest first, ended ones too; `id` is the player's."""
    entries = await call.club.waitlists.of_player(call.principal, call.path["id"])
    return EntriesAnswer(entries=list(entries))


@ROUTES("DELETE", "/api/seat-requests/{id}", takes=NoBody, answers=EntryReply)
async def withdraw_seat_request(call: Call, _: NoBody) -> Ok:
    """Wait no longer; `id` is the entry's."""
    return await call.run(commands.WaitlistLeave(entry_id=call.path["id"]))


@ROUTES("GET", "/api/waitlist/table/{table_id}", takes=NoBody, answers=EntriesAnswer)
async def table_waitlist(call: Call, _: NoBody) -> Struct:
    """List a table's queue, first in line first; host and staff see the notes."""
    entries = await call.club.waitlists.of_table(call.principal, call.path["table_id"])
    return EntriesAnswer(entries=list(entries))


@ROUTES(
    "POST",
    "/api/waitlist/table/{table_id}",
    takes=QueueBody,
    answers=WaitlistJoined,
    about_asker=False,
)
async def add_to_waitlist(call: Call, body: QueueBody) -> Ok:
    """Have somebody wait: by id, or by name only who has no client (host and staff)."""
    player_id = None if body.player_id is None else str(body.player_id)
    command = _join(body, call.path["table_id"], player_id)
    return await call.run(command, source="staff_portal")


@ROUTES("POST", f"{_ENTRY}/call", takes=NoBody, answers=EntryReply)
async def call_waiting(call: Call, _: NoBody) -> Ok:
    """Call somebody out of turn, or again (host and staff)."""
    return await call.run(commands.WaitlistCall(entry_id=call.path["entry_id"]))


@ROUTES("POST", f"{_ENTRY}/seat", takes=SeatWaitingBody, answers=WaitlistSeated)
async def seat_waiting(call: Call, body: SeatWaitingBody) -> Ok:
    """Seat somebody from their wallet (staff), or note that they were seated by hand (host too)."""
    return await call.run(
        commands.WaitlistSeat(
            entry_id=call.path["entry_id"], seat_index=body.seat_index, buy_in=body.buy_in
        )
    )


@ROUTES("POST", f"{_ENTRY}/accept", takes=BuyInBody, answers=WaitlistAccepted)
async def accept_seat(call: Call, body: BuyInBody) -> Ok:
    """Take the seat that is held for one."""
    return await call.run(
        commands.WaitlistAccept(entry_id=call.path["entry_id"], buy_in=body.buy_in)
    )


@ROUTES("POST", f"{_ENTRY}/decline", takes=NoBody, answers=EntryReply)
async def decline_seat(call: Call, _: NoBody) -> Ok:
    """Let the next in line have the seat that is held for one."""
    return await call.run(commands.WaitlistDecline(entry_id=call.path["entry_id"]))


@ROUTES("POST", f"{_ENTRY}/move", takes=MoveBody, answers=EntryReply)
async def move_waiting(call: Call, body: MoveBody) -> Ok:
    """Put somebody on another place in line (host and staff)."""
    return await call.run(
        commands.WaitlistMove(entry_id=call.path["entry_id"], position=body.position)
    )


@ROUTES("POST", f"{_ENTRY}/no-show", takes=NoBody, answers=EntryReply)
async def note_no_show(call: Call, _: NoBody) -> Ok:
    """Note that somebody who was called is not there (host and staff)."""
    return await call.run(commands.WaitlistNoShow(entry_id=call.path["entry_id"]))


@ROUTES("DELETE", _ENTRY, takes=NoBody, answers=EntryReply)
async def remove_waiting(call: Call, _: NoBody) -> Ok:
    """Take somebody off the waitlist (host and staff), or oneself."""
    return await call.run(commands.WaitlistRemove(entry_id=call.path["entry_id"]))


def _join(
    body: SeatRequestBody | QueueBody, table_id: str, player_id: str | None
) -> commands.WaitlistJoin:
    return commands.WaitlistJoin(
        room_id=table_id,
        player_id=player_id,
        player_name=body.player_name,
        seat_number=body.seat_number,
        game_type=body.game_type,
        min_buy_in=body.min_buy_in,
        max_buy_in=body.max_buy_in,
        notes=body.notes,
    )
