"""Tables that play: bots act at once, or at the pace of people.

An action is timed until the last client of its table has read its event. At a human pace it is
timed from when the bot was to act, so that a generator or a server that is late shows.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Raw, Struct

from bench.harness.loop import Loop
from bench.light_socket import LightSocket
from bench.scenarios.clients import ask_each, connect

_decode = msgspec.msgpack.Decoder().decode
_pack = msgspec.msgpack.encode
_ACTED = b"player_action"
_TURN = b"turn_started"
_COMPLETE = b"hand_complete"
_ERROR = b"\xa5error"
BUY_IN = 1_000_000
_ROOM = {
    "requires_approval": False,
    "max_buy_in": BUY_IN,
    "max_seats": 10,
    "turn_seconds": 120,
    "auto_start": False,
}
RAISES, FOLDS = 0.08, 0.15


User = tuple[str, str]


class TablesOptions(Struct):
    """`tables`: ids and tokens of each table's players, its host first.

    Each bot thinks for between `think_s` seconds, drawn evenly; zeros play as fast as it goes.
    """

    url: str
    tables: list[list[User]]
    think_s: tuple[float, float]


class Seats:
    """A room with its players on their seats and their sockets; no hand is played yet."""

    def __init__(self, users: Sequence[User], players: Sequence[LightSocket], room_id: str) -> None:
        self.users = users
        self.players = players
        self.host = players[0]
        self.room_id = room_id

    def begin(self) -> None:
        """Let hands follow each other."""
        self.host.send("settings", room_id=self.room_id, settings={"auto_start": True})


def seat_all(url: str, tables: Sequence[Sequence[User]]) -> list[Seats]:
    """Make rooms and seat everybody, all tables at once."""
    sockets = iter(connect(url, [token for users in tables for _, token in users]))
    players = [[next(sockets) for _ in users] for users in tables]
    made = ask_each("create_room", [(host, {"settings": _ROOM}) for host, *_ in players])
    ids = [str(answer["room"]["id"]) for answer in made]
    at = list(zip(players, ids, strict=True))
    ask_each("subscribe", [(host, {"channel": f"room:{room_id}"}) for (host, *_), room_id in at])
    for index in range(max(len(users) for users in tables)):
        coming = [(some[index], room_id) for some, room_id in at if index < len(some)]
        if index:
            ask_each("join", [(one, {"room_id": room_id}) for one, room_id in coming])
        seat = {"seat_index": index, "buy_in": BUY_IN}
        ask_each("seat", [(one, {"room_id": room_id, **seat}) for one, room_id in coming])
    return [Seats(users, some, room_id) for users, (some, room_id) in zip(tables, at, strict=True)]


def choose(rng: random.Random, legal: dict[str, Any]) -> dict[str, Any]:
    """Choose an action; its fields for the command."""
    roll = rng.random()
    if legal["call_amount"] is None:
        return {"action": "CHECK"}
    if roll < RAISES and legal["min_raise_to"] is not None:
        return {"action": "RAISE", "amount": legal["min_raise_to"]}
    return {"action": "FOLD" if roll > 1 - FOLDS else "CALL"}


class _Table:
    def __init__(self, seats: Seats) -> None:
        self.seats = seats
        self.size = len(seats.players)
        # By the ordinal of an action here: how many have not heard of it, and when it was due.
        self.waiting: dict[int, list[float]] = {}
        self.sent = 0


class _Player:
    """One bot: its socket's messages come to it."""

    __slots__ = ("_heard", "_leads", "_load", "_me", "_socket", "_table")

    def __init__(
        self, load: TablesLoad, table: _Table, socket: LightSocket, user_id: str, *, leads: bool
    ) -> None:
        self._socket = socket
        self._leads = leads
        self._load = load
        self._table = table
        self._me = _pack("user_id") + _pack(user_id)
        self._heard = 0

    def __call__(self, payloads: list[bytes]) -> None:
        """Take what was received."""
        table, load = self._table, self._load
        for payload in payloads:
            if _ACTED in payload:
                self._heard += 1
                entry = table.waiting[self._heard]
                entry[0] -= 1
                if not entry[0]:
                    del table.waiting[self._heard]
                    load.record(int((time.perf_counter() - entry[1]) * 1e6))
            elif _TURN in payload:
                if self._me in payload:
                    self._take_turn(_decode(payload)["legal"])
            elif _ERROR in payload:
                load.loop.errors += 1
            elif self._leads and _COMPLETE in payload:
                load.counts["hands"] += 1

    def _take_turn(self, legal: dict[str, Any]) -> None:
        now = time.perf_counter()
        least, most = self._load.think_s
        if most <= 0:
            self._act(now, legal)
            return
        due = now + self._load.rng.uniform(least, most)
        self._load.loop.at(due, lambda: self._act(due, legal))

    def _act(self, due: float, legal: dict[str, Any]) -> None:
        table = self._table
        table.sent += 1
        table.waiting[table.sent] = [table.size, due]
        fields = choose(self._load.rng, legal)
        self._socket.send("action", room_id=table.seats.room_id, **fields)


class TablesLoad:
    """The load of `tables`."""

    def __init__(self, options: TablesOptions, loop: Loop, seed: int) -> None:
        self.loop = loop
        self.rng = random.Random(seed)
        self.counts = {"hands": 0}
        self.think_s = options.think_s
        self.record = loop.latencies_us.append
        self._options = options
        self._seats: list[Seats] = []

    def set_up(self) -> None:
        """Seat everybody; no hand is played yet."""
        self._seats = seat_all(self._options.url, self._options.tables)
        for seats in self._seats:
            table = _Table(seats)
            for socket, (user_id, _) in zip(seats.players, seats.users, strict=True):
                player = _Player(self, table, socket, user_id, leads=socket is seats.host)
                self.loop.watch(socket, player)
            self.loop.keep_alive(seats.players, self.rng)

    def begin(self, now: float) -> None:
        """Let hands follow each other."""
        for seats in self._seats:
            seats.begin()


def make(options: Raw, loop: Loop, seed: int) -> TablesLoad:
    """Make the load in a generator."""
    return TablesLoad(msgspec.json.decode(options, type=TablesOptions), loop, seed)
