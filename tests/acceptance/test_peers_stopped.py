"""Whoever a comparison has started is stopped, whatever happens; a connection of theirs says so."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import trio
from rich.console import Console

from bench.peers import contestants
from bench.peers.contestants import CONTESTANTS, Contestant
from bench.peers.database import Postgres, postgres
from bench.peers.errors import Missing, PeerFailed
from bench.peers.interrupting import EXIT_CODE
from bench.peers.run import Asked, measure
from bench.peers.turns import Plan
from tests.support.folders import temporary_folder
from tests.support.patience import PATIENCE_S
from tests.support.stub_comparison import stub

ROOT = Path(__file__).resolve().parents[2]


class Watch:
    """Stubs connect to it; only the end of its process closes a connection."""

    def __init__(self, listener: trio.SocketListener) -> None:
        self._listener = listener
        self.port: int = listener.socket.getsockname()[1]

    async def stub(self) -> trio.SocketStream:
        with trio.fail_after(PATIENCE_S):
            return await self._listener.accept()

    async def gone(self, stream: trio.SocketStream) -> None:
        with trio.fail_after(PATIENCE_S):
            async with stream:
                assert await stream.receive_some() == b""


@pytest.fixture
async def watch() -> AsyncIterator[Watch]:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        yield Watch(listener)


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres() as running:
        yield running


async def serve(contestant: Contestant, server: Postgres, folder: Path) -> None:
    with server.database("stub") as database:
        async with contestant.serving(database, [6], 1, folder):
            raise AssertionError("it serves")


async def test_one_that_ends_at_its_start_says_why_and_leaves_nobody(
    watch: Watch, server: Postgres, tmp_path: Path
) -> None:
    with pytest.raises(PeerFailed, match="Stub ended at its start:\nno such database"):
        await serve(stub(watch.port, "crash"), server, tmp_path)
    for _ in ("itself", "its child"):
        await watch.gone(await watch.stub())


async def test_one_that_says_nothing_is_given_up_and_stopped(
    watch: Watch, server: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contestants, "START_TIMEOUT_S", 0.0)
    with pytest.raises(PeerFailed, match="Stub said nothing for too long"):
        await serve(stub(watch.port, "mute"), server, tmp_path)


async def test_one_that_serves_is_stopped_when_the_run_is_cancelled(
    watch: Watch, server: Postgres, tmp_path: Path
) -> None:
    with server.database("cancelled") as database, trio.CancelScope() as scope:
        async with stub(watch.port, "deaf").serving(database, [6], 1, tmp_path):
            stream = await watch.stub()
            scope.cancel()
            await trio.lowlevel.checkpoint()
    await watch.gone(stream)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_an_interrupted_comparison_stops_everybody(
    watch: Watch, number: signal.Signals, tmp_path: Path
) -> None:
    out = tmp_path / "result.json"
    with temporary_folder() as scratch:
        process = await trio.lowlevel.open_process(
            [sys.executable, "-m", "tests.support.stub_comparison", str(watch.port), str(out)],
            cwd=ROOT,
            env={**os.environ, "TMPDIR": str(scratch)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        try:
            stream = await watch.stub()
            with trio.fail_after(PATIENCE_S):
                assert await stream.receive_some() == b"taken"
                process.send_signal(number)
                assert process.stdout is not None
                said = b"".join([chunk async for chunk in process.stdout]).decode()
                assert await process.wait() == EXIT_CODE, said
        finally:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()
        # PostgreSQL's folder is gone, so it has ended too.
        assert [left for left in scratch.iterdir() if left.is_dir()] == []
    await watch.gone(stream)
    assert "interrupted" in said
    assert "Traceback" not in said
    assert not out.exists()


def absent() -> list[str]:
    raise Missing("Node 18 or later is missing: `node` is not on the PATH")


async def test_who_cannot_run_or_fails_is_left_out_loudly_and_the_others_go_on(
    watch: Watch,
) -> None:
    without = Contestant("without", "Without Node", "plain", "", absent)
    console = Console(file=io.StringIO(), width=200)
    plan = Plan(rooms=1, seconds=1, warm_up_s=1, connections=1, spectators=5)
    result = await measure(
        Asked(plan, 1, [0.0], ["stub", "without"]),
        console,
        [stub(watch.port, "crash"), without, CONTESTANTS[0]],
    )
    assert isinstance(console.file, io.StringIO)
    said = console.file.getvalue()
    assert "left out: Without Node: Node 18 or later is missing" in said
    assert "left out: Stub: Stub ended at its start:\nno such database" in said
    assert [one.name for one in result.series[0].standings] == ["cardroom"]
    assert list(result.missing) == ["without"]
    assert list(result.failed) == ["stub"]
