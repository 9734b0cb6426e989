"""A room's books: what each player brought, won and took home, sitting by sitting."""

from msgspec import Struct
from psycopg.rows import dict_row

from persistence.pool import Pool

# Everything from the sitting's own account: what hands moved is won or lost, what went to the
# wallet is taken home, whatever else came (buy-in, top-ups, a host's adjustments) is brought.
# Bets of a running hand are on no account yet: they are still the player's until the hand ends.
_SITTINGS = """
SELECT s.display_name, s.user_id, to_ms(s.started_at) AS started_at, to_ms(s.ended_at) AS ended_at,
       coalesce(sum(l.amount) FILTER (WHERE l.kind NOT IN ('hand', 'cash_out')), 0)::bigint
           AS buy_in,
       -coalesce(sum(l.amount) FILTER (WHERE l.kind = 'cash_out'), 0)::bigint AS buy_out,
       coalesce(sum(l.amount), 0)::bigint AS stack
FROM sittings s
LEFT JOIN ledger_entries l
    ON l.room_id = s.room_id AND l.account = 'stack' AND l.sitting_id = s.id
WHERE s.room_id = %s
GROUP BY s.id
ORDER BY s.started_at, s.id
"""


class SittingLine(Struct, frozen=True, kw_only=True):
    """One sitting of one player; amounts in chips, times UTC in ms, `ended_at` None while it lasts.

    Args:
        buy_in: brought to the table: buy-in, top-ups, and the host's adjustments with their sign.
        buy_out: taken home.
        stack: still on the table, bets in a running hand included.
    """

    display_name: str
    user_id: str
    started_at: int
    ended_at: int | None
    buy_in: int
    buy_out: int
    stack: int

    @property
    def net(self) -> int:
        """What the player won (negative: lost) at the table."""
        return self.buy_out + self.stack - self.buy_in


async def sittings(pool: Pool, room_id: str) -> list[SittingLine]:
    """List a room's sittings in the order in which they began.

    Their nets and the rake that the house took sum to nothing.

    Raises:
        Unavailable: the database is away.
    """
    async with pool.connection(read_only=True) as conn:
        cursor = conn.cursor(row_factory=dict_row)
        await cursor.execute(_SITTINGS, (room_id,))
        return [SittingLine(**row) for row in await cursor.fetchall()]
