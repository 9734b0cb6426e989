"""Sums over the rounds of a comparison, and what its reader has to know."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median

from bench.harness.latencies import Latencies
from bench.harness.machine import Machine
from bench.peers.result import OURS, Limit, LimitStanding, Series, Spread, Standing, Turn

GENERATOR_IS_THE_LIMIT = 0.85
MACHINE_IS_THE_LIMIT = 0.85
OTHERS_MATTER = 0.1


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

    latencies = Latencies()
    for turn in turns:
        latencies.add_encoded(turn.histogram)
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
        others_cpu_share=middle("others_cpu_share"),
        commands_per_flush=middle("commands_per_flush"),
        wal_bytes_per_command=middle("wal_bytes_per_command"),
        curve=latencies.curve(),
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


def series(
    flush_ms: float, titles: dict[str, str], turns: Sequence[Turn], limits: Sequence[Limit]
) -> Series:
    """Sum up what was measured with one flush time.

    Args:
        flush_ms: how much longer than the disk's it was.
        titles: of the contestants, by name, in the order in which they are to stand.
        turns: of all rounds; of whom there are none is left out.
        limits: of all rounds.
    """
    turns_of = {
        name: [turn for turn in turns if turn.contestant == name]
        for name in titles
        if any(turn.contestant == name for turn in turns)
    }
    limits_of = {
        name: [limit for limit in limits if limit.name == name]
        for name in dict.fromkeys(limit.name for limit in limits)
    }
    return Series(
        flush_ms=flush_ms,
        standings=[standing(titles[name], own, turns_of[OURS]) for name, own in turns_of.items()],
        limits=[limit_standing(own) for own in limits_of.values()],
        turns=[turn for own in turns_of.values() for turn in own],
    )


def notes(measured: Sequence[Series], machine: Machine) -> Iterator[str]:
    """Say who was the limit, and whether others had the machine too."""
    others = [turn.others_cpu_share for each in measured for turn in each.turns]
    if others and max(others) > OTHERS_MATTER:
        yield (
            f"Others on the machine used {min(others):.0%} to {max(others):.0%} of a core during "
            "turns: believe ratios and processor time, not rates."
        )
    for each in measured:
        where = f" with a flush {each.flush_ms:g} ms longer" if each.flush_ms else ""
        for one in each.standings:
            used = one.server_cpu_share + one.postgres_cpu_share + one.generator_cpu_share
            if one.generator_cpu_share > GENERATOR_IS_THE_LIMIT:
                yield f"The generator was the limit of {one.title}{where}."
            elif used > MACHINE_IS_THE_LIMIT * machine.cores:
                yield (
                    f"The machine was the limit of {one.title}{where}: server, PostgreSQL and "
                    f"generator used {used:.2f} of {machine.cores} cores."
                )
            elif one.server_cpu_share > GENERATOR_IS_THE_LIMIT:
                yield f"Its own core was the limit of {one.title}{where}."
