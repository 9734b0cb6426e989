"""Tables played from outside: servers that are cleaned up after, seated users, bots that act."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from bench.outside import Message, Outside, Refusal, connected
from bench.server_process import ServerProcess
from server.embedded import EmbeddedPostgres
from tests.support.folders import temporary_folder
from tests.support.served import PATIENT

FAST = {
    **PATIENT,
    "CARDROOM_HAND_INTERVAL_S": "0.05",
    "CARDROOM_STARTING_BALANCE": "1000000",
    "CARDROOM_COMMANDS_PER_S": "1000",
    "CARDROOM_COMMAND_BURST": "1000",
}
"""Settings for bots that play as fast as the server lets them."""

TABLE = {
    "name": "Table",
    "requires_approval": False,
    "small_blind": 50,
    "big_blind": 100,
    "min_buy_in": 100,
    "max_buy_in": 100_000,
    "turn_seconds": 30,
}
"""Settings of a room that lets everybody in."""

CLEAN_UP_S = 60.0


@asynccontextmanager
async def serving(
    settings: dict[str, str] | None = None, *, start: bool = True
) -> AsyncIterator[ServerProcess]:
    """Run a server with settings over `FAST`; nothing of it, its own database included, stays."""
    with temporary_folder() as folder:
        async with serving_in(folder / "data", settings, start=start) as server:
            yield server


@asynccontextmanager
async def serving_in(
    data_dir: Path, settings: dict[str, str] | None = None, *, start: bool = True
) -> AsyncIterator[ServerProcess]:
    """Run a server in a data folder, which stays."""
    server = ServerProcess(data_dir, {**FAST, **(settings or {})})
    try:
        if start:
            await server.start()
        yield server
    finally:
        with trio.CancelScope(shield=True), trio.move_on_after(CLEAN_UP_S):
            if server.starts:
                server.thaw()
                await server.stop()
            if (data_dir / "postgres" / "postmaster.pid").exists():
                # A killed server leaves its PostgreSQL running, on purpose.
                await (await EmbeddedPostgres.start(data_dir)).stop()


class Seated:
    """A user's socket at a table."""

    def __init__(self, client: Outside, room_id: str, seat_index: int) -> None:
        self.client = client
        self.room_id = room_id
        self.seat_index = seat_index

    async def turn(self, *, after: int = 0) -> Message:
        """Wait for a turn of this user's."""
        return await self.client.event_of("turn_started", user_id=self.client.user_id, after=after)

    async def act(self, action: str, **fields: Any) -> Message:
        """Act."""
        return await self.client.ask("action", room_id=self.room_id, action=action, **fields)


@asynccontextmanager
async def table(
    server: ServerProcess, users: list[str], *, buy_in: int = 10_000, **settings: Any
) -> AsyncIterator[tuple[Outside, list[Seated]]]:
    """Make a room and seat users in it, in the order of seats; the host only watches over it."""
    async with AsyncExitStack() as stack:
        host = await stack.enter_async_context(connected(server.ws_url, token=server.token("host")))
        made = await host.ask("create_room", settings={**TABLE, **settings})
        room_id = made["room"]["id"]
        await host.ask("subscribe", channel=f"room:{room_id}")
        seated = []
        for index, user in enumerate(users):
            client = await stack.enter_async_context(
                connected(server.ws_url, token=server.token(user))
            )
            await client.ask("join", room_id=room_id, display_name=user)
            await client.ask("seat", room_id=room_id, seat_index=index, buy_in=buy_in)
            seated.append(Seated(client, room_id, index))
        yield host, seated


def choose(legal: Message, rng: random.Random) -> Message:
    """Pick a legal action, mostly a quiet one; the fields of an `action` command."""
    roll = rng.random()
    # Without something to call, `legal` alone does not say whether a raise is a bet.
    if roll < 0.12 and legal["min_raise_to"] is not None and legal["call_amount"] is not None:
        return {"action": "RAISE", "amount": legal["min_raise_to"]}
    if legal["can_check"]:
        return {"action": "CHECK"}
    if roll > 0.85 or legal["call_amount"] is None:
        return {"action": "FOLD"}
    return {"action": "CALL"}


async def keep_playing(seated: Seated, rng: random.Random) -> None:
    """Act at every turn of a user's, until cancelled; refusals are let be."""
    client = seated.client
    at = 0
    while True:
        turn = await seated.turn(after=at)
        at = client.events.index(turn, at) + 1
        try:
            await seated.act(**choose(turn["legal"], rng))
        except Refusal:
            continue


def room_events(client: Outside, room_id: str) -> list[Message]:
    """List the public events of a room that a socket has received, in order."""
    channel = f"room:{room_id}"
    return [e for e in client.events if e["channel"] == channel and not e.get("private")]


def seqs(events: list[Message]) -> list[int]:
    """List the sequence numbers of events."""
    return [event["seq"] for event in events]


def assert_no_gap(numbers: list[int]) -> None:
    """Hold that each number is the one before it plus one."""
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers))), numbers
