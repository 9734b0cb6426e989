"""The sending half of a socket: at once while it takes what it is given, else through a queue."""

from __future__ import annotations

import socket
import struct
from collections import deque

import trio

from server.transport.shared import Shared

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # struct linger: on, 0 s


class SendingSocket:
    """A non-blocking socket with one writer at a time: the caller, or the task of its queue.

    Attributes:
        closed: True from the moment when nothing can be enqueued any more.
        dropped: True when the socket is gone.
        due: When the sweep has something to do here, on trio's clock.
    """

    __slots__ = (
        "__weakref__",
        "_end_wanted",
        "_progress_at",
        "_queue",
        "_queued_bytes",
        "_shared",
        "_sock",
        "closed",
        "dropped",
        "due",
    )

    def __init__(self, sock: socket.socket, shared: Shared) -> None:
        self.closed = False
        self.dropped = False
        self.due = self._progress_at = trio.current_time()
        self._sock = sock
        self._shared = shared
        self._queue: deque[bytes | memoryview] | None = None
        self._queued_bytes = 0
        self._end_wanted = False

    def drop(self) -> None:
        """Close the socket at once; repeated calls do nothing."""
        if self.dropped:
            return
        self.dropped = self.closed = True
        if self._queue is not None:
            # Nobody reads what is in the kernel's buffer either: a reset frees it now.
            self._queue = None
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            trio.lowlevel.notify_closing(self._sock)  # to the task of the queue
        self._sock.close()

    def _put(self, data: bytes) -> None:
        """Send now if nothing waits, else later; without regard to limits."""
        if self.dropped:
            return
        counters = self._shared.counters
        counters.frames_out += 1
        if self._queue is not None:
            self._queue.append(data)
            self._queued_bytes += len(data)
            return
        try:
            sent = self._sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.drop()
            return
        counters.bytes_out += sent
        if sent == len(data):
            return
        self._queue = deque((memoryview(data)[sent:],))
        self._queued_bytes = len(data) - sent
        self._progress_at = trio.current_time()
        self.due = min(self.due, self._progress_at + self._shared.limits.send_timeout_s)
        self._shared.nursery.start_soon(self._drain)

    def _queue_is_over_limit(self) -> bool:
        limits = self._shared.limits
        return self._queue is not None and (
            len(self._queue) > limits.queue_messages or self._queued_bytes > limits.queue_bytes
        )

    def _forget_queue(self) -> None:
        """Drop what waits but the first, whose beginning the peer may have already."""
        if self._queue is not None:
            while len(self._queue) > 1:
                self._queue.pop()
            self._queued_bytes = len(self._queue[0])

    def _send_stalled_at(self) -> float | None:
        """Return when a queue that gets no shorter has waited too long; None if there is none."""
        if self._queue is None:
            return None
        return self._progress_at + self._shared.limits.send_timeout_s

    def _end_when_sent(self) -> None:
        """Half-close as soon as all is sent; a full close could lose it to a reset."""
        self._end_wanted = True
        self._end_if_sent()

    def _end_if_sent(self) -> None:
        if self._end_wanted and self._queue is None and not self.dropped:
            self._end_wanted = False
            try:
                self._sock.shutdown(socket.SHUT_WR)
            except OSError:
                self.drop()

    async def _drain(self) -> None:
        """Write the queue until it is empty or the socket is dropped.

        Cancelled, it leaves the queue as it is: the transport drops the socket.
        """
        counters = self._shared.counters
        while self._queue is not None:
            try:
                await trio.lowlevel.wait_writable(self._sock)
                while self._queue:
                    chunk = self._queue[0]
                    sent = self._sock.send(chunk)
                    counters.bytes_out += sent
                    self._queued_bytes -= sent
                    self._progress_at = trio.current_time()
                    if sent < len(chunk):
                        self._queue[0] = memoryview(chunk)[sent:]
                    else:
                        self._queue.popleft()
            except (BlockingIOError, trio.ClosedResourceError):
                continue
            except OSError:
                self.drop()
            else:
                self._queue = None
                self._end_if_sent()
