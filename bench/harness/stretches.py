"""A run of hours, kept small: its seconds are put together to stretches as they come.

Each stretch is one moment of the result, so that there are a few hundred of them however long it
lasted; percentiles are those of all that was done in it, not means of its seconds' percentiles.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable

import msgspec

from bench.harness.generator import Second
from bench.harness.generators import Generators
from bench.harness.latencies import Latencies, percentile
from bench.harness.result import Moment
from bench.harness.run import OnMoment, moment_of
from bench.harness.sampling import Sample, Sampler

MOST = 360
MINUTE_S = 60


def stretch_s(seconds: int) -> int:
    """Return how many seconds a stretch has, so that there are at most `MOST`."""
    return max(1, math.ceil(seconds / MOST))


def put_together(seconds: Iterable[Second]) -> Second:
    """Make one of what a generator told of consecutive seconds."""
    some = list(seconds)
    latencies: Counter[int] = Counter()
    lates: Counter[int] = Counter()
    counts: Counter[str] = Counter()
    for one in some:
        latencies.update(one.latencies)
        lates.update(one.lates)
        counts.update(one.counts)
    return Second(
        number=some[0].number,
        seconds=sum(one.seconds for one in some),
        events=sum(one.events for one in some),
        errors=sum(one.errors for one in some),
        connected=some[-1].connected,
        late_us=max(one.late_us for one in some),
        cpu_s=sum(one.cpu_s for one in some),
        latencies=dict(latencies),
        counts=dict(counts),
        marks={},
        lates=dict(lates),
    )


class Stretches:
    """Takes a run's seconds as they come and drops them.

    Attributes:
        moments: one for each stretch. Operations are the first generator's.
        told: what each generator told of each stretch that was measured.
        latencies: each generator's, over all that was measured.
        minutes_p99_ms: the first generator's, for each whole minute that was measured.
    """

    def __init__(
        self, generators: Generators, sampler: Sampler, width_s: int, on_moment: OnMoment
    ) -> None:
        self._generators = generators
        self._sampler = sampler
        self._width_s = width_s
        self._on_moment = on_moment
        self._minute: list[Second] = []
        self.moments: list[Moment] = []
        self.told: list[list[Second]] = []
        self.latencies = [Latencies() for _ in generators.pids]
        self.minutes_p99_ms: list[float] = []

    async def take(self, first: int, began: float, warm_up_s: int) -> Moment:
        """Wait for the stretch that begins with a second, by its number, and keep it."""
        seconds: list[list[Second]] = []
        before = self._last_sample()
        for number in range(first, first + self._width_s):
            seconds.append(await self._generators.second(number))
            self._generators.forget(number)
        together = [put_together(told) for told in zip(*seconds, strict=True)]
        after = self._last_sample()
        # What the others do is not what is counted as done, but as received, and as wrong.
        counted = [
            together[0],
            *(msgspec.structs.replace(one, latencies={}) for one in together[1:]),
        ]
        samples = [one for one in (before, after) if one is not None]
        if before is after:
            samples = samples[:1]
        end = first + self._width_s
        moment = moment_of(counted, samples, began + end, began + warm_up_s)
        if first >= warm_up_s:
            self._measured(together, [told[0] for told in seconds])
        self.moments.append(moment)
        self._on_moment(moment)
        return moment

    def _measured(self, together: list[Second], first: list[Second]) -> None:
        self.told.append(together)
        for latencies, one in zip(self.latencies, together, strict=True):
            latencies.add(one.latencies)
        self._minute += first
        while len(self._minute) >= MINUTE_S:
            minute, self._minute = self._minute[:MINUTE_S], self._minute[MINUTE_S:]
            self.minutes_p99_ms.append(percentile(put_together(minute).latencies, 99) / 1000)

    def _last_sample(self) -> Sample | None:
        return self._sampler.samples[-1] if self._sampler.samples else None
