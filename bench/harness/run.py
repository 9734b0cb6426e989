"""A run: generators begun, warmed up and measured while the server is looked at from outside."""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count
from typing import NamedTuple

import trio

from bench.harness.generator import Second
from bench.harness.generators import Generators
from bench.harness.latencies import Latencies, percentile
from bench.harness.machine import Machine
from bench.harness.result import Figure, GeneratorShare, Latency, Moment, Stage
from bench.harness.sampling import Sample, Sampler, Scrape
from bench.server_process import ServerProcess

GENERATOR_IS_LIMIT = 0.85
"""A generator that uses more than this share of a core waits for itself at times."""
MACHINE_IS_FULL = 0.95
OTHERS_COUNT = 0.1
"""Others on the machine are worth a word from this share of a core on."""
LATE_MS = 20.0
ENOUGH_EVENTS_PER_S = 1_000
"""Of a generator that receives less, what an event costs is not told: it does other things."""
STAGE_TITLES = {
    "receive": "receive and decode",
    "queue": "wait for a turn",
    "decide": "decide",
    "wait": "wait for a commit",
    "commit": "commit",
    "tell": "fan out",
}
OnMoment = Callable[[Moment], None]


class Measured(NamedTuple):
    """What came of a run. `seconds` and `moments` begin with the warm-up, `measured` after it."""

    moments: list[Moment]
    measured: list[Moment]
    seconds: list[list[Second]]
    latencies: Latencies
    before: Scrape
    after: Scrape

    def counted(self, name: str) -> list[float]:
        """Return what the load counted under a name, for each measured second."""
        return [
            sum(one.counts.get(name, 0) / one.seconds for one in second) for second in self.seconds
        ]

    def of_kind(self, kind: str) -> Latencies:
        """Return the latencies of another kind than the operations' own."""
        latencies = Latencies()
        for second in self.seconds:
            for one in second:
                latencies.add(one.kinds.get(kind, {}))
        return latencies

    @property
    def errors(self) -> int:
        """How many errors there were."""
        return sum(one.errors for second in self.seconds for one in second)


async def measure(
    server: ServerProcess,
    generators: Generators,
    *,
    warm_up_s: int,
    seconds: int,
    on_moment: OnMoment,
) -> Measured:
    """Begin the load, let it warm up, measure it second by second; the load goes on afterwards."""
    async with begun(server, generators, on_moment) as course:
        return await course.measure(warm_up_s=warm_up_s, seconds=seconds)


class Course:
    """A load that goes on, of which parts are measured; made by `begun`.

    Attributes:
        began: when the load did, on `time.perf_counter`.
    """

    def __init__(self, generators: Generators, recording: Recording, began: float) -> None:
        self.began = began
        self._generators = generators
        self._recording = recording

    async def pace(self, in_flight: int, rate: float) -> None:
        """Have the load go on at another pace; see `generator.Pace`."""
        await self._generators.pace(in_flight, rate)

    async def measure(self, *, warm_up_s: int, seconds: int) -> Measured:
        """Measure from the next whole second of the load on, after a warm-up."""
        first = math.ceil(max(0.0, time.perf_counter() - self.began))
        zero = self.began + first + warm_up_s
        already = len(self._recording.moments)
        for number in range(first, first + warm_up_s):
            await self._recording.second(number, self.began, zero)
        measured = await self._recording.part(first + warm_up_s, seconds, self.began, zero)
        return measured._replace(moments=measured.moments[already:])


@asynccontextmanager
async def begun(
    server: ServerProcess, generators: Generators, on_moment: OnMoment
) -> AsyncIterator[Course]:
    """Begin the load of generators; samples of what everybody uses are taken until the end."""
    recording = Recording(server, generators, on_moment)
    async with trio.open_nursery() as nursery:
        began = await generators.begin()
        nursery.start_soon(recording.sampler.run)
        yield Course(generators, recording, began)
        nursery.cancel_scope.cancel()


class Recording:
    """The seconds of a run as they come, with what was used in each."""

    def __init__(self, server: ServerProcess, generators: Generators, on_moment: OnMoment) -> None:
        self.sampler = Sampler(server, generators.pids)
        self.moments: list[Moment] = []
        self._server = server
        self._generators = generators
        self._on_moment = on_moment

    async def second(self, number: int, began: float, zero: float) -> list[Second]:
        """Wait for a second, note its moment, and return what the generators told of it.

        `began` and `zero`: when the load began, and when what is measured does.
        """
        second = await self._generators.second(number)
        moment = moment_of(second, self.sampler.samples, began + number + 1, zero)
        self.moments.append(moment)
        self._on_moment(moment)
        return second

    async def part(self, first: int, seconds: int, began: float, zero: float) -> Measured:
        """Wait for so many seconds from one on, and return what came of them."""
        told: list[list[Second]] = []
        latencies = Latencies()
        before = await trio.to_thread.run_sync(Scrape, self._server)
        for number in range(first, first + seconds):
            told.append(await self.second(number, began, zero))
            for one in told[-1]:
                latencies.add(one.latencies)
        after = await trio.to_thread.run_sync(Scrape, self._server)
        moments = self.moments
        return Measured(moments, moments[-seconds:], told, latencies, before, after)

    async def run(self, began: float, zero: float) -> None:
        """Take samples and seconds until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.sampler.run)
            for number in count():
                await self.second(number, began, zero)


def moment_of(second: list[Second], samples: list[Sample], at: float, zero: float) -> Moment:
    """Put together what the generators told of a second that ended, and the last two samples."""
    counts: dict[int, int] = {}
    for one in second:
        for us, times in one.latencies.items():
            counts[us] = counts.get(us, 0) + times
    use = used(*samples[-2:]) if len(samples) > 1 else (0.0, 0.0, 0.0, 0.0)
    last = samples[-1] if samples else None
    return Moment(
        at_s=round(at - zero, 3),
        operations=sum(sum(one.latencies.values()) / one.seconds for one in second),
        events=sum(one.events / one.seconds for one in second),
        errors=sum(one.errors for one in second),
        p50_ms=percentile(counts, 50) / 1000,
        p99_ms=percentile(counts, 99) / 1000,
        max_ms=max(counts, default=0) / 1000,
        connected=sum(one.connected for one in second),
        server_cpu=use[0],
        postgres_cpu=use[1],
        generators_cpu=use[2],
        other_cpu=use[3],
        server_mib=0.0 if last is None else round(last.server_mib, 2),
        postgres_mib=0.0 if last is None else round(last.postgres_mib, 2),
    )


def used(before: Sample, after: Sample) -> tuple[float, float, float, float]:
    """Return the cores that server, PostgreSQL, generators and others used between two samples."""
    seconds = after.at - before.at
    parts = (
        after.server_cpu_s - before.server_cpu_s,
        after.postgres_cpu_s - before.postgres_cpu_s,
        after.generators_cpu_s - before.generators_cpu_s,
    )
    server, postgres, generators = (max(0.0, part / seconds) for part in parts)
    busy = (after.machine_busy_s - before.machine_busy_s) / seconds
    others = max(0.0, busy - server - postgres - generators)
    return round(server, 3), round(postgres, 3), round(generators, 3), round(others, 3)


def generator_shares(seconds: list[list[Second]]) -> list[GeneratorShare]:
    """Say what each generator used, by its own account."""
    shares = []
    for told in zip(*seconds, strict=True):
        cpu_s, events = sum(one.cpu_s for one in told), sum(one.events for one in told)
        lasted_s = sum(one.seconds for one in told)
        busy = events > lasted_s * ENOUGH_EVENTS_PER_S
        shares.append(
            GeneratorShare(
                cpu_share=round(cpu_s / lasted_s, 3),
                cpu_us_per_event=round(cpu_s / events * 1e6, 2) if busy else None,
                events=events,
                late_ms=max(one.late_us for one in told) / 1000,
            )
        )
    return shares


def stages(measured: Measured) -> list[Stage]:
    """Say where a command's time went inside the server; nothing if there were none."""
    if not measured.after.since(measured.before, "cardroom_command_seconds_count"):
        return []
    parts = measured.after.stages_ms(measured.before)
    return [Stage(name, STAGE_TITLES[name], round(ms, 4)) for name, ms in parts.items()]


def latency(latencies: Latencies, title: str) -> Latency:
    """Return latencies for a result."""
    return Latency(
        title=title,
        count=latencies.count,
        mean_ms=round(latencies.mean_ms(), 4),
        curve=latencies.curve(),
        histogram=latencies.encoded(),
    )


def mean(values: list[float]) -> float:
    """Return the mean; 0 of nothing."""
    return sum(values) / len(values) if values else 0.0


def usual_figures(measured: Measured, operation: str) -> dict[str, Figure]:
    """Return the figures that every load has: throughput, latency, CPU, memory, errors."""
    moments = measured.measured
    rate = [moment.operations for moment in moments]
    per_s = mean(rate)
    server = [moment.server_cpu for moment in moments]
    postgres = [moment.postgres_cpu for moment in moments]
    ms = measured.latencies.ms
    mean_commit_s = measured.after.mean(measured.before, "cardroom_commit_seconds")
    batch = measured.after.mean(measured.before, "cardroom_commit_batch_units")
    commits = measured.after.since(measured.before, "cardroom_commit_seconds_count")
    p50 = [moment.p50_ms for moment in moments]
    p99 = [moment.p99_ms for moment in moments]
    return {
        "rate": Figure(f"{operation}/s", per_s, "/s", "higher", rate, timed=True),
        "p50_ms": Figure("latency, p50", ms(50), "ms", "lower", p50, timed=True),
        "p90_ms": Figure("p90", ms(90), "ms", "lower"),
        "p99_ms": Figure("p99", ms(99), "ms", "lower", p99, timed=True),
        "p999_ms": Figure("p99.9", ms(99.9), "ms", "lower"),
        "max_ms": Figure("longest", ms(100), "ms", "lower"),
        "server_cpu": Figure("server CPU", mean(server), "cores", "neither", server, timed=True),
        "postgres_cpu": Figure(
            "PostgreSQL CPU", mean(postgres), "cores", "neither", postgres, timed=True
        ),
        "server_us": _per_operation(f"server CPU for one of the {operation}", server, rate),
        "postgres_us": _per_operation(f"PostgreSQL CPU for one of the {operation}", postgres, rate),
        "commits": Figure("commits/s", commits / max(1, len(moments)), "/s"),
        "batch_units": Figure("units per commit", batch),
        "commit_ms": Figure("mean commit", mean_commit_s * 1000, "ms", "lower"),
        "server_mib": Figure("server memory", moments[-1].server_mib, "MiB", "lower"),
        "errors": Figure("errors", float(measured.errors), "", "lower"),
    }


def _per_operation(title: str, cores: list[float], rate: list[float]) -> Figure:
    samples = [cpu / each * 1e6 for cpu, each in zip(cores, rate, strict=True) if each]
    value = mean(cores) / mean(rate) * 1e6 if mean(rate) else 0.0
    return Figure(title, value, "µs", "lower", samples, timed=True)


def notes(measured: Measured, machine: Machine, *, open_loop: bool) -> list[str]:
    """Say who was the limit, and what else ran on the machine."""
    said = []
    shares = generator_shares(measured.seconds)
    for number, share in enumerate(shares):
        if share.cpu_share > GENERATOR_IS_LIMIT:
            said.append(
                f"Generator {number + 1} used {share.cpu_share:.0%} of a core: it was the limit. "
                "Take more generators."
            )
        if open_loop and share.late_ms > LATE_MS:
            said.append(
                f"Generator {number + 1} sent a request {share.late_ms:.0f} ms after it was due, "
                "at worst; that is in the latencies."
            )
    moments = measured.measured
    others = mean([moment.other_cpu for moment in moments])
    total = others + mean([m.server_cpu + m.postgres_cpu + m.generators_cpu for m in moments])
    server = mean([moment.server_cpu for moment in moments])
    if server > GENERATOR_IS_LIMIT:
        said.append(f"The server used {server:.0%} of the one core that it can: it was the limit.")
    if total > MACHINE_IS_FULL * machine.cores:
        said.append(
            f"All {machine.cores} cores were in use: server, PostgreSQL and generators "
            "took time from each other."
        )
    if others > OTHERS_COUNT:
        said.append(f"Others on the machine used {others:.0%} of a core meanwhile.")
    return said
