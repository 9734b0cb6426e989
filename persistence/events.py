"""Events that a client missed, and the upkeep of the tables that only grow."""

import msgspec
from msgspec import Raw
from psycopg import IsolationLevel

from persistence.pool import Pool

MAX_MISSED = 300
"""How many missed events are made up for one by one; more than that is hydrated."""

_MISSED = """
SELECT (payload || jsonb_build_object('type', type, 'channel', 'room:' || room_id, 'seq', seq,
                                      'at', to_ms(at)))::text
FROM room_events WHERE room_id = %(room_id)s AND seq > %(after)s ORDER BY seq
LIMIT %(limit)s
"""
_DEALT = """
SELECT e.seq, to_ms(e.at), h.id, p.seat_index, p.hole_cards
FROM room_events e
JOIN hands h ON h.room_id = e.room_id AND h.id = e.payload ->> 'hand_id'
JOIN players p ON p.hand_id = h.id AND p.user_id = %(user_id)s
WHERE e.room_id = %(room_id)s AND e.seq >= %(after)s AND e.type = 'hand_started'
"""
_REQUESTED = """
SELECT told_seq, to_ms(requested_at), user_id, display_name
FROM room_players
WHERE room_id = %(room_id)s AND status = 'pending' AND told_seq >= %(after)s
"""
# Of a user who was banned more than once, the ban that stands is told.
_BANNED = """
SELECT max(e.seq), to_ms(b.banned_at), b.user_id, b.reason, b.banned_by
FROM room_events e
JOIN room_bans b ON b.room_id = e.room_id AND b.user_id = e.payload ->> 'user_id'
WHERE e.room_id = %(room_id)s AND e.seq >= %(after)s AND e.type = 'player_banned'
GROUP BY b.room_id, b.user_id
"""


async def missed_events(
    pool: Pool, room_id: str, after: int, user_id: str, *, operator: bool
) -> tuple[int, list[dict[str, object]]] | None:
    """Read what a client that has seen `after` missed, private events of its own included.

    Those that go with `after` itself are among them: its connection may have ended between the
    public event and the private one. To a client that has them they are nothing new.

    Returns:
        The seq up to which the answer goes, and the events in order as plain messages; None if
        they are too many or no longer all kept.
    """
    values = {"room_id": room_id, "after": after, "user_id": user_id, "limit": MAX_MISSED + 1}
    async with pool.transaction(isolation=IsolationLevel.REPEATABLE_READ, read_only=True) as conn:
        row = await (
            await conn.execute("SELECT seq FROM game_states WHERE room_id = %s", (room_id,))
        ).fetchone()
        if row is None or not 0 <= row[0] - after <= MAX_MISSED:
            return None
        seq: int = row[0]
        public = [
            msgspec.json.decode(found[0], type=dict[str, object])
            for found in await (await conn.execute(_MISSED, values)).fetchall()
        ]
        if len(public) != seq - after:
            return None
        private = [
            _private(room_id, "cards_dealt", at_seq, at)
            | {"hand_id": hand_id, "seat_index": seat_index, "hole_cards": cards}
            for at_seq, at, hand_id, seat_index, cards in await (
                await conn.execute(_DEALT, values)
            ).fetchall()
        ]
        if operator:
            private += [
                _private(room_id, "player_join_requested", at_seq, at)
                | {"user_id": who, "display_name": name, "requested_at": at}
                for at_seq, at, who, name in await (
                    await conn.execute(_REQUESTED, values)
                ).fetchall()
            ]
            private += [
                _private(room_id, "player_banned", at_seq, at)
                | {
                    "room_id": room_id,
                    "user_id": who,
                    "reason": reason,
                    "banned_by": by,
                    "banned_at": at,
                }
                for at_seq, at, who, reason, by in await (
                    await conn.execute(_BANNED, values)
                ).fetchall()
            ]
    return seq, sorted(public + private, key=_order)


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
