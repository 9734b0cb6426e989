"""The loop of a generator: epoll, timers, and what is counted on the way.

Everything here is on the path of each received event, whose processor time is the generator's
promise (at most 8 µs): one dictionary look-up, one `recv`, one call.
"""

from __future__ import annotations

import heapq
import random
import select
import socket
import time
from collections.abc import Callable, Iterable
from itertools import count
from typing import Protocol

from bench.light_socket import LightSocket, framed

HEARTBEAT_S = 15.0
_HEARTBEAT = framed("heartbeat")
_MAX_EVENTS = 256
_SHORT_S = 0.02
_LONG_S = 60.0
"""Without timers there may be nothing to wait for but what is received, and no end."""
Handler = Callable[[list[bytes]], None]
Watched = tuple[Callable[[], list[bytes]], Handler, Callable[[], None] | None]


class HasSocket(Protocol):
    """What can be watched."""

    sock: socket.socket


class Loop:
    """Sockets, timers and counters of one generator process.

    Attributes:
        latencies_us: what was recorded in the running second; `kinds_us` of other kinds.
        events: messages received in it. `errors`: what went wrong, in the load's judgement.
        marks: moments (`time.perf_counter`) that the load wants its scenario to know, by name.
        late_us: by how much timers were late in the running second.
        connected: how many sockets are being watched.
    """

    def __init__(self) -> None:
        self.latencies_us: list[int] = []
        self.kinds_us: dict[str, list[int]] = {}
        self.events = 0
        self.errors = 0
        self.marks: dict[str, list[float]] = {}
        self.late_us: list[int] = []
        self._epoll = select.epoll()
        self._watched: dict[int, Watched] = {}
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self._alarm_fd = -1
        self._alarmed = False

    @property
    def connected(self) -> int:
        """How many sockets are watched."""
        return len(self._watched)

    def watch(
        self, socket: LightSocket, handle: Handler, lost: Callable[[], None] | None = None
    ) -> None:
        """Have the messages of a socket handled as they come.

        `lost` is called when the server has closed it; without it that ends the generator.
        """
        socket.watch()
        self.watch_raw(socket, socket.read, handle, lost)

    def watch_raw(
        self,
        socket: HasSocket,
        read: Callable[[], list[bytes]],
        handle: Handler,
        lost: Callable[[], None] | None,
        *,
        writable: bool = False,
    ) -> None:
        """Have something else than `socket.read` called when there is something to read.

        `writable`: when it can be written to.
        """
        fd = socket.sock.fileno()
        what = select.EPOLLOUT if writable else select.EPOLLIN
        if fd in self._watched:
            self._epoll.modify(fd, what)
        else:
            self._epoll.register(fd, what)
        self._watched[fd] = (read, handle, lost)

    def forget(self, socket: LightSocket) -> None:
        """Watch a socket no more, and close it."""
        fd = socket.sock.fileno()
        if self._watched.pop(fd, None) is not None:
            self._epoll.unregister(fd)
        socket.close()

    def at(self, when: float, call: Callable[[], None]) -> None:
        """Call something at a time on `time.perf_counter`."""
        heapq.heappush(self._timers, (when, next(self._order), call))

    def mark(self, name: str) -> None:
        """Note that something happened now."""
        self.marks.setdefault(name, []).append(time.perf_counter())

    def keep_alive(self, sockets: Iterable[LightSocket], rng: random.Random) -> None:
        """Send heartbeats, as clients do, spread over their interval; until a socket is closed."""
        now = time.perf_counter()
        for one in sockets:
            self.at(now + rng.random() * HEARTBEAT_S, _Heart(self, one))

    def run(self, until: float, *, alarm_fd: int = -1) -> bool:
        """Run until a time; or until a file can be read, which is what is returned."""
        if alarm_fd != self._alarm_fd:
            self._alarm_fd = alarm_fd
            self._epoll.register(alarm_fd, select.EPOLLIN)
        watched, timers, clock = self._watched, self._timers, time.perf_counter
        poll, epoll_fd = self._epoll.poll, (self._epoll.fileno(),)
        while (now := clock()) < until and not self._alarmed:
            while timers and timers[0][0] <= now:
                due, _, call = heapq.heappop(timers)
                self.late_us.append(int((now - due) * 1e6))
                call()
                now = clock()
            wait_s = min((min(until, timers[0][0]) if timers else until) - clock(), _LONG_S)
            if 0 < wait_s < _SHORT_S:
                # epoll knows whole milliseconds only: too late, or rounded down, a busy wait.
                select.select(epoll_fd, (), (), wait_s)
                wait_s = 0
            for fd, _ in poll(max(0.0, wait_s), _MAX_EVENTS):
                entry = watched.get(fd)
                if entry is None:
                    self._alarmed = self._alarmed or fd == alarm_fd
                    continue
                read, handle, lost = entry
                try:
                    payloads = read()
                except BlockingIOError:
                    continue
                except OSError:
                    if lost is None:
                        raise
                    lost()
                    continue
                self.events += len(payloads)
                handle(payloads)
        alarmed, self._alarmed = self._alarmed, False
        return alarmed


class _Heart:
    __slots__ = ("_loop", "_socket")

    def __init__(self, loop: Loop, socket: LightSocket) -> None:
        self._loop = loop
        self._socket = socket

    def __call__(self) -> None:
        if self._socket.sock.fileno() < 0:
            return
        try:
            self._socket.send_frames(_HEARTBEAT)
        except ConnectionError:
            return  # reading says so as well, to those who want to know
        self._loop.at(time.perf_counter() + HEARTBEAT_S, self)
