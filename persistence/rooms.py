"""Rooms as a whole: make one, list the lobby, find one by its code."""

import msgspec
from msgspec import to_builtins
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from persistence.errors import ConstraintViolated
from persistence.pool import Pool
from protocol.values import RoomSettings
from protocol.views import LobbyRoom

_SETTINGS = RoomSettings.__struct_fields__
_CODE_CONSTRAINT = "rooms_code_key"

_CREATE = f"""
WITH room AS (
    INSERT INTO rooms (id, code, host_id, created_at, owner_node, owner_epoch,
                       {", ".join(_SETTINGS)})
    VALUES (%(id)s, %(code)s, %(host_id)s, from_ms(%(now)s), %(node)s, 1,
            {", ".join(f"%({name})s" for name in _SETTINGS)})
    RETURNING id, created_at
), state AS (
    INSERT INTO game_states (room_id, seq, owner_epoch, current_state, updated_at)
    SELECT id, 0, 1, %(state)s::jsonb, created_at FROM room
), host AS (
    INSERT INTO room_players (room_id, user_id, display_name, status, requested_at, decided_at,
                              told_seq)
    SELECT id, %(host_id)s, %(host_name)s, 'approved', created_at, created_at, 0 FROM room
), done AS (
    INSERT INTO commands (command_id, user_id, room_id, type, outcome, at)
    SELECT %(command_id)s::uuid, %(host_id)s, id, 'create_room', '{{}}', created_at FROM room
    WHERE %(command_id)s::text IS NOT NULL
)
INSERT INTO audit_log (at, user_id, role, action, room_id, source, details)
SELECT created_at, %(host_id)s, %(role)s, 'create_room', id, %(source)s, '{{}}' FROM room
"""

_LOBBY = """
SELECT r.id, r.code, r.name, r.host_id, r.variant, r.small_blind, r.big_blind, r.ante,
       r.min_buy_in, r.max_buy_in, r.max_seats, r.status, r.requires_approval,
       r.spectators_allowed, r.is_private,
       (SELECT count(*) FROM room_seats s WHERE s.room_id = r.id) AS seats_taken,
       (SELECT count(*) FROM room_spectators w WHERE w.room_id = r.id) AS spectators
FROM rooms r
WHERE r.status <> 'closed'
  AND (NOT r.is_private OR r.host_id = %(user_id)s OR %(staff)s
       OR EXISTS (SELECT 1 FROM room_players m
                  WHERE m.room_id = r.id AND m.user_id = %(user_id)s AND m.status = 'approved'))
ORDER BY r.created_at DESC, r.id
LIMIT %(limit)s
"""


class CodeTaken(Exception):
    """Another room has this join code; try another one."""


async def create_room(
    pool: Pool,
    *,
    room_id: str,
    code: str,
    host_id: str,
    host_name: str,
    role: str,
    settings: RoomSettings,
    empty_state: bytes,
    node_id: str,
    now: int,
    source: str,
    command_id: str | None,
) -> None:
    """Make a room at seq 0, owned by a node in epoch 1; its host is its first member.

    Raises:
        CodeTaken: the code is another room's; nothing was written.
        ConstraintViolated: `commands_key`: the command was carried out before.
    """
    values = {
        **msgspec.structs.asdict(settings),
        "bomb_pot": None if settings.bomb_pot is None else Jsonb(to_builtins(settings.bomb_pot)),
        "id": room_id,
        "code": code,
        "host_id": host_id,
        "host_name": host_name,
        "role": role,
        "state": empty_state.decode(),
        "node": node_id,
        "now": now,
        "source": source,
        "command_id": command_id,
    }
    try:
        async with pool.connection() as conn:
            await conn.execute(_CREATE, values)
    except ConstraintViolated as error:
        if error.constraint == _CODE_CONSTRAINT:
            raise CodeTaken from None
        raise


async def list_rooms(pool: Pool, *, user_id: str, staff: bool, limit: int = 500) -> list[LobbyRoom]:
    """List open rooms, newest first: public ones, and private ones that the user may know of."""
    async with pool.connection(read_only=True) as conn:
        cursor = conn.cursor(row_factory=dict_row)
        await cursor.execute(_LOBBY, {"user_id": user_id, "staff": staff, "limit": limit})
        return [LobbyRoom(**row) for row in await cursor.fetchall()]


async def room_id_by_code(pool: Pool, code: str) -> str | None:
    """Find a room by its join code (in any case), or None."""
    async with pool.connection(read_only=True) as conn:
        cursor = await conn.execute("SELECT id FROM rooms WHERE code = %s", (code.upper(),))
        row = await cursor.fetchone()
        return None if row is None else row[0]


async def room_exists(pool: Pool, room_id: str) -> bool:
    """Say whether there is a room with this id."""
    async with pool.connection(read_only=True) as conn:
        cursor = await conn.execute("SELECT 1 FROM rooms WHERE id = %s", (room_id,))
        return await cursor.fetchone() is not None


async def room_id_by_game(pool: Pool, game_id: str) -> str | None:
    """Find the room of a game, or None."""
    async with pool.connection(read_only=True) as conn:
        cursor = await conn.execute("SELECT room_id FROM games WHERE id = %s", (game_id,))
        row = await cursor.fetchone()
        return None if row is None else row[0]
