"""What is told of a waitlist: everything to the room and to staff, their own to those who wait."""

from msgspec import UNSET, structs

from game import pushes
from game.decision import Context, Decision
from game.state import RoomState, Waiting
from protocol.events import SeatOffered, WaitlistEnded, WaitlistPosition, WaitlistUpdate
from protocol.values import WaitlistChange
from protocol.views import WaitlistEntry, WaitlistPlace

LIVE = frozenset({"waiting", "called"})


def tell(
    state: RoomState, change: WaitlistChange, entry: Waiting, ctx: Context, out: Decision
) -> None:
    """Tell room and staff what happened to an entry, with the whole queue as it is after that.

    The entry may have left the queue. Its player is told on their own channel of a seat held for
    them (by push notification too) and of the end of their waiting; where in line they stand,
    `settle` tells them.
    """
    update = WaitlistUpdate(
        change,
        entry.player_id,
        entry.player_name,
        state.room_id,
        state.places.get(entry.entry_id),
        ctx.now,
        shown_places(state),
    )
    out.emit(update, ctx.now)
    out.tell_staff(structs.replace(update), ctx.now)
    if not entry.has_client:
        return
    if entry.status not in LIVE:
        ended = WaitlistEnded(state.room_id, entry.entry_id, entry.status)
        out.tell_user(entry.player_id, ended, ctx.now)
    elif change == "player_called" and None not in (entry.seat_index, entry.expires_at):
        assert entry.seat_index is not None
        assert entry.expires_at is not None
        offer = SeatOffered(state.room_id, entry.entry_id, entry.seat_index, entry.expires_at)
        out.tell_user(entry.player_id, offer, ctx.now)
        out.write(pushes.seat_offer(state, entry.player_id, offer, ctx.now))


def tell_places(state: RoomState, ctx: Context, out: Decision) -> None:
    """Tell each player whose place in line is another than they were last told."""
    at = state.places
    for entry, place in zip(state.waitlist, at.values(), strict=True):
        if entry.has_client and out.places_told.get(entry.entry_id) != place:
            moved = WaitlistPosition(state.room_id, entry.entry_id, place, place - 1)
            out.tell_user(entry.player_id, moved, ctx.now)
    out.places_told = at


def shown_places(state: RoomState) -> list[WaitlistPlace]:
    """Draw the queue as everybody may see it, first in line first."""
    return [
        WaitlistPlace(
            id=entry.entry_id,
            player_id=entry.player_id,
            player_name=entry.player_name,
            position=place,
            status=entry.status,
            seat_number=entry.seat_number,
            seat_index=entry.seat_index,
            expires_at=entry.expires_at,
            created_at=entry.created_at,
        )
        for place, entry in enumerate(state.waitlist, 1)
    ]


def entry_view(state: RoomState, entry: Waiting, *, notes: bool) -> WaitlistEntry:
    """Draw an entry whole, with what is noted about it or without."""
    return WaitlistEntry(
        id=entry.entry_id,
        table_id=state.room_id,
        player_id=entry.player_id,
        player_name=entry.player_name,
        has_client=entry.has_client,
        seat_number=entry.seat_number,
        position=state.places.get(entry.entry_id),
        game_type=entry.game_type,
        min_buy_in=entry.min_buy_in,
        max_buy_in=entry.max_buy_in,
        status=entry.status,
        source=entry.source,
        seat_index=entry.seat_index,
        called_at=entry.called_at,
        expires_at=entry.expires_at,
        created_at=entry.created_at,
        updated_at=entry.updated_at,
        notes=entry.notes if notes else UNSET,
    )
