"""Group commit: what many actors decided at the same moment is committed together.

A writer takes all units that wait and commits them in one statement and one transaction. While one
batch commits, the next one gathers; waiting for company is never needed. Every unit is fenced on
its own: a batch in which one unit is refused is told so as a whole, and the writer commits the rest
without it.

Somebody who wrote past the server and takes their time to commit may hold a row that a room needs.
A writer waits for no such lock for long: the room's unit goes aside, to a writer of its own that
tries again until the lock is gone or the unit's time is up, and so do that room's next units until
one of them has committed.
"""

import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import NamedTuple, Protocol

import psycopg
import structlog
import trio

from persistence.errors import (
    ConstraintViolated,
    OutcomeUnknown,
    PersistenceError,
    RowsRefused,
    Superseded,
    Unavailable,
    translate,
)
from persistence.lanes import Lane, WaitingUnit
from persistence.pool import Connection
from persistence.units import CommitUnit, encode_batch

log = structlog.stdlib.get_logger(__name__)

MAX_BATCH_UNITS = 512
COMMIT_TIMEOUT_S = 10.0
BACKOFF_FIRST_S = 0.05
BACKOFF_MAX_S = 1.0
_SUPERSEDED_STATE = "CR001"
_WALLET_MISSING_STATE = "CR002"
WALLET_MISSING = "wallets_missing"
"""What `ConstraintViolated` names when chips would move from or to a wallet that is not there."""
_ROLLED_BACK_CLASS = "40"
_ROLLED_BACK_RETRIES = 5
_LOCKED_STATE = "55P03"
LOCK_TIMEOUT_MS = 250
"""How long a writer waits for a row that somebody has locked; well within `deadlock_timeout`, so
that it is never the other one whose transaction is given up for ours."""
LOCK_TIMEOUT_AMONG_MS = 20
"""The same when it is known that one unit of a batch is held up, and not which."""
HELD_PAUSE_S = 0.02
HELD_RETRY_AFTER_S = 1.0

# The journal's statements always reach few rows by key, whatever the planner believes when it first
# sees them; a plan made while tables were empty must not stay a sequential scan for ever.
WRITER_SESSION = (
    "SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; "
    "SET plan_cache_mode = force_generic_plan; SET synchronous_commit = on; SET jit = off; "
    "SET cardroom.journal = on"
)


class CommittedBatch(NamedTuple):
    """What one committed batch took, in seconds.

    `waited_s` and `told_s` are sums over its units: from being handed over until its transaction
    began, and from its commit until its own `on_committed` had returned.
    """

    units: int
    commit_s: float
    waited_s: float
    told_s: float


class JournalLike(Protocol):
    """What an actor needs of a journal."""

    async def commit(self, unit: CommitUnit, on_committed: Callable[[], None]) -> None:
        """Commit a unit; see `Journal.commit`."""


class Journal:
    """The writers of one server process.

    Args:
        connect: makes a new connection in autocommit mode; raising `psycopg.Error` or
            `PersistenceError` counts as "database away".
        timeout_s: how long a unit waits for a database that is away, in seconds.
        writers: number of writer connections.
        lock_timeout_ms: how long a batch waits for a row that somebody has locked.
        on_batch: told of each committed batch.
        on_push: told when push notifications were committed to the outbox; must not wait.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[Connection]],
        *,
        timeout_s: float,
        writers: int = 1,
        lock_timeout_ms: int = LOCK_TIMEOUT_MS,
        on_batch: Callable[[CommittedBatch], None] | None = None,
        on_push: Callable[[], None] | None = None,
    ) -> None:
        self._connect = connect
        self._timeout_s = timeout_s
        self._writers = writers
        self._on_batch = on_batch
        self._on_push = on_push
        self._lane = Lane(batch_limit=MAX_BATCH_UNITS, lock_timeout_ms=lock_timeout_ms)
        self._held_lane = Lane(batch_limit=1, lock_timeout_ms=LOCK_TIMEOUT_AMONG_MS)
        self._held: set[str] = set()
        self._away = False
        self._stopped = False

    @property
    def depth(self) -> int:
        """Units that wait to be committed."""
        return len(self._lane.waiting) + len(self._held_lane.waiting)

    @property
    def away(self) -> bool:
        """Whether the last attempt found no database."""
        return self._away

    async def commit(self, unit: CommitUnit, on_committed: Callable[[], None]) -> None:
        """Commit one unit.

        `on_committed` is called once the transaction is durable, before any other task runs; it
        must not wait. What it raises is raised here.

        Raises:
            Superseded: the room or chat session is no longer at the unit's seq and epoch, or
                somebody wrote to it from outside. Nothing was written.
            ConstraintViolated: the schema refused a row. Nothing was written.
            Unavailable: the database was away, or somebody had a row of the room locked, for
                `timeout_s`, or the writers have ended. Nothing was written.
            OutcomeUnknown: the connection broke while the unit was being committed.
            Exception: the rows cannot be encoded, or the database refused their values. Nothing was
                written.

        Cancellation: none; the outcome is always waited for (it is bounded).
        """
        if self._stopped:
            raise Unavailable("the server is stopping")
        lane = self._held_lane if unit.key in self._held else self._lane
        lane.put(WaitingUnit(unit, on_committed))
        await trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.FAILED)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run the writers until cancelled; units in flight are waited for, those waiting fail."""
        try:
            async with trio.open_nursery() as nursery:
                for _ in range(self._writers):
                    nursery.start_soon(self._write, self._lane)
                nursery.start_soon(self._write, self._held_lane)
                task_status.started()
        finally:
            self._stopped = True
            for lane in (self._lane, self._held_lane):
                lane.fail(Unavailable("the server is stopping"))

    async def _write(self, lane: Lane) -> None:
        conn: Connection | None = None
        backoff_s = BACKOFF_FIRST_S
        try:
            while True:
                looking = lane is self._lane and self._away and conn is None
                if not lane.waiting and not looking:
                    await lane.arrival.park()
                    continue
                if conn is not None and not conn.is_quiet():
                    # Lost while idle: nothing is in flight on it, so no outcome is in doubt.
                    with trio.CancelScope(shield=True):
                        await conn.close()
                if conn is None or conn.closed:
                    conn = await self._reconnect(lane)
                    if conn is None:
                        await trio.sleep(backoff_s)
                        backoff_s = min(backoff_s * 2, BACKOFF_MAX_S)
                        continue
                    backoff_s = BACKOFF_FIRST_S
                    # Looking for a database that was away needs nobody who waits for it.
                    continue
                batch = lane.take()
                try:
                    with trio.CancelScope(shield=True):
                        await self._commit_all(conn, batch)
                finally:
                    lane.drop(batch, OutcomeUnknown("the writer failed"))
                if lane is self._held_lane:
                    # Whoever holds the lock may want one of ours before he gives it up.
                    await trio.sleep(HELD_PAUSE_S)
        finally:
            if conn is not None:
                with trio.CancelScope(shield=True):
                    await conn.close()

    async def _reconnect(self, lane: Lane) -> Connection | None:
        try:
            with trio.fail_after(self._timeout_s):
                conn = await self._connect()
                try:
                    await conn.execute(WRITER_SESSION)
                    await _wait_for_locks(conn, lane.lock_timeout_ms)
                except BaseException:
                    with trio.CancelScope(shield=True):
                        await conn.close()
                    raise
        except (psycopg.Error, PersistenceError, trio.TooSlowError, OSError) as error:
            if lane is self._lane:
                self._note_away(type(error).__name__)
            lane.fail(Unavailable("no connection"), older_than_s=self._timeout_s)
            return None
        if lane is self._lane:
            self._note_away(None)
        return conn

    def _note_away(self, reason: str | None) -> None:
        if reason is not None and not self._away:
            log.warning("database_away", reason=reason)
        elif reason is None and self._away:
            log.info("database_back")
        self._away = reason is not None

    def _hold(self, waiting: WaitingUnit) -> None:
        """Put a unit aside whose room somebody has a row of locked, or give it up."""
        self._held.add(waiting.unit.key)
        if trio.current_time() - waiting.since < self._timeout_s:
            self._held_lane.put(waiting)
            return
        log.warning("row_locked", key=waiting.unit.key)
        waiting.failed(Unavailable("somebody has a row of it locked", HELD_RETRY_AFTER_S))

    def _tell(self, batch: list[WaitingUnit]) -> float:
        """Tell units that they are durable; return the sum of the seconds until each was told."""
        now, held = time.perf_counter, self._held
        began = now()
        total_s = 0.0
        for waiting in batch:
            if held:
                held.discard(waiting.unit.key)
            waiting.committed()
            total_s += now() - began
        return total_s

    async def _commit_all(
        self, conn: Connection, batch: list[WaitingUnit], *, among: bool = False
    ) -> None:
        """Commit a batch, without those that are refused; every unit of it gets its outcome.

        `among`: one of them is held up by a lock, and it is not known which.
        """
        todo = batch
        retries = _ROLLED_BACK_RETRIES
        while todo:
            began = trio.current_time()
            error = await _commit_together(conn, [w.unit for w in todo])
            if error is None:
                committed_at = trio.current_time()
                told_s = self._tell(todo)
                if self._on_batch is not None:
                    waited_s = sum([began - waiting.since for waiting in todo])
                    self._on_batch(
                        CommittedBatch(len(todo), committed_at - began, waited_s, told_s)
                    )
                if self._on_push is not None and any(w.unit.queues_push for w in todo):
                    self._on_push()
                return
            if _lost(conn):
                for waiting in todo:
                    waiting.failed(OutcomeUnknown("the connection broke during a commit"))
                return
            state = error.sqlstate or "" if isinstance(error, psycopg.Error) else ""
            lost = _superseded_keys(error) if state == _SUPERSEDED_STATE else frozenset()
            if not lost.isdisjoint(waiting.unit.key for waiting in todo):
                for waiting in todo:
                    if waiting.unit.key in lost:
                        self._held.discard(waiting.unit.key)
                        waiting.failed(Superseded(waiting.unit.key))
                todo = [w for w in todo if w.unit.key not in lost]
            elif state.startswith(_ROLLED_BACK_CLASS) and retries:
                retries -= 1
            elif len(todo) == 1 and state == _LOCKED_STATE:
                self._hold(todo[0])
                return
            elif len(todo) == 1:
                todo[0].failed(_translated(error))
                return
            else:
                # Halves, so that one bad unit among many costs a few commits more, not one each.
                middle = len(todo) // 2
                locked = state == _LOCKED_STATE and not among
                if locked:
                    await _wait_for_locks(conn, LOCK_TIMEOUT_AMONG_MS)
                for half in (todo[:middle], todo[middle:]):
                    if _lost(conn):
                        self._lane.put_back(half)
                    else:
                        await self._commit_all(conn, half, among=among or locked)
                if locked:
                    await _wait_for_locks(conn, self._lane.lock_timeout_ms)
                return


async def _commit_together(conn: Connection, units: list[CommitUnit]) -> Exception | None:
    """Commit units in one transaction; say why that did not work, or may not have."""
    try:
        document = encode_batch(units).decode()
    except Exception as error:
        return error
    try:
        with trio.move_on_after(COMMIT_TIMEOUT_S) as scope:
            await conn.execute("SELECT commit_batch(%s::jsonb)", (document,), prepare=True)
    except psycopg.Error as error:
        return error
    if scope.cancelled_caught:
        await conn.close()
        return psycopg.OperationalError("the commit took too long")
    return None


async def _wait_for_locks(conn: Connection, at_most_ms: int) -> None:
    """Say how long statements wait for locks from now on; a lost connection shows itself later."""
    with suppress(psycopg.OperationalError):
        await conn.execute(f"SET lock_timeout = {at_most_ms}".encode())


def _lost(conn: Connection) -> bool:
    return conn.closed


def _superseded_keys(error: Exception) -> frozenset[str]:
    assert isinstance(error, psycopg.Error)
    return frozenset((error.diag.message_detail or "").split("\n"))


def _translated(error: Exception) -> Exception:
    if not isinstance(error, psycopg.Error):
        return error
    if error.sqlstate == _WALLET_MISSING_STATE:
        return ConstraintViolated(WALLET_MISSING, "wallets")
    try:
        return translate(error)
    except psycopg.Error:
        # Its text may quote the rows, hole cards among them, and ends in the log.
        return RowsRefused(error.sqlstate)
