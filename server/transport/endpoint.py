"""What the transport asks of its user: where a request goes, and who takes its messages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeAlias

from server.transport.frames import PING

if TYPE_CHECKING:
    from server.transport.connection import Connection


@dataclass(frozen=True, slots=True)
class HandshakeRequest:
    """The upgrade request of a client.

    Query and headers may hold tokens, so they are not part of its `repr`.

    Attributes:
        path: Percent-decoded, without the query.
        query: The last value of each name.
        headers: By lower-case name; repeated ones are joined with a comma.
        peer: Address of the client, `host:port`.
    """

    path: str
    query: Mapping[str, str] = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    peer: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """An HTTP answer instead of a WebSocket.

    Attributes:
        status: HTTP status, 400 to 599.
        text: Body of the answer, for people.
    """

    status: int
    text: str


@dataclass(frozen=True, slots=True)
class Dialect:
    """What a protocol over WebSockets does in its own way.

    Attributes:
        ping: Ready frames that a silent client is to answer.
        close_codes: What is sent in place of a close code of ours, where there is something.
    """

    ping: bytes
    close_codes: Mapping[int, int]


NATIVE = Dialect(PING, {})
"""Pings and close codes of the WebSocket itself."""


class Session(Protocol):
    """What one open connection talks to. Both methods are called from the reader's tasks."""

    def on_message(self, data: bytes | str) -> None:
        """Take one message, without waiting for anything.

        An exception out of here closes this connection with 1011 and is logged.

        Args:
            data: `bytes` of a binary message, `str` of a text message.
        """

    def on_closed(self, code: int, reason: str) -> None:
        """Learn that no message will come any more and none can be sent. Called exactly once.

        It is never called from within `enqueue` or `close`, so those are safe in loops over
        connections.

        Args:
            code: The code that the connection was closed with by us, else the peer's, else 1006.
            reason: The text beside it.
        """


class Endpoint(Protocol):
    """One route's side of the handshake."""

    @property
    def subprotocols(self) -> Sequence[str]:
        """The subprotocols spoken here, best first; empty for none.

        A client that asks for none gets none. One that asks only for others is refused with 400.
        """

    def open(self, connection: Connection) -> Session:
        """Return the session of a connection whose handshake has just succeeded.

        May enqueue and close at once. An exception closes the connection with 1011 and is logged.
        """


Route: TypeAlias = Callable[[HandshakeRequest], Endpoint | Refusal]
"""Finds the endpoint of a request. An exception is logged and answered with 500."""
