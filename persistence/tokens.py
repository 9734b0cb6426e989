"""Rejoin tokens: who one lets in, rotation on use, and the sweep of dead ones.

Only the SHA-256 of a token is ever here. A token is good until it expires, and beyond that while a
hand runs in which its user plays.
"""

from typing import NamedTuple

from persistence.pool import Pool
from protocol.values import RoomRole

_USE = """
SELECT t.room_id, t.user_id, t.role, t.replaced,
       coalesce(s.display_name, w.display_name, m.display_name, t.user_id) AS display_name
FROM rejoin_tokens t
LEFT JOIN room_seats s ON s.room_id = t.room_id AND s.user_id = t.user_id
LEFT JOIN room_spectators w ON w.room_id = t.room_id AND w.user_id = t.user_id
LEFT JOIN room_players m ON m.room_id = t.room_id AND m.user_id = t.user_id
WHERE t.token_hash = %(hash)s AND t.room_id = coalesce(%(room_id)s, t.room_id)
  AND (t.expires_at > from_ms(%(now)s)
       OR NOT t.replaced AND EXISTS (
           SELECT 1 FROM hands h JOIN players p ON p.hand_id = h.id AND p.user_id = t.user_id
           WHERE h.room_id = t.room_id AND h.ended_at IS NULL))
"""
_GOOD = """
SELECT EXISTS (
    SELECT FROM rejoin_tokens t
    WHERE t.token_hash = %(hash)s AND t.room_id = %(room_id)s AND NOT t.replaced
      AND t.expires_at > from_ms(%(now)s))
"""
_ROTATE = """
WITH old AS (
    UPDATE rejoin_tokens
    SET replaced = true, expires_at = least(expires_at, from_ms(%(old_good_until)s))
    WHERE room_id = %(room_id)s AND user_id = %(user_id)s AND NOT replaced
)
INSERT INTO rejoin_tokens (room_id, user_id, role, seat_index, token_hash, created_at, expires_at)
VALUES (%(room_id)s, %(user_id)s, %(role)s, %(seat_index)s, %(hash)s, from_ms(%(now)s),
        from_ms(%(expires_at)s))
"""
# What a commit is changing is left to the next sweep: a sweep must not wait while it has tokens of
# other rooms locked.
_SWEEP = """
DELETE FROM rejoin_tokens WHERE id IN (
    SELECT t.id FROM rejoin_tokens t
    WHERE t.expires_at < from_ms(%(now)s)
      AND (t.replaced OR NOT EXISTS (
          SELECT 1 FROM hands h JOIN players p ON p.hand_id = h.id AND p.user_id = t.user_id
          WHERE h.room_id = t.room_id AND h.ended_at IS NULL))
    FOR UPDATE OF t SKIP LOCKED)
"""


class TokenHolder(NamedTuple):
    """Whom a valid token lets into which room; `replaced` once a newer one was given out."""

    room_id: str
    user_id: str
    role: RoomRole
    replaced: bool
    display_name: str


async def holder_of(
    pool: Pool, room_id: str | None, token_hash: bytes, now: int
) -> TokenHolder | None:
    """Find the user whom a token lets into a room, or None if it lets nobody in.

    Without a room, it is the one that the token is for.
    """
    values = {"hash": token_hash, "room_id": room_id, "now": now}
    async with pool.connection(read_only=True) as conn:
        cursor = await conn.execute(_USE, values)
        row = await cursor.fetchone()
        return None if row is None else TokenHolder(*row)


async def is_good(pool: Pool, room_id: str, token_hash: bytes, now: int) -> bool:
    """Whether a token has not expired, was not revoked, and is the newest of its user."""
    async with pool.connection(read_only=True) as conn:
        values = {"hash": token_hash, "room_id": room_id, "now": now}
        row = await (await conn.execute(_GOOD, values)).fetchone()
        return row is not None and bool(row[0])


async def rotate(
    pool: Pool,
    *,
    room_id: str,
    user_id: str,
    role: RoomRole,
    seat_index: int | None,
    token_hash: bytes,
    now: int,
    expires_at: int,
    old_good_until: int,
) -> None:
    """Store a new token for a user; the one before it is good until `old_good_until`."""
    values = {
        "room_id": room_id,
        "user_id": user_id,
        "role": role,
        "seat_index": seat_index,
        "hash": token_hash,
        "now": now,
        "expires_at": expires_at,
        "old_good_until": old_good_until,
    }
    async with pool.connection() as conn:
        await conn.execute(_ROTATE, values)


async def sweep(pool: Pool, now: int) -> int:
    """Delete the tokens that let nobody in any more; return how many."""
    async with pool.connection() as conn:
        cursor = await conn.execute(_SWEEP, {"now": now})
        return cursor.rowcount
