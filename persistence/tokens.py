"""Rejoin tokens: who one lets in, rotation on use, and the sweep of dead ones.

Only the SHA-256 of a token is ever here. A token is good until it expires, and beyond that while a
hand runs in which its user plays.
"""

from collections.abc import Sequence
from typing import NamedTuple

from persistence.pool import Pool
from protocol.values import RoomRole

_USE = """
SELECT asked.n, t.room_id, t.user_id, t.role, t.replaced,
       coalesce(s.display_name, w.display_name, m.display_name, t.user_id) AS display_name
FROM unnest(%(hashes)s::bytea[], %(room_ids)s::text[]) WITH ORDINALITY AS asked (hash, room_id, n)
JOIN rejoin_tokens t
    ON t.token_hash = asked.hash AND t.room_id = coalesce(asked.room_id, t.room_id)
LEFT JOIN room_seats s ON s.room_id = t.room_id AND s.user_id = t.user_id
LEFT JOIN room_spectators w ON w.room_id = t.room_id AND w.user_id = t.user_id
LEFT JOIN room_players m ON m.room_id = t.room_id AND m.user_id = t.user_id
WHERE t.expires_at > from_ms(%(now)s)
   OR NOT t.replaced AND EXISTS (
          SELECT 1 FROM hands h JOIN players p ON p.hand_id = h.id AND p.user_id = t.user_id
          WHERE h.room_id = t.room_id AND h.ended_at IS NULL)
"""
_GOOD = """
SELECT asked.n
FROM unnest(%(hashes)s::bytea[], %(room_ids)s::text[]) WITH ORDINALITY AS asked (hash, room_id, n)
JOIN rejoin_tokens t ON t.token_hash = asked.hash AND t.room_id = asked.room_id
WHERE NOT t.replaced AND t.expires_at > from_ms(%(now)s)
"""
# It waits for no lock while it holds others: a user whose token somebody else is changing is left
# out, and is not among the hashes that come back.
_ROTATE = """
WITH asked AS MATERIALIZED (
    SELECT * FROM unnest(%(room_ids)s::text[], %(user_ids)s::text[], %(roles)s::text[],
                         %(seats)s::smallint[], %(hashes)s::bytea[])
                  AS asked (room_id, user_id, role, seat_index, hash)
), mine AS MATERIALIZED (
    SELECT t.id FROM asked JOIN rejoin_tokens t USING (room_id, user_id)
    WHERE NOT t.replaced FOR NO KEY UPDATE OF t SKIP LOCKED
), old AS (
    UPDATE rejoin_tokens t
    SET replaced = true, expires_at = least(t.expires_at, from_ms(%(old_good_until)s))
    FROM mine WHERE t.id = mine.id
)
INSERT INTO rejoin_tokens (room_id, user_id, role, seat_index, token_hash, created_at, expires_at)
SELECT room_id, user_id, role, seat_index, hash, from_ms(%(now)s), from_ms(%(expires_at)s)
FROM asked
WHERE NOT EXISTS (
    SELECT FROM rejoin_tokens t
    WHERE t.room_id = asked.room_id AND t.user_id = asked.user_id AND NOT t.replaced
      AND t.id NOT IN (SELECT id FROM mine))
RETURNING token_hash
"""
_ROTATE_ONE = """
WITH old AS (
    UPDATE rejoin_tokens
    SET replaced = true, expires_at = least(expires_at, from_ms(%(old_good_until)s))
    WHERE room_id = %(room_id)s AND user_id = %(user_id)s AND NOT replaced
)
INSERT INTO rejoin_tokens (room_id, user_id, role, seat_index, token_hash, created_at, expires_at)
VALUES (%(room_id)s, %(user_id)s, %(role)s, %(seat_index)s, %(token_hash)s, from_ms(%(now)s),
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


class Rotation(NamedTuple):
    """A new token for a user in a room, by its SHA-256."""

    room_id: str
    user_id: str
    role: RoomRole
    seat_index: int | None
    token_hash: bytes


async def holders_of(
    pool: Pool, asked: Sequence[tuple[bytes, str | None]], now: int
) -> list[TokenHolder | None]:
    """Find the user whom each token lets into a room, or None where it lets nobody in.

    Args:
        pool: connections.
        asked: a token's hash, and the room that it has to be for; None: whichever it is for.
        now: UTC in milliseconds.

    Raises:
        Unavailable: the database is away.
    """
    values = {**_hashes_and_rooms(asked), "now": now}
    async with pool.connection(read_only=True) as conn:
        cursor = await conn.execute(_USE, values, prepare=True)
        found = {n: TokenHolder(*holder) for n, *holder in await cursor.fetchall()}
    return [found.get(n) for n in range(1, len(asked) + 1)]


async def are_good(pool: Pool, asked: Sequence[tuple[bytes, str]], now: int) -> list[bool]:
    """Say of each token (hash and room) whether it has not expired, was not revoked, and is the
    newest of its user.

    Raises:
        Unavailable: the database is away.
    """
    values = {**_hashes_and_rooms(asked), "now": now}
    async with pool.connection(read_only=True) as conn:
        cursor = await conn.execute(_GOOD, values, prepare=True)
        found = {n for (n,) in await cursor.fetchall()}
    return [n in found for n in range(1, len(asked) + 1)]


async def rotate(
    pool: Pool,
    rotations: Sequence[Rotation],
    *,
    now: int,
    expires_at: int,
    old_good_until: int,
) -> list[bool]:
    """Store new tokens; the one that a user had before is good until `old_good_until`.

    All in one statement, which waits for nobody: a user whose token somebody else is changing is
    left out, and so is the second of two rotations for one user in one room.

    Returns:
        Of each, whether it was stored; for the others there is `rotate_one`.

    Raises:
        Unavailable: none was stored, or (`OutcomeUnknown`) perhaps all of them.
    """
    first = {(one.room_id, one.user_id): one for one in reversed(rotations)}
    values = {
        "room_ids": [one.room_id for one in first.values()],
        "user_ids": [one.user_id for one in first.values()],
        "roles": [one.role for one in first.values()],
        "seats": [one.seat_index for one in first.values()],
        "hashes": [one.token_hash for one in first.values()],
        "now": now,
        "expires_at": expires_at,
        "old_good_until": old_good_until,
    }
    async with pool.connection() as conn:
        cursor = await conn.execute(_ROTATE, values, prepare=True)
        stored = {bytes(token_hash) for (token_hash,) in await cursor.fetchall()}
    return [one.token_hash in stored for one in rotations]


async def rotate_one(
    pool: Pool, rotation: Rotation, *, now: int, expires_at: int, old_good_until: int
) -> None:
    """Store one user's new token as `rotate` does, waiting for whoever is changing the old one.

    Raises:
        Unavailable: it was not stored, or (`OutcomeUnknown`) perhaps.
    """
    values = {
        **rotation._asdict(),
        "now": now,
        "expires_at": expires_at,
        "old_good_until": old_good_until,
    }
    async with pool.connection() as conn:
        await conn.execute(_ROTATE_ONE, values)


def _hashes_and_rooms(asked: Sequence[tuple[bytes, str | None]]) -> dict[str, object]:
    return {
        "hashes": [token_hash for token_hash, _ in asked],
        "room_ids": [room_id for _, room_id in asked],
    }


async def sweep(pool: Pool, now: int) -> int:
    """Delete the tokens that let nobody in any more; return how many."""
    async with pool.connection() as conn:
        cursor = await conn.execute(_SWEEP, {"now": now})
        return cursor.rowcount
