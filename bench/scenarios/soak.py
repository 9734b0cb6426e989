"""`soak`: a club's day, for hours, and what only time shows.

Tables play at a human pace; players and spectators come and go, lose their connections, talk to
staff who look on; players wait for seats; tables open and close. Meanwhile it is looked at what
server and database hold, and at the end the books are audited.
"""

from __future__ import annotations

import time

import trio

from bench.audit import findings
from bench.harness.generators import Generators, generating_all
from bench.harness.result import Event, Latency, Result
from bench.harness.run import generator_shares
from bench.harness.sampling import Sampler
from bench.harness.stretches import Stretches, stretch_s
from bench.harness.vitals import Vitals, table_sizes
from bench.scenarios.common import Timing, Watch, allow_many_files, free_port, ground
from bench.scenarios.soak_figures import Soaked, failure_of, figures_of, growth_of, notes_of
from bench.scenarios.soak_parts import Club, parts_of
from bench.scenarios.tables import TABLE_SETTINGS
from bench.server_process import ServerProcess
from bench.serving import serving

SETTINGS = TABLE_SETTINGS | {
    "CARDROOM_PASSIVATE_AFTER_S": "60",
    "CARDROOM_SPECTATOR_DROP_AFTER_S": "60",
}
"""What nobody uses is given up after a minute, so that a run of minutes sees all of its life."""
LOOK_EVERY_S = 5.0
FEW_KILLS = 12
"""So many are named in the pictures; more would hide them."""


async def soak(club: Club, kill_every_s: float, timing: Timing, watch: Watch) -> Result:
    """Run a club for `timing.seconds`; it is killed (-9) every `kill_every_s` seconds, 0: never."""
    allow_many_files()
    # The clients know one address, so the next server takes the same port.
    settings = SETTINGS | {"CARDROOM_WS_PORT": str(free_port())}
    watch.phase("starting a server")
    async with serving(settings) as server:
        stands_on = await ground(server)
        parts = [one for one in parts_of(club, server) if one.stands_kills or not kill_every_s]
        vitals = Vitals(server)
        kills: list[Event] = []
        watch.phase(f"seating {club.tables * club.players:,} players")
        async with generating_all([(one.module, one.options) for one in parts]) as generators:
            before = await trio.to_thread.run_sync(table_sizes, server.database_url)
            watch.phase("the club is open")
            run = _Run(server, generators, vitals, kills, timing, watch)
            stretches = await run.through(kill_every_s)
        watch.phase("counting")
        after = await trio.to_thread.run_sync(table_sizes, server.database_url)
        watch.phase("auditing the books")
        wrong = await trio.to_thread.run_sync(findings, server.database_url)
        logged_errors = server.log().count('"level":"error"')
        watch.phase("stopping the server")
    settle_s = float(timing.warm_up_s) if kills else 0.0
    soaked = Soaked(parts, stretches, vitals, kills, before, after, settle_s, wrong, logged_errors)
    growth = growth_of(soaked)
    latencies = stretches.latencies[0]
    return Result(
        scenario="soak",
        title=f"A club of {club.tables} tables for {_lasted(timing.seconds)}"
        + (f", killed every {_lasted(kill_every_s)}" if kill_every_s else ""),
        about="Tables play at a human pace; players and spectators come and go, lose their "
        "connections and come back, write to staff who look on; "
        + ("" if kill_every_s else "players wait for seats; ")
        + "tables open and close. What the server holds is looked at all the time, and at the end "
        "the books are audited.",
        started_at=stands_on.started_at,
        options={
            "minutes": round(timing.seconds / 60, 2),
            "kill_every_s": kill_every_s,
            "warm_up_s": timing.warm_up_s,
            "tables": club.tables,
            "players": club.players,
            "visitors": club.visitors,
            "stay_s": club.stay_s[1],
            "lobby": club.lobby,
            "waiting_rooms": club.waiting_rooms,
            "queues": club.queues,
            "staff": club.staff,
        },
        machine=stands_on.machine,
        software=stands_on.software,
        settings=stands_on.settings,
        figures=figures_of(soaked),
        latency=Latency(
            "action due until the player's own client has read its event",
            latencies.count,
            latencies.mean_ms(),
            latencies.curve(),
            latencies.encoded(),
        ),
        moments=stretches.moments,
        events=kills,
        series=vitals.series(),
        growth=growth,
        generators=generator_shares(stretches.told),
        notes=notes_of(soaked, growth),
        operation="actions",
        failed=failure_of(soaked),
    )


class _Run:
    """The time itself."""

    def __init__(
        self,
        server: ServerProcess,
        generators: Generators,
        vitals: Vitals,
        kills: list[Event],
        timing: Timing,
        watch: Watch,
    ) -> None:
        self._server = server
        self._generators = generators
        self._vitals = vitals
        self._kills = kills
        self._timing = timing
        self._watch = watch
        # A server is not looked at while it is being killed and started.
        self._there = trio.Lock()

    async def through(self, kill_every_s: float) -> Stretches:
        """Let it run, warm-up included."""
        timing = self._timing
        width_s = stretch_s(timing.warm_up_s + timing.seconds)
        sampler = Sampler(self._server, self._generators.pids)
        stretches = Stretches(self._generators, sampler, width_s, self._watch.moment)
        began = await self._generators.begin()
        zero = began + timing.warm_up_s
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sampler.run, min(LOOK_EVERY_S, width_s))
            nursery.start_soon(self._look, sampler, zero, min(LOOK_EVERY_S, width_s))
            if kill_every_s:
                nursery.start_soon(self._kill, kill_every_s, zero)
            for first in range(0, timing.warm_up_s + timing.seconds, width_s):
                await stretches.take(first, began, timing.warm_up_s)
            async with self._there:
                nursery.cancel_scope.cancel()
        return stretches

    async def _look(self, sampler: Sampler, zero: float, every_s: float) -> None:
        while True:
            await trio.sleep(every_s)
            if sampler.samples:
                async with self._there:
                    at_s = time.perf_counter() - zero
                    if at_s < 0:
                        continue  # it warms up
                    sample = sampler.samples[-1]
                    await trio.to_thread.run_sync(self._vitals.take, at_s, sample)

    async def _kill(self, every_s: float, zero: float) -> None:
        while True:
            await trio.sleep(every_s)
            async with self._there:
                killed = time.perf_counter() - zero
                with trio.CancelScope(shield=True):
                    await self._server.kill()
                    await self._server.start()
            title = "kill -9" if len(self._kills) < FEW_KILLS else ""
            self._kills.append(Event(round(killed, 3), title))


def _lasted(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:g} s"
    return f"{seconds / 60:g} minutes" if seconds < 7200 else f"{seconds / 3600:g} hours"
