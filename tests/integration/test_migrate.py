"""The migrations runner, on folders of its own and on the real one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio
from psycopg import errors as pg

from persistence.connection import TrioConnection
from persistence.errors import MigrationChanged, SchemaTooNew
from persistence.migrate import MIGRATIONS, current_version, known_version, migrate
from tests.support.postgres import PostgresForTests

Connection = TrioConnection[tuple[Any, ...]]

pytestmark = pytest.mark.fail_after(60)

FILES = {
    "0001_first.sql": "CREATE TABLE a (n int); CREATE VIEW v AS SELECT n FROM a;",
    "0002_second.sql": "ALTER TABLE a ADD COLUMN m text DEFAULT '100%'; CREATE INDEX i ON a (m);",
    "0003_third.sql": "DROP VIEW v; CREATE TABLE b (n int PRIMARY KEY);",
}


@pytest.fixture
async def empty(postgres: PostgresForTests) -> AsyncIterator[Connection]:
    """A connection to a database in which nothing was ever migrated."""
    with postgres.database(template="template1") as url:
        conn: Connection = await TrioConnection.connect(url, autocommit=True)
        async with conn:
            yield conn


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    return tmp_path


async def schema(conn: Connection) -> list[tuple[Any, ...]]:
    """Describe everything that migrations made, in a comparable form."""
    cursor = await conn.execute(
        """
        SELECT 'column', table_name, column_name, ordinal_position::text, data_type,
               is_nullable, column_default
        FROM information_schema.columns WHERE table_schema = 'public'
        UNION ALL
        SELECT 'index', tablename, indexname, indexdef, NULL, NULL, NULL
        FROM pg_indexes WHERE schemaname = 'public'
        UNION ALL
        SELECT 'constraint', conrelid::regclass::text, conname, pg_get_constraintdef(oid),
               NULL, NULL, NULL
        FROM pg_constraint WHERE connamespace = 'public'::regnamespace
        UNION ALL
        SELECT 'view', viewname, definition, NULL, NULL, NULL, NULL
        FROM pg_views WHERE schemaname = 'public'
        UNION ALL
        SELECT 'trigger', tgrelid::regclass::text, pg_get_triggerdef(oid), NULL, NULL, NULL, NULL
        FROM pg_trigger WHERE NOT tgisinternal
        UNION ALL
        SELECT 'function', oid::regprocedure::text, prosrc, NULL, NULL, NULL, NULL
        FROM pg_proc WHERE pronamespace = 'public'::regnamespace
        ORDER BY 1, 2, 3, 4
        """
    )
    return await cursor.fetchall()


async def test_applies_what_is_missing_once(empty: Connection, folder: Path) -> None:
    assert await current_version(empty) == 0
    applied = await migrate(empty, folder)
    assert [(m.version, m.name) for m in applied] == [(1, "first"), (2, "second"), (3, "third")]
    assert await current_version(empty) == known_version(folder) == 3
    assert await migrate(empty, folder) == []


@pytest.mark.parametrize("real", [False, True])
async def test_fresh_and_stepwise_schemas_are_equal(
    postgres: PostgresForTests, folder: Path, tmp_path: Path, real: bool
) -> None:
    source = MIGRATIONS if real else folder
    steps = tmp_path / "steps"
    steps.mkdir()
    with postgres.database("template1") as one, postgres.database("template1") as other:
        fresh: Connection = await TrioConnection.connect(one, autocommit=True)
        stepwise: Connection = await TrioConnection.connect(other, autocommit=True)
        async with fresh, stepwise:
            await migrate(fresh, source)
            for path in sorted(source.glob("*.sql")):
                (steps / path.name).write_bytes(path.read_bytes())
                assert len(await migrate(stepwise, steps)) == 1
            assert await schema(fresh) == await schema(stepwise)
            assert await current_version(fresh) == known_version(source)


async def test_newer_database_is_refused(empty: Connection, folder: Path) -> None:
    await migrate(empty, folder)
    (folder / "0003_third.sql").unlink()
    with pytest.raises(SchemaTooNew) as caught:
        await migrate(empty, folder)
    assert (caught.value.found, caught.value.known) == (3, 2)


async def test_changed_file_is_refused(empty: Connection, folder: Path) -> None:
    await migrate(empty, folder)
    (folder / "0002_second.sql").write_text("SELECT 1")
    (folder / "0004_fourth.sql").write_text("CREATE TABLE c (n int)")
    with pytest.raises(MigrationChanged) as caught:
        await migrate(empty, folder)
    assert (caught.value.version, caught.value.name) == (2, "second")
    assert await current_version(empty) == 3


async def test_failed_migration_leaves_no_trace(empty: Connection, folder: Path) -> None:
    (folder / "0003_third.sql").write_text("CREATE TABLE b (n int); SELECT 1/0;")
    with pytest.raises(pg.DivisionByZero):
        await migrate(empty, folder)
    assert await current_version(empty) == 2
    cursor = await empty.execute("SELECT to_regclass('b') IS NULL")
    assert await cursor.fetchone() == (True,)
    (folder / "0003_third.sql").write_text(FILES["0003_third.sql"])
    assert [m.version for m in await migrate(empty, folder)] == [3]


async def test_two_at_once_apply_each_migration_once(
    postgres: PostgresForTests, folder: Path
) -> None:
    applied: list[int] = []
    with postgres.database("template1") as url:

        async def server() -> None:
            conn: Connection = await TrioConnection.connect(url, autocommit=True)
            async with conn:
                applied.extend(m.version for m in await migrate(conn, folder))

        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(server)
    assert applied == [1, 2, 3]


async def test_cancelled_migration_lets_the_next_one_in(
    postgres: PostgresForTests, empty: Connection, folder: Path
) -> None:
    (folder / "0003_third.sql").write_text("SELECT pg_sleep(600)")
    other: Connection = await TrioConnection.connect(
        postgres.url(empty.info.dbname), autocommit=True
    )
    async with other:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(migrate, empty, folder)
            query = "SELECT wait_event FROM pg_stat_activity WHERE pid = %s"
            asleep: object = None
            while asleep != ("PgSleep",):
                cursor = await other.execute(query, [empty.info.backend_pid])
                asleep = await cursor.fetchone()
            nursery.cancel_scope.cancel()
        (folder / "0003_third.sql").write_text(FILES["0003_third.sql"])
        assert [m.version for m in await migrate(other, folder)] == [3]


async def test_hole_in_the_numbers_is_refused(folder: Path) -> None:
    (folder / "0002_second.sql").unlink()
    with pytest.raises(ValueError, match="expected a migration named 0002_name"):
        known_version(folder)
