"""One room whose spectators are shared by several generators.

The first one, the *leader*, has the player and sends the commands. An operation is done when the
last socket of all has read its event, whosever it is: each other generator, a *follower*, tells the
leader for each event when the last of its own has read it, on the clock that all processes of a
machine share, and the latest of those moments counts.

They talk by datagrams on a Unix socket, 16 bytes for an event: its ordinal in the room, and the
moment. Ordinal 0 says that a follower's sockets are listening.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Sequence

import msgspec
from msgspec import Raw, Struct

from bench.harness.loop import Loop
from bench.light_socket import LightSocket
from bench.scenarios.clients import ask_each, connect
from bench.scenarios.rooms_load import Room, RoomsLoad, RoomsOptions, commands, enter

_LISTENING = 0
_Told = struct.Struct("<qd")


class FanoutOptions(Struct):
    """`tokens`: of those of this generator who are in the room, the leader's player first.

    `meeting` is a name that all generators of the room know, `followers` how many there are, and
    `leads` says which of them this one is. The other fields are those of `RoomsOptions`.
    """

    url: str
    room_id: str
    tokens: list[str]
    in_flight: int
    rate: float
    meeting: str
    followers: int
    leads: bool


class _Leader(RoomsLoad):
    """The room with its player, and those who watch from here."""

    def __init__(self, options: FanoutOptions, loop: Loop, seed: int) -> None:
        rooms = RoomsOptions(options.url, [options.tokens], options.in_flight, options.rate)
        super().__init__(rooms, loop, seed)
        self._shared = options
        self._sockets: list[LightSocket] = []
        self._away = options.followers
        # By an event's ordinal: how many generators have not read it, and when the last one had.
        self._waiting: dict[int, tuple[int, float]] = {}
        self._due: dict[int, float] = {}
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)

    def set_up(self) -> None:
        """Have everybody there, deaf."""
        self.sock.bind(_address(self._shared.meeting))
        self.sock.setblocking(False)
        self._sockets = _enter(self._shared, spectators_from=1)

    def begin(self, now: float) -> None:
        """Listen, and begin when all others do."""
        _listen(self._sockets, self._shared.room_id)
        self.add_room(self._sockets, commands(self._shared.room_id))
        self.loop.keep_alive(self._sockets, self._rng)
        self.loop.watch_raw(self, self._hear, _nothing, None)
        if not self._away:
            super().begin(now)

    def done(self, room: Room, ordinal: int, due: float) -> None:
        """Learn that all sockets here have read an event."""
        self._due[ordinal] = due
        self._read(room, ordinal, time.perf_counter())

    def _hear(self) -> list[bytes]:
        """Take what the others say; nothing of it comes from the server."""
        (room,) = self._listeners
        while True:
            try:
                ordinal, at = _Told.unpack(self.sock.recv(_Told.size))
            except BlockingIOError:
                return []
            if ordinal == _LISTENING:
                self._away -= 1
                if not self._away:
                    super().begin(time.perf_counter())
            else:
                self._read(room, ordinal, at)

    def _read(self, room: Room, ordinal: int, at: float) -> None:
        left, latest = self._waiting.pop(ordinal, (self._shared.followers + 1, 0.0))
        latest = max(at, latest)
        if left > 1:
            self._waiting[ordinal] = left - 1, latest
        else:
            self.record(room, self._due.pop(ordinal), latest)


class _Expected(dict[int, list[float]]):
    """Events that come from somebody else's command: each is to be read by all sockets here."""

    def __init__(self, sockets: int) -> None:
        super().__init__()
        self._sockets = sockets

    def __missing__(self, ordinal: int) -> list[float]:
        entry = self[ordinal] = [self._sockets, 0.0]
        return entry


class _Follower(RoomsLoad):
    """Those who watch from here."""

    def __init__(self, options: FanoutOptions, loop: Loop, seed: int) -> None:
        super().__init__(RoomsOptions(options.url, [], 0, 0.0), loop, seed)
        self._shared = options
        self._sockets: list[LightSocket] = []
        self._leader = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)

    def set_up(self) -> None:
        """Have everybody there, deaf."""
        self._sockets = _enter(self._shared, spectators_from=0)

    def begin(self, now: float) -> None:
        """Listen, and say so."""
        _listen(self._sockets, self._shared.room_id)
        self.add_room(self._sockets, commands(self._shared.room_id), _Expected(len(self._sockets)))
        self.loop.keep_alive(self._sockets, self._rng)
        self._leader.connect(_address(self._shared.meeting))
        self._leader.send(_Told.pack(_LISTENING, time.perf_counter()))

    def done(self, room: Room, ordinal: int, due: float) -> None:
        """Tell the leader that all sockets here have read an event."""
        try:
            self._leader.send(_Told.pack(ordinal, time.perf_counter()))
        except ConnectionError:
            return  # the leader was told to end first


def _enter(options: FanoutOptions, *, spectators_from: int) -> list[LightSocket]:
    sockets = connect(options.url, options.tokens)
    enter([(one, options.room_id) for one in sockets[spectators_from:]])
    return sockets


def _listen(sockets: Sequence[LightSocket], room_id: str) -> None:
    """Subscribe; all who watch, from wherever, are there by now."""
    seq = sockets[0].ask("hydrate", room_id=room_id)["seq"]
    channel = {"channel": f"room:{room_id}", "last_seq": seq}
    ask_each("subscribe", [(one, channel) for one in sockets])


def _address(meeting: str) -> str:
    """Return the meeting's address: of Linux's abstract kind, which leaves no file."""
    return f"\0{meeting}"


def _nothing(_: list[bytes]) -> None:
    pass


def make(options: Raw, loop: Loop, seed: int) -> RoomsLoad:
    """Make the load in a generator."""
    asked = msgspec.json.decode(options, type=FanoutOptions)
    return _Leader(asked, loop, seed) if asked.leads else _Follower(asked, loop, seed)
