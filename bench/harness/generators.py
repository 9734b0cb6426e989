"""Several generator processes, as one: started, begun at the same moment, and collected."""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from subprocess import PIPE
from typing import TypeVar

import msgspec
import trio
from msgspec import Raw, Struct

from bench.harness.generator import Finish, Finished, Message, Order, Pace, Ready, Second, Start

BEGIN_AFTER_S = 0.2
T = TypeVar("T")
_ROOT = Path(__file__).resolve().parent.parent.parent
_decode = msgspec.json.Decoder(Message).decode


class GeneratorFailed(Exception):
    """A generator process ended by itself; it said why on standard error."""


class Generators:
    """The processes of one load.

    Attributes:
        pids: theirs.
        seconds: what each told of each second, by the second's number and its own.
    """

    def __init__(self, processes: Sequence[trio.Process]) -> None:
        self._processes = processes
        self._ready = [trio.Event() for _ in processes]
        self._finished: dict[int, Finished] = {}
        self._stopping = False
        self._told = trio.Event()
        self.seconds: dict[int, dict[int, Second]] = {}
        self.pids = [process.pid for process in processes]

    async def ready(self) -> None:
        """Wait until all are set up."""
        for event in self._ready:
            await event.wait()

    async def begin(self) -> float:
        """Have all of them begin together; return when that is, on `time.perf_counter`."""
        at = time.perf_counter() + BEGIN_AFTER_S
        for process in self._processes:
            assert process.stdin is not None
            await process.stdin.send_all(msgspec.json.encode(Start(at)) + b"\n")
        return at

    async def pace(self, in_flight: int, rate: float) -> None:
        """Have a load of `Paced` go on at another pace; the rate is shared by all."""
        line = msgspec.json.encode(Pace(in_flight, rate / len(self._processes))) + b"\n"
        for process in self._processes:
            assert process.stdin is not None
            await process.stdin.send_all(line)

    async def second(self, number: int) -> list[Second]:
        """Wait until all have told of a second, and return what they did."""

        def complete() -> list[Second] | None:
            told = self.seconds.get(number, {})
            return [told[index] for index in sorted(told)] if len(told) == len(self.pids) else None

        return await self.until(complete)

    def forget(self, number: int) -> None:
        """Drop what was told of a second, in a run that lasts for hours."""
        self.seconds.pop(number, None)

    async def until(self, found: Callable[[], T | None]) -> T:
        """Wait until the function has something to return; it is asked whenever one has told."""
        while (value := found()) is None:
            await self._told.wait()
        return value

    async def finish(self, within_s: float) -> list[Finished]:
        """Have all of them come to rest, and return what they know then; call it once.

        Args:
            within_s: how long they may wait for what is under way.
        """
        for process in self._processes:
            assert process.stdin is not None
            await process.stdin.send_all(msgspec.json.encode(Finish(within_s)) + b"\n")

        def all_of_them() -> list[Finished] | None:
            told = self._finished
            return [told[index] for index in sorted(told)] if len(told) == len(self.pids) else None

        return await self.until(all_of_them)

    async def stop(self) -> None:
        """Have all of them end, and wait for that."""
        self._stopping = True
        for process in self._processes:
            assert process.stdin is not None
            await process.stdin.aclose()
        for process in self._processes:
            await process.wait()

    async def collect(self, index: int, order: Order) -> None:
        """Give a process its order and take what it tells until it ends."""
        process = self._processes[index]
        assert process.stdin is not None
        assert process.stdout is not None
        await process.stdin.send_all(msgspec.json.encode(order) + b"\n")
        rest = b""
        async for chunk in process.stdout:
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                self._take(index, _decode(line))
        if not self._stopping:
            raise GeneratorFailed("a load generator ended; it said why above")

    def _take(self, index: int, message: Message) -> None:
        match message:
            case Ready():
                self._ready[index].set()
            case Second():
                self.seconds.setdefault(message.number, {})[index] = message
            case Finished():
                self._finished[index] = message
        self._told.set()
        self._told = trio.Event()


def generating(module: str, options: Sequence[Struct]) -> AbstractAsyncContextManager[Generators]:
    """Run a generator for each of the options, as `generating_all` does, all of one load."""
    return generating_all([(module, option) for option in options])


@asynccontextmanager
async def generating_all(loads: Sequence[tuple[str, Struct]]) -> AsyncIterator[Generators]:
    """Run a generator for each load, and wait until all are set up.

    Args:
        loads: of each a module that has `make(options, loop, seed)`, which returns a `Load`, and
            the options.

    Raises:
        GeneratorFailed: one ended before it was to.
    """
    processes: list[trio.Process] = []
    try:
        async with trio.open_nursery() as nursery:
            for _ in loads:
                processes.append(
                    await trio.lowlevel.open_process(
                        [sys.executable, "-m", "bench.harness.generator"],
                        stdin=PIPE,
                        stdout=PIPE,
                        cwd=_ROOT,
                    )
                )
            generators = Generators(processes)
            for index, (module, options) in enumerate(loads):
                order = Order(module, Raw(msgspec.json.encode(options)), seed=index)
                nursery.start_soon(generators.collect, index, order)
            await generators.ready()
            yield generators
            await generators.stop()
    finally:
        with trio.CancelScope(shield=True):
            for process in processes:
                process.kill()
                await process.wait()


def shares(total: int, generators: int) -> list[int]:
    """Share a number of things among generators, as evenly as it goes; those without get none."""
    even = [total // generators + (n < total % generators) for n in range(generators)]
    return [share for share in even if share]
