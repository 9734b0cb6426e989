"""The push worker on a real outbox, with a provider that fails in every way there is."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator

import msgspec
import pytest
import structlog
import trio

from bench.push_stand_in import (
    BAD_KEY,
    BROKEN,
    GARBAGE,
    HANG,
    LOST_ANSWER,
    TRICKLE,
    Fault,
    PushStandIn,
    limited,
    slow,
)
from persistence.pool import Pool
from persistence.push import MAX_AGE_MS
from protocol import commands
from protocol.ids import UserId, player_channel
from server.clock import now_ms
from server.push.onesignal import MAX_ALIASES
from tests.support.database_proxy import database_proxy
from tests.support.live_rooms import Socket, ask, open_club, running
from tests.support.outbox import APP, BODY, KEY, TITLE, Outbox, Worked, eventually, working
from tests.support.patience import PATIENCE_S
from tests.support.rooms import HOST

pytestmark = pytest.mark.fail_after(60)

BRIEF_S = 0.2
"""For time-outs and leases that a test lets run out; nothing has to happen within."""
LONG_S = 3600.0


@pytest.fixture
async def stand_in() -> AsyncIterator[PushStandIn]:
    made = PushStandIn(app_id=APP, api_key=KEY)
    async with trio.open_nursery() as nursery:
        await nursery.start(made.run)
        yield made
        nursery.cancel_scope.cancel()


@pytest.fixture
def outbox(pool: Pool) -> Outbox:
    return Outbox(pool)


async def test_what_is_queued_is_delivered_under_its_id(
    outbox: Outbox, stand_in: PushStandIn
) -> None:
    push_id = await outbox.put("ann", "bob", kind="chat_request")
    async with working(outbox.pool, stand_in) as worked:
        await worked.until(sent=1)
    (push,) = stand_in.pushes
    assert (push.key, push.to, push.title, push.text) == (str(push_id), ["ann", "bob"], TITLE, BODY)
    assert push.data == {"kind": "chat_request", "table_id": "t"}
    row = await outbox.row(push_id)
    assert (row.status, row.attempts, row.provider_id) == ("sent", 1, push.id)
    assert row.last_error is None
    assert row.finished_at is not None


async def test_a_room_that_queues_something_wakes_the_worker(
    database_url: str, stand_in: PushStandIn
) -> None:
    nudged: list[Worked] = []
    async with open_club(database_url, on_push=lambda: nudged[0].worker.nudge()) as club:
        await club.make_room(requires_approval=True)
        club.now = now_ms()
        async with (
            working(club.pool, stand_in, poll_s=LONG_S) as worked,
            running(club.actor()) as actor,
        ):
            nudged.append(worked)
            await eventually(lambda: worked.worker.looks == 1)
            host = Socket(HOST)
            club.hub.subscribe(player_channel(UserId(HOST)), host)
            await ask(actor, "ann", commands.Join())
            club.hub.drop(host)
            await ask(actor, "bob", commands.Join())
            await worked.until(sent=1)
    (push,) = stand_in.pushes
    assert (push.to, push.data["kind"]) == ([HOST], "join_request")
    assert push.data["user_id"] == "bob"


FAILING = {
    "broken": BROKEN,
    "bad gateway": Fault(502, b"<html>"),
    "garbage": GARBAGE,
    "nothing": Fault(200, b""),
    "too much": Fault(200, b"x" * 1_000_000),
    "elsewhere": Fault(302, b"", {"Location": "http://127.0.0.1:9/"}),
    "impatient": limited("0"),
}


@pytest.mark.parametrize("fault", FAILING.values(), ids=FAILING.keys())
async def test_a_provider_that_fails_is_asked_again(
    outbox: Outbox, stand_in: PushStandIn, fault: Fault
) -> None:
    push_id = await outbox.put("ann")
    stand_in.faults.extend([fault, fault])
    async with working(outbox.pool, stand_in) as worked:
        await worked.until(sent=1)
    assert worked.outcomes == {"retried": 2, "sent": 1}
    assert (await outbox.row(push_id)).attempts == 3
    assert [request.key for request in stand_in.requests] == [str(push_id)] * 3
    assert len(stand_in.pushes) == 1


@pytest.mark.parametrize(
    "fault",
    [HANG, LOST_ANSWER, slow(LONG_S), TRICKLE],
    ids=["hang", "lost", "slow", "trickle"],
)
async def test_a_provider_that_does_not_answer_is_asked_again_and_delivers_once(
    outbox: Outbox, stand_in: PushStandIn, fault: Fault
) -> None:
    push_id = await outbox.put("ann")
    stand_in.faults.append(fault)
    async with working(outbox.pool, stand_in, timeout_s=BRIEF_S) as worked:
        await worked.until(sent=1)
    assert worked.outcomes["retried"] >= 1
    assert [push.key for push in stand_in.pushes] == [str(push_id)]


async def test_a_provider_that_is_not_there_is_asked_again(
    outbox: Outbox, stand_in: PushStandIn
) -> None:
    push_id = await outbox.put("ann")
    nowhere = {"base_url": "http://127.0.0.1:1", "lease_s": BRIEF_S}
    async with working(outbox.pool, stand_in, **nowhere) as worked:
        await worked.until(retried=3)
    assert (await outbox.row(push_id)).last_error == "unreachable: ConnectError"
    async with working(outbox.pool, stand_in) as worked:
        await worked.until(sent=1)


async def test_a_refusal_is_the_end_with_its_reason(outbox: Outbox, stand_in: PushStandIn) -> None:
    refused = await outbox.put("ann")
    stand_in.faults.append(BAD_KEY)
    async with working(outbox.pool, stand_in, concurrency=1) as worked:
        await worked.until(dead=1)
        good = await outbox.put("bob")
        await worked.until(sent=1)
    row = await outbox.row(refused)
    assert (row.status, row.attempts) == ("dead", 1)
    assert (row.last_error or "").startswith("http_401: Access denied.")
    assert (await outbox.row(good)).status == "sent"


async def test_a_wrong_key_is_refused_by_the_stand_in(
    outbox: Outbox, stand_in: PushStandIn
) -> None:
    push_id = await outbox.put("ann")
    async with working(outbox.pool, stand_in, api_key="wrong") as worked:
        await worked.until(dead=1)
    assert ((await outbox.row(push_id)).last_error or "").startswith("http_403: Access denied.")


async def test_who_has_no_device_is_skipped_and_the_others_get_it(
    outbox: Outbox, stand_in: PushStandIn
) -> None:
    stand_in.unsubscribed = {"ann", "bob"}
    nobody = await outbox.put("ann", "bob")
    some = await outbox.put("bob", "cem")
    async with working(outbox.pool, stand_in) as worked:
        await worked.until(skipped=1, sent=1)
    row = await outbox.row(nobody)
    assert (row.status, row.attempts) == ("skipped", 1)
    assert row.last_error == "nobody_subscribed: All included players are not subscribed"
    assert [(push.key, push.to) for push in stand_in.pushes] == [(str(some), ["cem"])]


async def test_what_is_for_nobody_is_skipped_without_asking(
    outbox: Outbox, stand_in: PushStandIn
) -> None:
    push_id = await outbox.put()
    async with working(outbox.pool, stand_in) as worked:
        await worked.until(skipped=1)
    row = await outbox.row(push_id)
    assert (row.status, row.last_error, row.attempts) == ("skipped", "no_recipients", 0)
    assert stand_in.requests == []


@pytest.mark.parametrize("missing", ["app_id", "api_key"])
async def test_without_a_provider_everything_is_skipped(
    outbox: Outbox, stand_in: PushStandIn, missing: str
) -> None:
    push_id = await outbox.put("ann")
    async with working(outbox.pool, stand_in, **{missing: None}) as worked:
        await worked.until(skipped=1)
        await outbox.put("bob")
        worked.worker.nudge()
        await worked.until(skipped=2)
    row = await outbox.row(push_id)
    assert (row.status, row.last_error, row.attempts) == ("skipped", "not_configured", 0)
    assert stand_in.requests == []


async def test_what_has_expired_or_is_a_day_old_is_dead(
    outbox: Outbox, stand_in: PushStandIn
) -> None:
    expired = await outbox.put("ann", expires_in_ms=-1)
    old = await outbox.put("ann", age_ms=MAX_AGE_MS)
    good = await outbox.put("ann", age_ms=MAX_AGE_MS - 600_000, expires_in_ms=600_000)
    async with working(outbox.pool, stand_in) as worked:
        await worked.until(dead=2, sent=1)
    assert [push.key for push in stand_in.pushes] == [str(good)]
    for push_id, reason in ((expired, "expired"), (old, "too_old")):
        row = await outbox.row(push_id)
        assert (row.status, row.last_error, row.attempts) == ("dead", reason, 0)
        assert row.finished_at is not None


async def test_what_expires_between_two_attempts_is_dead_on_time_and_says_what_went_wrong(
    outbox: Outbox, stand_in: PushStandIn
) -> None:
    push_id = await outbox.put("ann", expires_in_ms=1500)
    stand_in.fault = BROKEN
    changes = {"retry_first_s": LONG_S, "retry_most_s": LONG_S, "poll_s": LONG_S}
    async with working(outbox.pool, stand_in, **changes) as worked:
        await worked.until(dead=1)
    row = await outbox.row(push_id)
    assert row.status == "dead"
    assert row.last_error == "expired; before: http_500: Internal Server Error"


async def test_429_stops_all_sending_until_retry_after(
    outbox: Outbox, stand_in: PushStandIn
) -> None:
    pause_s = 1
    stand_in.faults.append(limited(str(pause_s)))
    async with working(outbox.pool, stand_in, concurrency=1) as worked:
        first = await outbox.put("ann")
        worked.worker.nudge()
        await worked.until(retried=1)
        for name in ("bob", "cem"):
            await outbox.put(name)
            worked.worker.nudge()
        await worked.until(sent=3)
    refused, *others = stand_in.requests
    assert (refused.key, refused.status) == (str(first), 429)
    assert min(request.at for request in others) - refused.at >= pause_s
    assert len(stand_in.pushes) == 3


async def test_a_worker_killed_while_it_sends_leaves_what_another_delivers_once(
    outbox: Outbox, stand_in: PushStandIn
) -> None:
    push_id = await outbox.put("ann")
    stand_in.faults.append(LOST_ANSWER)
    async with working(outbox.pool, stand_in, lease_s=BRIEF_S):
        await stand_in.asked(1)
    assert (await outbox.row(push_id)).status == "pending"
    async with working(outbox.pool, stand_in) as worked:
        await worked.until(sent=1)
    assert [request.key for request in stand_in.requests] == [str(push_id)] * 2
    (push,) = stand_in.pushes
    row = await outbox.row(push_id)
    assert (row.attempts, row.provider_id) == (2, push.id)


async def test_a_database_that_goes_away_meanwhile_delays_and_repeats_nothing(
    database_url: str, outbox: Outbox, stand_in: PushStandIn
) -> None:
    push_id = await outbox.put("ann")
    stand_in.faults.append(slow(1.0))
    with structlog.testing.capture_logs() as logs:
        async with (
            database_proxy(database_url) as wire,
            Pool(wire.url, size=2, timeout_s=5.0) as pool,
            working(pool, stand_in, lease_s=BRIEF_S) as worked,
        ):
            await stand_in.asked(1)
            await wire.cut()
            await eventually(lambda: "push_outbox_not_read" in [line["event"] for line in logs])
            wire.mend()
            await worked.until(sent=1)
    assert [push.key for push in stand_in.pushes] == [str(push_id)]
    assert (await outbox.row(push_id)).status == "sent"


async def test_two_workers_send_nothing_twice(
    database_url: str, outbox: Outbox, stand_in: PushStandIn
) -> None:
    async with (
        Pool(database_url, size=2, timeout_s=PATIENCE_S) as other,
        working(outbox.pool, stand_in) as one,
        working(other, stand_in) as two,
    ):
        keys = {str(await outbox.put("ann")) for _ in range(100)}
        await eventually(lambda: one.outcomes["sent"] + two.outcomes["sent"] == len(keys))
    assert Counter(request.key for request in stand_in.requests) == Counter(keys)
    assert await outbox.statuses() == {"sent": len(keys)}


async def test_no_more_requests_are_under_way_than_allowed(
    outbox: Outbox, stand_in: PushStandIn
) -> None:
    stand_in.fault = HANG
    queued = [await outbox.put("ann") for _ in range(5)]
    async with working(outbox.pool, stand_in, concurrency=3) as worked:
        await stand_in.asked(3)
        looks = worked.worker.looks
        worked.worker.nudge()
        await eventually(lambda: worked.worker.looks > looks)
        assert len(stand_in.requests) == 3
        assert worked.worker.waiting == 5
        attempts = [(await outbox.row(push_id)).attempts for push_id in queued]
        assert sorted(attempts) == [0, 0, 1, 1, 1]


async def test_many_recipients_are_several_requests_each_delivered_once(
    outbox: Outbox, stand_in: PushStandIn
) -> None:
    people = [f"u{n}" for n in range(MAX_ALIASES + 1)]
    push_id = await outbox.put(*people)
    stand_in.faults.extend([None, BROKEN])
    async with working(outbox.pool, stand_in) as worked:
        await worked.until(sent=1)
    assert worked.outcomes["retried"] == 1
    assert [user for push in stand_in.pushes for user in push.to] == people
    assert stand_in.pushes[0].key == str(push_id)
    assert len(stand_in.requests) == 4


async def test_an_answer_that_comes_after_the_lease_still_counts_as_sent(
    outbox: Outbox, stand_in: PushStandIn
) -> None:
    push_id = await outbox.put("ann")
    stand_in.faults.extend([slow(1.0), BROKEN])
    async with working(outbox.pool, stand_in, lease_s=BRIEF_S, concurrency=1) as first:
        await stand_in.asked(1)
        changes = {"retry_first_s": LONG_S, "retry_most_s": LONG_S}
        async with working(outbox.pool, stand_in, **changes) as second:
            await second.until(retried=1)
            await first.until(sent=1)
    row = await outbox.row(push_id)
    assert (row.status, row.attempts) == ("sent", 2)
    assert len(stand_in.pushes) == 1


async def test_the_figures_say_what_waits_and_since_when(
    outbox: Outbox, stand_in: PushStandIn
) -> None:
    stand_in.fault = HANG
    async with working(outbox.pool, stand_in, lease_s=BRIEF_S, concurrency=1000) as worked:
        await eventually(lambda: worked.worker.looks > 0)
        assert (worked.worker.waiting, worked.worker.oldest_waiting_s) == (0, 0.0)
        await outbox.put("ann", age_ms=90_000)
        await outbox.put("bob")
        await eventually(lambda: worked.worker.waiting == 2)
        assert worked.worker.oldest_waiting_s >= 90
        stand_in.fault = None
        await eventually(lambda: worked.worker.waiting == 0)
        assert worked.worker.oldest_waiting_s == 0.0


async def test_neither_texts_nor_keys_are_logged(outbox: Outbox, stand_in: PushStandIn) -> None:
    echo = msgspec.json.encode({"errors": [f"cannot send {TITLE}: {BODY} with {KEY}"]})
    stand_in.faults.extend([Fault(500, echo), Fault(429, echo), Fault(400, echo)])
    await outbox.put("ann")
    with structlog.testing.capture_logs() as logs:
        async with working(outbox.pool, stand_in) as worked:
            await worked.until(dead=1)
            await outbox.put("ann")
            await worked.until(sent=1)
    events = Counter(line["event"] for line in logs)
    assert events["push_failed"] == 2
    assert events["push_refused"] == events["push_sent"] == events["push_paused"] == 1
    for secret in (TITLE, BODY, KEY):
        assert secret not in str(logs)
