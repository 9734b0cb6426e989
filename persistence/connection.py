"""psycopg's `AsyncConnection` on trio.

psycopg's asyncio shows in few places: how it waits for the socket, its lock, its name resolution,
and how it ends things when a task is cancelled. The first three are replaced. The last needs care,
because trio's cancellation is a state, not an event: in a cancelled scope *every* checkpoint
raises, those of the clean-up too. The rules here are:

- A statement that has not been sent is not sent in a cancelled scope.
- A statement in flight is cancelled on the server and its answer is read, shielded, for at most
  `CANCEL_TIMEOUT_S`; the connection is usable afterwards, or closed.
- Leaving a transaction or a pipeline is shielded and bounded. Once COMMIT is on its way it is
  waited for, at most `COMMIT_TIMEOUT_S`, then the connection is closed and the outcome unknown.

Everything else (cursors, COPY, pipelines, prepared statements, adapters) is psycopg's own. Not
available: `AsyncQueuedLibpqWriter` for COPY, which spawns an asyncio task.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import shuffle
from types import TracebackType
from typing import Any, Self, TypeVar

import psycopg
import trio
from psycopg import errors as e
from psycopg import pq
from psycopg._capabilities import capabilities
from psycopg._conninfo_utils import get_param, get_param_def, is_ip_address, split_attempts
from psycopg._pipeline_async import AsyncPipeline
from psycopg.abc import AdaptContext, ConnDict, ConnParam, PQGen
from psycopg.adapt import AdaptersMap
from psycopg.conninfo import make_conninfo, timeout_from_conninfo
from psycopg.pq.abc import PGconn
from psycopg.rows import AsyncRowFactory, Row
from psycopg.transaction import AsyncTransaction
from psycopg.waiting import Wait

from persistence.waiting import Poller, deadline_in, drive, drive_connect

logger = logging.getLogger(__name__)

R = TypeVar("R")

CANCEL_TIMEOUT_S = 2.0
"""How long an interrupted statement may take to end before its connection is closed, in seconds."""

COMMIT_TIMEOUT_S = 10.0
"""How long a COMMIT is waited for, even when cancelled, before its outcome counts as unknown."""

_READABLE = int(Wait.R)
_ACTIVE = pq.TransactionStatus.ACTIVE
_OK = pq.ConnStatus.OK


class _Lock:
    """A first-come lock that is no checkpoint when it is free.

    psycopg takes its lock for each statement: a trip through the scheduler each time, as
    `trio.Lock` makes it, would cost more than the statement's own share of a pipeline. Clean-up
    relies on it too: a free lock can be taken in a cancelled scope.
    """

    __slots__ = ("_held", "_waiting")

    def __init__(self) -> None:
        self._held = False
        self._waiting = trio.lowlevel.ParkingLot()

    async def __aenter__(self) -> None:
        if self._held:
            # Whoever leaves hands the lock over; it is never seen free in between.
            await self._waiting.park()
        else:
            self._held = True

    async def __aexit__(self, *_: object) -> None:
        if self._waiting:
            self._waiting.unpark()
        else:
            self._held = False

    def locked(self) -> bool:
        return self._held


class TrioTransaction(AsyncTransaction):
    """A transaction block whose end cannot be cut short by cancellation."""

    _conn: TrioConnection[Any]

    async def __aenter__(self) -> Self:
        async with self._conn.lock:
            self._check_enter()
            try:
                await self._conn.wait(self._enter_gen())
            except BaseException as exc:
                if self.status is self.Status.ACTIVE:
                    # BEGIN was sent, and __aexit__ is not going to be called.
                    await self._finish(type(exc), exc, None, CANCEL_TIMEOUT_S)
                raise
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> bool:
        if exc_val is None:
            try:
                # The last moment at which giving up is certain to leave nothing behind.
                await trio.lowlevel.checkpoint_if_cancelled()
            except BaseException as exc:
                await self._leave(type(exc), exc, None, CANCEL_TIMEOUT_S)
                raise
            return await self._leave(None, None, None, COMMIT_TIMEOUT_S)
        return await self._leave(exc_type, exc_val, exc_tb, CANCEL_TIMEOUT_S)

    async def _leave(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
        timeout_s: float,
    ) -> bool:
        with trio.CancelScope(shield=True):
            async with self._conn.lock:
                swallow = await self._finish(exc_type, exc_val, exc_tb, timeout_s)
        return swallow

    async def _finish(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
        timeout_s: float,
    ) -> bool:
        """Send COMMIT or ROLLBACK and read the answer; the caller holds the lock."""
        conn = self._conn
        if self.pgconn.status != _OK:
            self.status = self.Status.FAILED
            return False
        with trio.CancelScope(shield=True):
            try:
                swallow = await conn._run(self._exit_gen(exc_type, exc_val, exc_tb), timeout_s)
                if exc_val is None and conn._pipeline:
                    # In a pipeline COMMIT was only queued: its outcome belongs to this block.
                    await conn._run(conn._pipeline._sync_gen(), timeout_s)
            except e._WaitTimeout:
                conn._abandon("no answer to the end of a transaction")
                if exc_val is None:
                    raise e.OperationalError("connection closed: COMMIT was not answered") from None
                return False
        return swallow


class TrioPipeline(AsyncPipeline):
    """A pipeline that is drained when it is left by cancellation."""

    _conn: TrioConnection[Any]

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        conn = self._conn
        failed: BaseException | None = exc_val
        try:
            with trio.CancelScope(shield=exc_val is not None):
                async with self._lock:
                    if exc_val is None:
                        await conn._run(self._exit_gen())
                    elif self.pgconn.status == _OK:
                        if not isinstance(exc_val, Exception):
                            await conn._try_cancel()
                        await conn._run(self._exit_gen(), CANCEL_TIMEOUT_S)
        except e._WaitTimeout:
            conn._abandon("a pipeline could not be drained")
        except Exception as exc:
            # The block's own exception explains more than what it did to the pipeline.
            if exc_val is None:
                failed = exc
                raise exc.with_traceback(None) from None
            logger.debug("error ignored on leaving %r: %s", self, exc)
        except BaseException as exc:
            failed = exc
            raise
        finally:
            self._exit(failed)


class TrioConnection(psycopg.AsyncConnection[Row]):
    """A connection to PostgreSQL for use in a trio run.

    The interface is that of `psycopg.AsyncConnection`. Use it from one task at a time; a second
    one waits for the first one's statement. See the module's docstring for cancellation.
    """

    __module__ = "persistence.connection"

    def __init__(
        self,
        pgconn: PGconn,
        row_factory: AsyncRowFactory[Row] | None = None,
    ) -> None:
        super().__init__(pgconn)
        if row_factory is not None:
            self.row_factory = row_factory
        self.lock = _Lock()  # type: ignore[assignment]  # used as a context manager only
        self._poller = Poller(pgconn.socket)

    @classmethod
    async def connect(
        cls,
        conninfo: str = "",
        *,
        autocommit: bool = False,
        prepare_threshold: int | None = 5,
        context: AdaptContext | None = None,
        row_factory: AsyncRowFactory[Row] | None = None,
        cursor_factory: type[psycopg.AsyncCursor[Row]] | None = None,
        **kwargs: ConnParam,
    ) -> Self:
        """Connect and return the connection.

        Host names are resolved by trio; each address is tried in turn, for at most
        `connect_timeout` seconds (2 at least, as in libpq; 130 when not given).

        Args:
            conninfo: libpq connection string or URL.
            autocommit: see psycopg; `True` is what the pool uses.
            prepare_threshold: executions after which a statement is prepared (0: at once).
            context: where to take the adapters from.
            row_factory: how rows are made.
            cursor_factory: the class of the cursors.
            **kwargs: libpq parameters over those in `conninfo`.

        Raises:
            psycopg.OperationalError: no address accepted us; the text names each attempt.
            psycopg.ProgrammingError: `conninfo` is malformed.

        Cancellation leaves no connection behind.
        """
        params = await cls._get_connection_params(conninfo, **kwargs)
        timeout_s = timeout_from_conninfo(params)
        failures: list[tuple[str, e.Error]] = []
        for attempt in await _attempts(params):
            try:
                conn = await cls._attempt(make_conninfo("", **attempt), timeout_s)
            except e.Error as exc:
                where = f"{attempt.get('host')} ({attempt.get('hostaddr')}):{attempt.get('port')}"
                failures.append((where, exc))
            else:
                break
        else:
            last = failures[-1][1]
            if len(failures) == 1:
                raise last.with_traceback(None)
            tried = "\n".join(f"- {where}: {exc}" for where, exc in failures)
            raise type(last)(f"{last}\nAll attempts:\n{tried}", pgconn=last.pgconn)

        conn._autocommit = bool(autocommit)
        if row_factory:
            conn.row_factory = row_factory
        if cursor_factory:
            conn.cursor_factory = cursor_factory
        if context:
            conn._adapters = AdaptersMap(context.adapters)
        conn.prepare_threshold = prepare_threshold
        return conn

    @classmethod
    async def _attempt(cls, conninfo: str, timeout_s: float) -> Self:
        with trio.move_on_after(timeout_s):
            return await drive_connect(cls._connect_gen(conninfo))
        raise e.ConnectionTimeout("connection timeout expired")

    async def close(self) -> None:
        """Close the connection at once; whoever waits on it gets `psycopg.OperationalError`."""
        if not self.closed:
            self._closed = True
            self._finish_socket()

    def is_quiet(self) -> bool:
        """Say, without waiting, whether an idle connection is open with nothing to be read.

        A server that is not listened to speaks unasked to say farewell, hardly ever for anything
        else: a connection that is not quiet is best replaced.
        """
        try:
            return self.pgconn.status == _OK and not self._poller.ready(_READABLE)
        except e.OperationalError:
            return False

    def forget_characteristics(self) -> None:
        """Have the next transactions begin with the session's own isolation level and access mode.

        What `set_isolation_level(None)` and its like do, without being a checkpoint.
        """
        self._isolation_level = self._read_only = self._deferrable = None
        self._begin_statement = b""

    async def wait(self, gen: PQGen[R], interval: float = 0.0, timeout: float | None = None) -> R:
        """Run a protocol generator of this connection to its end.

        Args:
            gen: the generator.
            interval: ignored; trio needs no wake-ups to notice an interrupt.
            timeout: seconds, `None` for no limit.

        Raises:
            psycopg.errors._WaitTimeout: `timeout` passed; the statement goes on.

        Cancellation: see the module's docstring.
        """
        # What has begun must be brought to its end; only a new statement can be left unsent.
        if self.pgconn.transaction_status != _ACTIVE:
            await trio.lowlevel.checkpoint_if_cancelled()
        return await self._run(gen, timeout)

    async def _run(self, gen: PQGen[R], timeout: float | None = None) -> R:
        """`wait`, but started even in a cancelled scope."""
        try:
            return await drive(gen, self._poller, deadline_in(timeout))
        except Exception:
            raise
        except BaseException:  # Cancelled, KeyboardInterrupt: the generator is suspended
            if self.pgconn.transaction_status == _ACTIVE:
                await self._interrupt(gen)
            raise

    async def _interrupt(self, gen: PQGen[Any]) -> None:
        """Have the server stop the statement and read its answer, or close the connection."""
        with trio.CancelScope(shield=True):
            deadline = trio.current_time() + CANCEL_TIMEOUT_S
            try:
                await self.cancel_safe(timeout=CANCEL_TIMEOUT_S)
                await drive(gen, self._poller, deadline)
            except e.QueryCanceled:
                pass
            except BaseException as exc:
                if self.pgconn.transaction_status == _ACTIVE:
                    self._abandon(f"interrupted statement did not end ({exc})")
                if not isinstance(exc, Exception):
                    raise

    def _abandon(self, why: str) -> None:
        """Close a connection that is in an unknown state."""
        logger.warning("%s: closing the connection", why)
        self._finish_socket()

    def _finish_socket(self) -> None:
        if self.pgconn.status == _OK:
            trio.lowlevel.notify_closing(self._poller.fd)
        self.pgconn.finish()

    async def cancel_safe(self, *, timeout: float = 30.0) -> None:
        """Ask the server to stop the statement that runs; returns when it has been told.

        Args:
            timeout: seconds for telling it, 0 for no limit.

        Raises:
            psycopg.errors.CancellationTimeout: it could not be told in time.
        """
        if not self._should_cancel():
            return
        with trio.move_on_after(timeout or float("inf")):
            if capabilities.has_cancel_safe():
                await drive_connect(self._cancel_gen())
            else:
                await trio.to_thread.run_sync(self.cancel, abandon_on_cancel=True)
            return
        raise e.CancellationTimeout("cancellation timeout expired")

    async def _try_cancel(self, *, timeout: float = CANCEL_TIMEOUT_S) -> None:
        if self.pgconn.transaction_status != _ACTIVE:
            return
        with trio.CancelScope(shield=True):
            try:
                await self.cancel_safe(timeout=min(timeout, CANCEL_TIMEOUT_S))
            except Exception as exc:
                logger.warning("query cancellation failed: %s", exc)

    @asynccontextmanager
    async def transaction(
        self, savepoint_name: str | None = None, force_rollback: bool = False
    ) -> AsyncIterator[AsyncTransaction]:
        """Run the block in a transaction, or in a savepoint inside one.

        Cancellation before the end of the block rolls back; COMMIT itself is shielded.
        """
        block = TrioTransaction(self, savepoint_name, force_rollback)
        if self._pipeline:
            async with self.pipeline(), block, self.pipeline():
                yield block
        else:
            async with block:
                yield block

    @asynccontextmanager
    async def pipeline(self) -> AsyncIterator[AsyncPipeline]:
        """Send the block's statements without waiting for each one's answer."""
        async with self.lock:
            self._check_connection_ok()
            if self._pipeline is None:
                self._pipeline = TrioPipeline(self)
            pipeline = self._pipeline
        try:
            async with pipeline:
                yield pipeline
        finally:
            # Without the lock: nothing here may be a checkpoint, and nothing runs in between.
            if pipeline.level == 0:
                self._pipeline = None

    @asynccontextmanager
    async def _pipeline_nolock(self) -> AsyncIterator[AsyncPipeline]:
        """The pipeline of one `executemany()`, which holds the lock already."""
        assert self._pipeline is None
        pipeline = self._pipeline = TrioPipeline(self, _no_lock=True)
        try:
            async with pipeline:
                yield pipeline
        finally:
            self._pipeline = None


async def _attempts(params: ConnDict) -> list[ConnDict]:
    """Split connection parameters into one set for each address to try, in order.

    The same as psycopg's `conninfo_attempts_async`, whose name resolution is asyncio's.
    """
    standby_first = get_param(params, "target_session_attrs") == "prefer-standby"
    if standby_first:
        params = {k: v for k, v in params.items() if k != "target_session_attrs"}
    attempts: list[ConnDict] = []
    failure: e.OperationalError | None = None
    for attempt in split_attempts(params):
        try:
            attempts += await _resolve(attempt)
        except OSError as exc:
            failure = e.OperationalError(f"failed to resolve host {attempt.get('host')!r}: {exc}")
    if not attempts:
        assert failure is not None
        raise failure
    if get_param(params, "load_balance_hosts") == "random":
        shuffle(attempts)
    if standby_first:
        attempts = [{**a, "target_session_attrs": "standby"} for a in attempts] + attempts
    return attempts


async def _resolve(attempt: ConnDict) -> list[ConnDict]:
    """Give `hostaddr` to parameters with a host name: one set for each of its addresses."""
    host = get_param(attempt, "host")
    # A path, or "@name" in the abstract namespace, is a Unix socket.
    if not host or host[0] in "/@" or get_param(attempt, "hostaddr"):
        return [attempt]
    if is_ip_address(host):
        return [{**attempt, "hostaddr": host}]
    default = get_param_def("port")
    port = get_param(attempt, "port") or (default and default.compiled) or "5432"
    found = await trio.socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP
    )
    return [{**attempt, "hostaddr": str(address[0])} for *_, address in found]
