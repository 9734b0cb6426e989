"""People who come to the club, stay a while and go: each visit is somebody who was never there.

A visitor opens the lobby, enters a table that plays, and watches; some take a seat and play for a
while, some lose their connection and come back, some write to the staff, some open a table of their
own and close it, and some are gone without a word, as people are who shut their laptop. Whatever
a server keeps for each user, room, socket or conversation, and never gives up, grows with them.

A command is timed from when it was sent until its answer is read.
"""

from __future__ import annotations

import random
import time
import uuid
from typing import Any

import msgspec
from msgspec import Raw, Struct

from bench.harness.loop import Loop
from bench.light_socket import LightSocket
from bench.scenarios.scripted import Answer, Ask, Do, Script, Scripted, ok
from bench.scenarios.tables_load import BUY_IN, choose
from bench.server_process import sign

PLAYS, OWN_TABLE, DROPS, WRITES, VANISHES = 0.4, 0.1, 0.3, 0.25, 0.15
"""How likely a visitor does so."""
TEXT = "Could somebody have a look at my table, please?"
_OWN = {"requires_approval": False, "auto_start": False, "is_private": True}
_SEAT_WAS_TAKEN = frozenset({"seat_taken", "conflict", "room_full"})
_TABLE_WAS_CLOSED = frozenset({"room_closed", "not_found"})


class VisitsOptions(Struct):
    """`visitors` are there at a time, each for between `stay_s` seconds.

    `secret` signs their tokens; `think_s` is for how long they think when it is their turn.
    """

    url: str
    secret: str
    visitors: int
    stay_s: tuple[float, float]
    think_s: tuple[float, float]


class _Visitor(Scripted):
    """One visitor after another."""

    def __init__(self, load: VisitsLoad, number: int) -> None:
        options = load.options
        super().__init__(load.loop, load.rng, options.url, load.counts)
        self._secret = options.secret
        self._stay_s, self._think_s = options.stay_s, options.think_s
        self._prefix = f"v{load.seed}n{number}"
        self._visits = 0
        self._user_id = ""
        self._room_id = ""
        self._turns = 0

    def credentials(self) -> dict[str, Any]:
        """Say who comes, and where they were."""
        room = {"room_id": self._room_id} if self._room_id else {}
        return {"token": sign(self._secret, self._user_id), **room}

    def welcome(self, answer: Answer) -> None:
        """Take one's turn, if it is."""
        if "room" in answer and (legal := answer["room"]["me"].get("legal_actions")):
            self._take_turn(legal)
        super().welcome(answer)

    def event(self, message: Answer) -> None:
        """Take one's turn."""
        match message["type"]:
            case "turn_started" if message["user_id"] == self._user_id:
                self._take_turn(message["legal"])
            case "error":
                # Of an action; the hand may have ended, or the seat been left, while it was sent.
                self.count(message, frozenset({"not_your_turn", "illegal_action"}))

    def script(self) -> Script:
        """Come again and again, as somebody else."""
        while True:
            yield self._some_of(0.5)
            self._visits += 1
            self._user_id = f"{self._prefix}v{self._visits}"
            yield Do.COME
            yield from self._own_table() if self._likely(OWN_TABLE) else self._visit()
            self._room_id = ""
            yield Do.HANG_UP
            self.counts["visits"] += 1

    def _visit(self) -> Script:
        lobby = yield Ask("list_rooms", {})
        tables = [one["id"] for one in lobby.get("rooms", ()) if one["max_buy_in"] == BUY_IN]
        if not tables:
            return
        here = {"room_id": self.rng.choice(tables)}
        yield Ask("join", here)
        if not ok((yield Ask("spectate", here))):
            return
        self._room_id = here["room_id"]
        yield self._some_of(0.5)
        if self._likely(WRITES):
            message = {"message_id": str(uuid.uuid4()), "message_text": TEXT}
            yield Ask("chat_send", message)
        if self._likely(DROPS):
            yield Do.DROP
        if self._likely(PLAYS):
            yield from self._play(here)
        if not self._likely(VANISHES):
            yield Ask("leave_room", here)

    def _play(self, here: dict[str, Any]) -> Script:
        known = yield Ask("hydrate", here)
        if not ok(known):
            return
        taken = {one["seat_index"] for one in known["seats"]}
        free = [n for n in range(known["room"]["max_seats"]) if n not in taken]
        if not free:
            return
        buy_in = known["room"]["min_buy_in"]
        wanted = {"seat_index": self.rng.choice(free), "buy_in": buy_in}
        if not ok((yield Ask("seat", here | wanted, _SEAT_WAS_TAKEN))):
            return
        yield self._some_of(1.0)
        if self._likely(DROPS):
            yield Do.DROP
        yield self._some_of(1.0)
        self._turns += 1
        # The grace period, or a kick, may have taken the seat from who was away.
        yield Ask("leave_seat", here)

    def _own_table(self) -> Script:
        made = yield Ask("create_room", {"settings": _OWN})
        if not ok(made):
            return
        here = {"room_id": made["room"]["id"]}
        yield Ask("seat", here | {"seat_index": 0, "buy_in": made["room"]["min_buy_in"]})
        self._room_id = here["room_id"]
        yield self._some_of(0.5)
        yield Ask("leave_seat", here)
        yield Ask("close_room", here, _TABLE_WAS_CLOSED)

    def _some_of(self, share: float) -> float:
        least, most = self._stay_s
        return share * self.rng.uniform(least, most)

    def _likely(self, probability: float) -> bool:
        return self.rng.random() < probability

    def _take_turn(self, legal: dict[str, Any]) -> None:
        self._turns += 1
        turn, socket = self._turns, self.socket
        due = time.perf_counter() + self.rng.uniform(*self._think_s)
        self.loop.at(due, lambda: self._act(socket, turn, legal))

    def _act(self, socket: LightSocket, turn: int, legal: dict[str, Any]) -> None:
        if turn != self._turns or socket is not self.socket or socket.sock.fileno() < 0:
            return
        try:
            socket.send("action", room_id=self._room_id, **choose(self.rng, legal))
        except ConnectionError:
            return  # reading says so as well


class VisitsLoad:
    """Visitors, for a soak."""

    def __init__(self, options: VisitsOptions, loop: Loop, seed: int) -> None:
        self.loop = loop
        self.seed = seed
        self.rng = random.Random(seed)
        self.counts = {"visits": 0, "turned away": 0}
        self.options = options
        self._visitors: list[_Visitor] = []

    def set_up(self) -> None:
        """Nobody is there yet."""
        self._visitors = [_Visitor(self, number) for number in range(self.options.visitors)]

    def begin(self, now: float) -> None:
        """Let them come."""
        for visitor in self._visitors:
            visitor.begin()


def make(options: Raw, loop: Loop, seed: int) -> VisitsLoad:
    """Make the load in a generator."""
    return VisitsLoad(msgspec.json.decode(options, type=VisitsOptions), loop, seed)
