"""What a comparison comes to, as one document: every turn, and each contestant's sums beside ours.

Written as JSON, read by the page and by `bench compare`. `FORMAT` grows when a field's meaning
changes or one goes; new fields have defaults.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from bench.harness.machine import Machine, Software
from bench.harness.result import ResultError

FORMAT = 2
"""The first had no number, and one flush time only."""
OURS = "cardroom"


class Turn(Struct, kw_only=True):
    """What a turn came to. Shares are of one core; `others_cpu_share` is what anybody else on the
    machine used meanwhile, the harness itself included.

    `flushes_per_s`: of PostgreSQL's log. `commands_per_flush` and `wal_bytes_per_command`: of its
    own counters, as `turns.py` says. `rates`, `p50s_ms`, `p99s_ms`: of each measured second.
    `histogram`: all latencies, as an encoded HdrHistogram of microseconds.
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
    others_cpu_share: float
    flushes_per_s: float
    commands_per_flush: float
    wal_bytes_per_command: float
    rates: list[float]
    p50s_ms: list[float]
    p99s_ms: list[float]
    histogram: str


class Limit(Struct):
    """What a limit came to in one round: how many a second, and milliseconds for each.

    `ours`: the same figure of ours, in the same round.
    """

    name: str
    title: str
    per_s: float
    mean_ms: float
    ours_per_s: float


class Spread(Struct):
    """A figure over the rounds."""

    median: float
    lowest: float
    highest: float


class Standing(Struct):
    """A contestant over all rounds.

    `ratio`: how many times its commands a second ours were, round by round; what else ran on the
    machine weighs on both turns of a round, though not always in the same measure. `curve`: the
    percentiles of all rounds' latencies together, in milliseconds.
    """

    name: str
    title: str
    commands_per_s: Spread
    ratio: Spread
    p50_ms: float
    p99_ms: float
    server_cpu_share: float
    server_cpu_us_per_command: float
    postgres_cpu_share: float
    postgres_cpu_us_per_command: float
    generator_cpu_share: float
    generator_cpu_us_per_event: float
    others_cpu_share: float
    commands_per_flush: float
    wal_bytes_per_command: float
    curve: list[tuple[float, float]]


class LimitStanding(Struct):
    """A limit over all rounds, and how much of it ours reached, round by round."""

    name: str
    title: str
    per_s: Spread
    mean_ms: float
    ours_per_s: Spread
    share: Spread


class Series(Struct):
    """Everybody's turns with the log's flush taking so many milliseconds longer than the disk's."""

    flush_ms: float
    standings: list[Standing]
    limits: list[LimitStanding]
    turns: list[Turn]


class PeersResult(Struct, kw_only=True):
    """A whole run; `series` are in the order of their flush times.

    `missing` says why a contestant was left out, `failed` what went wrong with one; by their names.
    Loads are of the whole machine. `versions`: of what peers are built from, by contestant.
    """

    kind: Literal["peers"] = "peers"
    format: int = FORMAT
    started_at: str
    options: dict[str, int | float]
    machine: Machine
    software: Software
    load_after: float
    settings: dict[str, str]
    database: dict[str, str]
    versions: dict[str, dict[str, str]]
    series: list[Series]
    missing: dict[str, str] = {}
    failed: dict[str, str] = {}
    notes: list[str] = []
    """Sentences that a reader has to know: who was the limit, what else ran."""


def encode(result: PeersResult) -> bytes:
    """Write a result as JSON, for files and people."""
    return msgspec.json.format(msgspec.json.encode(result)) + b"\n"


def is_peers(data: bytes) -> bool:
    """Whether a file's content looks like a comparison's result rather than a scenario's."""
    try:
        found = msgspec.json.decode(data, type=dict[str, msgspec.Raw])
    except msgspec.MsgspecError:
        return False
    return "turns" in found or bytes(found.get("kind", b"")) == b'"peers"'


def read(path: Path) -> PeersResult:
    """Read a result.

    Raises:
        ResultError: it is none, or of another format.
        OSError: it cannot be read.
    """
    data = path.read_bytes()
    try:
        found = int(
            bytes(msgspec.json.decode(data, type=dict[str, msgspec.Raw]).get("format", b"1"))
        )
        if found != FORMAT:
            raise ResultError(f"{path} is of format {found}, this reads {FORMAT}")
        return msgspec.json.decode(data, type=PeersResult)
    except (msgspec.MsgspecError, ValueError) as error:
        raise ResultError(f"{path} is no result of a comparison: {error}") from None
