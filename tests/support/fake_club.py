"""A server for the client's tests: speaks the protocol, and does exactly what a test tells it.

Commands without a handler of the test's own are answered as the real server answers them when all
is well: `authenticate`, `subscribe`, `heartbeat`. The room behind is one of the rules alone.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import trio
import trio_websocket

from protocol.codec import Coding, decode_anything, encode

Message = dict[str, object]
Handler = Callable[["Peer", Message], Awaitable[None]]


class Peer:
    """One connection, as the server has it."""

    def __init__(
        self, club: "FakeClub", socket: trio_websocket.WebSocketConnection, coding: Coding
    ) -> None:
        self.coding = coding
        self.got: list[Message] = []
        self._club = club
        self._socket = socket

    async def send(self, message: object) -> None:
        """Send a message."""
        data = encode(self.coding, message)
        await self._socket.send_message(data if self.coding is Coding.MSGPACK else data.decode())

    async def ok(self, command: Message, **fields: object) -> None:
        """Answer a command."""
        await self.send({"type": "ok", "re": command["id"], **fields})

    async def refuse(self, command: Message, code: str, **fields: object) -> None:
        """Answer a command with an error."""
        await self.send(
            {"type": "error", "re": command["id"], "code": code, "message": "No.", **fields}
        )

    async def close(self, code: int) -> None:
        """Close with a code."""
        await self._socket.aclose(code)

    async def cut(self) -> None:
        """Drop the connection without a Close."""
        await trio.aclose_forcefully(self._socket._stream)

    async def serve(self) -> None:
        """Take commands until the connection ends."""
        try:
            while True:
                command = decode_anything(self.coding, await self._socket.get_message())
                assert isinstance(command, dict)
                self.got.append(command)
                self._club.commands.append(command)
                await self._club.handle(self, command)
        except trio_websocket.ConnectionClosed:
            pass


class FakeClub:
    """What the server is: its connections so far, the commands that came, and how to answer."""

    def __init__(self) -> None:
        self.url = ""
        self.peers: list[Peer] = []
        self.commands: list[Message] = []
        self.handlers: dict[str, Handler] = {}
        self._news = trio.Event()

    def on(self, kind: str, handler: Handler) -> None:
        """Answer a type of command by a handler from now on."""
        self.handlers[kind] = handler

    def of_type(self, kind: str) -> list[Message]:
        """List the commands of a type that came."""
        return [command for command in self.commands if command["type"] == kind]

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition over what came holds."""
        while not condition():
            await self._news.wait()

    async def handle(self, peer: Peer, command: Message) -> None:
        """Answer a command."""
        self._tell()
        kind = str(command["type"])
        if kind in self.handlers:
            await self.handlers[kind](peer, command)
        elif kind == "authenticate":
            await peer.send(
                {
                    "type": "authenticated",
                    "re": command["id"],
                    "user_id": "host",
                    "name": "Host",
                    "role": "player",
                }
            )
        elif kind == "heartbeat":
            await peer.ok(command, at=0)
        else:
            await peer.refuse(command, "bad_request")

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve on a free port of the loopback until cancelled."""

        async def handler(request: trio_websocket.WebSocketRequest) -> None:
            coding = Coding(request.proposed_subprotocols[0])
            socket = await request.accept(subprotocol=coding.value)
            peer = Peer(self, socket, coding)
            self.peers.append(peer)
            self._tell()
            await peer.serve()

        async with trio.open_nursery() as nursery:
            server = await nursery.start(
                trio_websocket.serve_websocket, handler, "127.0.0.1", 0, None
            )
            self.url = f"ws://127.0.0.1:{server.port}/ws"
            task_status.started()

    def _tell(self) -> None:
        self._news.set()
        self._news = trio.Event()


@asynccontextmanager
async def fake_club() -> AsyncIterator[FakeClub]:
    """Run a fake server for a block."""
    club = FakeClub()
    async with trio.open_nursery() as nursery:
        await nursery.start(club.run)
        yield club
        nursery.cancel_scope.cancel()
