"""The load generator of chats from outside: its process, and what it costs a server to serve it."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from subprocess import PIPE

import msgspec
import trio
from hdrh.histogram import HdrHistogram
from msgspec import Struct

from bench.chat_load import Phase, Said, Setup
from bench.harness.sampling import Sample, Sampler, Scrape
from bench.server_process import ServerProcess

SETTINGS = {
    "CARDROOM_COMMANDS_PER_S": "100000",
    "CARDROOM_COMMAND_BURST": "100000",
    "CARDROOM_IDLE_SOCKET_S": "3600",
    "CARDROOM_LOG_LEVEL": "warning",
}
"""A few sockets of staff do here what many would, and players have no heartbeat."""
_ROOT = Path(__file__).resolve().parent.parent


class Times(Struct):
    """Percentiles in milliseconds."""

    p50_ms: float
    p90_ms: float
    p99_ms: float
    max_ms: float

    def __str__(self) -> str:
        return " / ".join(
            f"{ms:.1f}" for ms in (self.p50_ms, self.p90_ms, self.p99_ms, self.max_ms)
        )


class Measured(Struct):
    """A phase, measured from both ends. Shares are of one core.

    Attributes:
        messages: how many were sent; `per_s`: how many of them a second.
        receipts: how many `chat_received` and `chat_read` went along.
        heard: from when a message was due until the other side had it.
        answered: from then until its writer had the `ok`.
        late: by how much the generator itself was behind.
        lost: commands refused, and messages without their event or `ok` in the end.
        refusals: how often commands were refused, by the error's code.
    """

    messages: int
    per_s: float
    receipts: int
    to_absent: int
    heard: Times
    answered: Times
    late: Times
    lost: int
    refusals: dict[str, int]
    generator_cpu_share: float
    server_cpu_share: float
    postgres_cpu_share: float
    server_cpu_us_per_message: float
    postgres_cpu_us_per_message: float
    commits_per_s: float
    units_per_commit: float
    mean_commit_s: float


class Generator:
    """A running generator. Made by `talking`."""

    def __init__(self, server: ServerProcess, process: trio.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._server = server
        self._process = process
        self._in = process.stdin
        self._out = process.stdout
        self._told = b""

    async def phase(self, phase: Phase) -> Measured:
        """Have it talk for a phase, and measure what that takes.

        Raises:
            RuntimeError: the generator failed; it said why on standard error.
        """
        sampler = Sampler(self._server)
        before, used = await trio.to_thread.run_sync(self._look, sampler)
        began = trio.current_time()
        await self._in.send_all(msgspec.json.encode(phase) + b"\n")
        said = msgspec.json.decode(await self.line(), type=Said)
        took_s = trio.current_time() - began
        after, used_by_then = await trio.to_thread.run_sync(self._look, sampler)
        server_s = used_by_then.server_cpu_s - used.server_cpu_s
        postgres_s = used_by_then.postgres_cpu_s - used.postgres_cpu_s
        return Measured(
            messages=said.messages,
            per_s=round(said.messages / said.seconds, 1),
            receipts=said.receipts,
            to_absent=said.to_absent,
            heard=_times(said.heard),
            answered=_times(said.answered),
            late=_times(said.late),
            lost=sum(said.refusals.values()) + said.unheard,
            refusals=said.refusals,
            generator_cpu_share=round(said.cpu_share, 3),
            server_cpu_share=round(server_s / took_s, 3),
            postgres_cpu_share=round(postgres_s / took_s, 3),
            server_cpu_us_per_message=round(server_s / said.messages * 1e6, 1),
            postgres_cpu_us_per_message=round(postgres_s / said.messages * 1e6, 1),
            commits_per_s=round(after.since(before, "cardroom_commit_seconds_count") / took_s, 1),
            units_per_commit=round(after.mean(before, "cardroom_commit_batch_units"), 2),
            mean_commit_s=round(after.mean(before, "cardroom_commit_seconds"), 6),
        )

    def _look(self, sampler: Sampler) -> tuple[Scrape, Sample]:
        return Scrape(self._server), sampler.take()

    async def line(self) -> bytes:
        """Read what it says next."""
        while b"\n" not in self._told:
            chunk = await self._out.receive_some()
            if not chunk:
                raise RuntimeError("the load generator failed; it said why above")
            self._told += chunk
        line, _, self._told = self._told.partition(b"\n")
        return line


@asynccontextmanager
async def talking(
    server: ServerProcess, sessions: int, staff: int, *, absent: int = 0
) -> AsyncIterator[Generator]:
    """Open sessions on a running server, and have them ready to talk.

    Args:
        server: with `SETTINGS` in force.
        sessions: how many, each with a player who has a socket.
        staff: how many sockets look at `staff-portal`.
        absent: how many sessions there are beside, whose players have hung up.
    """
    setup = Setup(
        server.ws_url,
        [server.token(f"player{number}") for number in range(sessions + absent)],
        [server.token(f"staff{number}", role="staff") for number in range(staff)],
        absent,
        seed=1,
    )
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", "bench.chat_load"], stdin=PIPE, stdout=PIPE, cwd=_ROOT
    )
    try:
        generator = Generator(server, process)
        assert process.stdin is not None
        await process.stdin.send_all(msgspec.json.encode(setup) + b"\n")
        await generator.line()
        yield generator
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


def _times(encoded: str) -> Times:
    histogram = HdrHistogram.decode(encoded)
    of = histogram.get_value_at_percentile
    return Times(*(of(share) / 1000 for share in (50, 90, 99, 100)))
