"""What there is without a server: PostgreSQL asked for the same writes by its own tool, and bare
sockets. Who commits many commands at once can beat the former.

`pgbench` (it comes with the embedded PostgreSQL) sends the statement of the tuned peers over as
many connections, without any server in between. The bare sockets are a Python process that sends
the same frame to many of them, as plainly as it can, and another that reads.
"""

from __future__ import annotations

import re

import trio

from bench.peers import installing
from bench.peers.contestants import PEERS_DONE, Contestant, schema
from bench.peers.database import Postgres
from bench.peers.errors import PeerFailed
from bench.peers.fan_out import fan_out
from bench.peers.result import Limit, Turn
from bench.peers.turns import Plan, take_turn

_SCRIPT = installing.SOURCES / "write.pgbench.sql"
_TPS = re.compile(r"tps = ([0-9.]+)")
_LATENCY = re.compile(r"latency average = ([0-9.]+) ms")
_COMMITTED = re.compile(r"number of transactions actually processed: ([0-9]+)")


async def take_database_limits(turn: Turn, postgres: Postgres, plan: Plan) -> list[Limit]:
    """Measure what PostgreSQL can do by itself, over one connection and over a peer's many.

    Args:
        turn: ours of this round.
        postgres: where everybody writes.
        plan: how everybody is driven.

    Raises:
        PeerFailed: `pgbench` failed, or says otherwise than its database.
    """
    found = []
    for clients in dict.fromkeys((1, min(plan.connections, plan.rooms))):
        name = f"pgbench_{clients}"
        title = f"pgbench, {clients} connection{'s' if clients > 1 else ''}"
        per_s, mean_ms = await _pgbench(f"{name}_{turn.round}", postgres, clients, plan.seconds)
        found.append(Limit(name, title, per_s, mean_ms, turn.commands_per_s))
    return found


async def take_socket_limit(
    ours: Contestant, number: int, postgres: Postgres, plan: Plan
) -> list[Limit]:
    """Measure fan-out to one room's many sockets, ours and with nothing but sockets.

    Args:
        ours: Cardroom, which is started once more.
        number: of the round.
        postgres: where ours writes.
        plan: how it is driven.

    Raises:
        PeerFailed: ours failed, or the reader of the bare sockets.
    """
    # The player of the room is told as well.
    listeners = plan.spectators + 1
    told = await take_turn(ours, number, postgres, plan, [listeners])
    per_s, mean_ms = await trio.to_thread.run_sync(fan_out, listeners, plan.seconds)
    title = f"bare sockets, frames to {listeners:,}"
    frames_per_s = round(told.commands_per_s * listeners, 1)
    return [Limit("sockets", title, per_s, mean_ms, frames_per_s)]


async def _pgbench(
    name: str, postgres: Postgres, clients: int, seconds: int
) -> tuple[float, float]:
    with postgres.database(name) as database:
        database.execute(schema(clients))
        await trio.to_thread.run_sync(postgres.checkpoint)
        options = f"-n -M prepared -c {clients} -j 1 -T {seconds} -D believed=0"
        done = await trio.run_process(
            [str(postgres.programs / "pgbench"), *options.split(), "-f", str(_SCRIPT)],
            env=database.environment,
            capture_stdout=True,
            capture_stderr=True,
            check=False,
        )
        said = done.stdout.decode()
        if done.returncode != 0:
            raise PeerFailed("pgbench", "failed", done.stderr.decode())
        (committed,) = database.row(PEERS_DONE)
    if committed != _figure(_COMMITTED, said):
        raise PeerFailed("pgbench", f"says otherwise than its database, {committed}", said)
    return _figure(_TPS, said), _figure(_LATENCY, said)


def _figure(pattern: re.Pattern[str], said: str) -> float:
    found = pattern.search(said)
    assert found is not None, said
    return float(found[1])
