"""What a soak found, in figures and sentences."""

from __future__ import annotations

import random
from collections import Counter
from typing import NamedTuple

from bench.harness.result import Event, Figure, Growth
from bench.harness.run import GENERATOR_IS_LIMIT, OTHERS_COUNT, generator_shares, mean
from bench.harness.stretches import Stretches
from bench.harness.vitals import SERVER_MEMORY, TableSize, Vitals
from bench.report.compare import bounds
from bench.report.figures import an_hour, number
from bench.scenarios.common import ERRORS
from bench.scenarios.soak_parts import Part

TENTH = 10
"""The first tenth is held against the last one."""
MOST_TABLES = 8
SECOND_HALF = "server memory, second half"
"""What fills up settles; what leaks grows in the second half as well."""


class Soaked(NamedTuple):
    """All that came of the time.

    Attributes:
        settle_s: what a life of the server is given to fill its caches, before it is asked whether
            anything grows.
        wrong: what the audit found.
        logged_errors: lines of the server's log.
    """

    parts: list[Part]
    stretches: Stretches
    vitals: Vitals
    kills: list[Event]
    before: dict[str, TableSize]
    after: dict[str, TableSize]
    settle_s: float
    wrong: list[str]
    logged_errors: int

    @property
    def errors(self) -> int:
        """How many there were, in the judgement of the loads."""
        return sum(one.errors for told in self.stretches.told for one in told)

    def counts(self) -> Counter[tuple[str, str]]:
        """Return what the parts counted, by part and name."""
        counts: Counter[tuple[str, str]] = Counter()
        for told in self.stretches.told:
            for part, one in zip(self.parts, told, strict=True):
                for name, count in one.counts.items():
                    counts[part.name, name] += count
        return counts

    def grown(self, table: str) -> TableSize:
        """Return by how much a table grew."""
        nothing = TableSize(0, 0)
        before, after = self.before.get(table, nothing), self.after.get(table, nothing)
        return TableSize(after.rows - before.rows, after.bytes - before.bytes)


def figures_of(soaked: Soaked) -> dict[str, Figure]:
    """Return the figures."""
    stretches = soaked.stretches
    moments = [moment for moment in stretches.moments if moment.at_s > 0]
    rate = [moment.operations for moment in moments]
    p50, p99 = [moment.p50_ms for moment in moments], [moment.p99_ms for moment in moments]
    ms = stretches.latencies[0].ms
    minutes = stretches.minutes_p99_ms
    hands = soaked.grown("hands").rows
    server, postgres = [m.server_cpu for m in moments], [m.postgres_cpu for m in moments]
    return {
        "rate": Figure("actions/s", mean(rate), "/s", "higher", rate, timed=True),
        "p50_ms": Figure("latency, p50", ms(50), "ms", "lower", p50, timed=True),
        "p99_ms": Figure("p99", ms(99), "ms", "lower", p99, timed=True),
        "worst_p99_ms": Figure(
            "p99 of the worst minute", max(minutes, default=ms(99)), "ms", "lower", minutes
        ),
        "server_mib": Figure("server memory", moments[-1].server_mib, "MiB", "lower"),
        "errors": Figure("errors", float(soaked.errors), "", "lower"),
        "drift_p50": _drift("p50, last tenth to first", p50),
        "drift_p99": _drift("p99, last tenth to first", p99),
        "server_cpu": Figure("server CPU", mean(server), "cores", "neither", server, timed=True),
        "postgres_cpu": Figure(
            "PostgreSQL CPU", mean(postgres), "cores", "neither", postgres, timed=True
        ),
        **_pauses(soaked),
        **_other_parts(soaked),
        "logged": Figure("errors in the server's log", float(soaked.logged_errors), "", "lower"),
        "kills": Figure("kills", float(len(soaked.kills))),
        "hands": Figure("hands", float(hands)),
        **_rows(soaked, hands),
    }


def growth_of(soaked: Soaked) -> list[Growth]:
    """Say of all that the server holds whether it grows."""
    growth = soaked.vitals.growth(soaked.settle_s)
    later = soaked.vitals.later_growth(SERVER_MEMORY, soaked.settle_s)
    later.title = SECOND_HALF
    return [growth[0], later, *growth[1:]]


def failure_of(soaked: Soaked) -> str:
    """Say why it is no good; empty if it is good."""
    internal = soaked.vitals.counted(lambda name: 'outcome="internal"' in name)
    restarts = soaked.vitals.counted(lambda name: name.startswith("cardroom_restarts_total"))
    reasons = [
        "the audit found: " + "; ".join(soaked.wrong[:3]) if soaked.wrong else "",
        ERRORS if soaked.errors else "",
        f"{internal:.0f} commands failed inside the server" if internal else "",
        f"the supervisor restarted {restarts:.0f} times" if restarts else "",
    ]
    return "; ".join(reason for reason in reasons if reason)


def notes_of(soaked: Soaked, growth: list[Growth]) -> list[str]:
    """Say what a reader has to know."""
    said = [
        f"The {one.title} grows: {an_hour(one)}."
        for one in growth
        if one.title in (SERVER_MEMORY, SECOND_HALF) and one.low is not None and one.low > 0
    ]
    said += [
        f"{part.capitalize()}: {name} {count:,} times."
        for (part, name), count in sorted(soaked.counts().items())
        if name.startswith(("refused", "turned away")) and count
    ]
    for part, share in zip(soaked.parts, generator_shares(soaked.stretches.told), strict=True):
        if share.cpu_share > GENERATOR_IS_LIMIT:
            said.append(f"The generator of {part.name} used {share.cpu_share:.0%} of a core.")
    others = mean([moment.other_cpu for moment in soaked.stretches.moments])
    if others > OTHERS_COUNT:
        said.append(f"Others on the machine used {others:.0%} of a core meanwhile.")
    return said


def _drift(title: str, samples: list[float]) -> Figure:
    """Hold the last tenth against the first."""
    tenth = max(1, len(samples) // TENTH)
    first, last = samples[:tenth], samples[-tenth:]
    low, high = bounds(first, last, random.Random(0))
    if low is not None and high is not None:
        title += f" ({number(low)} to {number(high)})"
    return Figure(title, mean(last) / mean(first) if mean(first) else 0.0, "", "lower")


def _pauses(soaked: Soaked) -> dict[str, Figure]:
    """Say how often Python looked for garbage, for how long everything waited, what was found."""
    vitals, figures = soaked.vitals, {}
    hours = (vitals.taken[-1].at_s - vitals.taken[0].at_s) / 3600 if vitals.taken else 0.0

    def counted(metric: str) -> float:
        return vitals.counted(lambda name: name == metric)

    for generation, title in (("1", "collections of the middle-aged"), ("2", "full collections")):
        label = f'{{generation="{generation}"}}'
        count = counted(f"cardroom_gc_seconds_count{label}")
        longest_s = vitals.highest(f"cardroom_gc_longest_seconds{label}")
        figures[f"gc{generation}"] = Figure(
            f"{title} an hour", count / hours if hours else 0.0, "", "lower"
        )
        figures[f"gc{generation}_found"] = Figure(
            f"{title}: objects freed", counted(f"cardroom_gc_found_total{label}")
        )
        figures[f"gc{generation}_ms"] = Figure(f"{title}: longest", longest_s * 1000, "ms", "lower")
    return figures


def _other_parts(soaked: Soaked) -> dict[str, Figure]:
    figures = {}
    for part, latencies in zip(soaked.parts[1:], soaked.stretches.latencies[1:], strict=True):
        if latencies.count:
            for name, percent in (("p50", 50), ("p99", 99)):
                title = f"{part.operations}, {name}"
                figures[f"{part.name}_{name}_ms"] = Figure(
                    title, latencies.ms(percent), "ms", "lower"
                )
            figures[f"{part.name}_count"] = Figure(part.operations, float(latencies.count))
    for (part_name, name), count in soaked.counts().items():
        if name in ("visits", "conversations"):
            figures[f"{part_name}_{name}"] = Figure(name, float(count))
    return figures


def _rows(soaked: Soaked, hands: int) -> dict[str, Figure]:
    """Say which tables grew most, for each hand that was played."""
    if not hands:
        return {}
    figures = {}
    grown = {table: soaked.grown(table) for table in soaked.after}
    total = sum(size.bytes for size in grown.values())
    figures["hand_kib"] = Figure("on disk for a hand", total / hands / 1024, "KiB", "lower")
    by_size = sorted(grown, key=lambda table: grown[table].bytes, reverse=True)
    for table in by_size[:MOST_TABLES]:
        size = grown[table]
        title = f"rows of {table} for a hand ({number(size.bytes / hands / 1024)} KiB)"
        figures[f"rows_{table}"] = Figure(title, size.rows / hands)
    return figures
