"""Events that a client missed, and the upkeep of the tables that only grow."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

import msgspec
from msgspec import Raw
from psycopg import IsolationLevel

from persistence.pool import Connection, Pool

MAX_MISSED = 300
"""How many missed events are made up for one by one; more than that is hydrated."""

_SEQS = "SELECT room_id, seq FROM game_states WHERE room_id = ANY(%(rooms)s)"
# A subquery for each room that is asked for: the planner knows nothing of how many there are.
_MISSED = """
SELECT e.room_id, e.seq, e.told
FROM unnest(%(rooms)s::text[], %(after)s::bigint[]) AS asked (room_id, after),
     LATERAL (SELECT room_id, seq, (payload || jsonb_build_object(
                         'type', type, 'channel', 'room:' || room_id, 'seq', seq,
                         'at', to_ms(at)))::text AS told
              FROM room_events WHERE room_id = asked.room_id AND seq > asked.after
              ORDER BY seq LIMIT %(limit)s) e
"""
_DEALT = """
SELECT asked.n, dealt.*
FROM unnest(%(rooms)s::text[], %(after)s::bigint[], %(users)s::text[]) WITH ORDINALITY
         AS asked (room_id, after, user_id, n),
     LATERAL (SELECT e.seq, to_ms(e.at), h.id, p.seat_index, p.hole_cards
              FROM room_events e
              JOIN hands h ON h.room_id = e.room_id AND h.id = e.payload ->> 'hand_id'
              JOIN players p ON p.hand_id = h.id AND p.user_id = asked.user_id
              WHERE e.room_id = asked.room_id AND e.seq >= asked.after
                AND e.type = 'hand_started') dealt
"""
_REQUESTED = """
SELECT asked.n, m.told_seq, to_ms(m.requested_at), m.user_id, m.display_name
FROM unnest(%(rooms)s::text[], %(after)s::bigint[]) WITH ORDINALITY AS asked (room_id, after, n)
JOIN room_players m
    ON m.room_id = asked.room_id AND m.status = 'pending' AND m.told_seq >= asked.after
"""
# Of a user who was banned more than once, the ban that stands is told.
_BANNED = """
SELECT asked.n, ban.*
FROM unnest(%(rooms)s::text[], %(after)s::bigint[]) WITH ORDINALITY AS asked (room_id, after, n),
     LATERAL (SELECT max(e.seq), to_ms(b.banned_at), b.user_id, b.reason, b.banned_by
              FROM room_events e
              JOIN room_bans b ON b.room_id = e.room_id AND b.user_id = e.payload ->> 'user_id'
              WHERE e.room_id = asked.room_id AND e.seq >= asked.after
                AND e.type = 'player_banned'
              GROUP BY b.room_id, b.user_id) ban
"""

Told = dict[str, object]
"""An event as a plain message. Those who are told the same may share it: it is only read."""


class Absence(NamedTuple):
    """What a client has: the events of a room up to `after`; who it is, and whether they operate
    the room."""

    room_id: str
    after: int
    user_id: str
    operator: bool


class Missed(NamedTuple):
    """The events that a client missed, in order; `seq` is where they end."""

    seq: int
    events: list[Told]


async def missed_events(pool: Pool, absences: Sequence[Absence]) -> list[Missed | None]:
    """Read what clients missed, private events of their own included.

    Those that go with `after` itself are among them: its connection may have ended between the
    public event and the private one. To a client that has them they are nothing new. Events of a
    room are read once, however many ask for them.

    Returns:
        For each client what it missed, as of one moment; None if that is too much or no longer all
        kept.

    Raises:
        Unavailable: the database is away.
    """
    async with pool.transaction(isolation=IsolationLevel.REPEATABLE_READ, read_only=True) as conn:
        rooms = list({absence.room_id for absence in absences})
        seqs: dict[str, int] = dict(await _rows(conn, _SEQS, {"rooms": rooms}))
        near = [
            n
            for n, absence in enumerate(absences)
            if 0 <= seqs.get(absence.room_id, -1) - absence.after <= MAX_MISSED
        ]
        public = await _public(conn, [absences[n] for n in near])
        known = {
            n: told
            for n in near
            for told in [_since(absences[n].after, public[absences[n].room_id])]
            if len(told) == seqs[absences[n].room_id] - absences[n].after
        }
        private = await _private_events(conn, {n: absences[n] for n in known})
    return [
        Missed(seqs[absence.room_id], sorted(known[n] + private[n], key=_order))
        if n in known
        else None
        for n, absence in enumerate(absences)
    ]


async def _public(conn: Connection, absences: Sequence[Absence]) -> dict[str, list[Told]]:
    """Read the public events of rooms since the earliest that anybody needs."""
    earliest: dict[str, int] = {}
    for absence in absences:
        after = earliest.get(absence.room_id, absence.after)
        earliest[absence.room_id] = min(after, absence.after)
    found: dict[str, list[Told]] = {room_id: [] for room_id in earliest}
    if earliest:
        values = {
            "rooms": list(earliest),
            "after": list(earliest.values()),
            "limit": MAX_MISSED + 1,
        }
        for room_id, _, told in sorted(await _rows(conn, _MISSED, values)):
            found[room_id].append(msgspec.json.decode(told, type=Told))
    return found


def _since(after: int, told: list[Told]) -> list[Told]:
    return [event for event in told if cast("int", event["seq"]) > after]


async def _private_events(
    conn: Connection, absences: Mapping[int, Absence]
) -> dict[int, list[Told]]:
    """Read the private events of clients; what is for operators is read where there are some."""
    found: dict[int, list[Told]] = {n: [] for n in absences}
    numbers = list(absences)
    for n, at_seq, at, hand_id, seat_index, cards in await _of_each(conn, _DEALT, absences):
        who = numbers[n - 1]
        found[who].append(
            _private(absences[who].room_id, "cards_dealt", at_seq, at)
            | {"hand_id": hand_id, "seat_index": seat_index, "hole_cards": cards}
        )
    operators = {n: absence for n, absence in absences.items() if absence.operator}
    numbers = list(operators)
    for n, at_seq, at, user_id, name in await _of_each(conn, _REQUESTED, operators):
        who = numbers[n - 1]
        found[who].append(
            _private(operators[who].room_id, "player_join_requested", at_seq, at)
            | {"user_id": user_id, "display_name": name, "requested_at": at}
        )
    for n, at_seq, at, user_id, reason, by in await _of_each(conn, _BANNED, operators):
        who, room_id = numbers[n - 1], operators[numbers[n - 1]].room_id
        found[who].append(
            _private(room_id, "player_banned", at_seq, at)
            | {
                "room_id": room_id,
                "user_id": user_id,
                "reason": reason,
                "banned_by": by,
                "banned_at": at,
            }
        )
    return found


async def _of_each(
    conn: Connection, query: str, absences: Mapping[int, Absence]
) -> list[tuple[Any, ...]]:
    """Ask a question of each of some clients; rows begin with the client's place, from 1 up."""
    if not absences:
        return []
    values = {
        "rooms": [absence.room_id for absence in absences.values()],
        "after": [absence.after for absence in absences.values()],
        "users": [absence.user_id for absence in absences.values()],
    }
    return await _rows(conn, query, values)


async def _rows(conn: Connection, query: str, values: Mapping[str, object]) -> list[Any]:
    return await (await conn.execute(query.encode(), values, prepare=True)).fetchall()


async def forget_old(pool: Pool, before: int) -> None:
    """Delete events and command outcomes from before a time (UTC, ms)."""
    async with pool.connection() as conn:
        await conn.execute("DELETE FROM room_events WHERE at < from_ms(%s)", (before,))
        await conn.execute("DELETE FROM commands WHERE at < from_ms(%s)", (before,))


async def outcome_of(
    pool: Pool, command_id: str, user_id: str
) -> tuple[str, str | None, Raw] | None:
    """Find what a command did the first time: its type, room and outcome (JSON), or None."""
    async with pool.connection(read_only=True) as conn:
        cursor = await conn.execute(
            "SELECT type, room_id, outcome::text FROM commands "
            "WHERE command_id = %s::uuid AND user_id = %s",
            (command_id, user_id),
        )
        row = await cursor.fetchone()
        return None if row is None else (row[0], row[1], Raw(row[2].encode()))


def _private(room_id: str, kind: str, seq: int, at: int) -> dict[str, object]:
    return {"type": kind, "channel": f"room:{room_id}", "seq": seq, "at": at, "private": True}


def _order(event: dict[str, object]) -> tuple[object, bool]:
    return (event["seq"], "private" in event)
