"""The pool: who gets a connection when, what comes back, and how errors leave it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from psycopg import IsolationLevel
from psycopg import errors as pg

from persistence.connection import TrioConnection
from persistence.durability import check_durability
from persistence.errors import ConstraintViolated, OutcomeUnknown, Unavailable, UnsafeDurability
from persistence.pool import Pool
from server.embedded import EmbeddedPostgres
from tests.support.patience import PATIENCE_S
from tests.support.postgres import PostgresForTests

Connection = TrioConnection[tuple[Any, ...]]

pytestmark = pytest.mark.fail_after(60)


@asynccontextmanager
async def all_taken(pool: Pool) -> AsyncIterator[None]:
    """Hold every connection of the pool."""
    async with trio.open_nursery() as nursery:

        async def hold(*, task_status: trio.TaskStatus[None]) -> None:
            async with pool.connection():
                task_status.started()
                await trio.sleep_forever()

        for _ in range(pool.size):
            await nursery.start(hold)
        yield
        nursery.cancel_scope.cancel()


async def pid_of(pool: Pool) -> int:
    async with pool.connection() as conn:
        return conn.info.backend_pid


async def terminate(postgres: PostgresForTests, conn: Connection) -> None:
    await trio.to_thread.run_sync(postgres.terminate, conn.info.backend_pid)


async def count_rows(pool: Pool) -> int:
    async with pool.connection(read_only=True) as conn:
        row = await (await conn.execute("SELECT count(*) FROM t")).fetchone()
    assert row is not None
    return int(row[0])


async def test_connection_is_used_again(pool: Pool) -> None:
    assert await pid_of(pool) == await pid_of(pool)
    assert (pool.idle, pool.waiting) == (1, 0)


async def test_exhausted_pool_is_unavailable_after_its_timeout(database_url: str) -> None:
    async with Pool(database_url, size=2, timeout_s=1) as pool, all_taken(pool):
        started = trio.current_time()
        with pytest.raises(Unavailable, match="in use"):
            await pid_of(pool)
        assert trio.current_time() - started >= 1


async def test_waiters_are_served_in_order(database_url: str) -> None:
    served: list[int] = []
    async with (
        Pool(database_url, size=1, timeout_s=PATIENCE_S) as pool,
        trio.open_nursery() as nursery,
    ):

        async def use(number: int) -> None:
            async with pool.connection():
                served.append(number)

        async with pool.connection():
            for number in range(5):
                nursery.start_soon(use, number)
                await trio.testing.wait_all_tasks_blocked()
            assert pool.waiting == 5
    assert served == [0, 1, 2, 3, 4]


async def test_cancelled_waiter_takes_no_connection_along(database_url: str) -> None:
    async with Pool(database_url, size=1, timeout_s=PATIENCE_S) as pool:
        async with all_taken(pool):
            with trio.move_on_after(0.05) as scope:
                await pid_of(pool)
            assert scope.cancelled_caught
        assert await pid_of(pool)


async def test_open_transaction_is_rolled_back_on_return(pool: Pool) -> None:
    async with pool.connection() as conn:
        pid = conn.info.backend_pid
        await conn.execute("CREATE TABLE t (n int)")
        await conn.execute("BEGIN")
        await conn.execute("INSERT INTO t VALUES (1)")
    assert await pid_of(pool) == pid
    assert await count_rows(pool) == 0


async def test_failed_transaction_is_rolled_back_on_return(pool: Pool) -> None:
    async with pool.connection() as conn:
        pid = conn.info.backend_pid
        await conn.execute("BEGIN")
        with pytest.raises(pg.DivisionByZero):
            await conn.execute("SELECT 1/0")
    assert await pid_of(pool) == pid


async def test_cancelled_block_returns_a_working_connection(pool: Pool) -> None:
    with trio.CancelScope() as scope:
        async with pool.transaction() as conn:
            scope.deadline = trio.current_time() + 0.1
            await conn.execute("SELECT pg_sleep(600)")
    assert scope.cancelled_caught
    assert pool.idle == 1
    assert await pid_of(pool)


async def test_connection_that_died_idle_is_replaced(
    pool: Pool, postgres: PostgresForTests
) -> None:
    async with pool.connection() as conn:
        first = conn.info.backend_pid
    await terminate(postgres, conn)
    async with pool.connection() as conn:
        assert conn.info.backend_pid != first
        await conn.execute("SELECT 1")


async def test_loss_before_commit_is_unavailable(pool: Pool, postgres: PostgresForTests) -> None:
    async def lose() -> None:
        async with pool.transaction() as conn:
            await terminate(postgres, conn)
            await conn.execute("SELECT 1")

    with pytest.raises(Unavailable) as caught:
        await lose()
    assert not isinstance(caught.value, OutcomeUnknown)
    assert await pid_of(pool)


async def test_loss_during_commit_is_an_unknown_outcome(
    pool: Pool, postgres: PostgresForTests
) -> None:
    async with pool.connection() as conn:
        await conn.execute(
            """
            CREATE TABLE t (n int);
            CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
                'BEGIN PERFORM pg_sleep(600); RETURN NULL; END';
            CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED
                FOR EACH ROW EXECUTE FUNCTION slow()
            """
        )
    async with trio.open_nursery() as nursery:

        async def terminate_soon(conn: Connection) -> None:
            await trio.testing.wait_all_tasks_blocked(0.05)
            await terminate(postgres, conn)

        async def insert() -> None:
            async with pool.transaction() as conn:
                await conn.execute("INSERT INTO t VALUES (1)")
                nursery.start_soon(terminate_soon, conn)

        with pytest.raises(OutcomeUnknown):
            await insert()


async def test_loss_in_autocommit_is_unknown_unless_the_block_only_reads(
    pool: Pool, postgres: PostgresForTests
) -> None:
    async def lose(read_only: bool) -> None:
        async with pool.connection(read_only=read_only) as conn:
            await terminate(postgres, conn)
            await conn.execute("SELECT 1")

    for read_only in (False, True):
        with pytest.raises(Unavailable) as caught:
            await lose(read_only)
        assert isinstance(caught.value, OutcomeUnknown) is not read_only


async def test_constraint_is_named(pool: Pool) -> None:
    async with pool.connection() as conn:
        await conn.execute("CREATE TABLE t (n int CONSTRAINT positive CHECK (n > 0))")
    with pytest.raises(ConstraintViolated) as caught:
        async with pool.transaction() as conn:
            await conn.execute("INSERT INTO t VALUES (-1)")
    assert (caught.value.constraint, caught.value.table) == ("positive", "t")


async def test_bug_keeps_its_own_error(pool: Pool) -> None:
    with pytest.raises(pg.UndefinedTable):
        async with pool.transaction() as conn:
            await conn.execute("SELECT * FROM nowhere")


async def test_swallowed_error_is_no_commit(pool: Pool) -> None:
    async def swallow() -> None:
        async with pool.transaction() as conn:
            with pytest.raises(pg.DivisionByZero):
                await conn.execute("SELECT 1/0")

    with pytest.raises(RuntimeError, match="swallowed"):
        await swallow()


async def test_transaction_characteristics_do_not_outlive_it(pool: Pool) -> None:
    query = (
        "SELECT current_setting('transaction_isolation'), current_setting('transaction_read_only')"
    )
    seen = []
    async with pool.transaction(isolation=IsolationLevel.REPEATABLE_READ, read_only=True) as conn:
        seen.append(await (await conn.execute(query)).fetchone())
    async with pool.transaction() as conn:
        seen.append(await (await conn.execute(query)).fetchone())
    assert seen == [("repeatable read", "on"), ("read committed", "off")]


async def test_new_connections_are_configured_and_named(database_url: str) -> None:
    async def configure(conn: Connection) -> None:
        await conn.execute("SET work_mem = '5MB'")

    async with (
        Pool(database_url, size=1, timeout_s=PATIENCE_S, configure=configure) as pool,
        pool.connection() as conn,
    ):
        cursor = await conn.execute("SHOW work_mem")
        assert await cursor.fetchone() == ("5MB",)
        cursor = await conn.execute("SHOW application_name")
        row = await cursor.fetchone()
        assert row is not None
        assert row[0].startswith("cardroom/")


async def test_absent_database_is_unavailable_and_heals(tmp_path: Path) -> None:
    server = await EmbeddedPostgres.start(tmp_path, options={"shared_buffers": "16MB"})
    url = server.url()
    async with Pool(url, size=2, timeout_s=1) as pool:
        await pid_of(pool)
        await server.stop()
        with pytest.raises(Unavailable):
            await pid_of(pool)
        assert pool.idle == 0
        server = await EmbeddedPostgres.start(tmp_path)
        assert await pid_of(pool)
    await server.stop()


async def test_connection_made_while_the_database_comes_back(tmp_path: Path) -> None:
    server = await EmbeddedPostgres.start(tmp_path, options={"shared_buffers": "16MB"})
    url = server.url()
    await server.stop()
    async with Pool(url, size=1, timeout_s=PATIENCE_S) as pool, trio.open_nursery() as nursery:
        nursery.start_soon(pid_of, pool)
        await trio.testing.wait_all_tasks_blocked(0.01)
        server = await EmbeddedPostgres.start(tmp_path)
    await server.stop()


async def test_closed_pool_is_unavailable(pool: Pool, postgres: PostgresForTests) -> None:
    async with pool.connection() as conn:
        await pool.aclose()
    assert conn.closed
    with pytest.raises(Unavailable, match="closed"):
        await pid_of(pool)


async def test_unsafe_durability_is_refused_unless_allowed(connection: Connection) -> None:
    settings = await check_durability(connection, allow_unsafe=False)
    assert settings == {"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on"}
    await connection.execute("SET synchronous_commit = off")
    with pytest.raises(UnsafeDurability) as caught:
        await check_durability(connection, allow_unsafe=False)
    assert caught.value.settings == {"synchronous_commit": "off"}
    allowed = await check_durability(connection, allow_unsafe=True)
    assert allowed["synchronous_commit"] == "off"


async def test_deadlock_is_unavailable_with_nothing_committed(pool: Pool) -> None:
    async with pool.connection() as conn:
        await conn.execute("CREATE TABLE t (n int PRIMARY KEY, v int)")
        await conn.execute("INSERT INTO t VALUES (1, 0), (2, 0)")
    outcomes: list[str] = []

    async def update(first: int, second: int, gate: trio.Event, other: trio.Event) -> None:
        try:
            async with pool.transaction() as conn:
                await conn.execute("SET LOCAL deadlock_timeout = '50ms'")
                await conn.execute("UPDATE t SET v = v + 1 WHERE n = %s", [first])
                gate.set()
                await other.wait()
                await conn.execute("UPDATE t SET v = v + 1 WHERE n = %s", [second])
        except Unavailable as exc:
            outcomes.append(type(exc.__cause__).__name__)
        else:
            outcomes.append("committed")

    one, two = trio.Event(), trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(update, 1, 2, one, two)
        nursery.start_soon(update, 2, 1, two, one)
    assert sorted(outcomes) == ["DeadlockDetected", "committed"]
    assert await count_rows(pool) == 2


async def test_silent_database_is_unavailable_when_the_time_is_up(database_url: str) -> None:
    async with Pool(database_url, size=1, timeout_s=PATIENCE_S, block_timeout_s=0.5) as pool:
        with pytest.raises(OutcomeUnknown):
            async with pool.connection() as conn:
                await conn.execute("SELECT pg_sleep(600)")
        with pytest.raises(Unavailable) as caught:
            async with pool.connection(read_only=True) as conn:
                await conn.execute("SELECT pg_sleep(600)")
        assert not isinstance(caught.value, OutcomeUnknown)
        with pytest.raises(Unavailable) as caught:
            async with pool.transaction() as conn:
                await conn.execute("CREATE TABLE half_done (); SELECT pg_sleep(600)")
        assert not isinstance(caught.value, OutcomeUnknown)
        async with pool.connection(timeout_s=PATIENCE_S) as conn:
            await conn.execute("SELECT pg_sleep(0.6)")
            row = await (await conn.execute("SELECT to_regclass('half_done')")).fetchone()
            assert row == (None,)
