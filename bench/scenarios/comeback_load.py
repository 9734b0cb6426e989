"""Tables whose clients come back when the server is killed, and play on.

A client tries again as the project's client library does: at once, then after random waits up to
0.2, 0.4, 0.8 … 5 s; where the server has no time for it, after the time that it is told and a
random one on top. It comes back with its token, its room and the seq that it has.

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
from bench.scenarios.tables_load import Seats, User, choose, seat_all

BACK, ACTED = "back", "acted"
BACKOFF_FIRST_S, BACKOFF_MAX_S = 0.2, 5.0
CONNECT_S, REPLY_S = 3.0, 10.0
_ACTED = b"player_action"
_TURN = b"turn_started"
_ERROR = b"\xa5error"
_decode = msgspec.msgpack.Decoder().decode
_pack = msgspec.msgpack.encode


class ComebackOptions(Struct):
    """`tables`: ids and tokens of each table's players; `think_s`, or None: nobody plays."""

    url: str
    tables: list[list[User]]
    think_s: tuple[float, float] | None


class _Client:
    """One player, over all of its connections."""

    def __init__(self, load: ComebackLoad, socket: LightSocket, user: User, room_id: str) -> None:
        self.socket = socket
        self._load = load
        self._user_id, self._token = user
        self._room_id = room_id
        self._me = _pack("user_id") + _pack(self._user_id)
        self._told = _pack("channel") + _pack(f"room:{room_id}")
        self._last_event = b""
        self._due = 0.0
        self._failures = 0
        self._refusals = 0
        self._was_away = False
        self._asked = 0
        self._step = 0

    def __call__(self, payloads: list[bytes]) -> None:
        """Take what was received."""
        for payload in payloads:
            if self._told in payload:
                self._last_event = payload
                if _ACTED in payload:
                    if self._due and self._me in payload:
                        self._acted()
                elif _TURN in payload and self._me in payload:
                    self._take_turn(_decode(payload)["legal"])
            elif _ERROR in payload:
                self._load.counts["refused"] += 1

    def lost(self) -> None:
        """Begin to come back."""
        doublings = self._failures - 1
        self._failures += 1
        ceiling_s = min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2.0**doublings) if doublings >= 0 else 0.0
        self._come_back(self._load.rng.uniform(0, ceiling_s))

    def _come_back(self, wait_s: float) -> None:
        self._step += 1
        self._load.loop.forget(self.socket)
        self._was_away = True
        self._due = 0.0
        self._load.loop.at(time.perf_counter() + wait_s, self._connect)

    def _connect(self) -> None:
        try:
            self.socket = LightSocket(self._load.url, upgrade=False, wait=False)
        except OSError:
            self.lost()
            return
        self._load.loop.watch_raw(self.socket, self._connected, self, self.lost, writable=True)
        self._expect(CONNECT_S)

    def _expect(self, within_s: float) -> None:
        """Give the connection up unless its next step, or its last, is done within a time."""
        self._step += 1
        step = self._step

        def check() -> None:
            if step == self._step:
                self.lost()

        self._load.loop.at(time.perf_counter() + within_s, check)

    def _connected(self) -> list[bytes]:
        self.socket.ask_upgrade()
        self._load.loop.watch_raw(self.socket, self._upgrade, self, self.lost)
        return []

    def _upgrade(self) -> list[bytes]:
        if self.socket.upgraded():
            fields: dict[str, Any] = {"token": self._token, "room_id": self._room_id}
            if self._last_event:
                fields["last_seq"] = _decode(self._last_event)["seq"]
            self._asked = self.socket.send("authenticate", **fields)
            self._load.loop.watch(self.socket, self._welcomed, self.lost)
            self._expect(REPLY_S)
        return []

    def _welcomed(self, payloads: list[bytes]) -> None:
        for index, payload in enumerate(payloads):
            answer = _decode(payload)
            if answer.get("re") != self._asked:
                continue
            if answer["type"] == "error":
                self._load.counts["refused"] += 1
                asked_s = min(BACKOFF_MAX_S, answer.get("retry_after", 0.0))
                spread_s = min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2.0**self._refusals)
                self._refusals += 1
                self._come_back(asked_s + self._load.rng.uniform(0, max(asked_s, spread_s)))
                return
            self._failures = self._refusals = 0
            self._step += 1
            self._load.loop.mark(BACK)
            self._load.loop.watch(self.socket, self, self.lost)
            self._load.loop.keep_alive([self.socket], self._load.rng)
            self._catch_up(answer)
            self(payloads[index + 1 :])
            return

    def _catch_up(self, answer: dict[str, Any]) -> None:
        """Take the turn if it is ours by what was missed, or by the whole room."""
        turns = [one for one in answer.get("missed", ()) if one["type"] == "turn_started"]
        if turns:
            if turns[-1]["user_id"] == self._user_id:
                self._take_turn(turns[-1]["legal"])
        elif "room" in answer and (legal := answer["room"]["me"].get("legal_actions")):
            self._take_turn(legal)

    def _take_turn(self, legal: dict[str, Any]) -> None:
        if self._load.think_s is None:
            return
        due = time.perf_counter() + self._load.rng.uniform(*self._load.think_s)
        socket = self.socket
        self._load.loop.at(due, lambda: self._act(socket, due, legal))

    def _act(self, socket: LightSocket, due: float, legal: dict[str, Any]) -> None:
        if socket is not self.socket or socket.sock.fileno() < 0:
            return
        self._due = due
        fields = choose(self._load.rng, legal)
        try:
            socket.send("action", room_id=self._room_id, **fields)
        except ConnectionError:
            self._due = 0.0  # reading says so as well

    def _acted(self) -> None:
        now = time.perf_counter()
        self._load.loop.latencies_us.append(int((now - self._due) * 1e6))
        self._due = 0.0
        if self._was_away:
            self._load.loop.mark(ACTED)


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
                client = _Client(self, socket, user, seats.room_id)
                self.loop.watch(socket, client, client.lost)
            self.loop.keep_alive(seats.players, self.rng)

    def begin(self, now: float) -> None:
        """Let hands follow each other, where they are to."""
        if self.think_s is not None:
            for seats in self._seats:
                seats.begin()


def make(options: Raw, loop: Loop, seed: int) -> ComebackLoad:
    """Make the load in a generator."""
    return ComebackLoad(msgspec.json.decode(options, type=ComebackOptions), loop, seed)
