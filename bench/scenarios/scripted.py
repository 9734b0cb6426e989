"""Clients that follow a script: a generator that yields what to do, and is sent what came of it.

It may yield seconds to wait, an `Ask`, and what one does with a connection (`Do`). A script goes on
only while its client is connected, unless it has hung up: who loses the connection comes back
first, and is told `LOST` where an answer was due.

Each answer is timed from when the command was sent.
"""

from __future__ import annotations

import random
import time
from abc import abstractmethod
from collections.abc import Generator
from enum import Enum
from typing import Any, NamedTuple

from bench.harness.loop import Loop
from bench.scenarios.clients import REFUSED
from bench.scenarios.returning import Returning, decode

PASSING = frozenset({"busy", "unavailable", "room_unavailable"})
"""What a client may be told that did nothing wrong, at a server that is just starting."""
Answer = dict[str, Any]
LOST: Answer = {"type": "error", "code": "lost"}


class Ask(NamedTuple):
    """Send a command, and go on with its answer.

    `expected` are the error codes that others may be the cause of, such as a seat that somebody
    took first.
    """

    type: str
    fields: dict[str, Any]
    expected: frozenset[str] = frozenset()


class Do(Enum):
    """What one does with a connection.

    `COME` makes one, and the script goes on with the answer to `authenticate`. `DROP` loses it;
    the client comes back by itself. `HANG_UP` closes it; the script goes on without.
    """

    COME = "come"
    DROP = "drop"
    HANG_UP = "hang up"


Script = Generator[float | Ask | Do, Answer, None]


def ok(answer: Answer) -> bool:
    """Whether a command was carried out, as far as its sender knows."""
    return bool(answer["type"] != "error")


class Scripted(Returning):
    """A client with a script, which never ends.

    Args:
        counts: where refusals are counted: `turned away` for those that may be, and each other one
            with its code, beside the loop's errors.
    """

    def __init__(self, loop: Loop, rng: random.Random, url: str, counts: dict[str, int]) -> None:
        super().__init__(loop, rng, url)
        self.counts = counts
        self._script = self.script()
        self._connected_now = False
        self._hung_up = True
        self._wanted = 0
        self._ask = Ask("", {})
        self._sent_at = 0.0
        # What the script is to be sent once there is a connection again.
        self._held: Answer | None = None
        # An answer that was lost makes later refusals nobody's fault, until the next `COME`.
        self._in_doubt = False

    @abstractmethod
    def script(self) -> Script:
        """Make the script; it begins without a connection."""

    @abstractmethod
    def event(self, message: Answer) -> None:
        """Take an event, or an answer to something that the script did not ask."""

    def begin(self) -> None:
        """Begin with the script."""
        self._take(next(self._script))

    def __call__(self, payloads: list[bytes]) -> None:
        """Take what was received."""
        socket = self.socket
        for payload in payloads:
            message = decode(payload)
            if self._wanted and message.get("re") == self._wanted:
                self._wanted = 0
                self._answered_with(message)
                if self.socket is not socket or not self._connected_now:
                    return  # the script has let go of this connection
            else:
                self.event(message)

    def welcome(self, answer: Answer) -> None:
        """Go on."""
        self._connected_now = True
        if self._hung_up:
            self._hung_up = False
            self._go_on(answer)
        elif self._held is not None:
            held, self._held = self._held, None
            self._go_on(held)

    def refused(self, answer: Answer) -> None:
        """Count it; it is tried again."""
        self.count(answer, PASSING)

    def gone(self) -> None:
        """Do without an answer."""
        self._connected_now = False
        if self._wanted:
            self._wanted = 0
            self._in_doubt = True
            self._held = LOST

    def count(self, answer: Answer, expected: frozenset[str]) -> None:
        """Count a refusal."""
        code = answer["code"]
        if self._in_doubt or code in expected or code in PASSING:
            self.counts["turned away"] += 1
        else:
            self.loop.errors += 1
            name = REFUSED + code
            self.counts[name] = self.counts.get(name, 0) + 1

    def _answered_with(self, answer: Answer) -> None:
        self.loop.latencies_us.append(int((time.perf_counter() - self._sent_at) * 1e6))
        if not ok(answer):
            self.count(answer, self._ask.expected)
        self._go_on(answer)

    def _go_on(self, answer: Answer) -> None:
        self._take(self._script.send(answer))

    def _send(self, ask: Ask) -> None:
        self._ask, self._sent_at = ask, time.perf_counter()
        try:
            self._wanted = self.socket.send(ask.type, **ask.fields)
        except ConnectionError:
            self._wanted = -1  # never answered; reading says soon that the connection is lost

    def _take(self, step: float | Ask | Do) -> None:
        match step:
            case Ask():
                self._send(step)
            case Do.COME:
                self._in_doubt = False
                self.connect()
            case Do.DROP:
                self._held = {"type": "dropped"}
                self.lost()
            case Do.HANG_UP:
                self._connected_now, self._hung_up = False, True
                self.hang_up()
                self._go_on({"type": "hung up"})
            case _:
                self.loop.at(time.perf_counter() + step, self._waited)

    def _waited(self) -> None:
        if self._connected_now or self._hung_up:
            self._go_on({"type": "waited"})
        else:
            self._held = {"type": "waited"}
