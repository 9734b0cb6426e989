"""Staff who look on: the lobby, a table, the inbox, each in turn, and an answer to who writes.

A command is timed from when it was sent until its answer is read.
"""

from __future__ import annotations

import random
import uuid
from collections import deque
from typing import Any

import msgspec
from msgspec import Raw, Struct

from bench.harness.loop import Loop
from bench.scenarios.scripted import Answer, Ask, Do, Script, Scripted, ok
from bench.server_process import sign

TEXT = "We are on our way."
SHORTLY_S = 0.2
_CLOSED_MEANWHILE = frozenset({"room_closed", "not_found", "forbidden"})


class StaffOptions(Struct):
    """So many of the `staff`, each of whom looks at something about every `every_s` seconds."""

    url: str
    secret: str
    staff: int
    every_s: float


class _Clerk(Scripted):
    """One of the staff."""

    def __init__(self, load: StaffLoad, number: int) -> None:
        super().__init__(load.loop, load.rng, load.options.url, load.counts)
        self._token = sign(load.options.secret, f"clerk{load.seed}n{number}", role="staff")
        self._every_s = load.options.every_s
        # Who writes is answered by one of the staff, whoever comes to it first.
        self._to_answer = load.to_answer

    def credentials(self) -> dict[str, Any]:
        """Say who it is."""
        return {"token": self._token}

    def event(self, message: Answer) -> None:
        """Remember who wrote."""
        if message["type"] == "new-chat-request":
            session_id = message["session"]["id"]
            if session_id not in self._to_answer:
                self._to_answer.append(session_id)

    def script(self) -> Script:
        """Look at one thing after another."""
        yield self.rng.uniform(0, self._every_s)
        yield Do.COME
        while True:
            yield Ask("subscribe", {"channel": "staff-portal"})
            lobby = yield Ask("list_rooms", {})
            yield from self._pause()
            if rooms := lobby.get("rooms"):
                here = {"room_id": self.rng.choice(rooms)["id"]}
                yield Ask("hydrate", here, _CLOSED_MEANWHILE)
                yield from self._pause()
            yield Ask("chat_inbox", {})
            yield from self._pause()

    def _pause(self) -> Script:
        yield self._every_s * self.rng.uniform(0.5, 1.5)
        while self._to_answer:
            session_id = self._to_answer.popleft()
            here = {"session_id": session_id}
            said = {"message_id": str(uuid.uuid4()), "message_text": TEXT}
            if ok((yield Ask("chat_send", here | said))):
                yield Ask("chat_status", here | {"status": "resolved"})
                self.counts["conversations"] += 1
            yield SHORTLY_S


class StaffLoad:
    """Staff, for a soak."""

    def __init__(self, options: StaffOptions, loop: Loop, seed: int) -> None:
        self.loop = loop
        self.seed = seed
        self.rng = random.Random(seed)
        self.counts = {"conversations": 0, "turned away": 0}
        self.to_answer: deque[str] = deque()
        self.options = options
        self._clerks: list[_Clerk] = []

    def set_up(self) -> None:
        """Nobody is there yet."""
        self._clerks = [_Clerk(self, number) for number in range(self.options.staff)]

    def begin(self, now: float) -> None:
        """Let them come."""
        for clerk in self._clerks:
            clerk.begin()


def make(options: Raw, loop: Loop, seed: int) -> StaffLoad:
    """Make the load in a generator."""
    return StaffLoad(msgspec.json.decode(options, type=StaffOptions), loop, seed)
