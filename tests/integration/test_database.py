"""Which database a command looks at: the settings', a running server's, or the folder's own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.database import NoDatabase, database_url
from server.settings import Settings

pytestmark = pytest.mark.fail_after(30)

URL = "postgresql://somewhere/cardroom"


@pytest.fixture
def serving() -> Iterator[int]:
    """The id of a process that passes for a server."""
    code = "import sys; sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code, "serve"], stdin=subprocess.PIPE) as process:
        yield process.pid
        process.kill()


@pytest.fixture
def gone() -> int:
    """The id of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        return process.pid


def write_server_file(folder: Path, pid: int) -> None:
    told = {"pid": pid, "http_port": 1, "ws_port": 2, "database_url": URL}
    (folder / "server.json").write_text(json.dumps(told))


async def found(settings: Settings) -> str:
    async with database_url(settings, create=False) as url:
        return url


async def test_the_settings_come_first(tmp_path: Path, serving: int) -> None:
    write_server_file(tmp_path, serving)
    assert await found(Settings(data_dir=tmp_path, database_url="postgresql://x/y")) == (
        "postgresql://x/y"
    )


async def test_then_the_database_of_the_server_that_runs_in_the_folder(
    tmp_path: Path, serving: int
) -> None:
    write_server_file(tmp_path, serving)
    assert await found(Settings(data_dir=tmp_path)) == URL
    assert not (tmp_path / "postgres.lock").exists()


async def test_the_file_of_a_server_that_is_gone_counts_for_nothing(
    tmp_path: Path, gone: int
) -> None:
    for pid in (gone, os.getpid()):  # The second is alive and no server.
        write_server_file(tmp_path, pid)
        with pytest.raises(NoDatabase):
            await found(Settings(data_dir=tmp_path))


async def test_a_file_that_is_cut_short_counts_for_nothing(tmp_path: Path) -> None:
    (tmp_path / "server.json").write_text('{"pid": ')
    with pytest.raises(NoDatabase):
        await found(Settings(data_dir=tmp_path))
