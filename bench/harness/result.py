"""A run's result as one document: written as JSON, read by the page and by `bench compare`.

`FORMAT` grows when a field's meaning changes or one goes; new fields have defaults. An older result
than that is refused, not guessed at.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from bench.harness.machine import Machine, Software

FORMAT = 1
Better = Literal["higher", "lower", "neither"]


class ResultError(Exception):
    """A file is no result that this version can read."""


class Figure(Struct):
    """One measured figure.

    `samples` are what it is the mean (or the like) of, in the order in which they were measured:
    one a second where `timed`, else one a round. Without samples nothing can be said of its noise.
    """

    title: str
    value: float
    unit: str = ""
    better: Better = "neither"
    samples: list[float] = []
    timed: bool = False


class Moment(Struct):
    """One second of a run, by its end; up to `at_s` 0 it warmed up. CPU in cores, memory in MiB.

    `other_cpu` is what anybody else on the machine used, the harness itself included. `connected`
    are the sockets that are open, those on their way back included.
    """

    at_s: float
    operations: float
    events: float
    errors: int
    p50_ms: float
    p99_ms: float
    max_ms: float
    connected: int
    server_cpu: float
    postgres_cpu: float
    generators_cpu: float
    other_cpu: float
    server_mib: float
    postgres_mib: float


class Event(Struct):
    """Something that happened in between, to be seen in the pictures: a kill, a server ready."""

    at_s: float
    title: str


class Stage(Struct):
    """A part of a command's way through the server, in milliseconds a command."""

    name: str
    title: str
    ms: float


class GeneratorShare(Struct):
    """What one generator process used and what it was given.

    `late_ms` is by how much its latest timer was late: requests of an open loop were sent that much
    after they were due, at worst. Where it received little, an event's cost is None.
    """

    cpu_share: float
    cpu_us_per_event: float | None
    events: int
    late_ms: float


class Latency(Struct):
    """Latencies of one kind: percentiles in milliseconds, all of it as an encoded HdrHistogram."""

    title: str
    count: int
    mean_ms: float
    curve: list[tuple[float, float]]
    histogram: str


class Series(Struct):
    """Something that was looked at now and then over a run: seconds, and lines of a value each."""

    title: str
    unit: str
    at_s: list[float]
    lines: dict[str, list[float]]


class Growth(Struct):
    """What something was at the beginning and at the end, and its trend: by how much an hour.

    The trend lies between `low` and `high` (95 %); all three are None where too little is known.
    """

    title: str
    unit: str
    first: float
    last: float
    per_hour: float | None
    low: float | None
    high: float | None


class Point(Struct):
    """What was measured where one thing had one value; `x` is that value."""

    x: float
    figures: dict[str, Figure]


class Sweep(Struct):
    """The same load over and over, while one thing grows.

    `axis` is what grows, in the plural. `log`: its values are shown by their order of magnitude.
    """

    axis: str
    log: bool
    points: list[Point]


class Result(Struct, kw_only=True):
    """What was measured, and on what."""

    format: int = FORMAT
    scenario: str
    title: str
    about: str
    started_at: str
    options: dict[str, str | int | float | bool]
    machine: Machine
    software: Software
    settings: dict[str, str]
    figures: dict[str, Figure]
    latency: Latency | None = None
    beside: list[Latency] = []
    """Other latencies, to be looked at beside it."""
    sweep: Sweep | None = None
    moments: list[Moment] = []
    events: list[Event] = []
    series: list[Series] = []
    growth: list[Growth] = []
    stages: list[Stage] = []
    generators: list[GeneratorShare] = []
    notes: list[str] = []
    """Sentences that a reader has to know: who was the limit, what else ran."""
    operation: str = "operations"
    """What is counted each second, in the plural."""
    failed: str = ""
    """Why it is no good, if it is not."""


def encode(result: Result) -> bytes:
    """Write a result as JSON, for files and people."""
    return msgspec.json.format(msgspec.json.encode(result)) + b"\n"


def read(path: Path) -> Result:
    """Read a result.

    Raises:
        ResultError: it is none, or of another format.
        OSError: it cannot be read.
    """
    data = path.read_bytes()
    try:
        found = msgspec.json.decode(data, type=dict[str, msgspec.Raw]).get("format")
        if found is not None and int(bytes(found)) != FORMAT:
            raise ResultError(f"{path} is of format {bytes(found).decode()}, this reads {FORMAT}")
        return msgspec.json.decode(data, type=Result)
    except (msgspec.MsgspecError, ValueError) as error:
        raise ResultError(f"{path} is no result of a scenario: {error}") from None
