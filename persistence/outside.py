"""Writes from outside, as far as the server looks for them: which rooms and chats have some untold.

The rest is in 0003_club.sql and 0005_chat_outside.sql (how they come into an inbox), and in
`persistence.hydration` and `persistence.chats`.
"""

from persistence.pool import Pool

CHANNEL = "cardroom_outside"
"""Where the database tells the id of a room that was written to."""

CHATS_CHANNEL = "cardroom_chats"
"""Where the database tells the id of a chat session that was written to."""

_UNTOLD = """
SELECT DISTINCT o.room_id
FROM outside_writes o JOIN game_states g ON g.room_id = o.room_id JOIN rooms r ON r.id = o.room_id
LEFT JOIN nodes n ON n.node_id = r.owner_node
WHERE r.owner_node IS NULL OR r.owner_node = %s OR n.node_id IS NULL OR n.lease_until <= now()
"""


async def untold_rooms(pool: Pool, node_id: str) -> list[str]:
    """List the rooms with writes that nobody was told of, and that no other living node owns."""
    async with pool.connection(read_only=True) as conn:
        cursor = await conn.execute(_UNTOLD, (node_id,))
        return [row[0] for row in await cursor.fetchall()]


async def mend_waitlists(pool: Pool) -> None:
    """Put queues in order whose places have holes."""
    async with pool.connection() as conn:
        await conn.execute("SELECT mend_waitlists()")


async def standing(pool: Pool, room_id: str) -> tuple[int, int] | None:
    """Return a room's owner epoch and how many writes from outside it has had; None: no room."""
    async with pool.connection(read_only=True) as conn:
        cursor = await conn.execute(
            "SELECT owner_epoch, outside FROM game_states WHERE room_id = %s", (room_id,)
        )
        row = await cursor.fetchone()
        return None if row is None else (row[0], row[1])


async def untold_chats(pool: Pool) -> list[str]:
    """List the chat sessions with writes that nobody was told of, the first written to first."""
    async with pool.connection(read_only=True) as conn:
        cursor = await conn.execute(
            "SELECT session_id FROM outside_chat_writes GROUP BY session_id ORDER BY min(id)"
        )
        return [row[0] for row in await cursor.fetchall()]
