"""Everything that the client raises.

ClientError
├── Refused                what the server answered with an error; it changed nothing
│   └── NotAuthenticated   the token is not accepted
├── ConnectionClosed       the socket is closed, with the close code
├── ConnectFailed          no socket could be opened
├── TimedOut
│   ├── NotSent            the command never left: it did not happen
│   └── OutcomeUnknown     the command left, and no answer came back in time
├── RoomGone               a live room is not followed any more
└── Lagged                 a reader of a live room's events did not keep up
"""

from typing import Self

from protocol.errors import ErrorCode

FIRST_PERMANENT_CLOSE = 4500
ABNORMAL_CLOSE = 1006
"""RFC 6455, 7.1.5: the connection went away without a Close."""


class ClientError(Exception):
    """The root of what the client raises."""


class Refused(ClientError):
    """The server refused a command; nothing changed.

    Args:
        code: the wire code, such as ``seat_taken``; a server may know more than `ErrorCode`.
        message: a sentence for people.
        details: machine-readable particulars.
        retry_after_s: seconds after which a retry makes sense, or None.
    """

    def __init__(
        self,
        code: str,
        message: str,
        details: dict[str, object] | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.details = details or {}
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"

    @classmethod
    def from_reply(cls, reply: dict[str, object]) -> "Refused":
        """Read an `error` reply."""
        code, details, wait = reply.get("code"), reply.get("details"), reply.get("retry_after")
        kind = NotAuthenticated if code == ErrorCode.UNAUTHENTICATED else cls
        return kind(
            str(code),
            str(reply.get("message", "")),
            details if isinstance(details, dict) else None,
            float(wait) if isinstance(wait, int | float) else None,
        )


class NotAuthenticated(Refused):
    """The server does not accept the token (or has seen none)."""


class ConnectionClosed(ClientError):
    """The socket is closed: `code` as in RFC 6455 and `protocol.errors.CloseCode`."""

    def __init__(self, code: int = ABNORMAL_CLOSE, reason: str | None = None) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason

    def __str__(self) -> str:
        return f"connection closed with {self.code}" + (f" ({self.reason})" if self.reason else "")

    @property
    def permanent(self) -> bool:
        """Whether connecting again is pointless."""
        return FIRST_PERMANENT_CLOSE <= self.code < 5000

    def again(self) -> Self:
        """Make a fresh copy, for one more task to raise."""
        return type(self)(self.code, self.reason)


class ConnectFailed(ClientError):
    """No socket could be opened; `status` is the HTTP status where the server gave one."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class TimedOut(ClientError):
    """No answer within the time that was given."""


class NotSent(TimedOut):
    """There was no connection all the time: the command did not happen."""


class OutcomeUnknown(TimedOut):
    """The command was sent and may have happened.

    `command_id` is its id: sending it again under the same id is safe, and tells.
    """

    def __init__(self, command_id: str | None) -> None:
        super().__init__("no answer in time; the command may have been carried out")
        self.command_id = command_id


class RoomGone(ClientError):
    """A room is not followed any more; `refusal` says why where the server said so."""

    def __init__(self, room_id: str, refusal: ClientError | None = None) -> None:
        super().__init__(room_id, refusal)
        self.room_id = room_id
        self.refusal = refusal

    def __str__(self) -> str:
        return f"room {self.room_id} is not followed any more: {self.refusal or 'left'}"


class Lagged(ClientError):
    """More events came than a reader's buffer holds."""
