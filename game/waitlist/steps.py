"""What players ask of a waitlist: to wait, to wait no more, to take the seat that is theirs."""

from uuid import NAMESPACE_OID, uuid5

from game.decision import Context, Decision
from game.roles import is_operator
from game.seating import seat_waiting
from game.state import RoomState, Waiting
from game.waitlist.entries import (
    audit,
    ended,
    found,
    require_called,
    require_own_or_operator,
    take_off,
    view,
)
from game.waitlist.queue import add, entry_of, settle
from protocol import commands
from protocol.errors import ErrorCode, Refused, bad_field
from protocol.principal import Principal
from protocol.replies import EntryReply, WaitlistAccepted, WaitlistJoined
from protocol.values import WaitlistSource

MAX_WAITING = 200
"""How many may wait for one table: each change is told with the whole queue."""

_SOURCES: dict[str, WaitlistSource] = {
    "player_portal": "player_portal",
    "staff_portal": "staff_portal",
}
"""What a way in is called in an entry; every other is a socket."""


def join(
    state: RoomState,
    command: commands.WaitlistJoin,
    principal: Principal,
    ctx: Context,
    out: Decision,
) -> WaitlistJoined:
    """Wait for a seat; who waits already is answered their entry, and nothing changes.

    Raises:
        Refused: `forbidden` for somebody else (but host and staff) and for who is banned,
            `already_joined` with a seat, `room_full` where too many wait, `bad_request`,
            `conflict` while the room is closing.
    """
    player_id, name, has_client = _whom(state, command, principal)
    if player_id in state.bans:
        raise Refused(ErrorCode.FORBIDDEN, "This player is banned from this room.")
    if state.seat_of(player_id) is not None:
        raise Refused(ErrorCode.ALREADY_JOINED, "This player has a seat at this table.")
    entry = entry_of(state, player_id)
    if entry is not None:
        seen = view(state, entry, principal)
        return WaitlistJoined(seq=state.seq, entry=seen, already_waiting=True)
    if state.closing is not None:
        raise Refused(ErrorCode.CONFLICT, "The room closes after this hand.")
    low, high = command.min_buy_in, command.max_buy_in
    if low is not None and high is not None and low > high:
        raise bad_field("min_buy_in", "min_buy_in must not be above max_buy_in.")
    if len(state.waitlist) >= MAX_WAITING:
        raise Refused(ErrorCode.ROOM_FULL, "This waitlist takes no more people.")
    entry = Waiting(
        entry_id=_derived_id(state, f"waitlist:{player_id}"),
        player_id=player_id,
        player_name=name,
        has_client=has_client,
        seat_number=command.seat_number,
        game_type=command.game_type,
        min_buy_in=low,
        max_buy_in=high,
        status="waiting",
        source=_SOURCES.get(ctx.source, "socket"),
        notes=command.notes or None,
        seat_index=None,
        called_at=None,
        expires_at=None,
        created_at=ctx.now,
        updated_at=ctx.now,
    )
    audit(entry, "waitlist_join", principal, ctx, out)
    add(state, entry, ctx, out)
    settle(state, ctx, out)
    seen = view(state, entry, principal)
    return WaitlistJoined(seq=state.seq, entry=seen, already_waiting=False)


def leave(
    state: RoomState,
    command: commands.WaitlistLeave,
    principal: Principal,
    ctx: Context,
    out: Decision,
) -> EntryReply:
    """Wait no longer; a seat that was offered is declined. Host and staff take others off so, too.

    Raises:
        Refused: `not_found` for who does not wait, `forbidden` for somebody else's entry.
    """
    if command.entry_id is None:
        entry = entry_of(state, principal.user_id)
        if entry is None:
            raise Refused(ErrorCode.NOT_FOUND, "You are not on this waitlist.")
    else:
        entry = found(state, command.entry_id)
    return take_off(state, entry, "waitlist_leave", principal, ctx, out)


def accept(
    state: RoomState,
    command: commands.WaitlistAccept,
    principal: Principal,
    ctx: Context,
    out: Decision,
) -> WaitlistAccepted:
    """Take the seat that is held for one; that needs nobody's approval.

    Raises:
        Refused: `not_found`, `forbidden` for somebody else's entry, `conflict` for who is not
            called, and as `seat`.
    """
    entry = found(state, command.entry_id)
    if entry.player_id != principal.user_id:
        raise Refused(ErrorCode.FORBIDDEN, "This seat is held for somebody else.")
    index = entry.seat_index
    if index is None:
        raise Refused(ErrorCode.CONFLICT, "No seat is held for you; you will be called.")
    taken = seat_waiting(state, entry, entry.player_name, index, command.buy_in, ctx, out)
    audit(entry, "waitlist_accept", principal, ctx, out, seat_index=index)
    return WaitlistAccepted(
        seq=state.seq,
        role=taken.role,
        seat_index=index,
        chips=command.buy_in,
        entry=view(state, entry, principal),
    )


def decline(
    state: RoomState,
    command: commands.WaitlistDecline,
    principal: Principal,
    ctx: Context,
    out: Decision,
) -> EntryReply:
    """Give the held seat to the next in line; host and staff may say so for a player.

    Raises:
        Refused: `not_found`, `forbidden`, `conflict` for who is not called.
    """
    entry = found(state, command.entry_id)
    require_own_or_operator(state, entry, principal)
    require_called(entry)
    return ended(state, entry, "declined", "waitlist_decline", principal, ctx, out)


def _whom(
    state: RoomState, command: commands.WaitlistJoin, principal: Principal
) -> tuple[str, str, bool]:
    """Say who is to wait, under which name, and whether they have a client."""
    operates = is_operator(state, principal)
    player_id, name = command.player_id, command.player_name
    if player_id is None and name is not None and operates:
        return _derived_id(state, f"walk-in:{name}"), name, False
    if player_id is None or player_id == principal.user_id:
        return principal.user_id, name or principal.name, True
    if not operates:
        raise Refused(ErrorCode.FORBIDDEN, "Only the host or staff may add others.")
    member = state.members.get(player_id)
    return player_id, name or (member.display_name if member else player_id), True


def _derived_id(state: RoomState, what: str) -> str:
    # Whoever joins is told so, hence each joins at a seq of their own.
    return str(uuid5(NAMESPACE_OID, f"{state.room_id}/{what}:{state.seq}"))
