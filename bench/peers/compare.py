"""Two comparisons side by side: what changed between them by more than noise, ratios first.

A comparison's noise has two parts: seconds of a turn differ, and turns of different rounds differ
more. So rounds are drawn again, and of each round that is drawn its seconds in blocks of
neighbours (as `bench.report.compare` draws them). One round fewer than there are, since drawing
all of so few would make them look more alike than they are (Rao and Wu, 1988). Of a ratio ours
and theirs are of the same round, since what else ran weighs on both. Below three rounds nothing is
said.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from rich.console import Console

from bench.harness.result import Better, Figure
from bench.peers.result import OURS, PeersResult, Series, Turn
from bench.peers.terminal import flush_title
from bench.report.compare import (
    DRAWS,
    Change,
    differing,
    drawn_mean,
    middle,
    named,
    ran_on,
    table,
    verdict,
)

FEWEST_ROUNDS = 3


class _Measure(NamedTuple):
    """A figure of a contestant; `samples` are those of a turn."""

    title: str
    unit: str
    better: Better
    samples: Callable[[Turn], Sequence[float]]


_RATE = _Measure("commands/s", "/s", "higher", lambda turn: turn.rates)
_MEASURES = (
    _RATE,
    _Measure("p50", "ms", "lower", lambda turn: turn.p50s_ms),
    _Measure("p99", "ms", "lower", lambda turn: turn.p99s_ms),
    _Measure("server CPU a command", "µs", "lower", lambda t: [t.server_cpu_us_per_command]),
    _Measure("PostgreSQL CPU a command", "µs", "lower", lambda t: [t.postgres_cpu_us_per_command]),
    _Measure("commands a flush", "", "neither", lambda turn: [turn.commands_per_flush]),
)


class _Rounds(NamedTuple):
    """A figure's samples by rounds, and those that it is divided by, if it is a ratio."""

    above: list[Sequence[float]]
    below: list[Sequence[float]] | None = None

    def value(self) -> float:
        """Return the mean over the rounds."""
        return self._divided(range(len(self.above)), _mean)

    def drawn(self, rng: random.Random) -> float:
        """Draw rounds, and seconds of them, again; return their mean."""
        count = len(self.above)
        picked = [rng.randrange(count) for _ in range(count - 1)]
        return self._divided(picked, lambda samples: drawn_mean(samples, rng))

    def _divided(self, picked: Sequence[int], mean: Callable[[Sequence[float]], float]) -> float:
        above = sum(mean(self.above[at]) for at in picked) / len(picked)
        if self.below is None:
            return above
        below = sum(mean(self.below[at]) for at in picked) / len(picked)
        return above / below if below else 0.0


def compare(before: Series, after: Series) -> list[Change]:
    """Compare everybody who is in both, with the same flush time: ratios, then all else."""
    rng = random.Random(0)
    turns, other_turns = _by_name(before), _by_name(after)
    names = [one.name for one in before.standings if one.name in other_turns]
    titles = {one.name: one.title for one in before.standings}
    found = [
        _change(
            Figure(f"ours to theirs: {titles[name]}", 0.0, "", "higher"),
            _ratio(turns, name),
            _ratio(other_turns, name),
            rng,
        )
        for name in names
        if name != OURS
    ]
    for name in names:
        for measure in _MEASURES:
            # Whether a peer does better is not for us to be glad about, or sorry.
            better = measure.better if name == OURS else "neither"
            found.append(
                _change(
                    Figure(f"{titles[name]}: {measure.title}", 0.0, measure.unit, better),
                    _Rounds([measure.samples(turn) for turn in turns[name]]),
                    _Rounds([measure.samples(turn) for turn in other_turns[name]]),
                    rng,
                )
            )
    return found


def differences(before: PeersResult, after: PeersResult) -> list[str]:
    """Say what else differs between two runs and may be why their figures do."""
    said = differing(
        [
            *ran_on((before.machine, before.software), (after.machine, after.software)),
            *named("option", before.options, after.options),
            *named("setting", before.settings, after.settings),
            *named("PostgreSQL's", before.database, after.database),
            *named("built from", _versions(before), _versions(after)),
        ]
    )
    busy = before.machine.busy, after.machine.busy
    if max(busy) > 0.1:
        said.append(f"others on the machine before: {busy[0]:.0%} → {busy[1]:.0%} of it")
    return said


def show(console: Console, names: tuple[str, str], before: PeersResult, after: PeersResult) -> None:
    """Print two results side by side, a table for each flush time that is in both."""
    others = {series.flush_ms: series for series in after.series}
    for series in before.series:
        if series.flush_ms in others:
            changes = compare(series, others[series.flush_ms])
            console.print(table(f"peers: {flush_title(series.flush_ms)}", names, changes))
    for sentence in _not_compared(before, after):
        console.print(f"[yellow]•[/] {sentence}", highlight=False)
    for sentence in differences(before, after):
        console.print(f"[yellow]•[/] {sentence}", highlight=False)


def _not_compared(before: PeersResult, after: PeersResult) -> Iterator[str]:
    flushes = [{series.flush_ms for series in result.series} for result in (before, after)]
    if alone := sorted(flushes[0] ^ flushes[1]):
        yield f"in one of them only: {', '.join(flush_title(each) for each in alone)}"
    rounds = [result.options.get("rounds", 0) for result in (before, after)]
    if min(rounds) < FEWEST_ROUNDS:
        yield f"What is noise is not known below {FEWEST_ROUNDS} rounds."


def _change(figure: Figure, before: _Rounds, after: _Rounds, rng: random.Random) -> Change:
    base, value = before.value(), after.value()
    ratio = value / base if base else None
    low = high = None
    if min(len(before.above), len(after.above)) >= FEWEST_ROUNDS and ratio is not None:
        drawn = [(before.drawn(rng), after.drawn(rng)) for _ in range(DRAWS)]
        low, high = middle([top / bottom for bottom, top in drawn if bottom] or [1.0])
    first = Figure(figure.title, base, figure.unit, figure.better)
    second = Figure(figure.title, value, figure.unit, figure.better)
    said = verdict(figure.better, ratio, low, high)
    return Change(figure.title, first, second, ratio, low, high, said)


def _ratio(turns: dict[str, list[Turn]], name: str) -> _Rounds:
    return _Rounds(
        [_RATE.samples(turn) for turn in turns[OURS]],
        [_RATE.samples(turn) for turn in turns[name]],
    )


def _by_name(series: Series) -> dict[str, list[Turn]]:
    found: dict[str, list[Turn]] = {}
    for turn in sorted(series.turns, key=lambda turn: turn.round):
        found.setdefault(turn.contestant, []).append(turn)
    return found


def _versions(result: PeersResult) -> dict[str, object]:
    return {
        f"{name}: {what}": version
        for name, each in result.versions.items()
        for what, version in each.items()
    }


def _mean(samples: Sequence[float]) -> float:
    return sum(samples) / len(samples)
