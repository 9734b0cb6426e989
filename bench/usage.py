"""What a server and its PostgreSQL used while they were measured, seen from outside."""

from __future__ import annotations

import re
import urllib.request
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # it ships no types

from bench.server_process import ServerProcess


class Usage:
    """CPU seconds and metrics at one moment; the difference of two is a `Used`."""

    def __init__(self, server: ServerProcess) -> None:
        self.server_cpu_s = _cpu_s(psutil.Process(server.pid))
        self.postgres_cpu_s = _postgres_cpu_s(server.data_dir)
        with urllib.request.urlopen(f"{server.http_url}/metrics", timeout=10) as answer:
            self.metrics = _parsed(answer.read().decode())

    def metric(self, name: str, before: Usage) -> float:
        """Return by how much a metric without labels has grown."""
        return self.metrics.get(name, 0.0) - before.metrics.get(name, 0.0)

    def mean(self, histogram: str, before: Usage) -> float:
        """Return the mean of what a histogram has seen in between."""
        count = self.metric(f"{histogram}_count", before)
        return self.metric(f"{histogram}_sum", before) / count if count else 0.0

    def buckets(self, histogram: str, before: Usage) -> dict[str, float]:
        """Return how many observations fell into each bucket, by its upper bound."""
        pattern = re.compile(rf'{histogram}_bucket{{le="([^"]+)"}}')
        found: dict[str, float] = {}
        below = 0.0
        for name in self.metrics:
            bound = pattern.fullmatch(name)
            if bound is not None:
                total = self.metric(name, before)
                found[bound[1]] = total - below
                below = total
        return found


def _parsed(text: str) -> dict[str, float]:
    lines = (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, value in lines}


def _postgres_cpu_s(data_dir: Path) -> float:
    lines = (data_dir / "postgres" / "postmaster.pid").read_text().splitlines()
    postmaster = psutil.Process(int(lines[0]))
    return _cpu_s(postmaster) + sum(_cpu_s(child) for child in postmaster.children())


def _cpu_s(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system)
