"""`connections`: what an idle socket costs the server in memory and processor time."""

from __future__ import annotations

import trio

from bench.harness.generators import generating, shares
from bench.harness.result import Figure, Result
from bench.harness.run import mean, usual_figures
from bench.harness.sampling import Sampler
from bench.scenarios.common import (
    SETTINGS,
    Timing,
    Watch,
    allow_many_files,
    ground,
    measured_by,
    result_of,
)
from bench.scenarios.idle_load import IdleOptions
from bench.server_process import ServerProcess
from bench.serving import serving

_LOAD = "bench.scenarios.idle_load"
FIRST_SHARE = 10
"""A tenth of the sockets comes first: what the server needs once is not an idle socket's."""


async def connections(sockets: int, timing: Timing, watch: Watch) -> Result:
    """Measure idle, authenticated sockets of as many users, each with its heartbeats."""
    allow_many_files()
    watch.phase("starting a server")
    async with serving(SETTINGS) as server:
        stands_on = await ground(server)
        sampler = Sampler(server)
        empty = await trio.to_thread.run_sync(sampler.take)
        first = sockets // FIRST_SHARE
        watch.phase(f"connecting the first {first:,} sockets")
        async with generating(_LOAD, _plans(server, 0, first, 1)):
            some = await trio.to_thread.run_sync(sampler.take)
            watch.phase(f"connecting {sockets - first:,} more")
            plans = _plans(server, first, sockets, timing.generators)
            async with generating(_LOAD, plans) as generators:
                measured = await measured_by(server, generators, timing, watch)
        watch.phase("stopping the server")
    server_mib = [moment.server_mib for moment in measured.measured]
    each_kib = [(mib - some.server_mib) * 1024 / (sockets - first) for mib in server_mib]
    all_kib = (server_mib[-1] - empty.server_mib) * 1024 / sockets
    cpu_us = [moment.server_cpu / sockets * 1e6 for moment in measured.measured]
    usual = usual_figures(measured, "heartbeats")
    figures = {
        "kib": Figure("memory of a socket", mean(each_kib), "KiB", "lower", each_kib, timed=True),
        "all_kib": Figure("the same, by all that grew since the start", all_kib, "KiB", "lower"),
        "cpu_us": Figure("CPU of a socket in a second", mean(cpu_us), "µs", "lower", cpu_us, True),
        "empty_mib": Figure("server memory without sockets", empty.server_mib, "MiB", "lower"),
        **{name: usual[name] for name in ("server_mib", "server_cpu", "errors")},
    }
    return result_of(
        stands_on,
        measured,
        figures,
        scenario="connections",
        title=f"{sockets:,} idle sockets",
        about="Authenticated sockets of as many users, which send a heartbeat every 15 s. Memory "
        f"is what the server grew by for all but the first {first:,} of them.",
        options={
            "sockets": sockets,
            "seconds": timing.seconds,
            "warm_up_s": timing.warm_up_s,
            "generators": timing.generators,
        },
        operation="heartbeats",
        latency_title="",
        open_loop=False,
    )


def _plans(server: ServerProcess, first: int, last: int, generators: int) -> list[IdleOptions]:
    plans = []
    for share in shares(last - first, generators):
        tokens = [server.token(f"u{number}") for number in range(first, first + share)]
        plans.append(IdleOptions(server.ws_url, tokens))
        first += share
    return plans
