"""How fast tables play: durable actions a second, and how long until everybody has seen one.

An action is counted when its event has reached all clients of the table, and so after its
transaction is on disk. Bots act as soon as it is their turn; each table has one action under way.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from subprocess import PIPE

import msgspec
import trio
from msgspec import Struct
from rich.console import Console
from rich.table import Table

from bench.server_process import ServerProcess
from bench.serving import serving
from bench.table_load import BUY_IN, Load, Played
from bench.usage import Usage

WARM_UP_S = 3.0
SETTINGS = {
    "CARDROOM_HAND_INTERVAL_S": "0",
    "CARDROOM_STARTING_BALANCE": str(BUY_IN * 2),
    "CARDROOM_COMMANDS_PER_S": "100000",
    "CARDROOM_COMMAND_BURST": "100000",
    "CARDROOM_LOG_LEVEL": "warning",
}
_ROOT = Path(__file__).resolve().parent.parent


class TablesResult(Struct):
    """What was measured. Shares are of one core; latencies in milliseconds, commits in seconds."""

    tables: int
    players: int
    generators: int
    cores: int
    seconds: float
    actions_per_s: float
    hands_per_s: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    max_ms: float
    refusals: int
    generator_cpu_shares: list[float]
    server_cpu_share: float
    postgres_cpu_share: float
    server_cpu_us_per_action: float
    postgres_cpu_us_per_action: float
    commits_per_s: float
    units_per_commit: float
    commit_batches: dict[str, float]
    mean_commit_s: float
    mean_command_s: float


async def report(
    tables: int, players: int, seconds: float, generators: int, out: Path | None
) -> int:
    """Measure, print a table, write JSON to `out`; return the exit code."""
    async with serving(SETTINGS) as server:
        result = await measure(server, tables, players, seconds, generators)
    if out is not None:
        await trio.Path(out).write_bytes(msgspec.json.format(msgspec.json.encode(result)) + b"\n")
    _show(result)
    return 1 if result.refusals else 0


async def measure(
    server: ServerProcess, tables: int, players: int, seconds: float, generators: int
) -> TablesResult:
    """Play tables on a running server and return the figures."""
    shares = [tables // generators + (n < tables % generators) for n in range(generators)]
    played: list[Played] = []
    ready = [trio.Event() for _ in shares]
    usage: list[Usage] = []

    async def watch() -> None:
        for event in ready:
            await event.wait()
        usage.append(await trio.to_thread.run_sync(Usage, server))
        await trio.sleep(max(0.5, seconds - 1.0))
        usage.append(await trio.to_thread.run_sync(Usage, server))

    watched_s = max(0.5, seconds - 1.0)
    async with trio.open_nursery() as nursery:
        for number, share in enumerate(shares):
            tokens = [
                [server.token(f"g{number}t{table}p{player}") for player in range(players)]
                for table in range(share)
            ]
            load = Load(server.ws_url, share, tokens, WARM_UP_S, seconds, seed=number)
            nursery.start_soon(generate, load, ready[number], played)
        nursery.start_soon(watch)
    before, after = usage
    latencies = sorted(us for one in played for us in one.latencies_us)
    per_s = sum(one.actions / one.seconds for one in played)
    server_share = (after.server_cpu_s - before.server_cpu_s) / watched_s
    postgres_share = (after.postgres_cpu_s - before.postgres_cpu_s) / watched_s

    def percentile(share: float) -> float:
        return latencies[min(len(latencies) - 1, int(len(latencies) * share))] / 1000

    return TablesResult(
        tables=tables,
        players=players,
        generators=generators,
        cores=os.cpu_count() or 1,
        seconds=seconds,
        actions_per_s=round(per_s, 1),
        hands_per_s=round(sum(one.hands / one.seconds for one in played), 1),
        p50_ms=percentile(0.5),
        p90_ms=percentile(0.9),
        p99_ms=percentile(0.99),
        max_ms=latencies[-1] / 1000,
        refusals=sum(one.refusals for one in played),
        generator_cpu_shares=[round(one.cpu_share, 3) for one in played],
        server_cpu_share=round(server_share, 3),
        postgres_cpu_share=round(postgres_share, 3),
        server_cpu_us_per_action=round(server_share / per_s * 1e6, 1),
        postgres_cpu_us_per_action=round(postgres_share / per_s * 1e6, 1),
        commits_per_s=round(after.metric("cardroom_commit_seconds_count", before) / watched_s, 1),
        units_per_commit=round(after.mean("cardroom_commit_batch_units", before), 2),
        commit_batches=after.buckets("cardroom_commit_batch_units", before),
        mean_commit_s=round(after.mean("cardroom_commit_seconds", before), 6),
        mean_command_s=round(after.mean("cardroom_command_seconds", before), 6),
    )


async def generate(load: Load, ready: trio.Event, played: list[Played]) -> None:
    """Run one generator process to its end."""
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", "bench.table_load"], stdin=PIPE, stdout=PIPE, cwd=_ROOT
    )
    assert process.stdin is not None
    assert process.stdout is not None
    await process.stdin.send_all(msgspec.json.encode(load) + b"\n")
    told = b""
    try:
        async for chunk in process.stdout:
            told += chunk
            if told.startswith(b"ready\n"):
                ready.set()
        if await process.wait() != 0:
            raise RuntimeError("a load generator failed; it said why above")
    finally:
        if process.returncode is None:
            process.kill()
    played.append(msgspec.json.decode(told.removeprefix(b"ready\n"), type=Played))


def _show(result: TablesResult) -> None:
    table = Table(title=f"{result.tables} tables of {result.players}, {result.cores} cores")
    table.add_column("what")
    table.add_column("figure", justify="right")
    rows = {
        "durable actions/s": f"{result.actions_per_s:,.0f}",
        "hands/s": f"{result.hands_per_s:,.1f}",
        "action to last client's event, p50": f"{result.p50_ms:.1f} ms",
        "p90": f"{result.p90_ms:.1f} ms",
        "p99": f"{result.p99_ms:.1f} ms",
        "longest": f"{result.max_ms:.1f} ms",
        "server CPU": f"{result.server_cpu_share:.0%} of a core",
        "server CPU per action": f"{result.server_cpu_us_per_action:.0f} µs",
        "PostgreSQL CPU": f"{result.postgres_cpu_share:.0%} of a core",
        "PostgreSQL CPU per action": f"{result.postgres_cpu_us_per_action:.0f} µs",
        "load generators' CPU": ", ".join(f"{s:.0%}" for s in result.generator_cpu_shares),
        "commits/s": f"{result.commits_per_s:,.0f}",
        "units per commit": f"{result.units_per_commit:.1f}",
        "mean commit": f"{result.mean_commit_s * 1000:.2f} ms",
        "mean command, received to replied": f"{result.mean_command_s * 1000:.2f} ms",
        "refused": f"{result.refusals}",
    }
    for what, figure in rows.items():
        table.add_row(what, figure)
    Console().print(table)
