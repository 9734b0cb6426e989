"""`TrioConnection` against a real server: what works, and what is left after an interruption."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
import trio
import trio.testing
from psycopg import errors as pg
from psycopg.pq import PipelineStatus, TransactionStatus

from persistence.connection import TrioConnection
from tests.support.postgres import PostgresForTests

Connection = TrioConnection[tuple[Any, ...]]

SLEEP = "SELECT pg_sleep(600)"

pytestmark = pytest.mark.fail_after(60)


async def one(conn: Connection, query: str, params: list[Any] | None = None) -> Any:
    cursor = await conn.execute(query.encode(), params)
    row = await cursor.fetchone()
    assert row is not None
    return row[0]


async def assert_usable(conn: Connection) -> None:
    assert conn.pgconn.transaction_status == TransactionStatus.IDLE
    assert conn.pgconn.pipeline_status == PipelineStatus.OFF
    assert not conn.lock.locked()
    assert await one(conn, "SELECT 42") == 42


async def until_waiting(observer: Connection, waiting: Connection, wanted: str) -> None:
    """Return once a session waits for something: ``PgSleep``, or an ``advisory`` lock."""
    query = "SELECT wait_event FROM pg_stat_activity WHERE pid = %s"
    while await one(observer, query, [waiting.info.backend_pid]) != wanted:
        await trio.lowlevel.checkpoint()


@pytest.fixture
async def observer(database_url: str) -> AsyncIterator[Connection]:
    """Another connection, to see what the first one is at."""
    conn: Connection = await TrioConnection.connect(database_url, autocommit=True)
    async with conn:
        yield conn


async def cancel_asleep(
    observer: Connection, sleeper: Connection, run: Callable[[], Awaitable[object]]
) -> None:
    """Run something and cancel it when its session is asleep on the server."""
    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as scope:

            async def cancel() -> None:
                await until_waiting(observer, sleeper, "PgSleep")
                scope.cancel()

            nursery.start_soon(cancel)
            await run()
            await trio.lowlevel.checkpoint()
    assert scope.cancelled_caught


async def test_statements_are_prepared_and_answer_rows(connection: Connection) -> None:
    for number in range(8):
        assert await one(connection, "SELECT %s::int + 1", [number]) == number + 1
    assert await one(connection, "SELECT count(*) FROM pg_prepared_statements") == 1


async def test_big_results_and_parameters_pass(connection: Connection) -> None:
    text = "x" * 5_000_000
    assert await one(connection, "SELECT %s::text || 'y'", [text]) == text + "y"


async def test_executemany_and_copy(connection: Connection) -> None:
    await connection.execute("CREATE TABLE t (n int)")
    async with connection.cursor() as cursor:
        await cursor.executemany("INSERT INTO t VALUES (%s)", [(n,) for n in range(2000)])
        async with cursor.copy("COPY t FROM STDIN") as copy:
            for n in range(2000, 20_000):
                await copy.write_row([n])
        seen = 0
        async with cursor.copy("COPY t TO STDOUT") as out:
            async for _ in out.rows():
                seen += 1
    assert seen == 20_000
    await assert_usable(connection)


async def test_stream_and_server_side_cursor(connection: Connection) -> None:
    async with connection.cursor() as cursor:
        rows = [row[0] async for row in cursor.stream("SELECT generate_series(1, 500)")]
    assert rows == list(range(1, 501))
    async with connection.transaction(), connection.cursor(name="c") as server_side:
        await server_side.execute("SELECT generate_series(1, 500)")
        assert len(await server_side.fetchall()) == 500


async def test_pipeline_answers_each_statement(connection: Connection) -> None:
    async with connection.pipeline():
        cursors = [await connection.execute("SELECT %s::int", [n]) for n in range(50)]
    assert [await cursor.fetchone() for cursor in cursors] == [(n,) for n in range(50)]
    await assert_usable(connection)


async def test_pipeline_of_more_than_the_socket_holds(connection: Connection) -> None:
    text = "x" * 200_000
    async with connection.pipeline():
        cursors = [await connection.execute("SELECT %s::text", [text]) for _ in range(40)]
    for cursor in cursors:
        assert await cursor.fetchone() == (text,)


async def test_error_in_pipeline_rolls_back_and_leaves_connection_usable(
    connection: Connection,
) -> None:
    await connection.execute("CREATE TABLE t (n int CHECK (n > 0))")

    async def insert() -> None:
        async with connection.pipeline(), connection.transaction():
            await connection.execute("INSERT INTO t VALUES (1)")
            await connection.execute("INSERT INTO t VALUES (-1)")

    with pytest.raises(pg.CheckViolation):
        await insert()
    await assert_usable(connection)
    assert await one(connection, "SELECT count(*) FROM t") == 0


async def test_nested_transactions_and_rollback(connection: Connection) -> None:
    await connection.execute("CREATE TABLE t (n int)")
    async with connection.transaction():
        await connection.execute("INSERT INTO t VALUES (1)")
        async with connection.transaction(force_rollback=True):
            await connection.execute("INSERT INTO t VALUES (2)")
    assert await one(connection, "SELECT array_agg(n) FROM t") == [1]


async def test_cancelled_statement_ends_on_the_server(
    connection: Connection, observer: Connection
) -> None:
    await cancel_asleep(observer, connection, partial(connection.execute, SLEEP))
    query = "SELECT state FROM pg_stat_activity WHERE pid = %s"
    assert await one(observer, query, [connection.info.backend_pid]) == "idle"
    await assert_usable(connection)


async def test_statement_is_not_sent_in_a_cancelled_scope(connection: Connection) -> None:
    await connection.execute("CREATE TABLE t (n int)")
    with trio.CancelScope() as scope:
        scope.cancel()
        await connection.execute("INSERT INTO t VALUES (1)")
    assert scope.cancelled_caught
    assert await one(connection, "SELECT count(*) FROM t") == 0


async def test_cancelled_transaction_rolls_back(
    connection: Connection, observer: Connection
) -> None:
    await connection.execute("CREATE TABLE t (n int)")
    with trio.CancelScope() as scope:
        async with connection.transaction():
            await connection.execute("INSERT INTO t VALUES (1)")
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught
    await assert_usable(connection)

    async def insert_and_sleep() -> None:
        async with connection.transaction():
            await connection.execute("INSERT INTO t VALUES (1)")
            await connection.execute(SLEEP)

    await cancel_asleep(observer, connection, insert_and_sleep)
    await assert_usable(connection)
    assert await one(connection, "SELECT count(*) FROM t") == 0


async def test_cancellation_before_commit_rolls_back(connection: Connection) -> None:
    await connection.execute("CREATE TABLE t (n int)")
    with trio.CancelScope() as scope:
        async with connection.transaction():
            await connection.execute("INSERT INTO t VALUES (1)")
            scope.cancel()
    assert scope.cancelled_caught
    await assert_usable(connection)
    assert await one(connection, "SELECT count(*) FROM t") == 0


@pytest.mark.parametrize("pipelined", [False, True])
async def test_cancellation_during_commit_lets_it_finish(
    connection: Connection, observer: Connection, pipelined: bool
) -> None:
    # A deferred trigger makes COMMIT itself wait.
    await connection.execute(
        """
        CREATE TABLE t (n int);
        CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
            'BEGIN PERFORM pg_advisory_xact_lock(1); RETURN NULL; END';
        CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW EXECUTE FUNCTION slow()
        """
    )

    async def insert() -> None:
        async with connection.transaction():
            await connection.execute("INSERT INTO t VALUES (1)")

    await observer.execute("SELECT pg_advisory_lock(1)")
    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as scope:

            async def cancel() -> None:
                await until_waiting(observer, connection, "advisory")
                scope.cancel()
                # What a cancellation does to a commit, it has done by then.
                await trio.testing.wait_all_tasks_blocked(0.1)
                await observer.execute("SELECT pg_advisory_unlock(1)")

            nursery.start_soon(cancel)
            if pipelined:
                async with connection.pipeline():
                    await insert()
            else:
                await insert()
            await trio.lowlevel.checkpoint()
    assert scope.cancelled_caught
    assert await one(connection, "SELECT count(*) FROM t") == 1
    await assert_usable(connection)


async def test_cancelled_pipeline_is_drained(connection: Connection, observer: Connection) -> None:
    async def sleep_in_a_pipeline() -> None:
        async with connection.pipeline() as pipeline:
            await connection.execute("SELECT 1")
            await connection.execute(SLEEP)
            await connection.execute("SELECT 2")
            await pipeline.sync()

    for _ in range(2):
        await cancel_asleep(observer, connection, sleep_in_a_pipeline)
        await assert_usable(connection)


async def test_pipeline_cancelled_outside_a_statement_is_drained(
    connection: Connection, observer: Connection
) -> None:
    with trio.CancelScope() as scope:
        async with connection.pipeline():
            cursor = await connection.execute("SELECT 1")
            await cursor.fetchone()
            await connection.execute(SLEEP)
            # Sooner, there would be nothing to cancel yet, and the end would be that of the sleep.
            await until_waiting(observer, connection, "PgSleep")
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught
    await assert_usable(connection)


async def test_cancelled_copy_leaves_connection_usable(connection: Connection) -> None:
    await connection.execute("CREATE TABLE t (n int)")
    with trio.CancelScope() as scope:
        async with connection.cursor() as cursor, cursor.copy("COPY t FROM STDIN") as copy:
            await copy.write_row([1])
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught
    await assert_usable(connection)
    assert await one(connection, "SELECT count(*) FROM t") == 0


async def test_statement_that_cannot_be_cancelled_costs_the_connection(
    connection: Connection, observer: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unreachable(*, timeout: float) -> None:
        raise pg.OperationalError("no route")

    monkeypatch.setattr(connection, "cancel_safe", unreachable)
    await cancel_asleep(observer, connection, partial(connection.execute, SLEEP))
    assert connection.closed


async def test_terminated_session_raises_and_closes(
    connection: Connection, postgres: PostgresForTests
) -> None:
    async with trio.open_nursery() as nursery:

        async def terminate() -> None:
            await trio.to_thread.run_sync(postgres.terminate, connection.info.backend_pid)

        nursery.start_soon(terminate)
        with pytest.raises(pg.AdminShutdown):
            await connection.execute(SLEEP)
    assert connection.closed


async def test_closing_wakes_whoever_waits(connection: Connection) -> None:
    async with trio.open_nursery() as nursery:

        async def close() -> None:
            await trio.testing.wait_all_tasks_blocked(0.05)
            await connection.close()

        nursery.start_soon(close)
        with pytest.raises(psycopg.OperationalError):
            await connection.execute(SLEEP)


async def test_second_task_waits_for_the_first_ones_statement(connection: Connection) -> None:
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(one, connection, "SELECT 1 FROM pg_sleep(0.02)")
    await assert_usable(connection)


async def test_notifications_arrive_and_time_out(connection: Connection, database_url: str) -> None:
    await connection.execute("LISTEN news")
    assert [n async for n in connection.notifies(timeout=0)] == []
    sender: Connection = await TrioConnection.connect(database_url, autocommit=True)
    async with sender:
        await sender.execute("NOTIFY news, 'hello'")
    got = [n async for n in connection.notifies(timeout=30, stop_after=1)]
    assert [(n.channel, n.payload) for n in got] == [("news", "hello")]
    with trio.move_on_after(0.05) as scope:
        await anext(connection.notifies())
    assert scope.cancelled_caught
    await assert_usable(connection)


async def test_unreachable_hosts_are_all_named(tmp_path: Path) -> None:
    with pytest.raises(psycopg.OperationalError, match="no-such-socket"):
        await TrioConnection.connect(f"host={tmp_path}/no-such-socket")
    with pytest.raises(psycopg.OperationalError, match=r"(?s)first.*second"):
        await TrioConnection.connect(f"host={tmp_path}/first,{tmp_path}/second")
    with pytest.raises(psycopg.OperationalError, match="resolve"):
        await TrioConnection.connect("host=no-such-host.invalid")


async def test_second_host_is_tried_when_the_first_is_away(
    postgres: PostgresForTests, tmp_path: Path
) -> None:
    folder = psycopg.conninfo.conninfo_to_dict(postgres.url("postgres"))["host"]
    conn: Connection = await TrioConnection.connect(
        f"host={tmp_path},{folder} user=postgres dbname=postgres port=5432"
    )
    async with conn:
        assert await one(conn, "SELECT 1") == 1


async def test_silent_server_times_out() -> None:
    listener = trio.socket.socket()
    with listener:
        await listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        port = listener.getsockname()[1]
        with pytest.raises(pg.ConnectionTimeout):
            await TrioConnection.connect(f"host=localhost port={port} connect_timeout=2")


async def test_refused_user_is_reported(postgres: PostgresForTests) -> None:
    with pytest.raises(psycopg.OperationalError, match="nobody"):
        await TrioConnection.connect(postgres.url("postgres"), user="nobody")


async def test_host_name_is_resolved(postgres: PostgresForTests) -> None:
    path = psycopg.conninfo.conninfo_to_dict(postgres.url("postgres"))["host"]

    async def forward(source: trio.abc.ReceiveStream, sink: trio.abc.SendStream) -> None:
        async for data in source:
            await sink.send_all(data)

    async def serve(tcp: trio.SocketStream) -> None:
        unix = await trio.open_unix_socket(f"{path}/.s.PGSQL.5432")
        async with tcp, unix, trio.open_nursery() as pair:
            pair.start_soon(forward, tcp, unix)
            await forward(unix, tcp)
            pair.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        port = listener.socket.getsockname()[1]
        conn: Connection = await TrioConnection.connect(
            f"host=localhost port={port} user=postgres dbname=postgres"
        )
        async with conn:
            assert await one(conn, "SELECT 1") == 1
            assert conn.info.host == "localhost"
            # The cancel request is a connection of its own, to the same address.
            observer: Connection = await TrioConnection.connect(postgres.url("postgres"))
            async with observer:
                await cancel_asleep(observer, conn, partial(conn.execute, SLEEP))
            assert not conn.closed
        nursery.cancel_scope.cancel()
