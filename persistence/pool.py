"""A pool of `TrioConnection`s.

Nothing runs in the background: whoever needs a connection and finds none idle makes one, and a
connection that died while idle is noticed when it is about to be handed out. After the database
was away the pool is therefore whole again with the first connection attempt that succeeds, which
those who wait repeat with a back-off until their time is up.

Errors of psycopg leave the pool's blocks as `persistence.errors`, see there.
"""

from __future__ import annotations

import logging
import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from math import inf
from types import TracebackType
from typing import Any, Self

import psycopg
import trio
from psycopg import IsolationLevel, pq
from psycopg.transaction import AsyncTransaction

from persistence.connection import CANCEL_TIMEOUT_S, TrioConnection
from persistence.errors import OutcomeUnknown, PersistenceError, Unavailable, translate

logger = logging.getLogger(__name__)

Connection = TrioConnection[tuple[Any, ...]]

BACKOFF_FIRST_S = 0.05
BACKOFF_MAX_S = 1.0

_IDLE = pq.TransactionStatus.IDLE
_ACTIVE = pq.TransactionStatus.ACTIVE
_FAILED = pq.TransactionStatus.INERROR
_COMMITTED = AsyncTransaction.Status.COMMITTED


def application_name() -> str:
    """Return the name under which this process shows in `pg_stat_activity`."""
    return f"cardroom/{os.getpid()}"


class Pool:
    """At most `size` connections in autocommit mode, handed out first come, first served.

    Args:
        conninfo: libpq connection string or URL.
        size: connections at most.
        timeout_s: how long a task waits for a connection, connecting included, in seconds.
        block_timeout_s: how long a task may use one, in seconds: a database that has fallen silent
            is as good as away.
        configure: called with each new connection, for session settings. Raising a
            `psycopg.Error` counts as a failed connection attempt.

    Attributes:
        size: connections at most.
    """

    def __init__(
        self,
        conninfo: str,
        *,
        size: int,
        timeout_s: float,
        block_timeout_s: float = inf,
        configure: Callable[[Connection], Awaitable[None]] | None = None,
    ) -> None:
        self.size = size
        self._conninfo = conninfo
        self._timeout_s = timeout_s
        self._block_timeout_s = block_timeout_s
        self._configure = configure
        self._slots = trio.Semaphore(size)
        self._idle: list[Connection] = []
        self._closed = False

    @property
    def idle(self) -> int:
        """Open connections that nobody uses."""
        return len(self._idle)

    @property
    def waiting(self) -> int:
        """Tasks that wait because all connections are in use."""
        return self._slots.statistics().tasks_waiting

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the idle connections now and those in use when they come back.

        Whoever asks for one from now on, or waits, gets `Unavailable`.
        """
        self._closed = True
        while self._idle:
            await self._idle.pop().close()

    @asynccontextmanager
    async def connection(
        self, *, read_only: bool = False, timeout_s: float | None = None
    ) -> AsyncIterator[Connection]:
        """Lend a connection in autocommit mode for the block.

        It goes back idle: what is left of a transaction is rolled back, a connection in any other
        state is closed. Session settings and prepared statements stay.

        Args:
            read_only: the block promises to write nothing, so that a lost connection is never an
                unknown outcome.
            timeout_s: another bound on the block than the pool's.

        Raises:
            Unavailable: no connection within the pool's time, or the database gave up on a
                statement that had no effect.
            OutcomeUnknown: the connection was lost during the block, or the block's time was up;
                it may have committed.
            ConstraintViolated: the schema refused a statement.
            psycopg.Error: any other error of the database is a bug and stays what it is.

        Cancellation: see `TrioConnection`.
        """
        conn = await self._acquire()
        try:
            with self._bounded(timeout_s, commit_possible=not read_only):
                yield conn
        except psycopg.Error as exc:
            raise translate(exc, commit_possible=conn.closed and not read_only) from exc
        finally:
            await self._release(conn)

    @asynccontextmanager
    async def transaction(
        self,
        *,
        isolation: IsolationLevel | None = None,
        read_only: bool = False,
        timeout_s: float | None = None,
    ) -> AsyncIterator[Connection]:
        """Run the block in a transaction; it commits when the block ends without an exception.

        Args:
            isolation: `None` is the database's default, read committed.
            read_only: have PostgreSQL refuse to write.
            timeout_s: another bound on the block than the pool's.

        Raises:
            Unavailable: no connection within the pool's time, or lost (or the block's time was up)
                before COMMIT was sent: nothing was committed.
            OutcomeUnknown: the connection was lost during COMMIT.
            ConstraintViolated: the schema refused a statement, or the commit.
            psycopg.Error: any other error of the database is a bug and stays what it is.
            RuntimeError: the block caught an error that had ended the transaction.

        Cancellation rolls back, unless COMMIT was sent: that is waited for, shielded.
        """
        conn = await self._acquire()
        block: AsyncTransaction | None = None
        try:
            await _set_characteristics(conn, isolation, read_only or None)
            async with conn.transaction() as block:
                with self._bounded(timeout_s, commit_possible=False):
                    yield conn
                if conn.pgconn.transaction_status == _FAILED:
                    # PostgreSQL answers COMMIT with ROLLBACK then, which would pass for success.
                    raise RuntimeError("the block swallowed an error of its transaction")
        except psycopg.Error as exc:
            committing = block is not None and block.status is _COMMITTED
            raise translate(
                exc, commit_possible=committing and conn.closed and not read_only
            ) from exc
        finally:
            await self._release(conn)

    @contextmanager
    def _bounded(self, timeout_s: float | None, *, commit_possible: bool) -> Iterator[None]:
        """End a block whose time is up; its statement is cancelled as `TrioConnection` does it."""
        bound_s = self._block_timeout_s if timeout_s is None else timeout_s
        with trio.move_on_after(bound_s) as scope:
            yield
        if scope.cancelled_caught:
            reason = f"no answer within {bound_s} s"
            raise OutcomeUnknown(reason) if commit_possible else Unavailable(reason)

    async def _acquire(self) -> Connection:
        deadline = trio.current_time() + self._timeout_s
        try:
            # Fails while others wait: a freed slot goes to the first of them.
            self._slots.acquire_nowait()
        except trio.WouldBlock:
            with trio.CancelScope(deadline=deadline) as scope:
                await self._slots.acquire()
            if scope.cancelled_caught:
                raise Unavailable(f"all {self.size} connections in use") from None
        try:
            if self._closed:
                raise Unavailable("the pool is closed")
            return await self._take_idle() or await self._connect(deadline)
        except BaseException:
            self._slots.release()
            raise

    async def _take_idle(self) -> Connection | None:
        """Return the idle connection that was used last, if one is alive."""
        while self._idle:
            conn = self._idle.pop()
            if conn.is_quiet():
                # Left over from a `transaction` that asked for another level.
                if conn.isolation_level is not None or conn.read_only is not None:
                    conn.forget_characteristics()
                return conn
            await conn.close()
        return None

    async def _connect(self, deadline: float) -> Connection:
        """Connect, repeatedly until `deadline`."""
        delay_s = BACKOFF_FIRST_S
        failure: PersistenceError | None = None
        with trio.CancelScope(deadline=deadline):
            while True:
                try:
                    return await self._connect_once()
                except psycopg.Error as exc:
                    failure = translate(exc)
                logger.debug("connecting failed: %s", failure)
                await trio.sleep(delay_s * random.uniform(0.5, 1.0))
                delay_s = min(delay_s * 2, BACKOFF_MAX_S)
        raise Unavailable(f"no connection within {self._timeout_s} s") from failure

    async def _connect_once(self) -> Connection:
        conn: Connection = await TrioConnection.connect(
            self._conninfo, autocommit=True, application_name=application_name()
        )
        try:
            if self._configure is not None:
                await self._configure(conn)
        except BaseException:
            await conn.close()
            raise
        return conn

    async def _release(self, conn: Connection) -> None:
        """Take a connection back in whatever state it is. Never raises; shielded and bounded."""
        try:
            if conn.pgconn.transaction_status != _IDLE or conn.pgconn.pipeline_status:
                await self._clean(conn)
            if self._closed:
                await conn.close()
            elif not conn.closed:
                self._idle.append(conn)
        finally:
            self._slots.release()

    async def _clean(self, conn: Connection) -> None:
        """Make a connection idle, or close it."""
        with trio.move_on_after(CANCEL_TIMEOUT_S, shield=True):
            try:
                if conn.pgconn.transaction_status == _ACTIVE or conn.pgconn.pipeline_status:
                    await conn._try_cancel()
                else:
                    await conn.rollback()
            except psycopg.Error as exc:
                logger.debug("connection not cleaned: %s", exc)
        if conn.pgconn.transaction_status != _IDLE or conn.pgconn.pipeline_status:
            await conn.close()


async def _set_characteristics(
    conn: Connection, isolation: IsolationLevel | None, read_only: bool | None
) -> None:
    """Set what the next BEGIN says; a connection comes from the pool with nothing set."""
    if isolation is not None:
        await conn.set_isolation_level(isolation)
    if read_only is not None:
        await conn.set_read_only(read_only)
