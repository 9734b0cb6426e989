"""What HTTP requests carry: bodies and queries as types, and how they are read.

Fields are camelCase, as existing clients send them; snake_case is taken too. Bounds are those of
the commands (protocol.values). A field that is not known is ignored, as in a WebSocket frame, but
not under `settings`: a setting that is misspelt there would be lost silently.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar
from urllib.parse import parse_qsl

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from protocol.codec import explain
from protocol.errors import ErrorCode, Refused, bad_field
from protocol.values import (
    ActionName,
    Chips,
    ChipsDelta,
    DisplayName,
    GameType,
    LooseSettings,
    Notes,
    Place,
    PositiveChips,
    Reason,
    RoomKey,
    RoomRole,
    RunItTimes,
    SeatIndex,
    SettingsPatch,
    UserKey,
)

UserRef = UserKey | Annotated[int, Meta(ge=0, le=2**63 - 1)]
"""A user id; the legacy ones are numbers and often sent as such."""
TableRef = RoomKey | Annotated[int, Meta(ge=0, le=2**63 - 1)]
"""A room's id, as a number where an older portal sends it so."""
LineId = Annotated[int, Meta(ge=1, le=2**63 - 1)]
HandNumber = Annotated[int, Meta(ge=1, le=2**31 - 1)]
HandsLimit = Annotated[int, Meta(ge=1, le=100)]
"""Fewer than lines of a ledger: each hand is played again to tell of it."""
Limit = Annotated[int, Meta(ge=1, le=500)]

FORM = "application/x-www-form-urlencoded"
MAX_FORM_FIELDS = 100

_WORD = re.compile(r"_([a-z0-9])")
_SETTINGS = frozenset(LooseSettings.__struct_fields__)


class Body(Struct, frozen=True, kw_only=True, rename="camel"):
    """Root of all bodies and queries."""


class NoBody(Body, frozen=True, kw_only=True):
    """Nothing is asked for."""


class MeBody(Body, frozen=True, kw_only=True):
    """`userId`, where given, is the asker's own."""

    user_id: UserRef | None = None


class NamedBody(MeBody, frozen=True, kw_only=True):
    """With the name that other people shall see; the known one where left out."""

    display_name: DisplayName | None = None


class UserBody(Body, frozen=True, kw_only=True):
    """The other user whom it is about."""

    user_id: UserRef


class ApproveBody(UserBody, frozen=True, kw_only=True):
    """Let a user in, or with ``"approved": false`` turn them down."""

    approved: bool = True


class SeatBody(NamedBody, frozen=True, kw_only=True):
    """Which seat, and how many chips from the wallet."""

    seat_index: SeatIndex
    buy_in: PositiveChips


class KickBody(UserBody, frozen=True, kw_only=True):
    """Whom to remove (and with a ban, to keep out), and why."""

    reason: Reason | None = None


class AdjustBody(UserBody, frozen=True, kw_only=True):
    """Whose stack to change by how much, and why."""

    delta: ChipsDelta
    reason: Reason


class TopUpBody(MeBody, frozen=True, kw_only=True):
    """How many chips from the wallet."""

    amount: PositiveChips


class CloseBody(MeBody, frozen=True, kw_only=True):
    """Why the room is closed."""

    reason: Reason | None = None


class ActionBody(MeBody, frozen=True, kw_only=True):
    """A decision; `amount` is the total that a bet or raise makes of the street bet."""

    action: ActionName
    amount: PositiveChips | None = None


class RunItBody(MeBody, frozen=True, kw_only=True):
    """How often the rest of the board is to be dealt."""

    times: RunItTimes


class CreditBody(Body, frozen=True, kw_only=True):
    """Chips into a wallet, negative ones out of it; `reason` is for the books."""

    amount: ChipsDelta
    reason: Reason


class WishesBody(Body, frozen=True, kw_only=True):
    """What somebody who waits for a seat wishes for, and their name where it is not known."""

    player_name: DisplayName | None = None
    seat_number: SeatIndex | None = None
    game_type: GameType | None = None
    min_buy_in: Chips | None = None
    max_buy_in: Chips | None = None
    notes: Notes | None = None


class SeatRequestBody(WishesBody, frozen=True, kw_only=True):
    """Who wants a seat at which table."""

    player_id: UserRef
    table_id: TableRef


class QueueBody(WishesBody, frozen=True, kw_only=True):
    """Who is to wait at the table of the path; without an id, somebody who has no client."""

    player_id: UserRef | None = None


class BuyInBody(MeBody, frozen=True, kw_only=True):
    """How many chips from the wallet."""

    buy_in: PositiveChips


class SeatWaitingBody(Body, frozen=True, kw_only=True):
    """Which seat, and how many chips from the player's wallet; none for who sits already."""

    seat_index: SeatIndex | None = None
    buy_in: PositiveChips | None = None


class MoveBody(Body, frozen=True, kw_only=True):
    """Which place in line, 1 being the first."""

    position: Place


class RoomBody(NamedBody, frozen=True, kw_only=True):
    """Settings, under `settings` or flat beside it; what stands under `settings` wins."""

    settings: SettingsPatch | UnsetType = UNSET
    loose: LooseSettings = LooseSettings()

    def patch(self) -> SettingsPatch:
        """Return the settings that were given."""
        given = msgspec.structs.asdict(self.loose)
        if self.settings is not UNSET:
            given |= {
                name: value
                for name, value in msgspec.structs.asdict(self.settings).items()
                if value is not UNSET
            }
        return SettingsPatch(**given)


class HydrateQuery(MeBody, frozen=True, kw_only=True):
    """Ask for a lesser role's view."""

    role: RoomRole | None = None


class LedgerQuery(MeBody, frozen=True, kw_only=True):
    """`before`: only entries older than the one with this id."""

    before: LineId | None = None
    limit: Limit = 50


class HandsQuery(MeBody, frozen=True, kw_only=True):
    """`before`: only hands with a lower number."""

    before: HandNumber | None = None
    limit: HandsLimit = 20


class AuditQuery(Body, frozen=True, kw_only=True):
    """Only lines that agree with all of these."""

    user_id: UserRef | None = None
    subject_id: UserRef | None = None
    room_id: UserKey | None = None
    action: UserKey | None = None
    before: LineId | None = None
    limit: Limit = 100


B = TypeVar("B", bound=Body)


def camel(name: str) -> str:
    """Turn ``display_name`` into ``displayName``."""
    return _WORD.sub(lambda match: match[1].upper(), name)


def snake(name: str) -> str:
    """Turn ``displayName`` into ``display_name``."""
    return re.sub(r"(?<!^)([A-Z])", r"_\1", name).lower()


def read_body(data: bytes, kind: type[B]) -> B:
    """Decode a JSON body; an empty one has no fields.

    Raises:
        Refused: `bad_request`, with the field's path where there is one.
    """
    try:
        plain = msgspec.json.decode(data) if data.strip() else {}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Refused(ErrorCode.BAD_REQUEST, "The body is not valid JSON.") from None
    if not isinstance(plain, dict):
        raise Refused(ErrorCode.BAD_REQUEST, "The body is not a JSON object.")
    return _converted(plain, kind, strict=True)


def read_query(values: Mapping[str, str], kind: type[B]) -> B:
    """Convert a query, whose values are all text; one that is left empty counts as left out.

    Raises:
        Refused: `bad_request`, with the field.
    """
    given = {name: value for name, value in values.items() if value}
    return _converted(given, kind, strict=False)


def read_form(data: bytes, kind: type[B]) -> B:
    """Decode a body that is a form.

    Raises:
        Refused: `bad_request`, with the field where there is one.
    """
    try:
        fields = parse_qsl(data.decode(), errors="strict", max_num_fields=MAX_FORM_FIELDS)
    except ValueError:
        raise Refused(ErrorCode.BAD_REQUEST, "The body is not a form.") from None
    return read_query(dict(fields), kind)


def _converted(plain: dict[str, Any], kind: type[B], *, strict: bool) -> B:
    fields = {camel(name): value for name, value in plain.items()}
    if issubclass(kind, RoomBody):
        fields["loose"] = {k: v for k, v in _in_snake(fields).items() if k in _SETTINGS}
        nested = fields.get("settings")
        if isinstance(nested, dict):
            fields["settings"] = _in_snake(nested)
    try:
        return msgspec.convert(fields, kind, strict=strict)
    except msgspec.ValidationError as error:
        message, field = explain(error)
        if field is None:
            raise Refused(ErrorCode.BAD_REQUEST, message) from None
        raise bad_field(camel(field.removeprefix("loose.")), message) from None


def _in_snake(settings: dict[str, Any]) -> dict[str, Any]:
    """Name settings as the WebSocket does, those within a setting too."""
    return {
        snake(name): {snake(k): v for k, v in value.items()} if isinstance(value, dict) else value
        for name, value in settings.items()
    }
