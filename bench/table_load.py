"""A process that plays many tables at once and times every action; started by `bench.tables`.

Reads a `Load` as JSON from its standard input. Writes "ready" when all tables play, and a `Played`
as JSON when the time is over.
"""

from __future__ import annotations

import random
import selectors
import sys
import time
from typing import Any

import msgspec
from msgspec import Struct

from bench.light_socket import LightSocket

_decode = msgspec.msgpack.Decoder().decode
_ACTED = b"player_action"
_TURN = b"turn_started"
_ERROR = b"error"
BUY_IN = 1_000_000
RAISES, FOLDS = 0.08, 0.15


class Load(Struct):
    """What to play: `tokens` are one host's and those of the players; times in seconds."""

    url: str
    tables: int
    tokens: list[list[str]]
    warm_up_s: float
    seconds: float
    seed: int


class Played(Struct):
    """What came of it.

    `latencies_us`: for each action, from just before it was sent until the last of the table's
    clients had read its event. `cpu_share`: of one core that this process used.
    """

    actions: int
    seconds: float
    refusals: int
    hands: int
    cpu_share: float
    latencies_us: list[int]


class _Table:
    def __init__(self, url: str, tokens: list[str], name: str) -> None:
        self.players: dict[str, LightSocket] = {}
        # By the ordinal of the action at this table: when it was sent, how many have heard of it.
        self.sent_at: dict[int, int] = {}
        self.heard: dict[int, int] = {}
        self.sent = 0
        first = self.host = LightSocket(url)
        first.ask("authenticate", token=tokens[0])
        settings = {
            "name": name,
            "requires_approval": False,
            "max_buy_in": BUY_IN,
            "turn_seconds": 120,
            "auto_start": False,
        }
        self.room_id = first.ask("create_room", settings=settings)["room"]["id"]
        for index, token in enumerate(tokens):
            socket = first if index == 0 else LightSocket(url)
            user = socket.ask("authenticate", token=token)["user_id"]
            if index:
                socket.ask("join", room_id=self.room_id)
            else:
                socket.ask("subscribe", channel=f"room:{self.room_id}")
            socket.ask("seat", room_id=self.room_id, seat_index=index, buy_in=BUY_IN)
            self.players[user] = socket

    def begin(self) -> None:
        """Let hands follow each other."""
        self.host.send("settings", room_id=self.room_id, settings={"auto_start": True})


class _Watcher:
    """One player's socket; `heard` counts the actions that it was told."""

    def __init__(self, table: _Table, socket: LightSocket, leads: bool) -> None:
        self.table = table
        self.socket = socket
        self.leads = leads
        self.heard = 0


class _Generator:
    def __init__(self, load: Load) -> None:
        self.latencies_ns: list[int] = []
        self.refusals = 0
        self.hands = 0
        self.counting = False
        self._rng = random.Random(load.seed)
        self._tables = [
            _Table(load.url, tokens, f"Table {number}") for number, tokens in enumerate(load.tokens)
        ]
        self._selector = selectors.DefaultSelector()
        for table in self._tables:
            for socket in table.players.values():
                socket.watch()
                leads = socket is table.host
                watcher = _Watcher(table, socket, leads)
                self._selector.register(socket.sock, selectors.EVENT_READ, watcher)

    def begin(self) -> None:
        for table in self._tables:
            table.begin()

    def run(self, seconds: float) -> None:
        until = time.perf_counter() + seconds
        select = self._selector.select
        while time.perf_counter() < until:
            for key, _ in select(0.1):
                self._read(key.data)

    def _read(self, watcher: _Watcher) -> None:
        table, leads = watcher.table, watcher.leads
        for payload in watcher.socket.read():
            # An event's bytes are the same for all: one client of a table reads what they say.
            if _ACTED in payload:
                watcher.heard += 1
                ordinal = watcher.heard
                heard = table.heard.get(ordinal, 0) + 1
                if heard < len(table.players):
                    table.heard[ordinal] = heard
                    continue
                del table.heard[ordinal]
                sent_at = table.sent_at.pop(ordinal)
                if self.counting:
                    self.latencies_ns.append(time.perf_counter_ns() - sent_at)
            elif _ERROR in payload:
                self.refusals += 1
            elif leads and _TURN in payload:
                self._act(table, _decode(payload))
            elif leads and self.counting and b"hand_complete" in payload:
                self.hands += 1

    def _act(self, table: _Table, turn: dict[str, Any]) -> None:
        legal = turn["legal"]
        roll = self._rng.random()
        fields: dict[str, Any] = {}
        if legal["call_amount"] is None:
            action = "CHECK"
        elif roll < RAISES and legal["min_raise_to"] is not None:
            action, fields = "RAISE", {"amount": legal["min_raise_to"]}
        else:
            action = "FOLD" if roll > 1 - FOLDS else "CALL"
        actor = table.players[turn["user_id"]]
        table.sent += 1
        table.sent_at[table.sent] = time.perf_counter_ns()
        actor.send("action", room_id=table.room_id, action=action, **fields)


def main() -> None:
    """Play what standard input says."""
    load = msgspec.json.decode(sys.stdin.buffer.readline(), type=Load)
    generator = _Generator(load)
    generator.begin()
    generator.run(load.warm_up_s)
    print("ready", flush=True)
    generator.counting = True
    began, cpu = time.perf_counter(), time.process_time()
    generator.run(load.seconds)
    seconds = time.perf_counter() - began
    played = Played(
        actions=len(generator.latencies_ns),
        seconds=seconds,
        refusals=generator.refusals,
        hands=generator.hands,
        cpu_share=(time.process_time() - cpu) / seconds,
        latencies_us=[ns // 1000 for ns in generator.latencies_ns],
    )
    sys.stdout.buffer.write(msgspec.json.encode(played) + b"\n")


if __name__ == "__main__":
    main()
