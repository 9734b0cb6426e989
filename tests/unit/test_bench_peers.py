"""What `cardroom bench peers` rests on: Socket.IO spoken by hand, programs that may be absent."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pytest
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

from bench.peers import installing
from bench.peers.errors import Missing, PeerFailed
from bench.peers.wires import SocketIoSocket, room_id
from bench.scenarios.rooms_load import RoomsLoad
from tests.support.patience import PATIENCE_S

T = TypeVar("T")


class Server:
    """One WebSocket connection, as a server that blocks has it."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._protocol = ServerProtocol()
        self.path = ""
        while not self.path:
            self._protocol.receive_data(sock.recv(65536))
            for event in self._protocol.events_received():
                assert isinstance(event, Request)
                self.path = event.path
                self._protocol.send_response(self._protocol.accept(event))

    def tell(self, *packets: str) -> None:
        for packet in packets:
            self._protocol.send_text(packet.encode())
        self._sock.sendall(b"".join(self._protocol.data_to_send()))

    def hear(self) -> str:
        while True:
            for event in self._protocol.events_received():
                assert isinstance(event, Frame)
                assert event.opcode is Opcode.TEXT
                return bytes(event.data).decode()
            self._protocol.receive_data(self._sock.recv(65536))


@contextmanager
def serving(serve: Callable[[Server], T]) -> Iterator[tuple[str, Future[T]]]:
    """Have one connection served by another thread."""

    def accept() -> T:
        sock, _ = listener.accept()
        sock.settimeout(PATIENCE_S)
        with sock:
            return serve(Server(sock))

    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as thread:
        listener.settimeout(PATIENCE_S)
        yield f"ws://127.0.0.1:{listener.getsockname()[1]}", thread.submit(accept)


def test_socket_io_is_entered_and_a_room_too() -> None:
    def serve(server: Server) -> tuple[str, str, str]:
        server.tell('0{"sid":"a"}')  # in one piece with the answer to the upgrade
        connect = server.hear()
        server.tell('40{"sid":"b"}')
        hello = server.hear()
        server.tell('431[{"type":"ok"}]')
        return server.path, connect, hello

    with serving(serve) as (url, heard):
        member = SocketIoSocket(url)
        member.hello(room_id=room_id(3), seat=1)
        path, connect, hello = heard.result(PATIENCE_S)
        member.close()
    assert path == "/socket.io/?EIO=4&transport=websocket"
    assert connect == "40"
    assert hello.startswith("421")
    assert json.loads(hello.removeprefix("421")) == ["hello", {"room_id": room_id(3), "seat": 1}]


def test_pings_are_answered_and_not_taken_for_events() -> None:
    event = '42["event",{"type":"player_sat_in","seq":1}]'

    def serve(server: Server) -> str:
        server.tell("0{}")
        server.hear()
        server.tell("40{}")
        server.tell("2", event)
        return server.hear()

    with serving(serve) as (url, heard):
        member = SocketIoSocket(url)
        packets: list[bytes] = []
        while not packets:
            packets = member.read()
        assert heard.result(PATIENCE_S) == "3"
        member.close()
    assert packets == [event.encode()]
    assert RoomsLoad.TOLD in packets[0]
    assert SocketIoSocket.ERROR not in packets[0]


@pytest.mark.parametrize("lock", ["node/package-lock.json", "asgi/requirements.lock"])
def test_locks_have_hashes_and_no_address_to_fetch_from(lock: str) -> None:
    text = (installing.SOURCES / lock).read_text()
    assert "sha512-" in text or "sha256:" in text
    assert '"resolved"' not in text
    assert "--index-url" not in text
    assert "--find-links" not in text


def test_without_node_it_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Missing, match="Node 18 or later is missing: `node` is not on the PATH"):
        installing.node_packages()


@pytest.mark.parametrize(
    ("says", "error", "reason"),
    [
        ("v16.20.2", Missing, "Node 18 or later is missing: .*node is 16.20.2"),
        ("v20.1.0", Missing, "npm is missing: `npm` is not on the PATH"),
        ("Segmentation fault", PeerFailed, "does not say its version:\nSegmentation fault"),
    ],
)
def test_a_node_that_will_not_do_is_refused(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    says: str,
    error: type[Exception],
    reason: str,
) -> None:
    program = tmp_path / "node"
    program.write_text(f"#!/bin/sh\necho '{says}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(error, match=reason):
        installing.node_packages()


def test_an_installation_that_fails_says_why(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, does in {"node": "echo v20.1.0", "npm": "echo no space left; exit 1"}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{does}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(installing, "CACHE", tmp_path / "cache")
    with pytest.raises(PeerFailed, match="npm failed:\nno space left"):
        installing.node_packages()


def test_a_registry_out_of_reach_is_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, does in {"node": "echo v20.1.0", "npm": "echo npm error ENOTFOUND; exit 1"}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{does}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(installing, "CACHE", tmp_path / "cache")
    with pytest.raises(Missing, match="npm cannot reach its registry"):
        installing.node_packages()
