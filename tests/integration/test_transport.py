"""The transport with clients that behave, and with clients that are slow, silent or gone.

Where time matters it stands still (`mock_clock`) until the test says that some has passed.
"""

from __future__ import annotations

import errno
import gc
import os
import select
import socket
import weakref
from contextlib import AsyncExitStack

import pytest
import trio
import trio_websocket
from structlog.testing import capture_logs
from trio.testing import MockClock, wait_all_tasks_blocked

from server.transport import Connection, TransportLimits, frame
from tests.integration.transport_harness import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    RecordingEndpoint,
    RecordingSession,
    connected,
    dialled,
    echo,
    masked,
    serving,
    upgrade,
)
from tests.support.patience import PATIENCE_S

pytestmark = pytest.mark.fail_after(PATIENCE_S)

MIB = 1024 * 1024


@pytest.mark.parametrize("size", [0, 1, 125, 126, 4096, 65535, 65536])
async def test_messages_of_every_length_form_come_back_whole(size: int) -> None:
    payload = bytes(index % 251 for index in range(size))
    async with serving(TransportLimits(max_message_bytes=MIB)) as served:
        url = f"ws://127.0.0.1:{served.port}/ws"
        async with trio_websocket.open_websocket_url(url) as client:
            await client.send_message(payload)
            assert await client.get_message() == payload


async def test_text_reaches_the_session_as_str_and_binary_as_bytes() -> None:
    async with serving() as served:
        async with connected(served.port) as peer:
            await peer.send(masked(TEXT, "é".encode()) + masked(BINARY, b"\xff"))
            assert await peer.read_frame() == (TEXT, "é".encode())
            assert await peer.read_frame() == (BINARY, b"\xff")
            assert served.session.messages == ["é", b"\xff"]


async def test_fragments_make_one_message_with_a_ping_between_them() -> None:
    async with serving() as served:
        async with connected(served.port) as peer:
            await peer.send(masked(TEXT, b"\xc3", fin=False))
            await peer.send(masked(PING, b"here?"))
            assert await peer.read_frame() == (PONG, b"here?")
            await peer.send(masked(0, b"", fin=False) + masked(0, b"\xa9"))
            assert await peer.read_frame() == (TEXT, "é".encode())


async def test_bytes_that_come_one_by_one_are_understood() -> None:
    async with serving() as served:
        async with dialled(served.port) as peer:
            for byte in upgrade() + masked(BINARY, b"slow typist"):
                await peer.send(bytes((byte,)))
            assert (await peer.read_head()).startswith("HTTP/1.1 101 ")
            assert await peer.read_frame() == (BINARY, b"slow typist")


@pytest.mark.parametrize("size", [20, 200])
async def test_what_looks_like_a_message_within_a_cut_one_is_a_part_of_it(size: int) -> None:
    async with serving() as served:
        async with connected(served.port) as peer:
            await peer.send(masked(BINARY, b"first"))
            assert await peer.read_frame() == (BINARY, b"first")
            inner = masked(BINARY, bytes(range(14)))
            # A key of zeros: the payload goes over the wire as it is.
            length = bytes((0x80 | size,)) if size < 126 else bytes((0xFE, 0, size))
            head = bytes((0x82,)) + length + bytes(4)
            payload = inner * (size // len(inner))
            for part in (head[:2], head[2:], *(payload[at : at + 20] for at in range(0, size, 20))):
                had = served.transport.counters.bytes_in
                await peer.send(part)
                while served.transport.counters.bytes_in < had + len(part):
                    await trio.lowlevel.checkpoint()
            assert await peer.read_frame() == (BINARY, payload)


async def test_frames_behind_the_request_are_answered_behind_the_handshake() -> None:
    async with serving() as served:
        async with dialled(served.port) as peer:
            await peer.send(upgrade() + masked(PING, b"p") + masked(BINARY, b"early"))
            assert (await peer.read_head()).startswith("HTTP/1.1 101 ")
            assert {await peer.read_frame(), await peer.read_frame()} == {
                (PONG, b"p"),
                (BINARY, b"early"),
            }


async def test_a_session_may_speak_first_and_sees_the_request() -> None:
    greeting = frame(b"hello", text=True)
    endpoint = RecordingEndpoint(greet=lambda connection: connection.enqueue(greeting))
    async with serving(endpoint=endpoint) as served:
        async with dialled(served.port) as peer:
            await peer.send(upgrade("/ws?a=1&b=%20x", X_Twice="1"))
            await peer.read_head()
            assert await peer.read_frame() == (TEXT, b"hello")
            request = served.session.connection.request
            assert request.query == {"a": "1", "b": " x"}
            assert request.headers["x-twice"] == "1"
            assert request.peer == "{}:{}".format(*peer.stream.socket.getsockname())
            assert "query" not in repr(request)
            assert "headers" not in repr(request)


@pytest.mark.parametrize(
    ("asked", "agreed"), [("", None), ("b", "b"), ("b, a", "a"), ("x, b", "b")]
)
async def test_the_servers_best_subprotocol_is_agreed_on(asked: str, agreed: str | None) -> None:
    async with serving(endpoint=RecordingEndpoint(subprotocols=("a", "b"))) as served:
        async with dialled(served.port) as peer:
            await peer.send(upgrade(Sec_WebSocket_Protocol=asked))
            head = await peer.read_head()
            assert (f"Sec-WebSocket-Protocol: {agreed}" in head) is (agreed is not None)
            await peer.send(masked(BINARY, b"x"))
            await peer.read_frame()
            assert served.session.connection.subprotocol == agreed


async def test_one_frame_serves_many_connections() -> None:
    async with serving() as served:
        async with connected(served.port) as one, connected(served.port) as two:
            await one.send(masked(BINARY, b"a"))
            await two.send(masked(BINARY, b"b"))
            await one.read_frame()
            await two.read_frame()
            news = frame(b"x" * 300, text=False) + frame(b"y", text=True)
            for session in served.endpoint.sessions:
                session.connection.enqueue(news)
            for peer in (one, two):
                assert await peer.read_frame() == (BINARY, b"x" * 300)
                assert await peer.read_frame() == (TEXT, b"y")
            assert served.transport.connections == 2


async def test_a_clients_close_is_answered_and_told_once() -> None:
    async with serving() as served:
        async with connected(served.port) as peer:
            await peer.send(masked(BINARY, b"last") + masked(8, b"\x03\xe8bye"))
            assert await peer.read_frame() == (BINARY, b"last")
            assert await peer.read_close() == (1000, "bye")
            await peer.read_end()
        assert await served.session.closing() == (1000, "bye")
        assert served.session.closes == [(1000, "bye")]


async def test_a_close_comes_behind_what_was_enqueued_and_ends_the_socket() -> None:
    def handle(connection: Connection, data: bytes | str) -> None:
        connection.enqueue(frame(b"one", text=False))
        connection.close(4503, "r" * 200, after=frame(b"two", text=False))
        connection.close(1000)
        connection.enqueue(frame(b"never", text=False))

    async with serving(TransportLimits(close_timeout_s=0.2), handle=handle) as served:
        async with connected(served.port) as peer:
            await peer.send(masked(BINARY, b"1") + masked(BINARY, b"2"))
            assert await peer.read_frame() == (BINARY, b"one")
            assert await peer.read_frame() == (BINARY, b"two")
            assert await peer.read_close() == (4503, "r" * 123)
            await peer.read_end()  # although this peer never answers with a Close
        assert served.session.messages == [b"1"]
        assert served.session.closes == [(4503, "r" * 200)]


async def test_what_is_corked_is_sent_in_one_go_and_before_a_close() -> None:
    def handle(connection: Connection, data: bytes | str) -> None:
        connection.cork()
        connection.cork()
        for part in (b"one", b"two"):
            connection.enqueue(frame(part, text=False))
        if data == b"close":
            connection.close(1000, "bye")
        connection.uncork()
        connection.uncork()

    async with serving(handle=handle) as served:
        async with connected(served.port) as peer:
            before = served.transport.counters.frames_out
            await peer.send(masked(BINARY, b"go on"))
            assert [await peer.read_frame(), await peer.read_frame()] == [
                (BINARY, b"one"),
                (BINARY, b"two"),
            ]
            assert served.transport.counters.frames_out == before + 1
            await peer.send(masked(BINARY, b"close"))
            assert [await peer.read_frame(), await peer.read_frame()] == [
                (BINARY, b"one"),
                (BINARY, b"two"),
            ]
            assert await peer.read_close() == (1000, "bye")


async def until_closed(session: RecordingSession, scope: trio.CancelScope) -> None:
    await session.closing()
    scope.cancel()


async def test_a_socket_that_another_ones_message_drops_is_not_read_any_more() -> None:
    def handle(connection: Connection, data: bytes | str) -> None:
        for session in served.endpoint.sessions:
            if session.connection is not connection:
                session.connection.drop()

    async with serving(handle=handle) as served:
        async with connected(served.port) as one, connected(served.port) as two:
            # No step of the server is between the two: both sockets are readable at its next look.
            for peer in (one, two):
                os.write(peer.stream.socket.fileno(), masked(BINARY, b"me first"))
            first, second = served.endpoint.sessions
            with trio.fail_after(PATIENCE_S):
                async with trio.open_nursery() as nursery:
                    for session in (first, second):
                        nursery.start_soon(until_closed, session, nursery.cancel_scope)
            assert sorted([first.messages, second.messages]) == [[], [b"me first"]]
            assert sorted([first.closes, second.closes]) == [[], [(1006, "")]]
            assert served.transport.connections == 1


async def test_on_closed_is_never_called_from_within_close() -> None:
    seen: list[int] = []

    def handle(connection: Connection, data: bytes | str) -> None:
        connection.close(1000)
        seen.append(len(served.session.closes))

    async with serving(handle=handle) as served:
        async with connected(served.port) as peer:
            await peer.send(masked(BINARY, b"1"))
            await peer.read_close()
        await served.session.closing()
        assert seen == [0]


async def test_a_close_by_another_task_is_told_at_once() -> None:
    async with serving(TransportLimits(close_timeout_s=PATIENCE_S)) as served:
        async with connected(served.port) as peer:
            await peer.send(masked(BINARY, b"1"))
            await peer.read_frame()
            served.session.connection.close(1000, "bye")
            with trio.fail_after(PATIENCE_S / 2):
                assert await served.session.closing() == (1000, "bye")


async def test_a_failing_session_ends_alone() -> None:
    def handle(connection: Connection, data: bytes | str) -> None:
        if data == b"poison":
            raise RuntimeError("session")
        echo(connection, data)

    async with serving(handle=handle) as served:
        async with connected(served.port) as poisonous, connected(served.port) as other:
            await poisonous.send(masked(BINARY, b"poison"))
            assert await poisonous.read_close() == (1011, "")
            await other.send(masked(BINARY, b"fine"))
            assert await other.read_frame() == (BINARY, b"fine")


async def test_an_endpoint_that_fails_to_open_closes_1011() -> None:
    def greet(connection: Connection) -> None:
        raise RuntimeError("open")

    async with serving(endpoint=RecordingEndpoint(greet=greet)) as served:
        async with connected(served.port) as peer:
            assert await peer.read_close() == (1011, "")


async def test_a_reset_is_told_as_1006() -> None:
    async with serving() as served:
        async with connected(served.port) as peer:
            peer.reset()
            assert await served.session.closing() == (1006, "")


async def test_nothing_of_a_closed_connection_waits_for_the_cycle_collector() -> None:
    gc.disable()
    try:
        async with serving() as served:
            async with connected(served.port) as peer:
                await peer.send(masked(BINARY, b"one"))
                await peer.read_frame()
                socket_of_it = weakref.ref(served.session.connection)
                core_of_it = weakref.ref(served.session.connection._core)
            await served.session.closed.wait()
            served.endpoint.sessions.clear()
            await wait_all_tasks_blocked()
            assert socket_of_it() is None
            assert core_of_it() is None
    finally:
        gc.enable()


async def test_a_silent_socket_is_cut_after_the_handshake_timeout(mock_clock: MockClock) -> None:
    async with serving(TransportLimits(handshake_timeout_s=3)) as served:
        async with dialled(served.port) as silent, dialled(served.port) as dribbling:
            await dribbling.send(upgrade()[:40])
            while served.transport.counters.bytes_in < 40:
                await trio.lowlevel.checkpoint()
            mock_clock.jump(2)
            await wait_all_tasks_blocked()
            assert served.transport.half_open == 2
            mock_clock.jump(1)
            await silent.read_end()
            await dribbling.read_end()
        assert served.transport.counters.handshake_failures == 2
        assert served.transport.half_open == 0


async def test_a_reset_during_the_handshake_ends_that_socket_only() -> None:
    async with serving() as served:
        async with connected(served.port) as bystander:
            for part in (b"", b"GET /ws", upgrade()):
                async with dialled(served.port) as peer:
                    await peer.send(part)
                    peer.reset()
            await bystander.send(masked(BINARY, b"still here"))
            assert await bystander.read_frame() == (BINARY, b"still here")
            async with connected(served.port) as later:
                await later.send(masked(BINARY, b"me too"))
                assert await later.read_frame() == (BINARY, b"me too")


async def test_the_oldest_half_open_handshake_makes_way() -> None:
    async with serving(TransportLimits(max_half_open=2)) as served:
        async with dialled(served.port) as oldest, dialled(served.port) as second:
            async with connected(served.port):
                await oldest.read_end()
                await second.send(upgrade())
                assert (await second.read_head()).startswith("HTTP/1.1 101 ")


class _Exhausted(socket.socket):
    """A listening socket that has no descriptors left for the first two times."""

    refusals = 2

    def accept(self) -> tuple[socket.socket, object]:
        if self.refusals:
            self.refusals -= 1
            raise OSError(errno.EMFILE, "Too many open files")
        return super().accept()


async def test_accepting_goes_on_after_descriptors_ran_out() -> None:
    listener = _Exhausted()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    async with serving(listener=listener) as served:
        async with connected(served.port) as peer:
            await peer.send(masked(BINARY, b"x"))
            assert await peer.read_frame() == (BINARY, b"x")
        assert listener.refusals == 0


async def test_who_finds_no_room_waits_until_somebody_has_gone() -> None:
    with capture_logs() as said:
        async with serving(TransportLimits(max_sockets=2)) as served, AsyncExitStack() as later:
            async with connected(served.port) as first, connected(served.port):
                third = await later.enter_async_context(dialled(served.port))
                await third.send(upgrade())
                while served.transport.counters.accept_pauses < 3:
                    await trio.lowlevel.checkpoint()
                await first.send(masked(BINARY, b"still here"))
                assert await first.read_frame() == (BINARY, b"still here")
            assert (await third.read_head()).startswith("HTTP/1.1 101 ")
    assert [one["event"] for one in said] == ["accept_paused"]
    assert said[0]["sockets"] == 2


async def test_no_work_is_done_for_who_hung_up_before_its_turn() -> None:
    async with serving(TransportLimits(max_sockets=1)) as served, AsyncExitStack() as later:
        async with connected(served.port):
            for _ in range(3):
                async with dialled(served.port) as impatient:
                    await impatient.send(upgrade())
            waits = await later.enter_async_context(dialled(served.port))
            await waits.send(upgrade())
        assert (await waits.read_head()).startswith("HTTP/1.1 101 ")
        assert len(served.endpoint.sessions) == 2
        assert served.transport.counters.handshake_failures == 3


async def test_clients_are_let_in_where_the_system_does_not_tell_who_hung_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(select, "POLLRDHUP", raising=False)
    async with serving() as served, connected(served.port) as peer:
        await peer.send(masked(BINARY, b"here"))
        assert await peer.read_frame() == (BINARY, b"here")


async def test_silence_is_pinged_and_pongs_do_not_keep_an_idle_connection(
    mock_clock: MockClock,
) -> None:
    async with serving(TransportLimits(ping_interval_s=10, idle_s=25)) as served:
        async with connected(served.port) as peer:
            for number in (1, 2):
                mock_clock.jump(10)
                assert await peer.read_frame() == (PING, b"")
                await peer.send(masked(PONG))
                while served.transport.counters.frames_in < number:
                    await trio.lowlevel.checkpoint()
            mock_clock.jump(5)
            assert await peer.read_close() == (4000, "idle")
        assert await served.session.closing() == (4000, "idle")


async def test_messages_keep_a_connection_open(mock_clock: MockClock) -> None:
    async with serving(TransportLimits(idle_s=10)) as served:
        async with connected(served.port) as peer:
            for _ in range(4):
                mock_clock.jump(6)
                await wait_all_tasks_blocked()
                await peer.send(masked(BINARY, b"beat"))
                assert await peer.read_frame() == (BINARY, b"beat")
            assert not served.session.closes


async def test_what_is_expected_and_does_not_come_closes(mock_clock: MockClock) -> None:
    def greet(connection: Connection) -> None:
        connection.expect_before(trio.current_time() + 5, 4501, "authenticate first")

    async with serving(endpoint=RecordingEndpoint(greet=greet)) as served:
        async with connected(served.port) as late, connected(served.port) as prompt:
            for session in served.endpoint.sessions[1:]:
                session.connection.expect_before(None)
            mock_clock.jump(5)
            assert await late.read_close() == (4501, "authenticate first")
            await prompt.send(masked(BINARY, b"ok"))
            assert await prompt.read_frame() == (BINARY, b"ok")


@pytest.mark.parametrize(
    "limits",
    [
        TransportLimits(queue_bytes=MIB, queue_messages=100_000, close_timeout_s=0.2),
        TransportLimits(queue_bytes=100 * MIB, queue_messages=20, close_timeout_s=0.2),
    ],
    ids=["bytes", "messages"],
)
async def test_a_full_queue_closes_4008_and_harms_nobody_else(limits: TransportLimits) -> None:
    news = frame(b"n" * 65536, text=False)
    async with serving(limits) as served:
        async with connected(served.port, 4096) as slow, connected(served.port) as other:
            await slow.send(masked(BINARY, b"x"))
            await slow.read_frame()
            connection = served.endpoint.sessions[0].connection
            for _ in range(1000):
                connection.enqueue(news)
                if connection.closed:
                    break
            assert connection.closed
            assert await served.endpoint.sessions[0].closing() == (4008, "too slow")
            assert served.transport.counters.slow_closes == 1
            await other.send(masked(BINARY, b"fine"))
            assert await other.read_frame() == (BINARY, b"fine")
            await slow.read_end()  # dropped although it had not read


async def test_what_a_slow_client_has_not_read_is_little_beyond_the_queue() -> None:
    async with serving(TransportLimits(queue_messages=20)) as served:
        async with connected(served.port, 4096) as peer:
            await peer.send(masked(BINARY, b"x"))
            await peer.read_frame()
            connection = served.session.connection
            news = frame(b"n" * 4096, text=False)
            enqueued = 0
            while not connection.closed:
                connection.enqueue(news)
                enqueued += len(news)
            assert enqueued < MIB


async def test_a_slow_client_that_reads_on_finds_whole_frames_and_4008() -> None:
    limits = TransportLimits(queue_bytes=100 * MIB, queue_messages=20, close_timeout_s=PATIENCE_S)
    async with serving(limits) as served:
        async with connected(served.port, 4096) as peer:
            await peer.send(masked(BINARY, b"x"))
            await peer.read_frame()
            connection = served.session.connection
            sent = 0
            while not connection.closed:
                connection.enqueue(frame(b"n" * 65536, text=False))
                sent += 1
            received = 0
            while (read := await peer.read_frame())[0] == BINARY:
                assert read[1] == b"n" * 65536
                received += 1
            assert read == (CLOSE, b"\x0f\xa8too slow")
            assert received == sent - limits.queue_messages


async def test_a_failed_connection_ends_as_soon_as_its_queue_is_sent() -> None:
    limits = TransportLimits(queue_bytes=100 * MIB, close_timeout_s=PATIENCE_S)
    async with serving(limits) as served:
        async with connected(served.port, 4096) as peer:
            await peer.send(masked(BINARY, b"x"))
            await peer.read_frame()
            served.session.connection.enqueue(frame(b"n" * 8 * MIB, text=False))
            await peer.send(masked(BINARY, b"x", mask=False))
            assert (await served.session.closing())[0] == 1002
            assert await peer.read_frame() == (BINARY, b"n" * 8 * MIB)
            assert (await peer.read_close())[0] == 1002
            with trio.fail_after(PATIENCE_S / 2):
                await peer.read_end()


async def test_a_send_that_stalls_ends_the_connection() -> None:
    limits = TransportLimits(queue_bytes=100 * MIB, queue_messages=10_000, send_timeout_s=0.2)
    async with serving(limits) as served:
        async with connected(served.port, 4096) as peer:
            await peer.send(masked(BINARY, b"x"))
            await peer.read_frame()
            served.session.connection.enqueue(frame(b"n" * 32 * MIB, text=False))
            assert not served.session.connection.closed
            assert await served.session.closing() == (4008, "too slow")
            assert served.transport.counters.slow_closes == 1
            # A reset, so that the kernel does not go on keeping megabytes for this peer.
            with pytest.raises(trio.BrokenResourceError):
                await peer.read_all()


async def test_a_queue_is_delivered_whole_and_in_order_before_the_close() -> None:
    limits = TransportLimits(
        queue_bytes=100 * MIB, queue_messages=10_000, close_timeout_s=PATIENCE_S
    )
    async with serving(limits) as served:
        async with connected(served.port, 4096) as peer:
            await peer.send(masked(BINARY, b"x"))
            await peer.read_frame()
            connection = served.session.connection
            for number in range(150):
                connection.enqueue(frame(number.to_bytes(4, "big") * 16384, text=False))
            connection.close(1000, "done")
            for number in range(150):
                assert await peer.read_frame() == (BINARY, number.to_bytes(4, "big") * 16384)
            assert await peer.read_close() == (1000, "done")


async def test_a_graceful_stop_tells_all_and_drops_who_does_not_answer(
    mock_clock: MockClock,
) -> None:
    async with serving(TransportLimits(close_timeout_s=5)) as served:
        async with connected(served.port) as stubborn, connected(served.port) as polite:
            async with dialled(served.port) as half_open:
                served.transport.stop_accepting()
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(served.transport.close_all, 1012, "restart", 2)
                    assert await polite.read_close() == (1012, "restart")
                    await polite.send(masked(CLOSE, b"\x03\xf4"))
                    await polite.read_end()
                    assert served.transport.connections
                    mock_clock.jump(2)
                assert (served.transport.connections, served.transport.half_open) == (0, 0)
                assert await stubborn.read_close() == (1012, "restart")
                await half_open.read_end()
        with pytest.raises(ConnectionRefusedError):
            async with dialled(served.port):
                pass
        assert [session.closes for session in served.endpoint.sessions] == [[(1012, "restart")]] * 2


async def test_a_graceful_stop_ends_when_all_have_answered() -> None:
    limits = TransportLimits(close_timeout_s=PATIENCE_S, handshake_timeout_s=PATIENCE_S)
    async with serving(limits) as served:
        async with connected(served.port) as peer, dialled(served.port) as half_open:
            await half_open.send(b"GET ")
            await peer.send(masked(BINARY, b"x"))
            await peer.read_frame()
            with trio.fail_after(PATIENCE_S / 2):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(served.transport.close_all, 1012, "restart", PATIENCE_S)
                    await peer.read_close()
                    await peer.send(masked(CLOSE, b"\x03\xf4"))
                    await peer.read_end()
                    await peer.stream.aclose()


async def test_cancelling_tells_1001_and_leaves_no_socket() -> None:
    async with serving() as served:
        async with connected(served.port) as peer, dialled(served.port) as half_open:
            await peer.send(masked(BINARY, b"x"))
            await peer.read_frame()
            with trio.CancelScope(shield=True):
                served.scope.cancel()
                assert await peer.read_close() == (1001, "")
                await half_open.read_end()
                assert await served.session.closing() == (1001, "")
                assert (served.transport.connections, served.transport.half_open) == (0, 0)


async def test_sockets_send_without_delay_and_are_counted() -> None:
    async with serving() as served:
        async with connected(served.port) as peer:
            await peer.send(masked(BINARY, b"four"))
            await peer.read_frame()
            counters = served.transport.counters
            assert counters.frames_in == 1
            assert counters.frames_out == 2  # the response of the handshake is one
            assert counters.bytes_in > 10
            assert counters.bytes_out > 6
            sock = served.session.connection._sock
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_a_flood_from_one_does_not_starve_another() -> None:
    async with serving() as served:
        async with connected(served.port) as flood, connected(served.port) as other:
            burst = masked(BINARY) * 1000

            async def keep_flooding() -> None:
                while True:
                    await flood.send(burst)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(flood.read_end)
                nursery.start_soon(keep_flooding)
                for _ in range(20):
                    await other.send(masked(BINARY, b"turn"))
                    assert await other.read_frame() == (BINARY, b"turn")
                flooding = served.endpoint.sessions[0]
                assert len(flooding.messages) > 1000
                assert not flooding.closes
                nursery.cancel_scope.cancel()
