"""`floor`: how long people wait at half of what a server can do, over the least that it could be.

All on one server, round after round: what it does at most (the closed loop of `durable`), how long
a command takes at half of that rate (the open loop, from when it was due), and then, while nobody
asks it anything, the floor (`floor_probe.py`).
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median

import msgspec
import trio

from bench.harness.generators import generating
from bench.harness.latencies import Latencies
from bench.harness.machine import Machine
from bench.harness.result import Event, Figure, Moment, Result, Stage
from bench.harness.run import (
    STAGE_TITLES,
    Measured,
    begun,
    generator_shares,
    latency,
    mean,
    notes,
    stages,
    usual_figures,
)
from bench.scenarios.common import ERRORS, SETTINGS, Timing, Watch, ground
from bench.scenarios.floor_probe import Floor, Task
from bench.scenarios.rooms import LOAD, plans_for
from bench.server_process import ServerProcess
from bench.serving import serving

PROBE_S = 3.0
SHARE = 0.5
_ROOT = Path(__file__).resolve().parents[2]


class _Round:
    """What one round brought."""

    def __init__(self, fast: Measured, half: Measured, floor: Floor) -> None:
        self.fast = fast
        self.half = half
        self.floor = {
            name: _latencies([counts])
            for name, counts in (
                ("commit", floor.commit),
                ("loopback", floor.loopback),
                ("both", floor.both),
            )
        }
        self.late = _latencies(one.lates for second in half.seconds for one in second)

    @property
    def most(self) -> float:
        """The commands a second of the closed loop."""
        return mean([moment.operations for moment in self.fast.measured])


async def floor(rooms: int, sockets: int, rounds: int, timing: Timing, watch: Watch) -> Result:
    """Measure latency at half of saturation, and the floor under it, in one run."""
    watch.phase("starting a server")
    taken: list[_Round] = []
    async with serving(SETTINGS) as server:
        stands_on = await ground(server)
        watch.phase(f"connecting {rooms * sockets:,} sockets")
        plans = plans_for(server, [sockets] * rooms, 0, 0.0, timing.generators)
        async with (
            generating(LOAD, plans) as generators,
            begun(server, generators, watch.moment) as course,
        ):
            for number in range(1, rounds + 1):
                said = f"round {number} of {rounds}: "
                watch.phase(f"{said}as fast as it goes")
                await course.pace(1, 0.0)
                fast = await course.measure(warm_up_s=timing.warm_up_s, seconds=timing.seconds)
                rate = mean([moment.operations for moment in fast.measured]) * SHARE
                watch.phase(f"{said}half of that, {rate:,.0f}/s")
                await course.pace(0, rate)
                half = await course.measure(warm_up_s=timing.warm_up_s, seconds=timing.seconds)
                await course.pace(0, 0.0)
                watch.phase(f"{said}the floor")
                found = await _probe(server)
                taken.append(_Round(fast, half, found))
        watch.phase("stopping the server")
    halves = _latencies(
        one.latencies for each in taken for second in each.half.seconds for one in second
    )
    least = _all_of(taken, "both")
    errors = sum(each.fast.errors + each.half.errors for each in taken)
    moments, events = _joined(taken)
    return Result(
        scenario="floor",
        title=f"{rooms} rooms of {sockets} sockets at half of what the server can do",
        about="What the server does at most, how long a command takes at half of that from when it "
        "was due, and the least that it could take: one commit of the same rows by a bare "
        "connection and the way to another process and back by a bare socket, one after another "
        "on the otherwise idle server of the same run.",
        started_at=stands_on.started_at,
        options={
            "rooms": rooms,
            "sockets": sockets,
            "rounds": rounds,
            "seconds": timing.seconds,
            "warm_up_s": timing.warm_up_s,
            "generators": timing.generators,
        },
        machine=stands_on.machine,
        software=stands_on.software,
        settings=stands_on.settings,
        figures=_figures(taken, halves, errors),
        latency=latency(halves, "command due until the last socket of the room has read its event"),
        beside=[
            latency(least, "the floor: a commit, and there and back"),
            latency(_all_of(taken, "commit"), "the commit alone"),
        ],
        moments=moments,
        events=events,
        stages=_stages(taken),
        generators=generator_shares([second for each in taken for second in each.half.seconds]),
        notes=_notes(taken, stands_on.machine),
        operation="commands",
        failed=ERRORS if errors else "",
    )


async def _probe(server: ServerProcess) -> Floor:
    done = await trio.run_process(
        [sys.executable, "-m", "bench.scenarios.floor_probe"],
        stdin=msgspec.json.encode(Task(server.database_url, PROBE_S)),
        capture_stdout=True,
        cwd=_ROOT,
    )
    return msgspec.json.decode(done.stdout, type=Floor)


def _figures(taken: Sequence[_Round], halves: Latencies, errors: int) -> dict[str, Figure]:
    usual = [usual_figures(each.half, "commands") for each in taken]
    p50, p99, p999 = (
        [each.half.latencies.ms(percent) for each in taken] for percent in (50, 99, 99.9)
    )
    floors = {
        f"{name}_p{percent}": [each.floor[name].ms(percent) for each in taken]
        for name in ("both", "commit", "loopback")
        for percent in (50, 99)
    }

    def over(times: list[float], least: list[float]) -> list[float]:
        return [time / floor for time, floor in zip(times, least, strict=True)]

    def of_rounds(title: str, samples: list[float], unit: str = "") -> Figure:
        return Figure(title, median(samples), unit, "lower", samples)

    def at_half(name: str, title: str) -> Figure:
        one = usual[0][name]
        samples = [each[name].value for each in usual]
        return Figure(f"{title} at half", mean(samples), one.unit, one.better, samples)

    both = "the floor: commit, there and back"
    return {
        "over_p50": of_rounds("p99 at half, over the floor's p50", over(p99, floors["both_p50"])),
        "over_p99": of_rounds("p99 at half, over the floor's p99", over(p99, floors["both_p99"])),
        "p99_ms": Figure("latency at half, p99", halves.ms(99), "ms", "lower", p99),
        "floor_p50_ms": of_rounds(f"{both}, p50", floors["both_p50"], "ms"),
        "floor_p99_ms": of_rounds(f"{both}, p99", floors["both_p99"], "ms"),
        "rate": Figure(
            "commands/s at most",
            median([each.most for each in taken]),
            "/s",
            "higher",
            [each.most for each in taken],
        ),
        "p50_ms": Figure("latency at half, p50", halves.ms(50), "ms", "lower", p50),
        "p999_ms": Figure("latency at half, p99.9", halves.ms(99.9), "ms", "lower", p999),
        "p50_over_p50": of_rounds(
            "p50 at half, over the floor's p50", over(p50, floors["both_p50"])
        ),
        "commit_p50_ms": of_rounds("the commit alone, p50", floors["commit_p50"], "ms"),
        "commit_p99_ms": of_rounds("the commit alone, p99", floors["commit_p99"], "ms"),
        "loopback_p50_ms": of_rounds("there and back alone, p50", floors["loopback_p50"], "ms"),
        "loopback_p99_ms": of_rounds("there and back alone, p99", floors["loopback_p99"], "ms"),
        "late_p99_ms": of_rounds(
            "generator late at half, p99", [each.late.ms(99) for each in taken], "ms"
        ),
        "server_cpu": at_half("server_cpu", "server CPU"),
        "postgres_cpu": at_half("postgres_cpu", "PostgreSQL CPU"),
        "server_us": at_half("server_us", "server CPU for a command"),
        "postgres_us": at_half("postgres_us", "PostgreSQL CPU for a command"),
        "commits": at_half("commits", "commits/s"),
        "batch_units": at_half("batch_units", "units per commit"),
        "commit_ms": at_half("commit_ms", "mean commit"),
        "errors": Figure("errors", float(errors), "", "lower"),
    }


def _stages(taken: Sequence[_Round]) -> list[Stage]:
    rounds = [{stage.name: stage.ms for stage in stages(each.half)} for each in taken]
    return [
        Stage(name, title, round(mean([ms[name] for ms in rounds]), 4))
        for name, title in STAGE_TITLES.items()
        if all(name in ms for ms in rounds)
    ]


def _joined(taken: Sequence[_Round]) -> tuple[list[Moment], list[Event]]:
    """Put the measured seconds of all parts one after another."""
    moments: list[Moment] = []
    events: list[Event] = []
    for each in taken:
        for part, title in ((each.fast, "at most"), (each.half, "half")):
            events.append(Event(float(len(moments)), title))
            for moment in part.measured:
                at_s = float(len(moments) + 1)
                moments.append(msgspec.structs.replace(moment, at_s=at_s))
    return moments, events


def _notes(taken: Sequence[_Round], machine: Machine) -> list[str]:
    said = []
    for number, each in enumerate(taken, 1):
        said += [
            f"Round {number}, at half: {note}" for note in notes(each.half, machine, open_loop=True)
        ]
    return said


def _all_of(taken: Sequence[_Round], name: str) -> Latencies:
    together = Latencies()
    for each in taken:
        together.include(each.floor[name])
    return together


def _latencies(counts: Iterable[dict[int, int]]) -> Latencies:
    made = Latencies()
    for each in counts:
        made.add(each)
    return made
