"""The outbox of push notifications: rows are claimed, and what became of them is noted.

Whoever claims a row has it until its lease is over: `next_attempt_at` is when somebody else may
try. So a server that dies while it sends leaves a row that is sent again, under the same id, which
is the provider's idempotency key. Times are UTC in milliseconds on the servers' clocks.
"""

from collections.abc import Sequence
from typing import Any, Literal
from uuid import UUID

from msgspec import Struct
from psycopg.rows import class_row

from persistence.pool import Pool
from protocol.values import PushKind

MAX_AGE_MS = 24 * 60 * 60 * 1000
"""What could not be delivered for so long is not worth it any more."""
BURY_AT_ONCE = 1000

NOT_CONFIGURED = "not_configured"
NO_RECIPIENTS = "no_recipients"
EXPIRED = "expired"
TOO_OLD = "too_old"

Buried = Literal["dead", "skipped"]
Finished = Literal["sent", "dead", "skipped"]

# The order of the reasons is the order in which they count.
_BURY = """
WITH due AS (
    SELECT id, CASE WHEN NOT %(configured)s THEN 'not_configured'
                    WHEN cardinality(recipients) = 0 THEN 'no_recipients'
                    WHEN expires_at <= from_ms(%(now)s) THEN 'expired'
                    ELSE 'too_old' END AS reason
    FROM push_notifications
    WHERE status = 'pending' AND next_attempt_at <= from_ms(%(now)s)
      AND (NOT %(configured)s OR cardinality(recipients) = 0
           OR expires_at <= from_ms(%(now)s) OR created_at <= from_ms(%(too_old)s))
    ORDER BY next_attempt_at LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
)
UPDATE push_notifications p
SET status = CASE WHEN due.reason IN ('expired', 'too_old') THEN 'dead' ELSE 'skipped' END,
    -- How the last attempt failed says more than that there were no more of them.
    last_error = CASE WHEN p.last_error IS NULL THEN due.reason
                      ELSE due.reason || '; before: ' || p.last_error END,
    finished_at = from_ms(%(now)s)
FROM due WHERE p.id = due.id
RETURNING p.status, due.reason
"""
_CLAIM = """
WITH due AS (
    SELECT id FROM push_notifications
    WHERE status = 'pending' AND next_attempt_at <= from_ms(%(now)s)
      AND cardinality(recipients) > 0
      AND (expires_at IS NULL OR expires_at > from_ms(%(now)s))
      AND created_at > from_ms(%(too_old)s)
    ORDER BY next_attempt_at LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
)
UPDATE push_notifications p
SET attempts = p.attempts + 1, next_attempt_at = from_ms(%(now)s + %(lease)s)
FROM due WHERE p.id = due.id
RETURNING p.id, p.kind, p.recipients, p.title, p.body, p.data, p.attempts,
          to_ms(p.expires_at) AS expires_at
"""
# Delivered is delivered, even if the lease was over by then; everything else is the word of whoever
# has the row now.
_FINISH = """
UPDATE push_notifications
SET status = %(status)s, last_error = %(error)s, provider_id = %(provider_id)s,
    finished_at = from_ms(%(now)s)
WHERE id = %(id)s AND status = 'pending' AND (%(status)s = 'sent' OR attempts = %(attempts)s)
"""
# Not beyond the moment in which the row is to be given up.
_RETRY = """
UPDATE push_notifications
SET last_error = %(error)s,
    next_attempt_at = least(from_ms(%(at)s), expires_at, created_at + %(max_age)s * interval '1 ms')
WHERE id = %(id)s AND status = 'pending' AND attempts = %(attempts)s
"""
_STANDING = """
SELECT count(*) AS waiting, to_ms(min(created_at)) AS oldest_at
FROM push_notifications WHERE status = 'pending'
"""
_COUNTS = """
SELECT count(*) FILTER (WHERE status = 'pending') AS pending,
       count(*) FILTER (WHERE status = 'sent') AS sent,
       count(*) FILTER (WHERE status = 'dead') AS dead,
       count(*) FILTER (WHERE status = 'skipped') AS skipped
FROM push_notifications
"""


class Notification(Struct, frozen=True, kw_only=True):
    """A claimed row; `attempts` counts this one. `data` goes along for the app."""

    id: UUID
    kind: PushKind
    recipients: list[str]
    title: str
    body: str
    data: dict[str, Any]
    """Whatever belongs to the kind."""
    attempts: int
    expires_at: int | None


class PushStanding(Struct, frozen=True):
    """How many rows wait, and since when the oldest does (None: none does)."""

    waiting: int
    oldest_at: int | None


class PushCounts(Struct, frozen=True):
    """How many rows there are of each status, of those still kept."""

    pending: int
    sent: int
    dead: int
    skipped: int


async def bury(pool: Pool, *, configured: bool, now: int) -> Sequence[tuple[Buried, str]]:
    """Give up those due rows that are not to be sent: `BURY_AT_ONCE` of them at most.

    Dead: what has expired or is older than `MAX_AGE_MS`. Skipped: what is for nobody, and
    everything where no provider is configured.

    Returns:
        The status and the reason of each row given up.

    Raises:
        Unavailable: nothing was given up, or perhaps it was.
    """
    values = {
        "configured": configured,
        "now": now,
        "too_old": now - MAX_AGE_MS,
        "limit": BURY_AT_ONCE,
    }
    async with pool.connection() as conn:
        return [(row[0], row[1]) for row in await (await conn.execute(_BURY, values)).fetchall()]


async def claim(pool: Pool, *, limit: int, lease_ms: int, now: int) -> Sequence[Notification]:
    """Take up to `limit` due rows for `lease_ms`; nobody else gets them meanwhile.

    Raises:
        Unavailable: none were taken, or they are due again after the lease.
    """
    values = {"limit": limit, "lease": lease_ms, "now": now, "too_old": now - MAX_AGE_MS}
    async with pool.connection() as conn:
        cursor = conn.cursor(row_factory=class_row(Notification))
        await cursor.execute(_CLAIM, values)
        return await cursor.fetchall()


async def finish(
    pool: Pool,
    row: Notification,
    status: Finished,
    *,
    error: str | None,
    provider_id: str | None,
    now: int,
) -> None:
    """Note that a claimed row is done with. One that somebody else has by now is left to them,
    unless it was sent.

    Raises:
        Unavailable: it was not noted, or perhaps it was; calling again is harmless.
    """
    values = {
        "id": row.id,
        "attempts": row.attempts,
        "status": status,
        "error": error,
        "provider_id": provider_id,
        "now": now,
    }
    async with pool.connection() as conn:
        await conn.execute(_FINISH, values)


async def retry(pool: Pool, row: Notification, *, error: str, at: int) -> None:
    """Note that a claimed row is to be tried again from `at` on, and why.

    Raises:
        Unavailable: it was not noted, or perhaps it was; calling again is harmless.
    """
    values = {
        "id": row.id,
        "attempts": row.attempts,
        "error": error,
        "at": at,
        "max_age": MAX_AGE_MS,
    }
    async with pool.connection() as conn:
        await conn.execute(_RETRY, values)


async def standing(pool: Pool) -> PushStanding:
    """Say what waits; rows that are being sent count."""
    async with pool.connection(read_only=True) as conn:
        cursor = conn.cursor(row_factory=class_row(PushStanding))
        await cursor.execute(_STANDING)
        (found,) = await cursor.fetchall()
        return found


async def next_due(pool: Pool) -> int | None:
    """Say when the next row is due, or due again; None where none waits."""
    async with pool.connection(read_only=True) as conn:
        cursor = await conn.execute(
            "SELECT to_ms(min(next_attempt_at)) FROM push_notifications WHERE status = 'pending'"
        )
        (found,) = await cursor.fetchall()
        at: int | None = found[0]
        return at


async def counts(pool: Pool) -> PushCounts:
    """Count the rows by status."""
    async with pool.connection(read_only=True) as conn:
        cursor = conn.cursor(row_factory=class_row(PushCounts))
        await cursor.execute(_COUNTS)
        (found,) = await cursor.fetchall()
        return found


async def forget_finished(pool: Pool, before: int) -> None:
    """Delete the rows that were done with before a time."""
    async with pool.connection() as conn:
        await conn.execute(
            "DELETE FROM push_notifications WHERE created_at < from_ms(%(before)s) "
            "AND status <> 'pending' AND finished_at < from_ms(%(before)s)",
            {"before": before},
        )
