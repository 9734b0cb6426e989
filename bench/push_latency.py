"""Whether chats take longer while the push provider fails, and whether every notification arrives.

Staff answer players who are not there, among others, so that there is something to push all the
time; the provider is well, then fails in one way after another, then is well again. In the end each
notification must have been delivered once, or be dead for a reason that is said.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import NamedTuple

import msgspec
import psycopg
import trio
from msgspec import Struct
from rich.console import Console
from rich.table import Table

from bench import chat_generator
from bench.chat import STAFF, at_rate
from bench.chat_generator import Measured, talking
from bench.outside import connected
from bench.push_stand_in import BAD_KEY, BROKEN, GARBAGE, HANG, Fault, PushStandIn, limited
from bench.server_process import ServerProcess
from bench.serving import serving

WARM_UP_S = 3.0
ABSENT = 50
PUSHES_PER_S = 5.0
DRAIN_S = 300.0
APP = "5e0c1f9e-3a53-4a52-8f3a-6f4d2f6c7a10"
KEY = "bench"
TIMES = {
    "CARDROOM_PUSH_TIMEOUT_S": "3",
    "CARDROOM_PUSH_RETRY_FIRST_S": "1",
    "CARDROOM_PUSH_RETRY_MOST_S": "8",
}
"""Shorter than they are without, so that what is put off comes again while it is looked at."""
WELL, WELL_AGAIN = "well", "well again"
FAULTS: dict[str, Fault | None] = {
    WELL: None,
    "401": BAD_KEY,
    "hangs": HANG,
    "500": BROKEN,
    "429": limited("2"),
    "garbage": GARBAGE,
    WELL_AGAIN: None,
}
"""What the provider does, one after another. What comes due at a 401 is dead; what the others hold
up waits until the provider is well again."""


class Outcomes(Struct):
    """What became of notifications.

    Attributes:
        rows: how many there were, by status.
        reasons: why what is dead or skipped is so.
        delivered: how many the provider took; `requests`: how often it was asked.
        backlog: how many waited when the provider was well again; `drained_s`: how long it took
            from then on until none of those did.
        wrong: what is not as promised, one sentence each.
    """

    rows: dict[str, int]
    reasons: dict[str, int]
    delivered: int
    requests: int
    backlog: int
    drained_s: float
    wrong: list[str]


class PushResult(Struct):
    """What was measured, by what the provider did meanwhile."""

    phases: dict[str, Measured]
    outcomes: Outcomes


def settings(provider: PushStandIn) -> dict[str, str]:
    """Point a server to a provider."""
    return {
        **chat_generator.SETTINGS,
        **TIMES,
        "CARDROOM_ONESIGNAL_BASE_URL": provider.url,
        "CARDROOM_ONESIGNAL_APP_ID": APP,
        "CARDROOM_ONESIGNAL_API_KEY": KEY,
    }


async def report(sessions: int, rate: float, seconds: float, out: Path | None) -> int:
    """Measure, print tables, write JSON to `out`; return the exit code."""
    provider = PushStandIn(app_id=APP, api_key=KEY)
    async with trio.open_nursery() as nursery:
        await nursery.start(provider.run)
        async with serving(settings(provider)) as server:
            result = await measure(server, provider, sessions, rate, seconds)
        nursery.cancel_scope.cancel()
    if out is not None:
        await trio.Path(out).write_bytes(msgspec.json.format(msgspec.json.encode(result)) + b"\n")
    console = Console()
    title = f"{sessions} sessions, {rate:g} messages/s, {PUSHES_PER_S:g} to who is not there"
    console.print(_latencies(title, result.phases))
    console.print(_table(result.outcomes))
    lost = any(phase.lost for phase in result.phases.values())
    return 1 if lost or result.outcomes.wrong else 0


async def measure(
    server: ServerProcess, provider: PushStandIn, sessions: int, rate: float, seconds: float
) -> PushResult:
    """Talk on a running server while the provider does what is in `FAULTS`.

    Args:
        server: with `settings` in force.
        provider: where it pushes to.
        sessions: how many players are there; `ABSENT` others are not.
        rate: messages a second, `PUSHES_PER_S` of them to who is not there.
        seconds: how long each part takes.
    """
    phases: dict[str, Measured] = {}
    # Whoever is to be told of new requests has to be known before there are any.
    async with connected(server.ws_url, token=server.token("staff0", role="staff")):
        pass
    drained = Drained(server)
    async with talking(server, sessions, STAFF, absent=ABSENT) as generator:
        await generator.phase(at_rate(WARM_UP_S, rate))
        async with trio.open_nursery() as nursery:
            for name, fault in FAULTS.items():
                provider.fault = fault
                if name == WELL_AGAIN:
                    nursery.start_soon(drained.watch)
                phases[name] = await generator.phase(at_rate(seconds, rate, PUSHES_PER_S))
    # What was queued while the backlog went is sent, too.
    await Drained(server).watch()
    rows = await trio.to_thread.run_sync(_rows, server)
    wrong = hold_against(
        rows,
        [push.key for push in provider.pushes],
        requests=sessions + ABSENT,
        answers=sum(phase.to_absent for phase in phases.values()),
    )
    outcomes = Outcomes(
        rows=dict(Counter(row.status for row in rows)),
        reasons=dict(Counter(row.reason for row in rows if row.status != "sent")),
        delivered=len(provider.pushes),
        requests=len(provider.requests),
        backlog=drained.backlog,
        drained_s=round(drained.took_s, 1),
        wrong=wrong,
    )
    return PushResult(phases, outcomes)


class Row(NamedTuple):
    """A notification as it stands in the outbox."""

    id: str
    kind: str
    status: str
    reason: str


def hold_against(rows: list[Row], taken: list[str], *, requests: int, answers: int) -> list[str]:
    """Compare the outbox with what the provider took; return a sentence for whatever is wrong.

    Args:
        rows: all of the outbox.
        taken: the id of each notification that the provider took.
        requests: how many sessions have begun.
        answers: how many messages, at least, were for players who were not there.
    """
    wrong: list[str] = []
    kinds = Counter(row.kind for row in rows)
    if kinds["chat_request"] != requests:
        wrong.append(f"{kinds['chat_request']} notifications of {requests} new requests")
    if kinds["chat_message"] < answers:
        wrong.append(f"{kinds['chat_message']} notifications of {answers} answers at least")
    times = Counter(taken)
    for row in rows:
        if times[row.id] != (row.status == "sent"):
            wrong.append(f"{row.id} is {row.status}, and was delivered {times[row.id]} times")
        if row.status not in ("sent", "dead") or (row.status == "dead" and not row.reason):
            wrong.append(f"{row.id} is {row.status}, for this reason: {row.reason or 'none'}")
    wrong += [f"nobody queued {key}" for key in times.keys() - {row.id for row in rows}]
    return wrong


class Drained:
    """Waits until nothing waits any more of what was queued before.

    Attributes:
        backlog: how many waited when the waiting began; `took_s`: how long it took.
    """

    def __init__(self, server: ServerProcess) -> None:
        self.backlog = 0
        self.took_s = 0.0
        self._server = server

    async def watch(self) -> None:
        """Wait.

        Raises:
            trio.TooSlowError: it takes longer than `DRAIN_S`.
        """
        began = trio.current_time()
        waiting = await self._waiting()
        self.backlog = len(waiting)
        with trio.fail_after(DRAIN_S):
            while waiting & await self._waiting():  # noqa: ASYNC110 - another process
                await trio.sleep(0.2)
        self.took_s = trio.current_time() - began

    async def _waiting(self) -> set[str]:
        rows = await trio.to_thread.run_sync(_rows, self._server)
        return {row.id for row in rows if row.status == "pending"}


def _rows(server: ServerProcess) -> list[Row]:
    with psycopg.connect(server.database_url) as db:
        found = db.execute(
            "SELECT id::text, kind, status, coalesce(last_error, '') FROM push_notifications"
        )
        return [Row(*row) for row in found]


def _latencies(title: str, phases: dict[str, Measured]) -> Table:
    table = Table("provider", title=title)
    for name in ("to the other side, ms", "to its ok, ms", "server CPU a message", "lost"):
        table.add_column(name, justify="right")
    for name, one in phases.items():
        cpu = f"{one.server_cpu_us_per_message:,.0f} µs"
        table.add_row(name, str(one.heard), str(one.answered), cpu, str(one.lost))
    return table


def _table(outcomes: Outcomes) -> Table:
    table = Table("notifications", "")
    for what, figure in (
        ("queued", ", ".join(f"{n} {status}" for status, n in outcomes.rows.items())),
        ("reasons", ", ".join(f"{n} {why}" for why, n in outcomes.reasons.items())),
        ("taken by the provider", f"{outcomes.delivered} in {outcomes.requests} requests"),
        ("waited when it was well again", f"{outcomes.backlog}, done in {outcomes.drained_s} s"),
        ("wrong", "\n".join(outcomes.wrong[:20]) or "nothing"),
    ):
        table.add_row(what, figure)
    return table
