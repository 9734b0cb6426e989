"""A WebSocket that is cheap to have by the hundred: the sans-I/O core on trio's own stream."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import msgspec
import trio
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from bench.outside import JSON, Message

RECEIVE_BYTES = 65536


class Dropped(Exception):
    """The connection is gone (refused, reset or closed); `code` is the close code if any."""

    def __init__(self, code: int | None = None) -> None:
        super().__init__(code)
        self.code = code


class Socket:
    """One open connection. Made by `opened`. Only one task may use it."""

    def __init__(self, stream: trio.SocketStream, protocol: ClientProtocol, coding: str) -> None:
        self._stream = stream
        self._protocol = protocol
        self._json = coding == JSON
        self._arrived: list[Message] = []

    async def send(self, message: Message) -> None:
        """Send a message.

        Raises:
            Dropped: the connection is gone; the message may have arrived all the same.
        """
        if self._protocol.state is not State.OPEN:
            raise Dropped(self._protocol.close_code)
        if self._json:
            self._protocol.send_text(json.dumps(message).encode())
        else:
            self._protocol.send_binary(msgspec.msgpack.encode(message))
        await self._flush()

    async def receive(self) -> list[Message]:
        """Return the messages that have come, in order, at least one. Cancellation loses nothing.

        Raises:
            Dropped: the connection is gone.
        """
        while not self._arrived:
            try:
                data = await self._stream.receive_some(RECEIVE_BYTES)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                raise Dropped from None
            if data:
                self._protocol.receive_data(data)
            else:
                self._protocol.receive_eof()
            for event in self._protocol.events_received():
                if isinstance(event, Frame) and event.opcode in (Opcode.TEXT, Opcode.BINARY):
                    assert event.fin, "the server sends whole messages"
                    self._arrived.append(
                        json.loads(bytes(event.data)) if self._json else _decode(event.data)
                    )
            await self._flush()
            if not data and not self._arrived:
                raise Dropped(self._protocol.close_code)
        arrived, self._arrived = self._arrived, []
        return arrived

    async def shake_hands(self) -> None:
        """Open the WebSocket.

        Raises:
            Dropped: the server does not want to, or is gone.
        """
        self._protocol.send_request(self._protocol.connect())
        await self._flush()
        while self._protocol.state is State.CONNECTING:
            try:
                data = await self._stream.receive_some(RECEIVE_BYTES)
            except trio.BrokenResourceError:
                raise Dropped from None
            if not data:
                raise Dropped
            self._protocol.receive_data(data)
            for event in self._protocol.events_received():
                if isinstance(event, Response) and event.status_code != 101:
                    raise Dropped

    async def _flush(self) -> None:
        try:
            for data in self._protocol.data_to_send():
                if data:
                    # A frame cut short would tear the stream.
                    with trio.CancelScope(shield=True):
                        await self._stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise Dropped from None


@asynccontextmanager
async def opened(url: str, coding: str) -> AsyncIterator[Socket]:
    """Open a connection, and drop it without a goodbye.

    Raises:
        Dropped: there is no server.
    """
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    try:
        stream = await trio.open_tcp_stream(parts.hostname, parts.port)
    except OSError:
        raise Dropped from None
    protocol = ClientProtocol(parse_uri(url), subprotocols=[Subprotocol(coding)])
    async with stream:
        socket = Socket(stream, protocol, coding)
        await socket.shake_hands()
        yield socket


def _decode(data: bytes | bytearray | memoryview) -> Message:
    message: Message = msgspec.msgpack.decode(data)
    return message
