"""What writes to the waitlist (and so to `seat_requests`) from outside mean."""

from typing import Any

from msgspec import structs

from game import waitlist
from game.decision import Context, Decision
from game.state import OutsideWrite, RoomState, Waiting
from game.waitlist.queue import call, first_called, release, seat_for
from game.waitlist.telling import LIVE
from protocol.values import WaitlistChange

Row = dict[str, Any]

_ENDS: dict[str, WaitlistChange] = {"seated": "player_seated", "expired": "player_expired"}
_SHOWN = ("position", "player_name", "seat_number", "seat_index", "expires_at", "status")
"""What the queue shows of an entry."""


def as_outside(ctx: Context) -> Context:
    """Return the context of what follows from SQL."""
    return structs.replace(ctx, source="sql")


def places_untouched(state: RoomState, writes: list[OutsideWrite]) -> dict[str, int]:
    """Return the places that the writes cannot have changed: those before the first one written to.

    Rows that were moved to close a hole are no writes from outside, so there is no telling where
    each of the others stood.
    """
    now_at = state.places
    lowest = len(now_at) + 1
    for write in writes:
        if write.relation == "waitlist":
            for row in (write.before, write.after):
                if row is not None and row["status"] in LIVE and row["position"] is not None:
                    lowest = min(lowest, row["position"])
                if row is not None:
                    lowest = min(lowest, now_at.get(row["id"], lowest))
    return {entry_id: place for entry_id, place in now_at.items() if place < lowest}


def tell_write(state: RoomState, write: OutsideWrite, ctx: Context, out: Decision) -> None:
    """Tell what a write did to the queue; that somebody is called is told when the seat is held."""
    before, after = _live(write.before), _live(write.after)
    if before is not None and after is not None and before["player_id"] != after["player_id"]:
        _tell(state, "player_left", {**before, "status": "cancelled"}, write, ctx, out)
        before = None
    if before is None and after is None:
        return
    if before is None:
        assert after is not None
        _tell(state, "player_joined", after, write, ctx, out)
    elif after is None:
        ended = write.after or {**before, "status": "cancelled"}
        _tell(state, _ENDS.get(ended["status"], "player_left"), ended, write, ctx, out)
    elif _shows_otherwise(before, after):
        _tell(state, "moved", after, write, ctx, out)


def _shows_otherwise(before: Row, after: Row) -> bool:
    """Whether a live entry shows otherwise than before, other than by being called."""
    if before["status"] == "waiting" and after["status"] == "called":
        return False
    return any(after[name] != before[name] for name in _SHOWN)


def offer_seats(
    state: RoomState, writes: list[OutsideWrite], ctx: Context, out: Decision
) -> list[str]:
    """Hold a seat for everybody who was called from outside.

    As when staff call: with no seat free, whoever has had the longest to answer is skipped.

    Returns:
        Who could not be called, a sentence each; they wait on.
    """
    called = {write.after["id"] for write in writes if _calls(write) and write.after is not None}
    undone = []
    for entry in list(state.waitlist):
        whole = entry.seat_index is not None and entry.expires_at is not None
        if entry.status != "called" or (whole and entry.entry_id not in called):
            continue
        wished, entry.seat_index = entry.seat_index, None
        seat_index = wished if _may_hold(state, wished) else seat_for(state, entry)
        skipped = first_called(state) if seat_index is None else None
        if skipped is not None:
            seat_index = skipped.seat_index
            release(state, skipped, ctx, out)
        if seat_index is not None:
            call(state, entry, seat_index, ctx, out)
        else:
            release(state, entry, ctx, out)
            undone.append(f"no seat is free for {entry.player_id}, who waits on")
    return undone


def _may_hold(state: RoomState, seat_index: int | None) -> bool:
    return (
        seat_index is not None
        and seat_index < state.seat_count
        and seat_index not in state.seats
        and waitlist.holder(state, seat_index) is None
    )


def _calls(write: OutsideWrite) -> bool:
    before, after = _live(write.before), write.after
    return (
        write.relation == "waitlist"
        and after is not None
        and after["status"] == "called"
        and (before is None or before["status"] != "called")
    )


def _live(row: Row | None) -> Row | None:
    return row if row is not None and row["status"] in LIVE else None


def _tell(
    state: RoomState,
    change: WaitlistChange,
    row: Row,
    write: OutsideWrite,
    ctx: Context,
    out: Decision,
) -> None:
    entry = next((one for one in state.waitlist if one.entry_id == row["id"]), None)
    if entry is None or row["status"] not in LIVE or entry.player_id != row["player_id"]:
        entry = _entry(row, write.written_at)
    waitlist.tell(state, change, entry, ctx, out)


def _entry(row: Row, at: int) -> Waiting:
    """Draw an entry that is in the queue no more, for the telling."""
    return Waiting(
        entry_id=row["id"],
        player_id=row["player_id"],
        player_name=row["player_name"],
        has_client=row["has_client"],
        seat_number=row["seat_number"],
        game_type=row["game_type"],
        min_buy_in=row["min_buy_in"],
        max_buy_in=row["max_buy_in"],
        status=row["status"],
        source=row["source"],
        notes=row["notes"],
        seat_index=None,
        called_at=None,
        expires_at=None,
        created_at=at,
        updated_at=at,
    )
