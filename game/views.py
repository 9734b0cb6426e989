"""Rooms as replies tell them."""

from msgspec import structs

from game.state import RoomState
from protocol.views import RoomView


def room_view(state: RoomState) -> RoomView:
    """Draw the room's own view."""
    return RoomView(
        id=state.room_id,
        code=state.code,
        host_id=state.host_id,
        status=state.status,
        created_at=state.created_at,
        next_settings=state.next_settings,
        **structs.asdict(state.settings),
    )
