"""How long until clients know of a write past the server: from SQL to the sockets of staff and of a
member of the room, or of the player who chats.

One write at a time, under the two names of each table in turn. Counted is from just before the
statement is sent, so its own commit is within.
"""

from __future__ import annotations

import itertools
import select
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import trio
from msgspec import Struct
from rich.console import Console
from rich.table import Table

from bench.harness.generators import generating
from bench.light_socket import LightSocket
from bench.outside_statements import PLAYER, Write, chat_writes, queue_writes
from bench.scenarios.tables import LOAD, TABLE_SETTINGS, plans_for
from bench.server_process import ServerProcess
from bench.serving import serving

PLAYERS_AT_TABLES = 6
WARM_UP_S = 3.0
TIMEOUT_S = 30.0
WRITES_A_HEARTBEAT = 50
PROMISED_MS = 100.0
_decode = msgspec.msgpack.Decoder().decode
_SHOWN = {
    "staff": "the event at staff",
    "member": "the event in the room",
    "player": "the event at the player",
    "writer": "the writer's own answer",
}


class Times(Struct):
    """How long something took, in milliseconds."""

    p50_ms: float
    p99_ms: float
    max_ms: float


class OutsideResult(Struct):
    """What was measured, by who waited; `writer`: until the writer himself had his answer."""

    writes: int
    tables: int
    waitlist: dict[str, Times]
    chats: dict[str, Times]


async def report(writes: int, tables: int, out: Path | None) -> int:
    """Measure, print a table, write JSON to `out`; return the exit code."""
    async with AsyncExitStack() as stack:
        settings = TABLE_SETTINGS | {"CARDROOM_HAND_INTERVAL_S": "0"}
        server = await stack.enter_async_context(serving(settings))
        if tables:
            # They play as fast as they can beside what is measured.
            plans = plans_for(server, tables, PLAYERS_AT_TABLES, generators=1)
            playing = await stack.enter_async_context(generating(LOAD, plans))
            await playing.begin()
            await trio.sleep(WARM_UP_S)
        result = await trio.to_thread.run_sync(_measure, server, writes, tables)
    if out is not None:
        await trio.Path(out).write_bytes(msgspec.json.format(msgspec.json.encode(result)) + b"\n")
    _show(result)
    taken = [*result.waitlist.items(), *result.chats.items()]
    late = any(times.p99_ms > PROMISED_MS for name, times in taken if name != "writer")
    return 1 if late else 0


def _measure(server: ServerProcess, writes: int, tables: int) -> OutsideResult:
    staff, member, player = (LightSocket(server.ws_url) for _ in range(3))
    staff.ask("authenticate", token=server.token("boss", role="staff"))
    staff.ask("subscribe", channel="staff-portal")
    member.ask("authenticate", token=server.token("host"))
    player.ask("authenticate", token=server.token(PLAYER))
    room_id = _full_table(server, member)
    for socket in (staff, member, player):
        socket.watch()
    queue = _take({"staff": staff, "member": member}, server, writes, queue_writes(room_id))
    chats = _take({"staff": staff, "player": player}, server, writes, chat_writes())
    for socket in (staff, member, player):
        socket.close()
    return OutsideResult(writes=writes, tables=tables, waitlist=queue, chats=chats)


def _take(
    listening: dict[str, LightSocket], server: ServerProcess, count: int, writes: Iterator[Write]
) -> dict[str, Times]:
    """Carry writes out one by one; how long each listener, and the writer himself, waited."""
    taken: dict[str, list[float]] = {name: [] for name in (*listening, "writer")}
    with psycopg.connect(server.database_url, autocommit=True) as conn:
        for number, write in enumerate(itertools.islice(writes, count)):
            if number % WRITES_A_HEARTBEAT == 0:
                for socket in listening.values():
                    socket.send("heartbeat")
            began = time.perf_counter()
            conn.execute(write.statement.encode())
            taken["writer"].append((time.perf_counter() - began) * 1000)
            for name, at in _told(listening, write).items():
                taken[name].append((at - began) * 1000)
    return {name: _times(values) for name, values in taken.items()}


def _times(values: list[float]) -> Times:
    values.sort()

    def percentile(share: float) -> float:
        return round(values[min(len(values) - 1, int(len(values) * share))], 2)

    return Times(percentile(0.5), percentile(0.99), percentile(1.0))


def _full_table(server: ServerProcess, host: LightSocket) -> str:
    """Make a table without a free seat, so that whoever joins its queue waits."""
    settings = {"requires_approval": False, "max_seats": 2, "auto_start": False}
    room: dict[str, Any] = host.ask("create_room", settings=settings)["room"]
    host.ask("subscribe", channel=f"room:{room['id']}")
    for seat_index in range(2):
        player = LightSocket(server.ws_url)
        player.ask("authenticate", token=server.token(f"seated-{seat_index}"))
        player.ask("join", room_id=room["id"])
        player.ask("seat", room_id=room["id"], seat_index=seat_index, buy_in=room["min_buy_in"])
        player.close()
    return str(room["id"])


def _told(listening: dict[str, LightSocket], write: Write) -> dict[str, float]:
    """Wait until every client knows; when each did."""
    known: dict[str, float] = {}
    by_fd = {socket.sock.fileno(): name for name, socket in listening.items()}
    poll = select.poll()
    for fd in by_fd:
        poll.register(fd, select.POLLIN)
    deadline = time.perf_counter() + TIMEOUT_S
    while len(known) < len(listening):
        if time.perf_counter() > deadline:
            raise RuntimeError(f"not told within {TIMEOUT_S} s: {write.statement}")
        for fd, _ in poll.poll(1000):
            name = by_fd[fd]
            for payload in listening[name].read():
                if write.tells(_decode(payload)):
                    known[name] = time.perf_counter()
    return known


def _show(result: OutsideResult) -> None:
    beside = f"beside {result.tables} tables that play" if result.tables else "on an idle server"
    table = Table(title=f"{result.writes} writes past the server to each, {beside}")
    table.add_column("written")
    table.add_column("from the statement to")
    for title in ("p50", "p99", "longest"):
        table.add_column(title, justify="right")
    for written, taken in (("the waitlist", result.waitlist), ("a chat", result.chats)):
        for name, times in taken.items():
            figures = (times.p50_ms, times.p99_ms, times.max_ms)
            table.add_row(written, _SHOWN[name], *(f"{ms:.1f} ms" for ms in figures))
    Console().print(table)
