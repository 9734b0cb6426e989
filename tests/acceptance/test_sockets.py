"""What ends a socket, with which code, and what is still true afterwards."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest
import trio

from bench.outside import JSON, MSGPACK, Closed, Outside, Refusal, connected
from bench.server_process import ServerProcess
from server.settings import Settings
from tests.integration.transport_harness import (
    BINARY,
    CLOSE,
    CONT,
    PING,
    PONG,
    TEXT,
    Peer,
    dialled,
    masked,
    upgrade,
)
from tests.support.patience import PATIENCE_S
from tests.support.served import FAST, PATIENT, rows, served, serving, web

AUTH_S = 1.5
IDLE_S = 4.0
BURST = 20
CHANGES = 145
"""So that what is missed stays within what is made up for, 300 events."""
LIMITS = PATIENT | {
    "CARDROOM_COMMANDS_PER_S": "10",
    "CARDROOM_COMMAND_BURST": str(BURST),
    "CARDROOM_ALLOWED_ORIGINS": "https://club.example",
}
SHORT = {"CARDROOM_AUTH_TIMEOUT_S": str(AUTH_S), "CARDROOM_IDLE_SOCKET_S": str(IDLE_S)}


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with serving(LIMITS) as server:
        yield server
        assert_no_errors(server)


@pytest.fixture(scope="module")
def impatient() -> Iterator[ServerProcess]:
    """A server whose sockets have little time, for the tests of just that."""
    with serving(SHORT) as server:
        yield server
        assert_no_errors(server)


def assert_no_errors(server: ServerProcess) -> None:
    errors = [line for line in server.log().splitlines() if '"level":"error"' in line]
    assert not errors, errors


def port_of(server: ServerProcess) -> int:
    port = urlsplit(server.ws_url).port
    assert port is not None
    return port


@asynccontextmanager
async def bare(
    server: ServerProcess, coding: str = JSON, receive_buffer: int | None = None
) -> AsyncIterator[Peer]:
    """Open a WebSocket by hand."""
    async with dialled(port_of(server), receive_buffer) as peer:
        await peer.send(upgrade(Sec_WebSocket_Protocol=coding))
        assert (await peer.read_head()).startswith("HTTP/1.1 101 ")
        yield peer


def command(kind: str, **fields: Any) -> bytes:
    return masked(TEXT, json.dumps({"type": kind, "id": 1, **fields}).encode())


async def authenticated(server: ServerProcess, peer: Peer, user_id: str = "amy") -> None:
    await peer.send(command("authenticate", token=server.token(user_id)))
    opcode, payload = await peer.read_frame()
    assert (opcode, json.loads(payload)["type"]) == (TEXT, "authenticated")


# Frames


@pytest.mark.parametrize(
    ("data", "code"),
    [
        pytest.param(masked(TEXT, b"{}", mask=False), 1002, id="an unmasked frame"),
        pytest.param(masked(TEXT, b"{}", rsv=4), 1002, id="a reserved bit"),
        pytest.param(masked(3, b"{}"), 1002, id="a reserved opcode"),
        pytest.param(masked(CONT, b"{}"), 1002, id="a continuation of nothing"),
        pytest.param(masked(PING, b"", fin=False), 1002, id="a fragmented ping"),
        pytest.param(masked(PING, b"x" * 126), 1002, id="a long ping"),
        pytest.param(masked(CLOSE, b"\x03"), 1002, id="a close of one byte"),
        pytest.param(masked(TEXT, b"\xff\xfe"), 1007, id="text that is not UTF-8"),
        pytest.param(masked(TEXT, b" " * 2**20), 1009, id="a message of 1 MiB"),
        pytest.param(masked(BINARY, b"{}"), 1003, id="binary on the JSON protocol"),
    ],
)
@pytest.mark.fail_after(60)
async def test_a_broken_frame_ends_its_socket(
    server: ServerProcess, data: bytes, code: int
) -> None:
    async with bare(server) as peer:
        await authenticated(server, peer)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_send_as_far_as_it_goes, peer, data)
            assert (await peer.read_close())[0] == code
            nursery.cancel_scope.cancel()


async def _send_as_far_as_it_goes(peer: Peer, data: bytes) -> None:
    try:
        await peer.send(data)
    except trio.BrokenResourceError:
        return


@pytest.mark.fail_after(60)
async def test_text_on_the_binary_protocol(server: ServerProcess) -> None:
    async with bare(server, MSGPACK) as peer:
        await peer.send(command("authenticate", token=server.token("amy")))
        assert (await peer.read_close())[0] == 1003


@pytest.mark.fail_after(60)
async def test_a_fragmented_command_is_a_command(server: ServerProcess) -> None:
    async with bare(server) as peer:
        await authenticated(server, peer)
        data = json.dumps({"type": "heartbeat", "id": 5}).encode()
        await peer.send(masked(TEXT, data[:3], fin=False) + masked(PING, b"?"))
        await peer.send(masked(CONT, data[3:]))
        frames = dict([await peer.read_frame(), await peer.read_frame()])
        assert frames[PONG] == b"?"
        assert json.loads(frames[TEXT])["re"] == 5


# Authentication


@pytest.mark.fail_after(60)
async def test_who_does_not_authenticate_in_time_is_cut_off(impatient: ServerProcess) -> None:
    began = trio.current_time()
    async with connected(impatient.ws_url) as silent:
        assert (await silent.until_closed()).code == 4501
    assert AUTH_S - 0.1 <= trio.current_time() - began < Settings().auth_timeout_s


@pytest.mark.parametrize("coding", [JSON, MSGPACK])
@pytest.mark.parametrize(
    "fields",
    [
        {"token": "nonsense"},
        {"token": "a.b.c"},
        {"token": "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbXkiLCJleHAiOjk5OTk5OTk5OTl9."},
        {"rejoin_token": "nonsense", "room_id": "nowhere"},
    ],
)
@pytest.mark.fail_after(60)
async def test_a_bad_token_is_told_and_cut_off(
    server: ServerProcess, coding: str, fields: dict[str, str]
) -> None:
    async with connected(server.ws_url, coding=coding) as socket:
        error = await socket.refused("authenticate", **fields)
        assert error["code"] == "unauthenticated"
        assert (await socket.until_closed()).code == 4501


@pytest.mark.parametrize("kind", ["heartbeat", "list_rooms", "hydrate", "create_room"])
@pytest.mark.fail_after(60)
async def test_a_command_before_authenticating_is_told_and_cut_off(
    server: ServerProcess, kind: str
) -> None:
    async with connected(server.ws_url) as socket:
        error = await socket.refused(kind)
        assert error["code"] == "unauthenticated"
        assert (await socket.until_closed()).code == 4501


# Limits


@pytest.mark.fail_after(60)
async def test_too_fast_is_told_when_to_go_on(server: ServerProcess) -> None:
    async with bare(server) as peer:
        await authenticated(server, peer, "fast")
        await trio.sleep(0.3)  # What that has taken is there again.
        # In one piece: for the server no time passes between them.
        await peer.send(command("heartbeat") * (BURST + 10))
        replies = [json.loads((await peer.read_frame())[1]) for _ in range(BURST + 10)]
        errors = [reply for reply in replies if reply["type"] == "error"]
        assert 5 <= len(errors) <= 10
        assert {error["code"] for error in errors} == {"rate_limited"}
        waits = [error["retry_after"] for error in errors]
        assert all(0 < wait_s <= 0.1 for wait_s in waits)
        await trio.sleep(max(waits))
        await peer.send(command("heartbeat"))
        assert json.loads((await peer.read_frame())[1])["type"] == "ok"


@pytest.mark.fail_after(60)
async def test_flooding_ends_the_socket(server: ServerProcess) -> None:
    async with bare(server) as peer:
        await authenticated(server, peer, "flood")
        await peer.send(command("heartbeat") * BURST * 5)
        assert (await peer.read_close())[0] == 4029
    async with connected(server.ws_url, token=server.token("flood")) as again:
        assert await again.ask("heartbeat")


@pytest.mark.fail_after(60)
async def test_a_user_has_twenty_sockets_and_no_more(server: ServerProcess) -> None:
    async with AsyncExitStack() as stack:
        kept: list[Outside] = []
        for _ in range(20):
            opened = connected(server.ws_url, token=server.token("many"))
            kept.append(await stack.enter_async_context(opened))
        one_more = await stack.enter_async_context(connected(server.ws_url))
        await one_more.post("authenticate", token=server.token("many"))
        assert (await one_more.until_closed()).code == 4509
        assert all([await socket.ask("heartbeat") for socket in kept])
        other = connected(server.ws_url, token=server.token("other"))
        assert await (await stack.enter_async_context(other)).ask("heartbeat")
        await kept[0].aclose()
        in_its_place = connected(server.ws_url, token=server.token("many"))
        assert await (await stack.enter_async_context(in_its_place)).ask("heartbeat")


@pytest.mark.fail_after(60)
async def test_a_socket_without_messages_is_closed(impatient: ServerProcess) -> None:
    """Answering pings is not enough: a heartbeat is a message."""
    began = trio.current_time()
    async with (
        connected(impatient.ws_url, token=impatient.token("busy")) as busy,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(_beat, busy)
        async with connected(impatient.ws_url, token=impatient.token("idle")) as idle:
            assert (await idle.until_closed()).code == 4000
        assert IDLE_S - 0.1 <= trio.current_time() - began < Settings().idle_socket_s
        nursery.cancel_scope.cancel()
        assert await busy.ask("heartbeat")


async def _beat(socket: Outside) -> None:
    while True:
        await socket.ask("heartbeat")
        await trio.sleep(IDLE_S / 10)


@pytest.mark.fail_after(60)
async def test_of_many_subscriptions_at_once_one_holds(server: ServerProcess) -> None:
    async with connected(server.ws_url, token=server.token("hasty")) as socket:
        made = await socket.ask("create_room")
        channel = f"room:{made['room']['id']}"
        ids = [await socket.post("subscribe", channel=channel) for _ in range(8)]
        outcomes = [await outcome(socket, id) for id in ids]
        assert "ok" in outcomes
        assert set(outcomes) <= {"ok", "conflict"}
        changed = await socket.ask("settings", room_id=made["room"]["id"], ante=1)
        await socket.event_of("settings_changed", seq=changed["seq"])
        again = await socket.ask("settings", room_id=made["room"]["id"], ante=2)
        await socket.event_of("settings_changed", seq=again["seq"])
        assert [event["seq"] for event in socket.events] == [changed["seq"], again["seq"]]


async def outcome(socket: Outside, id: int) -> str:
    """Wait for a reply; return its code where it is an error."""
    try:
        return str((await socket.reply_to(id))["type"])
    except Refusal as refusal:
        return refusal.code


# The handshake


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/", {}, 404),
        ("/ws/", {}, 404),
        ("/nowhere", {}, 404),
        ("/ws", {"Origin": "https://evil.example"}, 403),
        ("/ws", {"Origin": "null"}, 403),
        ("/ws", {"Origin": "https://club.example.evil.example"}, 403),
        ("/ws", {"Origin": "https://club.example"}, 101),
        ("/ws", {}, 101),
        ("/ws?token=x", {}, 101),
        ("/ws", {"Sec_WebSocket_Protocol": "nonsense"}, 400),
        ("/ws", {"Sec_WebSocket_Version": "8"}, 400),
        ("/ws", {"Sec_WebSocket_Key": ""}, 400),
    ],
)
@pytest.mark.fail_after(60)
async def test_who_may_open_a_socket(
    server: ServerProcess, path: str, headers: dict[str, str], status: int
) -> None:
    async with dialled(port_of(server)) as peer:
        await peer.send(upgrade(path, **headers))
        head = await peer.read_head()
        assert head.startswith(f"HTTP/1.1 {status} "), head


@pytest.mark.parametrize(
    ("offered", "chosen", "coding"),
    [
        ("", None, MSGPACK),
        (MSGPACK, MSGPACK, MSGPACK),
        (JSON, JSON, JSON),
        (f"{JSON}, {MSGPACK}", MSGPACK, MSGPACK),
        (f"nonsense, {JSON}", JSON, JSON),
    ],
)
@pytest.mark.fail_after(60)
async def test_the_subprotocol_chooses_the_coding(
    server: ServerProcess, offered: str, chosen: str | None, coding: str
) -> None:
    async with dialled(port_of(server)) as peer:
        await peer.send(upgrade(Sec_WebSocket_Protocol=offered))
        head = (await peer.read_head()).lower()
        if chosen is None:
            assert "sec-websocket-protocol" not in head
        else:
            assert f"sec-websocket-protocol: {chosen}" in head
        message = {"type": "authenticate", "id": 1, "token": server.token("amy")}
        if coding == JSON:
            await peer.send(masked(TEXT, json.dumps(message).encode()))
        else:
            await peer.send(masked(BINARY, msgspec.msgpack.encode(message)))
        opcode, payload = await peer.read_frame()
        assert opcode == (TEXT if coding == JSON else BINARY)
        reply = json.loads(payload) if coding == JSON else msgspec.msgpack.decode(payload)
        assert reply["type"] == "authenticated"


# The reader that never reads, and the end of the server


async def slow_closes(server: ServerProcess) -> int:
    """Return how many sockets the server has closed because they could not keep up."""
    async with web(server, "amy") as client:
        figures = (await client.get("/metrics")).text
    (line,) = (line for line in figures.splitlines() if line.startswith("cardroom_slow_closes_t"))
    return int(float(line.split()[1]))


@pytest.mark.fail_after(120)
async def test_a_reader_that_never_reads_is_cut_off_and_finds_everything(tmp_path: Path) -> None:
    # The queue is what cuts it off; its last words wait long enough to be read on a busy machine.
    limits = {"queue_bytes": "60000", "queue_messages": "200"}
    patience = {"send_timeout_s": str(PATIENCE_S), "close_timeout_s": str(PATIENCE_S)}
    fast = {"commands_per_s": "10000", "command_burst": "10000"}
    async with served(tmp_path, **limits, **patience, **fast) as server:
        async with connected(server.ws_url, token=server.token("host")) as host:
            made = await host.ask("create_room", settings={"requires_approval": False})
            room_id = made["room"]["id"]
            async with bare(server, JSON, receive_buffer=4096) as lazy:
                await authenticated(server, lazy, "lazy")
                for kind in ("join", "spectate"):
                    await lazy.send(command(kind, room_id=room_id))
                    while json.loads((await lazy.read_frame())[1])["type"] != "ok":
                        pass
                for number in range(CHANGES):
                    await host.ask("settings", room_id=room_id, name=f"{'x' * 50} {number}")
                # Each answer has all events: far more than what the kernel keeps for a reader.
                slowest, number = 0.0, 0
                while not await slow_closes(server):
                    number += 1
                    await lazy.send(
                        command("subscribe", channel=f"room:{room_id}", last_seq=0)
                        + command("heartbeat")
                    )
                    began = trio.current_time()
                    changed = await host.ask("settings", room_id=room_id, name=f"again {number}")
                    slowest = max(slowest, trio.current_time() - began)
                    # As much work as the lazy one's: theirs is done by then.
                    await host.ask("subscribe", channel=f"room:{room_id}", last_seq=0)
                assert slowest < PATIENCE_S / 2, "nobody waits for the lazy one"
                code, _ = await lazy.read_close()
                assert code == 4008
        async with connected(server.ws_url, token=server.token("lazy")) as again:
            room = await again.ask("hydrate", room_id=room_id)
            assert room["room"]["name"] == f"again {number}"
            assert room["seq"] == changed["seq"]
            assert room["role"] == "spectator"


@pytest.mark.fail_after(120)
async def test_sigterm_says_so_and_keeps_every_commit(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path / "data", FAST)
    await server.start()
    told: dict[str, int] = {}
    closes: list[Closed] = []
    refused: set[str] = set()
    enough = trio.Event()

    async def change(name: str) -> None:
        async with connected(server.ws_url, token=server.token(name)) as host:
            made = await host.ask("create_room", settings={"requires_approval": False})
            room_id = made["room"]["id"]
            try:
                while True:
                    changed = await host.ask("settings", room_id=room_id, ante=told.get(room_id, 0))
                    told[room_id] = changed["seq"]
                    if len(told) == 10 and min(told.values()) >= 20:
                        enough.set()
            except Closed as closed:
                closes.append(closed)
            except Refusal as refusal:
                refused.add(refusal.code)
                closes.append(await host.until_closed())

    async def end() -> None:
        await enough.wait()
        assert await server.stop() < 10

    async with trio.open_nursery() as nursery:
        for number in range(10):
            nursery.start_soon(change, f"h{number}")
        nursery.start_soon(end)
    assert [closed.code for closed in closes] == [1012] * 10
    assert refused <= {"unavailable"}
    await server.start()
    try:
        for room_id, seq in told.items():
            (kept,) = rows(server, "SELECT seq FROM game_states WHERE room_id = %s", room_id)
            assert kept["seq"] >= seq
            (events,) = rows(
                server,
                "SELECT count(*) AS n, max(seq) AS last FROM room_events WHERE room_id = %s",
                room_id,
            )
            assert events["n"] == events["last"] == kept["seq"]
    finally:
        await server.stop()
