"""Getting up: chips go home, the seat is free, and the room closes when it is to close.

While a seat is in a hand it is only marked; what was marked is done as the hand ends.
"""

from game import waitlist
from game.changes import SittingEnded, TokensRevoked
from game.decision import Context, Decision, stack, wallet
from game.state import Leaving, RoomState, Seat, Spectator
from protocol.events import (
    PlayerKicked,
    PlayerLeftSeat,
    RoomClosed,
    SeatFreed,
    SpectatorJoined,
    SpectatorLeft,
)


def leave(
    state: RoomState, seat: Seat, how: Leaving, reason: str | None, ctx: Context, out: Decision
) -> bool:
    """Let a seat go now, or mark it to go after the hand that it is in.

    Returns:
        Whether it went now.
    """
    if state.in_hand(seat):
        seat.leaving = how
        seat.leaving_reason = reason
        out.touch_seat(seat.seat_index)
        return False
    seat.leaving = how
    seat.leaving_reason = reason
    _get_up(state, seat, ctx, out)
    return True


def settle_departures(state: RoomState, ctx: Context, out: Decision) -> None:
    """Do between hands what was put off until the hand was over."""
    for seat in list(state.seats.values()):
        if seat.leaving is not None:
            _get_up(state, seat, ctx, out)
    if state.closing is not None:
        close(state, ctx, out)


def close(state: RoomState, ctx: Context, out: Decision) -> None:
    """Close the room: nobody waits any more, stacks go home, the game ends. No hand may be
    running."""
    waitlist.cancel_all(state, ctx, out)
    for seat in list(state.seats.values()):
        seat.leaving = "room"
        _get_up(state, seat, ctx, out)
    if state.game is not None:
        state.game.status = "ended"
        state.game.ended_at = ctx.now
        state.game.next_hand_at = None
        out.touch_game()
    state.closed_at = ctx.now
    out.touch_room()
    out.emit(RoomClosed(state.closing or None), ctx.now)


def drop_spectator(
    state: RoomState, user_id: str, reason: str, ctx: Context, out: Decision
) -> None:
    """Take a spectator off the list, if they are on it, and tell so."""
    if state.spectators.pop(user_id, None) is not None:
        out.touch_spectator(user_id)
        out.emit(SpectatorLeft(user_id, reason), ctx.now)


def add_spectator(
    state: RoomState, user_id: str, display_name: str, ctx: Context, out: Decision
) -> None:
    """Put a user on the list of spectators and tell so."""
    state.spectators[user_id] = Spectator(user_id, display_name, ctx.now)
    out.touch_spectator(user_id)
    out.emit(SpectatorJoined(user_id, display_name), ctx.now)


def drop_member(state: RoomState, user_id: str, out: Decision) -> None:
    """End a membership: the user is a guest again and their rejoin tokens are void."""
    if state.members.pop(user_id, None) is not None:
        out.touch_member(user_id)
    out.write(TokensRevoked(state.room_id, user_id))


def _get_up(state: RoomState, seat: Seat, ctx: Context, out: Decision) -> None:
    del state.seats[seat.seat_index]
    out.touch_seat(seat.seat_index)
    if seat.chips:
        out.transfer(
            stack(seat.user_id, seat.sitting_id),
            wallet(seat.user_id),
            seat.chips,
            kind="cash_out",
            now=ctx.now,
        )
    out.write(SittingEnded(seat.sitting_id, ctx.now))
    user_id, name = seat.user_id, seat.display_name
    match seat.leaving:
        case "kick":
            out.emit(
                PlayerKicked(user_id, seat.seat_index, seat.chips, seat.leaving_reason), ctx.now
            )
            drop_member(state, user_id, out)
        case "grace":
            out.emit(SeatFreed(seat.seat_index, user_id, seat.chips), ctx.now)
        case "room":
            out.emit(PlayerLeftSeat(seat.seat_index, user_id, seat.chips), ctx.now)
            if state.closing is None and user_id != state.host_id:
                drop_member(state, user_id, out)
        case _:
            out.emit(PlayerLeftSeat(seat.seat_index, user_id, seat.chips), ctx.now)
            if user_id != state.host_id and state.settings.spectators_allowed:
                add_spectator(state, user_id, name, ctx, out)
