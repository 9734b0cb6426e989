"""What those who write to queues share, and what those who watch them know."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import trio
from trio_websocket import HandshakeError

from bench.outside import Closed, Message, Outside, connected
from bench.server_process import ServerProcess

GONE = (Closed, OSError, HandshakeError, trio.BrokenResourceError, trio.ClosedResourceError)
"""What one meets who talks to a server that is killed."""


@dataclass
class Field:
    """The tables, and what has been done to their queues.

    Attributes:
        left: how many operations are still to be done.
        made: the ids of entries whose making was acknowledged; `deleted` those deleted by SQL.
        refusals: how often what was refused why, by source.
        unknown: operations that a kill cut off.
    """

    server: ServerProcess
    tables: list[str]
    players: list[str]
    left: int
    up: trio.Event = field(default_factory=trio.Event)
    made: set[str] = field(default_factory=set)
    deleted: set[str] = field(default_factory=set)
    done: Counter[str] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)
    unknown: int = 0
    queues: Queues = field(default_factory=lambda: Queues())

    def take(self) -> bool:
        """Take one operation, if any is left."""
        if self.left <= 0:
            return False
        self.left -= 1
        return True


class Queues:
    """Queues as somebody knows them who goes by the events."""

    def __init__(self) -> None:
        self.wrong: list[str] = []
        self._known: dict[str, tuple[int, list[Message]]] = {}

    def take(self, table_id: str, seq: int, entries: list[Message]) -> None:
        """Learn of a queue as it is at a seq of its room."""
        if seq < self._known.get(table_id, (-1, []))[0]:
            return
        self._known[table_id] = (seq, entries)
        if [entry["position"] for entry in entries] != list(range(1, len(entries) + 1)):
            self.wrong.append(f"{table_id} at {seq}: places {entries}")

    def hear(self, event: Message) -> None:
        """Learn of an event."""
        if event["type"] == "waitlist_update":
            self.take(event["table_id"], event["seq"], event["entries"])

    def of(self, table_id: str) -> list[Message]:
        """Return a queue as far as is known, first in line first."""
        return self._known.get(table_id, (0, []))[1]


def places(entries: list[Any]) -> list[tuple[str, str, int, str]]:
    """Draw a queue, as anybody shows it, for comparing."""
    return [(e["id"], e["player_id"], e["position"], e["status"]) for e in entries]


@asynccontextmanager
async def session(field: Field, user_id: str, role: str = "player") -> AsyncIterator[Outside]:
    """Open a socket to the server while it is up; who is cut off leaves the block quietly."""
    await field.up.wait()
    try:
        token = field.server.token(user_id, role=role)
        async with connected(field.server.ws_url, token=token) as client:
            yield client
    except* GONE:
        await trio.sleep(0.01)


async def watch(field: Field, table_id: str | None, queues: Queues) -> None:
    """Follow one table from its room, or all of them as staff, over kills, until cancelled."""
    while True:
        async with session(field, "host", "player" if table_id else "staff") as client:
            client.on_event = queues.hear
            await client.ask(
                "subscribe", channel=f"room:{table_id}" if table_id else "staff-portal"
            )
            for known in [table_id] if table_id else field.tables:
                room = await client.ask("hydrate", room_id=known)
                queues.take(known, room["seq"], room["waitlist"])
            raise await client.until_closed()
