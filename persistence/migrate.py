"""Bring the schema to this server's version: numbered, forward-only SQL files.

A file `NNNN_name.sql` in the folder is one migration and one transaction; numbers begin at 1 and
have no holes. `schema_migrations` remembers which were applied, with the checksum of each: a file
that was applied is never edited, a new one is written instead. Statements that refuse to run in a
transaction (`CREATE INDEX CONCURRENTLY`) cannot be used.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio

from persistence.connection import CANCEL_TIMEOUT_S, TrioConnection
from persistence.errors import MigrationChanged, SchemaTooNew

MIGRATIONS = Path(__file__).parent / "migrations"

# Any number will do as long as all servers use the same one; these are the bytes of "cardroom".
_LOCK_KEY = int.from_bytes(b"cardroom", "big", signed=True)

_FILE_NAME = re.compile(r"(\d{4})_(\w+)\.sql")

_TABLE = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    version integer PRIMARY KEY,
    name text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)
"""

Connection = TrioConnection[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Migration:
    """One migration file.

    Attributes:
        version: its number, from 1.
        name: what the file's name says after the number.
        sql: its text.
        checksum: SHA-256 of the text, in hex.
    """

    version: int
    name: str
    sql: str
    checksum: str


def load_migrations(folder: Path = MIGRATIONS) -> list[Migration]:
    """Read the migrations in `folder`, in order.

    Raises:
        ValueError: a file is not named as it should be, or a number is missing or taken twice.
    """
    migrations = []
    for expected, path in enumerate(sorted(folder.glob("*.sql")), start=1):
        match = _FILE_NAME.fullmatch(path.name)
        if match is None or int(match[1]) != expected:
            raise ValueError(f"{path}: expected a migration named {expected:04}_name.sql")
        text = path.read_text(encoding="utf-8")
        checksum = hashlib.sha256(text.encode()).hexdigest()
        migrations.append(Migration(expected, match[2], text, checksum))
    return migrations


def known_version(folder: Path = MIGRATIONS) -> int:
    """Return the schema version that this server brings, 0 for none."""
    return len(load_migrations(folder))


async def current_version(conn: Connection) -> int:
    """Return the schema version of the database, 0 for an empty one."""
    exists = await conn.execute("SELECT to_regclass('schema_migrations') IS NOT NULL")
    row = await exists.fetchone()
    assert row is not None
    if not row[0]:
        return 0
    newest = await conn.execute("SELECT coalesce(max(version), 0) FROM schema_migrations")
    row = await newest.fetchone()
    assert row is not None
    return int(row[0])


async def migrate(conn: Connection, folder: Path = MIGRATIONS) -> list[Migration]:
    """Apply what the database does not have yet.

    Servers that start at the same time take turns; the later ones find nothing to do.

    Args:
        conn: an idle connection in autocommit mode.
        folder: where the migrations are.

    Returns:
        The migrations that were applied now, in order.

    Raises:
        SchemaTooNew: the database is newer than this server; nothing was changed.
        MigrationChanged: an applied file was edited; nothing was changed.
        psycopg.Error: a migration failed: it left no trace, those before it stay.
        ValueError: the folder's files are not numbered as they should be.

    Cancellation rolls the running migration back; those before it stay.
    """
    if not conn.autocommit:
        raise ValueError("migrations need a connection in autocommit mode")
    known = await trio.to_thread.run_sync(load_migrations, folder)
    await conn.execute("SELECT pg_advisory_lock(%s::bigint)", [_LOCK_KEY])
    try:
        missing = await _missing(conn, known)
        for migration in missing:
            async with conn.transaction():
                await conn.execute(migration.sql.encode())
                await conn.execute(
                    "INSERT INTO schema_migrations (version, name, checksum) VALUES (%s, %s, %s)",
                    [migration.version, migration.name, migration.checksum],
                )
    finally:
        await _unlock(conn)
    return missing


async def _missing(conn: Connection, known: list[Migration]) -> list[Migration]:
    """Compare what was applied with what is known; return what is left to do."""
    found = await current_version(conn)
    if found > len(known):
        raise SchemaTooNew(found, len(known))
    if found == 0:
        await conn.execute(_TABLE)
    cursor = await conn.execute(
        "SELECT version, name, checksum FROM schema_migrations ORDER BY version"
    )
    applied: list[tuple[int, str, str]] = [(v, n, c) for v, n, c in await cursor.fetchall()]
    for (version, name, checksum), migration in zip(applied, known, strict=False):
        if (version, checksum) != (migration.version, migration.checksum):
            raise MigrationChanged(version, name)
    return known[len(applied) :]


async def _unlock(conn: Connection) -> None:
    """Give the lock up, or close the connection, which gives it up too."""
    with trio.move_on_after(CANCEL_TIMEOUT_S, shield=True) as scope:
        if not conn.closed:
            await conn.execute("SELECT pg_advisory_unlock(%s::bigint)", [_LOCK_KEY])
    if scope.cancelled_caught:
        await conn.close()
