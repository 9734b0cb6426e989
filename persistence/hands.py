"""Finished hands, as they were played: for histories.

A stored hand still has its deck and everybody's cards. Whoever tells of it goes through
`game.poker.history`.
"""

from collections.abc import AsyncIterator

from msgspec import Struct
from psycopg import IsolationLevel
from psycopg.rows import dict_row

from game.poker.hand import Hand, HandSetup, ReplayMismatch, TakenAction
from game.poker.history import Particulars
from persistence.hydration import ACTIONS, PLAYERS, SETUP_COLUMNS, by_hand, rows, setup_of
from persistence.pool import Connection, Pool

BATCH = 100
"""How many hands an export holds in memory at once."""

_SNAPSHOT = IsolationLevel.REPEATABLE_READ
_ABOUT = ("room_id", "table", "seat_count", "started_at", "ended_at")

_FINISHED = f"""
SELECT {SETUP_COLUMNS}, h.runouts, h.room_id, r.code, r.name AS table, r.max_seats AS seat_count,
       to_ms(h.started_at) AS started_at, to_ms(h.ended_at) AS ended_at
FROM hands h JOIN rooms r ON r.id = h.room_id
WHERE h.ended_at IS NOT NULL
"""
_ONE = f"{_FINISHED} AND h.room_id = %(room_id)s AND h.number = %(number)s"
_PAGE = f"""{_FINISHED}
  AND h.room_id = %(room_id)s
  AND (%(before)s::integer IS NULL OR h.number < %(before)s)
  AND (%(player)s::text IS NULL
       OR EXISTS (SELECT FROM players p WHERE p.hand_id = h.id AND p.user_id = %(player)s))
ORDER BY h.number DESC
LIMIT %(limit)s
"""
_NEXT = f"""{_FINISHED}
  AND (%(room_id)s::text IS NULL OR h.room_id = %(room_id)s)
  AND (%(since)s::bigint IS NULL OR h.started_at >= from_ms(%(since)s))
  AND (%(until)s::bigint IS NULL OR h.started_at < from_ms(%(until)s))
  AND (%(after_room)s::text IS NULL
       OR (h.room_id, h.number) > (%(after_room)s, %(after_number)s::integer))
ORDER BY h.room_id, h.number
LIMIT %(limit)s
"""
# What a player was called: by the sitting during which the hand began.
_NAMES = """
SELECT p.hand_id, p.seat_index, s.display_name
FROM players p JOIN hands h ON h.id = p.hand_id
CROSS JOIN LATERAL (
    SELECT display_name FROM sittings
    WHERE room_id = h.room_id AND user_id = p.user_id AND started_at <= h.started_at
    ORDER BY started_at DESC LIMIT 1
) s
WHERE p.hand_id = ANY(%s)
"""
_PLAYED = "SELECT 1 FROM players WHERE user_id = %s AND room_id = %s LIMIT 1"
_RUNNING = "SELECT 1 FROM hands WHERE room_id = %s AND number = %s AND ended_at IS NULL"


class FinishedHand(Struct, frozen=True, kw_only=True):
    """A finished hand whole, its secrets included; `code` is its room's join code.

    `runouts` is how often the board was run out, None where that was no choice.
    """

    code: str
    setup: HandSetup
    actions: list[TakenAction]
    runouts: int | None
    about: Particulars

    @property
    def name(self) -> str:
        """What a file of it is called, without an ending."""
        return f"{self.code}-{self.setup.number}"

    def replay(self) -> Hand:
        """Play it again; takes about a millisecond.

        Raises:
            ReplayMismatch: the rows contradict each other. It names no card.
        """
        try:
            hand = Hand.replay(self.setup, self.actions, self.runouts)
        except (KeyError, ValueError) as error:
            reason = type(error).__name__
            raise ReplayMismatch(f"hand {self.setup.hand_id} cannot begin: {reason}") from None
        if not hand.finished:
            raise ReplayMismatch(f"hand {self.setup.hand_id} does not end with its last action")
        return hand


async def finished_hand(pool: Pool, room_id: str, number: int) -> FinishedHand | None:
    """Read one finished hand; None if there is none with this number, or it still runs.

    Raises:
        Unavailable: the database is away.
    """
    async with pool.transaction(isolation=_SNAPSHOT, read_only=True) as conn:
        found = await _read(conn, _ONE, {"room_id": room_id, "number": number})
    return found[0] if found else None


async def finished_hands(
    pool: Pool, room_id: str, *, player: str | None, before: int | None, limit: int
) -> list[FinishedHand]:
    """Read a room's finished hands, newest first.

    Args:
        pool: the database.
        room_id: the room.
        player: only hands in which this user was a player; None for all.
        before: only hands with a lower number.
        limit: how many at most.

    Raises:
        Unavailable: the database is away.
    """
    values: dict[str, object] = {
        "room_id": room_id,
        "player": player,
        "before": before,
        "limit": limit,
    }
    async with pool.transaction(isolation=_SNAPSHOT, read_only=True) as conn:
        return await _read(conn, _PAGE, values)


async def all_finished_hands(
    conn: Connection, *, room_id: str | None, since: int | None, until: int | None
) -> AsyncIterator[FinishedHand]:
    """Read finished hands by room and number, `BATCH` at a time.

    Args:
        conn: in a transaction whose snapshot all batches share.
        room_id: only this room's; None for all.
        since: only hands that began then or later, UTC in ms.
        until: only hands that began before.
    """
    values: dict[str, object] = {
        "room_id": room_id,
        "since": since,
        "until": until,
        "after_room": None,
        "after_number": None,
        "limit": BATCH,
    }
    while batch := await _read(conn, _NEXT, values):
        for hand in batch:
            yield hand
        last = batch[-1]
        values |= {"after_room": last.about.room_id, "after_number": last.setup.number}


async def is_running(pool: Pool, room_id: str, number: int) -> bool:
    """Say whether a hand has begun and not ended."""
    async with pool.connection(read_only=True) as conn:
        cursor = await conn.execute(_RUNNING, (room_id, number))
        return await cursor.fetchone() is not None


async def has_played(pool: Pool, user_id: str, room_id: str) -> bool:
    """Say whether a user was ever a player in a hand of a room."""
    async with pool.connection(read_only=True) as conn:
        cursor = await conn.execute(_PLAYED, (user_id, room_id))
        return await cursor.fetchone() is not None


async def _read(conn: Connection, query: str, values: dict[str, object]) -> list[FinishedHand]:
    cursor = conn.cursor(row_factory=dict_row)
    await cursor.execute(query.encode(), values)
    found = await cursor.fetchall()
    ids = [row["hand_id"] for row in found]
    players = by_hand(await rows(conn, PLAYERS, ids))
    actions = by_hand(await rows(conn, ACTIONS, ids))
    names = by_hand(await rows(conn, _NAMES, ids))
    return [
        FinishedHand(
            code=row.pop("code"),
            runouts=row.pop("runouts"),
            about=Particulars(
                **{name: row.pop(name) for name in _ABOUT},
                names={n["seat_index"]: n["display_name"] for n in names[row["hand_id"]]},
            ),
            setup=setup_of(row, players[row["hand_id"]]),
            actions=[TakenAction(**action) for action in actions[row["hand_id"]]],
        )
        for row in found
    ]
