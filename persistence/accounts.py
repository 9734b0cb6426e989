"""Wallets: made on first sight, credited by staff, shown to their owners; and the audit log.

Chips only ever move in pairs of ledger entries that sum to nothing. What enters or leaves a wallet
from outside the club comes from, or goes to, the bank account.
"""

import uuid
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct
from psycopg.rows import dict_row

from persistence.errors import ConstraintViolated
from persistence.pool import Connection, Pool
from protocol.errors import ErrorCode, Refused
from protocol.principal import Principal
from protocol.values import MAX_CHIPS, RoomRole

CREDIT_COMMAND = "credit_wallet"
_OVERDRAFT = "wallets_balance_check"

# The update sees the wallets as they were before the statement: it never touches the new row.
_ENSURE = """
WITH made AS (
    INSERT INTO wallets (user_id, name, balance, created_at)
    VALUES (%(user_id)s, %(name)s, %(balance)s, from_ms(%(now)s))
    ON CONFLICT (user_id) DO NOTHING
    RETURNING user_id, created_at
), renamed AS (
    UPDATE wallets SET name = %(name)s WHERE user_id = %(user_id)s AND name <> %(name)s
), employed AS (
    INSERT INTO club_staff (user_id, name, seen_at)
    SELECT %(user_id)s, %(name)s, from_ms(%(now)s) WHERE %(staff)s::boolean
    ON CONFLICT (user_id) DO UPDATE SET name = EXCLUDED.name, seen_at = EXCLUDED.seen_at
), dismissed AS (
    DELETE FROM club_staff WHERE user_id = %(user_id)s AND NOT %(staff)s::boolean
)
INSERT INTO ledger_entries (transfer_id, account, user_id, amount, kind, at)
SELECT 'starting_balance:' || made.user_id, side.account,
       CASE side.account WHEN 'wallet' THEN made.user_id END, side.amount, 'starting_balance',
       made.created_at
FROM made, (VALUES ('bank', -%(balance)s::bigint), ('wallet', %(balance)s::bigint))
           AS side (account, amount)
WHERE side.amount <> 0
"""
# Users whose wallet is as it should be; of those whose role is known, none that ever was staff.
_KNOWN = """
SELECT asked.n
FROM unnest(%(users)s::text[], %(names)s::text[], %(not_staff)s::boolean[]) WITH ORDINALITY
         AS asked (user_id, name, not_staff, n)
JOIN wallets w ON w.user_id = asked.user_id AND w.name = asked.name
WHERE NOT (asked.not_staff
           AND EXISTS (SELECT FROM club_staff s WHERE s.user_id = asked.user_id))
"""
_DONE_BEFORE = """
SELECT type, outcome FROM commands WHERE command_id = %(command_id)s::uuid AND user_id = %(by)s
"""
_MOVE = """
UPDATE wallets SET balance = balance + %(amount)s WHERE user_id = %(user_id)s RETURNING balance
"""
_CREDIT = """
WITH done AS (
    INSERT INTO commands (command_id, user_id, type, outcome, at)
    SELECT %(command_id)s::uuid, %(by)s, %(type)s, %(outcome)s::jsonb, from_ms(%(now)s)
    WHERE %(command_id)s::text IS NOT NULL
), audited AS (
    INSERT INTO audit_log (at, user_id, role, action, subject_id, source, details)
    VALUES (from_ms(%(now)s), %(by)s, %(role)s, %(type)s, %(user_id)s, %(source)s,
            %(details)s::jsonb)
)
INSERT INTO ledger_entries (transfer_id, account, user_id, amount, kind, reason, at)
VALUES (%(transfer_id)s, 'bank', NULL, -%(amount)s::bigint, %(kind)s, %(reason)s,
        from_ms(%(now)s)),
       (%(transfer_id)s, 'wallet', %(user_id)s, %(amount)s::bigint, %(kind)s, %(reason)s,
        from_ms(%(now)s))
"""
_LEDGER = """
SELECT id, account, room_id, hand_id, amount, kind, reason, to_ms(at) AS at
FROM ledger_entries
WHERE user_id = %(user_id)s AND account IN ('wallet', 'stack')
  AND (%(before)s::bigint IS NULL OR id < %(before)s)
ORDER BY id DESC
LIMIT %(limit)s
"""
_ROOMS_OF = """
SELECT r.id, r.code, r.name, s.seat_index,
       CASE WHEN r.host_id = %(user_id)s THEN 'host'
            WHEN s.user_id IS NOT NULL THEN 'player'
            WHEN w.user_id IS NOT NULL THEN 'spectator'
            ELSE m.status END AS role
FROM rooms r
LEFT JOIN room_players m
    ON m.room_id = r.id AND m.user_id = %(user_id)s AND m.status IN ('approved', 'pending')
LEFT JOIN room_seats s ON s.room_id = r.id AND s.user_id = %(user_id)s
LEFT JOIN room_spectators w ON w.room_id = r.id AND w.user_id = %(user_id)s
WHERE r.status <> 'closed'
  AND r.id IN (SELECT room_id FROM room_players WHERE user_id = %(user_id)s
               UNION SELECT room_id FROM room_seats WHERE user_id = %(user_id)s
               UNION SELECT room_id FROM room_spectators WHERE user_id = %(user_id)s)
  AND (r.host_id = %(user_id)s OR m.status IS NOT NULL OR s.user_id IS NOT NULL
       OR w.user_id IS NOT NULL)
ORDER BY r.created_at DESC, r.id
"""
_AUDIT = """
SELECT id, to_ms(at) AS at, user_id, role, action, room_id, subject_id, source, details
FROM audit_log
WHERE (%(user_id)s::text IS NULL OR user_id = %(user_id)s)
  AND (%(subject_id)s::text IS NULL OR subject_id = %(subject_id)s)
  AND (%(room_id)s::text IS NULL OR room_id = %(room_id)s)
  AND (%(action)s::text IS NULL OR action = %(action)s)
  AND (%(before)s::bigint IS NULL OR id < %(before)s)
ORDER BY id DESC
LIMIT %(limit)s
"""


class LedgerLine(Struct, frozen=True, kw_only=True):
    """One side of a transfer, on the user's wallet or on a stack of theirs. `at` is UTC in ms.

    `amount` is what the account gained (negative: lost).
    """

    id: int
    account: str
    amount: int
    kind: str
    reason: str | None
    room_id: str | None
    hand_id: str | None
    at: int


class RoomOfUser(Struct, frozen=True, kw_only=True):
    """An open room that a user is in; `seat_index` None without a seat."""

    id: str
    code: str
    name: str
    role: RoomRole
    seat_index: int | None


class AuditLine(Struct, frozen=True, kw_only=True):
    """Who (`user_id`) did what to whom (`subject_id`), when (UTC in ms) and from where."""

    id: int
    at: int
    user_id: str
    role: str
    action: str
    room_id: str | None
    subject_id: str | None
    source: str
    details: dict[str, Any]
    """Whatever belongs to the action."""


class AuditFilters(Struct, frozen=True, kw_only=True):
    """Which lines of the audit log: all that agree with every filter that is not None.

    `before` is the id of a line: only older ones. `limit` is the most that come back.
    """

    user_id: str | None = None
    subject_id: str | None = None
    room_id: str | None = None
    action: str | None = None
    before: int | None = None
    limit: int = 100


class Newcomer(NamedTuple):
    """Somebody as they authenticated; `staff` is None where their role was not told."""

    user_id: str
    name: str
    staff: bool | None


async def are_known(pool: Pool, users: Sequence[Newcomer]) -> list[bool]:
    """Say of each whether `ensure_wallet` would change nothing; never of staff.

    Raises:
        Unavailable: the database is away.
    """
    values = {
        "users": [one.user_id for one in users],
        "names": [one.name for one in users],
        "not_staff": [one.staff is False for one in users],
    }
    async with pool.connection(read_only=True) as conn:
        cursor = await conn.execute(_KNOWN, values, prepare=True)
        found = {row[0] for row in await cursor.fetchall()}
    return [n in found and not one.staff for n, one in enumerate(users, 1)]


async def ensure_wallet(
    pool: Pool,
    user_id: str,
    name: str,
    starting_balance: int,
    now: int,
    *,
    staff: bool | None = None,
) -> None:
    """Make a user's wallet unless there is one, and keep its name the current one.

    The starting balance comes from the bank, once, however many calls run at the same time.

    Args:
        pool: connections.
        user_id: whose.
        name: what other people see.
        starting_balance: chips, 0 or more.
        now: UTC in ms.
        staff: whether the user is of the staff, who get push notifications; None: not known.

    Raises:
        Unavailable: nothing was made, or (`OutcomeUnknown`) perhaps; calling again is harmless.

    Cancellation is atomic: all or nothing was written.
    """
    values = {
        "user_id": user_id,
        "name": name,
        "balance": starting_balance,
        "now": now,
        "staff": staff,
    }
    async with pool.connection() as conn:
        await conn.execute(_ENSURE, values)


async def balance(pool: Pool, user_id: str) -> int | None:
    """Return the chips in a user's wallet, None where there is no wallet."""
    async with pool.connection(read_only=True) as conn:
        cursor = await conn.execute("SELECT balance FROM wallets WHERE user_id = %s", (user_id,))
        row = await cursor.fetchone()
        return None if row is None else row[0]


async def credit(
    pool: Pool,
    *,
    by: Principal,
    user_id: str,
    amount: int,
    reason: str,
    command_id: str | None,
    source: str,
    now: int,
) -> int:
    """Move chips from the bank into a wallet, or with a negative `amount` the other way.

    Args:
        pool: connections.
        by: who does it; whether they may is the caller's to decide.
        user_id: whose wallet.
        amount: chips, not 0, within ±`MAX_CHIPS`.
        reason: why, for the ledger and the audit log.
        command_id: a UUID that makes it happen at most once, or None.
        source: where the command came from, for the audit log.
        now: UTC in ms.

    Returns:
        The balance after it; for a repeated command the balance after the first time.

    Raises:
        Refused: `not_found` (no such wallet), `insufficient_balance` (more than there is),
            `bad_request` (0, or out of bounds), `conflict` (the id was another command's). Nothing
            was changed.
        Unavailable: nothing was changed; `OutcomeUnknown`: perhaps it was. With a `command_id`
            calling again is harmless.

    Cancellation rolls back, unless the commit was under way: that is waited for.
    """
    if amount == 0 or abs(amount) > MAX_CHIPS:
        raise Refused(
            ErrorCode.BAD_REQUEST, "The amount is 0 or out of bounds.", {"field": "amount"}
        )
    values: dict[str, object] = {
        "by": by.user_id,
        "role": by.role,
        "user_id": user_id,
        "amount": amount,
        "kind": "credit" if amount > 0 else "debit",
        "reason": reason,
        "command_id": command_id,
        "type": CREDIT_COMMAND,
        "transfer_id": str(uuid.uuid4()),
        "source": source,
        "now": now,
        "details": msgspec.json.encode({"amount": amount, "reason": reason}).decode(),
    }
    done = await _done_before(pool, values)
    if done is not None:
        return done
    try:
        async with pool.transaction() as conn:
            return await _move(conn, values)
    except ConstraintViolated as error:
        # The same command at the same time was first. Its effect can also be what overdraws.
        done = await _done_before(pool, values)
        if done is not None:
            return done
        if error.constraint != _OVERDRAFT:
            raise
        raise Refused(
            ErrorCode.INSUFFICIENT_BALANCE, "The wallet does not hold so many chips."
        ) from None


async def ledger(
    pool: Pool, user_id: str, before: int | None = None, limit: int = 50
) -> list[LedgerLine]:
    """List what moved on a user's wallet and stacks, newest first, from before entry `before`."""
    async with pool.connection(read_only=True) as conn:
        cursor = conn.cursor(row_factory=dict_row)
        await cursor.execute(_LEDGER, {"user_id": user_id, "before": before, "limit": limit})
        return [LedgerLine(**row) for row in await cursor.fetchall()]


async def rooms_of(pool: Pool, user_id: str) -> list[RoomOfUser]:
    """List the open rooms in which a user sits, watches, was let in or waits; newest first."""
    async with pool.connection(read_only=True) as conn:
        cursor = conn.cursor(row_factory=dict_row)
        await cursor.execute(_ROOMS_OF, {"user_id": user_id})
        return [RoomOfUser(**row) for row in await cursor.fetchall()]


async def audit(pool: Pool, filters: AuditFilters) -> list[AuditLine]:
    """List lines of the audit log, newest first."""
    async with pool.connection(read_only=True) as conn:
        cursor = conn.cursor(row_factory=dict_row)
        await cursor.execute(_AUDIT, msgspec.structs.asdict(filters))
        return [AuditLine(**row) for row in await cursor.fetchall()]


async def note_action(
    pool: Pool,
    *,
    by: Principal,
    action: str,
    now: int,
    room_id: str | None = None,
    subject_id: str | None = None,
) -> None:
    """Enter into the audit log what somebody does that changes no row.

    Raises:
        Unavailable: it may not have been entered.
    """
    async with pool.connection() as conn:
        await conn.execute(
            "INSERT INTO audit_log "
            "(at, user_id, role, action, room_id, subject_id, source, details) "
            "VALUES (from_ms(%s), %s, %s, %s, %s, %s, 'http', '{}')",
            (now, by.user_id, by.role, action, room_id, subject_id),
        )


async def _done_before(pool: Pool, values: dict[str, object]) -> int | None:
    """Return the balance that the same command left behind, None if it never happened."""
    if values["command_id"] is None:
        return None
    async with pool.connection(read_only=True) as conn:
        cursor = await conn.execute(_DONE_BEFORE, values)
        row = await cursor.fetchone()
    if row is None:
        return None
    kind, outcome = row
    if kind != CREDIT_COMMAND:
        raise Refused(ErrorCode.CONFLICT, "This command id was another command's.")
    left: int = outcome["balance"]
    return left


async def _move(conn: Connection, values: dict[str, object]) -> int:
    cursor = await conn.execute(_MOVE, values)
    row = await cursor.fetchone()
    if row is None:
        raise Refused(ErrorCode.NOT_FOUND, "This user has no wallet.")
    left: int = row[0]
    outcome = msgspec.json.encode({"balance": left}).decode()
    await conn.execute(_CREDIT, {**values, "outcome": outcome})
    return left
