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
from bench.peers.contestants import PEERS_DONE, PLAYERS, SCHEMA
from bench.peers.database import Postgres
from bench.peers.fan_out import fan_out
from bench.peers.turns import Plan

_SCRIPT = installing.SOURCES / "write.pgbench.sql"
_TPS = re.compile(r"tps = ([0-9.]+)")
_LATENCY = re.compile(r"latency average = ([0-9.]+) ms")
_COMMITTED = re.compile(r"number of transactions actually processed: ([0-9]+)")


class Limit(Struct):
    """One limit in one round: commands' writes (or frames) a second, and milliseconds for each."""

    name: str
    title: str
    commands: bool
    per_s: float
    mean_ms: float


async def take_limits(number: int, postgres: Postgres, plan: Plan) -> list[Limit]:
    """Measure all limits, one after another."""
    found = [
        await trio.to_thread.run_sync(_pgbench, number, postgres, clients, plan.seconds)
        for clients in dict.fromkeys((1, min(plan.connections, plan.rooms)))
    ]
    per_s, mean_ms = await trio.to_thread.run_sync(fan_out, plan.sockets, plan.seconds)
    title = f"bare sockets, frames to {plan.sockets:,}"
    return [*found, Limit("sockets", title, False, per_s, mean_ms)]


def _pgbench(number: int, postgres: Postgres, clients: int, seconds: float) -> Limit:
    name = f"pgbench_{clients}"
    with postgres.database(f"{name}_{number}") as database:
        database.execute(SCHEMA.read_text() % {"rooms": clients, "seats": PLAYERS})
        postgres.checkpoint()
        # It counts whole seconds.
        options = f"-n -M prepared -c {clients} -j 1 -T {max(1, round(seconds))} -D believed=0"
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
    title = f"pgbench, {clients} connection{'s' if clients > 1 else ''}"
    return Limit(name, title, True, _figure(_TPS, said), _figure(_LATENCY, said))


def _figure(pattern: re.Pattern[str], said: str) -> float:
    found = pattern.search(said)
    assert found is not None, said
    return float(found[1])
