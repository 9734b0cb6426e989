"""One contestant's turn: started on a database of its own, driven, counted, stopped.

How many commands share a flush of PostgreSQL's log is what PostgreSQL itself says: how many rows
came into `room_events` (`pg_stat_user_tables.n_tup_ins`; each command tells one event) for each
flush (`pg_stat_io.fsyncs` of `wal`, whoever flushed; a log file's making is not counted). A session
publishes what it has counted when it is idle, but not more than once a second. It publishes both
together, so their quotient is right even where a single session does it all and either of them
is off by that second; a quotient of such a counter and of the generator's commands is not. The
bytes of the log are taken in the same way. Source: PostgreSQL manual, 27.2.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import psutil
import trio
from msgspec import Struct

from bench.harness.generator import Second
from bench.harness.generators import GeneratorFailed, generating
from bench.harness.latencies import Latencies, percentile
from bench.peers.contestants import PLAYERS, Contestant, Running
from bench.peers.database import Database, Postgres
from bench.peers.errors import PeerFailed
from bench.peers.load import PeersOptions
from bench.peers.result import Turn

_LOAD = "bench.peers.load"
_COUNTED = """
    SELECT (SELECT sum(fsyncs) FROM pg_stat_io WHERE object = 'wal' AND context = 'normal')::bigint,
           (SELECT wal_bytes FROM pg_stat_wal)::bigint,
           (SELECT n_tup_ins FROM pg_stat_user_tables WHERE relname = 'room_events')
"""


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


class _Usage:
    """What had been used at a moment."""

    def __init__(self, running: Running, postgres: Postgres, database: Database) -> None:
        self.at_s = perf_counter()
        busy = psutil.cpu_times()
        self.machine_busy_s = float(sum(busy) - busy.idle - busy.iowait - busy.guest)
        self.server_s = running.cpu_s()
        self.postgres_s = postgres.cpu_s()
        self.flushes, self.log_bytes, self.events = counted(database)


def counted(database: Database) -> tuple[int, int, int]:
    """Return the log's flushes and bytes so far, and the events told in a database."""
    flushes, log_bytes, events = database.row(_COUNTED)
    return flushes, log_bytes, events


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
        PeerFailed: it ended, hung up, refused, told somebody something twice, or its database
            does not hold what it acknowledged.
    """
    if sizes is None:
        sizes = [PLAYERS] * plan.rooms
    with TemporaryDirectory(prefix="cardroom-peers-") as scratch:
        with postgres.database(f"{contestant.name}_{number}") as database:
            async with contestant.serving(
                database, sizes, plan.connections, Path(scratch)
            ) as running:
                await trio.to_thread.run_sync(postgres.checkpoint)
                try:
                    turn, acknowledged = await _drive(
                        contestant, number, running, postgres, database, plan
                    )
                except ExceptionGroup as failed:
                    if failed.split(GeneratorFailed)[1] is not None:
                        raise
                    said = running.log.read_text(errors="replace")
                    raise PeerFailed(contestant.title, "hung up on the generator", said) from None
            (done,) = database.row(contestant.done)
    if done < acknowledged:
        raise PeerFailed(contestant.title, f"told of {acknowledged}, {done} in its database")
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
        raise PeerFailed(contestant.title, "refused commands")
    acknowledged = sum(sum(second.latencies.values()) for second in seconds)
    return _turn(contestant, number, seconds[plan.warm_up_s :], before, after), acknowledged


def _turn(
    contestant: Contestant, number: int, seconds: list[Second], before: _Usage, after: _Usage
) -> Turn:
    latencies = Latencies()
    for second in seconds:
        latencies.add(second.latencies)
    took_s = sum(second.seconds for second in seconds)
    generator_s = sum(second.cpu_s for second in seconds)
    events = sum(second.events for second in seconds)
    per_s = latencies.count / took_s
    if not per_s:
        raise PeerFailed(contestant.title, "told nothing")
    watched_s = after.at_s - before.at_s
    server = (after.server_s - before.server_s) / watched_s
    postgres = (after.postgres_s - before.postgres_s) / watched_s
    generator = generator_s / took_s
    busy = (after.machine_busy_s - before.machine_busy_s) / watched_s
    events_told = max(1, after.events - before.events)
    flushes = after.flushes - before.flushes
    return Turn(
        contestant=contestant.name,
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
        generator_cpu_share=round(generator, 3),
        generator_cpu_us_per_event=round(generator_s / events * 1e6, 2),
        others_cpu_share=round(max(0.0, busy - server - postgres - generator), 3),
        flushes_per_s=round(flushes / watched_s, 1),
        commands_per_flush=round(events_told / max(1, flushes), 2),
        wal_bytes_per_command=round((after.log_bytes - before.log_bytes) / events_told, 1),
        rates=[round(sum(each.latencies.values()) / each.seconds, 1) for each in seconds],
        p50s_ms=[percentile(each.latencies, 50) / 1000 for each in seconds],
        p99s_ms=[percentile(each.latencies, 99) / 1000 for each in seconds],
        histogram=latencies.encoded(),
    )
