"""Latencies: recorded cheaply where they are measured, kept as an HdrHistogram where they meet.

A generator has microseconds to spare for an event, and an HdrHistogram in Python takes two to
record a value. So it appends to a list, and once a second all of its values are cut to three
significant digits, as such a histogram would, and counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from itertools import accumulate

from hdrh.histogram import HdrHistogram

HIGHEST_US = 600_000_000
"""Ten minutes; what takes longer counts as that."""
DIGITS = 3
_EXACT_BITS = 11
"""2,048 values are kept apart in each power of two: HdrHistogram's own for three digits."""
PERCENTILES = (
    *(0.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 75.0, 80.0, 85.0, 90.0, 92.5, 95.0, 97.0),
    *(98.0, 99.0, 99.3, 99.5, 99.7, 99.9, 99.95, 99.99, 99.999, 100.0),
)


def counted(latencies_us: list[int]) -> dict[int, int]:
    """Count values, each cut to three significant digits."""
    return dict(
        Counter(
            [
                us if us < 2048 else us >> (cut := us.bit_length() - _EXACT_BITS) << cut
                for us in latencies_us
            ]
        )
    )


def percentile(counts: Mapping[int, int], percent: float) -> int:
    """Return the value below or at which so many percent of a second's values are; 0 for none."""
    values = sorted(counts)
    total = sum(counts.values())
    for value, below in zip(values, accumulate(counts[value] for value in values), strict=True):
        if below >= total * percent / 100:
            return value
    return 0


class Latencies:
    """All latencies of a run, in microseconds."""

    def __init__(self) -> None:
        self._histogram = HdrHistogram(1, HIGHEST_US, DIGITS)

    def add(self, counts: Mapping[int, int]) -> None:
        """Add a second's counts."""
        for us, count in counts.items():
            self._histogram.record_value(min(max(us, 1), HIGHEST_US), count)

    def add_encoded(self, histogram: str) -> None:
        """Add another one's, in the form that `encoded` returns."""
        self._histogram.decode_and_add(histogram)

    def include(self, others: Latencies) -> None:
        """Add all of another run's."""
        self._histogram.add(others._histogram)

    @property
    def count(self) -> int:
        """How many there are."""
        return int(self._histogram.total_count)

    def ms(self, percent: float) -> float:
        """Return a percentile in milliseconds; 0 where there are no values."""
        if not self.count:
            return 0.0
        return float(self._histogram.get_value_at_percentile(percent)) / 1000

    def mean_ms(self) -> float:
        """Return the mean in milliseconds."""
        return float(self._histogram.get_mean_value()) / 1000 if self.count else 0.0

    def curve(self) -> list[tuple[float, float]]:
        """Return percentiles with their milliseconds, as far out as there are values to tell."""
        return [
            (percent, self.ms(percent))
            for percent in PERCENTILES
            if self.count * (100 - percent) > 99.9 or percent in (0.0, 50.0, 100.0)
        ]

    def encoded(self) -> str:
        """Return the histogram in HdrHistogram's own compressed form, for other tools."""
        return bytes(self._histogram.encode()).decode()
