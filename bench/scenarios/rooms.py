"""`durable` and `fanout`: many rooms of few sockets, and one room of many."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from functools import partial

import trio
from msgspec import Struct

from bench.harness.generators import generating, shares
from bench.harness.result import Figure, Result
from bench.harness.run import usual_figures
from bench.scenarios.clients import connect
from bench.scenarios.common import SETTINGS, Timing, Watch, ground, measured_by, result_of
from bench.scenarios.fanout_load import FanoutOptions
from bench.scenarios.rooms_load import SEAT_SETTINGS, RoomsOptions
from bench.server_process import ServerProcess
from bench.serving import serving

LOAD = "bench.scenarios.rooms_load"


async def durable(
    rooms: int, sockets: int, in_flight: int, rate: float, timing: Timing, watch: Watch
) -> Result:
    """Measure the pure way of a command: one small one under way in each room."""
    loop = f"{rate:,.0f} commands/s due" if rate else f"{in_flight} under way in each"
    result = await _measure(
        "durable",
        f"{rooms} rooms of {sockets} sockets, {loop}",
        "A player sits out and in again: one event, committed, then told to all sockets of the "
        "room. Done when the last of them has read it.",
        LOAD,
        partial(
            plans_for,
            sizes=[sockets] * rooms,
            in_flight=in_flight,
            rate=rate,
            generators=timing.generators,
        ),
        rooms * sockets,
        in_flight,
        rate,
        timing,
        watch,
    )
    result.options |= {"rooms": rooms, "sockets": sockets}
    return result


async def fanout(
    spectators: int, in_flight: int, rate: float, timing: Timing, watch: Watch
) -> Result:
    """Measure how fast one room tells many; generators share those who watch."""
    result = await _measure(
        "fanout",
        f"One room, {spectators:,} spectators",
        "A player sits out and in again; each time all spectators are told. Done when the last of "
        "them has read it.",
        "bench.scenarios.fanout_load",
        partial(shared_room, spectators, in_flight, rate, timing.generators),
        spectators + 1,
        in_flight,
        rate,
        timing,
        watch,
    )
    result.options["spectators"] = spectators
    told = result.figures["rate"]
    listeners = spectators + 1
    frames = [each * listeners for each in told.samples]
    result.figures = {
        "frames": Figure("frames/s", told.value * listeners, "/s", "higher", frames, timed=True),
        **result.figures,
    }
    return result


async def _measure(
    scenario: str,
    title: str,
    about: str,
    load: str,
    plans: Callable[[ServerProcess], Sequence[Struct]],
    sockets: int,
    in_flight: int,
    rate: float,
    timing: Timing,
    watch: Watch,
) -> Result:
    watch.phase("starting a server")
    async with serving(SETTINGS) as server:
        stands_on = await ground(server)
        watch.phase(f"connecting {sockets:,} sockets")
        planned = await trio.to_thread.run_sync(plans, server)
        async with generating(load, planned) as generators:
            measured = await measured_by(server, generators, timing, watch)
        watch.phase("stopping the server")
    return result_of(
        stands_on,
        measured,
        usual_figures(measured, "commands"),
        scenario=scenario,
        title=title,
        about=about,
        options={
            "in_flight": in_flight,
            "rate": rate,
            "seconds": timing.seconds,
            "warm_up_s": timing.warm_up_s,
            "generators": timing.generators,
        },
        operation="commands",
        latency_title="command "
        + ("due" if rate else "sent")
        + " until the last socket of the room has read its event",
        open_loop=rate > 0,
    )


def plans_for(
    server: ServerProcess,
    sizes: Sequence[int],
    in_flight: int,
    rate: float,
    generators: int,
    ids: Sequence[str] = (),
) -> list[RoomsOptions]:
    """Share rooms among generators.

    Args:
        server: where they are to be.
        sizes: how many sockets each has.
        in_flight: commands under way in each.
        rate: commands due a second in all together, or 0.
        generators: how many.
        ids: the rooms, where they are there already.
    """
    tokens = [
        [server.token(f"r{room}u{user}") for user in range(size)] for room, size in enumerate(sizes)
    ]
    plans = []
    for share in shares(len(sizes), generators):
        some, tokens = tokens[:share], tokens[share:]
        there, ids = list(ids[:share]), ids[share:]
        part = rate * share / len(sizes)
        plans.append(RoomsOptions(server.ws_url, some, in_flight, part, there))
    return plans


def shared_room(
    spectators: int, in_flight: int, rate: float, generators: int, server: ServerProcess
) -> list[FanoutOptions]:
    """Make a room with a player, and share all who are in it among generators; blocks."""
    url, player = server.ws_url, server.token("player")
    (host,) = connect(url, [player])
    made = host.ask("create_room", settings=SEAT_SETTINGS)["room"]
    host.ask("seat", room_id=made["id"], seat_index=0, buy_in=made["min_buy_in"])
    host.close()
    tokens = [player, *(server.token(f"s{number}") for number in range(spectators))]
    parts = shares(len(tokens), generators)
    meeting = f"cardroom-fanout-{server.pid}-{secrets.token_hex(4)}"
    plans = []
    for number, share in enumerate(parts):
        some, tokens = tokens[:share], tokens[share:]
        leads = number == 0
        plans.append(
            FanoutOptions(url, made["id"], some, in_flight, rate, meeting, len(parts) - 1, leads)
        )
    return plans
