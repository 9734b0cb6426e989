"""`waitlist`: how fast queues change, each change told to a table's people and to all of staff."""

from __future__ import annotations

import httpx
import msgspec

from bench.harness.generators import generating
from bench.harness.result import Figure, Result
from bench.harness.run import Measured, mean, usual_figures
from bench.scenarios.common import (
    ERRORS,
    REST_S,
    SETTINGS,
    Timing,
    Watch,
    allow_many_files,
    ground,
    measured_by,
    refusals,
    result_of,
)
from bench.scenarios.waitlist_load import SEATED, QueueKnown
from bench.scenarios.waitlist_people import WaitlistOptions
from bench.scenarios.waitlist_table import FEWEST_WAITING, SEATS
from bench.server_process import ServerProcess
from bench.serving import serving

LOAD = "bench.scenarios.waitlist_load"
QUEUE_SETTINGS = SETTINGS | {"CARDROOM_SEAT_OFFER_S": "3600"}
"""Who is called answers when it is their turn, and not because time is up."""
_HTTP_S = 30.0


async def waitlist(
    tables: int, waiting: int, staff: int, rate: float, timing: Timing, watch: Watch
) -> Result:
    """Measure tables where players wait, are called and sit down, and staff put them in order.

    Args:
        tables: how many queues there are.
        waiting: how many players wait in each, `FEWEST_WAITING` at least; some are away at times.
        staff: sockets of staff, who are told of all of them.
        rate: steps a second that are due over all tables; 0: the next when one is done.
        timing: how long.
        watch: who looks on.
    """
    if waiting < FEWEST_WAITING:
        raise ValueError(f"a queue is of {FEWEST_WAITING} players at least")
    allow_many_files()
    watch.phase("starting a server")
    async with serving(QUEUE_SETTINGS) as server:
        stands_on = await ground(server)
        watch.phase(f"having {tables * waiting:,} players wait")
        plan = plan_for(server, tables, waiting, staff, rate)
        async with generating(LOAD, [plan]) as generators:
            measured = await measured_by(server, generators, timing, watch)
            watch.phase("waiting for the last step")
            [finished] = await generators.finish(REST_S)
            watch.phase("comparing the queues")
            queues = msgspec.json.decode(finished.known, type=list[QueueKnown])
            wrong = await hold_against(server, queues)
        watch.phase("stopping the server")
    said = f"{rate:,.0f} steps/s due" if rate else "one step under way at each"
    result = result_of(
        stands_on,
        measured,
        _figures(measured),
        scenario="waitlist",
        title=f"{tables} queues of {waiting}, {staff} sockets of staff, {said}",
        about="Players join a table's queue, leave it, are called, accept and decline; those who "
        "sit get up again; staff call out of turn and move. All of a table and of staff are told "
        "the whole queue, and players their own. Done when the last of them has read it.",
        options={
            "tables": tables,
            "waiting": waiting,
            "staff": staff,
            "rate": rate,
            "seconds": timing.seconds,
            "warm_up_s": timing.warm_up_s,
        },
        operation="steps",
        latency_title="step "
        + ("due" if rate else "sent")
        + " until the last socket that is to be told has read it",
        open_loop=rate > 0,
        more_notes=[*refusals(measured), *wrong],
    )
    if wrong:
        result.failed = f"{len(wrong)} queues are not as they were told"
    elif finished.undone:
        result.failed = f"{finished.undone} steps were never told to all, or answered"
    elif finished.errors:
        result.failed = ERRORS
    return result


def plan_for(
    server: ServerProcess, tables: int, waiting: int, staff: int, rate: float
) -> WaitlistOptions:
    """Name everybody who takes part."""
    names = [[f"q{table}p{player}" for player in range(SEATS + waiting)] for table in range(tables)]
    return WaitlistOptions(
        server.ws_url,
        [[(name, server.token(name)) for name in table] for table in names],
        [server.token(f"staff{number}", role="staff") for number in range(staff)],
        rate,
    )


async def hold_against(server: ServerProcess, queues: list[QueueKnown]) -> list[str]:
    """Compare queues with what the server answers over HTTP; a sentence for each that is wrong."""
    headers = {"Authorization": f"Bearer {server.token('auditor', role='staff')}"}
    wrong: list[str] = []
    async with httpx.AsyncClient(headers=headers, timeout=_HTTP_S) as http:
        for queue in queues:
            url = f"{server.http_url}/api/waitlist/table/{queue.table_id}"
            answer = (await http.get(url)).raise_for_status()
            read = [
                (entry["id"], entry["playerId"], entry["position"], entry["status"])
                for entry in answer.json()["entries"]
            ]
            expected = list(zip(queue.expected, range(1, len(queue.expected) + 1), strict=True))
            if [(player_id, place) for _, player_id, place, _ in read] != expected:
                wrong.append(f"Table {queue.table_id}: {read} over HTTP, and should be {expected}.")
            elif any(told != read for told in queue.told):
                wrong.append(f"Table {queue.table_id}: {read} over HTTP, and told {queue.told}.")
    return wrong


def _figures(measured: Measured) -> dict[str, Figure]:
    figures = usual_figures(measured, "steps")
    events = [moment.events for moment in measured.measured]
    seated = measured.counted(SEATED)
    return {
        "rate": figures.pop("rate"),
        "events": Figure("messages received/s", mean(events), "/s", "higher", events, timed=True),
        "seated": Figure("seated/s", mean(seated), "/s", "higher", seated, timed=True),
        **figures,
    }
