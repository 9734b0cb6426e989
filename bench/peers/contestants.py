"""Who is compared, how each is started, and how one counts in its database what it has done."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # it ships no types
import trio
from msgspec import Struct

from bench.peers import installing
from bench.peers.database import Database
from bench.scenarios.common import SETTINGS
from bench.server_process import ServerProcess

OURS = "cardroom"
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 10.0
PLAYERS = 6
_SCHEMA = installing.SOURCES / "schema.sql"


class Running(Struct):
    """A contestant that serves: where, and the access tokens of `rooms` rooms' players."""

    url: str
    pid: int
    tokens: list[list[str]]

    def cpu_s(self) -> float:
        """Return the processor time, in seconds, that it has used."""
        process = psutil.Process(self.pid)
        spent = [one.cpu_times() for one in [process, *process.children(recursive=True)]]
        return float(sum(times.user + times.system for times in spent))


class Contestant(Struct):
    """One server of the comparison.

    `wire` is how it is spoken with, empty for ours. `done` is the query for how many commands have
    been committed. `command` gives what starts a peer, or raises `Missing`; None for ours.
    """

    name: str
    title: str
    wire: str
    done: str
    command: Callable[[], Sequence[str]] | None = None

    def install(self) -> None:
        """Install what it is built from, so that no turn waits for it.

        Raises:
            Missing: it cannot run here.
        """
        if self.command is not None:
            self.command()

    @asynccontextmanager
    async def serving(
        self, database: Database, sizes: Sequence[int], connections: int, folder: Path
    ) -> AsyncIterator[Running]:
        """Run it on an empty database; stop it in the end.

        Args:
            database: nothing is in it yet.
            sizes: how many sockets each of its rooms is to have; peers' have six.
            connections: how many a peer may open to PostgreSQL.
            folder: empty, for what it leaves on disk.
        """
        if self.command is None:
            async with _cardroom(database, sizes, folder) as running:
                yield running
            return
        await trio.to_thread.run_sync(database.execute, schema(len(sizes)))
        async with _peer(self, self.command(), database, connections, folder) as (port, pid):
            yield Running(f"ws://127.0.0.1:{port}", pid, [[""] * size for size in sizes])


def schema(rooms: int) -> str:
    """Return the statements that make a peer's tables, with so many rooms in them."""
    return _SCHEMA.read_text() % {"rooms": rooms, "seats": PLAYERS}


@asynccontextmanager
async def _cardroom(
    database: Database, sizes: Sequence[int], folder: Path
) -> AsyncIterator[Running]:
    server = ServerProcess(folder / "data", {**SETTINGS, "DATABASE_URL": database.url})
    try:
        await server.start()
        tokens = [
            [server.token(f"r{room}u{user}") for user in range(size)]
            for room, size in enumerate(sizes)
        ]
        yield Running(server.ws_url, server.pid, tokens)
    finally:
        with trio.CancelScope(shield=True):
            await server.stop()


@asynccontextmanager
async def _peer(
    contestant: Contestant,
    command: Sequence[str],
    database: Database,
    connections: int,
    folder: Path,
) -> AsyncIterator[tuple[int, int]]:
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PG")},
        **database.environment,
        "NODE_ENV": "production",
        "PEER_CONNECTIONS": str(connections),
    }
    log_path = folder / f"{contestant.name}.log"
    with log_path.open("wb") as log:
        process = await trio.lowlevel.open_process(
            list(command),
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            # As ours is: the kernel may share the processor out among sessions.
            start_new_session=True,
        )
    try:
        assert process.stdout is not None
        told = b""
        with trio.fail_after(START_TIMEOUT_S):
            while not told.endswith(b"\n"):
                chunk = await process.stdout.receive_some()
                if not chunk:
                    said = log_path.read_text(errors="replace")
                    raise RuntimeError(f"{contestant.title} ended:\n{said[-4000:]}")
                told += chunk
        yield json.loads(told)["port"], process.pid
    finally:
        with trio.CancelScope(shield=True):
            if process.returncode is None:
                process.terminate()
            with trio.move_on_after(STOP_TIMEOUT_S):
                await process.wait()
            if process.returncode is None:
                process.kill()
                await process.wait()


def _node(script: str) -> Callable[[], Sequence[str]]:
    def command() -> Sequence[str]:
        # A script finds its packages from where it lies, so it is put beside them.
        folder = installing.node_packages()
        copy = folder / script
        copy.write_bytes((installing.SOURCES / "node" / script).read_bytes())
        return [installing.node(), str(copy)]

    return command


def _python() -> Sequence[str]:
    return [installing.python(), str(installing.SOURCES / "asgi" / "portal.py")]


# A room's `seq` counts its events, which have no gaps if as many are there as the last one says.
PEERS_DONE = """
    SELECT CASE WHEN (SELECT sum(seq) FROM game_states) = count(*) THEN count(*) ELSE -1 END
    FROM room_events
"""
_OURS_DONE = "SELECT count(*) FROM room_events WHERE type IN ('player_sat_out', 'player_sat_in')"

CONTESTANTS = (
    Contestant(OURS, "Cardroom", "", _OURS_DONE),
    Contestant("socketio", "Express, Socket.IO, pg", "socket.io", PEERS_DONE, _node("socketio.js")),
    Contestant("tuned", "ws, pg, msgpackr; tuned", "plain", PEERS_DONE, _node("tuned.js")),
    Contestant("asgi", "Starlette, uvloop, asyncpg", "plain", PEERS_DONE, _python),
)
