"""Chat sessions and their messages, read: a session as its actor holds it, histories, inboxes."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct
from psycopg.rows import dict_row

from game.chat import ChatState, Said, Unread
from persistence.pool import Pool
from protocol.values import ChatStatus
from protocol.views import ChatMessage, ChatSession

_SESSION = """
s.id, s.player_id, s.player_name, s.initial_message, s.status, s.assigned_staff,
s.assigned_staff_name, s.urgency, s.unread_by_player, s.unread_by_staff,
to_ms(s.created_at) AS created_at, to_ms(s.updated_at) AS updated_at,
to_ms(s.waiting_since) AS waiting_since, to_ms(s.first_reply_at) AS first_reply_at,
to_ms(s.last_message_at) AS last_message_at, to_ms(s.resolved_at) AS resolved_at, s.seq
"""
_MESSAGE = """
m.id, m.session_id, m.player_id, m.sender, m.sender_name, m.message_text,
to_ms(m."timestamp") AS "timestamp", m.seq, m.status
"""
_STATE = f"""
SELECT {_SESSION}, s.unit_id, s.outside,
       (SELECT coalesce(jsonb_agg(jsonb_build_array(m.id, m.seq, m.sender, m.status)
                                  ORDER BY m.seq), '[]')
        FROM chat_messages m
        WHERE m.session_id = s.id AND m.status <> 'read' AND m.seq IS NOT NULL) AS unread
FROM chat_sessions s WHERE s.id = %s
"""
_SAID = f"""
SELECT {_MESSAGE}, m.sender_id FROM chat_messages m
WHERE m.id = %s AND m.player_id = %s AND m.seq IS NOT NULL
"""
_PLACES = """
SELECT session_id, player_id FROM chat_messages
WHERE id = %(message_id)s AND (%(player_id)s::text IS NULL OR player_id = %(player_id)s)
ORDER BY "timestamp" DESC LIMIT 1
"""
_SAID_IN_SESSION = f"""
SELECT {_MESSAGE} FROM chat_messages m
WHERE m.session_id = %(of)s AND m.seq IS NOT NULL
  AND (%(before)s::text IS NULL OR m.seq <
       (SELECT b.seq FROM chat_messages b
        WHERE b.id = %(before)s AND b.session_id = m.session_id))
ORDER BY m.seq DESC
LIMIT %(limit)s
"""
# Of a player's sessions one is open at a time, so that time orders what was said in different ones.
_SAID_WITH_PLAYER = f"""
SELECT {_MESSAGE} FROM chat_messages m
WHERE m.player_id = %(of)s AND m.seq IS NOT NULL
  AND (%(before)s::text IS NULL OR (m."timestamp", m.session_id, m.seq) <
       (SELECT b."timestamp", b.session_id, b.seq FROM chat_messages b
        WHERE b.id = %(before)s AND b.player_id = m.player_id))
ORDER BY m."timestamp" DESC, m.session_id DESC, m.seq DESC
LIMIT %(limit)s
"""
_SESSIONS = f"""
SELECT {_SESSION} FROM chat_sessions s
WHERE (%(status)s::text IS NULL OR s.status = %(status)s)
  AND (%(player_id)s::text IS NULL OR s.player_id = %(player_id)s)
ORDER BY s.status = 'waiting' DESC, s.status = 'resolved',
         coalesce(s.last_message_at, s.created_at) DESC, s.id
LIMIT %(limit)s
"""
_SESSION_OF_PLAYER = f"""
SELECT {_SESSION} FROM chat_sessions s WHERE s.player_id = %s
ORDER BY s.status = 'resolved', s.created_at DESC LIMIT 1
"""


class StoredSession(NamedTuple):
    """A session as its actor holds it, and the unit that wrote it last."""

    state: ChatState
    unit_id: int


class CannedReply(Struct, frozen=True, kw_only=True):
    """A text that staff say by its `shortcut`, such as ``/hello``. Times are UTC in ms."""

    shortcut: str
    message_text: str
    created_by: str
    created_at: int
    updated_at: int


async def load_session(pool: Pool, session_id: str) -> StoredSession | None:
    """Read a session as its actor holds it; None if there is none.

    Raises:
        Unavailable: the database is away.
    """
    async with pool.connection(read_only=True) as conn:
        cursor = conn.cursor(row_factory=dict_row)
        await cursor.execute(_STATE, (session_id,))
        row = await cursor.fetchone()
    if row is None:
        return None
    unread = [Unread(*one) for one in row.pop("unread")]
    unit_id = row.pop("unit_id")
    for derived in ("unread_by_player", "unread_by_staff"):
        del row[derived]
    row["session_id"] = row.pop("id")
    state = ChatState(**row, unread={one.message_id: one for one in unread})
    return StoredSession(state, unit_id)


async def place_of(pool: Pool, session_id: str) -> tuple[int, int] | None:
    """Read the fence of a session: its seq, and how many wrote to it from outside.

    Raises:
        Unavailable: the database is away.
    """
    rows = await _rows(pool, "SELECT seq, outside FROM chat_sessions WHERE id = %s", (session_id,))
    return (rows[0]["seq"], rows[0]["outside"]) if rows else None


async def settle(pool: Pool, session_id: str, player_id: str) -> None:
    """Wait until no transaction is under way that writes to a session, or makes it.

    Raises:
        Unavailable: the database is away, or somebody holds the row for too long.
    """
    async with pool.connection() as conn, conn.transaction(force_rollback=True):
        # One that makes the session has it in the key already: this waits for its end.
        await conn.execute(
            "INSERT INTO chat_sessions (id, player_id, player_name) VALUES (%s, %s, '-') "
            "ON CONFLICT DO NOTHING",
            (session_id, player_id),
        )
        await conn.execute("SELECT FROM chat_sessions WHERE id = %s FOR UPDATE", (session_id,))


async def read_session(pool: Pool, session_id: str) -> ChatSession | None:
    """Read a session as it is shown."""
    rows = await _rows(
        pool, f"SELECT {_SESSION} FROM chat_sessions s WHERE s.id = %s", (session_id,)
    )
    return msgspec.convert(rows[0], ChatSession) if rows else None


async def open_session_of(pool: Pool, player_id: str) -> str | None:
    """Find a player's open session."""
    rows = await _rows(
        pool,
        "SELECT id FROM chat_sessions WHERE player_id = %s AND status <> 'resolved'",
        (player_id,),
    )
    return rows[0]["id"] if rows else None


async def latest_session_of(pool: Pool, player_id: str) -> ChatSession | None:
    """Read a player's open session, or else their last one."""
    rows = await _rows(pool, _SESSION_OF_PLAYER, (player_id,))
    return msgspec.convert(rows[0], ChatSession) if rows else None


async def session_of_message(pool: Pool, message_id: str, player_id: str | None) -> str | None:
    """Find the session of a message, among those of a player if one is given."""
    values = {"message_id": message_id, "player_id": player_id}
    rows = await _rows(pool, _PLACES, values)
    return rows[0]["session_id"] if rows else None


async def find_said(pool: Pool, message_id: str, player_id: str) -> Said | None:
    """Read a message in a player's conversations by its id."""
    rows = await _rows(pool, _SAID, (message_id, player_id))
    if not rows:
        return None
    sender_id = rows[0].pop("sender_id")
    return Said(msgspec.convert(rows[0], ChatMessage), sender_id)


async def said_in_session(
    pool: Pool, session_id: str, before: str | None, limit: int
) -> tuple[list[ChatMessage], bool]:
    """Read the last messages of a session, or the last before one of them.

    Returns:
        At most `limit` messages, newest last, and whether there are older ones; none before an
        unknown one.
    """
    return await _page(pool, _SAID_IN_SESSION, session_id, before, limit)


async def said_with_player(
    pool: Pool, player_id: str, before: str | None, limit: int
) -> tuple[list[ChatMessage], bool]:
    """Read the last messages of all that a player and staff have said, as `said_in_session`."""
    return await _page(pool, _SAID_WITH_PLAYER, player_id, before, limit)


async def list_sessions(
    pool: Pool, *, status: ChatStatus | None, player_id: str | None, limit: int
) -> list[ChatSession]:
    """List sessions: those that wait, those in work, resolved ones; the last to be written in
    first."""
    values = {"status": status, "player_id": player_id, "limit": limit}
    return msgspec.convert(await _rows(pool, _SESSIONS, values), list[ChatSession])


async def count_waiting(pool: Pool) -> int:
    """Count the sessions that wait for staff."""
    rows = await _rows(pool, "SELECT count(*) AS n FROM chat_sessions WHERE status = 'waiting'", ())
    waiting: int = rows[0]["n"]
    return waiting


async def name_of_staff(pool: Pool, user_id: str) -> str | None:
    """Say how somebody of the staff is called; None for who has not come in as staff."""
    rows = await _rows(pool, "SELECT name FROM club_staff WHERE user_id = %s", (user_id,))
    return rows[0]["name"] if rows else None


async def name_of_player(pool: Pool, user_id: str) -> str:
    """Say how a player is called, by their wallet; by their id if they never came in."""
    rows = await _rows(pool, "SELECT name FROM wallets WHERE user_id = %s", (user_id,))
    return rows[0]["name"] if rows else user_id


async def canned_replies(pool: Pool) -> list[CannedReply]:
    """List the canned replies by their shortcuts."""
    rows = await _rows(
        pool,
        "SELECT shortcut, message_text, created_by, to_ms(created_at) AS created_at, "
        "to_ms(updated_at) AS updated_at FROM canned_replies ORDER BY shortcut",
        (),
    )
    return msgspec.convert(rows, list[CannedReply])


async def canned_text(pool: Pool, shortcut: str) -> str | None:
    """Find what a shortcut stands for."""
    rows = await _rows(
        pool, "SELECT message_text FROM canned_replies WHERE shortcut = %s", (shortcut,)
    )
    return rows[0]["message_text"] if rows else None


async def put_canned_reply(pool: Pool, shortcut: str, text: str, by: str) -> CannedReply:
    """Keep a canned reply, in place of the one that the shortcut had."""
    rows = await _rows(
        pool,
        "INSERT INTO canned_replies (shortcut, message_text, created_by) VALUES (%s, %s, %s) "
        "ON CONFLICT (shortcut) DO UPDATE SET message_text = EXCLUDED.message_text, "
        "updated_at = now() RETURNING shortcut, message_text, created_by, "
        "to_ms(created_at) AS created_at, to_ms(updated_at) AS updated_at",
        (shortcut, text, by),
        read_only=False,
    )
    return msgspec.convert(rows[0], CannedReply)


async def remove_canned_reply(pool: Pool, shortcut: str) -> bool:
    """Forget a canned reply; False if there was none."""
    rows = await _rows(
        pool,
        "DELETE FROM canned_replies WHERE shortcut = %s RETURNING shortcut",
        (shortcut,),
        read_only=False,
    )
    return bool(rows)


async def _page(
    pool: Pool, query: str, of: str, before: str | None, limit: int
) -> tuple[list[ChatMessage], bool]:
    rows = await _rows(pool, query, {"of": of, "before": before, "limit": limit + 1})
    found = msgspec.convert(rows[:limit], list[ChatMessage])
    return found[::-1], len(rows) > limit


async def _rows(
    pool: Pool,
    query: str,
    values: tuple[object, ...] | Mapping[str, object],
    *,
    read_only: bool = True,
) -> list[dict[str, Any]]:
    async with pool.connection(read_only=read_only) as conn:
        cursor = conn.cursor(row_factory=dict_row)
        await cursor.execute(query.encode(), values)
        return await cursor.fetchall()
