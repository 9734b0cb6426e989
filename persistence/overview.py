"""The whole floor at a glance, for staff: every open table, who plays, who waits."""

import msgspec
from msgspec import Struct
from psycopg.rows import dict_row

from persistence.pool import Pool
from protocol.values import RoomStatus, SeatStatus, Variant

MAX_ROOMS = 1_000

_TABLES = """
SELECT r.id, r.code, r.name, r.host_id, r.variant, r.small_blind, r.big_blind, r.max_seats,
       r.status, r.is_private, to_ms(r.created_at) AS created_at,
       EXISTS (SELECT FROM hands h WHERE h.room_id = r.id AND h.ended_at IS NULL) AS in_hand,
       (SELECT coalesce(jsonb_agg(jsonb_build_object(
                   'user_id', s.user_id, 'display_name', s.display_name,
                   'seat_index', s.seat_index, 'chips', s.chips, 'status', s.status,
                   'connected', s.connected) ORDER BY s.seat_index), '[]')
        FROM room_seats s WHERE s.room_id = r.id) AS players,
       (SELECT count(*) FROM room_spectators w WHERE w.room_id = r.id) AS spectators,
       (SELECT count(*) FROM room_players m
        WHERE m.room_id = r.id AND m.status = 'pending') AS pending_requests,
       (SELECT count(*) FROM waitlist e
        WHERE e.table_id = r.id AND e.status IN ('waiting', 'called')) AS waitlist_length,
       count(*) OVER () AS of_all
FROM rooms r WHERE r.status <> 'closed'
ORDER BY r.created_at DESC, r.id
LIMIT %s
"""


class PlayerAtTable(Struct, frozen=True, kw_only=True):
    """Somebody with a seat; `chips` is the stack behind."""

    user_id: str
    display_name: str
    seat_index: int
    chips: int
    status: SeatStatus
    connected: bool


class TableOverview(Struct, frozen=True, kw_only=True):
    """An open room as staff see it from afar.

    `waitlist_length` counts who waits and who is called, `pending_requests` who asks to be let in.
    `created_at` is UTC in ms.
    """

    id: str
    code: str
    name: str
    host_id: str
    variant: Variant
    small_blind: int
    big_blind: int
    max_seats: int
    status: RoomStatus
    is_private: bool
    created_at: int
    in_hand: bool
    players: list[PlayerAtTable]
    spectators: int
    pending_requests: int
    waitlist_length: int


async def overview(pool: Pool) -> tuple[int, list[TableOverview]]:
    """Count the open rooms, and list them, newest first, `MAX_ROOMS` of them at most.

    Raises:
        Unavailable: the database is away.
    """
    async with pool.connection(read_only=True) as conn:
        cursor = conn.cursor(row_factory=dict_row)
        await cursor.execute(_TABLES, (MAX_ROOMS,))
        rows = await cursor.fetchall()
    total: int = rows[0]["of_all"] if rows else 0
    return total, msgspec.convert(rows, list[TableOverview])
