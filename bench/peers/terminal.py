"""A comparison's result as tables in the terminal."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bench.peers.result import LimitStanding, PeersResult, Series, Spread, Standing

Row = tuple[str, Callable[[Standing], str]]

ROWS: tuple[Row, ...] = (
    ("commands/s", lambda each: f"{each.commands_per_s.median:,.0f}"),
    ("… of the rounds", lambda each: span(each.commands_per_s, ",.0f")),
    ("ours to theirs", lambda each: f"{each.ratio.median:.2f}"),
    ("… of the rounds", lambda each: span(each.ratio, ".2f")),
    ("command to last event, p50", lambda each: f"{each.p50_ms:.1f} ms"),
    ("… p99", lambda each: f"{each.p99_ms:.1f} ms"),
    ("server CPU", lambda each: f"{each.server_cpu_share:.0%}"),
    ("… a command", lambda each: f"{each.server_cpu_us_per_command:.0f} µs"),
    ("PostgreSQL CPU", lambda each: f"{each.postgres_cpu_share:.0%}"),
    ("… a command", lambda each: f"{each.postgres_cpu_us_per_command:.0f} µs"),
    ("commands a flush", lambda each: f"{each.commands_per_flush:.1f}"),
    ("bytes of log a command", lambda each: f"{each.wal_bytes_per_command:,.0f}"),
    ("generator CPU", lambda each: f"{each.generator_cpu_share:.0%}"),
    ("… an event", lambda each: f"{each.generator_cpu_us_per_event:.1f} µs"),
    ("others' CPU meanwhile", lambda each: f"{each.others_cpu_share:.0%}"),
)
"""What is said of a contestant, in the terminal and on the page."""

LIMIT_COLUMNS = ("a second", "mean", "ours", "ours of it", "… of the rounds")


def show(result: PeersResult, console: Console) -> None:
    """Print the tables, what a reader has to know, and loudly who is missing."""
    asked = result.options
    for series in result.series:
        console.print(_standings(result, series))
        if series.limits:
            console.print(_limits(series))
    console.print(
        f"{asked['rooms']} rooms of {asked['players']}; {result.machine.cores} cores, "
        f"{result.machine.busy:.0%} busy before it; "
        f"load {result.machine.load:.1f} before, {result.load_after:.1f} after"
    )
    for note in result.notes:
        console.print(f"[yellow]•[/] {escape(note)}", highlight=False)
    for name, reason in {**result.missing, **result.failed}.items():
        console.print(f"[bold red]left out: {name}: {escape(reason)}[/]", highlight=False)


def flush_title(flush_ms: float) -> str:
    """Say how long a flush took."""
    return f"each flush {flush_ms:g} ms longer" if flush_ms else "flushes as fast as the disk's"


def limit_cells(limit: LimitStanding) -> tuple[str, ...]:
    """Write a limit's figures, one for each of `LIMIT_COLUMNS`."""
    return (
        f"{limit.per_s.median:,.0f}",
        f"{limit.mean_ms:.2f} ms",
        f"{limit.ours_per_s.median:,.0f}",
        f"{limit.share.median:.2f}",
        span(limit.share, ".2f"),
    )


def span(figure: Spread, form: str) -> str:
    """Write the lowest and the highest."""
    return f"{figure.lowest:{form}}–{figure.highest:{form}}"


def _standings(result: PeersResult, series: Series) -> Table:
    asked = result.options
    table = Table(
        title=f"{flush_title(series.flush_ms)}; {asked['connections']} connections; "
        f"rounds: {asked['rounds']}, of {asked['seconds']:g} s"
    )
    table.add_column("figure")
    for each in series.standings:
        table.add_column(each.title, justify="right")
    for what, text in ROWS:
        table.add_row(what, *map(text, series.standings))
    return table


def _limits(series: Series) -> Table:
    table = Table(title="limits")
    table.add_column("of")
    for column in LIMIT_COLUMNS:
        table.add_column(column, justify="right")
    for limit in series.limits:
        table.add_row(limit.title, *limit_cells(limit))
    return table
