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

from bench.harness.generators import generating
from bench.harness.latencies import Latencies
from bench.harness.result import Moment
from bench.harness.run import Measured, Recording, usual_figures
from bench.outside import connected
from bench.push_stand_in import BAD_KEY, BROKEN, GARBAGE, HANG, Fault, PushStandIn, limited
from bench.scenarios.chat import LOAD, plan_for
from bench.scenarios.chat_load import ANSWERED, TO_ABSENT
from bench.scenarios.common import REST_S, SETTINGS, allow_many_files
from bench.server_process import ServerProcess
from bench.serving import serving

WARM_UP_S = 3
STAFF = 6
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


class Times(Struct):
    """Percentiles in milliseconds."""

    p50_ms: float
    p90_ms: float
    p99_ms: float
    max_ms: float

    @classmethod
    def of(cls, latencies: Latencies) -> Times:
        """Return those of latencies."""
        return cls(*(latencies.ms(percent) for percent in (50, 90, 99, 100)))

    def __str__(self) -> str:
        return " / ".join(
            f"{ms:.1f}" for ms in (self.p50_ms, self.p90_ms, self.p99_ms, self.max_ms)
        )


class Talk(Struct):
    """What chats were like for a while.

    Attributes:
        per_s: messages that arrived in a second.
        to_absent: messages, beside, to players who are not there.
        heard: from when a message was due until the other side had it.
        answered: from then until its writer had the `ok`.
        errors: commands that were refused.
    """

    per_s: float
    to_absent: int
    heard: Times
    answered: Times
    errors: int
    server_cpu_us_per_message: float

    @classmethod
    def of(cls, measured: Measured) -> Talk:
        """Say what came of some seconds."""
        figures = usual_figures(measured, "messages")
        told = [one for second in measured.seconds for one in second]
        return cls(
            per_s=round(figures["rate"].value, 1),
            to_absent=sum(one.counts[TO_ABSENT] for one in told),
            heard=Times.of(measured.latencies),
            answered=Times.of(measured.of_kind(ANSWERED)),
            errors=measured.errors,
            server_cpu_us_per_message=round(figures["server_us"].value, 1),
        )


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
    """What was measured, by what the provider did meanwhile.

    Attributes:
        lost: commands refused, and messages without their event or `ok` in the end.
    """

    phases: dict[str, Talk]
    lost: int
    outcomes: Outcomes


def settings(provider: PushStandIn) -> dict[str, str]:
    """Point a server to a provider."""
    return {
        **SETTINGS,
        **TIMES,
        "CARDROOM_ONESIGNAL_BASE_URL": provider.url,
        "CARDROOM_ONESIGNAL_APP_ID": APP,
        "CARDROOM_ONESIGNAL_API_KEY": KEY,
    }


async def report(sessions: int, rate: float, seconds: int, out: Path | None) -> int:
    """Measure, print tables, write JSON to `out`; return the exit code."""
    allow_many_files()
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
    return 1 if result.lost or result.outcomes.wrong else 0


async def measure(
    server: ServerProcess, provider: PushStandIn, sessions: int, rate: float, seconds: int
) -> PushResult:
    """Talk on a running server while the provider does what is in `FAULTS`.

    Args:
        server: with `settings` in force.
        provider: where it pushes to.
        sessions: how many players are there; `ABSENT` others are not.
        rate: messages a second, `PUSHES_PER_S` of them to who is not there.
        seconds: how long each part takes, of which the first comes after a warm-up.
    """
    phases: dict[str, Talk] = {}
    # Whoever is to be told of new requests has to be known before there are any.
    async with connected(server.ws_url, token=server.token("staff0", role="staff")):
        pass
    drained = Drained(server)
    plan = plan_for(server, sessions, STAFF, rate=rate, receipts=True)
    plan.absent = [server.token(f"absent{number}") for number in range(ABSENT)]
    plan.absent_rate = PUSHES_PER_S
    async with generating(LOAD, [plan]) as generators:
        recording = Recording(server, generators, _unseen)
        began = await generators.begin()
        async with trio.open_nursery() as nursery:
            async with trio.open_nursery() as sampling:
                sampling.start_soon(recording.sampler.run)
                for number in range(WARM_UP_S):
                    await recording.second(number, began, began)
                for index, (name, fault) in enumerate(FAULTS.items()):
                    provider.fault = fault
                    if name == WELL_AGAIN:
                        nursery.start_soon(drained.watch)
                    first = WARM_UP_S + index * seconds
                    phases[name] = Talk.of(await recording.part(first, seconds, began, began))
                sampling.cancel_scope.cancel()
            [finished] = await generators.finish(REST_S)
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
    lost = sum(phase.errors for phase in phases.values()) + finished.errors + finished.undone
    return PushResult(phases, lost, outcomes)


def _unseen(_: Moment) -> None:
    pass


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


def _latencies(title: str, phases: dict[str, Talk]) -> Table:
    table = Table("provider", title=title)
    for name in ("to the other side, ms", "to its ok, ms", "server CPU a message", "refused"):
        table.add_column(name, justify="right")
    for name, one in phases.items():
        cpu = f"{one.server_cpu_us_per_message:,.0f} µs"
        table.add_row(name, str(one.heard), str(one.answered), cpu, str(one.errors))
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
