"""Units on their way to a writer of the journal."""

from collections import deque
from collections.abc import Callable

import outcome
import trio

from persistence.units import CommitUnit


class WaitingUnit:
    """A unit whose task waits for its outcome.

    Attributes:
        lane: whose writers have it, or are to have it.
        since: since when it waits, on trio's clock.
        told: whether its task has the outcome.
    """

    __slots__ = ("lane", "on_committed", "since", "task", "told", "unit")

    def __init__(self, unit: CommitUnit, on_committed: Callable[[], None]) -> None:
        self.lane: Lane | None = None
        self.unit = unit
        self.on_committed = on_committed
        self.task = trio.lowlevel.current_task()
        self.since = trio.current_time()
        self.told = False

    def committed(self) -> None:
        """Say that it is durable; what `on_committed` raises is raised in the waiting task."""
        self.told = True
        trio.lowlevel.reschedule(self.task, outcome.capture(self.on_committed))

    def failed(self, error: Exception) -> None:
        """Say that it is not, or not known to be."""
        self.told = True
        trio.lowlevel.reschedule(self.task, outcome.Error(error))


class Lane:
    """The units that wait for writers of one kind, who wait on `arrival` while there are none.

    Args:
        batch_limit: how many units a writer takes at a time.
        lock_timeout_ms: how long its writers wait for a row that somebody has locked.
    """

    def __init__(self, *, batch_limit: int, lock_timeout_ms: int) -> None:
        self.lock_timeout_ms = lock_timeout_ms
        self.waiting: deque[WaitingUnit] = deque()
        self.arrival = trio.lowlevel.ParkingLot()
        self._batch_limit = batch_limit

    def put(self, waiting: WaitingUnit) -> None:
        """Have a unit wait behind the others."""
        waiting.lane = self
        self.waiting.append(waiting)
        self.arrival.unpark()

    def take(self) -> list[WaitingUnit]:
        """Take a batch, first come first."""
        limit = min(len(self.waiting), self._batch_limit)
        return [self.waiting.popleft() for _ in range(limit)]

    def put_back(self, batch: list[WaitingUnit]) -> None:
        """Have units that were taken wait again, before the others."""
        self.waiting.extendleft(reversed(batch))

    def drop(self, batch: list[WaitingUnit], error: Exception) -> None:
        """Fail those of a taken batch that nobody deals with any more."""
        for waiting in batch:
            if not waiting.told and waiting.lane is self and waiting not in self.waiting:
                waiting.failed(error)

    def fail(self, error: Exception, older_than_s: float = 0.0) -> None:
        """Fail the units that have waited for so many seconds."""
        limit = trio.current_time() - older_than_s
        while self.waiting and self.waiting[0].since <= limit:
            self.waiting.popleft().failed(error)
