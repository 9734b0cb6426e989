"""`growth`: the same load over and over while one thing grows, to see what grows with it.

Tables, players at each, spectators of one: each value has a server of its own. History has one
server, killed, filled and started again (`history.py`). The rate stays the same throughout, so that
what a command costs is comparable; where it can, a load also stands still for a while, which shows
what is done for rooms of which nobody asks anything.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

import psycopg
import trio
from msgspec import Struct

from bench.harness.generators import generating
from bench.harness.result import Figure, Point, Result, Sweep
from bench.harness.run import Course, Measured, begun, mean, stages, usual_figures
from bench.report.figures import shown
from bench.scenarios import history
from bench.scenarios.common import ERRORS, SETTINGS, Ground, Timing, Watch, allow_many_files, ground
from bench.scenarios.growth_kinds import (
    KINDS,
    QUICK_THINK_S,
    SOCKETS_OF_A_TABLE,
    TABLES_OF_PLAYERS,
    Kind,
    Of,
)
from bench.scenarios.rooms import LOAD as ROOMS_LOAD
from bench.scenarios.rooms import plans_for
from bench.scenarios.tables import LOAD as TABLES_LOAD
from bench.scenarios.tables import TABLE_SETTINGS
from bench.scenarios.tables import plans_for as tables_for
from bench.server_process import ServerProcess
from bench.serving import serving

_LOG = (
    "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::float8, wal_fpi FROM pg_stat_wal"
)
_TELLING = (
    *("server_us", "postgres_us", "server_quiet", "postgres_quiet", "p50_ms", "p99_ms"),
    *("commit_ms", "log_bytes", "ready_s", *history.READS),
)
"""Of which the last value is told over the first."""


class Asked(Struct, frozen=True):
    """What is to be measured: `values` of what grows, ascending; `rate` in commands a second.

    `restarts`: how often the server is killed and started again at each value of history.
    """

    of: Of
    values: tuple[int, ...]
    rate: float
    timing: Timing
    restarts: int = 3


class _Found(NamedTuple):
    ground: Ground
    points: list[Point]
    errors: int


async def growth(asked: Asked, watch: Watch) -> Result:
    """Measure how cost grows with one thing."""
    allow_many_files()
    kind = KINDS[asked.of]
    ways: dict[Of, Callable[[Asked, Watch], Awaitable[_Found]]] = {
        "tables": _rooms,
        "players": _players,
        "spectators": _rooms,
        "history": _history,
    }
    found = await ways[asked.of](asked, watch)
    return Result(
        scenario="growth",
        title=f"how cost grows with {kind.axis}",
        about=kind.about,
        started_at=found.ground.started_at,
        options={
            "of": asked.of,
            "values": ", ".join(f"{value:,}" for value in asked.values),
            "rate": asked.rate,
            "seconds": asked.timing.seconds,
            "warm_up_s": asked.timing.warm_up_s,
            "generators": asked.timing.generators,
        },
        machine=found.ground.machine,
        software=found.ground.software,
        settings=found.ground.settings,
        figures=_summary(found.points, kind),
        sweep=Sweep(kind.axis, kind.log, found.points),
        operation="actions" if asked.of == "players" else "commands",
        failed=ERRORS if found.errors else "",
    )


async def _rooms(asked: Asked, watch: Watch) -> _Found:
    """Grow the number of rooms, or that of the one room's spectators."""
    points, errors = [], 0
    for value in asked.values:
        sizes = [value + 1] if asked.of == "spectators" else [SOCKETS_OF_A_TABLE] * value
        watch.phase("starting a server")
        async with serving(SETTINGS) as server:
            stands_on = await ground(server)
            watch.phase(f"{value:,} {KINDS[asked.of].axis}: connecting {sum(sizes):,} sockets")
            plans = plans_for(server, sizes, 0, 0.0, 1)
            async with _course(server, ROOMS_LOAD, plans, watch) as course:
                figures, failed = await paced(server, course, asked, watch, f"{value:,}")
        points.append(_point(value, figures, asked, watch))
        errors += failed
    return _Found(stands_on, points, errors)


async def _players(asked: Asked, watch: Watch) -> _Found:
    points, errors = [], 0
    timing = asked.timing
    for value in asked.values:
        watch.phase("starting a server")
        async with serving(TABLE_SETTINGS | {"CARDROOM_HAND_INTERVAL_S": "0"}) as server:
            stands_on = await ground(server)
            watch.phase(f"{value} players: seating them at {TABLES_OF_PLAYERS} tables")
            plans = tables_for(server, TABLES_OF_PLAYERS, value, timing.generators)
            for plan in plans:
                plan.think_s = QUICK_THINK_S
            async with _course(server, TABLES_LOAD, plans, watch) as course:
                watch.phase(f"{value} players: measuring")
                log = await _log(server)
                measured = await course.measure(warm_up_s=timing.warm_up_s, seconds=timing.seconds)
                figures = _figures(measured, await _log_since(server, log), "actions")
        points.append(_point(value, figures, asked, watch))
        errors += measured.errors
    return _Found(stands_on, points, errors)


async def _history(asked: Asked, watch: Watch) -> _Found:
    points, errors = [], 0
    watch.phase("starting a server")
    async with serving(history.SETTINGS) as server:
        stands_on = await ground(server)
        watch.phase("playing the hands that are copied")
        model = await history.play(server, watch)
        ids = await history.make_rooms(server, watch)
        for number, value in enumerate(asked.values):
            watch.phase(f"{value:,} events: filling the database")
            await server.kill()
            part = (number / len(asked.values), (number + 1) / len(asked.values))
            filled = await trio.to_thread.run_sync(
                history.fill, server.database_url, model, ids, value, part
            )
            watch.phase(f"{value:,} events: starting again")
            ready = [await server.start()]
            for _ in range(asked.restarts - 1):
                await server.kill()
                ready.append(await server.start())
            plans = plans_for(server, [history.SOCKETS] * len(ids), 0, 0.0, 1, ids)
            async with _course(server, ROOMS_LOAD, plans, watch) as course:
                figures, failed = await paced(server, course, asked, watch, f"{value:,} events")
                watch.phase(f"{value:,} events: reading")
                read = await trio.to_thread.run_sync(history.read, server, ids)
            ready_s = Figure("ready after a kill", min(ready), "s", "lower", ready)
            figures |= {"ready_s": ready_s, **read, **filled}
            points.append(_point(value, figures, asked, watch))
            errors += failed
    return _Found(stands_on, points, errors)


def _point(value: int, figures: dict[str, Figure], asked: Asked, watch: Watch) -> Point:
    """Say in short what one value brought: a whole sweep takes minutes."""
    told = [shown(figures[name]) for name in ("server_us", "postgres_us", "p50_ms", "p99_ms")]
    watch.phase(f"{value:,} {KINDS[asked.of].axis}: {', '.join(told)}")
    return Point(value, figures)


async def paced(
    server: ServerProcess, course: Course, asked: Asked, watch: Watch, said: str
) -> tuple[dict[str, Figure], int]:
    """Measure a load of rooms at the rate that is asked for, then without anybody asking anything.

    Returns:
        The figures, and how many errors there were.
    """
    timing = asked.timing
    watch.phase(f"{said}: {asked.rate:,.0f} commands/s")
    await course.pace(0, asked.rate)
    log = await _log(server)
    measured = await course.measure(warm_up_s=timing.warm_up_s, seconds=timing.seconds)
    written = await _log_since(server, log)
    watch.phase(f"{said}: nobody asks anything")
    await course.pace(0, 0.0)
    quiet = await course.measure(warm_up_s=1, seconds=timing.seconds)
    figures = _figures(measured, written, "commands")
    for name, title in (("server_cpu", "server CPU"), ("postgres_cpu", "PostgreSQL CPU")):
        samples = [float(getattr(moment, name)) for moment in quiet.measured]
        figures[name.replace("cpu", "quiet")] = Figure(
            f"{title} while nobody asks", mean(samples), "cores", "lower", samples, timed=True
        )
    return figures, measured.errors + quiet.errors


def _figures(measured: Measured, written: tuple[float, float], operation: str) -> dict[str, Figure]:
    usual = usual_figures(measured, operation)
    # The log is read when the warm-up begins and after the last second.
    done = sum(moment.operations for moment in measured.moments)
    figures = {
        name: usual[name]
        for name in ("server_us", "postgres_us", "p50_ms", "p99_ms", "commit_ms", "batch_units")
    }
    for stage in stages(measured):
        if stage.name in ("decide", "tell"):
            figures[f"{stage.name}_us"] = Figure(
                f"of a command: {stage.title}", stage.ms * 1000, "µs", "lower"
            )
    if done:
        log, pages = (each / done for each in written)
        figures["log_bytes"] = Figure(f"log written for one of the {operation}", log, "B", "lower")
        figures["log_pages"] = Figure("whole pages in it", pages, "", "lower")
    for name in ("rate", "server_mib"):
        figures[name] = usual[name]
    memory = [moment.postgres_mib for moment in measured.measured]
    figures["postgres_mib"] = Figure("PostgreSQL memory", memory[-1], "MiB", "lower")
    others = [moment.other_cpu for moment in measured.measured]
    figures["other_cpu"] = Figure("others on the machine", mean(others), "cores")
    return figures


def _summary(points: Sequence[Point], kind: Kind) -> dict[str, Figure]:
    """Say of the last value how it compares with the first, and what one more costs in memory."""
    first, last = points[0], points[-1]
    figures = {}
    for name in _TELLING:
        before, after = first.figures.get(name), last.figures.get(name)
        if before is not None and after is not None and before.value:
            title = f"{after.title}, {last.x:,.0f} over {first.x:,.0f} {kind.axis}"
            figures[name] = Figure(title, after.value / before.value, "×", "lower")
    if last.x > first.x:
        grown = last.figures["server_mib"].value - first.figures["server_mib"].value
        figures["each_kib"] = Figure(
            f"server memory for one more of the {kind.axis}",
            grown * 1024 / (last.x - first.x),
            "KiB",
            "lower",
        )
    return figures


@asynccontextmanager
async def _course(
    server: ServerProcess, load: str, plans: Sequence[Struct], watch: Watch
) -> AsyncIterator[Course]:
    async with (
        generating(load, plans) as generators,
        begun(server, generators, watch.moment) as course,
    ):
        yield course


async def _log(server: ServerProcess) -> tuple[float, float]:
    """Return how many bytes of log PostgreSQL has written, and how many whole pages are in it."""

    def ask() -> tuple[float, float]:
        with psycopg.connect(server.database_url, autocommit=True) as conn:
            found = conn.execute(_LOG).fetchone()
        assert found is not None
        return float(found[0]), float(found[1])

    return await trio.to_thread.run_sync(ask)


async def _log_since(server: ServerProcess, before: tuple[float, float]) -> tuple[float, float]:
    after = await _log(server)
    return after[0] - before[0], after[1] - before[1]
