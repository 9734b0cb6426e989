"""The process that drives a contestant: one command in flight in each room; started by `turns`.

Reads a `Load` as JSON from its standard input. Writes "ready" when the warm-up is over, and a
`Driven` as JSON when the time is.
"""

from __future__ import annotations

import select
import sys
import time

import msgspec
from msgspec import Struct

from bench.peers.wires import WIRES, Member, Room, Wire

SILENCE_S = 30.0
"""How long nothing at all may come before the contestant is given up."""


class Load(Struct):
    """What to do: `tokens` are those of each room's players; times in seconds."""

    wire: str
    url: str
    tokens: list[list[str]]
    warm_up_s: float
    seconds: float


class Driven(Struct):
    """What came of it.

    `commands`: those whose event all six sockets read within the time. `sent`: all that were
    answered, the warm-up's and those after the time included. `latencies_us`: from just before one
    was sent until the last socket had its event. `cpu_share`: of one core that this process used.
    """

    commands: int
    sent: int
    events: int
    seconds: float
    cpu_share: float
    latencies_us: list[int]


class _Driven:
    """A room that is driven: how far its command is, and how far each socket."""

    __slots__ = ("missing", "nth", "replied", "room", "sender", "sent_ns")

    def __init__(self, room: Room) -> None:
        self.room = room
        self.sender = room.members[0]
        self.nth = -1
        self.missing = 0
        self.replied = True
        self.sent_ns = 0

    def send_next(self) -> None:
        self.nth += 1
        self.missing = len(self.room.members)
        self.replied = False
        type, fields = self.room.command(self.nth)
        self.sent_ns = time.perf_counter_ns()
        self.sender.send(type, **fields)


class _Socket:
    __slots__ = ("heard", "read", "room")

    def __init__(self, member: Member, room: _Driven) -> None:
        self.read = member.read
        self.room = room
        self.heard = 0


class Generator:
    """All rooms of a load.

    Raises:
        ConnectionError: from everything, when the contestant hangs up.
        RuntimeError: when it says what it should not, or nothing at all.
    """

    def __init__(self, wire: Wire, rooms: list[Room]) -> None:
        self.latencies_ns: list[int] = []
        self.events = 0
        self._event, self._reply = wire.event, wire.reply
        self._rooms = [_Driven(room) for room in rooms]
        self._sockets: dict[int, _Socket] = {}
        self._epoll = select.epoll()
        self._repeats = True
        for driven in self._rooms:
            for member in driven.room.members:
                member.watch()
                self._sockets[member.sock.fileno()] = _Socket(member, driven)
                self._epoll.register(member.sock, select.EPOLLIN)

    def close(self) -> None:
        """Watch no socket any more."""
        self._epoll.close()

    @property
    def sent(self) -> int:
        """How many commands have been sent."""
        return sum(driven.nth + 1 for driven in self._rooms)

    def begin(self) -> None:
        """Send each room's first command."""
        for driven in self._rooms:
            driven.send_next()

    def run(self, seconds: float) -> None:
        """Read for so long; answered commands are followed by the next ones."""
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            self.read_once()

    def finish(self) -> None:
        """Let the commands in flight come to their end."""
        self._repeats = False
        while any(driven.missing or not driven.replied for driven in self._rooms):
            self.read_once()

    def read_once(self) -> None:
        """Wait until something has come, and take it."""
        ready = self._epoll.poll(SILENCE_S)
        if not ready:
            raise RuntimeError(f"nothing came for {SILENCE_S:.0f} s")
        sockets = self._sockets
        for number, _ in ready:
            self._take(sockets[number])

    def _take(self, socket: _Socket) -> None:
        driven = socket.room
        for payload in socket.read():
            if self._event in payload:
                if socket.heard > driven.nth:
                    raise RuntimeError("a socket was told of a command twice")
                socket.heard += 1
                self.events += 1
                driven.missing -= 1
                if not driven.missing:
                    self.latencies_ns.append(time.perf_counter_ns() - driven.sent_ns)
            elif self._reply in payload:
                driven.replied = True
            else:
                raise RuntimeError(f"unexpected: {payload!r}")
            if self._repeats and driven.replied and not driven.missing:
                driven.send_next()


def main() -> None:
    """Do what standard input says."""
    load = msgspec.json.decode(sys.stdin.buffer.readline(), type=Load)
    wire = WIRES[load.wire]
    generator = Generator(
        wire,
        [wire.open(load.url, number, tokens) for number, tokens in enumerate(load.tokens, 1)],
    )
    generator.begin()
    generator.run(load.warm_up_s)
    generator.latencies_ns, generator.events = [], 0
    print("ready", flush=True)
    began, cpu = time.perf_counter(), time.process_time()
    generator.run(load.seconds)
    seconds = time.perf_counter() - began
    cpu_share = (time.process_time() - cpu) / seconds
    latencies_us, events = [ns // 1000 for ns in generator.latencies_ns], generator.events
    generator.finish()
    generator.close()
    driven = Driven(
        commands=len(latencies_us),
        sent=generator.sent,
        events=events,
        seconds=seconds,
        cpu_share=cpu_share,
        latencies_us=latencies_us,
    )
    sys.stdout.buffer.write(msgspec.json.encode(driven) + b"\n")


if __name__ == "__main__":
    main()
