"""An outbox in a real database, and the worker that empties it into a stand-in for the provider."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import msgspec
import trio
from msgspec import Struct

from bench.push_stand_in import PushStandIn
from persistence.pool import Pool
from server.clock import now_ms
from server.push.worker import PushSettings, PushWorker
from tests.support.patience import PATIENCE_S

APP = "11111111-1111-4111-8111-111111111111"
KEY = "a-secret-key"
TITLE = "A secret title"
BODY = "A secret text"


class Row(Struct, frozen=True):
    """A row as it stands in the outbox; times are UTC in ms."""

    status: str
    attempts: int
    last_error: str | None
    provider_id: str | None
    next_attempt_at: int
    finished_at: int | None


class Outbox:
    """The table, written and read past the worker."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool

    async def put(
        self, *to: str, age_ms: int = 0, expires_in_ms: int | None = None, kind: str = "seat_offer"
    ) -> UUID:
        """Queue a notification, as one that was queued `age_ms` ago."""
        at = now_ms() - age_ms
        expires_at = None if expires_in_ms is None else now_ms() + expires_in_ms
        async with self.pool.connection() as conn:
            cursor = await conn.execute(
                "INSERT INTO push_notifications (kind, recipients, title, body, data, created_at, "
                "next_attempt_at, expires_at) VALUES (%s, %s, %s, %s, %s::jsonb, from_ms(%s), "
                "from_ms(%s), from_ms(%s)) RETURNING id",
                (kind, list(to), TITLE, BODY, '{"table_id": "t"}', at, at, expires_at),
            )
            row = await cursor.fetchone()
            assert row is not None
            return UUID(str(row[0]))

    async def row(self, push_id: UUID) -> Row:
        """Read a row."""
        async with self.pool.connection(read_only=True) as conn:
            cursor = await conn.execute(
                "SELECT status, attempts, last_error, provider_id, to_ms(next_attempt_at), "
                "to_ms(finished_at) FROM push_notifications WHERE id = %s",
                (push_id,),
            )
            found = await cursor.fetchone()
            assert found is not None
            return Row(*found)

    async def statuses(self) -> Counter[str]:
        """Count rows by status."""
        async with self.pool.connection(read_only=True) as conn:
            cursor = await conn.execute("SELECT status FROM push_notifications")
            return Counter([row[0] for row in await cursor.fetchall()])


class Worked:
    """A worker, and what it says became of rows."""

    def __init__(self, pool: Pool, settings: PushSettings) -> None:
        self.outcomes: Counter[str] = Counter()
        self.worker = PushWorker(pool, settings, self._counted)
        self._news = trio.Event()

    def _counted(self, outcome: str) -> None:
        self.outcomes[outcome] += 1
        self._news.set()

    async def until(self, **outcomes: int) -> None:
        """Wait until there were so many of each."""
        while any(self.outcomes[name] < times for name, times in outcomes.items()):
            self._news = trio.Event()
            await self._news.wait()


async def eventually(check: Callable[[], bool]) -> None:
    """Return once something is so that tells nobody when it comes to be."""
    with trio.fail_after(PATIENCE_S):
        while not check():  # noqa: ASYNC110
            await trio.sleep(0.005)


def settings_for(stand_in: PushStandIn, **changes: Any) -> PushSettings:
    """Settings of a patient worker that tries again at once, with changes."""
    settings = PushSettings(
        base_url=stand_in.url,
        app_id=APP,
        api_key=KEY,
        timeout_s=PATIENCE_S,
        lease_s=2 * PATIENCE_S,
        retry_first_s=0.001,
        retry_most_s=0.01,
        poll_s=0.05,
    )
    return msgspec.structs.replace(settings, **changes)


@asynccontextmanager
async def working(pool: Pool, stand_in: PushStandIn, **changes: Any) -> AsyncIterator[Worked]:
    """Run a worker for the block."""
    worked = Worked(pool, settings_for(stand_in, **changes))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(worked.worker.run)
        yield worked
        nursery.cancel_scope.cancel()
