"""How long a message takes from one side of a chat to the other, and how many go in a second.

A message has arrived when its event has been read by the player, or by every socket of staff; it is
on disk by then. At a fixed rate messages are sent when they are due, and times count from then.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import trio
from msgspec import Struct
from rich.console import Console
from rich.table import Table

from bench.chat_generator import SETTINGS, Measured, talking
from bench.chat_load import Phase
from bench.server_process import ServerProcess
from bench.serving import serving

WARM_UP_S = 3.0
STAFF = 6
AT_ONCE = 100
"""How many sessions talk at the same time where it goes as fast as it can."""


class ChatResult(Struct):
    """What was measured: at the rate, as fast as it goes, and so with receipts."""

    sessions: int
    staff: int
    cores: int
    fixed: Measured
    fastest: Measured
    fastest_with_receipts: Measured


async def report(sessions: int, rate: float, seconds: float, out: Path | None) -> int:
    """Measure, print a table, write JSON to `out`; return the exit code."""
    async with serving(SETTINGS) as server:
        result = await measure(server, sessions, rate, seconds)
    if out is not None:
        await trio.Path(out).write_bytes(msgspec.json.format(msgspec.json.encode(result)) + b"\n")
    phases = (result.fixed, result.fastest, result.fastest_with_receipts)
    console = Console()
    console.print(
        table_of(
            f"{sessions} sessions, {STAFF} sockets of staff, {result.cores} cores",
            (f"{rate:g}/s, receipts", "fastest", "fastest, receipts"),
            phases,
        )
    )
    return 1 if any(phase.lost for phase in phases) else 0


async def measure(server: ServerProcess, sessions: int, rate: float, seconds: float) -> ChatResult:
    """Talk on a running server and return the figures."""
    async with talking(server, sessions, STAFF) as generator:
        await generator.phase(at_rate(WARM_UP_S, rate))
        fixed = await generator.phase(at_rate(seconds, rate))
        fastest = await generator.phase(Phase(seconds, 0, AT_ONCE, False, 0))
        with_receipts = await generator.phase(Phase(seconds, 0, AT_ONCE, True, 0))
    return ChatResult(sessions, STAFF, os.cpu_count() or 1, fixed, fastest, with_receipts)


def at_rate(seconds: float, rate: float, absent_rate: float = 0) -> Phase:
    """Make a phase of so many messages a second, with receipts."""
    return Phase(seconds, rate, 0, True, absent_rate)


def table_of(title: str, names: tuple[str, ...], phases: tuple[Measured, ...]) -> Table:
    """Show phases side by side."""
    table = Table("", title=title)
    for name in names:
        table.add_column(name, justify="right")
    for what, figures in (
        ("messages/s", [f"{one.per_s:,.0f}" for one in phases]),
        ("receipts", [f"{one.receipts:,}" for one in phases]),
        ("to the other side, ms: p50 / p90 / p99 / max", [str(one.heard) for one in phases]),
        ("to its ok, ms", [str(one.answered) for one in phases]),
        ("generator late, ms", [str(one.late) for one in phases]),
        ("server CPU", [f"{one.server_cpu_share:.0%} of a core" for one in phases]),
        ("a message", [f"{one.server_cpu_us_per_message:,.0f} µs" for one in phases]),
        ("PostgreSQL CPU", [f"{one.postgres_cpu_share:.0%} of a core" for one in phases]),
        ("a message", [f"{one.postgres_cpu_us_per_message:,.0f} µs" for one in phases]),
        ("generator CPU", [f"{one.generator_cpu_share:.0%} of a core" for one in phases]),
        ("commits/s", [f"{one.commits_per_s:,.0f}" for one in phases]),
        ("units per commit", [f"{one.units_per_commit:.1f}" for one in phases]),
        ("mean commit", [f"{one.mean_commit_s * 1000:.2f} ms" for one in phases]),
        ("lost", [f"{one.lost}" for one in phases]),
        ("refused", [", ".join(f"{c} {n}" for c, n in one.refusals.items()) for one in phases]),
    ):
        table.add_row(what, *figures)
    return table
