"""Tables whose clients come back when the server is killed, and play on.

A client comes back (`returning.py`) with its token, its room and the seq that it has.

An action is timed from when it was due until the client itself has read its event.
"""

from __future__ import annotations

import random
import time
from typing import Any

import msgspec
from msgspec import Raw, Struct

from bench.harness.loop import Loop
from bench.light_socket import LightSocket
from bench.scenarios.returning import Returning, decode
from bench.scenarios.tables_load import Seats, User, choose, seat_all

ACTED = "acted"
"""The mark of an action of a client that was away before."""
_ACTED = b"player_action"
_TURN = b"turn_started"
_ERROR = b"\xa5error"
_pack = msgspec.msgpack.encode


class ComebackOptions(Struct):
    """`tables`: ids and tokens of each table's players; `think_s`, or None: nobody plays."""

    url: str
    tables: list[list[User]]
    think_s: tuple[float, float] | None


class _Client(Returning):
    """One player."""

    def __init__(self, load: ComebackLoad, user: User, room_id: str) -> None:
        super().__init__(load.loop, load.rng, load.url)
        self._load = load
        self._user_id, self._token = user
        self._room_id = room_id
        self._me = _pack("user_id") + _pack(self._user_id)
        self._told = _pack("channel") + _pack(f"room:{room_id}")
        self._last_event = b""
        self._due = 0.0
        self._was_away = False

    def __call__(self, payloads: list[bytes]) -> None:
        """Take what was received."""
        for payload in payloads:
            if self._told in payload:
                self._last_event = payload
                if _ACTED in payload:
                    if self._due and self._me in payload:
                        self._acted()
                elif _TURN in payload and self._me in payload:
                    self._take_turn(decode(payload)["legal"])
            elif _ERROR in payload:
                self._load.counts["refused"] += 1

    def credentials(self) -> dict[str, Any]:
        """Name the room, and what is known of it."""
        fields: dict[str, Any] = {"token": self._token, "room_id": self._room_id}
        if self._last_event:
            fields["last_seq"] = decode(self._last_event)["seq"]
        return fields

    def welcome(self, answer: dict[str, Any]) -> None:
        """Take the turn if it is ours by what was missed, or by the whole room."""
        turns = [one for one in answer.get("missed", ()) if one["type"] == "turn_started"]
        if turns:
            if turns[-1]["user_id"] == self._user_id:
                self._take_turn(turns[-1]["legal"])
        elif "room" in answer and (legal := answer["room"]["me"].get("legal_actions")):
            self._take_turn(legal)

    def refused(self, answer: dict[str, Any]) -> None:
        """Count it."""
        self._load.counts["refused"] += 1

    def gone(self) -> None:
        """Whatever was under way will not be heard of."""
        self._was_away = True
        self._due = 0.0

    def _take_turn(self, legal: dict[str, Any]) -> None:
        if self._load.think_s is None:
            return
        due = time.perf_counter() + self.rng.uniform(*self._load.think_s)
        socket = self.socket
        self.loop.at(due, lambda: self._act(socket, due, legal))

    def _act(self, socket: LightSocket, due: float, legal: dict[str, Any]) -> None:
        if socket is not self.socket or socket.sock.fileno() < 0:
            return
        self._due = due
        fields = choose(self.rng, legal)
        try:
            socket.send("action", room_id=self._room_id, **fields)
        except ConnectionError:
            self._due = 0.0  # reading says so as well

    def _acted(self) -> None:
        now = time.perf_counter()
        self.loop.latencies_us.append(int((now - self._due) * 1e6))
        self._due = 0.0
        if self._was_away:
            self.loop.mark(ACTED)


class ComebackLoad:
    """The load of `storm` and `recovery`."""

    def __init__(self, options: ComebackOptions, loop: Loop, seed: int) -> None:
        self.loop = loop
        self.rng = random.Random(seed)
        self.counts = {"refused": 0}
        self.url = options.url
        self.think_s = options.think_s
        self._tables = options.tables
        self._seats: list[Seats] = []

    def set_up(self) -> None:
        """Seat everybody; no hand is played yet."""
        self._seats = seat_all(self.url, self._tables)
        for seats in self._seats:
            for socket, user in zip(seats.players, seats.users, strict=True):
                _Client(self, user, seats.room_id).come(socket)
            self.loop.keep_alive(seats.players, self.rng)

    def begin(self, now: float) -> None:
        """Let hands follow each other, where they are to."""
        if self.think_s is not None:
            for seats in self._seats:
                seats.begin()


def make(options: Raw, loop: Loop, seed: int) -> ComebackLoad:
    """Make the load in a generator."""
    return ComebackLoad(msgspec.json.decode(options, type=ComebackOptions), loop, seed)
