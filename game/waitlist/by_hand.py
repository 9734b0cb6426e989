"""What host and staff do with a waitlist by hand: call, seat, move, remove."""

from game.decision import Context, Decision
from game.roles import require_operator
from game.seating import seat_waiting
from game.state import RoomState
from game.waitlist.entries import audit, ended, found, require_called, settled, take_off, view
from game.waitlist.queue import call, first_called, release, seat_for
from game.waitlist.telling import tell
from protocol import commands
from protocol.errors import ErrorCode, Refused, bad_field
from protocol.events import MembershipApproved
from protocol.principal import Principal
from protocol.replies import EntryReply, WaitlistSeated


def call_out_of_turn(
    state: RoomState,
    command: commands.WaitlistCall,
    principal: Principal,
    ctx: Context,
    out: Decision,
) -> EntryReply:
    """Call somebody before their turn; who is called already is called again, with a fresh time.

    Where no seat is free, whoever has had the longest to answer is skipped: they wait again, on
    the place that they have.

    Raises:
        Refused: `forbidden`, `not_found`, `room_full` where every seat is taken.
    """
    require_operator(state, principal)
    entry = found(state, command.entry_id)
    index = seat_for(state, entry) if entry.seat_index is None else entry.seat_index
    if index is None:
        skipped = first_called(state)
        if skipped is None:
            raise Refused(ErrorCode.ROOM_FULL, "Every seat is taken.")
        index = skipped.seat_index
        assert index is not None
        audit(skipped, "waitlist_skip", principal, ctx, out, seat_index=index)
        release(state, skipped, ctx, out)
    audit(entry, "waitlist_call", principal, ctx, out, seat_index=index)
    call(state, entry, index, ctx, out)
    return settled(state, entry, principal, ctx, out)


def seat(
    state: RoomState,
    command: commands.WaitlistSeat,
    principal: Principal,
    ctx: Context,
    out: Decision,
) -> WaitlistSeated:
    """Seat a player with a buy-in from their wallet; without one, only note that they were seated.

    Wallets are for staff: a host could take chips to the table that nobody meant to bring. The
    player alone is told their rejoin token, on their own channel.

    Raises:
        Refused: `forbidden`, `not_found`, `room_full` where there is no seat for them, and as
            `seat`.
    """
    require_operator(state, principal)
    entry = found(state, command.entry_id)
    buy_in = command.buy_in
    if buy_in is None:
        done = ended(state, entry, "seated", "waitlist_seat", principal, ctx, out)
        return WaitlistSeated(seq=done.seq, entry=done.entry)
    if principal.role != "staff":
        raise Refused(ErrorCode.FORBIDDEN, "Only staff may seat somebody from their wallet.")
    if not entry.has_client:
        raise bad_field("buy_in", "This player has no wallet; leave the buy-in out.")
    index = entry.seat_index if command.seat_index is None else command.seat_index
    if index is None:
        index = seat_for(state, entry)
    if index is None:
        raise Refused(ErrorCode.ROOM_FULL, "Every seat is taken, or held for somebody.")
    seat_waiting(state, entry, entry.player_name, index, buy_in, ctx, out)
    audit(entry, "waitlist_seat", principal, ctx, out, seat_index=index, buy_in=buy_in)
    told = MembershipApproved(state.room_id, entry.player_id, entry.player_name, "")
    out.tell_user(entry.player_id, told, ctx.now)
    return WaitlistSeated(
        seq=state.seq, entry=view(state, entry, principal), seat_index=index, chips=buy_in
    )


def move(
    state: RoomState,
    command: commands.WaitlistMove,
    principal: Principal,
    ctx: Context,
    out: Decision,
) -> EntryReply:
    """Put somebody on another place in line; a place behind the last is the last.

    Raises:
        Refused: `forbidden`, `not_found`.
    """
    require_operator(state, principal)
    entry = found(state, command.entry_id)
    others = [one for one in state.waitlist if one is not entry]
    order = [*others[: command.position - 1], entry, *others[command.position - 1 :]]
    if order != state.waitlist:
        state.waitlist = order
        entry.updated_at = ctx.now
        out.touch_waitlist(entry)
        audit(entry, "waitlist_move", principal, ctx, out, position=order.index(entry) + 1)
        tell(state, "moved", entry, ctx, out)
    return settled(state, entry, principal, ctx, out)


def remove(
    state: RoomState,
    command: commands.WaitlistRemove,
    principal: Principal,
    ctx: Context,
    out: Decision,
) -> EntryReply:
    """Take somebody off the waitlist; players may take themselves off.

    Raises:
        Refused: `forbidden`, `not_found`.
    """
    entry = found(state, command.entry_id)
    return take_off(state, entry, "waitlist_remove", principal, ctx, out)


def no_show(
    state: RoomState,
    command: commands.WaitlistNoShow,
    principal: Principal,
    ctx: Context,
    out: Decision,
) -> EntryReply:
    """Note that somebody who was called did not come; the next in line is called.

    Raises:
        Refused: `forbidden`, `not_found`, `conflict` for who is not called.
    """
    require_operator(state, principal)
    entry = found(state, command.entry_id)
    require_called(entry)
    return ended(state, entry, "no_show", "waitlist_no_show", principal, ctx, out)
