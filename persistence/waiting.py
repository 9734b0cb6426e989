"""Drive psycopg's protocol generators on trio.

psycopg keeps the PostgreSQL protocol in generators that yield what they wait for, and the waiting
apart from them (`psycopg.waiting`). This module is the waiting for trio. It knows no queries, no
connections and no cancelling: `trio.Cancelled` leaves a generator suspended where it was, so that
the caller can go on with it once it has told the server to stop.
"""

from __future__ import annotations

import math
import select
from collections.abc import Awaitable, Callable, Generator
from time import monotonic
from typing import TypeVar

import trio
from psycopg import errors as e
from psycopg.waiting import Wait

R = TypeVar("R")

_READ = int(Wait.R)
_WRITE = int(Wait.W)
_BOTH = int(Wait.RW)

MAX_BUSY_S = 0.005
"""How long generators that never block may keep the scheduler waiting, in seconds."""

_last_pause = 0.0


class Poller:
    """Asks one socket, without waiting, whether it is ready.

    A socket that is asked for writing is nearly always writable, and asking it costs a fraction of
    a trip through trio's scheduler.
    """

    __slots__ = ("_poll", "fd")

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._poll = select.poll()
        self._poll.register(fd, select.POLLIN | select.POLLOUT)

    def ready(self, want: int) -> int:
        """Return which of the directions in `want` are ready now (0: none)."""
        for _, event in self._poll.poll(0):
            if event & select.POLLNVAL:
                raise e.OperationalError("connection socket closed")
            # An error or a hang-up is reported to both sides: libpq finds it by trying.
            if event & (select.POLLERR | select.POLLHUP):
                return want
            found = (_READ if event & select.POLLIN else 0) | (
                _WRITE if event & select.POLLOUT else 0
            )
            return found & want
        return 0


async def drive(gen: Generator[int, int, R], poller: Poller, deadline: float | None = None) -> R:
    """Run `gen`, which works on the socket of `poller`, to its end and return its result.

    Args:
        gen: a psycopg generator; it may have been suspended by an earlier call.
        poller: the connection's socket.
        deadline: on the clock of the trio run; data that is there already is taken even when it
            has passed.

    Raises:
        psycopg.errors._WaitTimeout: the deadline passed; `gen` is suspended, not closed.
        psycopg.OperationalError: the socket is gone.

    Cancellation suspends `gen` and propagates. A generator that never blocks is a checkpoint only
    every `MAX_BUSY_S` seconds.
    """
    global _last_pause
    try:
        want = next(gen)
        while True:
            ready = 0
            if want & _WRITE or deadline is not None:
                if monotonic() - _last_pause >= MAX_BUSY_S:
                    await trio.lowlevel.cancel_shielded_checkpoint()
                    _last_pause = monotonic()
                ready = poller.ready(want)
            if not ready:
                ready = await _wait(poller.fd, want, deadline)
                _last_pause = monotonic()
            want = gen.send(ready)
    except StopIteration as stop:
        result: R = stop.value
        return result
    except (OSError, trio.ClosedResourceError) as exc:
        raise e.OperationalError("connection socket closed") from exc


async def drive_connect(gen: Generator[tuple[int, int], int, R]) -> R:
    """Run a generator that names its socket each time, since it may change: connect and cancel.

    Raises:
        psycopg.OperationalError: the socket is gone, or what `gen` raises.

    Cancellation closes `gen`, and with it the half-made connection.
    """
    try:
        fd, want = next(gen)
        while True:
            fd, want = gen.send(await _wait(fd, want, None))
    except StopIteration as stop:
        result: R = stop.value
        return result
    except (OSError, trio.ClosedResourceError) as exc:
        raise e.OperationalError("connection socket closed") from exc
    finally:
        gen.close()


async def _wait(fd: int, want: int, deadline: float | None) -> int:
    """Wait until one of the directions in `want` is ready; return those that are."""
    if deadline is None:
        return await _wait_forever(fd, want)
    with trio.CancelScope(deadline=deadline) as scope:
        return await _wait_forever(fd, want)
    assert scope.cancelled_caught
    raise e._WaitTimeout("wait timeout expired")


async def _wait_forever(fd: int, want: int) -> int:
    if want == _READ:
        await trio.lowlevel.wait_readable(fd)
        return want
    if want == _WRITE:
        await trio.lowlevel.wait_writable(fd)
        return want
    if want != _BOTH:
        raise e.InternalError(f"bad poll status: {want}")

    # The socket's buffer is full, so the server may be waiting for us to read. trio waits for one
    # direction per call; this path is rare enough for two tasks.
    ready = 0

    async def wait_one(wait: Callable[[int], Awaitable[None]], direction: int) -> None:
        nonlocal ready
        await wait(fd)
        ready |= direction
        nursery.cancel_scope.cancel()

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait_one, trio.lowlevel.wait_readable, _READ)
            nursery.start_soon(wait_one, trio.lowlevel.wait_writable, _WRITE)
    except* (OSError, trio.ClosedResourceError) as group:
        raise e.OperationalError("connection socket closed") from group
    return ready


def deadline_in(timeout: float | None) -> float | None:
    """Return the deadline `timeout` seconds from now on trio's clock; `None` and inf mean never."""
    if timeout is None or timeout == math.inf:
        return None
    return trio.current_time() + timeout
