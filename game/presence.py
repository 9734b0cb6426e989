"""Being seen or not: what grace times do to players and spectators.

The times themselves are counted where `last_seen_at` is kept; these commands say that one of them
has passed, or that somebody is back. Each is harmless if it no longer applies.
"""

from msgspec import Struct

from game import waitlist
from game.decision import Context, Decision
from game.departures import drop_spectator, leave
from game.play import fresh_clock, schedule, settle_vote, sit_out
from game.state import RoomState
from protocol.events import PlayerDisconnected, PlayerReconnected


class Tick(Struct, frozen=True):
    """A deadline of the room has come."""


class Seen(Struct, frozen=True):
    """A user is there again."""

    user_id: str


class Unseen(Struct, frozen=True):
    """A seated player or spectator was not seen for the first grace time; `last_seen_at` in ms."""

    user_id: str
    last_seen_at: int


class Gone(Struct, frozen=True):
    """A seated player was not seen for the second grace time."""

    user_id: str


class TakenOver(Struct, frozen=True):
    """A server process took the room over and goes on with it."""


def seen(state: RoomState, command: Seen, ctx: Context, out: Decision) -> None:
    """Take back that a player was told as disconnected, and a seat about to be freed."""
    seat = state.seat_of(command.user_id)
    if seat is None or not (seat.away or seat.leaving == "grace"):
        return
    was_away, seat.away = seat.away, False
    if seat.leaving == "grace":
        seat.leaving = None
    out.touch_seat(seat.seat_index)
    if was_away:
        out.emit(PlayerReconnected(seat.seat_index, seat.user_id), ctx.now)
    schedule(state, ctx, out)


def unseen(state: RoomState, command: Unseen, ctx: Context, out: Decision) -> None:
    """Tell a player as disconnected and sit them out between hands; drop a spectator."""
    drop_spectator(state, command.user_id, "unseen", ctx, out)
    seat = state.seat_of(command.user_id)
    if seat is None or seat.away:
        return
    seat.away = True
    out.touch_seat(seat.seat_index)
    out.emit(PlayerDisconnected(seat.seat_index, seat.user_id, command.last_seen_at), ctx.now)
    if not state.in_hand(seat) and seat.status == "active":
        sit_out(seat, "disconnected", ctx, out)
    settle_vote(state, ctx, out)
    schedule(state, ctx, out)


def gone(state: RoomState, command: Gone, ctx: Context, out: Decision) -> None:
    """Free a player's seat, after the hand that it is in; the chips go to the wallet."""
    seat = state.seat_of(command.user_id)
    if seat is None or seat.leaving is not None:
        return
    leave(state, seat, "grace", None, ctx, out)
    settle_vote(state, ctx, out)
    schedule(state, ctx, out)


def taken_over(state: RoomState, ctx: Context, out: Decision) -> None:
    """Go on after a restart: the players could not act while the server was down."""
    fresh_clock(state, ctx, out)
    if state.game is not None and state.game.next_hand_at is not None:
        state.game.next_hand_at = ctx.now + ctx.hand_interval_ms
        out.touch_game()
    waitlist.renew_offers(state, ctx, out)
    schedule(state, ctx, out)
