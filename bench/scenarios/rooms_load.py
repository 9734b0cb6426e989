"""Rooms in which one player sits out and in again, told to all sockets of the room.

It is the smallest command that writes a room: one event, the seat's row, the room's state. No hand
is played, so what is measured is the way of a command and not the rules. An operation is done when
the last socket of its room has read its event.

Closed loop: each room has so many commands under way, and sends the next when one is done. Open
loop: commands are due at a constant rate, whatever the server does, and are timed from then.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from functools import partial

import msgspec
from msgspec import Raw, Struct

from bench.harness.generator import Pace
from bench.harness.loop import Loop
from bench.light_socket import LightSocket, framed
from bench.scenarios.clients import AT_ONCE, ask_each, connect

SEAT_SETTINGS = {"requires_approval": False, "auto_start": False}


class RoomsOptions(Struct):
    """`rooms`: the tokens of each room's player and of those who watch.

    `in_flight` commands are under way in each room, or (`rate` > 0) so many a second are due over
    all rooms of this generator; with both 0 nothing happens until the pace changes. `ids`: the
    rooms, where they are there already with everybody in them; else they are made.
    """

    url: str
    rooms: list[list[str]]
    in_flight: int
    rate: float
    ids: list[str] = []


class Room:
    """A room as its player sees it: what was sent, and who has not heard of it yet."""

    __slots__ = ("_frames", "_player", "sent", "waiting")

    def __init__(
        self,
        player: LightSocket,
        frames: tuple[bytes, bytes],
        waiting: dict[int, list[float]] | None,
    ) -> None:
        self._player = player
        self._frames = frames
        self.sent = 0
        # By a command's ordinal in this room: how many have not heard of it yet, when it was due.
        self.waiting: dict[int, list[float]] = {} if waiting is None else waiting

    def send(self, due: float, listeners: int) -> None:
        """Send the next command, which so many sockets are to hear of."""
        self.sent += 1
        self.waiting[self.sent] = [listeners, due]
        self._player.send_frames(self._frames[self.sent & 1])


class _Listener:
    """One socket of a room; called with what it received."""

    __slots__ = ("_error", "_heard", "_load", "_room", "_told", "_waiting")

    def __init__(self, load: RoomsLoad, room: Room) -> None:
        self._load = load
        self._told, self._error = load.TOLD, load.ERROR
        self._room = room
        self._waiting = room.waiting
        self._heard = 0

    def __call__(self, payloads: list[bytes]) -> None:
        for payload in payloads:
            if self._told in payload:
                self._heard += 1
                entry = self._waiting[self._heard]
                entry[0] -= 1
                if not entry[0]:
                    del self._waiting[self._heard]
                    self._load.done(self._room, self._heard, entry[1])
            elif self._error in payload:
                self._load.loop.errors += 1


def enter(watching: Sequence[tuple[LightSocket, str]]) -> None:
    """Have sockets enter rooms as spectators, by the rooms' ids.

    They are deaf afterwards, until they subscribe: that two thousand people come in is not for each
    of them to hear two thousand times.
    """
    for first in range(0, len(watching), AT_ONCE):
        some = [(one, {"room_id": at}) for one, at in watching[first : first + AT_ONCE]]
        ask_each("join", some)
        ask_each("spectate", some)
        ask_each("unsubscribe", [(one, {"channel": f"room:{at['room_id']}"}) for one, at in some])


def commands(room_id: str) -> tuple[bytes, bytes]:
    """Return the frames that a room's player sends in turn, the one that comes first last."""
    return framed("sit_in", room_id=room_id), framed("sit_out", room_id=room_id)


class RoomsLoad:
    """The load of `durable`; that of `fanout` is made of it.

    Attributes:
        TOLD: what is in the event of a command, and in nothing else that is received.
        ERROR: what is in the answer to a command that failed.
    """

    TOLD = b"player_sat_"
    ERROR = b"\xa5error"

    def __init__(self, options: RoomsOptions, loop: Loop, seed: int) -> None:
        self.loop = loop
        self.counts: dict[str, int] = {}
        self._options = options
        self._rng = random.Random(seed)
        self._listeners: dict[Room, int] = {}
        self._record = loop.latencies_us.append
        self._order: list[Room] = []
        self._turn = 0
        self._next_due = 0.0
        self._pace = Pace(options.in_flight, options.rate)

    def set_up(self) -> None:
        """Have everybody in their rooms, which are made if need be."""
        url, rooms = self._options.url, self._options.rooms
        players = connect(url, [tokens[0] for tokens in rooms])
        ids = self._options.ids or self._make_rooms(players)
        hosts = list(zip(players, ids, strict=True))
        watchers = connect(url, [token for tokens in rooms for token in tokens[1:]])
        where = [room_id for room_id, tokens in zip(ids, rooms, strict=True) for _ in tokens[1:]]
        watching = list(zip(watchers, where, strict=True))
        if not self._options.ids:
            enter(watching)
        known = ask_each("hydrate", [(one, {"room_id": room_id}) for one, room_id in hosts])
        seqs = {room_id: answer["seq"] for room_id, answer in zip(ids, known, strict=True)}
        everybody = hosts + watching
        ask_each(
            "subscribe",
            [
                (one, {"channel": f"room:{room_id}", "last_seq": seqs[room_id]})
                for one, room_id in everybody
            ],
        )
        members = {room_id: [player] for player, room_id in hosts}
        for watcher, room_id in watching:
            members[room_id].append(watcher)
        seated = {answer["room"]["id"]: answer["seats"][0]["status"] for answer in known}
        for room_id, sockets in members.items():
            frames = commands(room_id)
            # Whoever sits out already, from a run before this one, first sits in.
            self.add_room(sockets, frames if seated[room_id] == "active" else frames[::-1])
        self.loop.keep_alive([socket for socket, _ in everybody], self._rng)

    def _make_rooms(self, players: Sequence[LightSocket]) -> list[str]:
        """Make a room for each player, who takes a seat; return their ids."""
        made = ask_each("create_room", [(one, {"settings": SEAT_SETTINGS}) for one in players])
        ids = [str(answer["room"]["id"]) for answer in made]
        seat = {"seat_index": 0, "buy_in": made[0]["room"]["min_buy_in"]}
        hosts = list(zip(players, ids, strict=True))
        ask_each("seat", [(one, {"room_id": room_id, **seat}) for one, room_id in hosts])
        ask_each("unsubscribe", [(one, {"channel": f"room:{room_id}"}) for one, room_id in hosts])
        return ids

    def add_room(
        self,
        sockets: Sequence[LightSocket],
        frames: tuple[bytes, bytes],
        waiting: dict[int, list[float]] | None = None,
    ) -> None:
        """Take a room in.

        Args:
            sockets: all are told; the first sends the commands.
            frames: of every second command, and of those between, the first of which comes first.
            waiting: where it is kept who has not heard of a command yet.
        """
        room = Room(sockets[0], frames, waiting)
        self._listeners[room] = len(sockets)
        for socket in sockets:
            self.loop.watch(socket, _Listener(self, room))

    def begin(self, now: float) -> None:
        """Send the first commands."""
        self._order = list(self._listeners)
        self.pace(self._pace)

    def pace(self, pace: Pace) -> None:
        """Go on at another pace."""
        self._pace = pace
        if pace.rate > 0:
            self._next_due = time.perf_counter()
            self._send_due(pace)
            return
        for room, listeners in self._listeners.items():
            while len(room.waiting) < pace.in_flight:
                room.send(time.perf_counter(), listeners)

    def done(self, room: Room, ordinal: int, due: float) -> None:
        """Record an operation, by its ordinal in its room, that all have read now."""
        self.record(room, due, time.perf_counter())

    def record(self, room: Room, due: float, done_at: float) -> None:
        """Record an operation; the room goes on."""
        self._record(int((done_at - due) * 1e6))
        if self._pace.rate <= 0 and len(room.waiting) < self._pace.in_flight:
            room.send(time.perf_counter(), self._listeners[room])

    def _send_due(self, pace: Pace) -> None:
        """Send what is due by now, each command to the next room in turn."""
        if pace is not self._pace:
            return
        now = time.perf_counter()
        while self._next_due <= now:
            room = self._order[self._turn]
            self._turn = (self._turn + 1) % len(self._order)
            room.send(self._next_due, self._listeners[room])
            self._next_due += 1 / pace.rate
        self.loop.at(self._next_due, partial(self._send_due, pace))


def make(options: Raw, loop: Loop, seed: int) -> RoomsLoad:
    """Make the load in a generator."""
    return RoomsLoad(msgspec.json.decode(options, type=RoomsOptions), loop, seed)
