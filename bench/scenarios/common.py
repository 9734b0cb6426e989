"""What all scenarios share: settings of their servers, common options, and the result's frame."""

from __future__ import annotations

import resource
import socket
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

import trio
from msgspec import Struct

from bench.harness.generators import Generators
from bench.harness.machine import Machine, Software, machine, software
from bench.harness.result import Figure, Moment, Result
from bench.harness.run import Measured, generator_shares, latency, measure, notes, stages
from bench.scenarios.clients import REFUSED
from bench.server_process import ServerProcess

UNLIMITED = "1000000"
SETTINGS = {
    "CARDROOM_COMMANDS_PER_S": UNLIMITED,
    "CARDROOM_COMMAND_BURST": UNLIMITED,
    "CARDROOM_IDLE_SOCKET_S": "300",
    "CARDROOM_HANDSHAKE_TIMEOUT_S": "60",
    "CARDROOM_AUTH_TIMEOUT_S": "60",
    "CARDROOM_LOG_LEVEL": "warning",
}
"""A generator's sockets are not to be refused for being fast, nor closed for being silent or slow
while thousands of others are set up; logs are not what is measured."""
REST_S = 20.0
"""How long what is under way may take to come to rest in the end."""
ERRORS = "there were errors"


class Watch(Protocol):
    """Who looks on while a scenario runs."""

    def phase(self, text: str) -> None:
        """Learn what begins now."""

    def moment(self, moment: Moment) -> None:
        """Learn what a second brought."""


class Timing(Struct, frozen=True):
    """How long, and by how many generators."""

    warm_up_s: int = 3
    seconds: int = 20
    generators: int = 1


class Ground(Struct):
    """What a run stands on; looked at before it begins."""

    started_at: str
    machine: Machine
    software: Software
    settings: dict[str, str]


def allow_many_files() -> None:
    """Raise this process's limit of open files, which its servers inherit, as far as it may."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def free_port() -> int:
    """Find a port that a server can keep over restarts."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def ground(server: ServerProcess) -> Ground:
    """Look at machine and versions."""
    looked = await trio.to_thread.run_sync(machine)
    ran = await trio.to_thread.run_sync(software, server.database_url)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return Ground(now, looked, ran, dict(server.settings))


async def measured_by(
    server: ServerProcess, generators: Generators, timing: Timing, watch: Watch
) -> Measured:
    """Begin a load, let it warm up and measure it."""
    watch.phase("measuring")
    return await measure(
        server,
        generators,
        warm_up_s=timing.warm_up_s,
        seconds=timing.seconds,
        on_moment=watch.moment,
    )


def refusals(measured: Measured) -> list[str]:
    """Say how often commands were refused, and why, where the load counts that."""
    counted: Counter[str] = Counter()
    for second in measured.seconds:
        for one in second:
            counted.update({name: n for name, n in one.counts.items() if name.startswith(REFUSED)})
    return [f"{name}, {times} times." for name, times in counted.items() if times]


def result_of(
    ground: Ground,
    measured: Measured,
    figures: dict[str, Figure],
    *,
    scenario: str,
    title: str,
    about: str,
    options: dict[str, Any],
    operation: str,
    latency_title: str,
    open_loop: bool,
    more_notes: Sequence[str] = (),
) -> Result:
    """Put a result together."""
    return Result(
        scenario=scenario,
        title=title,
        about=about,
        started_at=ground.started_at,
        options=options,
        machine=ground.machine,
        software=ground.software,
        settings=ground.settings,
        figures=figures,
        latency=latency(measured.latencies, latency_title),
        moments=measured.moments,
        stages=stages(measured),
        generators=generator_shares(measured.seconds),
        notes=[*notes(measured, ground.machine, open_loop=open_loop), *more_notes],
        operation=operation,
        failed=ERRORS if measured.errors else "",
    )
