"""A server that is told to end before it is ready, that cannot start, or that is not alone."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from pathlib import Path
from unittest import mock

import psutil
import pytest
import trio

from bench.outside import connected
from bench.server_process import ServerProcess
from persistence.errors import Unavailable
from server.node import Node
from server.rooms import Rooms
from server.settings import load
from server.start import run_server
from tests.support.patience import PATIENCE_S
from tests.support.served import served

SECRET = "a secret of the tests, with more than 32 bytes"
NOWHERE = "postgresql://127.0.0.1:1/cardroom"
STOP_WITHIN_S = 10.0
SLACK_S = 4.0
"""For the last second before that, on a machine on which others are busy."""


def ended(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a server that ends by itself."""
    return subprocess.run(
        [sys.executable, "-m", "server.cli", "serve"],
        cwd=Path(__file__).resolve().parents[2],
        env={
            "CARDROOM_DATA_DIR": str(folder),
            "CARDROOM_HTTP_PORT": "0",
            "CARDROOM_WS_PORT": "0",
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


@pytest.mark.fail_after(120)
async def test_a_server_that_waits_for_its_database_ends_when_told_to(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path / "data", {"DATABASE_URL": NOWHERE})
    server.launch()
    try:
        while "waiting_for_database" not in server.log():
            assert server.running
            await trio.sleep(0.05)
        assert await server.stop() < STOP_WITHIN_S
        assert "Traceback" not in server.log()
    finally:
        if server.running:
            await server.kill()


def test_a_database_url_that_is_none_is_named_in_one_line(tmp_path: Path) -> None:
    done = ended(tmp_path, DATABASE_URL="garbage")
    assert done.returncode == 1
    assert 'missing "="' in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_a_secret_too_short_is_named_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "jwt_secret").write_text("short")
    done = ended(tmp_path, DATABASE_URL=NOWHERE)
    assert done.returncode == 1
    assert "jwt_secret" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


@pytest.mark.fail_after(120)
async def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    async with served(tmp_path) as server:
        port = server.ws_url.split(":")[2].split("/")[0]
        done = await trio.to_thread.run_sync(
            lambda: ended(tmp_path / "other", CARDROOM_WS_PORT=port)
        )
    assert done.returncode == 1
    assert f"port {port}" in done.stderr


@pytest.mark.fail_after(180)
async def test_the_server_file_is_its_owners_and_outlives_another_server_in_the_folder(
    tmp_path: Path,
) -> None:
    async with served(tmp_path) as first:
        path = first.data_dir / "server.json"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        second = ServerProcess(first.data_dir)
        await second.start()
        assert json.loads(path.read_text())["pid"] == second.pid
        await first.stop()
        assert json.loads(path.read_text())["pid"] == second.pid
        assert await second.stop() < STOP_WITHIN_S
        assert not path.exists()


@pytest.mark.fail_after(180)
async def test_a_server_ends_in_time_and_says_so_though_its_database_is_silent(
    tmp_path: Path,
) -> None:
    async with served(tmp_path, db_timeout_s="2") as server:
        async with connected(server.ws_url, token=server.token("ann")) as client:
            room = (await client.ask("create_room", settings={}))["room"]
            await client.ask("seat", room_id=room["id"], seat_index=0, buy_in=room["min_buy_in"])
            pid = int((server.data_dir / "postgres" / "postmaster.pid").read_text().split()[0])
            postmaster = psutil.Process(pid)
            database = [postmaster, *postmaster.children()]
            for process in database:
                process.suspend()
            try:
                await client.post("top_up", room_id=room["id"], amount=1)
                with trio.fail_after(STOP_WITHIN_S + SLACK_S):
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(server.stop)
                        assert (await client.until_closed()).code == 1012
            finally:
                for process in reversed(database):
                    process.resume()
        await server.start()
        async with connected(server.ws_url, token=server.token("ann"), room_id=room["id"]) as again:
            found = await again.ask("hydrate", room_id=room["id"])
            assert found["seats"][0]["chips"] - room["min_buy_in"] in (0, 1)


def test_a_killed_servers_file_is_gone_before_the_next_one_is_ready(tmp_path: Path) -> None:
    path = tmp_path / "server.json"
    path.write_text('{"pid": 1, "http_port": 1, "ws_port": 1, "database_url": ""}')
    assert ended(tmp_path, DATABASE_URL="garbage").returncode == 1
    assert not path.exists()


@pytest.mark.fail_after(60)
async def test_a_database_that_goes_away_while_tables_are_read_is_waited_for(
    tmp_path: Path, database_url: str
) -> None:
    settings = load(
        {
            "DATABASE_URL": database_url,
            "CARDROOM_DATA_DIR": str(tmp_path),
            "CARDROOM_HTTP_PORT": "0",
            "CARDROOM_WS_PORT": "0",
            "CARDROOM_JWT_SECRET": SECRET,
        }
    )
    whole, tries = Node.continue_rooms, 0

    async def away_at_first(node: Node, rooms: Rooms) -> int:
        nonlocal tries
        tries += 1
        taken = await whole(node, rooms)
        if tries < 3:
            raise Unavailable("gone again")
        return taken

    with mock.patch.object(Node, "continue_rooms", away_at_first):
        async with trio.open_nursery() as nursery:
            await nursery.start(run_server, settings)
            assert tries == 3
            assert (tmp_path / "server.json").exists()
            nursery.cancel_scope.cancel()
