"""Kill the server again and again while players and staff talk; nothing confirmed may be lost."""

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
from bench.chat_bots import ChatBot, PlayerBot, StaffBot
from bench.chat_checks import ChatChecks
from bench.chat_http import HttpSender
from bench.chat_witness import ChatWitness
from bench.killing import ANSWER_S, Deaths, kill_at_random, picture, time_to_ready
from bench.outside import JSON, MSGPACK
from bench.server_process import ServerProcess
from bench.serving import serving

SETTINGS = {
    "CARDROOM_COMMANDS_PER_S": "1000",
    "CARDROOM_COMMAND_BURST": "1000",
}
STAFF = 6
HTTP_EACH = 4
"""One player in so many says things by HTTP."""
SECOND_DEVICE_EACH = 5
"""One player in so many has a second device that listens."""
FINISH_S = 90.0


@dataclass
class ChatKilled(Deaths):
    """What came of it.

    Attributes:
        acks: commands that were answered with `ok`; `refusals`: how often what was refused why.
        by_http: how many of the answers came by HTTP.
        confirmed: messages among them; `messages`: those that anybody was told, all looked up.
        events: events of what is kept, each once; `received`: how often clients had them.
        sessions: how many there were in the end.
        lost: what is not as promised.
    """

    acks: int = 0
    refusals: Counter[str] = field(default_factory=Counter)
    resent: int = 0
    by_http: int = 0
    confirmed: int = 0
    messages: int = 0
    events: int = 0
    received: int = 0
    sessions: int = 0
    lost: list[str] = field(default_factory=list)


async def kill_while_talking(
    server: ServerProcess,
    *,
    kills: int,
    players: int,
    seed: int,
    progress: Callable[[ChatKilled], None] = lambda _: None,
) -> ChatKilled:
    """Let players and staff talk on a running server, kill it, start it, check; stop early at a
    violation.

    Args:
        server: with `SETTINGS` in force.
        kills: how often.
        players: how many talk, each in a session at a time.
        seed: of what the bots do and when the server dies. (When exactly is up to the machine.)
        progress: is told after each kill.

    Returns:
        The figures. The server runs, unless a violation ended it early.
    """
    rng = random.Random(seed)
    witness, killed = ChatWitness(), ChatKilled()
    checks = ChatChecks(witness)
    address: str | None = server.ws_url

    def moved(to: str | None) -> None:
        nonlocal address
        address = to

    async def check() -> bool:
        await trio.to_thread.run_sync(checks.after_kill, server.database_url)
        _count(killed, witness, checks)
        progress(killed)
        return not witness.violations

    async with httpx.AsyncClient(timeout=ANSWER_S) as client, trio.open_nursery() as nursery:
        http = HttpSender(client, lambda: server.http_url)
        bots = _bots(server, players, rng, witness, http)
        for bot in bots:
            nursery.start_soon(bot.run, lambda: address)
        if not await kill_at_random(server, killed, kills, rng, moved=moved, check=check):
            nursery.cancel_scope.cancel()
            return killed
        await _finish(server, bots, checks, witness)
        killed.by_http = http.answered
        nursery.cancel_scope.cancel()
    await trio.to_thread.run_sync(checks.at_the_end, server.database_url)
    for sentence in await trio.to_thread.run_sync(audit.findings, server.database_url):
        witness.wrong(f"audit: {sentence}")
    _count(killed, witness, checks)
    return killed


async def report(kills: int, players: int, seed: int, data_dir: Path | None) -> int:
    """Run it with a picture of its progress, print the figures; return the exit code."""
    console = Console()
    began = time.perf_counter()
    with picture(console, kills) as tell:
        async with serving(SETTINGS, data_dir) as server:
            killed = await kill_while_talking(
                server,
                kills=kills,
                players=players,
                seed=seed,
                progress=lambda so_far: tell(
                    so_far.kills,
                    f"{so_far.acks} acks, {so_far.events} events, {len(so_far.lost)} violations",
                ),
            )
    console.print(_table(killed, players, time.perf_counter() - began))
    for sentence in killed.lost:
        console.print(f"VIOLATION: {sentence}", markup=False, highlight=False)
    return 1 if killed.lost else 0


def _bots(
    server: ServerProcess,
    players: int,
    rng: random.Random,
    witness: ChatWitness,
    http: HttpSender,
) -> list[ChatBot]:
    def of(user_id: str, role: str = "player") -> tuple[str, str, str, ChatWitness, random.Random]:
        coding = JSON if rng.random() < 0.5 else MSGPACK
        token = server.token(user_id, role=role)
        return user_id, token, coding, witness, random.Random(rng.random())

    bots: list[ChatBot] = [
        StaffBot(*of(f"staff{number}", "staff"), number=number, of=STAFF) for number in range(STAFF)
    ]
    bots += [
        PlayerBot(*of(f"player{number}"), http=None if number % HTTP_EACH else http)
        for number in range(players)
    ]
    bots += [
        PlayerBot(*of(f"player{number}"), speaks=False)
        for number in range(0, players, SECOND_DEVICE_EACH)
    ]
    return bots


async def _finish(
    server: ServerProcess, bots: list[ChatBot], checks: ChatChecks, witness: ChatWitness
) -> None:
    """See every command answered, and everybody told how everything ended."""
    for bot in bots:
        bot.quiet()
    behind = ["nobody looked"]
    with trio.move_on_after(FINISH_S):
        while behind:
            await trio.sleep(0.2)
            seqs = await trio.to_thread.run_sync(checks.seqs, server.database_url)
            behind = [sentence for bot in bots for sentence in _behind(bot, seqs)]
    for sentence in behind:
        witness.wrong(f"after {FINISH_S} s {sentence}")


def _behind(bot: ChatBot, seqs: dict[str, tuple[str, int]]) -> list[str]:
    if not bot.caught_up.is_set() or bot.busy:
        return [f"{bot.user_id} is busy with {[c['type'] for c in bot.open_commands.values()]}"]
    followed = {
        session_id
        for session_id, (player_id, _) in seqs.items()
        if player_id == bot.user_id or session_id in bot.here
    }
    return [
        f"{bot.user_id} knows {bot.known.get(session_id)} of {session_id}, {seqs[session_id]}"
        for session_id in followed
        if bot.known.get(session_id) != seqs[session_id][1]
    ]


def _count(killed: ChatKilled, witness: ChatWitness, checks: ChatChecks) -> None:
    killed.acks, killed.refusals = witness.acks, witness.refusals
    killed.resent, killed.received = witness.resent, witness.received
    killed.confirmed, killed.messages = len(witness.confirmed), checks.messages
    killed.events, killed.sessions = len(witness.events), checks.sessions
    killed.lost = witness.violations


def _table(killed: ChatKilled, players: int, took_s: float) -> Table:
    refusals = ", ".join(f"{what} {count}" for what, count in killed.refusals.most_common())
    table = Table("", "")
    for name, value in (
        ("players", f"{players} and {STAFF} of staff, {killed.sessions:,} sessions"),
        ("kills -9", f"{killed.kills}, {killed.stillborn} of them before it was ready"),
        ("commands answered ok", f"{killed.acks:,}, {killed.by_http:,} answers by HTTP"),
        ("refused", refusals or "none"),
        ("commands sent again", f"{killed.resent:,}"),
        ("messages", f"{killed.messages:,} looked up, {killed.confirmed:,} confirmations"),
        ("events", f"{killed.events:,} checked, received {killed.received:,} times"),
        ("time to ready", time_to_ready(killed)),
        ("took", f"{took_s:.0f} s"),
        ("violations", f"{len(killed.lost)}"),
    ):
        table.add_row(name, value)
    return table
