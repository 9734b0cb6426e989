"""What players and staff were told of chats while the server was killed under them.

What clients alone can see to be wrong (two told differently, a hole, an event twice) is a violation
at once; the rest is for `bench.chat_checks`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import msgspec

from bench.kill_witness import Violations, canonical
from bench.outside import Message

Side = Literal["player", "staff"]
Key = tuple[str, str]
"""A message: whose conversation it is in, and its id."""
RANK = {"sent": 0, "received": 1, "read": 2}
"""How far a message has got; it never goes back."""
KEPT_BESIDE = frozenset({"player_online"})
"""What a session is told with and the database does not keep."""


class Confirmed(NamedTuple):
    """A message whose writer got an `ok`."""

    key: Key
    user_id: str
    session_id: str
    seq: int


@dataclass
class ChatWitness(Violations):
    """Everything seen by all clients.

    Attributes:
        told: every message that anybody was told, in canonical form without its status.
        fresh: keys of those that are to be looked up anew.
        least: how far a message has got for sure.
        read_to, asked_to_read: by session and reader, up to which seq was read for sure, and up
            to which somebody may have said so.
        asked_received: messages of which somebody may have said that they had come.
        events: by channel, session and seq, in canonical form; `received`: event frames in all.
        sessions: by id and seq, a session as it was told, in canonical form.
        confirmed: messages in the order in which their writers learned that they are kept.
        refused: messages that are not to be.
        refusals: how often what was refused why; `acks`: commands that were not.
    """

    told: dict[Key, bytes] = field(default_factory=dict)
    fresh: set[Key] = field(default_factory=set)
    least: Counter[Key] = field(default_factory=Counter)
    read_to: Counter[tuple[str, Side]] = field(default_factory=Counter)
    asked_to_read: Counter[tuple[str, Side]] = field(default_factory=Counter)
    asked_received: set[Key] = field(default_factory=set)
    events: dict[tuple[Side, str, int], bytes] = field(default_factory=dict)
    sessions: dict[tuple[str, int], bytes] = field(default_factory=dict)
    confirmed: list[Confirmed] = field(default_factory=list)
    refused: list[Key] = field(default_factory=list)
    refusals: Counter[str] = field(default_factory=Counter)
    acks: int = 0
    received: int = 0
    resent: int = 0
    messages_of: defaultdict[str, set[Key]] = field(default_factory=lambda: defaultdict(set))

    def message(self, user_id: str, message: Message) -> None:
        """Note a message that a client was told, by an event, a reply or a history."""
        key = (message["player_id"], message["id"])
        lasting = {name: value for name, value in message.items() if name != "status"}
        told = canonical(lasting)
        known = self.told.setdefault(key, told)
        if known != told:
            self.wrong(f"{user_id} was told {lasting}, others {msgspec.msgpack.decode(known)}")
        self.messages_of[message["session_id"]].add(key)
        self.got_to(key, message["status"])

    def got_to(self, key: Key, status: str) -> None:
        """Note that a message has got so far."""
        self.least[key] = max(self.least[key], RANK[status])
        self.fresh.add(key)

    def was_read(self, session_id: str, reader: Side, key: Key) -> None:
        """Note that a message was read, and what the same side said before it."""
        seq = self.seq_of(key)
        if seq is None:
            self.wrong(f"message {key} of {session_id} was read, and nobody was ever told it")
            return
        self.read_to[session_id, reader] = max(self.read_to[session_id, reader], seq)
        self.fresh |= self.messages_of[session_id]

    def seq_of(self, key: Key) -> int | None:
        """Say what seq a message was told with."""
        told = self.told.get(key)
        return None if told is None else int(msgspec.msgpack.decode(told)["seq"])

    def session(self, user_id: str, session: Message) -> None:
        """Note a session as a client was told it."""
        lasting = {name: value for name, value in session.items() if name not in KEPT_BESIDE}
        told = canonical(lasting)
        known = self.sessions.setdefault((session["id"], session["seq"]), told)
        if known != told:
            self.wrong(f"{user_id} was told {lasting}, others {msgspec.msgpack.decode(known)}")

    def event(self, user_id: str, side: Side, event: Message) -> None:
        """Note an event of what is kept that a client received."""
        self.received += 1
        told = canonical(event)
        known = self.events.setdefault((side, session_of(event), event["seq"]), told)
        if known != told:
            self.wrong(f"{user_id} was told {event}, others {msgspec.msgpack.decode(known)}")

    def kept_at(self, session_id: str, seq: int) -> Any:
        """Return what staff were told at a seq, or else the player; None if nobody was."""
        for side in ("staff", "player"):
            told = self.events.get((side, session_id, seq))
            if told is not None:
                return msgspec.msgpack.decode(told)
        return None


def session_of(event: Message) -> str:
    """Say which session an event is of."""
    return str(event["session"]["id"] if "session" in event else event["session_id"])
