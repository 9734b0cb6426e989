"""What one commit holds: a room's decision as rows, and the fence that guards it."""

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

    __slots__ = ("advance", "rows")

    def __init__(self, advance: Advance, rows: list[Row]) -> None:
        self.advance = advance
        self.rows = rows

    @property
    def room_id(self) -> str:
        """The room that the unit belongs to."""
        return self.advance.room_id


def encode_batch(units: list[CommitUnit]) -> bytes:
    """Write units as the one document that `commit_batch` takes (see 0003_club.sql)."""
    # Rooms are locked in one order, whoever locks many of them (see persistence.seen).
    units = sorted(units, key=lambda unit: unit.room_id)
    batch: dict[str, list[tuple[object, ...]] | bool] = {"Advance": [u.advance for u in units]}
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
