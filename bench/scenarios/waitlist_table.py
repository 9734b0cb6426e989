"""A table with its queue, as whoever drives it knows it: what may be done next, and who is told.

Of everything that is done to a queue the rules say who hears of it: room and staff of the whole
queue, each player of the seat that is held for them, of another place in line, of the end of their
waiting. All seats are always taken or held, so nobody is called but when one comes free.
"""

from __future__ import annotations

import random
from typing import NamedTuple

SEATS = 2
BUY_IN = 100
_AWAY = 2
"""Where more are away, the next thing is that one of them comes back."""
FEWEST_WAITING = _AWAY + 2
"""There are two in the queue at least, then, to change places."""
_ANSWERS, _ACCEPTS, _DECLINES = 0.5, 0.5, 0.25
_FREES, _COMES, _MOVES = 0.3, 0.5, 0.5


class Player:
    """Somebody at a table. `entry_id` is of their place in its queue, while they have one."""

    __slots__ = ("entry_id", "place", "user_id")

    def __init__(self, place: int, user_id: str) -> None:
        self.place = place
        self.user_id = user_id
        self.entry_id = ""


class Step(NamedTuple):
    """What is done next, and what comes of it.

    Attributes:
        player: whose command it is; None: staff's.
        fields: of the command, beside the room.
        updates: how often the room and staff are told the queue.
        own: how much players are told on their own channels, over all of them.
    """

    command: str
    player: Player | None
    fields: dict[str, str | int]
    updates: int
    own: int


class Table:
    """One queue, with everybody who sits, waits or is away for a while.

    Args:
        players: all of them; the first have seats, the others wait in their order.
    """

    def __init__(self, players: list[Player]) -> None:
        self._seated = players[:SEATS]
        self._called: Player | None = None
        self._away: list[Player] = []
        self.queue = players[SEATS:]

    def step(self, rng: random.Random) -> Step:
        """Choose what is done next, and take it for done."""
        called = self._called
        if len(self._away) > _AWAY:
            return self._joined(rng)
        if called is not None and rng.random() < _ANSWERS:
            return self._answered(called, rng)
        if called is None and rng.random() < _FREES:
            return self._seat_freed(rng)
        if self._away and rng.random() < _COMES:
            return self._joined(rng)
        if rng.random() < _MOVES:
            return self._moved(rng)
        return self._left(rng)

    def _answered(self, called: Player, rng: random.Random) -> Step:
        roll = rng.random()
        about: dict[str, str | int] = {"entry_id": called.entry_id}
        if roll < _ACCEPTS:
            self._called = None
            self._seated.append(called)
            told = self._gone(called)
            return Step("waitlist_accept", called, {**about, "buy_in": BUY_IN}, 1, told)
        if roll < _ACCEPTS + _DECLINES:
            told = self._gone(called)
            self._away.append(called)
            self._called = self.queue[0]
            return Step("waitlist_decline", called, about, 2, told + 1)
        # Out of turn: who was called before waits again, and is told the place that they have.
        self._called = rng.choice(self._waiting())
        return Step("waitlist_call", None, {"entry_id": self._called.entry_id}, 2, 2)

    def _seat_freed(self, rng: random.Random) -> Step:
        leaver = self._seated.pop(rng.randrange(SEATS))
        self._away.append(leaver)
        self._called = self.queue[0]
        return Step("leave_seat", leaver, {}, 1, 1)

    def _joined(self, rng: random.Random) -> Step:
        joiner = self._away.pop(rng.randrange(len(self._away)))
        self.queue.append(joiner)
        return Step("waitlist_join", joiner, {}, 1, 1)

    def _left(self, rng: random.Random) -> Step:
        leaver = rng.choice(self._waiting())
        told = self._gone(leaver)
        self._away.append(leaver)
        return Step("waitlist_leave", leaver, {}, 1, told)

    def _moved(self, rng: random.Random) -> Step:
        at, to = rng.sample(range(len(self.queue)), 2)
        entry = self.queue.pop(at)
        self.queue.insert(to, entry)
        fields: dict[str, str | int] = {"entry_id": entry.entry_id, "position": to + 1}
        return Step("waitlist_move", None, fields, 1, abs(at - to) + 1)

    def _waiting(self) -> list[Player]:
        return [player for player in self.queue if player is not self._called]

    def _gone(self, player: Player) -> int:
        """Take somebody out of the queue; return how much they, and those behind them, are told."""
        at = self.queue.index(player)
        del self.queue[at]
        return 1 + len(self.queue) - at
