"""Whether something grows with time, and how surely that can be said.

A straight line is laid through what was measured (least squares). How sure its slope is, is found
by drawing what is left beside the line again in blocks of neighbours, since neighbouring moments
are alike, and laying the line anew: the middle 95 % of those slopes. What is held, as memory, stays
for long where it is, so a block is a tenth of all there is.

What was measured may be in pieces, each with a level of its own: a server that was killed begins
anew. One slope is then found for all of them together, from each piece's distance to its own mean.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from msgspec import Struct

DRAWS = 1_000
CONFIDENCE = 0.95
FEWEST = 8
"""Moments below which nothing is said."""
Piece = Sequence[tuple[float, float]]
"""Seconds, and what was measured then."""


class Trend(Struct):
    """By how much something grows in an hour, and between what that lies (95 %)."""

    per_hour: float
    low: float
    high: float

    @property
    def sure(self) -> bool:
        """Whether it grows, or shrinks, beyond what chance does."""
        return not self.low <= 0 <= self.high


def trend(pieces: Sequence[Piece]) -> Trend | None:
    """Find the slope; None where there is too little to say anything.

    Args:
        pieces: each in the order of time.
    """
    xs: list[float] = []
    ys: list[float] = []
    for piece in pieces:
        if len(piece) > 1:
            middle_x, middle_y = (sum(values) / len(piece) for values in zip(*piece, strict=True))
            xs += [x - middle_x for x, _ in piece]
            ys += [y - middle_y for _, y in piece]
    square = sum(x * x for x in xs)
    if len(xs) < FEWEST or not square:
        return None
    slope = _product(xs, ys) / square
    left = [y - slope * x for x, y in zip(xs, ys, strict=True)]
    rng, block = random.Random(0), max(2, len(left) // 10)
    slopes = sorted(slope + _product(xs, drawn(left, rng, block)) / square for _ in range(DRAWS))
    tail = round(DRAWS * (1 - CONFIDENCE) / 2)
    return Trend(slope * 3600, slopes[tail] * 3600, slopes[-tail - 1] * 3600)


def drawn(samples: Sequence[float], rng: random.Random, block: int = 0) -> list[float]:
    """Draw as many samples again, in runs of `block` neighbours; 0: as the cube root of all."""
    count = len(samples)
    block = block or max(1, round(count ** (1 / 3)))
    again: list[float] = []
    while len(again) < count:
        first = rng.randrange(count - block + 1)
        again += samples[first : first + block]
    return again[:count]


def _product(xs: Sequence[float], ys: Sequence[float]) -> float:
    return sum(x * y for x, y in zip(xs, ys, strict=True))
