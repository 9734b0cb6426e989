"""What clients were told while the server was killed under them, kept to be held against the truth.

One copy of each public event is kept for all clients, in one form for both codings. What clients
alone can see to be wrong (a hole, an event twice, two clients told differently) is a violation at
once; the rest is for `bench.kill_checks`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec

from bench.outside import Message

MAX_VIOLATIONS = 50
_canonical = msgspec.msgpack.Encoder(order="deterministic").encode


class Sent(NamedTuple):
    """A command whose outcome was told: `seq` of its ok, or None where it was refused."""

    command_id: str
    user_id: str
    room_id: str
    type: str
    seq: int | None
    fields: Message


@dataclass
class Violations:
    """What is not as promised, one sentence each."""

    violations: list[str] = field(default_factory=list)

    def wrong(self, sentence: str) -> None:
        """Note a violation."""
        if len(self.violations) < MAX_VIOLATIONS:
            self.violations.append(sentence)


@dataclass
class Witness(Violations):
    """Everything seen by all clients.

    Attributes:
        events: by room and seq, in canonical form.
        fresh_events: keys of those that came since they were last taken.
        acks: every acknowledged command; `refused`: every refused one; `refusals`: how often what
            was refused why.
        holes: by hand and user, the hole cards that the user was told.
        received: event frames received in all.
    """

    events: dict[tuple[str, int], bytes] = field(default_factory=dict)
    fresh_events: list[tuple[str, int]] = field(default_factory=list)
    acks: list[Sent] = field(default_factory=list)
    fresh_acks: list[Sent] = field(default_factory=list)
    refused: list[Sent] = field(default_factory=list)
    refusals: Counter[str] = field(default_factory=Counter)
    fresh_refused: list[Sent] = field(default_factory=list)
    holes: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    received: int = 0
    resent: int = 0
    locked_out: int = 0

    def public(self, user_id: str, room_id: str, event: Message) -> None:
        """Note a public event that a client received."""
        self.received += 1
        key = (room_id, event["seq"])
        told = canonical(event)
        known = self.events.get(key)
        if known is None:
            self.events[key] = told
            self.fresh_events.append(key)
        elif known != told:
            self.wrong(f"{user_id} was told {event}, others {msgspec.msgpack.decode(known)}")

    def dealt(self, user_id: str, hand_id: str, cards: list[str]) -> None:
        """Note hole cards that a client was told, by an event or by hydration."""
        self.received += 1
        known = self.holes.setdefault((hand_id, user_id), cards)
        if known != cards:
            self.wrong(f"{user_id} had {known} in hand {hand_id} and now {cards}")

    def acknowledged(self, sent: Sent) -> None:
        """Note an ok."""
        self.acks.append(sent)
        self.fresh_acks.append(sent)

    def turned_down(self, sent: Sent, code: str) -> None:
        """Note a refusal that is final: the command is not sent again."""
        self.refusals[f"{sent.type} {code}"] += 1
        self.refused.append(sent)
        self.fresh_refused.append(sent)


def canonical(message: Any) -> bytes:
    """Encode a message so that equal messages are equal bytes, whatever coding they came in."""
    return _canonical(message)
