"""One contestant's turn: started on a database of its own, driven, counted, stopped."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from subprocess import PIPE
from tempfile import TemporaryDirectory
from time import perf_counter

import msgspec
import trio
from msgspec import Struct

from bench.peers.contestants import Contestant, Running
from bench.peers.database import Database, Postgres
from bench.peers.load import Driven, Load

_ROOT = Path(__file__).resolve().parents[2]
_FLUSHES = "SELECT coalesce(sum(fsyncs), 0)::bigint FROM pg_stat_io WHERE object = 'wal'"


class Plan(Struct):
    """How everybody is driven; times in seconds.

    `connections`: how many a peer has to PostgreSQL. `sockets`: how many the bare ones are.
    """

    rooms: int
    seconds: float
    warm_up_s: float
    connections: int
    sockets: int


class Turn(Struct):
    """What a turn came to. Shares are of one core.

    `flushes_per_s`: of PostgreSQL's log; how many commands share one is what group commit is about.
    """

    contestant: str
    round: int
    commands_per_s: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    max_ms: float
    server_cpu_share: float
    server_cpu_us_per_command: float
    postgres_cpu_share: float
    postgres_cpu_us_per_command: float
    generator_cpu_share: float
    generator_cpu_us_per_event: float
    flushes_per_s: float


class _Usage:
    """What had been used at a moment."""

    def __init__(self, running: Running, postgres: Postgres, database: Database) -> None:
        self.at_s = perf_counter()
        self.server_s = running.cpu_s()
        self.postgres_s = postgres.cpu_s()
        self.flushes: int = database.row(_FLUSHES)[0]


async def take_turn(contestant: Contestant, number: int, postgres: Postgres, plan: Plan) -> Turn:
    """Measure one contestant.

    Raises:
        RuntimeError: it failed, or its database does not hold what it acknowledged.
    """
    with TemporaryDirectory(prefix="cardroom-peers-") as scratch:
        with postgres.database(f"{contestant.name}_{number}") as database:
            serving = contestant.serving(database, plan.rooms, plan.connections, Path(scratch))
            async with serving as running:
                driven, before, after = await _drive(contestant, running, postgres, database, plan)
            (done,) = database.row(contestant.done)
    if done != driven.sent:
        raise RuntimeError(f"{contestant.title}: {driven.sent} answered, {done} in its database")
    return _turn(contestant.name, number, driven, before, after)


async def _drive(
    contestant: Contestant, running: Running, postgres: Postgres, database: Database, plan: Plan
) -> tuple[Driven, _Usage, _Usage]:
    await trio.to_thread.run_sync(postgres.checkpoint)
    load = Load(contestant.wire, running.url, running.tokens, plan.warm_up_s, plan.seconds)
    ready = trio.Event()
    usage: list[_Usage] = []
    driven: list[Driven] = []

    async def generate() -> None:
        driven.append(await _generate(load, ready))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(generate)
        await ready.wait()
        usage.append(await trio.to_thread.run_sync(_Usage, running, postgres, database))
        await trio.sleep(plan.seconds * 0.9)
        usage.append(await trio.to_thread.run_sync(_Usage, running, postgres, database))
    before, after = usage
    return driven[0], before, after


async def _generate(load: Load, ready: trio.Event) -> Driven:
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", "bench.peers.load"], stdin=PIPE, stdout=PIPE, cwd=_ROOT
    )
    assert process.stdin is not None
    assert process.stdout is not None
    told = b""
    try:
        await process.stdin.send_all(msgspec.json.encode(load) + b"\n")
        async for chunk in process.stdout:
            told += chunk
            if told.startswith(b"ready\n"):
                ready.set()
        if await process.wait() != 0:
            raise RuntimeError("the load generator failed; it said why above")
    finally:
        if process.returncode is None:
            process.kill()
    return msgspec.json.decode(told.removeprefix(b"ready\n"), type=Driven)


def _turn(name: str, number: int, driven: Driven, before: _Usage, after: _Usage) -> Turn:
    per_s = driven.commands / driven.seconds
    watched_s = after.at_s - before.at_s
    server = (after.server_s - before.server_s) / watched_s
    postgres = (after.postgres_s - before.postgres_s) / watched_s
    latencies = sorted(driven.latencies_us)
    return Turn(
        contestant=name,
        round=number,
        commands_per_s=round(per_s, 1),
        p50_ms=percentile_ms(latencies, 0.5),
        p90_ms=percentile_ms(latencies, 0.9),
        p99_ms=percentile_ms(latencies, 0.99),
        max_ms=latencies[-1] / 1000,
        server_cpu_share=round(server, 3),
        server_cpu_us_per_command=round(server / per_s * 1e6, 1),
        postgres_cpu_share=round(postgres, 3),
        postgres_cpu_us_per_command=round(postgres / per_s * 1e6, 1),
        generator_cpu_share=round(driven.cpu_share, 3),
        generator_cpu_us_per_event=round(
            driven.cpu_share * driven.seconds / driven.events * 1e6, 2
        ),
        flushes_per_s=round((after.flushes - before.flushes) / watched_s, 1),
    )


def percentile_ms(sorted_us: Sequence[int], share: float) -> float:
    """Return a percentile of sorted microseconds, in milliseconds."""
    return sorted_us[min(len(sorted_us) - 1, int(len(sorted_us) * share))] / 1000
