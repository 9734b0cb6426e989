"""The embedded PostgreSQL across the deaths of those who use it."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psycopg
import psycopg.conninfo
import pytest
import trio

from server.embedded import SYSTEM_USER, EmbeddedFailed, EmbeddedPostgres
from tests.support.postgres import kill_postgres

pytestmark = pytest.mark.fail_after(120)

SMALL = {"shared_buffers": "16MB"}

CHILD = """
import pathlib, sys, trio
from server.embedded import EmbeddedPostgres

async def main():
    folder = pathlib.Path(sys.argv[1])
    server = await EmbeddedPostgres.start(folder, options={"shared_buffers": "16MB"})
    print("ready", flush=True)
    await trio.sleep_forever()
    await server.stop()

trio.run(main)
"""


@asynccontextmanager
async def started_by_child(folder: Path) -> AsyncIterator[trio.Process]:
    """Start the server from a process of its own, which is killed at the end at the latest."""
    process = await trio.lowlevel.open_process(
        [sys.executable, "-c", CHILD, str(folder)],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdout is not None
    async with process.stdout:
        try:
            assert (await process.stdout.receive_some()).startswith(b"ready")
            yield process
        finally:
            await kill(process)


async def kill(process: trio.Process) -> None:
    with trio.CancelScope(shield=True):
        process.kill()
        await process.wait()


def execute(url: str, statement: str) -> object:
    with psycopg.connect(url, autocommit=True) as conn:
        cursor = conn.execute(statement.encode())
        return cursor.fetchone() if cursor.description else None


def is_up(url: str) -> bool:
    try:
        psycopg.connect(url).close()
    except psycopg.OperationalError:
        return False
    return True


async def test_relative_folder_is_made_with_its_parents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    server = await EmbeddedPostgres.start(Path("a/b c"), options=SMALL)
    try:
        shown = "SELECT current_database(), current_setting('fsync')"
        assert execute(server.url(), shown) == ("cardroom", "on")
        assert execute(server.url("postgres"), "SHOW shared_buffers") == ("16MB",)
    finally:
        await server.stop()
    assert not is_up(server.url())


async def test_long_path_gets_its_socket_elsewhere(tmp_path: Path) -> None:
    server = await EmbeddedPostgres.start(tmp_path / ("x" * 60) / ("y" * 60), options=SMALL)
    host = str(psycopg.conninfo.conninfo_to_dict(server.url())["host"])
    try:
        assert execute(server.url(), "SELECT 1") == (1,)
        assert not Path(host).is_relative_to(tmp_path)
    finally:
        await server.stop()
        os.rmdir(host)


async def test_next_start_attaches_after_the_starter_was_killed(tmp_path: Path) -> None:
    async with started_by_child(tmp_path) as child:
        await kill(child)
    pid = int((tmp_path / "postgres" / "postmaster.pid").read_text().split()[0])
    server = await EmbeddedPostgres.start(tmp_path, options=SMALL)
    assert server.pid == pid
    execute(server.url(), "SELECT 1")
    await server.stop()
    assert not is_up(server.url())


async def test_server_stays_while_another_process_uses_it(tmp_path: Path) -> None:
    async with started_by_child(tmp_path):
        server = await EmbeddedPostgres.start(tmp_path, options=SMALL)
        await server.stop()
        assert is_up(server.url())
    last = await EmbeddedPostgres.start(tmp_path, options=SMALL)
    await last.stop()
    assert not is_up(server.url())


async def test_killed_postgres_recovers_what_was_committed(tmp_path: Path) -> None:
    server = await EmbeddedPostgres.start(tmp_path, options=SMALL)
    execute(server.url(), "CREATE TABLE t AS SELECT 7 AS n")
    await kill_postgres(server.pid)
    again = await EmbeddedPostgres.start(tmp_path, options=SMALL)
    assert execute(again.url(), "SELECT n FROM t") == (7,)
    await server.stop()
    await again.stop()


async def test_pid_of_another_process_is_not_taken_for_the_server(tmp_path: Path) -> None:
    server = await EmbeddedPostgres.start(tmp_path, options=SMALL)
    pid_file = tmp_path / "postgres" / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    await server.stop()
    pid_file.write_text("\n".join([str(os.getpid()), *lines[1:]]) + "\n")
    again = await EmbeddedPostgres.start(tmp_path, options=SMALL)
    assert again.pid != os.getpid()
    await again.stop()


async def test_interrupted_initialisation_starts_over(tmp_path: Path) -> None:
    half = tmp_path / "postgres.new"
    half.mkdir()
    (half / "PG_VERSION").write_text("18\n")
    server = await EmbeddedPostgres.start(tmp_path, options=SMALL)
    assert is_up(server.url())
    await server.stop()


async def test_options_change_on_a_running_server(tmp_path: Path) -> None:
    server = await EmbeddedPostgres.start(tmp_path, options=SMALL)
    other = await EmbeddedPostgres.start(tmp_path, options={**SMALL, "commit_delay": "123"})
    assert execute(other.url(), "SHOW commit_delay") == ("123",)
    await other.stop()
    await server.stop()
    await server.stop()


async def test_system_user_that_somebody_else_is_making_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    turned_away = [subprocess.CalledProcessError(1, "useradd")]

    def ensure_user_exists(name: str) -> pwd.struct_passwd:
        assert name == SYSTEM_USER
        if turned_away:
            raise turned_away.pop()
        return pwd.getpwuid(os.getuid())

    monkeypatch.setattr("server.embedded.pgserver.ensure_user_exists", ensure_user_exists)
    monkeypatch.setattr("server.embedded.os.geteuid", lambda: 0)
    with (tmp_path / "users").open("wb") as users:
        EmbeddedPostgres(tmp_path, users)
    assert not turned_away


async def test_refusal_says_why(tmp_path: Path) -> None:
    with pytest.raises(EmbeddedFailed, match="shared_bufers"):
        await EmbeddedPostgres.start(tmp_path, options={"shared_bufers": "1"})
    server = await EmbeddedPostgres.start(tmp_path, options=SMALL)
    await server.stop()
