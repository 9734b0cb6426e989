"""What only time shows: how much a server and its database hold, looked at again and again.

A server may be killed and started again in between. Each of its lives is told apart, since what it
holds, and what it counts, begins anew.
"""

from __future__ import annotations

import urllib.error
from collections.abc import Callable

import psutil
import psycopg
from msgspec import Struct
from psycopg import sql

from bench.harness.result import Growth, Series
from bench.harness.sampling import MIB, Sample, Scrape
from bench.harness.trends import Piece, trend
from bench.server_process import ServerProcess

SERVER_MEMORY, POSTGRES_MEMORY = "server memory", "PostgreSQL memory"
DATABASE = "database"
HELD = {
    SERVER_MEMORY: "MiB",
    POSTGRES_MEMORY: "MiB",
    DATABASE: "MiB",
    "open files": "",
    "threads": "",
    "tasks": "",
    "sockets": "",
    "rooms": "",
}
"""What is looked at, with its unit."""
_GAUGES = {"tasks": "cardroom_tasks", "sockets": "cardroom_sockets", "rooms": "cardroom_rooms"}
_COUNTED = ("cardroom_gc_", "cardroom_restarts_total", "cardroom_commands_total", "cardroom_slow")


class Vital(Struct):
    """One look: `held` by the names of `HELD`, `counted` by the names of the server's counters."""

    at_s: float
    life: int
    held: dict[str, float]
    counted: dict[str, float]


class TableSize(Struct):
    """A table's rows, and its bytes on disk with its indexes."""

    rows: int
    bytes: int


class Vitals:
    """Looks at a server that were taken so far."""

    def __init__(self, server: ServerProcess) -> None:
        self._server = server
        self.taken: list[Vital] = []

    def take(self, at_s: float, sample: Sample) -> None:
        """Look once, and keep it with the memory of a sample; blocks. Nothing of a server that is
        away just now."""
        server = self._server
        try:
            scrape, process = Scrape(server), psutil.Process(server.pid)
            files, threads = process.num_fds(), process.num_threads()
        except (urllib.error.URLError, OSError, psutil.Error):
            return
        held = {
            SERVER_MEMORY: sample.server_mib,
            POSTGRES_MEMORY: sample.postgres_mib,
            DATABASE: database_bytes(server.database_url) / MIB,
            "open files": files,
            "threads": threads,
            **{name: scrape.metrics.get(metric, 0.0) for name, metric in _GAUGES.items()},
        }
        counted = {
            name: value for name, value in scrape.metrics.items() if name.startswith(_COUNTED)
        }
        self.taken.append(Vital(round(at_s, 1), server.starts, held, counted))

    def counted(self, chosen: Callable[[str], bool]) -> float:
        """Return by how much the chosen counters grew, over all lives, since the first look."""
        total = 0.0
        before: Vital | None = None
        for vital in self.taken:
            value = sum(count for name, count in vital.counted.items() if chosen(name))
            if before is not None:
                total += value
                if before.life == vital.life:
                    total -= sum(c for name, c in before.counted.items() if chosen(name))
            before = vital
        return total

    def highest(self, name: str) -> float:
        """Return the highest that a figure ever was; 0 if it never was."""
        return max((vital.counted.get(name, 0.0) for vital in self.taken), default=0.0)

    def growth(self, settle_s: float) -> list[Growth]:
        """Say of each thing held whether it grows; the first `settle_s` of each life are not asked.

        What the database holds is one piece, whatever became of the server.
        """
        return [self._growth(name, settle_s) for name in HELD]

    def later_growth(self, name: str, settle_s: float) -> Growth:
        """Say the same of one thing, and of the second half alone: what fills up settles."""
        settled = self._settled(settle_s)
        half = settled[len(settled) // 2 :]
        return _growth_of(name, half)

    def series(self) -> list[Series]:
        """Return all of it for pictures, what is alike together."""
        at_s = [vital.at_s for vital in self.taken]
        together = {
            "Memory held": (SERVER_MEMORY, POSTGRES_MEMORY),
            "Database on disk": (DATABASE,),
            "Open files, threads, tasks": ("open files", "threads", "tasks"),
            "Rooms": ("rooms",),
        }
        return [
            Series(
                title,
                HELD[names[0]],
                at_s,
                {name: [round(vital.held[name], 2) for vital in self.taken] for name in names},
            )
            for title, names in together.items()
        ]

    def _growth(self, name: str, settle_s: float) -> Growth:
        return _growth_of(name, self._settled(settle_s))

    def _settled(self, settle_s: float) -> list[Vital]:
        began: dict[int, float] = {}
        return [
            vital
            for vital in self.taken
            if vital.at_s - began.setdefault(vital.life, vital.at_s) >= settle_s
        ]


def _growth_of(name: str, vitals: list[Vital]) -> Growth:
    pieces: dict[int, list[tuple[float, float]]] = {}
    for vital in vitals:
        life = 0 if name in (DATABASE, POSTGRES_MEMORY) else vital.life
        pieces.setdefault(life, []).append((vital.at_s, vital.held[name]))
    found = trend(list[Piece](pieces.values()))
    values = [vital.held[name] for vital in vitals] or [0.0]
    slopes = (None, None, None) if found is None else (found.per_hour, found.low, found.high)
    return Growth(name, HELD[name], values[0], values[-1], *slopes)


def database_bytes(database_url: str) -> int:
    """Return what the whole database takes on disk."""
    with psycopg.connect(database_url, autocommit=True) as conn:
        (size,) = conn.execute("SELECT pg_database_size(current_database())").fetchone() or (0,)
    return int(size)


def table_sizes(database_url: str) -> dict[str, TableSize]:
    """Count every table's rows one by one, and say what each takes on disk."""
    sizes = {}
    with psycopg.connect(database_url, autocommit=True) as conn:
        listed = conn.execute(
            "SELECT relname, pg_total_relation_size(relid) FROM pg_stat_user_tables"
        ).fetchall()
        for name, size in listed:
            counting = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(name))
            (rows,) = conn.execute(counting).fetchone() or (0,)
            sizes[str(name)] = TableSize(int(rows), int(size))
    return sizes
