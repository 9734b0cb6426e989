"""Waitlists as they are stored, ended entries included; to change them is for the rooms' actors."""

from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET, structs
from psycopg.rows import dict_row

from persistence.pool import Pool
from protocol.views import WaitlistEntry

HISTORY_LIMIT = 200
"""Most entries of one player that are read, newest first."""

_ENTRY = """
SELECT id, table_id, player_id, player_name, has_client, seat_number, position, game_type,
       min_buy_in, max_buy_in, status, source, notes, seat_index, to_ms(called_at) AS called_at,
       to_ms(expires_at) AS expires_at, to_ms(created_at) AS created_at,
       to_ms(updated_at) AS updated_at
FROM waitlist
"""
_OF_PLAYER = _ENTRY + " WHERE player_id = %s ORDER BY created_at DESC, id DESC LIMIT %s"
# Derived: while two write at once, the places as stored may have a hole.
_PLACE = "(row_number() OVER (ORDER BY position, created_at, id))::integer AS position"
_OF_TABLE = (
    _ENTRY.replace(" position,", f" {_PLACE},")
    + " WHERE table_id = %s AND status IN ('waiting', 'called')"
    " ORDER BY waitlist.position, waitlist.created_at, id"
)


class TableQueue(NamedTuple):
    """A table's queue, first in line first, and who its host is."""

    host_id: str
    entries: list[WaitlistEntry]


async def table_of_entry(pool: Pool, entry_id: str) -> str | None:
    """Return the table that an entry, live or ended, is of.

    Raises:
        Unavailable: the database is away.
    """
    async with pool.connection(read_only=True) as conn:
        cursor = await conn.execute("SELECT table_id FROM waitlist WHERE id = %s", (entry_id,))
        row = await cursor.fetchone()
        return None if row is None else row[0]


async def queue_of(pool: Pool, table_id: str) -> TableQueue | None:
    """Read a table's queue, or None if there is no such table.

    Raises:
        Unavailable: the database is away.
    """
    async with pool.transaction(read_only=True) as conn:
        host = await (
            await conn.execute("SELECT host_id FROM rooms WHERE id = %s", (table_id,))
        ).fetchone()
        if host is None:
            return None
        rows = await conn.cursor(row_factory=dict_row).execute(_OF_TABLE, (table_id,))
        return TableQueue(host[0], [_entry(row) for row in await rows.fetchall()])


async def entries_of(pool: Pool, player_id: str) -> list[WaitlistEntry]:
    """List a player's entries at all tables, newest first.

    Raises:
        Unavailable: the database is away.
    """
    async with pool.connection(read_only=True) as conn:
        cursor = conn.cursor(row_factory=dict_row)
        rows = await cursor.execute(_OF_PLAYER, (player_id, HISTORY_LIMIT))
        return [_entry(row) for row in await rows.fetchall()]


async def name_of(pool: Pool, user_id: str) -> str | None:
    """Return the name that a user has in the club.

    Raises:
        Unavailable: the database is away.
    """
    async with pool.connection(read_only=True) as conn:
        cursor = await conn.execute("SELECT name FROM wallets WHERE user_id = %s", (user_id,))
        row = await cursor.fetchone()
        return None if row is None else row[0]


def without_notes(entries: list[WaitlistEntry]) -> list[WaitlistEntry]:
    """Return entries as those see them who do not run the room."""
    return [structs.replace(entry, notes=UNSET) for entry in entries]


def _entry(row: dict[str, Any]) -> WaitlistEntry:
    return msgspec.convert(row, WaitlistEntry)
