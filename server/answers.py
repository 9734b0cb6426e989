"""What the club answers where the protocol has no reply for it."""

from msgspec import Struct

from persistence.accounts import RoomOfUser
from persistence.overview import TableOverview
from persistence.push import PushCounts
from persistence.snapshot import Standing
from protocol.values import ClubRole, RoomRole


class Membership(Struct, frozen=True, kw_only=True):
    """Where a user stands with a room."""

    room_id: str
    user_id: str
    status: Standing
    role: RoomRole
    rejoin_token: str | None


class Me(Struct, frozen=True, kw_only=True):
    """A user's own page: wallet balance in chips, and the rooms that they are in."""

    user_id: str
    name: str
    role: ClubRole
    balance: int
    rooms: list[RoomOfUser]


class QuarantinedRoom(Struct, frozen=True, kw_only=True):
    """A room that crashed too often: since when (UTC, ms), the last error's kind and its id in the
    log."""

    room_id: str
    since: int
    reason: str
    crash_id: str


class QuarantinedChat(Struct, frozen=True, kw_only=True):
    """A conversation that crashed too often, as `QuarantinedRoom`."""

    session_id: str
    since: int
    reason: str
    crash_id: str


class Overview(Struct, frozen=True, kw_only=True):
    """The floor: how many rooms are open, those rooms (newest first), how many conversations wait
    for an answer, which rooms and conversations are out of order, and what became of push
    notifications."""

    open_rooms: int
    rooms: list[TableOverview]
    waiting_chats: int
    quarantined: list[QuarantinedRoom]
    quarantined_chats: list[QuarantinedChat]
    push_notifications: PushCounts
