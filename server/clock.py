"""The wall clock, in the unit of the wire."""

import time


def now_ms() -> int:
    """Return UTC in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def in_ms(seconds: float) -> int:
    """Return a duration in milliseconds."""
    return round(seconds * 1000)
