"""What HTTP answers carry, and how they are written: camelCase, with ``"success": true``.

The fields are those of the reply types of the protocol; here stand only those that the WebSocket
has no reply for. A hydrated room keeps its snake_case.
"""

from typing import Any, Literal

import msgspec
from msgspec import UNSET, Struct

from persistence.accounts import AuditLine, LedgerLine
from protocol.views import BanView, RoomSnapshot, RoomView, SpectatorView, WaitlistEntry
from server.answers import QuarantinedRoom
from server.archive import HandLine
from server.http.bodies import camel

NOT_ON_HTTP = frozenset({"re"})
"""Fields of replies that belong to the WebSocket's envelope."""


class RoomAnswer(Struct, frozen=True, kw_only=True):
    """One room's lobby entry."""

    room: RoomView


class BansAnswer(Struct, frozen=True, kw_only=True):
    """Who may not come in."""

    bans: list[BanView]


class SpectatorsAnswer(Struct, frozen=True, kw_only=True):
    """Who watches."""

    spectators: list[SpectatorView]


class QuarantineAnswer(Struct, frozen=True, kw_only=True):
    """The rooms that crashed too often."""

    rooms: list[QuarantinedRoom]


class LiftedAnswer(Struct, frozen=True, kw_only=True):
    """The room that goes on."""

    room_id: str


class LedgerAnswer(Struct, frozen=True, kw_only=True):
    """Entries, newest first; `next_before` asks for older ones, None when there are none."""

    entries: list[LedgerLine]
    next_before: int | None


class AuditAnswer(Struct, frozen=True, kw_only=True):
    """Lines, newest first; `next_before` asks for older ones, None when there are none."""

    entries: list[AuditLine]
    next_before: int | None


class HandsAnswer(Struct, frozen=True, kw_only=True):
    """Hands, newest first; `next_before` asks for older ones, None when there are none."""

    hands: list[HandLine]
    next_before: int | None


class WalletAnswer(Struct, frozen=True, kw_only=True):
    """A wallet after a change."""

    user_id: str
    balance: int


class EntriesAnswer(Struct, frozen=True, kw_only=True):
    """Entries of waitlists."""

    entries: list[WaitlistEntry]


class LimitsView(Struct, frozen=True, kw_only=True):
    """The limits that a client has to keep to; times in seconds, sizes in bytes."""

    max_message_bytes: int
    commands_per_second: int
    command_burst: int
    sockets_per_user: int
    missed_events_limit: int
    idle_socket_seconds: float
    auth_timeout_seconds: float


class ConfigAnswer(Struct, frozen=True, kw_only=True):
    """Where the socket is, which codings it speaks, and the limits."""

    ws_url: str
    subprotocols: list[str]
    limits: LimitsView


class HealthAnswer(Struct, frozen=True, kw_only=True):
    """The process answers."""

    status: Literal["ok"] = "ok"


class ReadyAnswer(Struct, frozen=True, kw_only=True):
    """Whether the club can be used, with particulars for an operator."""

    ready: bool
    details: dict[str, Any]
    """What they are is the club's matter."""


def write_answer(answer: object, kind: type[Struct], *, success: bool = True) -> bytes:
    """Encode the fields of `kind` that an answer has, in camelCase, flat beside `success`."""
    keep = issubclass(kind, RoomSnapshot)
    return msgspec.json.encode({"success": success, **_fields(answer, kind, keep=keep)})


def _fields(answer: object, kind: type[Struct], *, keep: bool = False) -> dict[str, object]:
    found: dict[str, object] = {}
    for name in kind.__struct_fields__:
        value = getattr(answer, name)
        if name not in NOT_ON_HTTP and value is not UNSET:
            found[name if keep else camel(name)] = value if keep else _plain(value)
    return found


def _plain(value: object) -> object:
    """Rename the fields of structs at any depth; the keys of a dict are data and stay."""
    if isinstance(value, Struct):
        return _fields(value, type(value))
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
