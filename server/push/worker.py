"""The worker that empties the outbox of push notifications.

It looks when it is nudged (something was queued and committed here), when a row is due again, and
every now and then for what other servers left behind. What it cannot deliver it leaves in the
database, so whatever the provider does, nobody waits for it.
"""

import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import httpx
import psycopg
import structlog
import trio
from msgspec import Struct

from persistence import push
from persistence.errors import PersistenceError
from persistence.pool import Pool
from persistence.push import Notification
from server.clock import now_ms
from server.push.onesignal import OneSignal
from server.push.outcomes import Dead, Outcome, Retry, Sent, Skipped, back_off_s
from server.settings import Settings

log = structlog.stdlib.get_logger(__name__)

LEAST_WAIT_S = 0.01
FAILED_PAUSE_S = 1.0


class PushSettings(Struct, frozen=True):
    """How notifications are delivered. Times are seconds.

    Attributes:
        base_url, app_id, api_key: the provider's; without an id or a key nothing is delivered, and
            what is queued is skipped.
        concurrency: requests under way at once.
        timeout_s: of one request.
        lease_s: after so long a row whose sender has died is sent again.
        retry_first_s, retry_most_s: the back-off.
        poll_s: how often the outbox is looked at without a cause.
    """

    base_url: str
    app_id: str | None
    api_key: str | None
    concurrency: int = 4
    timeout_s: float = 10.0
    lease_s: float = 60.0
    retry_first_s: float = 2.0
    retry_most_s: float = 300.0
    poll_s: float = 5.0


def push_settings(settings: Settings) -> PushSettings:
    """Take from the server's settings those of push notifications."""
    return PushSettings(
        base_url=settings.onesignal_base_url,
        app_id=settings.onesignal_app_id,
        api_key=settings.onesignal_api_key,
        concurrency=settings.push_concurrency,
        timeout_s=settings.push_timeout_s,
        lease_s=settings.push_lease_s,
        retry_first_s=settings.push_retry_first_s,
        retry_most_s=settings.push_retry_most_s,
        poll_s=settings.push_poll_s,
    )


class PushWorker:
    """Delivers what is in the outbox.

    Args:
        pool: the database.
        settings: how.
        count: is told ``sent``, ``retried``, ``dead`` or ``skipped`` for each outcome.

    Attributes:
        looks: how often it has looked at the outbox.
        waiting: rows that are not done with, as last measured (every `poll_s`).
    """

    def __init__(self, pool: Pool, settings: PushSettings, count: Callable[[str], None]) -> None:
        self.looks = 0
        self.waiting = 0
        self._pool = pool
        self._settings = settings
        self._count = count
        self._news = trio.Event()
        self._busy = 0
        self._paused_until = float("-inf")
        self._tidy_at = float("-inf")
        self._oldest_at: int | None = None

    @property
    def oldest_waiting_s(self) -> float:
        """How long the oldest row has waited, 0 where none waits."""
        return 0.0 if self._oldest_at is None else max(0.0, (now_ms() - self._oldest_at) / 1000)

    def nudge(self) -> None:
        """Say that something was queued."""
        self._news.set()

    async def run(self) -> None:
        """Deliver until cancelled; what is being sent then is sent again after its lease."""
        self._busy = 0
        async with self._provider() as provider, trio.open_nursery() as nursery:
            while True:
                self._news = trio.Event()
                try:
                    wait_s = await self._look(provider, nursery)
                    self.looks += 1
                except (PersistenceError, psycopg.Error) as error:
                    log.warning("push_outbox_not_read", reason=type(error).__name__)
                    wait_s = min(FAILED_PAUSE_S, self._settings.poll_s)
                with trio.move_on_after(wait_s):
                    await self._news.wait()

    @asynccontextmanager
    async def _provider(self) -> AsyncIterator[OneSignal | None]:
        settings = self._settings
        if not settings.app_id or not settings.api_key:
            yield None
            return
        limits = httpx.Limits(max_connections=settings.concurrency)
        async with httpx.AsyncClient(limits=limits) as http:
            yield OneSignal(
                http,
                base_url=settings.base_url,
                app_id=settings.app_id,
                api_key=settings.api_key,
                timeout_s=settings.timeout_s,
            )

    async def _look(self, provider: OneSignal | None, nursery: trio.Nursery) -> float:
        """Take from the outbox what there is room for; return how long nothing will be due.

        However much waits, a look costs little: what goes over all that waits is for `_tidy`.
        """
        if provider is None or trio.current_time() >= self._tidy_at:
            await self._tidy(provider)
        rest_s = max(0.0, self._tidy_at - trio.current_time())
        paused_s = self._paused_until - trio.current_time()
        free = self._settings.concurrency - self._busy
        if provider is None or free <= 0:
            return rest_s
        if paused_s > 0:
            return min(paused_s, rest_s)
        lease_ms = round(self._settings.lease_s * 1000)
        rows = await push.claim(self._pool, limit=free, lease_ms=lease_ms, now=now_ms())
        for row in rows:
            self._busy += 1
            nursery.start_soon(self._deliver, provider, row)
        if len(rows) == free:
            return rest_s
        due_at = await push.next_due(self._pool)
        if due_at is None:
            return rest_s
        due_s = (due_at - now_ms()) / 1000
        if due_s <= 0:
            # Due and not for the taking: it has most likely expired.
            await self._tidy(provider)
        return min(max(due_s, LEAST_WAIT_S), rest_s)

    async def _tidy(self, provider: OneSignal | None) -> None:
        """Give up what is not to be sent any more, and measure what waits."""
        self._tidy_at = trio.current_time() + self._settings.poll_s
        configured = provider is not None
        more = True
        while more:
            buried = await push.bury(self._pool, configured=configured, now=now_ms())
            more = len(buried) == push.BURY_AT_ONCE
            for status, reason in buried:
                self._count(status)
                if configured:
                    log.info("push_given_up", status=status, reason=reason)
        standing = await push.standing(self._pool)
        self.waiting, self._oldest_at = standing.waiting, standing.oldest_at

    async def _deliver(self, provider: OneSignal, row: Notification) -> None:
        try:
            outcome = await provider.send(row)
            if isinstance(outcome, Retry) and outcome.pause:
                self._pause(row, outcome)
            try:
                await self._note(row, outcome)
            except (PersistenceError, psycopg.Error) as error:
                # It is due again after its lease; the provider knows its key.
                log.warning("push_not_noted", push_id=str(row.id), reason=type(error).__name__)
        finally:
            self._busy -= 1
            self._news.set()

    async def _note(self, row: Notification, outcome: Outcome) -> None:
        """Write down what became of a row. Neither its text nor the provider's is for the log."""
        line = log.bind(push_id=str(row.id), kind=row.kind, attempts=row.attempts)
        now = now_ms()
        match outcome:
            case Sent():
                await push.finish(
                    self._pool,
                    row,
                    "sent",
                    error=None,
                    provider_id=outcome.provider_id,
                    now=now,
                )
                line.info("push_sent", recipients=len(row.recipients))
                self._count("sent")
            case Skipped():
                await self._give_up(row, "skipped", outcome, now)
                line.info("push_skipped", reason=outcome.reason)
            case Dead():
                await self._give_up(row, "dead", outcome, now)
                line.error("push_refused", reason=outcome.reason)
            case Retry():
                wait_s = self._back_off_s(row, outcome)
                at = now + round(wait_s * 1000)
                await push.retry(self._pool, row, error=_words(outcome), at=at)
                line.warning("push_failed", reason=outcome.reason, retry_after_s=round(wait_s, 1))
                self._count("retried")

    async def _give_up(
        self, row: Notification, status: push.Buried, outcome: Skipped | Dead, now: int
    ) -> None:
        await push.finish(self._pool, row, status, error=_words(outcome), provider_id=None, now=now)
        self._count(status)

    def _back_off_s(self, row: Notification, outcome: Retry) -> float:
        settings = self._settings
        own_s = back_off_s(
            row.attempts, settings.retry_first_s, settings.retry_most_s, random.random()
        )
        return max(own_s, outcome.after_s or 0.0)

    def _pause(self, row: Notification, outcome: Retry) -> None:
        """Leave the provider alone, for as long as it says or as the back-off would have it."""
        wait_s = self._back_off_s(row, outcome) if outcome.after_s is None else outcome.after_s
        self._paused_until = max(self._paused_until, trio.current_time() + wait_s)
        log.warning("push_paused", reason=outcome.reason, seconds=round(wait_s, 1))


def _words(outcome: Skipped | Dead | Retry) -> str:
    return f"{outcome.reason}: {outcome.detail}" if outcome.detail else outcome.reason
