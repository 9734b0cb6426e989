"""`cardroom bench peers` counts a command when all six have its event, and compares by rounds."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from bench.peers import installing
from bench.peers.load import Generator
from bench.peers.result import standing
from bench.peers.turns import Turn
from bench.peers.wires import PLAYERS, WIRES, Member, Room

EVENT, REPLY = b"\xa5event", b"\xa2ok"


class FakeMember:
    """A socket whose other end the test holds; what comes is taken for payloads of one byte."""

    def __init__(self) -> None:
        self.sock, self.server = socket.socketpair()
        self.sent = 0

    def send(self, type: str, **fields: Any) -> int:
        self.sent += 1
        return self.sent

    def read(self) -> list[bytes]:
        return [EVENT if byte == ord("e") else REPLY for byte in self.sock.recv(100)]

    def watch(self) -> None:
        self.sock.setblocking(False)


@pytest.fixture
def members() -> Iterator[list[FakeMember]]:
    members = [FakeMember() for _ in range(PLAYERS)]
    yield members
    for member in members:
        member.sock.close()
        member.server.close()


@pytest.fixture
def generator(members: list[FakeMember]) -> Iterator[Generator]:
    sockets: list[Member] = [*members]
    generator = Generator(WIRES["plain"], [Room(sockets, lambda nth: ("cmd", {"nth": nth}))])
    generator.begin()
    yield generator
    generator.close()


def test_a_command_counts_when_all_sockets_have_its_event(
    members: list[FakeMember], generator: Generator
) -> None:
    for member in members[:-1]:
        member.server.send(b"e")
        generator.read_once()
    assert not generator.latencies_ns
    members[-1].server.send(b"e")
    generator.read_once()
    assert len(generator.latencies_ns) == 1


def test_the_next_command_waits_for_the_reply_and_for_all_events(
    members: list[FakeMember], generator: Generator
) -> None:
    for member in members:
        member.server.send(b"e")
        generator.read_once()
    assert members[0].sent == 1
    members[0].server.send(b"r")
    generator.read_once()
    assert members[0].sent == 2


def test_a_socket_that_is_told_twice_does_not_stand_in_for_another(
    members: list[FakeMember], generator: Generator
) -> None:
    members[1].server.send(b"ee")
    with pytest.raises(RuntimeError, match="twice"):
        generator.read_once()


def test_ratios_are_those_of_the_rounds() -> None:
    ours = [turn("cardroom", 1, 300.0), turn("cardroom", 2, 100.0), turn("cardroom", 3, 400.0)]
    theirs = [turn("tuned", 1, 100.0), turn("tuned", 2, 200.0), turn("tuned", 3, 200.0)]
    compared = standing("Tuned", theirs, ours)
    assert (compared.ratio.lowest, compared.ratio.median, compared.ratio.highest) == (0.5, 2.0, 3.0)
    assert compared.commands_per_s.median == 200.0


def test_locks_name_no_address_to_fetch_from() -> None:
    for lock in (
        installing.SOURCES / "node" / "package-lock.json",
        installing.SOURCES / "asgi" / "requirements.lock",
    ):
        text = lock.read_text()
        assert '"resolved"' not in text
        assert "--index-url" not in text
        assert "sha512-" in text or "sha256:" in text


def turn(name: str, number: int, commands_per_s: float) -> Turn:
    return Turn(name, number, commands_per_s, *([1.0] * 11))
