"""Progress while a scenario runs, and its result as a table."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table

from bench.harness.result import Figure, Moment, Result
from bench.report.figures import an_hour, each, shown
from bench.report.sweep import as_table

_SHOWN_MOMENTS = 8


class Progress:
    """What a scenario does, drawn anew each second; plain lines where that is no terminal."""

    def __init__(self, console: Console, title: str) -> None:
        self._console = console
        self._title = title
        self._phase = ""
        self._moments: list[Moment] = []
        self._live = Live(console=console, transient=True, refresh_per_second=8)

    def __enter__(self) -> Progress:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.stop()

    def phase(self, text: str) -> None:
        """Say what begins now."""
        self._phase = text
        if self._console.is_terminal:
            self._draw()
        else:
            self._console.print(f"{self._title}: {text}")

    def moment(self, moment: Moment) -> None:
        """Show a second."""
        self._moments.append(moment)
        if self._console.is_terminal:
            self._draw()

    def _draw(self) -> None:
        table = Table(title=f"{self._title}", caption_justify="left", box=None, pad_edge=False)
        for column in ("second", "done/s", "p50", "p99", "server", "PostgreSQL", "generators"):
            table.add_column(column, justify="right", min_width=9)
        for one in self._moments[-_SHOWN_MOMENTS:]:
            table.add_row(
                f"{one.at_s:.0f}",
                f"{one.operations:,.0f}",
                f"{one.p50_ms:.1f} ms",
                f"{one.p99_ms:.1f} ms",
                *(f"{cpu:.0%}" for cpu in (one.server_cpu, one.postgres_cpu, one.generators_cpu)),
                style="dim" if one.at_s <= 0 else "",
            )
        grid = Table.grid()
        grid.add_row(Spinner("dots", self._phase))
        grid.add_row(table)
        self._live.update(grid)


def show(console: Console, result: Result) -> None:
    """Print a result's figures, where a command's time went, and what a reader has to know."""
    title = f"{result.scenario}: {result.title}"
    if result.sweep is not None:
        console.print(as_table(result.sweep, title))
    table = Table(title=title)
    table.add_column("what")
    table.add_column("figure", justify="right")
    for figure in result.figures.values():
        table.add_row(figure.title, shown(figure))
    if result.stages:
        table.add_section()
        for stage in result.stages:
            table.add_row(f"of a command: {stage.title}", shown(Figure("", stage.ms, "ms")))
    if result.growth:
        table.add_section()
        for growth in result.growth:
            table.add_row(f"grows: {growth.title}", an_hour(growth))
    if result.generators:
        table.add_section()
        for number, share in enumerate(result.generators):
            table.add_row(
                f"generator {number + 1}",
                each(share),
            )
    console.print(table)
    for note in result.notes:
        console.print(f"[yellow]•[/] {note}", highlight=False)
    if result.failed:
        console.print(f"[red]No good: {result.failed}.[/]")
