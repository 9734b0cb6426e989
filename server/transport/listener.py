"""Accepting sockets, sweeping deadlines, and the graceful stop."""

from __future__ import annotations

import errno
import select
import socket
from collections.abc import Sequence
from contextlib import closing
from math import inf

import structlog
import trio

from server.transport.connection import GOING_AWAY, Connection
from server.transport.endpoint import Route
from server.transport.limits import Counters, TransportLimits
from server.transport.reading import Reader
from server.transport.shared import Shared

# What the kernel may keep for a peer that does not read. Left alone it keeps megabytes, and the
# limits of the queue, which begins behind that, would say little about how far back a peer may be.
_KERNEL_BUFFER_BYTES = 128 * 1024

# One round of the accept loop takes no more than this before others have their turn: a handshake
# takes about as long as an action at a table, which is to wait for few of them.
_ACCEPTS_PER_ROUND = 8
_CONNECTIONS_PER_ROUND = 256

# accept(2): errors of the one connection that was to be accepted. With any other, descriptors or
# memory that ran out above all, accepting again at once would fail again at once.
_OF_ONE_PEER = frozenset(
    {
        errno.ECONNABORTED,
        errno.EPROTO,
        errno.EPERM,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
    }
)
_BACK_OFF_FIRST_S = 0.05
_BACK_OFF_MOST_S = 1.0
_SAY_AGAIN_S = 60.0
"""A server that stays full is not to fill its log as well."""

_log = structlog.get_logger(__name__)


class Transport:
    """A handle on a running transport; `serve` makes it.

    Attributes:
        counters: Totals for the metrics.
    """

    def __init__(self, shared: Shared, listeners: Sequence[socket.socket]) -> None:
        self._shared = shared
        self._listeners = list(listeners)
        self.counters: Counters = shared.counters
        self._said_at = -inf

    @property
    def connections(self) -> int:
        """How many WebSockets are open or closing; half-open handshakes are not counted."""
        return len(self._shared.all) - len(self._shared.half_open)

    @property
    def half_open(self) -> int:
        """How many sockets have not finished their handshake."""
        return len(self._shared.half_open)

    @property
    def max_sockets(self) -> int:
        """How many sockets there may be in all."""
        return self._shared.limits.max_sockets

    def stop_accepting(self) -> None:
        """Close the listening sockets; what is connected stays so. Repeated calls do nothing."""
        listeners, self._listeners = self._listeners, []
        for listener in listeners:
            trio.lowlevel.notify_closing(listener)
            listener.close()

    async def close_all(self, code: int, reason: str, within_s: float) -> None:
        """Close every connection and wait until all sockets are gone.

        New ones are still accepted meanwhile, so call `stop_accepting` first. Cancelled, it leaves
        the connections closing.

        Args:
            code: Close code for all.
            reason: Text beside it.
            within_s: Sockets that are still there then are dropped.
        """
        with trio.move_on_after(within_s):
            for number, connection in enumerate(tuple(self._shared.all), 1):
                if connection in self._shared.half_open:
                    connection.drop()
                else:
                    connection.close(code, reason)
                if number % _CONNECTIONS_PER_ROUND == 0:
                    await trio.lowlevel.checkpoint()
            await self._emptied()
        for connection in tuple(self._shared.all):
            connection.drop()
        await self._emptied()

    async def _emptied(self) -> None:
        """Wait for the last connection to leave."""
        while self._shared.all:
            await self._shared.emptied.wait()

    async def accept(self, listener: socket.socket) -> None:
        """Accept on one socket until it is closed; survives running out of descriptors."""
        pause_s = _BACK_OFF_FIRST_S
        while listener.fileno() >= 0:
            try:
                await trio.lowlevel.wait_readable(listener)
                for _ in range(_ACCEPTS_PER_ROUND):
                    if len(self._shared.all) >= self._shared.limits.max_sockets:
                        raise OSError(errno.EMFILE, "there is room for no more sockets")
                    sock, address = listener.accept()
                    pause_s = _BACK_OFF_FIRST_S
                    self._welcome(sock, address)
            except BlockingIOError:
                continue
            except trio.ClosedResourceError:
                return
            except OSError as error:
                if error.errno in _OF_ONE_PEER:
                    continue
                self._say_paused(error)
                await trio.sleep(pause_s)
                pause_s = min(pause_s * 2, _BACK_OFF_MOST_S)

    def _say_paused(self, error: OSError) -> None:
        self.counters.accept_pauses += 1
        if trio.current_time() >= self._said_at + _SAY_AGAIN_S:
            self._said_at = trio.current_time()
            _log.warning("accept_paused", error=str(error), sockets=len(self._shared.all))

    def _welcome(self, sock: socket.socket, address: object) -> None:
        try:
            sock.setblocking(False)
            if _has_hung_up(sock):
                self.counters.handshake_failures += 1
                sock.close()
                return
            if sock.family in (socket.AF_INET, socket.AF_INET6):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = Connection(sock, _peer(address), self._shared)
            self._shared.reader.add(sock, connection)
        except OSError:  # reset already, or the kernel watches no more of them
            sock.close()
            return
        self._shared.entered(connection)

    def end_all(self) -> None:
        """Close every connection with 1001 as far as its socket takes that at once, and drop it."""
        for connection in tuple(self._shared.all):
            connection.end(GOING_AWAY)
            connection.settle()

    async def sweep(self) -> None:
        """Look at every connection's deadlines, all from one task."""
        while True:
            await trio.sleep(self._shared.limits.sweep_interval_s)
            for number, connection in enumerate(tuple(self._shared.all), 1):
                if connection.due <= trio.current_time():
                    connection.check(trio.current_time())
                if number % _CONNECTIONS_PER_ROUND == 0:
                    await trio.lowlevel.checkpoint()


async def serve(
    listen_sockets: Sequence[socket.socket],
    route: Route,
    limits: TransportLimits,
    *,
    allowed_origins: frozenset[str] | None = None,
    task_status: trio.TaskStatus[Transport] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve WebSockets until cancelled.

    Reports a `Transport` as its started value. Cancelled, it closes every connection with 1001 as
    far as its socket takes that at once, tells every session, and closes all sockets, the listening
    ones too.

    Args:
        listen_sockets: Bound and listening; they belong to the transport from now on.
        route: Finds the endpoint of a request.
        limits: Limits of each connection.
        allowed_origins: Values of `Origin` that are let in; None lets in all. A request without
            `Origin`, which no browser sends, is let in always.
        task_status: For `nursery.start`.
    """
    with closing(Reader()) as reader:
        async with trio.open_nursery() as nursery:
            shared = Shared(nursery, reader, route, limits, allowed_origins)
            transport = Transport(shared, listen_sockets)
            try:
                for listener in listen_sockets:
                    listener.setblocking(False)
                    # Sockets that it accepts inherit this.
                    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _KERNEL_BUFFER_BYTES)
                    nursery.start_soon(transport.accept, listener)
                nursery.start_soon(shared.reader.read)
                nursery.start_soon(shared.reader.settle)
                nursery.start_soon(transport.sweep)
                task_status.started(transport)
                await trio.sleep_forever()
            finally:
                transport.stop_accepting()
                transport.end_all()


def _has_hung_up(sock: socket.socket) -> bool:
    """Whether the peer gave up before its turn came, whatever it had sent before that.

    Where more clients come than can be served, most of those at the head of the queue have: with
    work done for them, the others would be served too late as well, and so on.
    """
    poll = select.poll()
    # Linux alone tells that the peer has ended its half; the others, that both are over.
    poll.register(sock, getattr(select, "POLLRDHUP", 0))
    return bool(poll.poll(0))


def _peer(address: object) -> str:
    """Return `host:port` of a socket address; a Unix socket's peer has none."""
    match address:
        case (str(host), int(port), *_):
            return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        case _:
            return "local"
