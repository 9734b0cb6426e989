"""Kill the server again and again while bots play; nothing that anybody was told may be lost."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import trio
from rich.console import Console
from rich.table import Table

from bench import audit
from bench.kill_bots import Bot
from bench.kill_checks import Checks
from bench.kill_witness import Witness
from bench.killing import Deaths, kill_at_random, picture, time_to_ready
from bench.outside import JSON, MSGPACK, Message, connected
from bench.server_process import ServerProcess
from bench.serving import serving
from game.poker.variants import VARIANTS

SETTINGS = {
    "CARDROOM_HAND_INTERVAL_S": "0.05",
    "CARDROOM_COMMANDS_PER_S": "1000",
    "CARDROOM_COMMAND_BURST": "1000",
}
SEATS = 6
KINDS: tuple[Message, ...] = (
    {},
    {"run_it_times": 3, "bomb_pot": {"every_n_hands": 3, "amount": 9_000}},
    {"ante": 25, "ante_kind": "big_blind", "straddle": 200, "run_it_times": 2},
)
"""How hands are played at the tables, in turn."""
STAFF = "floor"
FUNDS = 10**9
FINISH_S = 90.0
STALL_S = 30.0


@dataclass
class Killed(Deaths):
    """What came of it.

    Attributes:
        refusals: how often what was refused why.
        finished: hands that came to their end.
        lost: what is not as promised.
    """

    acks: int = 0
    refused: int = 0
    refusals: Counter[str] = field(default_factory=Counter)
    resent: int = 0
    events: int = 0
    received: int = 0
    finished: int = 0
    locked_out: int = 0
    lost: list[str] = field(default_factory=list)


async def kill_again_and_again(
    server: ServerProcess,
    *,
    kills: int,
    tables: int,
    seed: int,
    progress: Callable[[Killed], None] = lambda _: None,
) -> Killed:
    """Let bots play on a running server, kill it, start it, check; stop early at a violation.

    Args:
        server: with `SETTINGS` in force.
        kills: how often.
        tables: of six bots and a spectator each; the variants take turns.
        seed: of what the bots do and when the server dies. (When exactly is up to the machine.)
        progress: is told after each kill.

    Returns:
        The figures. The server runs, unless a violation ended it early.
    """
    rng = random.Random(seed)
    witness, killed = Witness(), Killed()
    checks = Checks(witness)
    bots = await _seated(server, tables, rng, witness)
    address: str | None = server.ws_url

    def moved(to: str | None) -> None:
        nonlocal address
        address = to

    async def check() -> bool:
        await trio.to_thread.run_sync(checks.after_kill, server.database_url)
        _count(killed, witness, checks)
        progress(killed)
        return not witness.violations

    async with trio.open_nursery() as nursery:
        for bot in bots:
            nursery.start_soon(bot.run, lambda: address)
        if not await kill_at_random(server, killed, kills, rng, moved=moved, check=check):
            nursery.cancel_scope.cancel()
            return killed
        await _finish(server, bots, checks, witness)
        nursery.cancel_scope.cancel()
    await trio.to_thread.run_sync(checks.at_the_end, server.database_url)
    for sentence in await trio.to_thread.run_sync(audit.findings, server.database_url):
        witness.wrong(f"audit: {sentence}")
    _count(killed, witness, checks)
    killed.finished = checks.hands
    return killed


async def report(kills: int, tables: int, seed: int, data_dir: Path | None) -> int:
    """Run it with a picture of its progress, print the figures; return the exit code."""
    console = Console()
    began = time.perf_counter()
    with picture(console, kills) as tell:
        async with serving(SETTINGS, data_dir) as server:
            killed = await kill_again_and_again(
                server,
                kills=kills,
                tables=tables,
                seed=seed,
                progress=lambda so_far: tell(
                    so_far.kills,
                    f"{so_far.acks} acks, {so_far.events} events, {len(so_far.lost)} violations",
                ),
            )
    console.print(_table(killed, tables, time.perf_counter() - began))
    for sentence in killed.lost:
        console.print(f"VIOLATION: {sentence}", markup=False, highlight=False)
    return 1 if killed.lost else 0


async def _seated(
    server: ServerProcess, tables: int, rng: random.Random, witness: Witness
) -> list[Bot]:
    bots: list[Bot] = []
    headers = {"Authorization": f"Bearer {server.token(STAFF, role='staff')}"}
    async with httpx.AsyncClient(base_url=server.http_url, headers=headers) as http:
        for table in range(tables):
            seated = [
                Bot(
                    user_id=f"t{table}-{'watcher' if seat == SEATS else f'p{seat}'}",
                    token=server.token(f"t{table}-{'watcher' if seat == SEATS else f'p{seat}'}"),
                    coding=JSON if (table + seat) % 2 else MSGPACK,
                    rejoins=seat % 3 != 0,
                    recovers=seat % 2 == 0,
                    seat_index=None if seat == SEATS else seat,
                    is_host=seat == 0,
                    witness=witness,
                    rng=random.Random(rng.random()),
                )
                for seat in range(SEATS + 1)
            ]
            for bot in seated[:SEATS]:
                answer = await http.post(
                    f"/api/staff/wallets/{bot.user_id}/credit",
                    json={"amount": FUNDS, "reason": "bench"},
                )
                answer.raise_for_status()
            room_id = await _room(server, table, seated[0].user_id)
            for bot in seated:
                await bot.settle(server.ws_url, room_id)
            bots += seated
    return bots


async def _room(server: ServerProcess, table: int, host: str) -> str:
    settings = {
        "name": f"Table {table}",
        "variant": tuple(VARIANTS)[table % len(VARIANTS)],
        "small_blind": 50,
        "big_blind": 100,
        "min_buy_in": 1_000,
        "max_buy_in": 100_000,
        "max_seats": SEATS,
        "turn_seconds": 5,
        "time_bank_seconds": 0,
        "requires_approval": False,
        "rake_basis_points": 500 if table % 2 else 0,
        "rake_cap": 300 if table % 2 else 0,
        **KINDS[table % len(KINDS)],
    }
    async with connected(server.ws_url, token=server.token(host)) as client:
        reply = await client.ask("create_room", settings=settings)
    return str(reply["room"]["id"])


async def _finish(server: ServerProcess, bots: list[Bot], checks: Checks, witness: Witness) -> None:
    """See every hand that a kill interrupted come to its end, and every command answered."""
    url = server.database_url
    for bot in bots:
        bot.quiet()
    begun = await trio.to_thread.run_sync(checks.running, url)
    with trio.move_on_after(FINISH_S):
        for bot in bots:
            with trio.move_on_after(STALL_S) as back:
                await bot.caught_up.wait()
            if back.cancelled_caught:
                witness.wrong(f"{bot.user_id} could not come back in {STALL_S} s")
        while begun & await trio.to_thread.run_sync(checks.running, url):  # noqa: ASYNC110
            await trio.sleep(0.2)
        return
    stuck = begun & await trio.to_thread.run_sync(checks.running, url)
    witness.wrong(f"after {FINISH_S} s these hands still run: {sorted(stuck)}")


def _count(killed: Killed, witness: Witness, checks: Checks) -> None:
    killed.acks, killed.events = checks.acks, checks.events
    killed.refused, killed.resent = len(witness.refused), witness.resent
    killed.refusals = witness.refusals
    killed.received, killed.locked_out = witness.received, witness.locked_out
    killed.lost = witness.violations


def _table(killed: Killed, tables: int, took_s: float) -> Table:
    refusals = ", ".join(f"{what} {count}" for what, count in killed.refusals.most_common())
    table = Table("", "")
    for name, value in (
        ("tables", f"{tables} of {SEATS} bots and a spectator"),
        ("kills -9", f"{killed.kills}, {killed.stillborn} of them before it was ready"),
        ("acknowledged commands", f"{killed.acks:,} checked"),
        ("refused commands", f"{killed.refused:,} checked: {refusals}"),
        ("commands sent again", f"{killed.resent:,}"),
        ("public events", f"{killed.events:,} checked, received {killed.received:,} times"),
        ("hands finished", f"{killed.finished:,}"),
        ("time to ready", time_to_ready(killed)),
        ("rejoin tokens run out", f"{killed.locked_out:,}"),
        ("took", f"{took_s:.0f} s"),
        ("violations", f"{len(killed.lost)}"),
    ):
        table.add_row(name, value)
    return table
