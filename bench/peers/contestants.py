"""Who is compared, how each is started, and how one counts in its database what it has done."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import msgspec
import psutil
import trio
from msgspec import Struct

from bench.peers import installing
from bench.peers.database import Database
from bench.peers.errors import PeerFailed
from bench.peers.result import OURS
from bench.scenarios.common import SETTINGS
from bench.server_process import ServerProcess

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 10.0
PLAYERS = 6
_SCHEMA = installing.SOURCES / "schema.sql"


class Running(Struct):
    """A contestant that serves: where, the access tokens of its rooms' players, its log."""

    url: str
    pid: int
    tokens: list[list[str]]
    log: Path

    def cpu_s(self) -> float:
        """Return the processor time, in seconds, that it has used."""
        process = psutil.Process(self.pid)
        spent = [one.cpu_times() for one in [process, *process.children(recursive=True)]]
        return float(sum(times.user + times.system for times in spent))


class Contestant(Struct):
    """One server of the comparison.

    `wire` is how it is spoken with, empty for ours. `done` is the query for how many commands have
    been committed. `command` gives what starts a peer, or raises `Missing`; None for ours.
    `versions` are those of what a peer is built from, by name.
    """

    name: str
    title: str
    wire: str
    done: str
    command: Callable[[], Sequence[str]] | None = None
    versions: Callable[[], dict[str, str]] = dict

    def install(self) -> None:
        """Install what it is built from, so that no turn waits for it.

        Raises:
            Missing: it cannot run here.
            PeerFailed: it could not be installed.
        """
        if self.command is not None:
            self.command()

    @asynccontextmanager
    async def serving(
        self, database: Database, sizes: Sequence[int], connections: int, folder: Path
    ) -> AsyncIterator[Running]:
        """Run it on an empty database; stop it in the end, whatever happens meanwhile.

        Args:
            database: nothing is in it yet.
            sizes: how many sockets each of its rooms is to have; peers' have six.
            connections: how many a peer may open to PostgreSQL.
            folder: empty, for what it leaves on disk.

        Raises:
            PeerFailed: it ended, or said nothing for too long, before it served.
        """
        if self.command is None:
            async with _cardroom(self.title, database, sizes, folder) as running:
                yield running
            return
        await trio.to_thread.run_sync(database.execute, schema(len(sizes)))
        log = folder / f"{self.name}.log"
        async with _peer(self, self.command(), database, connections, log) as (port, pid):
            yield Running(f"ws://127.0.0.1:{port}", pid, [[""] * size for size in sizes], log)


def schema(rooms: int) -> str:
    """Return the statements that make a peer's tables, with so many rooms in them."""
    return _SCHEMA.read_text() % {"rooms": rooms, "seats": PLAYERS}


@asynccontextmanager
async def _cardroom(
    title: str, database: Database, sizes: Sequence[int], folder: Path
) -> AsyncIterator[Running]:
    server = ServerProcess(folder / "data", {**SETTINGS, "DATABASE_URL": database.url})
    try:
        try:
            await server.start()
        except (RuntimeError, trio.TooSlowError):
            raise PeerFailed(title, "did not start", server.log()) from None
        tokens = [
            [server.token(f"r{room}u{user}") for user in range(size)]
            for room, size in enumerate(sizes)
        ]
        yield Running(server.ws_url, server.pid, tokens, server.log_path)
    finally:
        with trio.CancelScope(shield=True):
            await server.stop()


@asynccontextmanager
async def _peer(
    contestant: Contestant,
    command: Sequence[str],
    database: Database,
    connections: int,
    log_path: Path,
) -> AsyncIterator[tuple[int, int]]:
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PG")},
        **database.environment,
        "NODE_ENV": "production",
        "PEER_CONNECTIONS": str(connections),
    }
    with log_path.open("wb") as output:
        process = await trio.lowlevel.open_process(
            list(command),
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=output,
            # As ours is: the kernel may share the processor out among sessions.
            start_new_session=True,
        )
    try:
        with trio.move_on_after(START_TIMEOUT_S) as patience:
            port = await _told_port(process)
        if patience.cancelled_caught or port is None:
            why = "said nothing for too long" if patience.cancelled_caught else "ended at its start"
            log = trio.Path(log_path)
            raise PeerFailed(contestant.title, why, await log.read_text(errors="replace"))
        yield port, process.pid
    finally:
        with trio.CancelScope(shield=True):
            await _stop(process)


async def _told_port(process: trio.Process) -> int | None:
    """Wait for the first line that a peer writes: where it serves. None: it ended before."""
    assert process.stdout is not None
    told = b""
    async for chunk in process.stdout:
        told += chunk
        if told.endswith(b"\n"):
            return msgspec.json.decode(told, type=_Told).port
    return None


async def _stop(process: trio.Process) -> None:
    """End a peer and all that it has started; they have a session of their own."""
    if process.returncode is None:
        process.terminate()
        with trio.move_on_after(STOP_TIMEOUT_S):
            await process.wait()
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


class _Told(Struct):
    port: int


def _node(script: str) -> Callable[[], Sequence[str]]:
    def command() -> Sequence[str]:
        # A script finds its packages from where it lies, so it is put beside them.
        folder = installing.node_packages()
        for source in (installing.SOURCES / "node").glob("*.js"):
            shutil.copy(source, folder)
        return [installing.node(), str(folder / script)]

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
    Contestant(
        "socketio",
        "Express, Socket.IO, pg",
        "socket.io",
        PEERS_DONE,
        _node("socketio.js"),
        partial(installing.node_versions, "express", "socket.io", "pg"),
    ),
    Contestant(
        "tuned",
        "ws, pg, msgpackr; tuned",
        "plain",
        PEERS_DONE,
        _node("tuned.js"),
        partial(installing.node_versions, "ws", "pg", "msgpackr"),
    ),
    Contestant(
        "asgi",
        "Starlette, uvloop, asyncpg",
        "plain",
        PEERS_DONE,
        _python,
        installing.python_versions,
    ),
)
