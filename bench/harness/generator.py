"""A process that makes load: `python -m bench.harness.generator`, started by `generators.py`.

It reads an `Order` as a line of JSON from its standard input, lets the load that it names set
itself up, writes `Ready`, reads a `Start`, and from then on writes a `Second` each second until its
standard input ends. What a second is worth (warm-up or measured) is for its parent to say.
"""

from __future__ import annotations

import resource
import sys
import time
from importlib import import_module
from typing import Any, Protocol

import msgspec
from msgspec import Raw, Struct

from bench.harness.latencies import counted
from bench.harness.loop import Loop


class Order(Struct):
    """What to do: a module with a function `make(options, loop, seed)`, and its options."""

    module: str
    options: Raw
    seed: int


class Start(Struct):
    """When the first second begins, on `time.perf_counter`, which all processes share."""

    at: float


class Ready(Struct, tag="ready"):
    """The load is set up."""

    took_s: float


class Second(Struct, tag="second"):
    """What happened in one second; times in µs, `cpu_s` is this process's own.

    `latencies` counts values cut to three digits. `late_us` is by how much the latest timer was
    late: the generator's own fault. `connected` is how many sockets are open at its end.
    """

    number: int
    seconds: float
    events: int
    errors: int
    connected: int
    late_us: int
    cpu_s: float
    latencies: dict[int, int]
    counts: dict[str, int]
    marks: dict[str, list[float]]


Message = Ready | Second


class Load(Protocol):
    """What a scenario puts into a generator.

    Attributes:
        counts: what else is counted, by name; taken and reset each second.
    """

    counts: dict[str, int]

    def set_up(self) -> None:
        """Connect and get everything ready; may block."""

    def begin(self, now: float) -> None:
        """Begin the load."""


def main() -> None:
    """Make the load that standard input says."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    orders = sys.stdin.buffer
    order = msgspec.json.decode(orders.readline(), type=Order)
    loop = Loop()
    began = time.perf_counter()
    load: Load = import_module(order.module).make(order.options, loop, order.seed)
    load.set_up()
    _tell(Ready(time.perf_counter() - began))
    fd = orders.fileno()
    if not loop.run(float("inf"), alarm_fd=fd):
        return
    line = orders.readline()
    if not line:
        return
    start = msgspec.json.decode(line, type=Start)
    loop.run(start.at, alarm_fd=fd)
    load.begin(start.at)
    _make_load(loop, load, start.at, fd)


def _make_load(loop: Loop, load: Load, at: float, alarm_fd: int) -> None:
    number = 0
    _taken(loop, load)
    then, cpu_s = time.perf_counter(), time.process_time()
    while not loop.run(at + number + 1, alarm_fd=alarm_fd):
        now, cpu_now_s = time.perf_counter(), time.process_time()
        second = Second(
            number=number, seconds=now - then, cpu_s=cpu_now_s - cpu_s, **_taken(loop, load)
        )
        then, cpu_s = now, cpu_now_s
        _tell(second)
        number += 1


def _taken(loop: Loop, load: Load) -> dict[str, Any]:
    """Take what was counted since the last call."""
    taken = {
        "events": loop.events,
        "errors": loop.errors,
        "connected": loop.connected,
        "late_us": max(loop.late_us, default=0),
        "latencies": counted(loop.latencies_us),
        "counts": dict(load.counts),
        "marks": loop.marks,
    }
    loop.events = loop.errors = 0
    # Loads keep hold of these two lists' methods.
    loop.latencies_us.clear()
    loop.late_us.clear()
    loop.marks = {}
    load.counts.update(dict.fromkeys(load.counts, 0))
    return taken


def _tell(message: Message) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(message) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
