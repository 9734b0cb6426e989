"""Which server process owns which room.

A process registers as a node with a lease that it renews. Taking a room over raises its epoch in
the statement that also names the new owner; every commit carries the epoch, so whoever lost a room
commits nothing more to it. A process that starts again as the same node has its rooms back at once,
while another node has to wait for the lease.
"""

from collections.abc import Sequence
from math import inf
from typing import NamedTuple

from persistence.pool import Pool

PATIENCE_MS = 800
"""How long a claim waits for a row that somebody has locked."""

_REGISTER = """
INSERT INTO nodes (node_id, address, started_at, renewed_at, lease_until)
VALUES (%(node_id)s, %(address)s, now(), now(), now() + %(lease_s)s * interval '1 second')
ON CONFLICT (node_id) DO UPDATE
SET address = EXCLUDED.address, started_at = now(), lease_until = EXCLUDED.lease_until
"""
_RENEW = """
UPDATE nodes SET renewed_at = now(), lease_until = now() + %(lease_s)s * interval '1 second'
WHERE node_id = %(node_id)s
"""
# The fence is locked before anything else of a room, as a commit does it: a claim waits for a
# commit under way, and never the two for each other. Two who claim at once: the second waits for
# the first one's lock and then looks again.
#
# Somebody at a prompt may have the row of a room: that is not waited for so long that a deadlock
# with them would be found, which might cost them their transaction.
_CLAIM = """
WITH patience AS MATERIALIZED (
    SELECT set_config('lock_timeout', %(patience)s, true)
), fence AS MATERIALIZED (
    SELECT g.room_id FROM patience, game_states g WHERE g.room_id = ANY(%(room_ids)b)
    ORDER BY g.room_id FOR NO KEY UPDATE OF g {skip}
), free AS (
    SELECT r.id, r.owner_node IS DISTINCT FROM %(node_id)s OR %(restarted)s AS taken_over,
           n.renewed_at
    FROM fence JOIN rooms r ON r.id = fence.room_id LEFT JOIN nodes n ON n.node_id = r.owner_node
    WHERE (r.owner_node IS NULL OR r.owner_node = %(node_id)s OR n.node_id IS NULL
           OR n.lease_until <= now())
    FOR NO KEY UPDATE OF r {skip}
), mine AS (
    UPDATE rooms r SET owner_node = %(node_id)s, owner_epoch = r.owner_epoch + 1
    FROM free WHERE r.id = free.id
      AND (r.owner_node IS NULL OR r.owner_node = %(node_id)s OR NOT EXISTS (
          SELECT 1 FROM nodes n WHERE n.node_id = r.owner_node AND n.lease_until > now()))
    RETURNING r.id, r.owner_epoch, free.taken_over, free.renewed_at
), seats AS (
    UPDATE room_seats s SET connected = false,
        last_seen_at = s.last_seen_at + greatest(now() - mine.renewed_at, interval '0')
    FROM mine WHERE mine.taken_over AND mine.renewed_at IS NOT NULL AND s.room_id = mine.id
), spectators AS (
    UPDATE room_spectators s SET connected = false,
        last_seen_at = s.last_seen_at + greatest(now() - mine.renewed_at, interval '0')
    FROM mine WHERE mine.taken_over AND mine.renewed_at IS NOT NULL AND s.room_id = mine.id
)
UPDATE game_states g SET owner_epoch = mine.owner_epoch
FROM mine WHERE g.room_id = mine.id
RETURNING g.room_id, g.owner_epoch, g.seq, g.unit_id, mine.taken_over
"""
_CLAIM_WAITING = _CLAIM.format(skip="")
_CLAIM_SKIPPING = _CLAIM.format(skip="SKIP LOCKED")
_LIVE = """
SELECT r.id FROM rooms r LEFT JOIN nodes n ON n.node_id = r.owner_node
WHERE r.status <> 'closed'
  AND (r.owner_node IS NULL OR r.owner_node = %(own)s OR n.node_id IS NULL
       OR n.lease_until <= now())
  AND (EXISTS (SELECT 1 FROM room_seats s WHERE s.room_id = r.id)
       OR EXISTS (SELECT 1 FROM room_spectators w WHERE w.room_id = r.id)
       OR EXISTS (SELECT 1 FROM waitlist q
                  WHERE q.table_id = r.id AND q.status IN ('waiting', 'called')))
"""
_OWNER = """
SELECT n.address FROM rooms r LEFT JOIN nodes n ON n.node_id = r.owner_node WHERE r.id = %s
"""
_LOST = "SELECT id FROM rooms WHERE id = ANY(%s) AND owner_node IS DISTINCT FROM %s"


class Claim(NamedTuple):
    """A room that is now ours: its epoch, where it stands, the unit that wrote it last.

    `taken_over`: another process had it before, or an earlier life of this node.
    """

    room_id: str
    epoch: int
    seq: int
    unit_id: int
    taken_over: bool


async def register(pool: Pool, node_id: str, address: str, lease_s: float) -> None:
    """Enter a node; when it was last alive stays as it was, for `claim` to reckon with."""
    values = {
        "node_id": node_id,
        "address": address,
        "lease_s": lease_s,
    }
    async with pool.connection() as conn:
        await conn.execute(_REGISTER, values)


async def renew(pool: Pool, node_id: str, lease_s: float) -> None:
    """Renew a node's lease."""
    async with pool.connection() as conn:
        await conn.execute(_RENEW, {"node_id": node_id, "lease_s": lease_s})


async def resign(pool: Pool, node_id: str) -> None:
    """End a node's lease, so that others may take its rooms at once."""
    async with pool.connection() as conn:
        await conn.execute(
            "UPDATE nodes SET renewed_at = now(), lease_until = now() WHERE node_id = %s",
            (node_id,),
        )


async def claim(
    pool: Pool,
    node_id: str,
    room_ids: Sequence[str],
    *,
    restarted: bool = False,
    skip_locked: bool = False,
) -> dict[str, Claim]:
    """Take rooms over in a new epoch; those that a living node owns are not in the answer.

    The time for which a room had no living owner counts against nobody's grace.

    Args:
        pool: the database.
        node_id: the node that takes.
        room_ids: the rooms.
        restarted: this node has just started, so that its own rooms were without it too.
        skip_locked: leave rooms out that somebody has locked just now.

    Raises:
        Unavailable: the database is away, or somebody has a room locked; nothing was taken.
    """
    values = {
        "node_id": node_id,
        "room_ids": list(room_ids),
        "restarted": restarted,
        "patience": f"{PATIENCE_MS}ms",
    }
    timeout_s = None if len(room_ids) == 1 else inf
    async with pool.connection(timeout_s=timeout_s) as conn:
        claim = _CLAIM_SKIPPING if skip_locked else _CLAIM_WAITING
        cursor = await conn.execute(claim, values)
        return {row[0]: Claim(*row) for row in await cursor.fetchall()}


async def live_rooms(pool: Pool, node_id: str | None) -> list[str]:
    """List open rooms with somebody in or waiting that no living node owns, or `node_id` owns."""
    async with pool.connection(read_only=True) as conn:
        cursor = await conn.execute(_LIVE, {"own": node_id})
        return [row[0] for row in await cursor.fetchall()]


async def owner_address(pool: Pool, room_id: str) -> str | None:
    """Return where a room's owner is reached, or None."""
    async with pool.connection(read_only=True) as conn:
        row = await (await conn.execute(_OWNER, (room_id,))).fetchone()
        return None if row is None else row[0]


async def lost_rooms(pool: Pool, node_id: str, room_ids: Sequence[str]) -> list[str]:
    """List those of the rooms that are not this node's any more."""
    async with pool.connection(read_only=True) as conn:
        cursor = await conn.execute(_LOST, (list(room_ids), node_id))
        return [row[0] for row in await cursor.fetchall()]
