"""Tables with queues: players come, go, are called and sit down, staff call and move them.

Everybody of a table watches it, so each step is told to all of them and to all of staff, with the
whole queue, and to players on their own channels. A step is done when all of that has been read,
and its sender has the `ok`. Each table has one step under way, since the next depends on it.

Closed loop: the next begins when one is done. Open loop: steps are due at a constant rate, at each
table in turn, whatever the server does, and are timed from then.
"""

from __future__ import annotations

import random
import time

import msgspec
from msgspec import Raw, Struct

from bench.harness.loop import Loop
from bench.light_socket import LightSocket, framed
from bench.scenarios.clients import beginning, count_refusal
from bench.scenarios.waitlist_people import Driven, WaitlistOptions, gather

SEATED = "seated"
_UPDATE = beginning("waitlist_update")
_OWN = beginning("waitlist_position"), beginning("seat_offered"), beginning("waitlist_ended")
_ERROR = beginning("error")
_TABLE = b"\xa8table_id\xd9\x24"
_TABLE_SKIP, _TABLE_END = len(_TABLE), len(_TABLE) + 36
# The loop's own heartbeats have 1.
_STEP, _TO_STEP = 2, b"\xa2re\x02"
_LAST, _TO_LAST = 3, b"\xa2re\x03"
Place = tuple[str, str, int, str]
"""An entry's id, whose it is, where it stands, and its status."""


class QueueKnown(Struct):
    """A queue in the end. `expected` are the ids of its players, by the rules; `told` is every
    queue that anybody was told last, which should be one."""

    table_id: str
    expected: list[str]
    told: list[list[Place]]


class _Entry(Struct):
    id: str
    player_id: str
    position: int
    status: str


class _Update(Struct):
    entries: list[_Entry]


class _Named(Struct):
    id: str


class _Joined(Struct):
    entry: _Named


_decode_update = msgspec.msgpack.Decoder(_Update).decode
_decode_joined = msgspec.msgpack.Decoder(_Joined).decode


class _Ear:
    """A player's socket, called with what it received."""

    __slots__ = ("_driven", "_load", "update")

    def __init__(self, load: WaitlistLoad, driven: Driven) -> None:
        self._load = load
        self._driven = driven
        self.update = b""

    def __call__(self, payloads: list[bytes]) -> None:
        for payload in payloads:
            if payload.startswith(_UPDATE, 1):
                self.update = payload
                self._load.heard(self._driven)
            elif payload.startswith(_OWN, 1):
                self._load.heard(self._driven)
            elif payload.startswith(_ERROR, 1):
                self._load.refused(payload)
            elif _TO_STEP in payload:
                self._load.replied(self._driven, payload)
            elif _TO_LAST in payload:
                self._load.unread -= 1


class _StaffEar:
    """A socket of staff, who hear of all tables."""

    __slots__ = ("_load", "_tables", "updates")

    def __init__(self, load: WaitlistLoad, tables: dict[bytes, Driven]) -> None:
        self._load = load
        self._tables = tables
        self.updates: dict[Driven, bytes] = {}

    def __call__(self, payloads: list[bytes]) -> None:
        for payload in payloads:
            if payload.startswith(_UPDATE, 1):
                driven = self._table_of(payload)
                self.updates[driven] = payload
                self._load.heard(driven)
            elif payload.startswith(_ERROR, 1):
                self._load.refused(payload)
            elif _TO_STEP in payload:
                self._load.replied(self._table_of(payload), payload)
            elif _TO_LAST in payload:
                self._load.unread -= 1

    def _table_of(self, payload: bytes) -> Driven:
        at = payload.find(_TABLE)
        return self._tables[payload[at + _TABLE_SKIP : at + _TABLE_END]]


class WaitlistLoad:
    """The load of `waitlist`.

    Attributes:
        unread: in the end, how many sockets may still have something to read.
    """

    def __init__(self, options: WaitlistOptions, loop: Loop, seed: int) -> None:
        self.counts = {SEATED: 0}
        self.unread = 0
        self._options = options
        self._loop = loop
        self._rng = random.Random(seed)
        self._record = loop.latencies_us.append
        self._tables: list[Driven] = []
        self._ears: dict[Driven, list[_Ear]] = {}
        self._staff: list[LightSocket] = []
        self._staff_ears: list[_StaffEar] = []
        self._turn = 0
        self._next_due = 0.0
        self._finishing = False

    def set_up(self) -> None:
        """Have everybody at their table, the first on its seats, the others in its queue; and have
        all hear what happens from then on."""
        self._tables, self._staff = gather(self._options)
        by_id = {driven.room_id.encode(): driven for driven in self._tables}
        for driven in self._tables:
            self._ears[driven] = [_Ear(self, driven) for _ in driven.sockets]
            for socket, ear in zip(driven.sockets, self._ears[driven], strict=True):
                self._loop.watch(socket, ear)
            self._loop.keep_alive(driven.sockets, self._rng)
        for socket in self._staff:
            staff_ear = _StaffEar(self, by_id)
            self._staff_ears.append(staff_ear)
            self._loop.watch(socket, staff_ear)
        self._loop.keep_alive(self._staff, self._rng)

    def begin(self, now: float) -> None:
        """Take the first steps."""
        if self._options.rate > 0:
            self._next_due = now
            self._loop.at(now, self._begin_due)
            return
        for driven in self._tables:
            self._step(driven, time.perf_counter())

    def finish(self) -> None:
        """Begin no step any more."""
        self._finishing = True
        self._read_to_the_end()

    def undone(self) -> int:
        """Return at how many tables a step is under way, or how many sockets may have something to
        read."""
        return self._under_way() or self.unread

    def _under_way(self) -> int:
        return sum(driven.step is not None for driven in self._tables)

    def _read_to_the_end(self) -> None:
        """When all steps are done, have every socket read what was sent to it until then: it may be
        more than there is to tell."""
        if self._under_way():
            return
        sockets = [*self._staff, *(one for driven in self._tables for one in driven.sockets)]
        self.unread = len(sockets)
        for socket in sockets:
            socket.send_frames(framed("heartbeat", id=_LAST))

    def known(self) -> list[QueueKnown]:
        """Return all queues as they should be, and as everybody was told them."""
        return [
            QueueKnown(
                driven.room_id,
                [player.user_id for player in driven.table.queue],
                self._told(driven),
            )
            for driven in self._tables
        ]

    def _told(self, driven: Driven) -> list[list[Place]]:
        updates = [ear.update for ear in self._ears[driven]]
        updates += [ear.updates.get(driven, b"") for ear in self._staff_ears]
        different: list[list[Place]] = []
        for update in filter(None, updates):
            queue = [
                (entry.id, entry.player_id, entry.position, entry.status)
                for entry in _decode_update(update).entries
            ]
            if queue not in different:
                different.append(queue)
        return different

    # What comes back

    def heard(self, driven: Driven) -> None:
        """Note that one more of those who are to be told of a step has been."""
        driven.left -= 1
        if driven.left <= 0:
            self._done(driven)

    def replied(self, driven: Driven, payload: bytes) -> None:
        """Take the `ok` of a step."""
        step = driven.step
        if step is not None and step.command == "waitlist_join":
            assert step.player is not None
            step.player.entry_id = _decode_joined(payload).entry.id
        self.heard(driven)

    def refused(self, payload: bytes) -> None:
        """Count a refusal, which leaves its step undone."""
        self._loop.errors += 1
        count_refusal(self.counts, payload)

    def _done(self, driven: Driven) -> None:
        step = driven.step
        if step is None:
            self._loop.errors += 1  # Somebody was told more than there is to tell.
            return
        now = time.perf_counter()
        self._record(int((now - driven.due) * 1e6))
        driven.step = None
        if step.command == "waitlist_accept":
            self.counts[SEATED] += 1
        if self._finishing:
            self._read_to_the_end()
        elif self._options.rate <= 0:
            self._step(driven, now)
        elif driven.later:
            self._step(driven, driven.later.popleft())

    # What is done

    def _begin_due(self) -> None:
        """Begin what is due by now; where a step is under way, when that is done."""
        if self._finishing:
            return
        now = time.perf_counter()
        while self._next_due <= now:
            driven = self._tables[self._turn]
            self._turn = (self._turn + 1) % len(self._tables)
            if driven.step is None:
                self._step(driven, self._next_due)
            else:
                driven.later.append(self._next_due)
            self._next_due += 1 / self._options.rate
        self._loop.at(self._next_due, self._begin_due)

    def _step(self, driven: Driven, due: float) -> None:
        step = driven.step = driven.table.step(self._rng)
        driven.due = due
        driven.left = step.updates * driven.listeners + step.own + 1
        socket = driven.staff if step.player is None else driven.sockets[step.player.place]
        socket.send_frames(framed(step.command, id=_STEP, room_id=driven.room_id, **step.fields))


def make(options: Raw, loop: Loop, seed: int) -> WaitlistLoad:
    """Make the load in a generator."""
    return WaitlistLoad(msgspec.json.decode(options, type=WaitlistOptions), loop, seed)
