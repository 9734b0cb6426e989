"""A client from outside: the wire by hand, importing nothing of Cardroom.

What it sends is what a test says, valid or not; what it receives it keeps, frame by frame.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import msgspec
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_client_stream

MSGPACK = "cardroom.v1.msgpack"
JSON = "cardroom.v1.json"
CLOSE_TIMEOUT_S = 5.0

Message = dict[str, Any]


class Refusal(Exception):
    """An `error` reply; `code` and the whole `message` of it."""

    def __init__(self, message: Message) -> None:
        super().__init__(f"{message['code']}: {message['message']}")
        self.code: str = message["code"]
        self.message = message


class Closed(Exception):
    """The server closed the socket, with this code."""

    def __init__(self, code: int | None, reason: str | None) -> None:
        super().__init__(f"{code} {reason}")
        self.code = code
        self.reason = reason


class Outside:
    """One socket. Made by `connected`.

    Attributes:
        events: every event received, in order.
        frames: every frame received, as it came.
        user_id: who it authenticated as.
    """

    def __init__(self, ws: WebSocketConnection, coding: str) -> None:
        self._ws = ws
        self._coding = coding
        self._next_id = 0
        self._replies: dict[int, Message] = {}
        self._news = trio.Condition()
        self.events: list[Message] = []
        self.frames: list[bytes | str] = []
        self.closed: Closed | None = None
        self.user_id = ""
        self.on_event: Callable[[Message], None] | None = None

    async def send_raw(self, data: bytes | str) -> None:
        """Send a frame as it is."""
        try:
            await self._ws.send_message(data)
        except ConnectionClosed as closed:
            raise _closed(closed) from None

    async def post(self, type: str, **fields: Any) -> int:
        """Send a command and return its id, without waiting for the reply."""
        self._next_id += 1
        id = self._next_id  # Other tasks may post while this one sends.
        message = {"type": type, "id": id, **fields}
        data = json.dumps(message) if self._coding == JSON else msgspec.msgpack.encode(message)
        await self.send_raw(data)
        return id

    async def reply_to(self, id: int) -> Message:
        """Wait for the reply to a command.

        Raises:
            Refusal: it is an error.
            Closed: the socket closed first.
        """
        async with self._news:
            while id not in self._replies:
                if self.closed is not None:
                    raise self.closed
                await self._news.wait()
            reply = self._replies.pop(id)
        if reply["type"] == "error":
            raise Refusal(reply)
        return reply

    async def ask(self, type: str, **fields: Any) -> Message:
        """Send a command and wait for its reply, as `reply_to`."""
        return await self.reply_to(await self.post(type, **fields))

    async def refused(self, type: str, **fields: Any) -> Message:
        """Send a command that is to be refused; return the error."""
        try:
            reply = await self.ask(type, **fields)
        except Refusal as refusal:
            return refusal.message
        raise AssertionError(f"{type} was not refused: {reply}")

    async def event(self, matches: Callable[[Message], bool], *, after: int = 0) -> Message:
        """Wait for an event that fits, among those from index `after` on."""
        async with self._news:
            at = after
            while True:
                while at < len(self.events):
                    if matches(self.events[at]):
                        return self.events[at]
                    at += 1
                if self.closed is not None:
                    raise self.closed
                await self._news.wait()

    async def event_of(self, type: str, *, after: int = 0, **fields: Any) -> Message:
        """Wait for an event of a type with these fields, among those from index `after` on."""
        return await self.event(
            lambda e: e["type"] == type and all(e.get(k) == v for k, v in fields.items()),
            after=after,
        )

    async def until_closed(self) -> Closed:
        """Wait for the server to close the socket."""
        async with self._news:
            while self.closed is None:
                await self._news.wait()
            return self.closed

    async def aclose(self) -> None:
        """Say goodbye."""
        await self._ws.aclose()

    async def read(self) -> None:
        """Receive until the socket is closed. `connected` runs it."""
        try:
            while True:
                self._received(await self._ws.get_message())
                async with self._news:
                    self._news.notify_all()
        except ConnectionClosed as closed:
            self.closed = _closed(closed)
            async with self._news:
                self._news.notify_all()

    def _received(self, data: bytes | str) -> None:
        self.frames.append(data)
        message: Message = (
            json.loads(data) if isinstance(data, str) else msgspec.msgpack.decode(data)
        )
        if message["type"] in ("ok", "error", "authenticated"):
            self._replies[message["re"]] = message
            return
        self.events.append(message)
        if self.on_event is not None:
            self.on_event(message)


@asynccontextmanager
async def connected(
    url: str, *, coding: str = MSGPACK, **authenticate: Any
) -> AsyncIterator[Outside]:
    """Open a socket; with `token` (or other fields of `authenticate`), authenticate it."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    stream = await trio.open_tcp_stream(parts.hostname, parts.port or 80)
    # Ours to close: trio-websocket leaves the stream open where the peer was killed.
    async with stream, trio.open_nursery() as nursery:
        ws = await wrap_client_stream(
            nursery, stream, parts.netloc, parts.path, subprotocols=[coding]
        )
        try:
            client = Outside(ws, coding)
            nursery.start_soon(client.read)
            if authenticate:
                reply = await client.ask("authenticate", **authenticate)
                client.user_id = reply["user_id"]
            yield client
        finally:
            with trio.move_on_after(CLOSE_TIMEOUT_S) as scope:
                scope.shield = True
                await ws.aclose()
        nursery.cancel_scope.cancel()


def _closed(closed: ConnectionClosed) -> Closed:
    reason = closed.reason
    return Closed(None, None) if reason is None else Closed(reason.code, reason.reason)
