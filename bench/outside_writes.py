"""How long until clients know of a write past the server: from SQL to the sockets of staff and of a
member of the room.

One write at a time, under the two names of the waitlist in turn. Counted is from just before the
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
from bench.scenarios.tables import LOAD, TABLE_SETTINGS, plans_for
from bench.server_process import ServerProcess
from bench.serving import serving

RELATIONS = ("waitlist", "seat_requests")
PLAYERS_AT_TABLES = 6
WARM_UP_S = 3.0
TIMEOUT_S = 30.0
WRITES_A_HEARTBEAT = 50
PROMISED_MS = 100.0
_decode = msgspec.msgpack.Decoder().decode
Write = tuple[str, str, str]
"""A statement, whom it is about, and what is to be told of them."""


class OutsideResult(Struct):
    """What was measured, in milliseconds. `commit_*`: until the writer himself had his answer."""

    writes: int
    tables: int
    staff_p50_ms: float
    staff_p99_ms: float
    staff_max_ms: float
    member_p50_ms: float
    member_p99_ms: float
    member_max_ms: float
    commit_p50_ms: float
    commit_p99_ms: float


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
    return 1 if max(result.staff_p99_ms, result.member_p99_ms) > PROMISED_MS else 0


def _measure(server: ServerProcess, writes: int, tables: int) -> OutsideResult:
    staff, member = LightSocket(server.ws_url), LightSocket(server.ws_url)
    staff.ask("authenticate", token=server.token("boss", role="staff"))
    staff.ask("subscribe", channel="staff-portal")
    member.ask("authenticate", token=server.token("host"))
    room_id = _full_table(server, member)
    listening = {"staff": staff, "member": member}
    for socket in listening.values():
        socket.watch()
    taken: dict[str, list[float]] = {"staff": [], "member": [], "commit": []}
    with psycopg.connect(server.database_url, autocommit=True) as conn:
        for number, write in enumerate(itertools.islice(_writes(room_id), writes)):
            statement, player_id, change = write
            if number % WRITES_A_HEARTBEAT == 0:
                for socket in listening.values():
                    socket.send("heartbeat")
            began = time.perf_counter()
            conn.execute(statement.encode())
            taken["commit"].append((time.perf_counter() - began) * 1000)
            for name, at in _told(listening, player_id, change).items():
                taken[name].append((at - began) * 1000)
    for socket in listening.values():
        socket.close()
    for values in taken.values():
        values.sort()

    def percentile(name: str, share: float) -> float:
        values = taken[name]
        return round(values[min(len(values) - 1, int(len(values) * share))], 2)

    return OutsideResult(
        writes=writes,
        tables=tables,
        staff_p50_ms=percentile("staff", 0.5),
        staff_p99_ms=percentile("staff", 0.99),
        staff_max_ms=percentile("staff", 1.0),
        member_p50_ms=percentile("member", 0.5),
        member_p99_ms=percentile("member", 0.99),
        member_max_ms=percentile("member", 1.0),
        commit_p50_ms=percentile("commit", 0.5),
        commit_p99_ms=percentile("commit", 0.99),
    )


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


def _writes(room_id: str) -> Iterator[Write]:
    """Have players join, move up, give up and be removed, under the two names in turn."""
    relations = itertools.cycle(RELATIONS)
    for number in itertools.count():
        who = [f"p{number}-{n}" for n in range(3)]
        for player_id in who:
            yield (
                f"INSERT INTO {next(relations)} (table_id, player_id, player_name)"
                f" VALUES ('{room_id}', '{player_id}', 'P')",
                player_id,
                "player_joined",
            )
        yield (
            f"UPDATE {next(relations)} SET position = 1 WHERE player_id = '{who[2]}'",
            who[2],
            "moved",
        )
        yield (
            f"UPDATE {next(relations)} SET status = 'no_show' WHERE player_id = '{who[0]}'",
            who[0],
            "player_left",
        )
        for player_id in who[1:]:
            yield (
                f"DELETE FROM {next(relations)} WHERE player_id = '{player_id}'",
                player_id,
                "player_left",
            )


def _told(listening: dict[str, LightSocket], player_id: str, change: str) -> dict[str, float]:
    """Wait until every client knows; when each did."""
    known: dict[str, float] = {}
    by_fd = {socket.sock.fileno(): name for name, socket in listening.items()}
    poll = select.poll()
    for fd in by_fd:
        poll.register(fd, select.POLLIN)
    deadline = time.perf_counter() + TIMEOUT_S
    while len(known) < len(listening):
        if time.perf_counter() > deadline:
            raise RuntimeError(f"not told within {TIMEOUT_S} s: {change} of {player_id}")
        for fd, _ in poll.poll(1000):
            name = by_fd[fd]
            for payload in listening[name].read():
                event = _decode(payload)
                if event.get("player_id") == player_id and event.get("change") == change:
                    known[name] = time.perf_counter()
    return known


def _show(result: OutsideResult) -> None:
    beside = f"beside {result.tables} tables that play" if result.tables else "on an idle server"
    table = Table(title=f"{result.writes} writes past the server, {beside}")
    table.add_column("from the statement to")
    for title in ("p50", "p99", "longest"):
        table.add_column(title, justify="right")
    rows = {
        "the event at staff": (result.staff_p50_ms, result.staff_p99_ms, result.staff_max_ms),
        "the event in the room": (result.member_p50_ms, result.member_p99_ms, result.member_max_ms),
        "the writer's own answer": (result.commit_p50_ms, result.commit_p99_ms, None),
    }
    for what, figures in rows.items():
        table.add_row(what, *("" if ms is None else f"{ms:.1f} ms" for ms in figures))
    Console().print(table)
