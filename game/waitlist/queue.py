"""The queue itself: who is in it, who is called to which seat, how waiting ends.

`settle` brings the queue to rest: whoever can be called is called, and everybody knows their place.
It is run after everything that is decided in a room, so that nothing else has to know what frees a
seat. What it finds at rest it leaves alone.
"""

from game.decision import Context, Decision
from game.state import RoomState, Waiting
from game.waitlist.telling import tell, tell_places
from protocol.values import WaitlistChange, WaitlistStatus

_CHANGES: dict[WaitlistStatus, WaitlistChange] = {
    "seated": "player_seated",
    "expired": "player_expired",
    "declined": "player_left",
    "no_show": "player_left",
    "cancelled": "player_left",
}


def entry_of(state: RoomState, player_id: str) -> Waiting | None:
    """Return a player's live entry, if they have one."""
    return next((entry for entry in state.waitlist if entry.player_id == player_id), None)


def holder(state: RoomState, seat_index: int) -> Waiting | None:
    """Return the entry for which a seat is held, if it is."""
    return next((entry for entry in state.waitlist if entry.seat_index == seat_index), None)


def next_expiry(state: RoomState) -> int | None:
    """Return when the next offer ends (UTC, ms), if there is one."""
    if not state.waitlist:
        return None
    ends = [entry.expires_at for entry in state.waitlist if entry.expires_at is not None]
    return min(ends, default=None)


def first_called(state: RoomState) -> Waiting | None:
    """Return the called entry that has had the longest to answer, if any is called."""
    called = [entry for entry in state.waitlist if entry.seat_index is not None]
    return min(called, key=lambda entry: entry.expires_at or 0, default=None)


def seat_for(state: RoomState, entry: Waiting) -> int | None:
    """Return the seat that an entry would be called to: its wish, else the lowest that is free."""
    held = {one.seat_index for one in state.waitlist}
    free = [i for i in range(state.seat_count) if i not in state.seats and i not in held]
    return entry.seat_number if entry.seat_number in free else min(free, default=None)


def add(state: RoomState, entry: Waiting, ctx: Context, out: Decision) -> None:
    """Put an entry at the end of the queue, and tell so."""
    state.waitlist.append(entry)
    out.touch_waitlist(entry)
    tell(state, "player_joined", entry, ctx, out)


def call(state: RoomState, entry: Waiting, seat_index: int, ctx: Context, out: Decision) -> None:
    """Hold a seat for an entry from now on, and tell so."""
    entry.status = "called"
    entry.seat_index = seat_index
    entry.called_at = entry.updated_at = ctx.now
    entry.expires_at = ctx.now + ctx.seat_offer_ms
    out.touch_waitlist(entry)
    tell(state, "player_called", entry, ctx, out)


def release(state: RoomState, entry: Waiting, ctx: Context, out: Decision) -> None:
    """Let a called entry wait again, on the place that it has, and tell so."""
    entry.status = "waiting"
    entry.seat_index = entry.expires_at = None
    entry.updated_at = ctx.now
    out.touch_waitlist(entry)
    # Its player was offered a seat, so the place is news to them.
    out.places_told.pop(entry.entry_id, None)
    tell(state, "moved", entry, ctx, out)


def end(
    state: RoomState, entry: Waiting, status: WaitlistStatus, ctx: Context, out: Decision
) -> None:
    """Take an entry out of the queue, and tell so; a seat held for it is free."""
    state.waitlist = [one for one in state.waitlist if one is not entry]
    entry.status = status
    entry.seat_index = entry.expires_at = None
    entry.updated_at = ctx.now
    out.touch_waitlist(entry)
    tell(state, _CHANGES[status], entry, ctx, out)


def cancel_all(state: RoomState, ctx: Context, out: Decision) -> None:
    """End everybody's waiting: the table closes."""
    for entry in list(state.waitlist):
        _end_by_itself(state, entry, "cancelled", ctx, out)


def expire(state: RoomState, ctx: Context, out: Decision) -> None:
    """End the offers that nobody answered in time."""
    for entry in list(state.waitlist):
        if entry.expires_at is not None and entry.expires_at <= ctx.now:
            _end_by_itself(state, entry, "expired", ctx, out)


def renew_offers(state: RoomState, ctx: Context, out: Decision) -> None:
    """Offer each held seat anew: its player could not answer while the server was down."""
    for entry in list(state.waitlist):
        if entry.seat_index is not None:
            call(state, entry, entry.seat_index, ctx, out)


def settle(state: RoomState, ctx: Context, out: Decision) -> None:
    """Bring the queue to rest: call whom there are seats for, tell everybody a new place in line.

    Writes from outside may have left it in any shape: who may not wait here (banned, seated) waits
    no more, a seat that cannot be held is not, who was called without a seat gets the next.
    """
    if not state.waitlist or state.closed:
        return
    if state.closing is not None:
        cancel_all(state, ctx, out)
        return
    _turn_out(state, ctx, out)
    _release_lost_seats(state, ctx, out)
    for entry in list(state.waitlist):
        if entry.seat_index is not None:
            continue
        seat_index = seat_for(state, entry)
        if seat_index is None:
            break
        out.audit(None, "waitlist_call", ctx, entry.player_id, entry_id=entry.entry_id)
        call(state, entry, seat_index, ctx, out)
    tell_places(state, ctx, out)


def _turn_out(state: RoomState, ctx: Context, out: Decision) -> None:
    seated = {seat.user_id for seat in state.seats.values()}
    for entry in list(state.waitlist):
        if entry.player_id in seated:
            _end_by_itself(state, entry, "seated", ctx, out)
        elif entry.player_id in state.bans:
            _end_by_itself(state, entry, "cancelled", ctx, out)


def _release_lost_seats(state: RoomState, ctx: Context, out: Decision) -> None:
    held: set[int] = set()
    for entry in list(state.waitlist):
        index = entry.seat_index
        if index is None:
            continue
        lost = index in state.seats or index >= state.seat_count or index in held
        if lost or entry.status != "called":
            release(state, entry, ctx, out)
        else:
            held.add(index)


def _end_by_itself(
    state: RoomState, entry: Waiting, status: WaitlistStatus, ctx: Context, out: Decision
) -> None:
    out.audit(None, f"waitlist_{status}", ctx, entry.player_id, entry_id=entry.entry_id)
    end(state, entry, status, ctx, out)
