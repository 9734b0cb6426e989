"""One socket: read when it has something, with a writing task only while it is full.

The life of a connection: half-open until its handshake is answered; open while `closed` is false;
closing from its Close frame on, when all that still comes in is thrown away; dropped. A method of
this class never waits, so a caller's loop over many connections cannot be held up by one of them.

`Session.on_closed` is called from the reader's tasks alone. Closing therefore only tells the reader
of it: a hub that meets a slow client in the middle of a fan-out does not find its set of
subscribers changed under it.
"""

from __future__ import annotations

import socket
import time
from math import inf

import structlog
import trio
from websockets.frames import CLOSE, Frame
from websockets.http11 import Request
from websockets.protocol import State

from server.transport.endpoint import NATIVE, Endpoint, HandshakeRequest, Session
from server.transport.frames import fitting_reason
from server.transport.handshake import (
    BAD_REQUEST,
    MAX_HEAD_BYTES,
    HeadReader,
    ServerCore,
    answer,
    refuse_head,
)
from server.transport.incoming import Incoming, MessageRefused
from server.transport.sending import SendingSocket
from server.transport.shared import Shared

# Bounds what one socket can do before the others have their turn: at most 682 empty frames.
RECV_BYTES = 4096

GOING_AWAY = 1001
ABNORMAL = 1006
INTERNAL_ERROR = 1011
TOO_SLOW = 4008
NOT_AUTHENTICATED = 4501

_log = structlog.get_logger(__name__)


class Connection(SendingSocket):
    """A WebSocket of a client. Made by the transport; all methods are for the trio thread.

    Attributes:
        id: Unique within the transport.
        peer: Address of the client, `host:port`.
        request: The upgrade request.
        subprotocol: What was agreed on, None if the client asked for nothing.
        opened_at: When the handshake succeeded (before that: when the socket was accepted).
        last_message_at: When the last whole message came; `opened_at` before the first one.
        dialect: How the client is pinged and told why it is closed; for the session to set.
    """

    __slots__ = (
        "_close_code",
        "_close_reason",
        "_core",
        "_corked",
        "_drop_at",
        "_expected",
        "_head",
        "_heard_at",
        "_incoming",
        "_pinged_at",
        "_session",
        "dialect",
        "id",
        "last_message_at",
        "opened_at",
        "peer",
        "request",
        "subprotocol",
    )

    request: HandshakeRequest

    def __init__(self, sock: socket.socket, peer: str, shared: Shared) -> None:
        super().__init__(sock, shared)
        now = trio.current_time()
        self.id = shared.next_id()
        self.peer = peer
        self.subprotocol: str | None = None
        self.dialect = NATIVE
        self.opened_at = self.last_message_at = self._heard_at = self._pinged_at = now
        self._core = ServerCore(shared.limits.max_message_bytes, shared.allowed_origins)
        self._head: HeadReader | None = HeadReader()
        self._session: Session | None = None
        self._incoming = Incoming()
        self._close_code = ABNORMAL
        self._close_reason = ""
        self._corked: list[bytes] | None = None
        self._expected: tuple[float, int, str] | None = None
        self._drop_at = self.due = now + shared.limits.handshake_timeout_s

    # For the session.

    def enqueue(self, frames: bytes) -> None:
        """Send one or more ready frames; never waits and never raises.

        What the socket does not take at once waits in a queue. A queue over its limit closes the
        connection with 4008 and forgets what was waiting. On a closed connection it does nothing.

        Args:
            frames: Whole frames as `frame` makes them.
        """
        if self.closed:
            return
        if self._corked is not None:
            self._corked.append(frames)
            return
        self._put(frames)
        if self._queue is not None and self._queue_is_over_limit():
            self._shared.counters.slow_closes += 1
            self._forget_queue()
            self.close(TOO_SLOW, "too slow")

    def cork(self) -> None:
        """Gather what is enqueued from now on, until `uncork`; the caller must not wait before."""
        if self._corked is None:
            self._corked = []

    def uncork(self) -> None:
        """Send what was gathered in one go; a send costs more than all else that is done for it."""
        corked, self._corked = self._corked, None
        if corked:
            self.enqueue(b"".join(corked))

    def close(self, code: int, reason: str = "", *, after: bytes = b"") -> None:
        """Send what is queued, then a Close frame, then drop the socket; returns at once.

        The socket is dropped when the peer has answered, at the latest after
        `TransportLimits.close_timeout_s`. Repeated calls do nothing.

        Args:
            code: Close code, 1000 to 1014 (but 1004 to 1006) or 3000 to 4999.
            reason: Text for the peer, cut to what a Close frame holds.
            after: Ready frames to send in front of the Close frame.
        """
        self.uncork()
        if not self.closed:
            self._close(code, reason, after=after, fail=False)

    def expect_before(
        self, deadline: float | None, code: int = NOT_AUTHENTICATED, reason: str = ""
    ) -> None:
        """Close the connection when a time comes, unless this is called again before.

        Args:
            deadline: On trio's clock; None takes it back.
            code: Close code.
            reason: Text beside it.
        """
        self._expected = None if deadline is None else (deadline, code, reason)
        if deadline is not None:
            self.due = min(self.due, deadline)

    # For the transport.

    def readable(self) -> None:
        """Receive what the socket has, up to `RECV_BYTES`. The reader calls it."""
        try:
            self._receive(self._sock.recv(RECV_BYTES))
        except BlockingIOError:
            return
        except OSError:
            self.drop()
        except Exception:
            _log.exception("websocket_failed", connection=self.id, peer=self.peer)
            self.end(INTERNAL_ERROR)
        if self.closed:
            self._tell_closed()

    def settle(self) -> None:
        """Tell the session that it has ended, and leave if the socket is gone. The reader calls it.

        Repeated calls do nothing.
        """
        if self.dropped:
            if self._head is not None:
                self._head = None
                self._shared.counters.handshake_failures += 1
            self._shared.left(self)
            self._core.let_go()
        self._tell_closed()

    def end(self, code: int) -> None:
        """Close as far as the socket takes that at once, and drop the socket."""
        if self._session is not None and not self.closed:
            self._close(code, "", after=b"", fail=True)
        self.drop()

    def drop(self) -> None:
        """Close the socket at once; repeated calls do nothing."""
        if not self.dropped:
            self._shared.reader.forget(self._sock)
            super().drop()
            self._shared.reader.ended(self)

    def check(self, now: float) -> None:
        """Do what has become due; sets `due` anew. The sweep calls it."""
        limits = self._shared.limits
        due = self._drop_at
        if now >= due:
            self.drop()
            return
        stalled = self._send_stalled_at()
        if stalled is not None:
            if now >= stalled:
                if not self.closed:
                    self._shared.counters.slow_closes += 1
                    self._close_code, self._close_reason = TOO_SLOW, "too slow"
                self.drop()
                return
            due = min(due, stalled)
        if self._session is not None and not self.closed:
            idle = self.last_message_at + limits.idle_s
            if now >= idle:
                self.close(limits.idle_code, "idle")
                return
            due = min(due, idle)
            if self._expected is not None:
                deadline, code, reason = self._expected
                if now >= deadline:
                    self.close(code, reason)
                    return
                due = min(due, deadline)
            ping = max(self._heard_at, self._pinged_at) + limits.ping_interval_s
            if now >= ping:
                self._pinged_at = now
                self.enqueue(self.dialect.ping)
                ping = now + limits.ping_interval_s
            due = min(due, ping)
        self.due = due

    # Receiving.

    def _receive(self, data: bytes) -> None:
        """Process what the socket gave; empty at its end."""
        if not data:
            self.drop()
            return
        self._shared.counters.bytes_in += len(data)
        self._heard_at = trio.current_time()
        if self.closed:
            self._discard(data)
        elif self._head is not None:
            self._receive_head(self._head, data)
        else:
            began = time.perf_counter()
            self._receive_frames(data)
            self._shared.counters.receive_s += time.perf_counter() - began

    def _receive_head(self, head: HeadReader, data: bytes) -> None:
        core, shared = self._core, self._shared
        request_bytes, early = head.split(data)
        core.receive_data(request_bytes)
        events = core.events_received()
        accepted: tuple[HandshakeRequest, Endpoint] | None = None
        if events:
            assert isinstance(events[0], Request)
            accepted = answer(core, events[0], shared.route, self.peer)
            # The core's parser keeps the request as long as it lives, and the headers are most of
            # what an idle connection weighs.
            events[0].headers.clear()
        elif core.handshake_exc is not None:
            if not any(core.writes):
                core.writes.insert(0, BAD_REQUEST)
        elif head.size > MAX_HEAD_BYTES:
            refuse_head(core)
        else:
            return
        self._head = None
        if accepted is None:
            shared.counters.handshake_failures += 1
            self.closed = True
            self._linger()
            self._flush_core()
            return
        self._flush_core()
        if not self.dropped:
            self._open(*accepted)
            if early and not self.closed:
                self._receive_frames(early)

    def _open(self, request: HandshakeRequest, endpoint: Endpoint) -> None:
        self.request = request
        self.subprotocol = self._core.subprotocol
        self.opened_at = self.last_message_at = self._heard_at
        self._drop_at = inf
        self._shared.opened(self)
        try:
            self._session = endpoint.open(self)
        except Exception:
            _log.exception("websocket_open_failed", connection=self.id, peer=self.peer)
            self.close(INTERNAL_ERROR)
        if not self.closed:
            self.due = self._heard_at  # the next sweep works it out

    def _receive_frames(self, data: bytes) -> None:
        core = self._core
        if core.between_frames:
            try:
                message = self._incoming.take_short(data, self._shared.limits)
            except MessageRefused as refused:
                self._close(refused.code, refused.reason, after=b"", fail=True)
                return
            if message is not None:
                self._shared.counters.frames_in += 1
                self._deliver(message)
                return
        core.receive_data(data)
        frames = core.events_received()
        self._shared.counters.frames_in += len(frames)
        for frame in frames:
            assert isinstance(frame, Frame)
            if frame.opcode is CLOSE:
                break  # the core ends with it
            try:
                message = self._incoming.take(frame, self._heard_at, self._shared.limits)
            except MessageRefused as refused:
                self._close(refused.code, refused.reason, after=b"", fail=True)
                return
            if message is not None:
                self._deliver(message)
            # A message may have made the session close: what came behind it is not for it.
            if self.closed:
                return
        if core.state is not State.OPEN:
            self._closed_by_core()
        if core.writes:
            self._flush_core()

    def _deliver(self, message: bytes | str) -> None:
        self.last_message_at = self._heard_at
        session = self._session
        assert session is not None
        try:
            session.on_message(message)
        except Exception:
            _log.exception("websocket_session_failed", connection=self.id, peer=self.peer)
            self.close(INTERNAL_ERROR)

    def _discard(self, data: bytes) -> None:
        """Look for the peer's Close only: nothing is answered behind our own."""
        core = self._core
        core.receive_data(data)
        core.events_received()
        if b"" in core.data_to_send():
            self._end_when_sent()

    # Closing.

    def _close(self, code: int, reason: str, *, after: bytes, fail: bool) -> None:
        """Close an open connection; `fail` does not wait for the peer's Close (section 7.1.7)."""
        core = self._core
        code = self.dialect.close_codes.get(code, code)
        if core.state is State.OPEN:
            if fail:
                core.fail(code, fitting_reason(reason))
            else:
                core.send_close(code, fitting_reason(reason))
        self.closed = True
        self._close_code, self._close_reason = code, reason
        self._linger()
        if after:
            self._put(after)
        self._flush_core()
        if not self.dropped:
            self._shared.reader.ended(self)

    def _flush_core(self) -> None:
        for data in self._core.data_to_send():
            if data:
                self._put(data)
            else:
                self._end_when_sent()

    def _closed_by_core(self) -> None:
        """Note that the peer closed, or broke the protocol: the core has answered that already."""
        told = self._core.close_rcvd or self._core.close_sent
        assert told is not None
        self.closed = True
        self._close_code, self._close_reason = int(told.code), told.reason
        self._linger()

    def _linger(self) -> None:
        self._drop_at = trio.current_time() + self._shared.limits.close_timeout_s
        self.due = min(self.due, self._drop_at)

    def _tell_closed(self) -> None:
        session, self._session = self._session, None
        if session is None:
            return
        try:
            session.on_closed(self._close_code, self._close_reason)
        except Exception:
            _log.exception("websocket_session_failed", connection=self.id, peer=self.peer)
