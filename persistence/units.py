"""What one commit holds: what an actor decided, as rows, and the fence that guards it."""

from operator import attrgetter
from typing import NamedTuple

import msgspec
from msgspec import Raw

from game.changes import (
    AuditEntry,
    BanGone,
    BanPut,
    Change,
    EventTold,
    MemberGone,
    MemberPut,
    PushQueued,
    RoomPut,
    SeatGone,
    SeatPut,
    SittingEnded,
    SittingStarted,
    SpectatorGone,
    SpectatorPut,
    TokensRevoked,
    WalletMove,
)


class TokenGranted(NamedTuple):
    """A new rejoin token (its SHA-256 in hex); the one before it is good until `old_good_until`."""

    room_id: str
    user_id: str
    role: str
    seat_index: int | None
    token_hash: str
    created_at: int
    expires_at: int
    old_good_until: int


class CommandDone(NamedTuple):
    """The outcome of a command that carried an id, so that it happens at most once."""

    command_id: str
    user_id: str
    room_id: str
    type: str
    outcome: Raw
    at: int


class Advance(NamedTuple):
    """The fence of one unit: the room is moved on only from this epoch, seq and number of writes
    from outside."""

    room_id: str
    epoch: int
    seq: int
    next_seq: int
    unit_id: int
    state: Raw
    outside: int


class ChatAdvance(NamedTuple):
    """The fence of a chat session's unit, and its row: it is moved on only from this seq and number
    of writes from outside, or made (`opens`)."""

    session_id: str
    seq: int
    next_seq: int
    unit_id: int
    outside: int
    opens: bool
    player_id: str
    player_name: str
    initial_message: str
    status: str
    assigned_staff: str | None
    assigned_staff_name: str | None
    urgency: str
    unread_by_player: int
    unread_by_staff: int
    created_at: int
    updated_at: int
    waiting_since: int
    first_reply_at: int | None
    last_message_at: int | None
    resolved_at: int | None


Row = Change | TokenGranted | CommandDone

_MEMBERSHIP = frozenset(
    {
        RoomPut,
        MemberPut,
        MemberGone,
        SeatPut,
        SeatGone,
        SpectatorPut,
        SpectatorGone,
        SittingStarted,
        SittingEnded,
        WalletMove,
        TokensRevoked,
        TokenGranted,
        AuditEntry,
        BanPut,
        BanGone,
    }
)
_encode = msgspec.json.Encoder().encode


class CommitUnit:
    """Everything that one decision writes, committed whole or not at all.

    Args:
        advance: the fence.
        rows: the rows, in any order; those of one kind keep theirs.
    """

    __slots__ = ("advance", "key", "rows")

    def __init__(self, advance: Advance | ChatAdvance, rows: list[Row]) -> None:
        self.advance = advance
        self.key = advance[0]
        """The id of the room, or of the chat session, that the unit belongs to."""
        self.rows = rows

    @property
    def queues_push(self) -> bool:
        """Whether a push notification is among the rows."""
        return PushQueued in map(type, self.rows)


def encode_batch(units: list[CommitUnit]) -> bytes:
    """Write units as the one document that `commit_batch` takes (0004_chat.sql has it)."""
    # Rooms are locked in one order, whoever locks many of them (see persistence.seen).
    units = sorted(units, key=attrgetter("key"))
    rooms: list[tuple[object, ...]] = []
    chats: list[tuple[object, ...]] = []
    for unit in units:
        (rooms if type(unit.advance) is Advance else chats).append(unit.advance)
    batch: dict[str, list[tuple[object, ...]] | bool] = {"Advance": rooms}
    if chats:
        batch["ChatAdvance"] = chats
    events: list[tuple[object, ...]] = []
    kinds: dict[type, list[tuple[object, ...]]] = {EventTold: events}
    for unit in units:
        for row in unit.rows:
            kind = type(row)
            found = kinds.get(kind)
            if found is None:
                kinds[kind] = [row]
            else:
                found.append(row)
    for kind, rows in kinds.items():
        batch[kind.__name__] = rows
    if not _MEMBERSHIP.isdisjoint(kinds):
        batch["Membership"] = True
    return _encode(batch)
