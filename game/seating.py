"""Seats and stacks: sit down, get up, sit out and in, top up, adjust."""

from uuid import NAMESPACE_OID, uuid5

from game import waitlist
from game.changes import SittingStarted
from game.decision import HOUSE, Context, Decision, TokenGrant, stack, wallet
from game.departures import drop_spectator, leave
from game.membership import admit, require_room
from game.play import schedule, settle_turn, sit_out
from game.roles import name_in, require_let_in, require_not_banned, require_operator, role_of
from game.state import Member, RoomState, Seat, Waiting
from protocol import commands
from protocol.errors import ErrorCode, Refused, bad_field
from protocol.events import ChipsAdded, ChipsAdjusted, PlayerSatIn, PlayerSeated
from protocol.principal import Principal
from protocol.replies import Changed, RoleTaken, SeatLeft, StackChanged


def seat(
    state: RoomState, command: commands.Seat, principal: Principal, ctx: Context, out: Decision
) -> RoleTaken:
    """Take an empty seat; dealt in from the next hand on. Who is called needs no approval for the
    seat that is held for them.

    Raises:
        Refused: `forbidden` for who is banned, `not_approved`, `already_joined` with a seat,
            `bad_request` for the seat or the buy-in, `seat_taken` (or held for somebody),
            `conflict` while the room is closing. (`insufficient_balance` is the wallet's, as the
            decision is committed.)
    """
    require_not_banned(state, principal)
    user_id, index, buy_in = principal.user_id, command.seat_index, command.buy_in
    name = command.display_name or name_in(state, principal)
    entry = waitlist.entry_of(state, user_id)
    called = entry is not None and entry.seat_index == index
    if entry is not None and called:
        taken = seat_waiting(state, entry, name, index, buy_in, ctx, out)
    else:
        require_let_in(state, principal)
        _require_seat(state, user_id, index, buy_in)
        taken = _sit_down(state, user_id, name, index, buy_in, ctx, out)
    if principal.is_staff:
        out.audit(principal, "seat", ctx, None, seat_index=index, buy_in=buy_in)
    if entry is not None:
        step = "waitlist_accept" if called else "waitlist_seat"
        out.audit(principal, step, ctx, user_id, entry_id=entry.entry_id, seat_index=index)
    return taken


def seat_waiting(
    state: RoomState,
    entry: Waiting,
    name: str,
    index: int,
    buy_in: int,
    ctx: Context,
    out: Decision,
) -> RoleTaken:
    """Seat somebody from the waitlist, who is let in by that if they were not.

    Raises:
        Refused: as `seat`, and `room_full` where the room takes no more people; nothing changed.
    """
    require_room(state, entry.player_id, ctx)
    _require_seat(state, entry.player_id, index, buy_in)
    if role_of(state, entry.player_id) in ("guest", "pending"):
        member = state.members.get(entry.player_id)
        if member is None:
            member = Member(entry.player_id, name, "pending", ctx.now, None, state.seq)
        admit(state, member, ctx, out)
    return _sit_down(state, entry.player_id, name, index, buy_in, ctx, out)


def leave_seat(
    state: RoomState,
    command: commands.LeaveSeat,
    principal: Principal,
    ctx: Context,
    out: Decision,
) -> SeatLeft:
    """Give the seat up, after the hand if in one (folded at one's turn).

    Raises:
        Refused: `not_found` without a seat.
    """
    seat = _own_seat(state, principal)
    chips = seat.chips
    # Who is to be kicked or leaves the room does so still; only the grace period gives way.
    how = "seat" if seat.leaving in (None, "grace") else seat.leaving
    gone = leave(state, seat, how, seat.leaving_reason, ctx, out)
    settle_turn(state, seat, ctx, out)
    schedule(state, ctx, out)
    return SeatLeft(seq=state.seq, pending=not gone, chips=chips)


def sit_out_asked(
    state: RoomState, command: commands.SitOut, principal: Principal, ctx: Context, out: Decision
) -> Changed:
    """Be dealt out; a hand that one is in is folded at one's turn.

    Raises:
        Refused: `not_found` without a seat, `conflict` when sitting out already.
    """
    seat = _own_seat(state, principal)
    if seat.status == "sitting_out":
        raise Refused(ErrorCode.CONFLICT, "You are sitting out already.")
    sit_out(seat, "asked", ctx, out)
    settle_turn(state, seat, ctx, out)
    schedule(state, ctx, out)
    return Changed(seq=state.seq)


def sit_in(
    state: RoomState, command: commands.SitIn, principal: Principal, ctx: Context, out: Decision
) -> Changed:
    """Be dealt in from the next hand on.

    Raises:
        Refused: `not_found` without a seat, `conflict` when not sitting out.
    """
    seat = _own_seat(state, principal)
    if seat.status == "active":
        raise Refused(ErrorCode.CONFLICT, "You are not sitting out.")
    seat.status = "active"
    seat.clock_outs = 0
    out.touch_seat(seat.seat_index)
    out.emit(PlayerSatIn(seat.seat_index, seat.user_id), ctx.now)
    schedule(state, ctx, out)
    return Changed(seq=state.seq)


def top_up(
    state: RoomState, command: commands.TopUp, principal: Principal, ctx: Context, out: Decision
) -> StackChanged:
    """Add chips from the wallet, between hands, up to the largest buy-in.

    Raises:
        Refused: `not_found` without a seat, `conflict` in a hand, `bad_request` above the limit.
    """
    seat = _own_seat(state, principal)
    _require_between_hands(state, seat)
    room = state.settings.max_buy_in - seat.chips
    if command.amount > room:
        raise Refused(
            ErrorCode.BAD_REQUEST,
            f"A stack may be topped up to {state.settings.max_buy_in}.",
            {"field": "amount", "max_amount": max(0, room)},
        )
    seat.chips += command.amount
    out.touch_seat(seat.seat_index)
    out.emit(ChipsAdded(seat.seat_index, seat.user_id, command.amount, seat.chips), ctx.now)
    account = stack(seat.user_id, seat.sitting_id)
    out.transfer(wallet(seat.user_id), account, command.amount, kind="top_up", now=ctx.now)
    schedule(state, ctx, out)
    return StackChanged(seq=state.seq, chips=seat.chips)


def adjust_chips(
    state: RoomState,
    command: commands.AdjustChips,
    principal: Principal,
    ctx: Context,
    out: Decision,
) -> StackChanged:
    """Change a player's stack against the house account, between hands.

    Raises:
        Refused: `forbidden`, `not_found` without that seat, `conflict` in a hand, `bad_request`
            for nothing or more than there is.
    """
    require_operator(state, principal)
    seat = state.seat_of(command.user_id)
    if seat is None:
        raise Refused(ErrorCode.NOT_FOUND, "This user has no seat.")
    _require_between_hands(state, seat)
    if command.delta == 0:
        raise bad_field("delta", "Say how many chips.")
    if seat.chips + command.delta < 0:
        raise bad_field("delta", f"The stack is only {seat.chips}.")
    seat.chips += command.delta
    out.touch_seat(seat.seat_index)
    out.emit(
        ChipsAdjusted(seat.seat_index, seat.user_id, command.delta, seat.chips, command.reason),
        ctx.now,
    )
    out.transfer(
        HOUSE,
        stack(seat.user_id, seat.sitting_id),
        command.delta,
        kind="adjustment",
        now=ctx.now,
        reason=command.reason,
    )
    out.audit(
        principal, "adjust_chips", ctx, seat.user_id, delta=command.delta, reason=command.reason
    )
    schedule(state, ctx, out)
    return StackChanged(seq=state.seq, chips=seat.chips)


def _own_seat(state: RoomState, principal: Principal) -> Seat:
    seat = state.seat_of(principal.user_id)
    if seat is None:
        raise Refused(ErrorCode.NOT_FOUND, "You have no seat at this table.")
    return seat


def _require_between_hands(state: RoomState, seat: Seat) -> None:
    if state.in_hand(seat):
        raise Refused(ErrorCode.CONFLICT, "Chips move between hands; a hand is running.")


def _require_seat(state: RoomState, user_id: str, index: int, buy_in: int) -> None:
    settings = state.settings
    if state.closing is not None:
        raise Refused(ErrorCode.CONFLICT, "The room closes after this hand.")
    if state.seat_of(user_id) is not None:
        raise Refused(ErrorCode.ALREADY_JOINED, "This player has a seat at this table.")
    if index >= state.seat_count:
        raise bad_field("seat_index", f"Seats are 0 to {state.seat_count - 1}.")
    if index in state.seats:
        raise Refused(ErrorCode.SEAT_TAKEN, f"Seat {index} is taken.", {"seat_index": index})
    held = waitlist.holder(state, index)
    if held is not None and held.player_id != user_id:
        raise Refused(
            ErrorCode.SEAT_TAKEN,
            f"Seat {index} is held for somebody on the waitlist.",
            {"seat_index": index, "held_until": held.expires_at},
        )
    if not settings.min_buy_in <= buy_in <= settings.max_buy_in:
        raise Refused(
            ErrorCode.BAD_REQUEST,
            f"The buy-in is {settings.min_buy_in} to {settings.max_buy_in}.",
            {
                "field": "buy_in",
                "min_buy_in": settings.min_buy_in,
                "max_buy_in": settings.max_buy_in,
            },
        )


def _sit_down(
    state: RoomState,
    user_id: str,
    name: str,
    index: int,
    buy_in: int,
    ctx: Context,
    out: Decision,
) -> RoleTaken:
    drop_spectator(state, user_id, "seated", ctx, out)
    sitting_id = str(uuid5(NAMESPACE_OID, f"{state.room_id}/sitting:{user_id}:{state.seq}"))
    taken = Seat(
        seat_index=index,
        user_id=user_id,
        display_name=name,
        chips=buy_in,
        status="active",
        time_bank_ms=state.settings.time_bank_seconds * 1000,
        clock_outs=0,
        away=False,
        leaving=None,
        leaving_reason=None,
        sitting_id=sitting_id,
        last_seen_at=ctx.now,
    )
    state.seats[index] = taken
    out.touch_seat(index)
    out.write(SittingStarted(sitting_id, state.room_id, user_id, name, ctx.now))
    out.emit(PlayerSeated(index, user_id, name, buy_in), ctx.now)
    out.transfer(wallet(user_id), stack(user_id, sitting_id), buy_in, kind="buy_in", now=ctx.now)
    entry = waitlist.entry_of(state, user_id)
    if entry is not None:
        waitlist.end(state, entry, "seated", ctx, out)
    schedule(state, ctx, out)
    role = role_of(state, user_id)
    out.grants.append(TokenGrant(user_id, role, index))
    return RoleTaken(seq=state.seq, role=role, seat_index=index, chips=buy_in)
