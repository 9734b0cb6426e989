"""The outbox itself: who gets a row, who may say what became of it, what is forgotten."""

from __future__ import annotations

from uuid import UUID

import pytest
import trio

from persistence import push
from persistence.pool import Pool
from persistence.push import MAX_AGE_MS, Notification, PushCounts, PushStanding
from server.clock import now_ms
from tests.support.outbox import BODY, TITLE, Outbox

pytestmark = pytest.mark.fail_after(60)

LEASE_MS = 60_000


@pytest.fixture
def outbox(pool: Pool) -> Outbox:
    return Outbox(pool)


async def claim(pool: Pool, now: int, limit: int = 10) -> list[Notification]:
    return list(await push.claim(pool, limit=limit, lease_ms=LEASE_MS, now=now))


async def finish(pool: Pool, row: Notification, status: push.Finished, now: int) -> None:
    await push.finish(pool, row, status, error="why", provider_id=None, now=now)


async def test_a_claimed_row_is_nobody_elses_until_its_lease_is_over(outbox: Outbox) -> None:
    first, second, third = [await outbox.put("ann", age_ms=age) for age in (3000, 2000, 1000)]
    now = now_ms()
    taken = await claim(outbox.pool, now, limit=2)
    assert {row.id for row in taken} == {first, second}
    assert [row.id for row in await claim(outbox.pool, now)] == [third]
    assert await claim(outbox.pool, now + LEASE_MS - 1) == []
    again = await claim(outbox.pool, now + LEASE_MS)
    assert {(row.id, row.attempts) for row in again} == {(first, 2), (second, 2), (third, 2)}
    assert (again[0].title, again[0].body, again[0].recipients) == (TITLE, BODY, ["ann"])


async def test_a_claim_passes_by_rows_that_somebody_is_taking(pool: Pool, outbox: Outbox) -> None:
    first = await outbox.put("ann", age_ms=1000)
    second = await outbox.put("ann")
    async with pool.transaction() as conn:
        await conn.execute("SELECT FROM push_notifications WHERE id = %s FOR UPDATE", (first,))
        assert [row.id for row in await claim(outbox.pool, now_ms())] == [second]
        later = now_ms() + MAX_AGE_MS
        assert await push.bury(pool, configured=True, now=later) == [("dead", "too_old")]


async def test_of_two_who_had_a_row_the_later_has_the_say_unless_it_was_sent(
    pool: Pool, outbox: Outbox
) -> None:
    push_id = await outbox.put("ann")
    now = now_ms()
    (early,) = await claim(pool, now)
    (late,) = await claim(pool, now + LEASE_MS)
    await finish(pool, early, "dead", now)
    await push.retry(pool, early, error="early", at=now + 1)
    row = await outbox.row(push_id)
    assert (row.status, row.last_error) == ("pending", None)
    assert row.next_attempt_at == now + 2 * LEASE_MS
    await push.finish(pool, early, "sent", error=None, provider_id="n1", now=now + 5)
    await finish(pool, late, "dead", now)
    row = await outbox.row(push_id)
    assert (row.status, row.provider_id, row.finished_at) == ("sent", "n1", now + 5)


@pytest.mark.parametrize(
    ("age_ms", "expires_in_ms", "left_ms"),
    [(0, None, 3600_000), (0, 50_000, 50_000), (MAX_AGE_MS - 70_000, None, 70_000)],
)
async def test_a_retry_is_not_put_off_beyond_the_end(
    pool: Pool, outbox: Outbox, age_ms: int, expires_in_ms: int | None, left_ms: int
) -> None:
    push_id = await outbox.put("ann", age_ms=age_ms, expires_in_ms=expires_in_ms)
    now = now_ms()
    (row,) = await claim(pool, now)
    await push.retry(pool, row, error="http_500", at=now + 3600_000)
    at = (await outbox.row(push_id)).next_attempt_at
    assert now + left_ms - 10_000 < at <= now + left_ms


async def test_what_somebody_is_sending_is_not_given_up(pool: Pool, outbox: Outbox) -> None:
    await outbox.put("ann", expires_in_ms=1000)
    now = now_ms()
    assert len(await claim(pool, now)) == 1
    assert await push.bury(pool, configured=False, now=now + LEASE_MS - 1) == []
    assert await push.bury(pool, configured=True, now=now + LEASE_MS) == [("dead", "expired")]


async def test_the_figures_count_by_status_and_say_what_is_due(pool: Pool, outbox: Outbox) -> None:
    assert await push.standing(pool) == PushStanding(0, None)
    assert await push.next_due(pool) is None
    for _ in range(4):
        await outbox.put("ann", age_ms=5000)
    now = now_ms()
    for row, status in zip(await claim(pool, now, 3), ("sent", "dead", "skipped"), strict=True):
        await finish(pool, row, status, now)  # type: ignore[arg-type]
    assert await push.counts(pool) == PushCounts(1, 1, 1, 1)
    standing = await push.standing(pool)
    assert standing.waiting == 1
    assert standing.oldest_at is not None
    assert now - 60_000 < standing.oldest_at <= now - 5000
    assert await push.next_due(pool) == standing.oldest_at


async def test_what_was_done_with_long_ago_is_forgotten_and_nothing_else(
    pool: Pool, outbox: Outbox
) -> None:
    week_ms = 7 * MAX_AGE_MS
    now = now_ms()

    async def done(age_ms: int, at: int) -> UUID:
        push_id = await outbox.put("ann", age_ms=age_ms)
        async with pool.connection() as conn:
            await conn.execute(
                "UPDATE push_notifications SET status = 'sent', finished_at = from_ms(%s) "
                "WHERE id = %s",
                (at, push_id),
            )
        return push_id

    await done(week_ms + 1000, now - week_ms - 1000)
    kept = {
        await done(week_ms + 1000, now),
        await done(0, now),
        await outbox.put("ann", age_ms=week_ms + 1000),
    }
    await push.forget_finished(pool, now - week_ms)
    async with pool.connection() as conn:
        found = await (await conn.execute("SELECT id FROM push_notifications")).fetchall()
    assert {row[0] for row in found} == kept


async def test_many_claim_at_once_and_each_row_goes_to_one(pool: Pool, outbox: Outbox) -> None:
    for _ in range(40):
        await outbox.put("ann")
    taken: list[UUID] = []

    async def take() -> None:
        while rows := await claim(pool, now_ms(), limit=3):
            taken.extend(row.id for row in rows)

    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(take)
    assert len(taken) == len(set(taken)) == 40
