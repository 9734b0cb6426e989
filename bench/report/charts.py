"""Pictures as SVG, coloured by the page's style sheet, so that they follow light and dark.

Drawn by hand: a page of such pictures weighs kilobytes, knows the reader's colours and says a
second's figures where one points at it, and needs no plotting library.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from html import escape
from typing import NamedTuple

from bench.harness.result import Event, Stage
from bench.report.figures import number

WIDTH, HEIGHT = 640, 250
LEFT, RIGHT, TOP, BOTTOM = 58, 12, 14, 30
PLOT_W, PLOT_H = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
_TICKS = 4
MINUTES_FROM_S = 300
_INSET = 26
"""How far the first and the last value of what grows stand from the picture's edges."""


class Line(NamedTuple):
    """A line of a picture; `colour` is one of the page's, by number.

    `xs` says where its values are, if not everywhere.
    """

    name: str
    values: Sequence[float]
    colour: int
    xs: Sequence[float] = ()


def over_time(
    xs: Sequence[float],
    lines: Sequence[Line],
    unit: str,
    *,
    events: Sequence[Event] = (),
    area: bool = False,
) -> str:
    """Draw lines over seconds; what is before 0 is shaded as warm-up.

    Args:
        xs: the seconds.
        lines: at least one, each with a value a second.
        unit: of the values.
        events: marked by a line down the picture.
        area: fill what is below the first line.
    """
    if not xs:
        return ""
    first, last = min(xs[0], *(e.at_s for e in events), 0) if events else xs[0], xs[-1]
    span = max(last - first, 1e-9)
    ticks = nice_ticks(max((max(line.values) for line in lines), default=0.0))
    highest = ticks[-1]

    def x(at_s: float) -> float:
        return LEFT + (at_s - first) / span * PLOT_W

    def y(value: float) -> float:
        return TOP + PLOT_H * (1 - value / highest)

    parts = [grid([(y(tick), f"{tick:,.10g}") for tick in ticks], unit)]
    parts += [x_label(x(tick), _moment(tick, last)) for tick in _seconds(first, last)]
    if first < 0:
        end = min(x(0), LEFT + PLOT_W)
        parts.append(
            f'<rect class="warm" x="{LEFT}" y="{TOP}" width="{end - LEFT:.1f}" height="{PLOT_H}"/>'
        )
    for line in lines:
        points = " ".join(
            f"{x(at):.1f},{y(value):.1f}" for at, value in zip(xs, line.values, strict=True)
        )
        if area and line is lines[0]:
            base = f"{TOP + PLOT_H:.1f}"
            parts.append(
                f'<polygon class="area c{line.colour}" '
                f'points="{x(xs[0]):.1f},{base} {points} {x(xs[-1]):.1f},{base}"/>'
            )
        parts.append(f'<polyline class="line c{line.colour}" points="{points}"/>')
    for event in events:
        at = x(event.at_s)
        parts.append(
            f'<line class="event" x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{TOP + PLOT_H}"/>'
            f'<text class="event" x="{at + 4:.1f}" y="{TOP + 10}">{escape(event.title)}</text>'
        )
    parts.append(_pointers(xs, lines, unit, x))
    return svg(parts) + (
        legend((line.name, line.colour) for line in lines) if len(lines) > 1 else ""
    )


class Curve(NamedTuple):
    """Percentiles with their milliseconds; `colour` is one of the page's, by number."""

    name: str
    points: Sequence[tuple[float, float]]
    colour: int


def growing(xs: Sequence[float], lines: Sequence[Line], unit: str, axis: str, *, log: bool) -> str:
    """Draw lines over what grows, with a dot where there was a measurement.

    Args:
        xs: its values.
        lines: each with as many values, or with `xs` of its own.
        unit: of the lines' values.
        axis: what grows, in the plural.
        log: show orders of magnitude, not values; 0 stands a step before the first that is more.
    """
    ticks = nice_ticks(max((value for line in lines for value in line.values), default=0.0))
    least = min((x for x in xs if x > 0), default=1.0)
    at = {x: (math.log10(x) if x > 0 else math.log10(least) - 1) if log else x for x in xs}
    low, span = min(at.values()), max(at.values()) - min(at.values()) or 1.0
    place = {x: LEFT + _INSET + (at[x] - low) / span * (PLOT_W - 2 * _INSET) for x in xs}

    def y(value: float) -> float:
        return TOP + PLOT_H * (1 - value / ticks[-1])

    parts = [grid([(y(tick), f"{tick:,.10g}") for tick in ticks], unit)]
    free = 0.0
    for x in xs:
        # Where values stand too close to each other, only the first is written.
        if place[x] >= free:
            parts.append(x_label(place[x], number(x)))
            free = place[x] + 2 * _INSET
    for line in lines:
        dots = list(zip(line.xs or xs, line.values, strict=True))
        points = " ".join(f"{place[x]:.1f},{y(value):.1f}" for x, value in dots)
        parts.append(f'<polyline class="line c{line.colour}" points="{points}"/>')
        parts += [
            f'<circle class="dot c{line.colour}" cx="{place[x]:.1f}" cy="{y(value):.1f}" r="3.5">'
            f"<title>{number(x)} {escape(axis)}\n{escape(line.name)}: {number(value)} {unit}"
            "</title></circle>"
            for x, value in dots
        ]
    return svg(parts) + (
        legend((line.name, line.colour) for line in lines) if len(lines) > 1 else ""
    )


def percentiles(curves: Sequence[Curve]) -> str:
    """Draw milliseconds over percentiles, each further nine as wide as the one before.

    A curve that is alone is filled and has no legend.
    """
    known = [
        Curve(name, [(percent, ms) for percent, ms in points if percent < 100], colour)
        for name, points, colour in curves
    ]
    known = [curve for curve in known if curve.points]
    if not known:
        return ""
    furthest = max(1.0, *(_nines(percent) for curve in known for percent, _ in curve.points))
    ticks = nice_ticks(max(ms for curve in known for _, ms in curve.points))

    def x(percent: float) -> float:
        return LEFT + _nines(percent) / furthest * PLOT_W

    def y(ms: float) -> float:
        return TOP + PLOT_H * (1 - ms / ticks[-1])

    parts = [grid([(y(tick), f"{tick:,.10g}") for tick in ticks], "ms")]
    for percent in (0.0, 50.0, 90.0, 99.0, 99.9, 99.99, 99.999):
        if _nines(percent) <= furthest + 1e-9:
            parts.append(x_label(x(percent), f"{percent:g}%"))
    base = TOP + PLOT_H
    for name, curve, colour in known:
        points = " ".join(f"{x(percent):.1f},{y(ms):.1f}" for percent, ms in curve)
        if len(known) == 1:
            parts.append(
                f'<polygon class="area c{colour}" '
                f'points="{LEFT},{base} {points} {x(curve[-1][0]):.1f},{base}"/>'
            )
        parts.append(f'<polyline class="line c{colour}" points="{points}"/>')
        said = f"{escape(name)}: " if len(known) > 1 else ""
        for percent, ms in curve:
            parts.append(
                f'<circle class="dot c{colour}" cx="{x(percent):.1f}" cy="{y(ms):.1f}" r="3">'
                f"<title>{said}{percent:g}% within {number(ms)} ms</title></circle>"
            )
    return svg(parts) + (
        legend((name, colour) for name, _, colour in known) if len(known) > 1 else ""
    )


def stage_bar(stages: Sequence[Stage]) -> str:
    """Draw where a command's time goes: a bar, and what is what."""
    total = sum(stage.ms for stage in stages)
    if not total:
        return ""
    bars, rows, at = [], [], 0.0
    for colour, stage in enumerate(stages, 1):
        width = stage.ms / total * WIDTH
        bars.append(
            f'<rect class="fill c{colour}" x="{at:.1f}" y="0" width="{max(width, 0.5):.1f}" '
            f'height="44"><title>{escape(stage.title)}: {number(stage.ms)} ms</title></rect>'
        )
        at += width
        rows.append(
            f'<tr><td><i class="key c{colour}"></i>{escape(stage.title)}</td>'
            f"<td>{number(stage.ms)} ms</td><td>{stage.ms / total:.0%}</td></tr>"
        )
    rows.append(f"<tr><th>together</th><th>{number(total)} ms</th><th></th></tr>")
    return (
        f'<svg class="bar" viewBox="0 0 {WIDTH} 44" preserveAspectRatio="none" role="img">'
        f"{''.join(bars)}</svg><table>{''.join(rows)}</table>"
    )


def nice_ticks(highest: float) -> list[float]:
    """Choose round numbers from 0 to at least `highest`, a handful of them."""
    if highest <= 0:
        return [0.0, 1.0]
    raw = highest / _TICKS
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * by for by in (1, 2, 2.5, 5, 10) if power * by >= raw * (1 - 1e-9))
    count = math.ceil(highest / step * (1 - 1e-9))
    return [step * n for n in range(count + 1)]


def _seconds(first: float, last: float) -> list[float]:
    step = next(
        (by for by in (1, 2, 5, 10, 20, 60, 120, 300, 600, 1800) if (last - first) / by <= 10), 3600
    )
    return [at * step for at in range(math.ceil(first / step), math.floor(last / step) + 1)]


def _moment(at_s: float, last: float) -> str:
    """Write a moment, in minutes where the run has many."""
    return f"{number(at_s)} s" if last < MINUTES_FROM_S else f"{number(at_s / 60)} min"


def _nines(percent: float) -> float:
    return -math.log10(1 - percent / 100) if percent else 0.0


def grid(ticks: Sequence[tuple[float, str]], unit: str) -> str:
    """Draw lines across a picture, each at its height and with its text."""
    lines = [
        f'<line class="grid" x1="{LEFT}" x2="{LEFT + PLOT_W}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text class="tick" x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{text}</text>'
        for y, text in ticks
    ]
    lines.append(
        f'<text class="unit" x="{LEFT + 5}" y="{TOP + 11}">{escape(unit)}</text>' if unit else ""
    )
    return "".join(lines)


def x_label(x: float, text: str) -> str:
    """Write below a picture."""
    return f'<text class="tick" x="{x:.1f}" y="{HEIGHT - 9}" text-anchor="middle">{text}</text>'


def _pointers(
    xs: Sequence[float], lines: Sequence[Line], unit: str, x: Callable[[float], float]
) -> str:
    """Lay a field over each second that says its figures."""
    width = PLOT_W / max(1, len(xs) - 1)
    fields = []
    for index, at in enumerate(xs):
        said = "\n".join(f"{line.name}: {number(line.values[index])} {unit}" for line in lines)
        fields.append(
            f'<rect class="point" x="{x(at) - width / 2:.1f}" y="{TOP}" width="{width:.1f}" '
            f'height="{PLOT_H}"><title>second {number(at)}\n{escape(said)}</title></rect>'
        )
    return "".join(fields)


def legend(keys: Iterable[tuple[str, int]]) -> str:
    """Say which colour is what: names with their colours."""
    said = (f'<span><i class="key c{colour}"></i>{escape(name)}</span>' for name, colour in keys)
    return f'<p class="legend">{"".join(said)}</p>'


def svg(parts: Sequence[str], height: float = HEIGHT) -> str:
    """Put a picture together."""
    return f'<svg viewBox="0 0 {WIDTH} {height:g}" role="img">{"".join(parts)}</svg>'
