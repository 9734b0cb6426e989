"""`chat`: how long a message takes from one side to the other, and how many go in a second."""

from __future__ import annotations

from bench.harness.generators import generating
from bench.harness.result import Figure, Result
from bench.harness.run import Measured, mean, usual_figures
from bench.scenarios.chat_load import ANSWERED, RECEIPTS, ChatOptions
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
from bench.server_process import ServerProcess
from bench.serving import serving

LOAD = "bench.scenarios.chat_load"


async def chat(
    sessions: int,
    staff: int,
    in_flight: int,
    rate: float,
    receipts: bool,
    timing: Timing,
    watch: Watch,
) -> Result:
    """Measure conversations of players with staff, who all hear all of them."""
    allow_many_files()
    watch.phase("starting a server")
    async with serving(SETTINGS) as server:
        stands_on = await ground(server)
        watch.phase(f"opening {sessions:,} sessions")
        plan = plan_for(server, sessions, staff, in_flight=in_flight, rate=rate, receipts=receipts)
        async with generating(LOAD, [plan]) as generators:
            measured = await measured_by(server, generators, timing, watch)
            watch.phase("waiting for the last message")
            [finished] = await generators.finish(REST_S)
        watch.phase("stopping the server")
    said = f"{rate:,.0f} messages/s due" if rate else f"{in_flight} talk at a time"
    result = result_of(
        stands_on,
        measured,
        _figures(measured),
        scenario="chat",
        title=f"{sessions:,} sessions, {staff} sockets of staff, {said}"
        + (", with receipts" if receipts else ""),
        about="Players and staff write to each other. A message has arrived when the player, or "
        "every socket of staff, has read its event, and so after its transaction is on disk.",
        options={
            "sessions": sessions,
            "staff": staff,
            "in_flight": in_flight,
            "rate": rate,
            "receipts": receipts,
            "seconds": timing.seconds,
            "warm_up_s": timing.warm_up_s,
        },
        operation="messages",
        latency_title="message "
        + ("due" if rate else "sent")
        + " until the last socket of the other side has read its event",
        open_loop=rate > 0,
        more_notes=refusals(measured),
    )
    if finished.undone:
        result.failed = f"{finished.undone} messages or receipts were never told or answered"
    elif finished.errors:
        result.failed = ERRORS
    return result


def plan_for(
    server: ServerProcess,
    sessions: int,
    staff: int,
    *,
    rate: float,
    receipts: bool,
    in_flight: int = 1,
) -> ChatOptions:
    """Name the players and staff of a load; `in_flight` sessions talk at a time where there is no
    rate."""
    return ChatOptions(
        server.ws_url,
        [server.token(f"player{number}") for number in range(sessions)],
        [server.token(f"staff{number}", role="staff") for number in range(staff)],
        in_flight=in_flight,
        rate=rate,
        receipts=receipts,
    )


def _figures(measured: Measured) -> dict[str, Figure]:
    answered = measured.of_kind(ANSWERED)
    receipts = measured.counted(RECEIPTS)
    figures = usual_figures(measured, "messages")
    return {
        "rate": figures.pop("rate"),
        "receipts": Figure("receipts/s", mean(receipts), "/s", "higher", receipts, timed=True),
        **figures,
        "ok_p50_ms": Figure("until its writer has the ok, p50", answered.ms(50), "ms", "lower"),
        "ok_p90_ms": Figure("the same, p90", answered.ms(90), "ms", "lower"),
        "ok_p99_ms": Figure("the same, p99", answered.ms(99), "ms", "lower"),
    }
