"""The comparison with other servers in its short form: everybody starts, serves, tells and writes
the same, and has written what it acknowledged (the comparison itself fails otherwise); nobody's
speed is judged.
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest
import trio
from rich.console import Console

from bench.light_socket import LightSocket, framed
from bench.peers import installing
from bench.peers.contestants import CONTESTANTS, Contestant, Running
from bench.peers.database import Database, Postgres, postgres
from bench.peers.errors import Missing
from bench.peers.run import Asked, measure
from bench.peers.turns import Plan, counted
from bench.peers.wires import SOCKETS, room_id
from bench.scenarios.clients import connect
from bench.scenarios.rooms_load import SEAT_SETTINGS, RoomsLoad
from tests.support.patience import PATIENCE_S

COMMITS = 10
FLUSH_MS = 20.0
COUNTED_COMMITS = 100
ROWS_ALIKE = 0.1
"""An empty column weighs nothing, but a byte in the row's head."""


@pytest.fixture(scope="module")
def installed() -> None:
    try:
        installing.node_packages()
        installing.python()
    except Missing as missing:
        pytest.skip(f"THE PEERS WERE NOT TRIED: {missing}")


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres() as running:
        yield running


@pytest.fixture(scope="module")
def slow_server() -> Iterator[Postgres]:
    try:
        with postgres(slow=True) as running:
            yield running
    except Missing as missing:
        pytest.skip(f"A SLOW FLUSH WAS NOT TRIED: {missing}")


@pytest.mark.timeout(600)  # the first time it installs what the peers are built from
@pytest.mark.usefixtures("installed")
async def test_everybody_serves_and_is_compared() -> None:
    plan = Plan(rooms=2, seconds=1, warm_up_s=1, connections=2, spectators=20)
    names = [contestant.name for contestant in CONTESTANTS]
    with trio.fail_after(PATIENCE_S * 4):
        result = await measure(Asked(plan, 1, [0.0], names), Console(file=io.StringIO()))
    (series,) = result.series
    assert [standing.name for standing in series.standings] == names
    assert not result.missing
    assert not result.failed
    for standing in series.standings:
        assert standing.commands_per_s.median > 0
        assert standing.ratio.median > 0
        assert standing.server_cpu_share > 0
        assert standing.curve
    assert [limit.name for limit in series.limits] == ["pgbench_1", "pgbench_2", "sockets"]
    assert all(limit.per_s.median > 0 and limit.share.median > 0 for limit in series.limits)
    assert set(result.versions) == {*names} - {"cardroom"}
    assert all(len(versions) > 2 for versions in result.versions.values())
    assert result.database["synchronous_commit"] == "on"


@pytest.mark.usefixtures("installed")
async def test_everybody_tells_and_writes_the_same(server: Postgres, tmp_path: Path) -> None:
    told, sizes = {}, {}
    for contestant in CONTESTANTS:
        with server.database(contestant.name) as database:
            folder = tmp_path / contestant.name
            folder.mkdir()
            async with contestant.serving(database, [2], 1, folder) as running:
                told[contestant.name] = await trio.to_thread.run_sync(hear, contestant, running)
            sizes[contestant.name] = row_sizes(database)
    ours = told.pop("cardroom")
    assert {message["type"] for _, message in ours} == {"player_sat_in", "player_sat_out"}
    for name, events in told.items():
        for (size, event), (our_size, our_event) in zip(events, ours, strict=True):
            assert event.keys() == our_event.keys(), name
            assert event["type"] == our_event["type"]
            assert len(event["channel"]) == len(our_event["channel"])
            if name != "socketio":  # which speaks JSON
                assert abs(size - our_size) <= 2, name
    our_sizes = sizes.pop("cardroom")
    for name, peers_sizes in sizes.items():
        assert peers_sizes["room_events"] == our_sizes["room_events"], name
        for table, bytes_each in peers_sizes.items():
            assert bytes_each == pytest.approx(our_sizes[table], rel=ROWS_ALIKE), (name, table)


def hear(contestant: Contestant, running: Running) -> list[tuple[int, dict[str, Any]]]:
    """Have a player sit out and in; return what another one is told: its bytes, its fields."""
    player: LightSocket
    other: LightSocket
    if contestant.wire:
        kind = SOCKETS[contestant.wire]
        members = [kind(running.url) for _ in range(2)]
        for seat, member in enumerate(members):
            member.hello(room_id=room_id(1), seat=seat, user=f"r0u{seat}")
        player, other = members
        sit_in, sit_out = kind.commands(room_id(1))
    else:
        player, other = connect(running.url, running.tokens[0])
        room = player.ask("create_room", settings=SEAT_SETTINGS)["room"]
        player.ask("seat", room_id=room["id"], seat_index=0, buy_in=room["min_buy_in"])
        other.ask("join", room_id=room["id"])
        other.ask("spectate", room_id=room["id"])
        sit_in, sit_out = (framed(name, room_id=room["id"]) for name in ("sit_in", "sit_out"))
    heard = []
    for frame in (sit_out, sit_in):
        player.send_frames(frame)
        payload = next_told(other)
        heard.append((len(payload), decoded(payload)))
    player.close()
    other.close()
    return heard


def next_told(member: LightSocket) -> bytes:
    while True:
        for payload in member.read():
            if RoomsLoad.TOLD in payload:
                return payload


def decoded(payload: bytes) -> dict[str, Any]:
    if payload.startswith(b"42"):
        _, event = json.loads(payload[2:])
    else:
        event = msgspec.msgpack.decode(payload)
    assert isinstance(event, dict)
    return event


def row_sizes(database: Database) -> dict[str, list[int]]:
    """Return how many bytes rows have that a command has written, by table."""
    queries = {
        "room_events": "SELECT e.* FROM room_events e WHERE type LIKE 'player_sat%' ORDER BY seq",
        "game_states": "SELECT g.* FROM game_states g ORDER BY seq DESC LIMIT 1",
        "room_seats": "SELECT s.* FROM room_seats s WHERE seat_index = 0 AND status = 'active'",
    }
    with psycopg.connect(database.url) as connection:
        return {
            table: [
                size
                for (size,) in connection.execute(
                    f"SELECT pg_column_size(found.*) FROM ({query}) found".encode()
                )
            ]
            for table, query in queries.items()
        }


def test_a_slow_flush_is_paid_by_every_commit_for_as_long_as_it_is_asked_for(
    slow_server: Postgres,
) -> None:
    with slow_server.database("slow") as database:
        slow_server.set_flush_ms(FLUSH_MS)
        with psycopg.connect(database.url, autocommit=True) as connection:
            connection.execute("CREATE TABLE written (n integer)")
            began = time.monotonic()
            for n in range(COMMITS):
                connection.execute("INSERT INTO written VALUES (%s)", [n])
            took_s = time.monotonic() - began
            # So long that what comes after would never end, were it not taken back.
            slow_server.set_flush_ms(FLUSH_MS * 1e6)
            slow_server.set_flush_ms(0)
            connection.execute("INSERT INTO written VALUES (0)")
    assert took_s >= COMMITS * FLUSH_MS / 1000


def test_commands_of_a_flush_are_counted_as_postgresql_says(server: Postgres) -> None:
    one = "INSERT INTO room_events SELECT n, n FROM generate_series(1, %s) n"
    with server.database("counted") as database:
        database.execute("CREATE TABLE room_events (room_id integer, seq integer)")
        with psycopg.connect(database.url, autocommit=True) as connection:

            def flushes_and_rows(rows: int, commits: int) -> tuple[int, int]:
                """Commit so many rows so often; return what was counted meanwhile."""
                before = counted(database)
                for _ in range(commits):
                    connection.execute(one, [rows])
                connection.execute("SELECT pg_stat_force_next_flush()")
                after = counted(database)
                assert after[1] > before[1]
                return after[0] - before[0], after[2] - before[2]

            alone_flushes, alone = flushes_and_rows(1, COUNTED_COMMITS)
            together_flushes, together = flushes_and_rows(COUNTED_COMMITS, 1)
    assert alone == together == COUNTED_COMMITS
    # The log's own writer may flush as well, or instead.
    assert alone_flushes > COUNTED_COMMITS / 2 > together_flushes >= 1
