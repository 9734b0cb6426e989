"""How many requests a user may send: a token bucket each."""

import math

_SWEEP_AT = 4096
"""So many buckets and the full ones, which say nothing, are thrown away."""


class Rates:
    """Buckets that hold `burst` requests and fill up by `per_s` a second."""

    def __init__(self, per_s: float, burst: int) -> None:
        self._per_s = per_s
        self._burst = burst
        self._buckets: dict[str, tuple[float, float]] = {}
        self._sweep_at = _SWEEP_AT

    def take(self, user_id: str, now: float) -> float:
        """Take one request at `now`, in seconds on any steady clock.

        Returns:
            0 where it may go on, else the seconds after which the next one may.
        """
        left, at = self._buckets.get(user_id, (float(self._burst), now))
        left = min(self._burst, left + (now - at) * self._per_s)
        if left < 1:
            return (1 - left) / self._per_s
        self._buckets[user_id] = (left - 1, now)
        if len(self._buckets) > self._sweep_at:
            self._sweep(now)
        return 0.0

    def _sweep(self, now: float) -> None:
        full_after_s = self._burst / self._per_s
        self._buckets = {
            user_id: bucket
            for user_id, bucket in self._buckets.items()
            if now - bucket[1] < full_after_s
        }
        # Where most are in use, looking again only pays once there are twice as many.
        self._sweep_at = max(_SWEEP_AT, math.ceil(2 * len(self._buckets)))
