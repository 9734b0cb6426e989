"""What a server and its PostgreSQL use, seen from outside, once a second and at two moments."""

from __future__ import annotations

import re
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path

import psutil
import trio
from msgspec import Struct

from bench.server_process import ServerProcess

MIB = 1024 * 1024
MEMORY_EVERY = 5
"""PostgreSQL's memory is looked at in every so manieth sample. It takes 8 ms of processor, most of
what a sample costs; once a second that alone would be felt by one command in a hundred."""
STAGES = ("decide", "wait", "commit", "tell")


class Sample(Struct):
    """One moment. CPU in seconds since the process began, memory in MiB.

    PostgreSQL's memory counts what its processes share once (its proportional set size); the
    server's is its resident set. The former is at most `MEMORY_EVERY` samples old. `machine_busy_s`
    is of all cores together, by anybody. Processes that are gone, as a killed server for a while,
    count as nothing.
    """

    at: float
    server_cpu_s: float
    server_mib: float
    postgres_cpu_s: float
    postgres_mib: float
    generators_cpu_s: float
    machine_busy_s: float


class Sampler:
    """Takes samples of a server, its PostgreSQL, the generators and the machine."""

    def __init__(self, server: ServerProcess, generators: Sequence[int] = ()) -> None:
        self._server = server
        self._generators = generators
        self._postgres_mib = 0.0
        self.samples: list[Sample] = []

    def take(self) -> Sample:
        """Take a sample now; about a millisecond of work, and now and then ten."""
        server = _cpu_and_rss(self._server.pid)
        postgres = _postgres_pids(self._server.data_dir)
        if len(self.samples) % MEMORY_EVERY == 0:
            self._postgres_mib = sum(_pss(pid) for pid in postgres) / MIB
        busy = psutil.cpu_times()
        sample = Sample(
            at=time.perf_counter(),
            server_cpu_s=server[0],
            server_mib=server[1] / MIB,
            postgres_cpu_s=sum(_cpu_and_rss(pid)[0] for pid in postgres),
            postgres_mib=self._postgres_mib,
            generators_cpu_s=sum(_cpu_and_rss(pid)[0] for pid in self._generators),
            machine_busy_s=float(sum(busy) - busy.idle - busy.iowait - busy.guest),
        )
        self.samples.append(sample)
        return sample

    async def run(self, every_s: float = 1.0) -> None:
        """Take samples until cancelled."""
        while True:
            await trio.to_thread.run_sync(self.take)
            await trio.sleep(every_s)


class Scrape:
    """The server's own metrics at one moment; what counts is the difference of two."""

    def __init__(self, server: ServerProcess) -> None:
        with urllib.request.urlopen(f"{server.http_url}/metrics", timeout=30) as answer:
            lines = answer.read().decode().splitlines()
        pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        self.metrics = {name: float(value) for name, value in pairs}

    def since(self, before: Scrape, name: str) -> float:
        """Return by how much a metric has grown."""
        return self.metrics.get(name, 0.0) - before.metrics.get(name, 0.0)

    def mean(self, before: Scrape, name: str, labels: str = "") -> float:
        """Return the mean of what a histogram or summary has seen in between."""
        count = self.since(before, f"{name}_count{labels}")
        return self.since(before, f"{name}_sum{labels}") / count if count else 0.0

    def buckets(self, before: Scrape, histogram: str) -> dict[str, float]:
        """Return how many observations fell into each bucket, by its upper bound."""
        pattern = re.compile(rf'{histogram}_bucket{{le="([^"]+)"}}')
        found: dict[str, float] = {}
        below = 0.0
        for name in self.metrics:
            bound = pattern.fullmatch(name)
            if bound is not None:
                total = self.since(before, name)
                found[bound[1]] = total - below
                below = total
        return found

    def stages_ms(self, before: Scrape) -> dict[str, float]:
        """Return where a command's time went, in milliseconds a command, in order.

        `queue` is what is left of the time from a decoded command to its reply: waiting in the
        room's mailbox, and for a turn of the loop.
        """
        messages = self.since(before, "cardroom_messages_in_total")
        receive_s = self.since(before, "cardroom_receive_seconds_total")
        stages = {
            stage: self.mean(before, "cardroom_stage_seconds", f'{{stage="{stage}"}}')
            for stage in STAGES
        }
        whole_s = self.mean(before, "cardroom_command_seconds")
        queue_s = max(0.0, whole_s - sum(stages.values()))
        parts = {
            "receive": receive_s / messages if messages else 0.0,
            "queue": queue_s if whole_s else 0.0,
            **stages,
        }
        return {name: seconds * 1000 for name, seconds in parts.items()}


def _postgres_pids(data_dir: Path) -> list[int]:
    try:
        lines = (data_dir / "postgres" / "postmaster.pid").read_text().splitlines()
        postmaster = psutil.Process(int(lines[0]))
        return [postmaster.pid, *(child.pid for child in postmaster.children())]
    except (FileNotFoundError, IndexError, ValueError, psutil.Error):
        return []


def _cpu_and_rss(pid: int) -> tuple[float, float]:
    try:
        process = psutil.Process(pid)
        times = process.cpu_times()
        return float(times.user + times.system), float(process.memory_info().rss)
    except psutil.Error:
        return 0.0, 0.0


def _pss(pid: int) -> float:
    try:
        return float(psutil.Process(pid).memory_full_info().pss)
    except psutil.Error:
        return 0.0
