"""How peers are spoken with: a room is its number, a member says hello with it and their seat."""

from __future__ import annotations

import json
from typing import Any

from bench.light_socket import LightSocket, framed, framed_text

_PING, _PONG = b"2", framed_text(b"3")
_CONNECT, _EVENT, _ACK = b"40", b"42", b"43"
_COMMANDS = ("sit_in", "sit_out")


def room_id(number: int) -> str:
    """Return a peer's room's id, as `schema.sql` makes it."""
    return f"00000000-0000-4000-8000-{number:012}"


class PlainSocket(LightSocket):
    """Maps in msgpack over a plain WebSocket, as ours has them: `{type, id, …}` is answered by
    `{type, re, …}`."""

    ERROR = b"\xa5error"
    __slots__ = ()

    def __init__(self, url: str) -> None:
        super().__init__(url, protocol="")

    def hello(self, **fields: Any) -> None:
        """Enter a room, and wait until that is so."""
        self.ask("hello", **fields)

    @staticmethod
    def commands(room: str) -> tuple[bytes, bytes]:
        """Return the frames of commands, for every other time."""
        first, second = (framed(name, room_id=room) for name in _COMMANDS)
        return first, second


class SocketIoSocket(LightSocket):
    """Socket.IO's protocol, version 5, on Engine.IO's, version 4, over its WebSocket transport.

    Raises:
        ConnectionError: the server does not agree to it, or closed it.
    """

    ERROR = b'"type":"error"'
    __slots__ = ()

    def __init__(self, url: str) -> None:
        super().__init__(f"{url}/socket.io/?EIO=4&transport=websocket", protocol="")
        self.send_frames(framed_text(_CONNECT))
        # The handshake of Engine.IO comes before it; it says how often there are pings.
        self._await(_CONNECT)

    def hello(self, **fields: Any) -> None:
        """Enter a room, and wait until that is so."""
        self.send_frames(_emitted("hello", fields))
        self._await(_ACK)

    @staticmethod
    def commands(room: str) -> tuple[bytes, bytes]:
        """Return the frames of commands, for every other time."""
        first, second = (_emitted(name, {"room_id": room}) for name in _COMMANDS)
        return first, second

    def read(self) -> list[bytes]:
        """Return the packets that have come; pings are answered."""
        packets = super().read()
        if _PING in packets:
            self.send_frames(_PONG)
            packets = [packet for packet in packets if packet != _PING]
        return packets

    def _await(self, start: bytes) -> None:
        while not any(packet.startswith(start) for packet in self.read()):
            pass


PeerSocket = PlainSocket | SocketIoSocket
SOCKETS: dict[str, type[PlainSocket] | type[SocketIoSocket]] = {
    "plain": PlainSocket,
    "socket.io": SocketIoSocket,
}


def _emitted(name: str, fields: dict[str, Any]) -> bytes:
    """Make the frame of an event that wants to be acknowledged, as the first."""
    message = json.dumps([name, fields], separators=(",", ":"))
    return framed_text(_EVENT + b"1" + message.encode())
