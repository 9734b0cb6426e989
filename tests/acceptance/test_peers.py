"""The comparison with other servers in its short form: everybody starts, serves, and has written
what it acknowledged (the comparison itself fails otherwise); nobody's speed is judged.
"""

from __future__ import annotations

import io
import time
from pathlib import Path

import psycopg
import pytest
import trio
from rich.console import Console

from bench.peers import installing
from bench.peers.contestants import CONTESTANTS
from bench.peers.database import postgres
from bench.peers.run import measure
from bench.peers.turns import Plan
from tests.support.patience import PATIENCE_S

COMMITS = 10
FLUSH_MS = 20.0


@pytest.mark.timeout(600)  # the first time it installs what the peers are built from
async def test_everybody_serves_and_is_compared() -> None:
    try:
        await trio.to_thread.run_sync(installing.node_packages)
        await trio.to_thread.run_sync(installing.python)
    except installing.Missing as missing:
        pytest.skip(f"THE PEERS WERE NOT TRIED: {missing}")
    plan = Plan(rooms=2, seconds=1, warm_up_s=1, connections=2, spectators=20)
    names = [contestant.name for contestant in CONTESTANTS]
    with trio.fail_after(PATIENCE_S * 4):
        result = await measure(
            plan, rounds=1, flush_ms=0.0, names=names, console=Console(file=io.StringIO())
        )
    assert [standing.name for standing in result.standings] == names
    assert not result.missing
    for standing in result.standings:
        assert standing.commands_per_s.median > 0
        assert standing.ratio.median > 0
        assert standing.server_cpu_share > 0
    assert [limit.name for limit in result.limits] == ["pgbench_1", "pgbench_2", "sockets"]
    assert all(limit.per_s.median > 0 and limit.share.median > 0 for limit in result.limits)


def test_a_slow_flush_is_paid_by_every_commit() -> None:
    try:
        with postgres(FLUSH_MS) as server, server.database("slow") as database:
            database.execute("CREATE TABLE written (n integer)")
            with psycopg.connect(database.url, autocommit=True) as connection:
                began = time.monotonic()
                for n in range(COMMITS):
                    connection.execute("INSERT INTO written VALUES (%s)", [n])
                took_s = time.monotonic() - began
    except installing.Missing as missing:
        pytest.skip(f"A SLOW FLUSH WAS NOT TRIED: {missing}")
    assert took_s >= COMMITS * FLUSH_MS / 1000


def test_without_npm_it_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(installing.Missing, match="not on the PATH"):
        installing.node_packages()
