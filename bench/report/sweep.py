"""How a sweep is told: a picture for each kind of figure, a table with a column for each value."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from rich.table import Table

from bench.harness.result import Sweep
from bench.report.charts import Line, growing
from bench.report.figures import number, shown

_PICTURES = (
    ("Processor for one of them", ("server_us", "postgres_us")),
    ("Inside the server", ("decide_us", "tell_us")),
    ("Processor while nobody asks", ("server_quiet", "postgres_quiet")),
    ("Latency", ("p50_ms", "p99_ms")),
    ("Commits", ("commit_ms",)),
    ("Memory", ("server_mib", "postgres_mib")),
    ("Log written for one of them", ("log_bytes",)),
    ("Ready after a kill", ("ready_s",)),
    (
        "Reading",
        ("hydrate_ms", "missed_ms", "hands_ms", "oldest_ms", "phh_ms", "ledger_ms", "me_ms"),
    ),
    ("Database", ("database_mib",)),
)
"""What is drawn together: figures of one unit."""


def pictures(sweep: Sweep) -> Iterable[tuple[str, str]]:
    """Draw what was measured over what grew; a title and an SVG each."""
    xs = [point.x for point in sweep.points]
    for title, names in _PICTURES:
        lines, unit = [], ""
        for colour, name in enumerate(names, 1):
            found = [
                (point.x, point.figures[name]) for point in sweep.points if name in point.figures
            ]
            if found:
                unit = found[0][1].unit
                values, at = [figure.value for _, figure in found], [x for x, _ in found]
                lines.append(Line(found[0][1].title, values, colour, at))
        if lines:
            unit = "of a core" if unit == "cores" else unit
            yield title, growing(xs, lines, unit, sweep.axis, log=sweep.log)


def rows(sweep: Sweep) -> list[list[str]]:
    """Return all figures: a row for each, a column for each value; names come first."""
    titles = {
        name: figure.title for point in sweep.points for name, figure in point.figures.items()
    }
    table = [[sweep.axis, *(number(point.x) for point in sweep.points)]]
    for name, title in titles.items():
        found = [point.figures.get(name) for point in sweep.points]
        table.append([title, *("–" if one is None else shown(one) for one in found)])
    return table


def as_html(sweep: Sweep) -> str:
    """Write that table for a page."""
    head, *body = rows(sweep)
    cells = "".join(f"<th>{escape(each)}</th>" for each in head)
    lines = (
        f"<tr><td>{escape(title)}</td>{''.join(f'<td>{escape(each)}</td>' for each in rest)}</tr>"
        for title, *rest in body
    )
    return f"<table><tr>{cells}</tr>{''.join(lines)}</table>"


def as_table(sweep: Sweep, title: str) -> Table:
    """Write that table for a terminal."""
    head, *body = rows(sweep)
    table = Table(title=title)
    table.add_column(head[0])
    for each in head[1:]:
        table.add_column(each, justify="right")
    for row in body:
        table.add_row(*row)
    return table
