"""What nobody can beat: PostgreSQL asked for the same writes by its own tool, and bare sockets.

`pgbench` (it comes with the embedded PostgreSQL) sends the statement of the tuned peers over as
many connections, without any server in between. The bare sockets are a Python process that sends
the same frame to many of them, as plainly as it can, and another that reads.
"""

from __future__ import annotations

import re
from subprocess import DEVNULL, run

import trio
from msgspec import Struct

from bench.peers import installing
from bench.peers.contestants import PEERS_DONE, Contestant, schema
from bench.peers.database import Postgres
from bench.peers.fan_out import fan_out
from bench.peers.turns import Plan, Turn, take_turn

_SCRIPT = installing.SOURCES / "write.pgbench.sql"
_TPS = re.compile(r"tps = ([0-9.]+)")
_LATENCY = re.compile(r"latency average = ([0-9.]+) ms")
_COMMITTED = re.compile(r"number of transactions actually processed: ([0-9]+)")


class Limit(Struct):
    """One limit in one round: commands' writes (or frames) a second, and milliseconds for each.

    `ours`: the same figure of ours, in the same round.
    """

    name: str
    title: str
    per_s: float
    mean_ms: float
    ours_per_s: float


async def take_limits(ours: Contestant, turn: Turn, postgres: Postgres, plan: Plan) -> list[Limit]:
    """Measure all limits, one after another.

    Args:
        ours: Cardroom, which is started once more, for fan-out.
        turn: its own of this round.
        postgres: where everybody writes.
        plan: how everybody is driven.
    """
    found = []
    for clients in dict.fromkeys((1, min(plan.connections, plan.rooms))):
        name = f"pgbench_{clients}"
        title = f"pgbench, {clients} connection{'s' if clients > 1 else ''}"
        per_s, mean_ms = await trio.to_thread.run_sync(
            _pgbench, f"{name}_{turn.round}", postgres, clients, plan.seconds
        )
        found.append(Limit(name, title, per_s, mean_ms, turn.commands_per_s))
    # The player of the room is told as well.
    listeners = plan.spectators + 1
    told = await take_turn(ours, turn.round, postgres, plan, [listeners])
    per_s, mean_ms = await trio.to_thread.run_sync(fan_out, listeners, plan.seconds)
    title = f"bare sockets, frames to {listeners:,}"
    frames_per_s = round(told.commands_per_s * listeners, 1)
    return [*found, Limit("sockets", title, per_s, mean_ms, frames_per_s)]


def _pgbench(name: str, postgres: Postgres, clients: int, seconds: int) -> tuple[float, float]:
    with postgres.database(name) as database:
        database.execute(schema(clients))
        postgres.checkpoint()
        options = f"-n -M prepared -c {clients} -j 1 -T {seconds} -D believed=0"
        said = run(
            [str(postgres.programs / "pgbench"), *options.split(), "-f", str(_SCRIPT)],
            env=database.environment,
            stdin=DEVNULL,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        (committed,) = database.row(PEERS_DONE)
    if committed != _figure(_COMMITTED, said):
        raise RuntimeError(f"pgbench says otherwise than its database, {committed}:\n{said}")
    return _figure(_TPS, said), _figure(_LATENCY, said)


def _figure(pattern: re.Pattern[str], said: str) -> float:
    found = pattern.search(said)
    assert found is not None, said
    return float(found[1])
