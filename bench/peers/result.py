"""What a comparison comes to: every turn, and for each contestant its medians beside ours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median

from msgspec import Struct
from rich.console import Console
from rich.table import Table

from bench.harness.machine import Machine, Software
from bench.peers.limits import Limit
from bench.peers.turns import Turn


class Spread(Struct):
    """A figure over the rounds."""

    median: float
    lowest: float
    highest: float


class Standing(Struct):
    """A contestant over all rounds.

    `ratio`: how many times its commands a second ours were, round by round; what else ran on the
    machine weighs on both turns of a round, though not always in the same measure.
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
    commands_per_flush: float


class LimitStanding(Struct):
    """A limit over all rounds, and how much of it ours reached, round by round."""

    name: str
    title: str
    per_s: Spread
    mean_ms: float
    ours_per_s: Spread
    share: Spread


class PeersResult(Struct):
    """A whole run. `missing` says why a contestant was left out; loads are of the whole machine."""

    rooms: int
    players: int
    seconds: float
    rounds: int
    connections: int
    flush_ms: float
    machine: Machine
    software: Software
    load_after: float
    standings: list[Standing]
    limits: list[LimitStanding]
    turns: list[Turn]
    missing: dict[str, str]


def spread(figures: Sequence[float]) -> Spread:
    """Return the median and the extremes."""
    return Spread(median(figures), min(figures), max(figures))


def standing(title: str, turns: Sequence[Turn], ours: Sequence[Turn]) -> Standing:
    """Sum one contestant's turns up.

    Args:
        title: its name for people.
        turns: one of each round.
        ours: Cardroom's turns in the same rounds, in the same order.
    """

    def middle(figure: str) -> float:
        figures: list[float] = [getattr(turn, figure) for turn in turns]
        return round(median(figures), 3)

    return Standing(
        name=turns[0].contestant,
        title=title,
        commands_per_s=spread([turn.commands_per_s for turn in turns]),
        ratio=spread(
            [
                round(own.commands_per_s / turn.commands_per_s, 3)
                for own, turn in zip(ours, turns, strict=True)
            ]
        ),
        p50_ms=middle("p50_ms"),
        p99_ms=middle("p99_ms"),
        server_cpu_share=middle("server_cpu_share"),
        server_cpu_us_per_command=middle("server_cpu_us_per_command"),
        postgres_cpu_share=middle("postgres_cpu_share"),
        postgres_cpu_us_per_command=middle("postgres_cpu_us_per_command"),
        generator_cpu_share=middle("generator_cpu_share"),
        generator_cpu_us_per_event=middle("generator_cpu_us_per_event"),
        commands_per_flush=round(
            median(turn.commands_per_s / max(turn.flushes_per_s, 1.0) for turn in turns), 2
        ),
    )


def limit_standing(limits: Sequence[Limit]) -> LimitStanding:
    """Sum one limit's rounds up."""
    return LimitStanding(
        name=limits[0].name,
        title=limits[0].title,
        per_s=spread([limit.per_s for limit in limits]),
        mean_ms=round(median(limit.mean_ms for limit in limits), 3),
        ours_per_s=spread([limit.ours_per_s for limit in limits]),
        share=spread([round(limit.ours_per_s / limit.per_s, 3) for limit in limits]),
    )


def show(result: PeersResult, console: Console) -> None:
    """Print the tables, and loudly who is missing."""
    flush = f", a flush {result.flush_ms:g} ms slower" if result.flush_ms else ""
    table = Table(
        title=f"{result.rooms} rooms of {result.players}, {result.connections} connections{flush}; "
        f"{result.rounds} rounds of {result.seconds:g} s"
    )
    table.add_column("figure")
    for each in result.standings:
        table.add_column(each.title, justify="right")
    rows: dict[str, Callable[[Standing], str]] = {
        "commands/s": lambda each: f"{each.commands_per_s.median:,.0f}",
        "… of the rounds": lambda each: _range(each.commands_per_s, ",.0f"),
        "ours to theirs": lambda each: f"{each.ratio.median:.2f}",
        "… of the rounds ": lambda each: _range(each.ratio, ".2f"),
        "command to last event, p50": lambda each: f"{each.p50_ms:.1f} ms",
        "… p99": lambda each: f"{each.p99_ms:.1f} ms",
        "server CPU": lambda each: f"{each.server_cpu_share:.0%}",
        "… a command": lambda each: f"{each.server_cpu_us_per_command:.0f} µs",
        "PostgreSQL CPU": lambda each: f"{each.postgres_cpu_share:.0%}",
        "… a command ": lambda each: f"{each.postgres_cpu_us_per_command:.0f} µs",
        "commands a flush": lambda each: f"{each.commands_per_flush:.1f}",
        "generator CPU": lambda each: f"{each.generator_cpu_share:.0%}",
        "… an event": lambda each: f"{each.generator_cpu_us_per_event:.1f} µs",
    }
    for what, text in rows.items():
        table.add_row(what, *map(text, result.standings))
    console.print(table)
    limits = Table(title="limits")
    limits.add_column("of")
    for column in ("a second", "mean", "ours", "ours of it", "… of the rounds"):
        limits.add_column(column, justify="right")
    for limit in result.limits:
        limits.add_row(
            limit.title,
            f"{limit.per_s.median:,.0f}",
            f"{limit.mean_ms:.2f} ms",
            f"{limit.ours_per_s.median:,.0f}",
            f"{limit.share.median:.2f}",
            _range(limit.share, ".2f"),
        )
    console.print(limits)
    console.print(
        f"{result.machine.cores} cores, {result.machine.busy:.0%} busy before it; "
        f"load {result.machine.load:.1f} before, {result.load_after:.1f} after"
    )
    for name, reason in result.missing.items():
        console.print(f"[bold red]left out: {name}: {reason}[/]")


def _range(figure: Spread, form: str) -> str:
    return f"{figure.lowest:{form}}–{figure.highest:{form}}"
