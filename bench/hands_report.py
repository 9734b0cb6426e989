"""Every recorded hand through one server, as a table in the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from bench.hands import SETTINGS, Played, compare, play
from bench.recorded_hands import RecordedHand, recorded_hands
from bench.server_process import ServerProcess
from bench.serving import serving


def longest_showdown(hands: list[RecordedHand]) -> RecordedHand:
    """Choose the hand that is killed half-way: the one with most actions and cards shown."""
    return max(hands, key=lambda hand: (bool(hand.shown), len(hand.actions)))


async def play_all(server: ServerProcess) -> list[Played]:
    """Play all recorded hands on a running server; one of them survives a kill."""
    hands = recorded_hands()
    cut = longest_showdown(hands)
    return [await play(server, hand, kill=hand is cut) for hand in hands]


async def compare_all(server: ServerProcess, everything: list[Played]) -> None:
    """Hold all played hands against their records again, as after a restart."""
    for played in everything:
        await compare(server, played)


def table_of(everything: list[Played]) -> Table:
    """Make the table of results, one line a hand."""
    table = Table("hand", "seats", "actions", "board", "shown", "events", "killed", "result")
    for played in everything:
        hand = played.hand
        table.add_row(
            hand.name,
            str(len(hand.stacks)),
            str(len(hand.actions)),
            "".join(hand.board) or "-",
            str(len(hand.shown)),
            str(played.events),
            "mid-hand" if played.killed else "-",
            "; ".join(played.problems) or "as recorded",
        )
    return table


async def report() -> int:
    """Play, restart, compare, and print; return the exit code."""
    console = Console()
    async with serving(SETTINGS) as server:
        everything = await play_all(server)
        await server.kill()
        await server.start()
        await compare_all(server, everything)
    console.print(table_of(everything))
    wrong = sum(bool(played.problems) for played in everything)
    console.print(
        f"{len(everything) - wrong} of {len(everything)} hands as recorded, "
        "before and after a restart"
    )
    return 1 if wrong else 0
