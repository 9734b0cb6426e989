"""The scenarios as commands of `cardroom bench`."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from functools import partial, wraps
from pathlib import Path
from typing import Any

import click
import trio
from rich.console import Console

from bench.harness.generators import GeneratorFailed
from bench.harness.result import Result, encode
from bench.report.page import page as drawn
from bench.report.terminal import Progress, show
from bench.scenarios.common import Timing, Watch
from bench.scenarios.growth_kinds import KINDS, OF, Of
from bench.scenarios.waitlist_table import FEWEST_WAITING

Scenario = Callable[[Watch], Awaitable[Result]]
_FILE = click.Path(path_type=Path, dir_okay=False)
_RESULT = click.Path(path_type=Path, dir_okay=False, exists=True)


def _reports(command: Callable[..., Scenario]) -> Callable[..., None]:
    """Run the scenario that a command makes of its options, show its result, write it to files."""

    @click.option("--out", type=_FILE, help="The result goes here, as JSON.")
    @click.option("--page", type=_FILE, help="And here, as an HTML page.")
    @wraps(command)
    def run(out: Path | None, page: Path | None, **options: Any) -> None:
        console = Console()
        scenario = command(**options)
        try:
            with Progress(console, str(click.get_current_context().info_name)) as progress:
                result = trio.run(scenario, progress)
        except* GeneratorFailed as failed:
            raise click.ClickException(str(failed.exceptions[0])) from None
        if out is not None:
            out.write_bytes(encode(result))
        if page is not None:
            page.write_text(drawn(result), encoding="utf-8")
        show(console, result)
        sys.exit(1 if result.failed else 0)

    return run


def _begun(command: Callable[..., Scenario]) -> Callable[..., Scenario]:
    """Add the options that say how a load begins, and by how many generators."""

    @click.option("--warm-up", default=3, show_default=True, help="Seconds before it counts.")
    @click.option("--generators", default=1, show_default=True, help="Processes that make load.")
    @wraps(command)
    def begun(warm_up: int, generators: int, seconds: int = 0, **options: Any) -> Scenario:
        return command(timing=Timing(warm_up, seconds, generators), **options)

    return begun


def _timed(command: Callable[..., Scenario]) -> Callable[..., Scenario]:
    """Add the same and how long is measured."""
    seconds = click.option("--seconds", default=20, show_default=True, help="How long it counts.")
    return seconds(_begun(command))


def _alone(command: Callable[..., Scenario]) -> Callable[..., Scenario]:
    """Add how long is measured, for a load of which everything is told to the same sockets: it is
    one generator's."""

    @click.option("--warm-up", default=3, show_default=True, help="Seconds before it counts.")
    @click.option("--seconds", default=20, show_default=True, help="How long it counts.")
    @wraps(command)
    def timed(warm_up: int, seconds: int, **options: Any) -> Scenario:
        return command(timing=Timing(warm_up, seconds), **options)

    return timed


_rate = click.option(
    "--rate",
    default=0.0,
    show_default="closed loop",
    help="Open loop: so many commands a second are due, whatever the server does.",
)


@click.command()
@click.option("--rooms", default=200, show_default=True)
@click.option("--sockets", default=6, show_default=True, help="In each room.")
@click.option("--in-flight", default=1, show_default=True, help="Commands under way in each room.")
@_rate
@_reports
@_timed
def durable(rooms: int, sockets: int, in_flight: int, rate: float, timing: Timing) -> Scenario:
    """Measure the pure way of a command: one small one under way in each room."""
    from bench.scenarios.rooms import durable as measured

    return partial(measured, rooms, sockets, in_flight, rate, timing)


@click.command()
@click.option("--rooms", default=200, show_default=True)
@click.option("--sockets", default=6, show_default=True, help="In each room.")
@click.option("--rounds", default=3, show_default=True, help="How often each part is measured.")
@click.option("--seconds", default=8, show_default=True, help="How long each part is measured.")
@_reports
@_begun
def floor(rooms: int, sockets: int, rounds: int, timing: Timing) -> Scenario:
    """Measure latency at half of what the server can do, over the least that it could be."""
    from bench.scenarios.floor import floor as measured

    return partial(measured, rooms, sockets, rounds, timing)


@click.command()
@click.option("--spectators", default=2_000, show_default=True)
@click.option("--in-flight", default=2, show_default=True, help="Commands under way.")
@_rate
@_reports
@_timed
def fanout(spectators: int, in_flight: int, rate: float, timing: Timing) -> Scenario:
    """Measure how fast one room tells many: frames a second."""
    from bench.scenarios.rooms import fanout as measured

    return partial(measured, spectators, in_flight, rate, timing)


@click.command()
@click.option("--tables", default=50, show_default=True, help="How many tables play.")
@click.option("--players", default=6, show_default=True, help="Bots at each.")
@click.option("--human", is_flag=True, help="They think for 1 to 5 s, and hands have pauses.")
@_reports
@_timed
def tables(tables: int, players: int, human: bool, timing: Timing) -> Scenario:
    """Measure how fast tables play: actions a second, and how long until all have seen one."""
    from bench.scenarios.tables import tables as measured

    return partial(measured, tables, players, human, timing)


@click.command()
@click.option("--sessions", default=1_000, show_default=True, help="Players with an open session.")
@click.option("--staff", default=6, show_default=True, help="Sockets of staff, who hear all.")
@click.option("--in-flight", default=100, show_default=True, help="Sessions that talk at a time.")
@click.option("--receipts", is_flag=True, help="Messages are confirmed: received, and read.")
@_rate
@_reports
@_alone
def chat(
    sessions: int, staff: int, in_flight: int, receipts: bool, rate: float, timing: Timing
) -> Scenario:
    """Measure chats: how long a message takes to the other side, and how many go in a second."""
    from bench.scenarios.chat import chat as measured

    return partial(measured, sessions, staff, in_flight, rate, receipts, timing)


@click.command()
@click.option("--tables", default=50, show_default=True, help="Each has a queue.")
@click.option(
    "--waiting",
    type=click.IntRange(FEWEST_WAITING),
    default=10,
    show_default=True,
    help="Players in each, who watch the table; two more sit at it.",
)
@click.option("--staff", default=6, show_default=True, help="Sockets of staff, who hear all.")
@_rate
@_reports
@_alone
def waitlist(tables: int, waiting: int, staff: int, rate: float, timing: Timing) -> Scenario:
    """Measure waitlists: how fast queues change, and how long until all know of a change."""
    from bench.scenarios.waitlist import waitlist as measured

    return partial(measured, tables, waiting, staff, rate, timing)


@click.command()
@click.option("--sockets", default=5_000, show_default=True)
@_reports
@_timed
def connections(sockets: int, timing: Timing) -> Scenario:
    """Measure what an idle socket costs: memory and processor time of the server."""
    from bench.scenarios.connections import connections as measured

    return partial(measured, sockets, timing)


_rounds = click.option("--rounds", default=1, show_default=True, help="How often it is killed.")


@click.command()
@click.option("--tables", default=2_000, show_default=True, help="Tables that play.")
@click.option("--players", default=2, show_default=True, help="At each.")
@_rounds
@_reports
@_begun
def recovery(tables: int, players: int, rounds: int, timing: Timing) -> Scenario:
    """Kill a server (-9) with live tables: until it is ready, plays on, has all clients back."""
    from bench.scenarios.comeback import recovery as measured

    return partial(measured, tables, players, rounds, timing)


@click.command()
@click.option("--rooms", default=500, show_default=True)
@click.option("--clients", default=4, show_default=True, help="In each room.")
@_rounds
@_reports
@_begun
def storm(rooms: int, clients: int, rounds: int, timing: Timing) -> Scenario:
    """Kill a server (-9), and have all clients come back at once."""
    from bench.scenarios.comeback import storm as measured

    return partial(measured, rooms, clients, rounds, timing)


def _values(_ctx: click.Context, _param: click.Parameter, said: str) -> tuple[int, ...]:
    """Read numbers that grow, with commas between them; none where nothing is said."""
    try:
        values = tuple(int(one) for one in said.split(",")) if said else ()
    except ValueError:
        raise click.BadParameter("not whole numbers with commas between them") from None
    if list(values) != sorted(set(values)) or any(value < 0 for value in values):
        raise click.BadParameter("they have to grow from one to the next")
    return values


@click.command()
@click.option("--of", type=click.Choice(OF), required=True, help="What grows.")
@click.option(
    "--values", default="", callback=_values, help="Its values, such as 100,500 (default: a few)."
)
@click.option("--rate", type=float, help="Commands due a second (default: depends on what grows).")
@click.option("--seconds", default=8, show_default=True, help="How long each value is measured.")
@_reports
@_begun
def growth(of: Of, values: tuple[int, ...], rate: float | None, timing: Timing) -> Scenario:
    """Measure how cost grows with tables, players at a table, spectators, or history."""
    from bench.scenarios.growth import Asked
    from bench.scenarios.growth import growth as measured

    kind = KINDS[of]
    asked = Asked(of, values or kind.values, kind.rate if rate is None else rate, timing)
    return partial(measured, asked)


@click.command()
@click.option("--minutes", default=60.0, show_default=True, help="How long it counts.")
@click.option("--warm-up", default=180, show_default=True, help="Seconds before it counts.")
@click.option("--kill-every", default=0.0, show_default="never", help="Seconds between two kills.")
@click.option("--tables", default=20, show_default=True, help="Tables that play.")
@click.option("--players", default=4, show_default=True, help="Who stay, at each.")
@click.option("--visitors", default=30, show_default=True, help="Who come and go, at a time.")
@click.option(
    "--stay", default=90.0, show_default=True, help="Seconds that a visitor stays at most."
)
@click.option("--lobby", default=100, show_default=True, help="Who only have the app open.")
@click.option("--staff", default=3, show_default=True, help="Who look on.")
@_reports
def soak(minutes: float, warm_up: int, kill_every: float, stay: float, **club: int) -> Scenario:
    """Run a club for long, and see what only time shows: what grows, what becomes slower."""
    from bench.scenarios.soak import soak as measured
    from bench.scenarios.soak_parts import Club

    timing = Timing(warm_up, round(minutes * 60))
    return partial(measured, Club(**club, stay_s=(stay / 4, stay)), kill_every, timing)


@click.command()
@click.argument("a", type=_RESULT)
@click.argument("b", type=_RESULT)
def compare(a: Path, b: Path) -> None:
    """Show two results side by side, and which differences are more than noise."""
    from bench.harness.result import ResultError, read
    from bench.peers import compare as of_peers
    from bench.peers.result import is_peers
    from bench.peers.result import read as read_peers
    from bench.report.compare import show

    names, console = (a.name, b.name), Console()
    kinds = [is_peers(path.read_bytes()) for path in (a, b)]
    try:
        if all(kinds):
            of_peers.show(console, names, read_peers(a), read_peers(b))
        elif any(kinds):
            raise ResultError("one of them is of `bench peers`, the other of a scenario")
        else:
            show(console, names, read(a), read(b))
    except ResultError as error:
        raise click.ClickException(str(error)) from None


def register(group: click.Group) -> None:
    """Add the scenarios to a group of commands."""
    for command in (
        durable,
        floor,
        fanout,
        tables,
        chat,
        waitlist,
        connections,
        storm,
        recovery,
        soak,
        growth,
        compare,
    ):
        group.add_command(command)
