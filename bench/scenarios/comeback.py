"""`storm` and `recovery`: the server is killed with -9 and started again at once.

How long until it is ready, until the first hand goes on, until the last client is back in its room
with all that it missed. Every time counts from the kill.
"""

from __future__ import annotations

import time

import trio

from bench.harness.generators import Generators, generating, shares
from bench.harness.latencies import Latencies, counted
from bench.harness.result import Event, Figure, Result
from bench.harness.run import Recording, generator_shares, latency, mean
from bench.harness.sampling import Sample
from bench.scenarios.comeback_load import ACTED, ComebackOptions
from bench.scenarios.common import Timing, Watch, allow_many_files, free_port, ground
from bench.scenarios.returning import BACK
from bench.scenarios.tables import HUMAN_THINK_S, TABLE_SETTINGS
from bench.server_process import ServerProcess
from bench.serving import serving

_LOAD = "bench.scenarios.comeback_load"
BACK_WITHIN_S = 120.0
SETTLE_S = 3.0


async def recovery(tables: int, players: int, rounds: int, timing: Timing, watch: Watch) -> Result:
    """Kill a server whose tables are playing at a human pace."""
    result = await _measure("recovery", tables, players, HUMAN_THINK_S, rounds, timing, watch)
    result.title = f"{tables:,} live tables of {players}, the server killed"
    result.about = (
        "All tables play at a human pace when the server is killed with -9. It is started again at "
        "once, goes on with every hand, and its clients come back by themselves. Times count from "
        "the kill."
    )
    return result


async def storm(tables: int, players: int, rounds: int, timing: Timing, watch: Watch) -> Result:
    """Kill a server whose clients then all come back at the same time."""
    result = await _measure("storm", tables, players, None, rounds, timing, watch)
    result.title = f"{tables * players:,} clients come back at once"
    result.about = (
        f"{tables:,} rooms of {players} clients; the server is killed with -9 and started again, "
        "and all of them connect anew, as the client library does it. Times count from the kill."
    )
    return result


async def _measure(
    scenario: str,
    tables: int,
    players: int,
    think_s: tuple[float, float] | None,
    rounds: int,
    timing: Timing,
    watch: Watch,
) -> Result:
    allow_many_files()
    # The clients know one address, so the next server takes the same port.
    settings = TABLE_SETTINGS | {"CARDROOM_WS_PORT": str(free_port())}
    watch.phase("starting a server")
    ready: list[float] = []
    last: list[float] = []
    first_hand: list[float] = []
    events: list[Event] = []
    returns = Latencies()
    costs = _Costs()
    away = 0
    async with serving(settings) as server:
        stands_on = await ground(server)
        watch.phase(f"seating {tables * players:,} players")
        plans = _plans(server, tables, players, think_s, timing.generators)
        async with generating(_LOAD, plans) as generators, trio.open_nursery() as nursery:
            watch.phase("playing" if think_s else "connected")
            recording = Recording(server, generators, watch.moment)
            began = await generators.begin()
            zero = began + timing.warm_up_s
            nursery.start_soon(recording.run, began, zero)
            await trio.sleep(timing.warm_up_s)
            for number in range(rounds):
                watch.phase(f"kill {number + 1} of {rounds}")
                killed = time.perf_counter()
                await server.kill()
                await server.start()
                ready.append(time.perf_counter() - killed)
                up = await trio.to_thread.run_sync(recording.sampler.take)
                watch.phase("ready; waiting for the last client")
                back = await _all_back(generators, killed, tables * players)
                done = await trio.to_thread.run_sync(recording.sampler.take)
                costs.add(up, done, sum(at > up.at for at in back))
                away += tables * players - len(back)
                last.append(max(back, default=killed + BACK_WITHIN_S) - killed)
                returns.add(counted([int((at - killed) * 1e6) for at in back]))
                events.append(Event(round(killed - zero, 3), "kill -9"))
                events.append(Event(round(killed + ready[-1] - zero, 3), "ready"))
                if think_s is not None:
                    first_hand.append(await _first_hand(generators, killed) - killed)
                await trio.sleep(SETTLE_S)
            nursery.cancel_scope.cancel()
        seconds = [
            [told[index] for index in sorted(told)]
            for told in generators.seconds.values()
            if len(told) == len(generators.pids)
        ]
        watch.phase("stopping the server")
    figures = {
        "ready_s": Figure("ready after", mean(ready), "s", "lower", ready),
        "last_back_s": Figure("last client back after", mean(last), "s", "lower", last),
        "back_p50_s": Figure("half of the clients back after", returns.ms(50) / 1000, "s", "lower"),
    }
    if first_hand:
        figures["first_hand_s"] = Figure(
            "first hand on after", mean(first_hand), "s", "lower", first_hand
        )
    figures |= costs.figures()
    refused = sum(one.counts["refused"] for second in seconds for one in second)
    figures["refused"] = Figure("refused meanwhile", float(refused), "", "lower")
    return Result(
        scenario=scenario,
        title="",
        about="",
        started_at=stands_on.started_at,
        options={
            "tables": tables,
            "players": players,
            "rounds": rounds,
            "warm_up_s": timing.warm_up_s,
            "generators": timing.generators,
        },
        machine=stands_on.machine,
        software=stands_on.software,
        settings=stands_on.settings,
        figures=figures,
        latency=latency(returns, "from the kill until a client is back"),
        moments=recording.moments,
        events=events,
        generators=generator_shares(seconds),
        notes=[
            f"Others on the machine used {others:.0%} of a core meanwhile."
            for others in [mean([moment.other_cpu for moment in recording.moments])]
            if others > 0.1
        ],
        operation="actions",
        failed=f"{away} clients were not back within {BACK_WITHIN_S:.0f} s" if away else "",
    )


class _Costs:
    """What the clients cost that came back after the server was ready."""

    def __init__(self) -> None:
        self._server_ms: list[float] = []
        self._postgres_ms: list[float] = []

    def add(self, up: Sample, done: Sample, clients: int) -> None:
        """Count a round: the moment when the server was up, that when all were back."""
        if clients:
            server_s = done.server_cpu_s - up.server_cpu_s
            self._server_ms.append(server_s * 1000 / clients)
            postgres_s = done.postgres_cpu_s - up.postgres_cpu_s
            self._postgres_ms.append(postgres_s * 1000 / clients)

    def figures(self) -> dict[str, Figure]:
        """Give both, a client; what is played meanwhile is within."""
        parts = {"server": self._server_ms, "postgres": self._postgres_ms}
        titles = {"server": "server CPU for a client back", "postgres": "PostgreSQL CPU for one"}
        return {
            f"{part}_ms_per_client": Figure(titles[part], mean(each), "ms", "lower", each)
            for part, each in parts.items()
        }


def _marks(generators: Generators, name: str, since: float) -> list[float]:
    return [
        at
        for told in generators.seconds.values()
        for one in told.values()
        for at in one.marks.get(name, ())
        if at > since
    ]


async def _all_back(generators: Generators, killed: float, clients: int) -> list[float]:
    """Wait until every client has come back since the kill, or time is up; when each that did."""

    def complete() -> list[float] | None:
        back = _marks(generators, BACK, killed)
        return back if len(back) >= clients else None

    with trio.move_on_after(BACK_WITHIN_S):
        return await generators.until(complete)
    return _marks(generators, BACK, killed)


async def _first_hand(generators: Generators, killed: float) -> float:
    """Wait until a player who came back has acted; return when the first one had."""

    def first() -> float | None:
        return min(_marks(generators, ACTED, killed), default=None)

    with trio.fail_after(BACK_WITHIN_S):
        return await generators.until(first)


def _plans(
    server: ServerProcess,
    tables: int,
    players: int,
    think_s: tuple[float, float] | None,
    generators: int,
) -> list[ComebackOptions]:
    names = [[f"t{table}p{player}" for player in range(players)] for table in range(tables)]
    users = [[(name, server.token(name)) for name in table] for table in names]
    plans = []
    for share in shares(tables, generators):
        some, users = users[:share], users[share:]
        plans.append(ComebackOptions(server.ws_url, some, think_s))
    return plans
