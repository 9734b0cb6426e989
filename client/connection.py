"""One socket: commands out, replies matched by id, events in order.

trio-websocket answers pings and does the handshakes. Everything that can take long is bounded here,
since it has no send timeout, no keepalive and a connect timeout of a minute. Frames leave through
one task: a caller that is cancelled never cuts a frame short.
"""

import math
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import NoReturn
from urllib.parse import urlsplit

import msgspec
import trio
import trio_websocket
from msgspec import structs

from client.errors import ABNORMAL_CLOSE, ConnectFailed, ConnectionClosed, Refused
from client.messages import RawMessage
from client.timing import Timing
from protocol.codec import Coding, decode_anything, encode
from protocol.commands import Command, Heartbeat
from protocol.errors import CloseCode

MAX_MESSAGE_BYTES = 8 * 1024 * 1024
"""The largest message taken: a snapshot, or 300 missed events."""

CANCELLED_CLOSE_S = 0.1
"""Longest time for a Close to go into the socket of a connection that is cancelled."""

Arrived = Callable[[RawMessage], None]
"""Called with a reply at its place in the stream: before anything that the server sent after it."""


class _Request:
    """A command whose reply is awaited."""

    __slots__ = ("arrived", "done", "error", "reply")

    def __init__(self, arrived: Arrived | None) -> None:
        self.arrived = arrived
        self.done = trio.Event()
        self.reply: RawMessage | None = None
        self.error: Exception | None = None


class Connection:
    """An open socket. Made by `open_connection`."""

    def __init__(
        self,
        socket: trio_websocket.WebSocketConnection,
        coding: Coding,
        on_event: Callable[[RawMessage], None],
        timing: Timing,
    ) -> None:
        self.coding = coding
        self._socket = socket
        self._on_event = on_event
        self._timing = timing
        self._requests: dict[int, _Request] = {}
        self._last_id = 0
        self._outgoing, self._frames = trio.open_memory_channel[bytes | str](float("inf"))
        self._closed = trio.Event()
        self._closing = trio.Lock()
        self._reason: ConnectionClosed | None = None

    @property
    def closed(self) -> ConnectionClosed | None:
        """Why the connection is closed; None while it is open."""
        return self._reason

    async def wait_closed(self) -> ConnectionClosed:
        """Wait for the connection to end, and return why."""
        await self._closed.wait()
        assert self._reason is not None
        return self._reason

    async def request(self, command: Command, arrived: Arrived | None = None) -> RawMessage:
        """Send a command and return its reply, however many others are under way.

        The command gets the next `id`; the object itself is left as it is. Cancelled, the command
        may still be carried out.

        Args:
            command: what to send.
            arrived: called with the reply before any later message is looked at.

        Raises:
            Refused: the server answered with an error.
            ConnectionClosed: before an answer came.
        """
        if self._reason is not None:
            raise self._reason.again()
        self._last_id += 1
        number = self._last_id
        request = self._requests[number] = _Request(arrived)
        data = encode(self.coding, structs.replace(command, id=number))
        self._outgoing.send_nowait(data if self.coding is Coding.MSGPACK else data.decode())
        try:
            await request.done.wait()
        finally:
            self._requests.pop(number, None)
        if request.error is not None:
            raise request.error
        assert request.reply is not None
        return request.reply

    async def request_soon(self, command: Command, arrived: Arrived | None = None) -> RawMessage:
        """Do as `request`, but give the connection up when no answer comes within `reply_s`.

        Raises:
            Refused, ConnectionClosed: as `request`.
        """
        with trio.move_on_after(self._timing.reply_s):
            return await self.request(command, arrived)
        self.abandon("no answer in time")
        assert self._reason is not None
        raise self._reason.again()

    def abandon(self, why: str) -> None:
        """Count the connection as lost, without waiting for the server to agree."""
        self._end(ConnectionClosed(ABNORMAL_CLOSE, why))

    async def aclose(self, code: int = CloseCode.BYE) -> None:
        """Close with a code, waiting at most `close_s` for the server's Close.

        Also when cancelled: the Close is sent all the same, but nobody waits for the answer.
        """
        cancelled = trio.current_effective_deadline() == -math.inf
        limit = min(CANCELLED_CLOSE_S, self._timing.close_s) if cancelled else self._timing.close_s
        with trio.move_on_after(limit, shield=True):
            # One at a time: who comes second must not leave before the first has its answer.
            async with self._closing:
                await self._socket.aclose(code)
        self._end(ConnectionClosed(code, "closed here"))

    async def serve(self) -> None:
        """Read, write and send heartbeats until the connection ends; `open_connection` runs it."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._read)
            nursery.start_soon(self._write)
            nursery.start_soon(self._beat)
            await self._closed.wait()
            nursery.cancel_scope.cancel()

    async def _read(self) -> None:
        try:
            while True:
                self._take(await self._socket.get_message())
        except trio_websocket.ConnectionClosed as closed:
            reason = closed.reason
            # A library that lost the connection gives wsproto's enum for the reason itself.
            code = int(getattr(reason, "code", ABNORMAL_CLOSE) or ABNORMAL_CLOSE)
            self._end(ConnectionClosed(code, getattr(reason, "reason", None)))
        except msgspec.DecodeError:
            self.abandon("the server sent what is no message")

    async def _write(self) -> None:
        try:
            async for frame in self._frames:
                with trio.move_on_after(self._timing.send_s) as scope:
                    await self._socket.send_message(frame)
                if scope.cancelled_caught:
                    self.abandon("the socket takes no more")
        except trio_websocket.ConnectionClosed:
            # The reader knows why, once it has read what came before the close.
            pass

    async def _beat(self) -> None:
        while True:
            await trio.sleep(self._timing.heartbeat_s)
            # Refused, the server is there all the same; closed, this task ends with the rest.
            with suppress(Refused, ConnectionClosed):
                await self.request_soon(Heartbeat())

    def _take(self, data: bytes | str) -> None:
        message = decode_anything(self.coding, data)
        if not isinstance(message, dict):
            raise msgspec.DecodeError("not a map")
        if "re" not in message:
            self._on_event(message)
            return
        request = self._requests.get(message["re"]) if isinstance(message["re"], int) else None
        if request is None:
            return
        if message.get("type") == "error":
            request.error = Refused.from_reply(message)
        else:
            request.reply = message
            if request.arrived is not None:
                try:
                    request.arrived(message)
                except Exception as error:
                    request.error = error
        request.done.set()

    def _end(self, reason: ConnectionClosed) -> None:
        if self._reason is not None:
            return
        self._reason = reason
        for request in self._requests.values():
            if not request.done.is_set():
                request.error = reason.again()
                request.done.set()
        self._outgoing.close()
        self._closed.set()


@asynccontextmanager
async def open_connection(
    url: str,
    on_event: Callable[[RawMessage], None],
    *,
    coding: Coding = Coding.MSGPACK,
    timing: Timing | None = None,
) -> AsyncIterator[Connection]:
    """Open a socket for the duration of a block, and close it with 1000 at its end.

    Args:
        url: such as ``ws://127.0.0.1:8001/ws`` (``wss`` too).
        on_event: called with each event as a plain map, in order; it must not wait.
        coding: which subprotocol to ask for.
        timing: None for the defaults.

    Raises:
        ConnectFailed: the socket could not be opened in time, or the server turned it down.
    """
    timing = timing or Timing()
    stream = await _open_stream(url, timing)
    inside: BaseException | None = None
    connection: Connection | None = None
    try:
        async with trio.open_nursery() as nursery:
            with trio.move_on_after(timing.connect_s) as scope:
                socket = await trio_websocket.wrap_client_stream(
                    nursery,
                    stream,
                    _host_header(url),
                    _resource(url),
                    subprotocols=[coding.value],
                    message_queue_size=1,
                    max_message_size=MAX_MESSAGE_BYTES,
                    receive_buffer_size=64 * 1024,
                )
            if scope.cancelled_caught:
                raise ConnectFailed("the server did not answer the upgrade in time")
            connection = Connection(socket, coding, on_event, timing)
            nursery.start_soon(connection.serve)
            try:
                yield connection
            except BaseException as error:
                inside = error
                raise
            finally:
                await connection.aclose()
                nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        _raise_one(group, inside, connected=connection is not None)
    finally:
        await trio.aclose_forcefully(stream)


async def _open_stream(
    url: str, timing: Timing
) -> trio.SocketStream | trio.SSLStream[trio.SocketStream]:
    parts = urlsplit(url)
    if parts.scheme not in ("ws", "wss") or parts.hostname is None:
        raise ValueError(f"not a WebSocket address: {url}")
    secure = parts.scheme == "wss"
    port = parts.port or (443 if secure else 80)
    try:
        with trio.fail_after(timing.connect_s):
            stream = await trio.open_tcp_stream(parts.hostname, port)
            stream.setsockopt(trio.socket.IPPROTO_TCP, trio.socket.TCP_NODELAY, 1)
    except (OSError, trio.TooSlowError) as error:
        raise ConnectFailed(f"no connection to {parts.hostname}:{port}") from error
    if not secure:
        return stream
    context = ssl.create_default_context()
    return trio.SSLStream(stream, context, server_hostname=parts.hostname, https_compatible=True)


def moved_url(address: str, url: str) -> str:
    """Turn a node's address into a WebSocket URL, taking what it does not say from `url`."""
    if "://" in address:
        return address
    parts = urlsplit(url)
    return f"{parts.scheme}://{address}{parts.path if '/' not in address else ''}"


def _host_header(url: str) -> str:
    return urlsplit(url).netloc.rpartition("@")[2]


def _resource(url: str) -> str:
    parts = urlsplit(url)
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _raise_one(
    group: BaseExceptionGroup[BaseException], inside: BaseException | None, *, connected: bool
) -> NoReturn:
    """Raise what a caller should see of a nursery's errors: their own, or a failed socket."""
    _, rest = group.split(trio.Cancelled)
    if rest is None:
        raise group
    if inside is not None and _holds(rest, inside):
        raise_unchanged(inside)
    for error in _leaves(rest):
        if isinstance(error, ConnectFailed):
            raise error
        if isinstance(error, trio_websocket.ConnectionRejected):
            message = f"the server turned the socket down with {error.status_code}"
            raise ConnectFailed(message, error.status_code) from None
    if connected:
        raise ConnectionClosed(ABNORMAL_CLOSE, "the socket failed") from rest
    raise ConnectFailed("the handshake failed") from rest


def raise_unchanged(error: BaseException) -> NoReturn:
    """Raise a block's own error out of a nursery as if there were none: with its own context."""
    context = error.__context__
    try:
        raise error
    finally:
        error.__context__ = context


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for each in error.exceptions for leaf in _leaves(each)]
    return [error]


def _holds(group: BaseException, wanted: BaseException) -> bool:
    if group is wanted:
        return True
    return isinstance(group, BaseExceptionGroup) and any(
        _holds(each, wanted) for each in group.exceptions
    )
