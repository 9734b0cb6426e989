"""Serving the application by hypercorn's trio worker, in the same run as the tables.

Hypercorn's own accept loop ends with the first error of any connection. Here each connection is a
world of its own: what goes wrong in one is logged, counted and ends that one. Its HTTP/1.1 protocol
never sees an upgrade: the two places in which it would leave HTTP (`Upgrade`, and HTTP/2 by prior
knowledge) are closed. Every wait on a client has an end.
"""

import errno
import socket
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus

import h11
import structlog
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState
from hypercorn.utils import parse_socket_addr

from server.http.app import HttpApp
from server.logs import route_hypercorn

_MAX_RECEIVE = 64 * 1024
_BACK_OFF_FIRST_S = 0.05
_BACK_OFF_MOST_S = 1.0
_NO_RESOURCES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """Bounds of HTTP connections; times in seconds, sizes in bytes.

    Attributes:
        max_connections: More wait in the kernel's queue.
        head_s: From accepting a socket, or from the answer before, to the end of a request's head.
        request_s: From a request's head to the end of its answer, the client's reading included.
        send_s: Longest wait for a client to take one piece of an answer.
        linger_s: For the client to read the last answer and go.
        max_head_bytes: Request line and headers together.
        max_requests: Of one connection.
    """

    max_connections: int = 1000
    head_s: float = 5.0
    request_s: float = 30.0
    send_s: float = 10.0
    linger_s: float = 1.0
    max_head_bytes: int = 16 * 1024
    max_requests: int = 1000


async def serve_http(
    app: HttpApp,
    sock: socket.socket,
    *,
    limits: HttpLimits | None = None,
    task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve an application on a bound and listening socket until cancelled.

    Reports the bound port as its started value. The socket stays the caller's and stays open, so
    that nothing is refused between a failure and the next start. Cancelled, it drops all
    connections; requests under way are cancelled (a commit that was sent is still waited for).

    Args:
        app: the application; it has no start-up hooks, so that none are run.
        sock: bound and listening; set to non-blocking.
        limits: bounds of each connection.
        task_status: for `nursery.start`.

    Raises:
        OSError: the socket cannot be accepted on.
    """
    chosen = limits or HttpLimits()
    sock.setblocking(False)
    server = _Server(app, chosen)
    async with trio.open_nursery() as nursery:
        task_status.started(sock.getsockname()[1])
        await server.accept(sock, nursery)


class _Server:
    """What all connections share."""

    def __init__(self, app: HttpApp, limits: HttpLimits) -> None:
        self.app = ASGIWrapper(app)
        self.metrics = app.metrics
        self.limits = limits
        self.context = WorkerContext(None)
        self.config = Config()
        self.config.h11_max_incomplete_size = limits.max_head_bytes
        self.config.keep_alive_max_requests = limits.max_requests
        self.config.include_server_header = False
        route_hypercorn(self.config)
        self._free = trio.Semaphore(limits.max_connections)

    async def accept(self, sock: socket.socket, nursery: trio.Nursery) -> None:
        """Accept for ever; survives running out of descriptors."""
        pause_s = _BACK_OFF_FIRST_S
        while True:
            await self._free.acquire()
            try:
                accepted = await self._next(sock)
            except OSError as error:
                self._free.release()
                if error.errno not in _NO_RESOURCES:
                    raise
                _log.warning("http_accept_failed", error=str(error), retry_after_s=pause_s)
                await trio.sleep(pause_s)
                pause_s = min(pause_s * 2, _BACK_OFF_MOST_S)
                continue
            pause_s = _BACK_OFF_FIRST_S
            nursery.start_soon(self._serve, accepted)

    async def _next(self, sock: socket.socket) -> socket.socket:
        while True:
            await trio.lowlevel.wait_readable(sock)
            try:
                accepted, _ = sock.accept()
            except (BlockingIOError, ConnectionAbortedError):
                continue
            return accepted

    async def _serve(self, accepted: socket.socket) -> None:
        """Serve one connection; whatever goes wrong ends here."""
        try:
            accepted.setblocking(False)
            # trio sets TCP_NODELAY itself.
            await _Connection(self, trio.socket.from_stdlib_socket(accepted)).run()
        except* OSError:
            pass  # Reset by the peer, at whatever moment.
        except* Exception as error:
            self.metrics.http_connection_failed()
            _log.error("http_connection_failed", exc_info=error)
        finally:
            accepted.close()
            self._free.release()


class _Connection:
    """One connection: hypercorn's protocol over a socket, with an end to every wait.

    All clocks are the one deadline of the scope in which everything happens: hypercorn's own are
    set in tasks that quart-trio cancels at the same moment, so that they may never start.
    """

    def __init__(self, server: _Server, sock: trio.socket.SocketType) -> None:
        self._server = server
        self._limits = server.limits
        self._sock = sock
        self._stream = trio.SocketStream(sock)
        self._sending = trio.Lock()
        self._life = trio.CancelScope(deadline=trio.current_time() + self._limits.head_s)
        self._closing = False
        self._protocol: _Http11

    async def run(self) -> None:
        """Serve the connection to its end."""
        client = parse_socket_addr(self._sock.family, self._sock.getpeername())
        server = parse_socket_addr(self._sock.family, self._sock.getsockname())
        with self._life:
            async with TaskGroup() as task_group:
                self._protocol = _Http11(
                    self._server.app,
                    self._server.config,
                    self._server.context,
                    task_group,
                    ConnectionState({}),
                    False,
                    client,
                    server,
                    self._carry_out,
                )
                await self._read()

    async def _read(self) -> None:
        while True:
            try:
                data = await self._stream.receive_some(_MAX_RECEIVE)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                break
            if not self._closing:
                await self._protocol.handle(RawData(bytes(data)))
            if not data:
                break
        await self._protocol.handle(Closed())

    async def _carry_out(self, event: Event) -> None:
        """Do what the protocol wants: send, close, or set the clock."""
        now = trio.current_time()
        if isinstance(event, RawData):
            await self._send(event.data)
        elif isinstance(event, Updated):
            limits = self._limits
            self._life.deadline = now + (limits.head_s if event.idle else limits.request_s)
        elif isinstance(event, Closed) and not self._closing:
            # Closed for good at once, a socket with unread bytes would be reset, and the answer
            # lost with it (RFC 9112 section 9.6): the client reads it and goes, or time is up.
            self._closing = True
            self._life.deadline = min(self._life.deadline, now + self._limits.linger_s)
            with suppress(OSError):
                self._sock.shutdown(socket.SHUT_WR)
            await self._protocol.handle(Closed())

    async def _send(self, data: bytes) -> None:
        """Send a piece whole, or end the connection: nothing can follow bytes cut short."""
        async with self._sending:
            # Shielded, for a cancelled send tears the stream; bounded, for the peer may not read.
            with trio.move_on_after(self._limits.send_s, shield=True):
                try:
                    await self._stream.send_all(data)
                    return
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    pass
        self._life.cancel()


class _Http11(H11Protocol):
    """HTTP/1.1, and never anything else.

    RFC 9110 section 7.8: a server may ignore `Upgrade` and answer as if it were not there. Bytes
    that a client sends behind such a request are then a next request, or a malformed one.
    """

    async def _check_protocol(self, event: h11.Request) -> None:
        """Let no request turn the connection into HTTP/2."""

    async def _create_stream(self, request: h11.Request) -> None:
        if not request.target.startswith((b"/", b"http://", b"https://", b"*")):
            await self._send_error_response(HTTPStatus.BAD_REQUEST)
            await self.send(Closed())
            return
        headers = list(request.headers)
        kept = [(name, value) for name, value in headers if name != b"upgrade"]
        if len(kept) != len(headers):
            request = h11.Request(
                method=request.method,
                target=request.target,
                headers=kept,
                http_version=request.http_version,
            )
        await super()._create_stream(request)
