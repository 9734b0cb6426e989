"""A WebSocket client that costs next to nothing, so that a measurement is the server's.

It writes what RFC 6455 asks of a client and reads what our server sends: whole, unmasked frames
without extensions. Its masking key is zero, which leaves the payload as it is.
"""

from __future__ import annotations

import errno
import os
import socket
from typing import Any
from urllib.parse import urlsplit

import msgspec

_RECEIVE_BYTES = 65536
_CONNECT_TIMEOUT_S = 10.0
_TEXT, _BINARY, _CLOSE, _PING = 1, 2, 8, 9
PROTOCOL = "cardroom.v1.msgpack"
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode


class Turned(RuntimeError):
    """A command was refused. `passing`: the server only cannot carry it out now."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.passing = code in ("busy", "unavailable")


class LightSocket:
    """One socket in the msgpack coding, blocking until `watch` is called.

    Raises:
        ConnectionError: from every method, when the server closed it.
    """

    __slots__ = ("_buffer", "_next_id", "_request", "sock")

    def __init__(
        self, url: str, *, protocol: str = PROTOCOL, upgrade: bool = True, wait: bool = True
    ) -> None:
        """Connect and ask for the upgrade.

        Args:
            url: `ws://…`.
            protocol: the subprotocol to ask for; empty asks for none.
            upgrade: also wait for the answer; if not, `upgraded` has to say yes before anything is
                sent or read.
            wait: for the connection too; if not, call `ask_upgrade` when it can be written to.

        Raises:
            OSError: nobody listens there, or not in time.
        """
        parts = urlsplit(url)
        assert parts.hostname is not None
        target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
        offer = f"Sec-WebSocket-Protocol: {protocol}\r\n" if protocol else ""
        self._next_id = 0
        self._buffer = b""
        self._request = (
            f"GET {target} HTTP/1.1\r\nHost: {parts.netloc}\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n{offer}\r\n"
        ).encode()
        address = (parts.hostname, parts.port or 80)
        if not wait:
            self.sock = socket.socket()
            self.sock.setblocking(False)
            code = self.sock.connect_ex(address)
            if code not in (0, errno.EINPROGRESS):
                self.sock.close()
                raise OSError(code, os.strerror(code))
            return
        self.sock = socket.create_connection(address, _CONNECT_TIMEOUT_S)
        self.ask_upgrade()
        while upgrade and not self.upgraded():
            pass

    def ask_upgrade(self) -> None:
        """Send the upgrade request.

        Raises:
            OSError: the connection could not be made.
        """
        code = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, os.strerror(code))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.sendall(self._request)

    def upgraded(self) -> bool:
        """Read what there is of the answer to the upgrade; whether it is all there."""
        self._buffer += self._receive()
        answer, end, rest = self._buffer.partition(b"\r\n\r\n")
        if not end:
            return False
        if b" 101 " not in answer.split(b"\r\n")[0]:
            raise ConnectionError(answer.decode(errors="replace"))
        self._buffer = rest
        return True

    def send(self, type: str, **fields: Any) -> int:
        """Send a command; return its id."""
        self._next_id += 1
        self._frame(_BINARY, _encode({"type": type, "id": self._next_id, **fields}))
        return self._next_id

    def ask(self, type: str, **fields: Any) -> dict[str, Any]:
        """Send a command and wait for its reply; events before it are dropped.

        Raises:
            Turned: it was refused.
        """
        wanted = self.send(type, **fields)
        return self.answer(wanted)

    def answer(self, wanted: int) -> dict[str, Any]:
        """Wait for the reply to a command that was sent; events before it are dropped.

        Raises:
            Turned: it was refused.
        """
        while True:
            for payload in self.read():
                message: dict[str, Any] = _decode(payload)
                if message.get("re") == wanted:
                    if message["type"] == "error":
                        raise Turned(message["code"], message["message"])
                    return message

    def watch(self) -> None:
        """Block no more: from now on `read` is called when there is something to read."""
        self.sock.setblocking(False)

    def read(self) -> list[bytes]:
        """Return the payloads of the messages that have come."""
        buffer = self._buffer + self._receive()
        payloads = []
        at, end = 0, len(buffer)
        while end - at >= 2:
            opcode, length, start = buffer[at] & 15, buffer[at + 1], at + 2
            if length == 126:
                length, start = int.from_bytes(buffer[start : start + 2], "big"), start + 2
            elif length == 127:
                length, start = int.from_bytes(buffer[start : start + 8], "big"), start + 8
            if end < start + length or end < start:
                break
            payload = buffer[start : start + length]
            at = start + length
            if opcode in (_TEXT, _BINARY):
                payloads.append(payload)
            elif opcode == _PING:
                self._frame(10, payload)
            elif opcode == _CLOSE:
                raise ConnectionError(f"closed by the server: {payload!r}")
        self._buffer = buffer[at:]
        return payloads

    def close(self) -> None:
        """Hang up."""
        self.sock.close()

    def _receive(self) -> bytes:
        data = self.sock.recv(_RECEIVE_BYTES)
        if not data:
            raise ConnectionError("the server hung up")
        return data

    def send_frames(self, frames: bytes) -> None:
        """Send ready frames, as `framed` makes them."""
        self.sock.sendall(frames)

    def _frame(self, opcode: int, payload: bytes) -> None:
        self.sock.sendall(_framed(opcode, payload))


def framed(type: str, *, id: int = 1, **fields: Any) -> bytes:
    """Make the frame of a command that is sent again and again, each time with the same id."""
    return _framed(_BINARY, _encode({"type": type, "id": id, **fields}))


def framed_text(payload: bytes) -> bytes:
    """Make the frame of a text message."""
    return _framed(_TEXT, payload)


def _framed(opcode: int, payload: bytes) -> bytes:
    length = len(payload)
    if length < 126:
        head = bytes((0x80 | opcode, 0x80 | length))
    else:
        head = bytes((0x80 | opcode, 0xFE)) + length.to_bytes(2, "big")
    return head + b"\0\0\0\0" + payload
