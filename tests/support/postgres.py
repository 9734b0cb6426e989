"""One PostgreSQL server for a test run, a migrated database of its own for each test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any, Self

import psutil
import psycopg
import trio

from persistence.connection import TrioConnection
from persistence.migrate import migrate
from server.embedded import EmbeddedPostgres
from tests.support.patience import PATIENCE_S

TEMPLATE = "cardroom_template"


class PostgresForTests:
    """The server, and databases cloned from a migrated template; made by `start`."""

    def __init__(self, server: EmbeddedPostgres) -> None:
        self.server = server
        self._numbers = count(1)

    @classmethod
    async def start(cls, folder: Path) -> Self:
        """Start a small server in `folder`; durable like the real one."""
        options = {"shared_buffers": "16MB", "max_connections": "100", "max_wal_size": "256MB"}
        postgres = cls(await EmbeddedPostgres.start(folder, options=options))
        await trio.to_thread.run_sync(postgres._execute, f"CREATE DATABASE {TEMPLATE}")
        template: TrioConnection[tuple[Any, ...]] = await TrioConnection.connect(
            postgres.url(TEMPLATE), autocommit=True
        )
        async with template:
            await migrate(template)
        return postgres

    async def stop(self) -> None:
        """Stop the server."""
        await self.server.stop()

    def url(self, database: str) -> str:
        """Return the URL of one of the server's databases."""
        return self.server.url(database)

    @contextmanager
    def database(self, template: str = TEMPLATE) -> Iterator[str]:
        """Make a database, give its URL, drop it with whatever is still connected."""
        name = f"test_{next(self._numbers)}"
        self._execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        try:
            yield self.url(name)
        finally:
            self._execute(f"DROP DATABASE {name} WITH (FORCE)")

    def terminate(self, *pids: int) -> None:
        """End sessions the way an operator does; they are gone when it returns."""
        for pid in pids:
            self._execute(f"SELECT pg_terminate_backend({pid}, {round(PATIENCE_S * 1000)})")

    def _execute(self, statement: str) -> None:
        with psycopg.connect(self.url("postgres"), autocommit=True) as conn:
            conn.execute(statement.encode())


async def kill_postgres(pid: int) -> None:
    """Kill a server with -9, by the id of its postmaster; its sessions are gone with it."""
    postmaster = psutil.Process(pid)
    processes = [postmaster, *postmaster.children()]
    postmaster.kill()
    while any(_lives(process) for process in processes):  # noqa: ASYNC110 - another process
        await trio.sleep(0.01)


def _lives(process: psutil.Process) -> bool:
    try:
        # A dead one stays until whoever is its parent now has taken note.
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
