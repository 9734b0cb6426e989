"""The HTTP server against bytes from a real socket: nothing that a client sends ends it.

Where its limits matter time stands still (`mock_clock`), but for blocks of `time_passing`.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import NoReturn

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from server.http.app import MAX_BODY_BYTES, HttpApp
from server.http.serving import HttpLimits, serve_http
from tests.support.http import FakeClub, bearer, make_app
from tests.support.patience import PATIENCE_S

pytestmark = pytest.mark.fail_after(60)

PATIENT = HttpLimits(
    head_s=PATIENCE_S, request_s=PATIENCE_S, send_s=PATIENCE_S, linger_s=PATIENCE_S
)
LIMITS = HttpLimits(head_s=5, request_s=6, send_s=3, linger_s=2)
STEP_S = 0.5
UPGRADE = (
    b"GET /api/config HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
GET = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"


class Server:
    """A running server on a free port."""

    def __init__(self, port: int, club: FakeClub, app: HttpApp) -> None:
        self.port = port
        self.club = club
        self.app = app

    async def connect(self) -> trio.SocketStream:
        return await trio.open_tcp_stream("127.0.0.1", self.port)

    async def exchange(self, data: bytes) -> bytes:
        """Send bytes and read until the server closes."""
        async with await self.connect() as stream:
            await stream.send_all(data)
            return await received(stream)

    async def converse(self, data: bytes, answers: int = 1) -> bytes:
        """Send bytes, read so many answers' heads, say that this was all, and read the rest."""
        async with await self.connect() as stream:
            await stream.send_all(data)
            found = b""
            while found.count(b"HTTP/1.1 ") < answers:
                piece = await stream.receive_some()
                assert piece, found
                found += piece
            await hang_up(stream)
            return found + await received(stream)

    async def is_well(self) -> bool:
        answer = await self.exchange(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        return answer.startswith(b"HTTP/1.1 200") and b'"status":"ok"' in answer


async def hang_up(stream: trio.SocketStream) -> None:
    """Say that nothing more will be sent."""
    with suppress(trio.BrokenResourceError):
        await stream.send_eof()


async def received(stream: trio.SocketStream) -> bytes:
    found = b""
    try:
        async for piece in stream:
            found += piece
    except trio.BrokenResourceError:
        pass
    return found


async def received_until(stream: trio.SocketStream, end: bytes) -> bytes:
    found = b""
    while end not in found:
        piece = await stream.receive_some()
        assert piece, found
        found += piece
    return found


@asynccontextmanager
async def running(
    limits: HttpLimits | None = None, club: FakeClub | None = None
) -> AsyncIterator[Server]:
    club = club or FakeClub()
    app = make_app(club)
    with socket.create_server(("127.0.0.1", 0)) as sock:
        async with trio.open_nursery() as nursery:

            async def serve(task_status: trio.TaskStatus[int]) -> None:
                await serve_http(app, sock, limits=limits or PATIENT, task_status=task_status)

            port = await nursery.start(serve)
            assert port == sock.getsockname()[1]
            yield Server(port, club, app)
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def time_passing(clock: MockClock) -> AsyncIterator[None]:
    """During the block, some time passes whenever everybody waits."""

    async def go_on() -> None:
        while True:
            await trio.testing.wait_all_tasks_blocked()
            clock.jump(STEP_S)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(go_on)
        yield
        nursery.cancel_scope.cancel()


def request(method: str, path: str, body: bytes = b"", *more: str, close: bool = True) -> bytes:
    lines = [
        f"{method} {path} HTTP/1.1",
        "Host: a",
        f"Authorization: {bearer()['Authorization']}",
        f"Content-Length: {len(body)}",
        *more,
        *(["Connection: close"] if close else []),
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def test_requests_are_answered_one_after_another_on_one_connection() -> None:
    async with running() as server, await server.connect() as stream:
        for _ in range(3):
            await stream.send_all(request("POST", "/api/rooms/r1/start", b"{}", close=False))
            answer = await received_until(stream, b"}")
            assert answer.startswith(b"HTTP/1.1 200")
        assert len(server.club.ran) == 3


async def test_pipelined_requests_are_answered_in_order() -> None:
    async with running() as server:
        answer = await server.exchange(
            request("GET", "/api/me", close=False) + request("GET", "/api/nothing")
        )
        assert answer.index(b"HTTP/1.1 200") < answer.index(b"HTTP/1.1 404")


UPGRADES = {
    "plain": UPGRADE + b"\r\n",
    "with an early frame": UPGRADE + b"\r\n" + b"\x81\x85\x00\x00\x00\x00hello",
    "with a second request": UPGRADE + b"\r\n" + GET,
    "with a second upgrade": (UPGRADE + b"\r\n") * 2,
    "with a body": UPGRADE + b"Content-Length: 5\r\n\r\nhello",
    "with bad extensions": UPGRADE + b"Sec-WebSocket-Extensions: ;;=\x22\r\n\r\n",
    "to h2c": (
        b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\n"
        b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n" + b"\x00" * 40
    ),
    "to HTTP/2 unasked": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
}


@pytest.mark.parametrize("data", UPGRADES.values(), ids=UPGRADES)
async def test_upgrade_is_ignored_and_harms_nobody(data: bytes) -> None:
    async with running() as server:
        answer = await server.converse(data)
        assert answer.startswith(b"HTTP/1.1 ")
        assert b" 101 " not in answer
        assert not answer.startswith(b"HTTP/1.1 5")
        assert await server.is_well()
        assert b"connection_failures_total 0.0" in server.app.metrics.exposition()


async def test_request_behind_an_ignored_upgrade_is_answered() -> None:
    async with running() as server:
        answer = await server.converse(UPGRADES["with a second request"], answers=2)
        assert answer.count(b"HTTP/1.1 200") == 2


GARBAGE = {
    "nothing": b"",
    "random": bytes(range(256)) * 8,
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 200,
    "no version": b"GET /\r\n\r\n",
    "a long head": b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 40_000 + b"\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "an odd target": b"GET ?x HTTP/1.1\r\nHost: a\r\n\r\n",
    "a connect": b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n",
    "an absolute target": b"GET http://a HTTP/1.1\r\nHost: a\r\n\r\n",
    "a bare star": b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    "a bad chunk": b"POST /api/me HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "a bad host": b"GET /healthz HTTP/1.1\r\nHost: a b:c:d\r\n\r\n",
    "bytes in the path": b"GET /%ff%00%2f..%2f HTTP/1.1\r\nHost: a\r\n\r\n",
    "an expectation": b"POST /api/me HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n"
    b"Expect: 100-continue\r\n\r\n",
}


@pytest.mark.parametrize("data", GARBAGE.values(), ids=GARBAGE)
async def test_garbage_ends_its_own_connection_only(data: bytes) -> None:
    async with running() as server:
        async with await server.connect() as bystander, await server.connect() as stream:
            await bystander.send_all(GET[:20])
            await stream.send_all(data)
            await trio.testing.wait_all_tasks_blocked(0.01)
            await bystander.send_all(GET[20:])
            assert b" 200 " in await received_until(bystander, b"}")
            await hang_up(stream)
            assert b"HTTP/1.1 5" not in await received(stream)
        assert await server.is_well()
        assert b"connection_failures_total 0.0" in server.app.metrics.exposition()


@pytest.mark.parametrize("chunked", [False, True])
async def test_long_body_is_refused_before_it_has_come(chunked: bool) -> None:
    async with running() as server, await server.connect() as stream:
        head = request("POST", "/api/rooms/r1/join", close=False).decode()
        body = b" " * (MAX_BODY_BYTES + 1)
        if chunked:
            head = head.replace("Content-Length: 0", "Transfer-Encoding: chunked")
            await stream.send_all(head.encode() + f"{len(body):x}\r\n".encode() + body)
        else:
            await stream.send_all(head.replace("Length: 0", "Length: 900000000").encode())
        answer = await received(stream)
        assert answer.startswith(b"HTTP/1.1 413")
        assert b"too_large" in answer
        assert server.club.ran == []
        assert await server.is_well()


async def slow_head(stream: trio.SocketStream) -> None:
    for byte in GET * 100:
        await stream.send_all(bytes([byte]))
        await trio.sleep(STEP_S)


async def slow_body(stream: trio.SocketStream) -> None:
    await stream.send_all(request("POST", "/api/rooms/r1/join", b"x" * 9000, close=False)[:-9000])
    while True:
        await stream.send_all(b" ")
        await trio.sleep(STEP_S)


@pytest.mark.parametrize(
    ("dawdle", "limit_s"), [(slow_head, LIMITS.head_s), (slow_body, LIMITS.request_s)]
)
async def test_slow_sender_is_cut_off(
    dawdle: Callable[[trio.SocketStream], Awaitable[None]], limit_s: float, mock_clock: MockClock
) -> None:
    async with running(LIMITS) as server, await server.connect() as stream:
        began = trio.current_time()
        async with trio.open_nursery() as nursery, time_passing(mock_clock):

            async def send() -> None:
                with suppress(trio.BrokenResourceError):
                    await dawdle(stream)

            nursery.start_soon(send)
            await received(stream)
            nursery.cancel_scope.cancel()
        assert limit_s <= trio.current_time() - began < limit_s + 4 * STEP_S
        assert server.club.ran == []
        assert await server.is_well()


async def test_silent_connection_is_closed(mock_clock: MockClock) -> None:
    async with running(LIMITS) as server, await server.connect() as stream:
        async with time_passing(mock_clock):
            assert await received(stream) == b""


async def ask_for_ever(stream: trio.SocketStream) -> None:
    while True:
        await stream.send_all(b"GET /openapi.json HTTP/1.1\r\nHost: a\r\n\r\n")


async def test_client_that_does_not_read_is_cut_off(mock_clock: MockClock) -> None:
    async with running(LIMITS) as server:
        sock = trio.socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await sock.connect(("127.0.0.1", server.port))
        async with trio.SocketStream(sock) as stream, time_passing(mock_clock):
            with pytest.raises(trio.BrokenResourceError):
                await ask_for_ever(stream)
        assert await server.is_well()


async def test_resets_at_any_moment_harm_nobody() -> None:
    async with running() as server:
        whole = request("POST", "/api/rooms/r1/start", b"{}", close=False)
        for length in range(0, len(whole) + 1, 16):
            with socket.create_connection(("127.0.0.1", server.port)) as sock:
                sock.sendall(whole[:length])
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            await trio.lowlevel.checkpoint()
        assert await server.is_well()
        assert b"connection_failures_total 0.0" in server.app.metrics.exposition()


async def test_full_server_serves_who_waits_once_others_are_gone(mock_clock: MockClock) -> None:
    async with running(HttpLimits(max_connections=2)) as server:
        async with await server.connect() as one, await server.connect() as other:
            waiting = await server.connect()
            async with time_passing(mock_clock):
                assert [await received(one), await received(other)] == [b"", b""]
            async with waiting:
                await waiting.send_all(GET)
                assert b" 200 " in await received_until(waiting, b"}")


class BrokenInside(FakeClub):
    """A club in which a request never ends."""

    async def room(self, principal: object, room_id: str) -> NoReturn:
        await trio.sleep_forever()


async def test_request_that_never_ends_is_ended(mock_clock: MockClock) -> None:
    async with running(LIMITS, BrokenInside()) as server:
        async with time_passing(mock_clock):
            assert await server.exchange(request("GET", "/api/rooms/r1")) == b""
        assert await server.is_well()


async def test_error_inside_one_connection_ends_that_one(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running() as server, await server.connect() as bystander:
        await bystander.send_all(GET)
        assert b" 200 " in await received_until(bystander, b"}")
        await trio.testing.wait_all_tasks_blocked(0.01)

        async def broken(*_: object) -> None:
            raise RuntimeError("a bug of the protocol")

        with monkeypatch.context() as patch:
            patch.setattr("hypercorn.protocol.h11.HTTPStream.handle", broken)
            assert await server.exchange(GET) == b""
        await bystander.send_all(GET)
        assert b" 200 " in await received_until(bystander, b"}")
        assert b"connection_failures_total 1.0" in server.app.metrics.exposition()


async def test_cancelled_server_ends_at_once_and_leaves_the_socket_open(
    mock_clock: MockClock,
) -> None:
    app = make_app(FakeClub())
    with socket.create_server(("127.0.0.1", 0)) as sock:
        for _ in range(2):
            async with trio.open_nursery() as nursery:
                port = await nursery.start(serve_http, app, sock)
                with trio.socket.socket() as client:
                    await client.connect(("127.0.0.1", port))
                    stream = trio.SocketStream(client)
                    await stream.send_all(GET)
                    assert b" 200 " in await received_until(stream, b"}")
                    nursery.cancel_scope.cancel()
