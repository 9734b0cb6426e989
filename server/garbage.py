"""How often Python looks for unreachable cycles, and what that costs.

Reference counts free nearly all that this server drops; what is left for the collector is a cycle
now and then (a traceback, a task that was cancelled, an HTTP connection). Its full collections go
over every object that lives, a thousand or so a room, and find next to nothing, while every table
waits. With Python's own thresholds that comes about once a second under load; with these the young
objects are looked through once in thousands of commands, and all of them practically never.

So what dies old and in a cycle would stay for as long as the process lives. Sockets and actors
break their own; for what libraries leave there is a full collection an hour. docs/performance.md
has the figures, and `/metrics` has a running server's.
"""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter

import trio
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.registry import Collector

YOUNG, MIDDLE, OLD = 10_000, 20, 100
"""New objects until the young ones are looked through; how many such looks until the middle ones
are, and of these until all are."""
FULL_EVERY_S = 3600.0
_GENERATIONS = ("0", "1", "2")


def collect_rarely() -> None:
    """Have the process look for cycles rarely."""
    gc.set_threshold(YOUNG, MIDDLE, OLD)


@contextmanager
def left_alone() -> Iterator[None]:
    """Look for no cycles within the block, which makes a great many objects that stay.

    What lives at its end is never looked at again, unless the block was left by an error.
    """
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        gc.enable()


async def collect_now_and_then() -> None:
    """Look through everything once an hour, until cancelled: a pause of half a millisecond for each
    room that lives."""
    while True:
        await trio.sleep(FULL_EVERY_S)
        gc.collect()


class Collections(Collector):
    """What looking for cycles has cost since `watched` began, by generation; 2 is a full one.

    Everything in the process waits meanwhile, so a collection's time is a pause.

    Args:
        clock: seconds.
    """

    def __init__(self, clock: Callable[[], float] = perf_counter) -> None:
        self._clock = clock
        self._began = 0.0
        self._counts = [0, 0, 0]
        self._sums_s = [0.0, 0.0, 0.0]
        self._longest_s = [0.0, 0.0, 0.0]
        self._found = [0, 0, 0]

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Count the collections of this process, all of its threads', meanwhile."""
        gc.callbacks.append(self._note)
        try:
            yield
        finally:
            gc.callbacks.remove(self._note)

    def collect(self) -> Iterator[Metric]:
        """Give all generations."""
        pauses = SummaryMetricFamily(
            "cardroom_gc_seconds",
            "Pauses in which Python looked for unreachable cycles, by generation; 2 is a full one.",
            labels=("generation",),
        )
        longest = GaugeMetricFamily(
            "cardroom_gc_longest_seconds", "The longest of them.", labels=("generation",)
        )
        found = CounterMetricFamily(
            "cardroom_gc_found",
            "Objects that were found to be unreachable, and freed.",
            labels=("generation",),
        )
        for generation, label in enumerate(_GENERATIONS):
            pauses.add_metric(
                (label,), count_value=self._counts[generation], sum_value=self._sums_s[generation]
            )
            longest.add_metric((label,), self._longest_s[generation])
            found.add_metric((label,), self._found[generation])
        yield pauses
        yield longest
        yield found

    def _note(self, phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            self._began = self._clock()
            return
        seconds = self._clock() - self._began
        generation = info["generation"]
        self._counts[generation] += 1
        self._sums_s[generation] += seconds
        self._longest_s[generation] = max(self._longest_s[generation], seconds)
        self._found[generation] += info["collected"]
