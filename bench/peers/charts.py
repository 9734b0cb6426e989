"""Pictures of a comparison as SVG: bars with the range of the rounds, lines over flush times."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from bench.peers.result import Spread
from bench.report.charts import (
    LEFT,
    PLOT_H,
    PLOT_W,
    TOP,
    WIDTH,
    grid,
    legend,
    nice_ticks,
    svg,
    x_label,
)
from bench.report.figures import number

NAMES_W = 190
VALUES_W = 66
ROW_H = 40
BAR_H = 20
_BARS_W = WIDTH - NAMES_W - VALUES_W


class Bar(NamedTuple):
    """A bar; `colour` is one of the page's, by number, or 0 for what is there to compare with."""

    name: str
    figure: Spread
    colour: int


class Part(NamedTuple):
    """A part of stacked bars, with a value for each bar."""

    name: str
    values: Sequence[float]
    colour: int


class Points(NamedTuple):
    """A line with the range of each of its points; `x` rises."""

    name: str
    points: Sequence[tuple[float, Spread]]
    colour: int


def bars(rows: Sequence[Bar], unit: str, *, mark: float | None = None) -> str:
    """Draw a bar for each median, and over it from the lowest to the highest.

    Args:
        rows: from above.
        unit: written behind the values.
        mark: a value to draw a line at.
    """
    highest = max(*(row.figure.highest for row in rows), mark or 0.0, 1e-9)
    parts = []
    for at, row in enumerate(rows):
        top = at * ROW_H + (ROW_H - BAR_H) / 2
        middle = top + BAR_H / 2
        low, median, high = (
            NAMES_W + value / highest * _BARS_W
            for value in (row.figure.lowest, row.figure.median, row.figure.highest)
        )
        colour = f"fill c{row.colour}" if row.colour else "muted"
        parts += [
            _name(row.name, middle),
            f'<rect class="{colour}" x="{NAMES_W}" y="{top:g}" rx="3" '
            f'width="{max(median - NAMES_W, 1):.1f}" height="{BAR_H}">'
            f"<title>{escape(row.name)}: {number(row.figure.median)} {escape(unit)}, "
            f"{number(row.figure.lowest)} to {number(row.figure.highest)}</title></rect>",
            _value(max(median, high) + 8, middle, f"{number(row.figure.median)}{unit}"),
        ]
        if high - low > 1:
            ends = "".join(
                f'<line class="whisker" x1="{x:.1f}" x2="{x:.1f}" y1="{middle - 4:g}" '
                f'y2="{middle + 4:g}"/>'
                for x in (low, high)
            )
            parts.append(
                f'<line class="whisker" x1="{low:.1f}" x2="{high:.1f}" y1="{middle:g}" '
                f'y2="{middle:g}"/>{ends}'
            )
    if mark is not None:
        x = NAMES_W + mark / highest * _BARS_W
        parts.append(
            f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{len(rows) * ROW_H}"/>'
        )
    return svg(parts, len(rows) * ROW_H)


def stacked(names: Sequence[str], layers: Sequence[Part], unit: str) -> str:
    """Draw for each name a bar of parts, and what is what."""
    totals = [sum(layer.values[at] for layer in layers) for at in range(len(names))]
    highest = max(*totals, 1e-9)
    drawn = []
    for at, name in enumerate(names):
        top = at * ROW_H + (ROW_H - BAR_H) / 2
        middle = top + BAR_H / 2
        drawn.append(_name(name, middle))
        x = float(NAMES_W)
        for layer in layers:
            width = layer.values[at] / highest * _BARS_W
            drawn.append(
                f'<rect class="fill c{layer.colour}" x="{x:.1f}" y="{top:g}" '
                f'width="{max(width, 0.5):.1f}" height="{BAR_H}"><title>{escape(name)}, '
                f"{escape(layer.name)}: {number(layer.values[at])} {escape(unit)}</title></rect>"
            )
            x += width
        drawn.append(_value(x + 8, middle, f"{number(totals[at])} {unit}"))
    return svg(drawn, len(names) * ROW_H) + legend((layer.name, layer.colour) for layer in layers)


def over_flush(lines: Sequence[Points], unit: str, *, mark: float | None = None) -> str:
    """Draw medians and ranges over how many milliseconds longer a flush took.

    Args:
        lines: at least one.
        unit: of the values, for whoever points at one.
        mark: a value to draw a line at.
    """
    furthest = max(x for line in lines for x, _ in line.points) or 1.0
    ticks = nice_ticks(max(figure.highest for line in lines for _, figure in line.points))

    def across(ms: float) -> float:
        return LEFT + 14 + ms / furthest * (PLOT_W - 28)

    def up(value: float) -> float:
        return TOP + PLOT_H * (1 - value / ticks[-1])

    drawn = [grid([(up(tick), f"{tick:,.10g}") for tick in ticks], "")]
    drawn += [x_label(across(x), f"+{number(x)} ms") for x, _ in lines[0].points]
    if mark is not None:
        drawn.append(
            f'<line class="mark" x1="{LEFT}" x2="{LEFT + PLOT_W}" '
            f'y1="{up(mark):.1f}" y2="{up(mark):.1f}"/>'
        )
    for line in lines:
        points = " ".join(f"{across(x):.1f},{up(each.median):.1f}" for x, each in line.points)
        drawn.append(f'<polyline class="line c{line.colour}" points="{points}"/>')
        for x, each in line.points:
            drawn.append(
                f'<line class="line c{line.colour}" x1="{across(x):.1f}" x2="{across(x):.1f}" '
                f'y1="{up(each.lowest):.1f}" y2="{up(each.highest):.1f}"/>'
                f'<circle class="dot c{line.colour}" cx="{across(x):.1f}" '
                f'cy="{up(each.median):.1f}" r="4"><title>{escape(line.name)}, {number(x)} ms '
                f"longer: {number(each.median)}{escape(unit)}, {number(each.lowest)} to "
                f"{number(each.highest)}</title></circle>"
            )
    return svg(drawn) + legend((line.name, line.colour) for line in lines)


def _name(text: str, y: float) -> str:
    return (
        f'<text class="name" x="{NAMES_W - 12}" y="{y + 4.5:g}" text-anchor="end">'
        f"{escape(text)}</text>"
    )


def _value(x: float, y: float, text: str) -> str:
    return f'<text class="value" x="{x:.1f}" y="{y + 4.5:g}">{escape(text)}</text>'
