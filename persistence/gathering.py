"""Reads for many callers at once: who comes while one is under way goes with the next.

What group commit is for writing. Thousands of clients that come back at the same moment ask for the
same few things, each for itself: one statement for what has gathered costs hardly more than one for
a single caller, and takes one connection. Nobody waits for company: the first caller's read begins
at once, and gathers those that come meanwhile.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from itertools import islice
from typing import Generic, TypeVar, cast

import trio

from persistence.errors import Unavailable

K = TypeVar("K")
V = TypeVar("V")

MOST_AT_ONCE = 32
"""Callers served by one read. Their answers are worked on one after the other, before anything else
has its turn: this bounds for how long."""
WAITED_ENOUGH_S = 2.0
"""Whoever has waited so long when a read finds the database away hears that too. Reads that time
out one after the other would have those at the end of the list wait for minutes to hear it."""


class _Place(Generic[K, V]):
    """One caller's key, and where the value or the error for it is left."""

    __slots__ = ("answered", "came_at", "error", "key", "value")

    def __init__(self, key: K) -> None:
        self.key = key
        self.answered = trio.Event()
        self.came_at = trio.current_time()
        self.value: V | None = None
        self.error: Exception | None = None


class Gathering(Generic[K, V]):
    """Carries out one read at a time, for all who wait, first come, first served.

    Args:
        read: takes keys (the same one twice, if two ask for it) and returns a value for each, in
            order. With `Unavailable` it refuses all of them, and who has waited long; any other
            error of several keys has each tried alone, so that what cannot be read fails for who
            asked for it. It may write something too, if that is all or nothing.
        most: keys that one read may have.

    A caller that is cancelled is taken off the list, or its value is thrown away; the others do not
    notice. The reads belong to nobody's task: they go on until nobody waits.
    """

    def __init__(
        self, read: Callable[[Sequence[K]], Awaitable[Sequence[V]]], *, most: int = MOST_AT_ONCE
    ) -> None:
        self._read = read
        self._most = most
        self._waiting: dict[_Place[K, V], None] = {}
        self._reading = False

    async def get(self, key: K) -> V:
        """Return the value for a key, read after this call.

        Raises:
            Unavailable: the database is away.
        """
        place: _Place[K, V] = _Place(key)
        self._waiting[place] = None
        if not self._reading:
            self._reading = True
            trio.lowlevel.spawn_system_task(self._read_on)
        try:
            await place.answered.wait()
        finally:
            self._waiting.pop(place, None)
        if place.error is not None:
            try:
                raise place.error
            finally:
                # Its traceback holds this frame: the two would wait for the cycle collector.
                del place
        return cast("V", place.value)

    async def _read_on(self) -> None:
        """Read until nobody waits."""
        try:
            while self._waiting:
                places = list(islice(self._waiting, self._most))
                for place in places:
                    del self._waiting[place]
                await self._answer(places)
        finally:
            self._reading = False

    async def _answer(self, places: Sequence[_Place[K, V]]) -> None:
        try:
            values = await self._read([place.key for place in places])
            if len(values) != len(places):
                raise RuntimeError(f"{len(values)} values were read for {len(places)} keys")
        except Unavailable as away:
            for place in places:
                # One each: what is raised in several tasks would carry all their tracebacks.
                place.error = type(away)(away.reason, away.retry_after_s)
                place.answered.set()
            self._refuse_who_waited(away)
        except Exception as error:
            if len(places) == 1:
                places[0].error = error
                places[0].answered.set()
            else:
                for place in places:
                    await self._answer([place])
        else:
            for place, value in zip(places, values, strict=True):
                place.value = value
                place.answered.set()

    def _refuse_who_waited(self, away: Unavailable) -> None:
        """Refuse those who have waited long enough; nothing was begun for them."""
        long_ago = trio.current_time() - WAITED_ENOUGH_S
        for place in [one for one in self._waiting if one.came_at <= long_ago]:
            del self._waiting[place]
            place.error = Unavailable(away.reason, away.retry_after_s)
            place.answered.set()
