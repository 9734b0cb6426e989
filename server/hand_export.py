"""Finished hands written to files, one after the other."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from math import inf
from pathlib import Path
from typing import Protocol, TextIO

from msgspec import Struct
from pokerkit import HandHistory
from psycopg import IsolationLevel

from game.poker.hand import ReplayMismatch
from game.poker.history import compose, open_seats
from persistence.hands import all_finished_hands
from persistence.pool import Pool


class Wanted(Struct, frozen=True, kw_only=True):
    """Which hands, as whom.

    Args:
        room_id: only this room's; None for all.
        viewer: the user whose cards are told, beside those shown; None for nobody's.
        all_cards: tell all hole cards.
        since: only hands that began then or later, UTC in ms; None for all.
        until: only hands that began before.
    """

    room_id: str | None
    viewer: str | None
    all_cards: bool
    since: int | None
    until: int | None


class Exported(Struct):
    """How many hands were written, and the ids of those whose rows contradict each other."""

    written: int
    unreadable: list[str]


class Sink(Protocol):
    """Where hands go."""

    def put(self, name: str, history: HandHistory) -> None:
        """Take one hand; `name` is a file's without its ending."""


class OneFile:
    """All hands in one text: PHHS, a numbered section for each."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._count = 0

    def put(self, name: str, history: HandHistory) -> None:
        """Write the hand's section."""
        gap = "\n" if self._count else ""
        self._count += 1
        # As `HandHistory.dumps_all` writes them, which wants all of them at once.
        self._file.write(f"{gap}[{self._count}]\n{history.dumps()}\n")


class FilePerHand:
    """A PHH file for each hand."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, name: str, history: HandHistory) -> None:
        """Write the hand's file, over one of the same name."""
        (self._folder / f"{name}.phh").write_text(history.dumps() + "\n", encoding="utf-8")


@contextmanager
def sink_at(out: Path | None) -> Iterator[Sink]:
    """Open what hands are written to; a single file stands under its name once it is whole.

    Args:
        out: a folder, which is one that exists or a name without an ending; a file; None for
            standard output.

    Raises:
        OSError: it cannot be written.
    """
    if out is None:
        yield OneFile(sys.stdout)
    elif out.is_dir() or not out.suffix:
        out.mkdir(parents=True, exist_ok=True)
        yield FilePerHand(out)
    else:
        part = out.with_name(f"{out.name}.part")
        with part.open("w", encoding="utf-8") as file:
            yield OneFile(file)
        part.replace(out)


async def export_hands(pool: Pool, wanted: Wanted, sink: Sink) -> Exported:
    """Write the hands that are wanted, by room and number, a few at a time in memory.

    Raises:
        Unavailable: the database is away.
        OSError: a file cannot be written.
    """
    done = Exported(0, [])
    async with pool.transaction(
        isolation=IsolationLevel.REPEATABLE_READ, read_only=True, timeout_s=inf
    ) as conn:
        hands = all_finished_hands(
            conn, room_id=wanted.room_id, since=wanted.since, until=wanted.until
        )
        async for stored in hands:
            try:
                hand = stored.replay()
            except ReplayMismatch:
                done.unreadable.append(stored.setup.hand_id)
                continue
            known = open_seats(hand, wanted.viewer, everything=wanted.all_cards)
            sink.put(stored.name, compose(hand, stored.about, known))
            done.written += 1
    return done
