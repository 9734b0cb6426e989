"""When seated players and spectators were last seen, and whose grace is over."""

from collections.abc import Iterable
from itertools import islice
from typing import NamedTuple

import msgspec

from persistence.pool import Pool

AT_ONCE = 100
"""How many are written in one transaction, which takes about 5 ms of processor. So long no commit
of their rooms gets on, nor one of any room that is committed together with one of them;
docs/scale.md has the figures."""

# The rows of a room are only written under the lock on its game_states row. It waits for no lock
# while it holds others, be it a commit under way or somebody at a prompt who has a seat's row: what
# is locked now is written the next time.
# The write may be forgotten in a crash, so it does not wait for the disk while it holds the locks.
_FLUSH = """
WITH told AS (
    SELECT r ->> 0 AS room_id, r ->> 1 AS user_id, from_ms((r ->> 2)::bigint) AS at,
           (r ->> 3)::boolean AS connected
    FROM jsonb_array_elements(%(rows)s::jsonb) r,
         (SELECT set_config('synchronous_commit', 'off', true)) s
), locked AS MATERIALIZED (
    SELECT g.room_id FROM game_states g WHERE g.room_id IN (SELECT room_id FROM told)
    FOR NO KEY UPDATE SKIP LOCKED
), seen AS MATERIALIZED (
    SELECT told.* FROM told JOIN locked USING (room_id)
), my_seats AS MATERIALIZED (
    SELECT s.room_id, s.user_id FROM seen JOIN room_seats s USING (room_id, user_id)
    FOR NO KEY UPDATE OF s SKIP LOCKED
), my_spectators AS MATERIALIZED (
    SELECT s.room_id, s.user_id FROM seen JOIN room_spectators s USING (room_id, user_id)
    FOR NO KEY UPDATE OF s SKIP LOCKED
), my_tokens AS MATERIALIZED (
    SELECT t.id, seen.at FROM seen JOIN rejoin_tokens t USING (room_id, user_id)
    WHERE NOT t.replaced FOR NO KEY UPDATE OF t SKIP LOCKED
), seats AS (
    UPDATE room_seats s SET last_seen_at = greatest(s.last_seen_at, seen.at),
                            connected = seen.connected
    FROM my_seats JOIN seen USING (room_id, user_id)
    WHERE s.room_id = my_seats.room_id AND s.user_id = my_seats.user_id
), spectators AS (
    UPDATE room_spectators s SET last_seen_at = greatest(s.last_seen_at, seen.at),
                                 connected = seen.connected
    FROM my_spectators m JOIN seen USING (room_id, user_id)
    WHERE s.room_id = m.room_id AND s.user_id = m.user_id
), tokens AS (
    UPDATE rejoin_tokens t
    SET expires_at = greatest(t.expires_at, my_tokens.at + %(token_ms)s * interval '1 millisecond')
    FROM my_tokens WHERE t.id = my_tokens.id
)
SELECT told.room_id, told.user_id FROM told
WHERE EXISTS (SELECT FROM game_states g WHERE g.room_id = told.room_id)
  AND told.room_id NOT IN (SELECT room_id FROM locked)
   OR EXISTS (SELECT FROM room_seats s WHERE s.room_id = told.room_id AND s.user_id = told.user_id)
  AND (told.room_id, told.user_id) NOT IN (SELECT room_id, user_id FROM my_seats)
"""
# Nobody is seen later than now by it.
_FORGIVE = """
WITH locked AS MATERIALIZED (
    SELECT g.room_id FROM game_states g JOIN rooms r ON r.id = g.room_id
    WHERE r.owner_node = %(node_id)s AND r.status <> 'closed'
    ORDER BY g.room_id FOR NO KEY UPDATE OF g
), my_seats AS MATERIALIZED (
    SELECT s.room_id, s.user_id FROM locked JOIN room_seats s USING (room_id)
    FOR NO KEY UPDATE OF s SKIP LOCKED
), my_spectators AS MATERIALIZED (
    SELECT s.room_id, s.user_id FROM locked JOIN room_spectators s USING (room_id)
    FOR NO KEY UPDATE OF s SKIP LOCKED
), seats AS (
    UPDATE room_seats s
    SET last_seen_at = least(s.last_seen_at + %(ms)s * interval '1 millisecond',
                             greatest(s.last_seen_at, from_ms(%(now)s)))
    FROM my_seats m WHERE s.room_id = m.room_id AND s.user_id = m.user_id
)
UPDATE room_spectators s
SET last_seen_at = least(s.last_seen_at + %(ms)s * interval '1 millisecond',
                         greatest(s.last_seen_at, from_ms(%(now)s)))
FROM my_spectators m WHERE s.room_id = m.room_id AND s.user_id = m.user_id
"""
_OVERDUE = """
SELECT s.room_id, s.user_id, to_ms(s.last_seen_at),
       CASE WHEN s.last_seen_at < from_ms(%(free_before)s) AND s.leaving IS NULL THEN 'gone'
            ELSE 'unseen' END
FROM room_seats s JOIN rooms r ON r.id = s.room_id
WHERE r.owner_node = %(node_id)s AND r.status <> 'closed'
  AND (NOT s.connected OR s.last_seen_at < from_ms(%(silent_before)s))
  AND (s.last_seen_at < from_ms(%(away_before)s) AND NOT s.away
       OR s.last_seen_at < from_ms(%(free_before)s) AND s.leaving IS NULL)
UNION ALL
SELECT w.room_id, w.user_id, to_ms(w.last_seen_at), 'unseen'
FROM room_spectators w JOIN rooms r ON r.id = w.room_id
WHERE r.owner_node = %(node_id)s AND r.status <> 'closed'
  AND (NOT w.connected OR w.last_seen_at < from_ms(%(silent_before)s))
  AND w.last_seen_at < from_ms(%(drop_before)s)
UNION ALL
SELECT s.room_id, s.user_id, to_ms(s.last_seen_at), 'back'
FROM room_seats s JOIN rooms r ON r.id = s.room_id
WHERE r.owner_node = %(node_id)s AND r.status <> 'closed'
  AND (s.connected OR s.last_seen_at >= from_ms(%(away_before)s))
  AND (s.away OR s.leaving = 'grace')
"""


class SeenAt(NamedTuple):
    """A user seen in a room at a time (UTC, ms), and whether a socket of theirs is there now."""

    room_id: str
    user_id: str
    at: int
    connected: bool


class Overdue(NamedTuple):
    """A user whose grace is over, `unseen` (the first, or a spectator's) or `gone` (the second), or
    who is `back`."""

    room_id: str
    user_id: str
    last_seen_at: int
    grace: str


async def flush(pool: Pool, seen: Iterable[SeenAt], token_ms: int) -> list[SeenAt]:
    """Write who was seen when; a rejoin token lives `token_ms` past it.

    Returns:
        What could not be written, because somebody else is writing there.
    """
    told = {(one.room_id, one.user_id): one for one in seen}
    waiting = iter(told.values())
    left: list[SeenAt] = []
    while some := list(islice(waiting, AT_ONCE)):
        rows = msgspec.json.encode(some).decode()
        # A connection each, for its time is bounded: many of them take no more than one may.
        async with pool.connection() as conn:
            cursor = await conn.execute(_FLUSH, {"rows": rows, "token_ms": token_ms})
            left += [told[room_id, user_id] for room_id, user_id in await cursor.fetchall()]
    return left


async def forgive(pool: Pool, node_id: str, *, ms: int, now: int) -> None:
    """Count `ms` milliseconds against nobody's grace in a node's rooms: nobody could be seen."""
    async with pool.connection() as conn:
        await conn.execute(_FORGIVE, {"node_id": node_id, "ms": ms, "now": now})


async def overdue(
    pool: Pool,
    node_id: str,
    *,
    away_before: int,
    free_before: int,
    drop_before: int,
    silent_before: int,
) -> list[Overdue]:
    """List who is overdue in a node's rooms, all times being UTC in milliseconds.

    Somebody with a socket is not overdue, unless nothing was heard since `silent_before`, when the
    socket would have been closed.
    """
    values = {
        "node_id": node_id,
        "away_before": away_before,
        "free_before": free_before,
        "drop_before": drop_before,
        "silent_before": silent_before,
    }
    async with pool.connection(read_only=True) as conn:
        cursor = await conn.execute(_OVERDUE, values)
        return [Overdue(*row) for row in await cursor.fetchall()]
