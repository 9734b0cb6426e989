"""The push notifications of rooms: rows that are queued with what they announce."""

import msgspec
from msgspec import Raw

from game.changes import PushQueued
from game.state import Member, RoomState
from protocol.events import SeatOffered


def seat_offer(state: RoomState, player_id: str, offer: SeatOffered, now: int) -> PushQueued:
    """Tell a player of a seat that is held for them, for as long as it is."""
    return PushQueued(
        "seat_offer",
        player_id,
        "Your seat is ready",
        f"Seat {offer.seat_index} at {state.settings.name} is held for you.",
        _data(
            table_id=offer.table_id,
            entry_id=offer.entry_id,
            seat_index=offer.seat_index,
            expires_at=offer.expires_at,
        ),
        offer.expires_at,
        now,
    )


def join_request(state: RoomState, member: Member) -> PushQueued:
    """Tell the host of somebody who asks to be let in."""
    return PushQueued(
        "join_request",
        state.host_id,
        f"{member.display_name} asks to join",
        f"{state.settings.name} waits for your answer.",
        _data(room_id=state.room_id, user_id=member.user_id, display_name=member.display_name),
        None,
        member.requested_at,
    )


def _data(**values: object) -> Raw:
    return Raw(msgspec.json.encode(values))
