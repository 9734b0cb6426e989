"""How a server comes back after `kill -9` with many live rooms, half of them in a hand.

The queries are counted in PostgreSQL's own log of statements, from the kill until it is ready.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import msgspec
import psycopg
import trio
from msgspec import Struct
from rich.console import Console
from rich.table import Table

from bench.light_socket import LightSocket
from bench.server_process import ServerProcess
from bench.serving import serving

USERS = ("ann", "bob")
SETTINGS = {
    "CARDROOM_STARTING_BALANCE": "1000000000",
    "CARDROOM_COMMANDS_PER_S": "100000",
    "CARDROOM_COMMAND_BURST": "100000",
    "CARDROOM_LOG_LEVEL": "warning",
}
_STATEMENT = re.compile(r"LOG:  (?:statement|execute [^:]*):\s+(\w+)")


class StartupResult(Struct):
    """What was measured. Times in seconds; `ready_s` counts from the start of the process."""

    rooms: int
    in_hand: int
    ready_s: float
    empty_ready_s: float
    statements: int
    empty_statements: int
    by_kind: dict[str, int]
    first_answer_s: float


async def report(rooms: int, out: Path | None) -> int:
    """Measure, print a table, write JSON to `out`; return the exit code."""
    async with serving(SETTINGS) as server:
        await trio.to_thread.run_sync(_log_statements, server)
        empty_s, empty = await _come_back(server)
        told = await trio.to_thread.run_sync(_fill, server, rooms)
        ready_s, counted = await _come_back(server)
        began = trio.current_time()
        in_hand = await trio.to_thread.run_sync(_continued, server, told)
        answered_s = trio.current_time() - began
    result = StartupResult(
        rooms=rooms,
        in_hand=in_hand,
        ready_s=round(ready_s, 3),
        empty_ready_s=round(empty_s, 3),
        statements=counted.total(),
        empty_statements=empty.total(),
        by_kind=dict(counted),
        first_answer_s=round(answered_s / rooms, 5),
    )
    if out is not None:
        await trio.Path(out).write_bytes(msgspec.json.format(msgspec.json.encode(result)) + b"\n")
    _show(result)
    return 0


async def _come_back(server: ServerProcess) -> tuple[float, Counter[str]]:
    """Kill and start; return the seconds until it is ready, and the statements by their verb."""
    await server.kill()
    log = server.data_dir / "postgres" / "server.log"
    before = log.stat().st_size
    seconds = await server.start()
    text = (await trio.Path(log).read_bytes())[before:].decode(errors="replace")
    return seconds, Counter(verb.upper() for verb in _STATEMENT.findall(text))


def _log_statements(server: ServerProcess) -> None:
    with psycopg.connect(server.database_url, autocommit=True) as conn:
        conn.execute("ALTER SYSTEM SET log_statement = 'all'")
        conn.execute("SELECT pg_reload_conf()")


def _fill(server: ServerProcess, rooms: int) -> dict[str, int]:
    """Make rooms with two seated users, a hand in every second; return each room's seq."""
    host, *players = (LightSocket(server.ws_url) for _ in range(3))
    host.ask("authenticate", token=server.token("host"))
    for socket, user in zip(players, USERS, strict=True):
        socket.ask("authenticate", token=server.token(user))
    settings = {
        "requires_approval": False,
        "auto_start": False,
        "turn_seconds": 120,
        "time_bank_seconds": 300,
    }
    told = {}
    for number in range(rooms):
        room_id = host.ask("create_room", settings=settings)["room"]["id"]
        for index, socket in enumerate(players):
            socket.ask("join", room_id=room_id)
            seq = socket.ask("seat", room_id=room_id, seat_index=index, buy_in=10_000)["seq"]
        if number % 2:
            seq = host.ask("start", room_id=room_id)["seq"]
        told[room_id] = seq
    for socket in (host, *players):
        socket.close()
    return told


def _continued(server: ServerProcess, told: dict[str, int]) -> int:
    """Hold that every room is there at its seq or beyond; return how many are in a hand."""
    host = LightSocket(server.ws_url)
    host.ask("authenticate", token=server.token("host"))
    in_hand = 0
    for room_id, seq in told.items():
        room = host.ask("hydrate", room_id=room_id)
        if room["seq"] < seq:
            raise RuntimeError(f"room {room_id} is at {room['seq']}, {seq} was acknowledged")
        in_hand += room["hand"] is not None
    host.close()
    return in_hand


def _show(result: StartupResult) -> None:
    table = Table(title=f"{result.rooms} rooms after kill -9, {result.in_hand} of them in a hand")
    table.add_column("what")
    table.add_column("figure", justify="right")
    table.add_row("ready after", f"{result.ready_s:.2f} s")
    table.add_row("the same without rooms", f"{result.empty_ready_s:.2f} s")
    table.add_row("statements until ready", f"{result.statements}")
    table.add_row("the same without rooms", f"{result.empty_statements}")
    kinds = ", ".join(f"{kind} {n}" for kind, n in sorted(result.by_kind.items()))
    table.add_row("by kind", kinds)
    table.add_row("a hydration afterwards", f"{result.first_answer_s * 1000:.1f} ms")
    Console().print(table)
