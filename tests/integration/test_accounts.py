"""Wallets, ledger and audit log on a real PostgreSQL."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
import trio

from persistence import accounts
from persistence.accounts import AuditFilters
from persistence.pool import Pool
from protocol.errors import ErrorCode, Refused
from protocol.ids import UserId
from protocol.principal import Principal
from tests.support.live_rooms import AS_JOURNAL

pytestmark = pytest.mark.fail_after(60)

NOW = 1_700_000_000_000
STAFF = Principal(user_id=UserId("sue"), name="Sue", role="staff")


async def rows(pool: Pool, query: str, *values: object) -> list[tuple[Any, ...]]:
    async with pool.connection(read_only=True) as conn:
        cursor = await conn.execute(query.encode(), values)
        return await cursor.fetchall()


async def credited(
    pool: Pool, amount: int, command_id: str | None = None, user_id: str = "amy"
) -> int:
    return await accounts.credit(
        pool,
        by=STAFF,
        user_id=user_id,
        amount=amount,
        reason="promised",
        command_id=command_id,
        source="http",
        now=NOW + 1,
    )


async def ledger_sum(pool: Pool) -> int:
    return int((await rows(pool, "SELECT coalesce(sum(amount), 0) FROM ledger_entries"))[0][0])


async def test_concurrent_first_sights_make_one_wallet_and_one_pair(pool: Pool) -> None:
    async with trio.open_nursery() as nursery:
        for _ in range(8):
            nursery.start_soon(accounts.ensure_wallet, pool, "amy", "Amy", 10_000, NOW)
    assert await accounts.balance(pool, "amy") == 10_000
    entries = await rows(
        pool, "SELECT account, user_id, amount, kind FROM ledger_entries ORDER BY account"
    )
    assert entries == [
        ("bank", None, -10_000, "starting_balance"),
        ("wallet", "amy", 10_000, "starting_balance"),
    ]


async def test_second_sight_only_changes_the_name(pool: Pool) -> None:
    await accounts.ensure_wallet(pool, "amy", "Amy", 10_000, NOW)
    await accounts.ensure_wallet(pool, "amy", "Amelia", 99, NOW + 5)
    assert await rows(pool, "SELECT name, balance FROM wallets") == [("Amelia", 10_000)]
    assert len(await rows(pool, "SELECT 1 FROM ledger_entries")) == 2


async def test_wallet_without_starting_balance_has_no_entries(pool: Pool) -> None:
    await accounts.ensure_wallet(pool, "amy", "Amy", 0, NOW)
    assert await accounts.balance(pool, "amy") == 0
    assert await accounts.ledger(pool, "amy") == []


async def test_the_list_of_staff_follows_who_comes_in(pool: Pool) -> None:
    async def come(name: str, now: int, *, staff: bool | None) -> list[tuple[Any, ...]]:
        await accounts.ensure_wallet(pool, "amy", name, 100, now, staff=staff)
        return await rows(pool, "SELECT user_id, name, to_ms(seen_at) FROM club_staff")

    assert await come("Amy", NOW, staff=None) == []
    assert await come("Amy", NOW, staff=True) == [("amy", "Amy", NOW)]
    assert await come("Amy B.", NOW + 1, staff=True) == [("amy", "Amy B.", NOW + 1)]
    assert await come("Amy", NOW + 2, staff=None) == [("amy", "Amy B.", NOW + 1)]
    assert await come("Amy", NOW + 3, staff=False) == []
    assert await accounts.balance(pool, "amy") == 100


async def test_unknown_user_has_no_balance(pool: Pool) -> None:
    assert await accounts.balance(pool, "nobody") is None


async def test_credit_and_debit_move_chips_between_bank_and_wallet(pool: Pool) -> None:
    await accounts.ensure_wallet(pool, "amy", "Amy", 100, NOW)
    assert await credited(pool, 50) == 150
    assert await credited(pool, -120) == 30
    assert await accounts.balance(pool, "amy") == 30
    assert await ledger_sum(pool) == 0
    lines = await accounts.ledger(pool, "amy")
    assert [(line.amount, line.kind, line.reason) for line in lines] == [
        (-120, "debit", "promised"),
        (50, "credit", "promised"),
        (100, "starting_balance", None),
    ]
    assert lines[0].at == NOW + 1


async def test_overdraft_is_refused_and_changes_nothing(pool: Pool) -> None:
    await accounts.ensure_wallet(pool, "amy", "Amy", 100, NOW)
    with pytest.raises(Refused) as caught:
        await credited(pool, -101, str(uuid.uuid4()))
    assert caught.value.code is ErrorCode.INSUFFICIENT_BALANCE
    assert await accounts.balance(pool, "amy") == 100
    assert await rows(pool, "SELECT 1 FROM commands") == []
    assert await rows(pool, "SELECT 1 FROM audit_log") == []


async def test_credit_to_nobody_is_not_found(pool: Pool) -> None:
    with pytest.raises(Refused) as caught:
        await credited(pool, 5, user_id="nobody")
    assert caught.value.code is ErrorCode.NOT_FOUND


@pytest.mark.parametrize("amount", [0, 10**15 + 1, -(10**15) - 1])
async def test_absurd_amount_is_a_bad_request(pool: Pool, amount: int) -> None:
    with pytest.raises(Refused) as caught:
        await credited(pool, amount)
    assert caught.value.code is ErrorCode.BAD_REQUEST


async def test_repeated_credit_answers_the_first_outcome(pool: Pool) -> None:
    await accounts.ensure_wallet(pool, "amy", "Amy", 100, NOW)
    command_id = str(uuid.uuid4())
    assert await credited(pool, 50, command_id) == 150
    assert await credited(pool, -150) == 0
    assert await credited(pool, 50, command_id) == 150
    assert await accounts.balance(pool, "amy") == 0


async def test_concurrent_twins_debit_once_and_agree(pool: Pool) -> None:
    """The loser of the race would overdraw the wallet; it still learns what its twin did."""
    await accounts.ensure_wallet(pool, "amy", "Amy", 100, NOW)
    command_id = str(uuid.uuid4())
    left: list[int] = []

    async def debit() -> None:
        left.append(await credited(pool, -80, command_id))

    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(debit)
    assert left == [20] * 4
    assert await ledger_sum(pool) == 0
    assert len(await rows(pool, "SELECT 1 FROM audit_log")) == 1


async def test_command_id_of_another_command_is_a_conflict(pool: Pool) -> None:
    await accounts.ensure_wallet(pool, "amy", "Amy", 100, NOW)
    command_id = str(uuid.uuid4())
    async with pool.connection() as conn:
        await conn.execute(
            "INSERT INTO commands (command_id, user_id, type, outcome, at)"
            " VALUES (%s, 'sue', 'kick', '{}', now())",
            (command_id,),
        )
    with pytest.raises(Refused) as caught:
        await credited(pool, 5, command_id)
    assert caught.value.code is ErrorCode.CONFLICT
    assert await accounts.balance(pool, "amy") == 100


async def test_ledger_pages_backwards_and_shows_only_the_users_side(pool: Pool) -> None:
    await accounts.ensure_wallet(pool, "amy", "Amy", 100, NOW)
    await accounts.ensure_wallet(pool, "bob", "Bob", 100, NOW)
    for _ in range(3):
        await credited(pool, 1)
    first = await accounts.ledger(pool, "amy", limit=2)
    second = await accounts.ledger(pool, "amy", before=first[-1].id, limit=10)
    assert [line.amount for line in first] == [1, 1]
    assert [line.amount for line in second] == [1, 100]


async def make_room(pool: Pool, room_id: str, host_id: str, status: str = "waiting") -> None:
    async with pool.connection() as conn:
        await conn.execute(
            "INSERT INTO rooms (id, code, host_id, status, name, variant, small_blind, big_blind,"
            " ante, min_buy_in, max_buy_in, max_seats, turn_seconds, time_bank_seconds, auto_start,"
            " requires_approval, spectators_allowed, rake_basis_points, rake_cap, is_private,"
            " created_at) VALUES (%s, %s, %s, %s, 'T', 'nlhe', 1, 2, 0, 10, 100, 9, 20, 60, true,"
            " true, true, 0, 0, false, now())",
            (room_id, room_id.upper(), host_id, status),
        )


async def join(pool: Pool, room_id: str, user_id: str, status: str) -> None:
    async with pool.connection() as conn:
        await conn.execute(
            "INSERT INTO room_players (room_id, user_id, display_name, status, requested_at,"
            " told_seq) VALUES (%s, %s, 'x', %s, now(), 0)",
            (room_id, user_id, status),
        )


async def test_rooms_of_a_user_tell_role_and_seat(pool: Pool) -> None:
    for room_id, host_id in (("r1", "amy"), ("r2", "zoe"), ("r3", "zoe"), ("r4", "zoe")):
        await make_room(pool, room_id, host_id)
    await make_room(pool, "r5", "amy", status="closed")
    for room_id, status in (
        ("r1", "approved"),
        ("r2", "approved"),
        ("r3", "pending"),
        ("r4", "rejected"),
        ("r5", "approved"),
    ):
        await join(pool, room_id, "amy", status)
    async with pool.connection() as conn:
        await conn.execute(
            AS_JOURNAL
            + "INSERT INTO room_seats (room_id, seat_index, user_id, display_name, chips, status,"
            " time_bank_ms, clock_outs, away, sitting_id, last_seen_at)"
            " VALUES ('r2', 4, 'amy', 'Amy', 50, 'active', 0, 0, false, 's1', now())"
        )
    found = {room.id: (room.role, room.seat_index) for room in await accounts.rooms_of(pool, "amy")}
    assert found == {"r1": ("host", None), "r2": ("player", 4), "r3": ("pending", None)}


async def test_audit_filters_by_subject_and_pages(pool: Pool) -> None:
    for user_id in ("amy", "bob"):
        await accounts.ensure_wallet(pool, user_id, user_id, 100, NOW)
    await credited(pool, 5)
    await credited(pool, 6, user_id="bob")
    await credited(pool, 7)
    lines = await accounts.audit(pool, AuditFilters(subject_id="amy"))
    assert [line.details["amount"] for line in lines] == [7, 5]
    assert lines[0].user_id == "sue"
    assert lines[0].source == "http"
    older = await accounts.audit(pool, AuditFilters(before=lines[0].id, limit=1))
    assert [line.details["amount"] for line in older] == [6]
    assert await accounts.audit(pool, AuditFilters(action="kick")) == []
    assert len(await accounts.audit(pool, AuditFilters(user_id="sue", limit=2))) == 2


async def test_only_whose_wallet_and_role_stand_as_they_are_told_is_known(pool: Pool) -> None:
    for user_id, name, staff in (("amy", "Amy", None), ("bob", "Bob", False), ("sue", "Sue", True)):
        await accounts.ensure_wallet(pool, user_id, name, 100, NOW, staff=staff)
    told = {
        ("amy", "Amy", None): True,
        ("amy", "Amelia", None): False,
        ("bob", "Bob", False): True,
        ("sue", "Sue", None): True,
        # Not of the staff any more, newly of it, and of it as before: when they were seen is noted.
        ("sue", "Sue", False): False,
        ("bob", "Bob", True): False,
        ("sue", "Sue", True): False,
        ("zoe", "Zoe", False): False,
    }
    newcomers = [accounts.Newcomer(*one) for one in told]
    assert await accounts.are_known(pool, newcomers) == list(told.values())
