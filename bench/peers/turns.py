"""One contestant's turn: started on a database of its own, driven, counted, stopped."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import trio
from msgspec import Struct

from bench.harness.generator import Second
from bench.harness.generators import generating
from bench.harness.latencies import Latencies
from bench.peers.contestants import PLAYERS, Contestant, Running
from bench.peers.database import Database, Postgres
from bench.peers.load import PeersOptions

_LOAD = "bench.peers.load"
_FLUSHES = "SELECT coalesce(sum(fsyncs), 0)::bigint FROM pg_stat_io WHERE object = 'wal'"


class Plan(Struct):
    """How everybody is driven; times in seconds.

    `connections`: how many a peer has to PostgreSQL. `spectators`: of the one room that fan-out is
    measured with.
    """

    rooms: int
    seconds: int
    warm_up_s: int
    connections: int
    spectators: int


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


async def take_turn(
    contestant: Contestant,
    number: int,
    postgres: Postgres,
    plan: Plan,
    sizes: Sequence[int] | None = None,
) -> Turn:
    """Measure one contestant.

    Args:
        contestant: it is started, driven and stopped.
        number: of the round.
        postgres: its database is made there, and dropped.
        plan: how it is driven.
        sizes: how many sockets each room has; None for six in each.

    Raises:
        GeneratorFailed: the contestant hung up, or told somebody something twice.
        RuntimeError: it failed, or its database does not hold what it acknowledged.
    """
    if sizes is None:
        sizes = [PLAYERS] * plan.rooms
    with TemporaryDirectory(prefix="cardroom-peers-") as scratch:
        with postgres.database(f"{contestant.name}_{number}") as database:
            async with contestant.serving(
                database, sizes, plan.connections, Path(scratch)
            ) as running:
                await trio.to_thread.run_sync(postgres.checkpoint)
                turn, acknowledged = await _drive(
                    contestant, number, running, postgres, database, plan
                )
            (done,) = database.row(contestant.done)
    if done < acknowledged:
        raise RuntimeError(f"{contestant.title}: told of {acknowledged}, {done} in its database")
    return turn


async def _drive(
    contestant: Contestant,
    number: int,
    running: Running,
    postgres: Postgres,
    database: Database,
    plan: Plan,
) -> tuple[Turn, int]:
    """Return the turn, and how many commands' events have been read since it began."""
    options = PeersOptions(running.url, contestant.wire, running.tokens)
    last = plan.warm_up_s + plan.seconds - 1
    async with generating(_LOAD, [options]) as generators:
        await generators.begin()
        if plan.warm_up_s:
            await generators.second(plan.warm_up_s - 1)
        before = await trio.to_thread.run_sync(_Usage, running, postgres, database)
        await generators.second(last)
        after = await trio.to_thread.run_sync(_Usage, running, postgres, database)
    seconds = [generators.seconds[each][0] for each in range(last + 1)]
    if any(second.errors for second in seconds):
        raise RuntimeError(f"{contestant.title} refused commands")
    acknowledged = sum(sum(second.latencies.values()) for second in seconds)
    return _turn(contestant.name, number, seconds[plan.warm_up_s :], before, after), acknowledged


def _turn(name: str, number: int, seconds: list[Second], before: _Usage, after: _Usage) -> Turn:
    latencies = Latencies()
    for second in seconds:
        latencies.add(second.latencies)
    took_s = sum(second.seconds for second in seconds)
    generator_s = sum(second.cpu_s for second in seconds)
    events = sum(second.events for second in seconds)
    per_s = latencies.count / took_s
    if not per_s:
        raise RuntimeError(f"{name}: nothing was told")
    watched_s = after.at_s - before.at_s
    server = (after.server_s - before.server_s) / watched_s
    postgres = (after.postgres_s - before.postgres_s) / watched_s
    return Turn(
        contestant=name,
        round=number,
        commands_per_s=round(per_s, 1),
        p50_ms=latencies.ms(50),
        p90_ms=latencies.ms(90),
        p99_ms=latencies.ms(99),
        max_ms=latencies.ms(100),
        server_cpu_share=round(server, 3),
        server_cpu_us_per_command=round(server / per_s * 1e6, 1),
        postgres_cpu_share=round(postgres, 3),
        postgres_cpu_us_per_command=round(postgres / per_s * 1e6, 1),
        generator_cpu_share=round(generator_s / took_s, 3),
        generator_cpu_us_per_event=round(generator_s / events * 1e6, 2),
        flushes_per_s=round((after.flushes - before.flushes) / watched_s, 1),
    )
