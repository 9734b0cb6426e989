"""Python's cycle collector in a running server: what it costs, and a full collection at times.

Why it is left alone otherwise: `garbage.py`, which needs no library and so can be loaded first.
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

FULL_EVERY_S = 3600.0
_GENERATIONS = ("0", "1", "2")


async def collect_now_and_then() -> None:
    """Look once an hour through all that is new since, until cancelled.

    It is a pause: half a millisecond for each room that came to life in that hour. What lives then
    is not looked at again, or all rooms there are would count; so of that, what dies in a cycle
    later on stays, which is no more than what a few connections leave.
    """
    while True:
        await trio.sleep(FULL_EVERY_S)
        gc.collect()
        gc.freeze()


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
