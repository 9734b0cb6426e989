"""A push provider that fails while people talk. The long form is `cardroom bench push`."""

from collections.abc import AsyncIterator

import pytest
import trio

from bench.push_latency import (
    APP,
    FAULTS,
    KEY,
    PUSHES_PER_S,
    Row,
    hold_against,
    measure,
    settings,
)
from bench.push_stand_in import PushStandIn
from bench.serving import serving

SECONDS = 2


@pytest.fixture
async def provider() -> AsyncIterator[PushStandIn]:
    made = PushStandIn(app_id=APP, api_key=KEY)
    async with trio.open_nursery() as nursery:
        await nursery.start(made.run)
        yield made
        nursery.cancel_scope.cancel()


@pytest.mark.fail_after(240)
async def test_whatever_the_provider_does_chats_go_on_and_notifications_arrive_or_are_dead(
    provider: PushStandIn,
) -> None:
    async with serving(settings(provider)) as server:
        result = await measure(server, provider, sessions=10, rate=20, seconds=SECONDS)
    assert list(result.phases) == list(FAULTS)
    assert result.lost == 0
    outcomes = result.outcomes
    assert outcomes.wrong == []
    assert outcomes.rows["sent"] > outcomes.rows["dead"] >= 1
    assert all("http_401" in reason for reason in outcomes.reasons)
    assert outcomes.requests > outcomes.delivered
    assert sum(outcomes.rows.values()) >= len(FAULTS) * SECONDS * PUSHES_PER_S


SENT = Row("1", "chat_request", "sent", "")
DEAD = Row("2", "chat_message", "dead", "http_401")


def test_what_is_sent_once_or_dead_for_a_reason_is_right() -> None:
    assert hold_against([SENT, DEAD], ["1"], requests=1, answers=1) == []


@pytest.mark.parametrize(
    ("rows", "taken", "told"),
    [
        ([SENT, DEAD], ["1", "1"], "1 is sent, and was delivered 2 times"),
        ([SENT, DEAD], [], "1 is sent, and was delivered 0 times"),
        ([SENT, DEAD], ["1", "2"], "2 is dead, and was delivered 1 times"),
        ([SENT, DEAD], ["1", "3"], "nobody queued 3"),
        ([SENT, DEAD._replace(reason="")], ["1"], "2 is dead, for this reason: none"),
        ([SENT, DEAD._replace(status="skipped")], ["1"], "2 is skipped, for this reason: http_401"),
        ([SENT, DEAD._replace(status="pending")], ["1"], "2 is pending"),
        ([SENT], ["1"], "0 notifications of 1 answers at least"),
        ([DEAD], [], "0 notifications of 1 new requests"),
    ],
)
def test_what_is_wrong_with_notifications_is_found(
    rows: list[Row], taken: list[str], told: str
) -> None:
    assert told in "\n".join(hold_against(rows, taken, requests=1, answers=1))
