"""Two results side by side, and what of it is more than noise.

A figure that was measured once a second (or once a round) comes with its samples. Neighbouring
seconds are alike, so they are drawn again in blocks of neighbours (a moving-block bootstrap); the
middle 95 % of the ratios of means that come of it are where the true ratio lies, as far as these
two runs can tell. A figure has changed when 1 is outside of that and the change is at least 2 %.
The ratio itself is that of the means too, so that of a percentile is of each second's percentile.
Of figures without samples nothing is said but the ratio of their values.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

from rich.console import Console
from rich.table import Table

from bench.harness.machine import Machine, Software
from bench.harness.result import Better, Figure, Result
from bench.harness.trends import drawn
from bench.report.figures import shown

DRAWS = 2_000
CONFIDENCE = 0.95
WORTH_SAYING = 0.02
FEWEST_SAMPLES = 6
NEIGHBOURS_MATTER = 0.2
Verdict = Literal["better", "worse", "changed", "the same", ""]
Difference = tuple[str, object, object]
"""What may differ, and what it is in either run."""


class Change(NamedTuple):
    """A figure in both runs. `low` and `high` bound the ratio of B to A, None if nothing does."""

    title: str
    before: Figure
    after: Figure
    ratio: float | None
    low: float | None
    high: float | None
    verdict: Verdict


def compare(before: Result, after: Result) -> list[Change]:
    """Compare the figures that both results have, in the order of the first."""
    rng = random.Random(0)
    return [
        _change(figure, after.figures[name], rng)
        for name, figure in before.figures.items()
        if name in after.figures
    ]


def differences(before: Result, after: Result) -> list[str]:
    """Say what else differs between two runs and may be why their figures do."""
    said = differing(
        [
            ("scenario", before.scenario, after.scenario),
            *ran_on((before.machine, before.software), (after.machine, after.software)),
            *named("option", before.options, after.options),
            *named("setting", before.settings, after.settings),
        ]
    )
    others = [_others(result) for result in (before, after)]
    if max(others) > 0.1:
        said.append(f"others on the machine: {others[0]:.0%} → {others[1]:.0%} of a core")
    if abs(others[0] - others[1]) > NEIGHBOURS_MATTER:
        said.append("The machine had other things to do: what changed may be no more than that.")
    return said


def ran_on(before: tuple[Machine, Software], after: tuple[Machine, Software]) -> list[Difference]:
    """Pair what two runs ran on."""
    (machine, software), (other_machine, other_software) = before, after
    return [
        ("commit", software.commit, other_software.commit),
        ("processor", machine.cpu, other_machine.cpu),
        ("cores", machine.cores, other_machine.cores),
        ("Python", software.python, other_software.python),
        ("PostgreSQL", software.postgres, other_software.postgres),
        *named("library", software.libraries, other_software.libraries),
    ]


def named(what: str, one: Mapping[str, object], other: Mapping[str, object]) -> list[Difference]:
    """Pair what has the same name in both; `what` says what kind of thing it is."""
    return [
        (f"{what} {name}", one.get(name, "-"), other.get(name, "-"))
        for name in sorted({*one, *other})
    ]


def differing(pairs: Iterable[Difference]) -> list[str]:
    """Say of which pairs the two are not the same."""
    return [f"{what}: {a} → {b}" for what, a, b in pairs if a != b]


def show(console: Console, names: tuple[str, str], before: Result, after: Result) -> None:
    """Print two results side by side."""
    console.print(table(f"{before.scenario}: {before.title}", names, compare(before, after)))
    for sentence in differences(before, after):
        console.print(f"[yellow]•[/] {sentence}", highlight=False)


def table(title: str, names: tuple[str, str], changes: Iterable[Change]) -> Table:
    """Make the table of what changed between two runs of these names."""
    made = Table(title=title)
    made.add_column("what")
    for name in names:
        made.add_column(name, justify="right", overflow="fold")
    made.add_column("B / A", justify="right")
    made.add_column("95 %", justify="right")
    made.add_column("")
    colours = {"better": "green", "worse": "red", "changed": "yellow"}
    for change in changes:
        known = change.low is not None and change.high is not None
        made.add_row(
            change.title,
            shown(change.before),
            shown(change.after),
            "" if change.ratio is None else f"{change.ratio:.2f}",
            f"{change.low:.2f} to {change.high:.2f}" if known else "",
            change.verdict,
            style=colours.get(change.verdict, ""),
        )
    return made


def _change(before: Figure, after: Figure, rng: random.Random) -> Change:
    ratio = after.value / before.value if before.value else None
    low, high = bounds(before.samples, after.samples, rng)
    if low is not None:
        ratio = _mean(after.samples) / _mean(before.samples)
    said = verdict(before.better, ratio, low, high)
    return Change(before.title, before, after, ratio, low, high, said)


def verdict(better: Better, ratio: float | None, low: float | None, high: float | None) -> Verdict:
    """Say whether a figure changed, by its ratio and what bounds that."""
    if ratio is None or low is None or high is None:
        return ""
    if low <= 1 <= high or abs(ratio - 1) < WORTH_SAYING:
        return "the same"
    if better == "neither":
        return "changed"
    return "better" if (ratio > 1) == (better == "higher") else "worse"


def bounds(
    before: list[float], after: list[float], rng: random.Random
) -> tuple[float, float] | tuple[None, None]:
    """Bound the ratio of the means of two runs' samples; None where there are too few."""
    if min(len(before), len(after)) < FEWEST_SAMPLES or not sum(before):
        return None, None
    ratios = []
    for _ in range(DRAWS):
        base = drawn_mean(before, rng)
        if base:
            ratios.append(drawn_mean(after, rng) / base)
    return middle(ratios)


def middle(ratios: list[float]) -> tuple[float, float]:
    """Bound the middle 95 % of the ratios that were drawn; at least one."""
    ratios = sorted(ratios)
    tail = (1 - CONFIDENCE) / 2
    return ratios[int(len(ratios) * tail)], ratios[int(len(ratios) * (1 - tail))]


def drawn_mean(samples: Sequence[float], rng: random.Random) -> float:
    """Draw as many samples again, in runs of neighbours, and return their mean."""
    return _mean(drawn(samples, rng))


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _others(result: Result) -> float:
    measured = [moment.other_cpu for moment in result.moments if moment.at_s > 0]
    return sum(measured) / len(measured) if measured else 0.0
