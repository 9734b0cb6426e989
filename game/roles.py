"""Who may do what: a principal's role in a room, and the checks that refuse."""

from game.state import RoomState
from protocol.errors import ErrorCode, Refused
from protocol.principal import Principal
from protocol.values import RoomRole


def role_of(state: RoomState, user_id: str) -> RoomRole:
    """Return a user's role in a room, staff not considered."""
    if user_id == state.host_id:
        return "host"
    if state.seat_of(user_id) is not None:
        return "player"
    if user_id in state.spectators:
        return "spectator"
    member = state.members.get(user_id)
    if member is None or member.status == "rejected":
        return "guest"
    return member.status


def is_operator(state: RoomState, principal: Principal) -> bool:
    """Whether a principal may run the room: its host, or staff."""
    return principal.user_id == state.host_id or principal.role == "staff"


def may_watch(state: RoomState, principal: Principal) -> bool:
    """Whether a principal may get the room's public events and its snapshot."""
    return is_operator(state, principal) or role_of(state, principal.user_id) in (
        "player",
        "spectator",
        "approved",
    )


def name_in(state: RoomState, principal: Principal) -> str:
    """Return the name by which a room knows somebody, their own one if it does not yet."""
    member = state.members.get(principal.user_id)
    return member.display_name if member is not None else principal.name


def require_operator(state: RoomState, principal: Principal) -> None:
    """Refuse whoever may not run the room.

    Raises:
        Refused: `forbidden`.
    """
    if not is_operator(state, principal):
        raise Refused(ErrorCode.FORBIDDEN, "Only the host or staff may do this.")


def require_not_banned(state: RoomState, principal: Principal) -> None:
    """Refuse who is banned from the room; staff may enter regardless.

    Raises:
        Refused: `forbidden`, with the reason that was given.
    """
    ban = state.bans.get(principal.user_id)
    if ban is not None and not principal.is_staff:
        raise Refused(
            ErrorCode.FORBIDDEN,
            "You are banned from this room.",
            {"banned": True, "reason": ban.reason},
        )


def require_ban_lifted(state: RoomState, user_id: str) -> None:
    """Refuse to let somebody in, or to make somebody host, who is banned.

    Raises:
        Refused: `forbidden`.
    """
    if user_id in state.bans:
        raise Refused(ErrorCode.FORBIDDEN, "This user is banned; lift the ban first.")


def require_let_in(state: RoomState, principal: Principal) -> None:
    """Refuse whoever has not been let into the room.

    Raises:
        Refused: `not_approved`.
    """
    if not may_watch(state, principal):
        raise Refused(ErrorCode.NOT_APPROVED, "You have not been let into this room.")


def require_open(state: RoomState) -> None:
    """Refuse any change to a closed room.

    Raises:
        Refused: `room_closed`.
    """
    if state.closed:
        raise Refused(ErrorCode.ROOM_CLOSED, "This room is closed.")
