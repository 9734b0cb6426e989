"""A served transport and a client that can misbehave, for the tests of the transport."""

from __future__ import annotations

import base64
import os
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import trio

from server.transport import (
    Connection,
    Endpoint,
    HandshakeRequest,
    Refusal,
    Transport,
    TransportLimits,
    frame,
    serve,
)

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10

OnMessage = Callable[[Connection, bytes | str], None]


def echo(connection: Connection, data: bytes | str) -> None:
    """Send a message back as it came."""
    if isinstance(data, str):
        connection.enqueue(frame(data.encode(), text=True))
    else:
        connection.enqueue(frame(data, text=False))


@dataclass
class RecordingSession:
    """Keeps what it is told."""

    connection: Connection
    handle: OnMessage
    messages: list[bytes | str] = field(default_factory=list)
    closes: list[tuple[int, str]] = field(default_factory=list)
    closed: trio.Event = field(default_factory=trio.Event)

    def on_message(self, data: bytes | str) -> None:
        self.messages.append(data)
        self.handle(self.connection, data)

    def on_closed(self, code: int, reason: str) -> None:
        self.closes.append((code, reason))
        self.closed.set()

    async def closing(self) -> tuple[int, str]:
        """Wait until it is told of its end, and return with what."""
        await self.closed.wait()
        return self.closes[0]


class RecordingEndpoint:
    """Opens recording sessions and keeps them in order."""

    def __init__(
        self,
        handle: OnMessage = echo,
        subprotocols: Sequence[str] = (),
        greet: Callable[[Connection], None] | None = None,
    ) -> None:
        self.subprotocols = subprotocols
        self.sessions: list[RecordingSession] = []
        self._handle = handle
        self._greet = greet

    def open(self, connection: Connection) -> RecordingSession:
        session = RecordingSession(connection, self._handle)
        self.sessions.append(session)
        if self._greet is not None:
            self._greet(connection)
        return session


@dataclass
class Served:
    """A running transport with one endpoint at `/ws`."""

    port: int
    transport: Transport
    endpoint: RecordingEndpoint
    scope: trio.CancelScope

    @property
    def session(self) -> RecordingSession:
        """The session that was opened last."""
        return self.endpoint.sessions[-1]


@asynccontextmanager
async def serving(
    limits: TransportLimits | None = None,
    *,
    handle: OnMessage = echo,
    endpoint: RecordingEndpoint | None = None,
    allowed_origins: frozenset[str] | None = None,
    listener: socket.socket | None = None,
) -> AsyncIterator[Served]:
    """Serve on a free port."""
    endpoint = endpoint or RecordingEndpoint(handle)
    found = endpoint

    def route(request: HandshakeRequest) -> Endpoint | Refusal:
        if request.path == "/broken":
            raise RuntimeError("route")
        return found if request.path == "/ws" else Refusal(404, "Not found.")

    if listener is None:
        listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    async with trio.open_nursery() as nursery:

        async def run(
            task_status: trio.TaskStatus[Transport] = trio.TASK_STATUS_IGNORED,
        ) -> None:
            await serve(
                [listener],
                route,
                limits or TransportLimits(),
                allowed_origins=allowed_origins,
                task_status=task_status,
            )

        transport: Transport = await nursery.start(run)
        yield Served(port, transport, endpoint, nursery.cancel_scope)
        nursery.cancel_scope.cancel()


def masked(
    opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, mask: bool = True
) -> bytes:
    """Return a client's frame; the arguments allow for wrong ones."""
    first = (0x80 if fin else 0) | rsv << 4 | opcode
    flag = 0x80 if mask else 0
    if len(payload) < 126:
        head = bytes((first, flag | len(payload)))
    elif len(payload) < 65536:
        head = bytes((first, flag | 126)) + len(payload).to_bytes(2, "big")
    else:
        head = bytes((first, flag | 127)) + len(payload).to_bytes(8, "big")
    if not mask:
        return head + payload
    key = os.urandom(4)
    return head + key + bytes(byte ^ key[at % 4] for at, byte in enumerate(payload))


def upgrade(path: str = "/ws", **headers: str) -> bytes:
    """Return an upgrade request; an empty header value leaves that header out."""
    fields = {
        "Host": "localhost",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
        "Sec-WebSocket-Version": "13",
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    lines = [f"GET {path} HTTP/1.1", *(f"{name}: {v}" for name, v in fields.items() if v)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


class Peer:
    """A client on a bare socket."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self._buffer = b""

    async def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        await self.stream.send_all(data)

    async def read(self, count: int) -> bytes:
        """Read exactly `count` bytes; EOFError at the end."""
        while len(self._buffer) < count:
            data = await self.stream.receive_some()
            if not data:
                raise EOFError
            self._buffer += bytes(data)
        taken, self._buffer = self._buffer[:count], self._buffer[count:]
        return taken

    async def read_head(self) -> str:
        """Read an HTTP response up to its body."""
        while b"\r\n\r\n" not in self._buffer:
            data = await self.stream.receive_some()
            if not data:
                raise EOFError
            self._buffer += bytes(data)
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        return head.decode()

    async def read_frame(self) -> tuple[int, bytes]:
        """Read one frame: opcode and payload. A server's frame is whole and unmasked."""
        first, length = await self.read(2)
        assert first & 0xF0 == 0x80
        assert length < 128
        if length == 126:
            length = int.from_bytes(await self.read(2), "big")
        elif length == 127:
            length = int.from_bytes(await self.read(8), "big")
        return first & 0x0F, await self.read(length)

    async def read_close(self) -> tuple[int, str]:
        """Read up to the Close frame and return what it says."""
        while True:
            opcode, payload = await self.read_frame()
            if opcode == CLOSE:
                return int.from_bytes(payload[:2], "big"), payload[2:].decode()

    async def read_all(self) -> None:
        """Read to the end of the stream; trio.BrokenResourceError if it is a reset."""
        while await self.stream.receive_some():
            pass

    async def read_end(self) -> None:
        """Wait until the server has ended the stream or reset it."""
        with suppress(trio.BrokenResourceError):
            await self.read_all()

    def reset(self) -> None:
        """Go away without a word, as a crashed machine's kernel says it."""
        self.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.stream.socket.close()


@asynccontextmanager
async def dialled(port: int, receive_buffer: int | None = None) -> AsyncIterator[Peer]:
    """Connect and say nothing."""
    sock = trio.socket.socket()
    if receive_buffer is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    with sock:
        await sock.connect(("127.0.0.1", port))
        yield Peer(trio.SocketStream(sock))


@asynccontextmanager
async def connected(
    port: int, receive_buffer: int | None = None, **headers: str
) -> AsyncIterator[Peer]:
    """Connect and finish the handshake."""
    async with dialled(port, receive_buffer) as peer:
        await peer.send(upgrade(**headers))
        head = await peer.read_head()
        assert head.startswith("HTTP/1.1 101 "), head
        yield peer
