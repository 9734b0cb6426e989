"""How a server starts: for the first time, on an empty club, and after `kill -9` with live rooms.

The queries are counted in PostgreSQL's own log of statements, from the kill until it is ready.
"""

from __future__ import annotations

import re
import shutil
from collections import Counter
from pathlib import Path
from statistics import median

import msgspec
import psutil
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


class Starts(Struct):
    """Starts of one kind: seconds from the start of the process until it is ready, and of its own
    processor time."""

    ready_s: list[float] = []
    cpu_s: list[float] = []


class StartupResult(Struct):
    """What was measured.

    `first` has no database yet; `cold` has an empty one that does not run; `empty` and `full` come
    after `kill -9`, which PostgreSQL outlives.
    """

    rooms: int
    in_hand: int = 0
    first: Starts = msgspec.field(default_factory=Starts)
    cold: Starts = msgspec.field(default_factory=Starts)
    empty: Starts = msgspec.field(default_factory=Starts)
    full: Starts = msgspec.field(default_factory=Starts)
    statements: int = 0
    empty_statements: int = 0
    by_kind: dict[str, int] = {}
    first_answer_s: float = 0.0


async def report(rooms: int, rounds: int, out: Path | None) -> int:
    """Measure, print a table, write JSON to `out`; return the exit code."""
    result = StartupResult(rooms)
    async with serving(SETTINGS) as server:
        for _ in range(rounds):
            await server.stop()
            await trio.to_thread.run_sync(shutil.rmtree, server.data_dir)
            await _start(server, result.first)
            await server.stop()
            await _start(server, result.cold)
            await _come_back(server, result.empty)
        await trio.to_thread.run_sync(_log_statements, server)
        result.empty_statements = (await _counted(server)).total()
        if rooms:
            await _measure_rooms(server, result, rounds)
    if out is not None:
        await trio.Path(out).write_bytes(msgspec.json.format(msgspec.json.encode(result)) + b"\n")
    _show(result)
    return 0


async def _measure_rooms(server: ServerProcess, result: StartupResult, rounds: int) -> None:
    told = await trio.to_thread.run_sync(_fill, server, result.rooms)
    counted = await _counted(server)
    result.statements, result.by_kind = counted.total(), dict(counted)
    began = trio.current_time()
    result.in_hand = await trio.to_thread.run_sync(_continued, server, told)
    result.first_answer_s = round((trio.current_time() - began) / result.rooms, 5)
    await trio.to_thread.run_sync(_log_statements, server, "none")
    for _ in range(rounds):
        await _come_back(server, result.full)


async def _start(server: ServerProcess, starts: Starts) -> None:
    starts.ready_s.append(round(await server.start(), 3))
    used = psutil.Process(server.pid).cpu_times()
    starts.cpu_s.append(round(used.user + used.system, 2))


async def _come_back(server: ServerProcess, starts: Starts) -> None:
    await server.kill()
    await _start(server, starts)


async def _counted(server: ServerProcess) -> Counter[str]:
    """Kill and start; return the statements until it is ready, by their verb."""
    await server.kill()
    log = server.data_dir / "postgres" / "server.log"
    before = log.stat().st_size
    await server.start()
    text = (await trio.Path(log).read_bytes())[before:].decode(errors="replace")
    return Counter(verb.upper() for verb in _STATEMENT.findall(text))


def _log_statements(server: ServerProcess, which: str = "all") -> None:
    with psycopg.connect(server.database_url, autocommit=True) as conn:
        conn.execute(f"ALTER SYSTEM SET log_statement = '{which}'")
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
    table = Table(title=f"Starting, with {result.rooms} rooms, {result.in_hand} of them in a hand")
    for column in ("ready after", "median", "least to most", "processor"):
        table.add_column(column, justify="left" if column == "ready after" else "right")
    for name, starts in (
        ("the very first start", result.first),
        ("an empty club, PostgreSQL stopped", result.cold),
        ("kill -9, an empty club", result.empty),
        ("kill -9, with the rooms", result.full),
    ):
        if starts.ready_s:
            table.add_row(
                name,
                f"{median(starts.ready_s):.2f} s",
                f"{min(starts.ready_s):.2f}–{max(starts.ready_s):.2f} s",
                f"{median(starts.cpu_s):.2f} s",
            )
    console = Console()
    console.print(table)
    kinds = ", ".join(f"{kind} {n}" for kind, n in sorted(result.by_kind.items()))
    console.print(f"statements until ready: {result.empty_statements} without rooms")
    if result.rooms:
        console.print(f"with them {result.statements} ({kinds})")
        console.print(f"a hydration afterwards: {result.first_answer_s * 1000:.1f} ms")
