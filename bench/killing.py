"""Killing a server at random moments, and the clients that come back to it each time."""

from __future__ import annotations

import math
import random
import statistics
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import trio
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from bench.kill_socket import Dropped, Socket, opened
from bench.outside import Message
from bench.server_process import ServerProcess

LIFE_S = (0.05, 3.0)
"""How long a server lives once it is ready."""
STILLBORN = 0.1
"""How many of the servers are killed before they are ready."""
UNREADY_S = (0.05, 1.5)
RECONNECT_S = (0.0, 0.1)
ANSWER_S = 15.0
TRANSIENT = frozenset({"unavailable", "busy", "rate_limited", "room_unavailable", "internal"})
"""Refusals that say nothing final; the command is sent again, with its id."""


@dataclass
class Deaths:
    """How often a server died.

    Attributes:
        ready_s: from start to ready, in seconds, for each server that lived to be ready.
    """

    kills: int = 0
    stillborn: int = 0
    ready_s: list[float] = field(default_factory=list)


async def kill_at_random(
    server: ServerProcess,
    deaths: Deaths,
    kills: int,
    rng: random.Random,
    *,
    moved: Callable[[str | None], None],
    check: Callable[[], Awaitable[bool]],
) -> bool:
    """Kill a running server so often and start it again.

    Args:
        server: the server.
        deaths: is counted up.
        kills: how often in all.
        rng: says when.
        moved: is told where the server is from now on, None while it is away.
        check: looks at what is left after each kill; False ends it all.

    Returns:
        False if a check ended it; the server is down then.
    """
    while deaths.kills < kills:
        await trio.sleep(rng.uniform(*LIFE_S))
        moved(None)
        await server.kill()
        deaths.kills += 1
        if not await check():
            return False
        if deaths.kills < kills and rng.random() < STILLBORN:
            server.launch()
            await trio.sleep(rng.uniform(*UNREADY_S))
            await server.kill()
            deaths.kills += 1
            deaths.stillborn += 1
        deaths.ready_s.append(await server.start())
        moved(server.ws_url)
    return True


@contextmanager
def picture(console: Console, kills: int) -> Iterator[Callable[[int, str], None]]:
    """Show how far it is; what is yielded is told how often it died, and the figures so far."""
    columns = (
        TextColumn("kills"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[figures]}"),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=kills, figures="")

        def tell(done: int, figures: str) -> None:
            progress.update(task, completed=done, figures=figures)
            if not console.is_terminal:
                console.print(f"{done} kills, {figures}")

        yield tell


def time_to_ready(deaths: Deaths) -> str:
    """Say how long the server took to be back."""
    ready = sorted(deaths.ready_s) or [0.0]
    p95 = ready[math.ceil(len(ready) * 0.95) - 1]
    return f"p50 {statistics.median(ready):.2f} s, p95 {p95:.2f} s, max {ready[-1]:.2f} s"


class Survivor(ABC):
    """A client that outlives the server: whenever there is one it comes back.

    Args:
        coding: the subprotocol.
        rng: says what it does and when.

    Attributes:
        open_commands: those that want an answer yet, by the id that makes each happen once.
        caught_up: whether it is connected and knows how things are.
    """

    def __init__(self, coding: str, rng: random.Random) -> None:
        self.open_commands: dict[str, Message] = {}
        self.caught_up = trio.Event()
        self._coding = coding
        self._rng = rng
        self._next_id = 0
        self._asked: dict[int, Message] = {}

    async def run(self, url: Callable[[], str | None]) -> None:
        """Live until cancelled; `url` says where the server is, None while it is away."""
        while True:
            await trio.sleep(self._rng.uniform(*RECONNECT_S))
            address = url()
            if address is None:
                continue
            try:
                async with opened(address, self._coding) as socket:
                    self._asked.clear()
                    await self._connected(socket)
            except Dropped as dropped:
                self._dropped(dropped)
            self.caught_up = trio.Event()

    @abstractmethod
    async def _connected(self, socket: Socket) -> None:
        """Live on a new connection until it is gone.

        Raises:
            Dropped: it is gone.
        """

    def _dropped(self, dropped: Dropped) -> None:  # noqa: B027 - most have nothing to note
        """Take note of how a connection ended."""

    @abstractmethod
    def _take(self, message: Message) -> None:
        """Take something that came in."""

    async def _post(self, socket: Socket, message: Message) -> int:
        self._next_id += 1
        self._asked[self._next_id] = message
        await socket.send({**message, "id": self._next_id})
        return self._next_id

    async def _reply_to(self, socket: Socket, message_id: int) -> tuple[Message, list[Message]]:
        """Wait for a reply; what comes before it is taken, what came right after it is returned.

        Raises:
            trio.TooSlowError: it does not come.
            Dropped: the connection is gone.
        """
        with trio.fail_after(ANSWER_S):
            while True:
                arrived = await socket.receive()
                for at, received in enumerate(arrived):
                    if received.get("re") == message_id:
                        del self._asked[message_id]
                        return received, arrived[at + 1 :]
                    self._take(received)
