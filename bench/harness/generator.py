"""A process that makes load: `python -m bench.harness.generator`, started by `generators.py`.

It reads an `Order` as a line of JSON from its standard input, lets the load that it names set
itself up, writes `Ready`, reads a `Start`, and from then on writes a `Second` each second until its
standard input ends. What a second is worth (warm-up or measured) is for its parent to say. A `Pace`
on a line of its own changes how fast the load goes from then on.
"""

from __future__ import annotations

import os
import resource
import sys
import time
from importlib import import_module
from typing import Any, Protocol, runtime_checkable

import msgspec
from msgspec import Raw, Struct

from bench.harness.latencies import counted
from bench.harness.loop import Loop

_READ_BYTES = 1 << 16


class Order(Struct):
    """What to do: a module with a function `make(options, loop, seed)`, and its options."""

    module: str
    options: Raw
    seed: int


class Start(Struct):
    """When the first second begins, on `time.perf_counter`, which all processes share."""

    at: float


class Pace(Struct):
    """How fast a load goes: `in_flight` operations under way in each room (closed loop), or
    (`rate` > 0) so many a second due over all rooms (open loop). Both 0: not at all."""

    in_flight: int
    rate: float


class Ready(Struct, tag="ready"):
    """The load is set up."""

    took_s: float


class Second(Struct, tag="second"):
    """What happened in one second; times in µs, `cpu_s` is this process's own.

    `latencies` counts values cut to three digits. `lates` counts by how much timers were late,
    `late_us` is the latest: the generator's own fault. `connected` is how many sockets are open at
    its end.
    """

    number: int
    seconds: float
    events: int
    errors: int
    connected: int
    late_us: int
    cpu_s: float
    latencies: dict[int, int]
    lates: dict[int, int]
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


@runtime_checkable
class Paced(Protocol):
    """A load that can go faster, slower, or stand still."""

    def pace(self, pace: Pace) -> None:
        """Go on at another pace; what is under way is finished."""


class _Orders:
    """Lines of standard input, and whether one has come already with the one before."""

    def __init__(self) -> None:
        self.fd = sys.stdin.fileno()
        self._buffer = b""

    @property
    def waiting(self) -> bool:
        """Whether there is a line that nothing on `fd` will tell of any more."""
        return b"\n" in self._buffer

    def line(self) -> bytes:
        """Wait for the next line; empty at the end."""
        parts = [self._buffer]
        while b"\n" not in parts[-1]:
            parts.append(os.read(self.fd, _READ_BYTES))
            if not parts[-1]:
                return b""
        line, _, self._buffer = b"".join(parts).partition(b"\n")
        return line


def main() -> None:
    """Make the load that standard input says."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    orders = _Orders()
    order = msgspec.json.decode(orders.line(), type=Order)
    loop = Loop()
    began = time.perf_counter()
    load: Load = import_module(order.module).make(order.options, loop, order.seed)
    load.set_up()
    _tell(Ready(time.perf_counter() - began))
    loop.run(float("inf"), alarm_fd=orders.fd)
    line = orders.line()
    if not line:
        return
    start = msgspec.json.decode(line, type=Start)
    loop.run(start.at, alarm_fd=orders.fd)
    load.begin(start.at)
    _make_load(loop, load, start.at, orders)


def _make_load(loop: Loop, load: Load, at: float, orders: _Orders) -> None:
    number = 0
    _taken(loop, load)
    then, cpu_s = time.perf_counter(), time.process_time()
    while True:
        if orders.waiting or loop.run(at + number + 1, alarm_fd=orders.fd):
            line = orders.line()
            if not line:
                return
            assert isinstance(load, Paced)
            load.pace(msgspec.json.decode(line, type=Pace))
            continue
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
        "lates": counted(loop.late_us),
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
