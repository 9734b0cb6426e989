"""How the generator speaks with each contestant: setting a room up, a command, what comes back."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from typing import Any, Protocol

from msgspec import Struct

from bench.light_socket import LightSocket

PLAYERS = 6
BUY_IN = 1_000
_PING, _PONG = b"2", b"3"
_CONNECT, _EVENT, _ACK = b"40", b"42", b"43"


class Member(Protocol):
    """One socket of a room."""

    sock: socket.socket

    def send(self, type: str, **fields: Any) -> int:
        """Send a command."""

    def read(self) -> list[bytes]:
        """Return the payloads that have come."""

    def watch(self) -> None:
        """Block no more."""


class Room(Struct):
    """A room's sockets, the first of which sends all commands: its `nth` is `command(nth)`."""

    members: list[Member]
    command: Callable[[int], tuple[str, dict[str, Any]]]


class Wire(Struct):
    """What differs between contestants.

    `open` gets an address, a room's number from 1 up and the access tokens of its players (peers
    need none). A payload with `event` in it is the event, another one with `reply` in it the reply.
    """

    open: Callable[[str, int, list[str]], Room]
    event: bytes
    reply: bytes


class SocketIoSocket:
    """Socket.IO's protocol, version 5, on Engine.IO's, version 4, over a WebSocket.

    Raises:
        ConnectionError: the server does not agree to it, or closed it.
    """

    def __init__(self, url: str) -> None:
        self._light = LightSocket(f"{url}/socket.io/?EIO=4&transport=websocket", protocol="")
        self.sock = self._light.sock
        self._next_id = 0
        self._await(b"0")
        self._light.send_text(_CONNECT)
        self._await(_CONNECT)

    def send(self, type: str, **fields: Any) -> int:
        """Emit an event that wants to be acknowledged; return its number."""
        self._next_id += 1
        message = json.dumps([type, fields], separators=(",", ":"))
        self._light.send_text(_EVENT + f"{self._next_id}{message}".encode())
        return self._next_id

    def ask(self, type: str, **fields: Any) -> None:
        """Emit an event and wait until it is acknowledged."""
        self._await(_ACK + str(self.send(type, **fields)).encode())

    def read(self) -> list[bytes]:
        """Return the packets that have come; pings are answered."""
        packets = self._light.read()
        if _PING in packets:
            self._light.send_text(_PONG)
            packets = [packet for packet in packets if packet != _PING]
        return packets

    def watch(self) -> None:
        """Block no more."""
        self._light.watch()

    def _await(self, start: bytes) -> None:
        while True:
            for packet in self.read():
                if packet.startswith(start):
                    return
                if not packet.startswith((_EVENT, _ACK)):
                    raise ConnectionError(f"instead of {start!r} came {packet!r}")


def _toggled(nth: int) -> tuple[str, dict[str, Any]]:
    return "cmd", {"status": "active" if nth % 2 else "sitting_out"}


def _open_plain(url: str, number: int, tokens: list[str]) -> Room:
    members: list[Member] = []
    for seat in range(PLAYERS):
        light = LightSocket(url, protocol="")
        light.ask("hello", room=number, seat=seat)
        members.append(light)
    return Room(members, _toggled)


def _open_socket_io(url: str, number: int, tokens: list[str]) -> Room:
    members: list[Member] = []
    for seat in range(PLAYERS):
        member = SocketIoSocket(url)
        member.ask("hello", room=number, seat=seat)
        members.append(member)
    return Room(members, _toggled)


def _open_cardroom(url: str, number: int, tokens: list[str]) -> Room:
    members: list[LightSocket] = []
    room_id = ""
    for seat, token in enumerate(tokens):
        light = LightSocket(url)
        light.ask("authenticate", token=token)
        if seat == 0:
            settings = {
                "name": f"Room {number}",
                "requires_approval": False,
                "auto_start": False,
                "min_buy_in": BUY_IN,
                "max_buy_in": BUY_IN,
            }
            room_id = light.ask("create_room", settings=settings)["room"]["id"]
            light.ask("subscribe", channel=f"room:{room_id}")
        else:
            light.ask("join", room_id=room_id)
        light.ask("seat", room_id=room_id, seat_index=seat, buy_in=BUY_IN)
        members.append(light)
    for light in members:
        light.ask("heartbeat")  # what was told of the others' coming lies behind its answer

    def command(nth: int) -> tuple[str, dict[str, Any]]:
        return ("sit_in" if nth % 2 else "sit_out"), {"room_id": room_id}

    return Room([*members], command)


WIRES = {
    "cardroom": Wire(_open_cardroom, event=b"player_sat_", reply=b"\xa2ok"),
    "plain": Wire(_open_plain, event=b"\xa5event", reply=b"\xa2ok"),
    "socket.io": Wire(_open_socket_io, event=b'"type":"event"', reply=b'"type":"ok"'),
}
