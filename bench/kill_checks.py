"""What the database holds, held against what clients were told.

All reads of one check see one snapshot. `after_kill` looks at what is new since the last time and
at what must hold at every commit; `at_the_end` looks at everything.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any, TypeVar

import msgspec
import psycopg

from bench.kill_witness import Sent, Witness, canonical
from game.poker.variants import VARIANTS

T = TypeVar("T")
CHUNK = 5_000
_CHIPS = """
SELECT (SELECT coalesce(sum(balance), 0) FROM wallets)
     + (SELECT coalesce(sum(chips), 0) FROM room_seats)
     + (SELECT coalesce(sum(pot), 0) FROM hands WHERE ended_at IS NULL)
     + (SELECT coalesce(sum(amount), 0) FROM ledger_entries WHERE account = 'house'),
       (SELECT -coalesce(sum(amount), 0) FROM ledger_entries WHERE account = 'bank')
"""
_WALLETS = """
SELECT user_id, balance, booked
FROM (SELECT user_id, balance FROM wallets) w
FULL JOIN (SELECT user_id, sum(amount) AS booked FROM ledger_entries
           WHERE account = 'wallet' GROUP BY user_id) l USING (user_id)
WHERE balance IS DISTINCT FROM booked
"""
_STACKS = """
SELECT room_id, there, booked
FROM (SELECT r.id AS room_id,
             (SELECT coalesce(sum(chips), 0) FROM room_seats s WHERE s.room_id = r.id)
           + (SELECT coalesce(sum(pot), 0) FROM hands h
              WHERE h.room_id = r.id AND ended_at IS NULL) AS there
      FROM rooms r) x
JOIN (SELECT room_id, sum(amount) AS booked FROM ledger_entries
      WHERE account = 'stack' GROUP BY room_id) l USING (room_id)
WHERE there <> booked
"""
_SEQUENCES = """
SELECT g.room_id, g.seq, count(e.seq), min(e.seq), max(e.seq)
FROM game_states g LEFT JOIN room_events e USING (room_id)
GROUP BY g.room_id, g.seq
HAVING g.seq <> count(e.seq) OR min(e.seq) <> 1 OR max(e.seq) <> g.seq
"""
_EVENTS = """
SELECT e.room_id, e.seq, to_ms(e.at), e.type, e.payload
FROM room_events e
JOIN unnest(%s::text[], %s::bigint[]) AS k (room_id, seq) USING (room_id, seq)
"""
EFFECTS = {
    "seat": "player_seated",
    "top_up": "chips_added",
    "sit_out": "player_sat_out",
    "sit_in": "player_sat_in",
    "adjust_chips": "chips_adjusted",
    "pause": "game_paused",
    "resume": "game_resumed",
}
"""The event that each of these commands causes once."""


class Checks:
    """Compares the database with what the witness saw.

    Attributes:
        acks: acknowledgements looked up; `events`: events compared.
    """

    def __init__(self, witness: Witness) -> None:
        self._witness = witness
        self._dealt: dict[str, tuple[str, list[Any]]] = {}
        self.acks = 0
        self.events = 0
        self.hands = 0

    def after_kill(self, url: str) -> None:
        """Check what is new, and what holds at every commit."""
        witness = self._witness
        events, witness.fresh_events = witness.fresh_events, []
        acks, witness.fresh_acks = witness.fresh_acks, []
        refused, witness.fresh_refused = witness.fresh_refused, []
        with psycopg.connect(url) as db:
            db.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            self._sequences(db)
            self._compare_events(db, events)
            self._compare_acks(db, acks)
            self._compare_refused(db, refused)
            self._chips(db)
            self._running_hands(db)
        self.acks += len(acks)
        self.events += len(events)

    def at_the_end(self, url: str) -> None:
        """Check everything."""
        witness = self._witness
        with psycopg.connect(url) as db:
            db.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            self._sequences(db)
            self._compare_events(db, list(witness.events))
            self._compare_acks(db, witness.acks)
            self._compare_refused(db, witness.refused)
            self._chips(db)
            self._running_hands(db)
            self._hands(db)
            self._once(db)
        self.acks, self.events = len(witness.acks), len(witness.events)

    def running(self, url: str) -> set[str]:
        """List the ids of the hands that are running."""
        with psycopg.connect(url) as db:
            return {row[0] for row in db.execute("SELECT id FROM hands WHERE ended_at IS NULL")}

    # Events and commands

    def _sequences(self, db: psycopg.Connection[Any]) -> None:
        for room_id, seq, count, low, high in db.execute(_SEQUENCES):
            self._witness.wrong(f"{room_id} is at {seq}, its {count} events go {low} to {high}")

    def _compare_events(self, db: psycopg.Connection[Any], keys: list[tuple[str, int]]) -> None:
        for part in chunks(keys):
            rooms, seqs = [key[0] for key in part], [key[1] for key in part]
            stored = {
                (room_id, seq): canonical(
                    {"channel": f"room:{room_id}", "seq": seq, "at": at, "type": kind, **payload}
                )
                for room_id, seq, at, kind, payload in db.execute(_EVENTS, (rooms, seqs))
            }
            for key in part:
                told = self._witness.events[key]
                if stored.get(key) != told:
                    found = stored.get(key)
                    self._witness.wrong(
                        f"event {key} was told as {_readable(told)} and is stored as "
                        f"{_readable(found) if found else 'nothing'}"
                    )

    def _compare_acks(self, db: psycopg.Connection[Any], acks: list[Sent]) -> None:
        for part in chunks(acks):
            stored = _commands(db, part)
            for sent in part:
                expected = (sent.user_id, sent.room_id, sent.type, sent.seq)
                if stored.get(sent.command_id) != expected:
                    self._witness.wrong(
                        f"{sent.command_id} was acknowledged to {expected}, "
                        f"stored is {stored.get(sent.command_id)}"
                    )

    def _compare_refused(self, db: psycopg.Connection[Any], refused: list[Sent]) -> None:
        for part in chunks(refused):
            for command_id, found in _commands(db, part).items():
                self._witness.wrong(f"{command_id} was refused and is stored as {found}")

    # Chips

    def _chips(self, db: psycopg.Connection[Any]) -> None:
        there, credited = db.execute(_CHIPS).fetchone() or (None, None)
        if there != credited:
            self._witness.wrong(f"{there} chips are there, {credited} were credited")
        uneven = "SELECT transfer_id FROM ledger_entries GROUP BY 1 HAVING sum(amount) <> 0"
        for (transfer_id,) in db.execute(uneven):
            self._witness.wrong(f"transfer {transfer_id} does not sum to nothing")
        for user_id, balance, booked in db.execute(_WALLETS):
            self._witness.wrong(f"the wallet of {user_id} holds {balance}, booked are {booked}")
        for room_id, there, booked in db.execute(_STACKS):
            self._witness.wrong(f"the stacks of {room_id} are {there}, booked are {booked}")

    # Hands

    def _running_hands(self, db: psycopg.Connection[Any]) -> None:
        """Compare every hand ever seen running with how it was when seen first."""
        found = db.execute(
            "SELECT h.id, h.deck, array_agg(p.hole_cards ORDER BY p.position) "
            "FROM hands h JOIN players p ON p.hand_id = h.id "
            "WHERE h.ended_at IS NULL OR h.id = ANY (%s) GROUP BY h.id",
            (list(self._dealt),),
        )
        stored = {hand_id: (deck, cards) for hand_id, deck, cards in found}
        for hand_id, dealt in self._dealt.items():
            if stored.get(hand_id) != dealt:
                self._witness.wrong(f"hand {hand_id} was dealt otherwise before the kill")
        self._dealt = stored

    def _hands(self, db: psycopg.Connection[Any]) -> None:
        """Compare every hand's cards with its deck, and with what their owners were told."""
        told: dict[str, dict[str, list[str]]] = defaultdict(dict)
        for (hand_id, user_id), cards in self._witness.holes.items():
            told[hand_id][user_id] = cards
        found = db.execute(
            "SELECT h.id, h.variant, h.deck, h.board, h.ended_at, "
            "array_agg(p.user_id ORDER BY p.position), "
            "jsonb_agg(p.hole_cards ORDER BY p.position) "
            "FROM hands h JOIN players p ON p.hand_id = h.id GROUP BY h.id"
        )
        for hand_id, variant, run, board, ended_at, users, holes in found:
            self.hands += ended_at is not None
            deck = [run[i : i + 2] for i in range(0, len(run), 2)]
            count = len(users)
            dealt = count * VARIANTS[variant].hole_cards
            for place, (user_id, cards) in enumerate(zip(users, holes, strict=True)):
                if cards != deck[place:dealt:count]:
                    self._witness.wrong(f"hand {hand_id}: {user_id} has {cards}, not of the deck")
                if told[hand_id].pop(user_id, cards) != cards:
                    self._witness.wrong(f"hand {hand_id}: {user_id} was told other cards")
            if told.pop(hand_id, None):
                self._witness.wrong(f"hand {hand_id}: cards were told to who is not in it")
            rest = deck[dealt:]
            if board != [*rest[1:4], rest[5], rest[7]][: len(board)]:
                self._witness.wrong(f"hand {hand_id}: the board {board} is not of the deck")
        for hand_id in told:
            self._witness.wrong(f"hand {hand_id} was told and is not stored")

    # At most once

    def _once(self, db: psycopg.Connection[Any]) -> None:
        """Compare how often each user did something with how often it took effect."""
        done = Counter(
            {
                (room_id, user_id, kind): count
                for room_id, user_id, kind, count in db.execute(
                    "SELECT room_id, user_id, type, count(*) FROM commands "
                    "WHERE room_id IS NOT NULL GROUP BY 1, 2, 3"
                )
            }
        )
        acted = {
            (room_id, user_id): count
            for room_id, user_id, count in db.execute(
                "SELECT room_id, user_id, count(*) FROM actions WHERE NOT auto GROUP BY 1, 2"
            )
        }
        for room_id, user_id in acted.keys() | {k[:2] for k in done if k[2] == "action"}:
            self._equal(
                f"actions of {user_id} in {room_id}",
                acted.get((room_id, user_id), 0),
                done[room_id, user_id, "action"],
            )
        self._own_actions(db)
        self._effects(db)

    def _own_actions(self, db: psycopg.Connection[Any]) -> None:
        """Find each acknowledged action's own row, one for each."""
        rows: dict[str, list[tuple[int, str, str]]] = defaultdict(list)
        for room_id, seq, user_id, action in db.execute(
            "SELECT room_id, seq, user_id, action FROM actions WHERE NOT auto ORDER BY room_id, seq"
        ):
            rows[room_id].append((seq, user_id, action))
        acks: dict[str, list[Sent]] = defaultdict(list)
        for sent in self._witness.acks:
            if sent.type == "action":
                acks[sent.room_id].append(sent)
        for room_id, sents in acks.items():
            sents.sort(key=lambda sent: sent.seq or 0)
            at, taken = 0, rows[room_id]
            for sent in sents:
                # The last decision at or before the seq that the ok named is the command's own.
                own = None
                while at < len(taken) and taken[at][0] <= (sent.seq or 0):
                    own = taken[at]
                    at += 1
                if own is None or own[1:] != (sent.user_id, sent.fields["action"]):
                    self._witness.wrong(f"the effect of {sent} is {own}")

    def _effects(self, db: psycopg.Connection[Any]) -> None:
        done: dict[tuple[str, str], int] = {
            (room_id, kind): count
            for room_id, kind, count in db.execute(
                "SELECT room_id, type, count(*) FROM commands "
                "WHERE room_id IS NOT NULL GROUP BY 1, 2"
            )
        }
        seen: dict[tuple[str, str], int] = {
            (room_id, kind): count
            for room_id, kind, count in db.execute(
                "SELECT room_id, type, count(*) FROM room_events "
                "WHERE payload ->> 'reason' IS NULL "
                "OR type <> 'player_sat_out' OR payload ->> 'reason' = 'asked' GROUP BY 1, 2"
            )
        }
        for room_id in {key[0] for key in done}:
            for command, effect in EFFECTS.items():
                self._equal(
                    f"{effect} in {room_id}",
                    seen.get((room_id, effect), 0),
                    done.get((room_id, command), 0),
                )
            left = seen.get((room_id, "player_left_seat"), 0)
            if left > (asked := done.get((room_id, "leave_seat"), 0)):
                self._witness.wrong(f"{left} left their seat in {room_id}, {asked} asked to")

    def _equal(self, what: str, found: int, expected: int) -> None:
        if found != expected:
            self._witness.wrong(f"{what}: {found}, commands for it: {expected}")


def _commands(db: psycopg.Connection[Any], sents: list[Sent]) -> dict[str, tuple[object, ...]]:
    found = db.execute(
        "SELECT command_id::text, user_id, room_id, type, (outcome ->> 'seq')::bigint "
        "FROM commands WHERE command_id = ANY (%s::uuid[])",
        ([sent.command_id for sent in sents],),
    )
    return {row[0]: row[1:] for row in found}


def chunks(items: list[T]) -> Iterable[list[T]]:
    """Divide what is looked up into parts for one query each."""
    return (items[at : at + CHUNK] for at in range(0, len(items), CHUNK))


def _readable(told: bytes) -> object:
    return msgspec.msgpack.decode(told)
