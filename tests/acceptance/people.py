"""A room and the sockets of its people, in whatever role, seen from outside."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from bench.outside import Message, Outside, connected
from bench.server_process import ServerProcess
from tests.support.served import web

BUY_IN = 1_000
PLAY = {
    "auto_start": False,
    "requires_approval": False,
    "small_blind": 5,
    "big_blind": 10,
    "turn_seconds": 120,
    "time_bank_seconds": 300,
}
"""Settings of a table at which nobody runs out of time."""


class Room:
    """A room and the sockets of its people; ``floor`` is staff, ``host`` its host."""

    def __init__(self, server: ServerProcess, stack: AsyncExitStack) -> None:
        self.server = server
        self.room_id = ""
        self._stack = stack
        self._sockets: dict[str, Outside] = {}

    async def socket(self, name: str) -> Outside:
        """Connect somebody, once."""
        if name not in self._sockets:
            role = "staff" if name == "floor" else "player"
            self._sockets[name] = await self._stack.enter_async_context(
                connected(self.server.ws_url, token=self.server.token(name, role=role))
            )
        return self._sockets[name]

    async def do(self, name: str, kind: str, **fields: Any) -> Message:
        """Have somebody send a command to the room."""
        return await (await self.socket(name)).ask(kind, room_id=self.room_id, **fields)

    async def refused(self, name: str, kind: str, **fields: Any) -> str:
        """Have somebody send what is to be refused; return the code."""
        socket = await self.socket(name)
        return str((await socket.refused(kind, room_id=self.room_id, **fields))["code"])

    async def sees(self, name: str) -> Message:
        """Return the room as somebody sees it."""
        return await self.do(name, "hydrate")

    async def told(self, name: str, kind: str, **fields: Any) -> Message:
        """Wait for an event that somebody gets."""
        return await (await self.socket(name)).event_of(kind, **fields)

    async def listen(self, *names: str) -> None:
        """Subscribe people to the room's events."""
        for name in names:
            await (await self.socket(name)).ask("subscribe", channel=f"room:{self.room_id}")

    async def sit(self, *names: str) -> None:
        """Seat people in the order of seats."""
        for index, name in enumerate(names):
            if name not in ("host", "floor"):
                await self.do(name, "join")
            await self.do(name, "seat", seat_index=index, buy_in=BUY_IN)

    async def standing(self, name: str) -> tuple[str, str]:
        """Return somebody's membership and role, as HTTP tells them."""
        async with web(self.server, name, "staff" if name == "floor" else "player") as http:
            told = (await http.get(f"/api/rooms/{self.room_id}/membership")).json()
            return told["status"], told["role"]

    async def fold(self) -> None:
        """Fold until the hand is over."""
        while (seen := await self.sees("host"))["hand"] is not None:
            users = {seat["seat_index"]: seat["user_id"] for seat in seen["seats"]}
            await self.do(users[seen["hand"]["actor_seat"]], "action", action="FOLD")

    async def wallet(self, name: str) -> int:
        """Return what somebody has in their wallet."""
        async with web(self.server, name) as http:
            return int((await http.get("/api/me")).json()["balance"])


@asynccontextmanager
async def opened(server: ServerProcess, **settings: Any) -> AsyncIterator[Room]:
    """Make a room; its host listens."""
    async with AsyncExitStack() as stack:
        room = Room(server, stack)
        host = await room.socket("host")
        room.room_id = (await host.ask("create_room", settings=PLAY | settings))["room"]["id"]
        await room.listen("host")
        yield room
