"""A comparison: everybody in turn, round after round, in one run on one PostgreSQL.

Rounds go through the contestants forwards and backwards by turns, so that whoever comes first or
last gains nothing by it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import msgspec
import trio
from rich.console import Console

from bench.harness.machine import machine, software
from bench.peers.contestants import CONTESTANTS, OURS, PLAYERS, Contestant
from bench.peers.database import postgres
from bench.peers.installing import Missing
from bench.peers.limits import Limit, take_limits
from bench.peers.result import PeersResult, limit_standing, show, standing
from bench.peers.turns import Plan, Turn, take_turn


async def report(
    plan: Plan, rounds: int, flush_ms: float, names: Sequence[str], out: Path | None
) -> int:
    """Compare, print tables, write JSON to `out`; return the exit code.

    It is 1 when nobody could be compared with.
    """
    console = Console()
    try:
        result = await measure(plan, rounds, flush_ms, names, console)
    except Missing as missing:
        console.print(f"[bold red]{missing}[/]")
        return 1
    if out is not None:
        await trio.Path(out).write_bytes(msgspec.json.format(msgspec.json.encode(result)) + b"\n")
    show(result, console)
    return 0 if len(result.standings) > 1 else 1


async def measure(
    plan: Plan, rounds: int, flush_ms: float, names: Sequence[str], console: Console
) -> PeersResult:
    """Compare ours with the peers of these names.

    Args:
        plan: how everybody is driven.
        rounds: how many turns everybody has.
        flush_ms: how much slower PostgreSQL's flush is than the disk's.
        names: of the peers; those that cannot run here are in the result's `missing`.
        console: hears of every turn.

    Raises:
        Missing: a slow flush is wanted and cannot be had here.
        RuntimeError: a contestant failed, or did not write what it acknowledged.
    """
    missing: dict[str, str] = {}
    present: list[Contestant] = []
    for contestant in CONTESTANTS:
        if contestant.name in (OURS, *names):
            try:
                await trio.to_thread.run_sync(contestant.install)
            except Missing as reason:
                missing[contestant.name] = str(reason)
            else:
                present.append(contestant)
    turns: list[Turn] = []
    limits: list[Limit] = []
    ground = await trio.to_thread.run_sync(machine)
    with postgres(flush_ms) as server:
        ran = await trio.to_thread.run_sync(software, server.url)
        for number in range(1, rounds + 1):
            for contestant in present if number % 2 else present[::-1]:
                turn = await take_turn(contestant, number, server, plan)
                console.print(f"round {number}: {contestant.title}: {turn.commands_per_s:,.0f}/s")
                turns.append(turn)
            ours = next(turn for turn in turns if (turn.contestant, turn.round) == (OURS, number))
            limits += await take_limits(present[0], ours, server, plan)
    own = [turn for turn in turns if turn.contestant == OURS]
    return PeersResult(
        rooms=plan.rooms,
        players=PLAYERS,
        seconds=plan.seconds,
        rounds=rounds,
        connections=plan.connections,
        flush_ms=flush_ms,
        machine=ground,
        software=ran,
        load_after=round(os.getloadavg()[0], 2),
        standings=[
            standing(each.title, [turn for turn in turns if turn.contestant == each.name], own)
            for each in present
        ],
        limits=[
            limit_standing([limit for limit in limits if limit.name == name])
            for name in dict.fromkeys(limit.name for limit in limits)
        ],
        turns=turns,
        missing=missing,
    )
