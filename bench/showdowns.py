"""Hold our hand types against PokerKit's own on random showdowns.

Two hands of each showdown, on one board, are made by both: either both know a hand or neither does,
they compare alike, and they have the same name. The time that each takes is measured on the way.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from operator import eq, ge, gt, le, lt, ne

from msgspec import Struct
from pokerkit import Card, Hand
from rich.console import Console
from rich.progress import track
from rich.table import Table

from game.poker.hand_types import FastHand
from game.poker.variants import VARIANTS

BOARD = 5
CHUNK = 5_000
"""Showdowns that a process compares at a time."""
COMPARISONS: tuple[Callable[[Hand, Hand], bool], ...] = (lt, le, eq, ne, gt, ge)
_LOW_ORDER = "A2345678"
_LOW_NAMES = ("five low", "six low", "seven low", "eight low")

Cards = tuple[Card, ...]
Pair = tuple[Hand | None, Hand | None]


class Difference(Exception):
    """A hand is not what PokerKit makes of the same cards."""


class Compared(Struct):
    """What was compared; processor time of making the hands, in seconds."""

    showdowns: int = 0
    hands: int = 0
    ties: int = 0
    ours_s: float = 0.0
    theirs_s: float = 0.0

    def add(self, other: Compared) -> None:
        """Add what another run compared."""
        for name in self.__struct_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


def compare(variant: str, count: int, seed: int) -> Compared:
    """Compare both hands of random showdowns, in every hand type of the variant.

    Args:
        variant: its name.
        count: how many showdowns.
        seed: of the cards.

    Raises:
        Difference: with the cards, at the first hand that differs.
    """
    rules = VARIANTS[variant]
    rng = random.Random(f"{variant} {seed}")
    deck, each = tuple(rules.game.deck), rules.hole_cards
    compared = Compared(showdowns=count)
    for _ in range(count):
        cards = rng.sample(deck, 2 * each + BOARD)
        board = tuple(cards[2 * each :])
        holes = tuple(cards[:each]), tuple(cards[each : 2 * each])
        for kind in rules.hand_types:
            began = time.thread_time()
            ours = _made(kind, holes, board)
            between = time.thread_time()
            theirs = _made(kind.reference, holes, board)
            compared.theirs_s += time.thread_time() - between
            compared.ours_s += between - began
            wrong = _difference(ours, theirs)
            if wrong is not None:
                raise Difference(f"{variant}, {kind.__name__} of {holes} on {board}: {wrong}")
            compared.hands += 2
            compared.ties += ours[0] is not None and ours[0] == ours[1]
    return compared


def name_of(reference: Hand) -> str:
    """Name one of PokerKit's hands as the wire does; a low by its highest card."""
    if not reference.low:
        return reference.entry.label.value.lower()
    highest = max(_LOW_ORDER.index(card.rank) for card in reference.cards)
    return _LOW_NAMES[highest - _LOW_ORDER.index("5")]


def _made(kind: type[Hand], holes: tuple[Cards, Cards], board: Cards) -> Pair:
    one, two = holes
    return kind.from_game_or_none(one, board), kind.from_game_or_none(two, board)


def _difference(ours: Pair, theirs: Pair) -> str | None:
    for our, their in zip(ours, theirs, strict=True):
        if (our is None) != (their is None):
            return f"{our} is {their}"
        if isinstance(our, FastHand) and their is not None and our.name != name_of(their):
            return f"{our.name} is {name_of(their)}"
    (one, two), (their_one, their_two) = ours, theirs
    if one is None or two is None or their_one is None or their_two is None:
        return None
    for how in COMPARISONS:
        if how(one, two) != how(their_one, their_two):
            return f"{how.__name__} is {how(one, two)}"
    return None


def report(count: int, variants: Sequence[str], seed: int, processes: int) -> int:
    """Compare showdowns of each variant, and print what was compared and how long each took.

    Returns:
        1 if a hand differs; its cards are on the error output.
    """
    console = Console()
    table = Table("variant", "showdowns", "hands", "ties", "PokerKit µs/hand", "ours µs/hand", "×")
    with ProcessPoolExecutor(processes) as pool:
        for variant in variants:
            sizes = _chunks(count)
            compared = Compared()
            seeds = range(seed, seed + len(sizes))
            results = pool.map(compare, repeat(variant), sizes, seeds)
            try:
                for result in track(results, variant, len(sizes), console=console):
                    compared.add(result)
            except Difference as difference:
                print(difference, file=sys.stderr)
                return 1
            table.add_row(variant, *_figures(compared))
    console.print(table)
    return 0


def _chunks(count: int) -> list[int]:
    whole, rest = divmod(count, CHUNK)
    return [CHUNK] * whole + [rest] * (rest > 0)


def _figures(compared: Compared) -> Iterator[str]:
    yield f"{compared.showdowns:,}"
    yield f"{compared.hands:,}"
    yield f"{compared.ties:,}"
    yield f"{compared.theirs_s / compared.hands * 1e6:.1f}"
    yield f"{compared.ours_s / compared.hands * 1e6:.2f}"
    yield f"{compared.theirs_s / compared.ours_s:.0f}"
