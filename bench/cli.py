"""`cardroom bench`: measurements and proofs, each against servers of its own."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click
import trio

from bench.scenarios import cli as scenarios

ALL = "all"
_FILE = click.Path(path_type=Path, dir_okay=False)


def _named(_ctx: click.Context, _param: click.Parameter, name: str) -> tuple[str, ...]:
    """Read the name of a variant, or of all of them."""
    from game.poker.variants import VARIANTS

    if name not in (*VARIANTS, ALL):
        raise click.BadParameter(f"not one of {', '.join((*VARIANTS, ALL))}")
    return tuple(VARIANTS) if name == ALL else (name,)


def _failing(_ctx: click.Context, _param: click.Parameter, name: str | None) -> str | None:
    """Read the name of a way in which the stand-in fails."""
    from bench.push_show import FAULTS

    if name is not None and name not in FAULTS:
        raise click.BadParameter(f"not one of {', '.join(FAULTS)}")
    return name


_of_variant = click.option(
    "--variant",
    "variants",
    default=ALL,
    show_default=True,
    callback=_named,
    help="What is played: the name of a variant, or all of them.",
)


@click.group()
def bench() -> None:
    """Prove and measure the server from outside, on servers started for it."""


scenarios.register(bench)


@bench.command()
@click.option("--hands", default=5_000, show_default=True, help="Hands of each variant.")
@click.option("--seed", default=0, show_default=True, help="Of the decisions.")
@_of_variant
def books(hands: int, seed: int, variants: Sequence[str]) -> None:
    """Play random hands and hold ledger, histories and every commit against each other."""
    from bench.books import report

    sys.exit(trio.run(report, hands, variants, seed))


@bench.command()
@click.option("--runs", default=1_000, show_default=True, help="Rooms, each with up to 50 steps.")
@click.option("--seed", default=0, show_default=True, help="Of what is done to them.")
def fuzz(runs: int, seed: int) -> None:
    """Do anything to rooms, with restarts, and hold the database against what they held."""
    from bench.fuzz import report

    sys.exit(report(runs, seed))


@bench.command()
def hands() -> None:
    """Play recorded hands through a server and hold every amount and card against the record."""
    from bench.hands_report import report

    sys.exit(trio.run(report))


@bench.command()
@click.option("--kills", default=200, show_default=True, help="How often the server is killed.")
@click.option("--tables", default=20, show_default=True, help="Tables of six bots.")
@click.option("--seed", default=1, show_default=True, help="Of the bots' choices.")
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="An empty folder for the server, kept afterwards (default: a temporary one).",
)
def kills(kills: int, tables: int, seed: int, data_dir: Path | None) -> None:
    """Kill the server (-9) again and again while bots play, and look for anything lost."""
    from bench.kills import report

    sys.exit(trio.run(report, kills, tables, seed, data_dir))


@bench.command()
@click.option("--kills", default=60, show_default=True, help="How often the server is killed.")
@click.option("--sessions", default=200, show_default=True, help="Players who talk.")
@click.option("--seed", default=1, show_default=True, help="Of what they do.")
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="An empty folder for the server, kept afterwards (default: a temporary one).",
)
def chat_kills(kills: int, sessions: int, seed: int, data_dir: Path | None) -> None:
    """Kill the server (-9) again and again while players and staff talk, and look for anything
    lost."""
    from bench.chat_kills import report

    sys.exit(trio.run(report, kills, sessions, seed, data_dir))


@bench.command()
@click.option("--sessions", default=300, show_default=True, help="Players who are there.")
@click.option("--rate", default=50.0, show_default=True, help="Messages a second.")
@click.option("--seconds", default=20, show_default=True, help="For each thing that fails.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="JSON goes here.")
def push(sessions: int, rate: float, seconds: int, out: Path | None) -> None:
    """Measure chats while the push provider fails in every way, and count what is delivered."""
    from bench.push_latency import report

    sys.exit(trio.run(report, sessions, rate, seconds, out))


@bench.command()
@click.option("--rooms", default=1000, show_default=True, help="Live rooms; half are in a hand.")
@click.option("--rounds", default=3, show_default=True, help="Starts of each kind.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="JSON goes here.")
def startup(rooms: int, rounds: int, out: Path | None) -> None:
    """Measure starts: the first, on an empty club, and after a kill (-9) with many rooms."""
    from bench.startup import report

    sys.exit(trio.run(report, rooms, rounds, out))


@bench.command()
@click.option("--hands", default=10_000, show_default=True, help="Hands played by the rules alone.")
@click.option("--socket-hands", default=100, show_default=True, help="Hands over real sockets.")
@click.option("--seed", default=0, show_default=True, help="Of the first hand.")
@_of_variant
def secrecy(hands: int, socket_hands: int, seed: int, variants: Sequence[str]) -> None:
    """Play hands on two decks and look for anything told that depends on hidden cards."""
    from bench.secrecy import report

    sys.exit(report(hands, socket_hands, seed, variants))


@bench.command()
@click.option("--writes", default=1000, show_default=True, help="How many, one after another.")
@click.option("--tables", default=0, show_default=True, help="Tables of six that play beside it.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="JSON goes here.")
def outside(writes: int, tables: int, out: Path | None) -> None:
    """Measure how soon clients know of what was written past the server, by SQL."""
    from bench.outside_writes import report

    sys.exit(trio.run(report, writes, tables, out))


@bench.command()
@click.option("--operations", default=10_000, show_default=True, help="Over all sources.")
@click.option("--tables", default=4, show_default=True, help="How many queues.")
@click.option("--players", default=40, show_default=True, help="Who are in them.")
@click.option("--seed", default=1, show_default=True, help="Of what is done.")
@click.option("--kills", default=1, show_default=True, help="Kills (-9) of the server meanwhile.")
def queue(operations: int, tables: int, players: int, seed: int, kills: int) -> None:
    """Write to queues by socket, HTTP and SQL at once; all must know the same at the end."""
    from bench.queue_run import report

    sys.exit(trio.run(report, operations, tables, players, seed, kills))


@bench.command()
@click.option("--count", default=1_000_000, show_default=True, help="Showdowns of each variant.")
@click.option("--seed", default=0, show_default=True, help="Of the cards.")
@click.option("--processes", type=int, default=os.cpu_count, show_default="one a core")
@_of_variant
def showdowns(count: int, seed: int, processes: int, variants: Sequence[str]) -> None:
    """Hold our hand types against PokerKit's own on random showdowns; time both."""
    from bench.showdowns import report

    sys.exit(report(count, variants, seed, processes))


@click.command("push-stand-in")
@click.option("--port", default=8085, show_default=True, help="Where it listens; 0: a free port.")
@click.option("--app-id", help="The only app that it knows (default: any).")
@click.option("--api-key", help="The only key that is good (default: any).")
@click.option("--fail", callback=_failing, help="How every request fails, such as 500 or hang.")
def push_stand_in(port: int, app_id: str | None, api_key: str | None, fail: str | None) -> None:
    """Stand in for OneSignal on this machine, and show the push notifications that come."""
    from bench.push_show import show

    trio.run(show, port, app_id, api_key, fail)


@bench.command()
@click.option("--hands", default=500, show_default=True, help="Hands of each variant.")
@click.option("--seed", default=0, show_default=True, help="Of cards and decisions.")
@_of_variant
def decisions(hands: int, seed: int, variants: Sequence[str]) -> None:
    """Measure what deciding an action costs by the rules alone, before and after our hand types."""
    from bench.decisions import report

    sys.exit(report(variants, hands, seed))


@bench.command()
@click.option("--rooms", default=200, show_default=True, help="Rooms of six sockets.")
@click.option("--seconds", default=10, show_default=True, help="How long each turn is measured.")
@click.option("--rounds", default=3, show_default=True, help="Turns that everybody has.")
@click.option("--connections", default=32, show_default=True, help="Each peer's, to PostgreSQL.")
@click.option(
    "--flush-ms",
    "flushes_ms",
    type=click.FloatRange(min=0),
    multiple=True,
    default=(0.0,),
    show_default=True,
    help="Added to each flush of the log; again for a series.",
)
@click.option("--peer", "names", multiple=True, help="One of them, again for more (default: all).")
@click.option("--out", type=_FILE, help="The result goes here, as JSON.")
@click.option("--page", type=_FILE, help="And here, as an HTML page.")
def peers(
    rooms: int,
    seconds: int,
    rounds: int,
    connections: int,
    flushes_ms: tuple[float, ...],
    names: tuple[str, ...],
    out: Path | None,
    page: Path | None,
) -> None:
    """Measure other servers that do the same beside ours: commands a second, as ratios."""
    from bench.peers.contestants import CONTESTANTS
    from bench.peers.run import Asked, report
    from bench.peers.turns import Plan

    known = [contestant.name for contestant in CONTESTANTS if contestant.command is not None]
    if unknown := set(names) - set(known):
        raise click.BadParameter(f"{unknown.pop()}: not one of {', '.join(known)}")
    plan = Plan(rooms, seconds, warm_up_s=3, connections=connections, spectators=2_000)
    asked = Asked(plan, rounds, sorted(set(flushes_ms)), names or known)
    sys.exit(trio.run(report, asked, out, page))
