"""A process that makes load: `python -m bench.harness.generator`, started by `generators.py`.

It reads an `Order` as a line of JSON from its standard input, lets the load that it names set
itself up, writes `Ready`, reads a `Start`, and from then on writes a `Second` each second. What a
second is worth (warm-up or measured) is for its parent to say. A `Pace` changes how fast the load
goes from then on. On a `Finish` it begins nothing any more, and writes `Finished` when what is
under way is done. It ends when its standard input does.
"""

from __future__ import annotations

import os
import resource
import sys
import time
from importlib import import_module
from typing import Any, Protocol, cast

import msgspec
from msgspec import Raw, Struct

from bench.harness.latencies import counted
from bench.harness.loop import Loop

_LOOK_S = 0.05
"""How often a load is asked whether it has come to rest."""
_READ_BYTES = 1 << 16


class Order(Struct):
    """What to do: a module with a function `make(options, loop, seed)`, and its options."""

    module: str
    options: Raw
    seed: int


class Start(Struct):
    """When the first second begins, on `time.perf_counter`, which all processes share."""

    at: float


class Finish(Struct, tag="finish"):
    """Begin nothing any more; wait so long at most for what is under way."""

    within_s: float


class Pace(Struct, tag="pace"):
    """How fast a load goes: `in_flight` operations under way in each room (closed loop), or
    (`rate` > 0) so many a second due over all rooms (open loop). Both 0: not at all."""

    in_flight: int
    rate: float


class Ready(Struct, tag="ready"):
    """The load is set up."""

    took_s: float


class Second(Struct, tag="second"):
    """What happened in one second; times in µs, `cpu_s` is this process's own.

    `latencies` counts values cut to three digits; `kinds` others, by what they are of. `lates`
    counts by how much timers were late, `late_us` is the latest: the generator's own fault.
    `connected` is how many sockets are open at its end.
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
    kinds: dict[str, dict[int, int]] = {}
    lates: dict[int, int] = {}


class Finished(Struct, tag="finished"):
    """The load has come to rest, or not in time.

    `undone` is how many operations are still under way, `errors` what went wrong since the last
    second, and `known` what the load has to say in the end.
    """

    undone: int
    errors: int
    known: Raw


Message = Ready | Second | Finished


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


class Finishing(Load, Protocol):
    """A load that can come to rest, so that what it knows then can be held against the server."""

    def finish(self) -> None:
        """Begin nothing any more."""

    def undone(self) -> int:
        """Return how many operations are under way."""

    def known(self) -> object:
        """Return what its scenario wants to know in the end, of anything that JSON can say."""


class Paced(Load, Protocol):
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
            order = msgspec.json.decode(line, type=Pace | Finish)
            if isinstance(order, Finish):
                _finish(loop, cast(Finishing, load), order, orders.fd)
                return
            cast(Paced, load).pace(order)
            continue
        now, cpu_now_s = time.perf_counter(), time.process_time()
        second = Second(
            number=number, seconds=now - then, cpu_s=cpu_now_s - cpu_s, **_taken(loop, load)
        )
        then, cpu_s = now, cpu_now_s
        _tell(second)
        number += 1


def _finish(loop: Loop, load: Finishing, finish: Finish, alarm_fd: int) -> None:
    load.finish()
    until = time.perf_counter() + finish.within_s
    while load.undone() and (now := time.perf_counter()) < until:
        if loop.run(now + _LOOK_S, alarm_fd=alarm_fd):
            return
    known = Raw(msgspec.json.encode(load.known()))
    _tell(Finished(load.undone(), loop.errors, known))
    # What the load knows stays so until nobody wants its sockets any more.
    loop.run(float("inf"), alarm_fd=alarm_fd)


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
        "kinds": {kind: counted(values) for kind, values in loop.kinds_us.items()},
    }
    loop.events = loop.errors = 0
    # Loads keep hold of these lists' methods.
    loop.latencies_us.clear()
    for values in loop.kinds_us.values():
        values.clear()
    loop.late_us.clear()
    loop.marks = {}
    load.counts.update(dict.fromkeys(load.counts, 0))
    return taken


def _tell(message: Message) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(message) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
