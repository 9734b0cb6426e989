"""Wire error codes and the error reply."""

from enum import StrEnum

from msgspec import UNSET, Struct, UnsetType


class ErrorCode(StrEnum):
    """Every code that an `error` reply or a problem document may carry."""

    BAD_REQUEST = "bad_request"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    NOT_YOUR_TURN = "not_your_turn"
    ILLEGAL_ACTION = "illegal_action"
    SEAT_TAKEN = "seat_taken"
    ALREADY_JOINED = "already_joined"
    NOT_APPROVED = "not_approved"
    INSUFFICIENT_BALANCE = "insufficient_balance"
    ROOM_FULL = "room_full"
    ROOM_CLOSED = "room_closed"
    CONFLICT = "conflict"
    RATE_LIMITED = "rate_limited"
    TOO_LARGE = "too_large"
    BUSY = "busy"
    UNAVAILABLE = "unavailable"
    ROOM_UNAVAILABLE = "room_unavailable"
    MOVED = "moved"
    INTERNAL = "internal"


class CloseCode:
    """WebSocket close codes: RFC 6455's, 4000–4499 (reconnect), 4500–4999 (do not)."""

    BYE = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    UNSUPPORTED_DATA = 1003
    INVALID_DATA = 1007
    TOO_LARGE = 1009
    INTERNAL = 1011
    RESTARTING = 1012
    IDLE = 4000
    TOO_SLOW = 4008
    FLOODING = 4029
    NOT_AUTHENTICATED = 4501
    FORBIDDEN = 4503
    TOO_MANY_SOCKETS = 4509


class ErrorReply(Struct, tag_field="type", tag="error"):
    """A refusal of the command `re` (None: the frame carried no readable id).

    `message` is a sentence for people. `details` names the field or what would be legal.
    `retry_after` is in seconds, present where trying again later makes sense.
    """

    re: int | None
    code: ErrorCode
    message: str
    details: dict[str, object] | UnsetType = UNSET
    retry_after: float | UnsetType = UNSET


class Refused(Exception):
    """A command that the client must change or send later; it changed nothing.

    Args:
        code: the wire code.
        message: a sentence for people, free of secrets.
        details: machine-readable particulars, such as ``{"field": "amount"}``.
        retry_after_s: seconds after which a retry makes sense, or None.
    """

    def __init__(
        self,
        code: ErrorCode,
        message: str,
        details: dict[str, object] | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.details = details
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"

    def reply(self, re: int | None) -> ErrorReply:
        """Compose the error reply to the command with id `re`."""
        return ErrorReply(
            re,
            self.code,
            self.message,
            UNSET if self.details is None else self.details,
            UNSET if self.retry_after_s is None else self.retry_after_s,
        )


def bad_field(field: str, message: str) -> Refused:
    """Make the `bad_request` refusal that names the field at fault."""
    return Refused(ErrorCode.BAD_REQUEST, message, {"field": field})
