"""What the database holds of chats, held against what clients were told.

All reads of one check see one snapshot. `after_kill` looks at what is new since the last time and
at what must hold at every commit; `at_the_end` looks at everything.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
import psycopg

from bench.chat_witness import RANK, ChatWitness, Key, Side
from bench.kill_checks import chunks
from bench.kill_witness import canonical

_INVARIANTS = {
    "{0} has {1} open sessions": """
        SELECT player_id, count(*) FROM chat_sessions WHERE status <> 'resolved'
        GROUP BY player_id HAVING count(*) > 1
    """,
    "{0} says that {1} and {2} are unread by player and staff, {3} and {4} are": """
        SELECT s.id, unread_by_player, unread_by_staff,
               count(*) FILTER (WHERE m.sender = 'staff' AND m.status <> 'read') AS by_player,
               count(*) FILTER (WHERE m.sender = 'player' AND m.status <> 'read') AS by_staff
        FROM chat_sessions s JOIN chat_messages m ON m.session_id = s.id GROUP BY s.id
        HAVING unread_by_player <> count(*) FILTER (WHERE m.sender = 'staff' AND m.status <> 'read')
            OR unread_by_staff <> count(*) FILTER (WHERE m.sender = 'player' AND m.status <> 'read')
    """,
    "{0} is at {1}, its messages go from {2} to {3}, of {4} players": """
        SELECT s.id, s.seq, min(m.seq), max(m.seq), count(DISTINCT m.player_id)
        FROM chat_sessions s LEFT JOIN chat_messages m ON m.session_id = s.id GROUP BY s.id
        HAVING min(m.seq) IS DISTINCT FROM 1 OR max(m.seq) > s.seq
            OR min(m.player_id) <> s.player_id OR count(DISTINCT m.player_id) <> 1
    """,
    "{0} belongs to no session": """
        SELECT id FROM chat_messages m
        WHERE NOT EXISTS (SELECT FROM chat_sessions s WHERE s.id = m.session_id)
    """,
    "message {0} of {1} went back in time": """
        SELECT id, session_id FROM (
            SELECT id, session_id, "timestamp",
                   lag("timestamp") OVER (PARTITION BY session_id ORDER BY seq) AS before
            FROM chat_messages) m
        WHERE "timestamp" < before
    """,
    "{0} said {1} times: {2}": """
        SELECT player_id, count(*), message_text FROM chat_messages
        GROUP BY player_id, message_text HAVING count(*) > 1
    """,
    "{1} notifications announce that {0} has begun": """
        SELECT m.session_id, count(p.id) FROM chat_messages m
        LEFT JOIN push_notifications p
            ON p.kind = 'chat_request' AND p.data ->> 'session_id' = m.session_id
        WHERE m.seq = 1 AND m.sender = 'player'
        GROUP BY m.session_id HAVING count(p.id) <> 1
    """,
}
"""What must hold at every commit: a sentence and the query for rows that it is true of."""
_MESSAGES = """
SELECT m.id, m.session_id, m.player_id, m.sender, m.sender_name, m.message_text,
       to_ms(m."timestamp") AS "timestamp", m.seq, m.status
FROM chat_messages m
JOIN unnest(%s::text[], %s::text[]) AS k (player_id, id) USING (player_id, id)
"""
_SESSIONS = """
SELECT id, player_id, player_name, initial_message, status, assigned_staff, assigned_staff_name,
       urgency, unread_by_player, unread_by_staff, to_ms(created_at) AS created_at,
       to_ms(updated_at) AS updated_at, to_ms(waiting_since) AS waiting_since,
       to_ms(first_reply_at) AS first_reply_at, to_ms(last_message_at) AS last_message_at,
       to_ms(resolved_at) AS resolved_at, seq
FROM chat_sessions
"""


class ChatChecks:
    """Compares the database with what the witness saw.

    Attributes:
        messages: messages looked up; `sessions`: sessions there were in the end.
    """

    def __init__(self, witness: ChatWitness) -> None:
        self._witness = witness
        self.messages = 0
        self.sessions = 0

    def after_kill(self, url: str) -> None:
        """Check what is new, and what holds at every commit."""
        witness = self._witness
        fresh, witness.fresh = witness.fresh, set()
        with _reading(url) as db:
            self._invariants(db)
            self._compare_messages(db, fresh)
        self.messages = len(witness.told)

    def at_the_end(self, url: str) -> None:
        """Check everything."""
        witness = self._witness
        with _reading(url) as db:
            self._invariants(db)
            self._compare_messages(db, witness.told)
            self._refused(db)
            self._orders()
            self._compare_sessions(db)
        self.messages = len(witness.told)

    def seqs(self, url: str) -> dict[str, tuple[str, int]]:
        """Return the player and the seq of every session."""
        with _reading(url) as db:
            found = db.execute("SELECT id, player_id, seq FROM chat_sessions")
            return {row[0]: (row[1], row[2]) for row in found}

    def _invariants(self, db: psycopg.Connection[Any]) -> None:
        for sentence, query in _INVARIANTS.items():
            for row in db.execute(query.encode()):
                self._witness.wrong(sentence.format(*row))

    # Messages

    def _compare_messages(self, db: psycopg.Connection[Any], keys: Iterable[Key]) -> None:
        witness = self._witness
        for part in chunks(list(keys)):
            stored: dict[Key, tuple[bytes, str, str]] = {}
            cursor = db.execute(_MESSAGES, ([key[0] for key in part], [key[1] for key in part]))
            names = [column.name for column in cursor.description or ()]
            for row in cursor:
                message = dict(zip(names, row, strict=True))
                status = message.pop("status")
                key = (message["player_id"], message["id"])
                stored[key] = (canonical(message), status, message["sender"])
            for key in part:
                if key not in stored:
                    witness.wrong(f"message {key} was told and is not stored")
                    continue
                kept, status, sender = stored[key]
                told = witness.told[key]
                if told != kept:
                    witness.wrong(
                        f"{msgspec.msgpack.decode(kept)} was told as {msgspec.msgpack.decode(told)}"
                    )
                self._compare_status(key, status, "player" if sender == "staff" else "staff")

    def _compare_status(self, key: Key, status: str, reader: Side) -> None:
        """Hold how far a message got against what was confirmed, and what anybody ever said."""
        witness = self._witness
        message = msgspec.msgpack.decode(witness.told[key])
        place = (message["session_id"], reader)
        read = witness.read_to[place] >= message["seq"]
        least = RANK["read"] if read else witness.least[key]
        if witness.asked_to_read[place] >= message["seq"]:
            most = RANK["read"]
        else:
            most = RANK["received" if key in witness.asked_received else "sent"]
        if not least <= RANK[status] <= most:
            witness.wrong(f"message {key} is {status}: rank {RANK[status]}, not {least} to {most}")

    def _refused(self, db: psycopg.Connection[Any]) -> None:
        for part in chunks(self._witness.refused):
            for row in db.execute(_MESSAGES, ([key[0] for key in part], [key[1] for key in part])):
                self._witness.wrong(f"message {row[0]} of {row[2]} was refused and is stored")

    def _orders(self) -> None:
        """Look for messages that stand before one that their writer said and had kept earlier."""
        last: dict[tuple[str, str], int] = {}
        for one in self._witness.confirmed:
            if one.user_id != one.key[0]:
                # Staff say several things at once.
                continue
            place = (one.user_id, one.session_id)
            if one.seq <= last.get(place, 0):
                self._witness.wrong(f"message {one.key} has {one.seq}, after {last[place]}")
            last[place] = one.seq

    # Sessions

    def _compare_sessions(self, db: psycopg.Connection[Any]) -> None:
        cursor = db.execute(_SESSIONS)
        names = [column.name for column in cursor.description or ()]
        sessions = [dict(zip(names, row, strict=True)) for row in cursor]
        self.sessions = len(sessions)
        for session in sessions:
            told = self._witness.sessions.get((session["id"], session["seq"]))
            if told is not None and told != canonical(session):
                self._witness.wrong(f"{session} was told as {msgspec.msgpack.decode(told)}")
            self._compare_events(session)
        there = {session["id"]: session["seq"] for session in sessions}
        for side, session_id, seq in self._witness.events:
            if seq > there.get(session_id, 0):
                at = there.get(session_id)
                self._witness.wrong(f"{side} saw {seq} of {session_id}, which is at {at}")

    def _compare_events(self, session: dict[str, Any]) -> None:
        """Follow what was told back from the end; the last word on each thing must be kept."""
        open_points = {"status", "assigned_staff"}
        for seq in range(session["seq"], 0, -1):
            event = self._witness.kept_at(session["id"], seq)
            if event is None or not open_points:
                return
            match event["type"]:
                case "chat-status-changed":
                    told = {"status": event["to"]}
                case "chat-status-updated":
                    told = {"status": event["status"]}
                case "chat-assigned":
                    told = {"assigned_staff": event["assigned_staff"]}
                case _:
                    continue
            for name, value in told.items():
                if name in open_points and session[name] != value:
                    self._witness.wrong(f"{session} was told to have {name} {value} at {seq}")
                open_points.discard(name)


def _reading(url: str) -> psycopg.Connection[Any]:
    db = psycopg.connect(url)
    db.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
    return db
