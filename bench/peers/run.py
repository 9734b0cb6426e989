"""A comparison: everybody in turn, round after round, in one run on one PostgreSQL.

Rounds go through the contestants forwards and backwards by turns, so that whoever comes first or
last gains nothing by it. With several flush times each round has all of them.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import trio
from msgspec import Struct
from rich.console import Console
from rich.markup import escape

from bench.harness.machine import machine, software
from bench.peers import standings
from bench.peers.contestants import CONTESTANTS, PLAYERS, Contestant
from bench.peers.database import Postgres, postgres
from bench.peers.errors import Missing, PeerFailed, PeersError
from bench.peers.interrupting import EXIT_CODE, interrupting
from bench.peers.limits import take_database_limits, take_socket_limit
from bench.peers.page import page as drawn
from bench.peers.result import OURS, Limit, PeersResult, Series, Turn, encode
from bench.peers.terminal import show
from bench.peers.turns import Plan, take_turn
from bench.scenarios.common import SETTINGS


class Asked(Struct):
    """What a run is to be.

    `names` are those of the peers; `rounds`, how many turns everybody has with each of the flush
    times, which are how much slower PostgreSQL's flush is than the disk's.
    """

    plan: Plan
    rounds: int
    flushes_ms: Sequence[float]
    names: Sequence[str]


async def report(
    asked: Asked,
    out: Path | None,
    page: Path | None,
    contestants: Sequence[Contestant] = CONTESTANTS,
) -> int:
    """Compare, print tables, write the result to files; return the exit code.

    It is 1 when nobody could be compared with or somebody failed. Ctrl-C and SIGTERM stop
    everything that was started, write nothing and give 130.
    """
    console = Console()
    try:
        with trio.CancelScope() as scope, interrupting(scope) as interruption:
            result = await measure(asked, console, contestants)
    except PeersError as error:
        if not interruption.came:
            console.print(f"[bold red]{escape(str(error))}[/]", highlight=False)
            return 1
    except Exception:
        # A child that hears of it too may end before we had it end.
        if not interruption.came:
            raise
    if interruption.came:
        console.print("[bold red]interrupted; nothing was written[/]")
        return EXIT_CODE
    if out is not None:
        await trio.Path(out).write_bytes(encode(result))
    if page is not None:
        await trio.Path(page).write_text(drawn(result), encoding="utf-8")
    show(result, console)
    compared = any(len(series.standings) > 1 for series in result.series)
    return 0 if compared and not result.failed else 1


async def measure(
    asked: Asked, console: Console, contestants: Sequence[Contestant] = CONTESTANTS
) -> PeersResult:
    """Compare ours with peers.

    Args:
        asked: who, how and how often.
        console: hears of every turn, and at once of who is left out.
        contestants: ours and all peers that there are.

    Raises:
        Missing: a slow flush is wanted and cannot be had here.
        PeerFailed: ours failed, or PostgreSQL. A peer that fails is left out of all rounds.
    """
    run = _Run(asked, console)
    for contestant in contestants:
        if contestant.name in (OURS, *asked.names):
            await run.install(contestant)
    started_at = datetime.now(UTC).isoformat(timespec="seconds")
    ground = await trio.to_thread.run_sync(machine)
    with postgres(slow=any(asked.flushes_ms)) as server:
        ran = await trio.to_thread.run_sync(software, server.url)
        settings = server.settings()
        for number in range(1, asked.rounds + 1):
            for flush_ms in asked.flushes_ms:
                server.set_flush_ms(flush_ms)
                await run.round(number, flush_ms, server)
            server.set_flush_ms(0)
            await run.fan_out(number, server)
    measured = run.series()
    return PeersResult(
        started_at=started_at,
        options={
            "rooms": asked.plan.rooms,
            "players": PLAYERS,
            "seconds": asked.plan.seconds,
            "warm_up_s": asked.plan.warm_up_s,
            "rounds": asked.rounds,
            "connections": asked.plan.connections,
            "spectators": asked.plan.spectators,
        },
        machine=ground,
        software=ran,
        load_after=round(os.getloadavg()[0], 2),
        settings=dict(SETTINGS),
        database=settings,
        versions={each.name: each.versions() for each in run.present if each.name != OURS},
        series=measured,
        missing=run.missing,
        failed=run.failed,
        notes=list(standings.notes(measured, ground)),
    )


class _Run:
    """Who takes part, and what has been measured so far."""

    def __init__(self, asked: Asked, console: Console) -> None:
        self._plan = asked.plan
        self._console = console
        self.present: list[Contestant] = []
        self.missing: dict[str, str] = {}
        self.failed: dict[str, str] = {}
        self._turns: dict[float, list[Turn]] = {each: [] for each in asked.flushes_ms}
        self._limits: dict[float, list[Limit]] = {each: [] for each in asked.flushes_ms}

    async def install(self, contestant: Contestant) -> None:
        try:
            await trio.to_thread.run_sync(contestant.install)
        except Missing as reason:
            self._leave_out(contestant, self.missing, reason)
        except PeerFailed as failed:
            self._leave_out(contestant, self.failed, failed)
        else:
            self.present.append(contestant)

    async def round(self, number: int, flush_ms: float, server: Postgres) -> None:
        """Have everybody take a turn, and measure the limits beside them."""
        ours = None
        for contestant in self.present[:] if number % 2 else self.present[::-1]:
            try:
                turn = await take_turn(contestant, number, server, self._plan)
            except PeerFailed as failed:
                if contestant.name == OURS:
                    raise
                self.present.remove(contestant)
                self._leave_out(contestant, self.failed, failed)
                continue
            if contestant.name == OURS:
                ours = turn
            slower = f", flush {flush_ms:g} ms longer" if flush_ms else ""
            self._console.print(
                f"round {number}{slower}: {contestant.title}: {turn.commands_per_s:,.0f}/s"
            )
            self._turns[flush_ms].append(turn)
        assert ours is not None
        self._limits[flush_ms] += await take_database_limits(ours, server, self._plan)

    async def fan_out(self, number: int, server: Postgres) -> None:
        """Measure fan-out, which flushes have next to no part in, once a round."""
        ours = next(each for each in self.present if each.name == OURS)
        first = next(iter(self._limits.values()))
        first += await take_socket_limit(ours, number, server, self._plan)

    def series(self) -> list[Series]:
        """Sum up, by flush time; who failed in one round has no standing in any."""
        titles = {contestant.name: contestant.title for contestant in self.present}
        return [
            standings.series(flush_ms, titles, self._turns[flush_ms], self._limits[flush_ms])
            for flush_ms in sorted(self._turns)
        ]

    def _leave_out(self, contestant: Contestant, where: dict[str, str], error: PeersError) -> None:
        where[contestant.name] = str(error)
        self._console.print(
            f"[bold red]left out: {contestant.title}: {escape(str(error))}[/]", highlight=False
        )
