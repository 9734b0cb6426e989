"""Queues written from four sources at once: sockets, HTTP, and SQL under both of their names.

At the end every place is 1 to n, everybody knows the same queue, nothing was lost or told twice.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
import psycopg
import trio
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from bench.outside import connected
from bench.queue_field import Field, Queues, places, watch
from bench.queue_sources import by_http, by_socket, by_sql
from bench.server_process import ServerProcess
from bench.serving import serving

SETTINGS = {
    "CARDROOM_COMMANDS_PER_S": "100000",
    "CARDROOM_COMMAND_BURST": "100000",
    # Nobody's offer ends while the ends are compared.
    "CARDROOM_SEAT_OFFER_S": "3600",
    "CARDROOM_LOG_LEVEL": "warning",
}
WORKERS = 2
"""Of each source."""
REST_S = 60.0
NEVER = ("internal", "room_unavailable")
_JOINS, _ENDS = ("player_joined",), ("player_left", "player_seated", "player_expired")
_ALL = "SELECT id FROM waitlist"
_QUEUE = """
SELECT id, player_id, position, status FROM waitlist
WHERE table_id = %s AND status IN ('waiting', 'called') ORDER BY position
"""
_TOLD = """
SELECT payload ->> 'change', payload ->> 'player_id' FROM room_events
WHERE room_id = %s AND type = 'waitlist_update' ORDER BY seq
"""


@dataclass
class QueueResult:
    """What came of it; `wrong` is what is not as promised."""

    done: int = 0
    unknown: int = 0
    refusals: dict[str, int] = field(default_factory=dict)
    waiting: int = 0
    told: int = 0
    wrong: list[str] = field(default_factory=list)


async def run(
    server: ServerProcess,
    *,
    operations: int,
    tables: int,
    players: int,
    seed: int,
    kills: int,
    progress: Callable[[int], None] = lambda _: None,
) -> QueueResult:
    """Write to queues from all sources at once, kill the server in between, compare the ends.

    Args:
        server: runs, with `SETTINGS` in force.
        operations: how many, over all sources; one is a command, a request or a transaction.
        tables: how many queues.
        players: who are in them, and at the tables.
        seed: of what is done.
        kills: how often the server is killed (-9) and started again meanwhile.
        progress: is told how many operations are done.
    """
    rng = random.Random(seed)
    names = [f"p{number}" for number in range(players)]
    club = Field(server, await _tables(server, tables), names, operations)
    club.up.set()
    seen = {table_id: Queues() for table_id in club.tables}
    async with trio.open_nursery() as watching:
        watching.start_soon(watch, club, None, club.queues)
        for table_id, queues in seen.items():
            watching.start_soon(watch, club, table_id, queues)
        async with trio.open_nursery() as nursery:
            for _ in range(WORKERS):
                for source in (by_socket, by_http):
                    nursery.start_soon(source, club, random.Random(rng.random()))
                for relation in ("waitlist", "seat_requests"):
                    nursery.start_soon(by_sql, club, random.Random(rng.random()), relation)
            for number in range(1, kills + 1):
                while club.left > operations * (kills + 1 - number) // (kills + 1):
                    progress(operations - club.left)
                    await trio.sleep(0.05)
                club.up = trio.Event()
                await server.kill()
                await server.start()
                club.up.set()
        progress(operations)
        wrong = await _compare_at_rest(club, seen)
        watching.cancel_scope.cancel()
    result = QueueResult(
        done=club.done.total(), unknown=club.unknown, refusals=dict(club.refusals), wrong=wrong
    )
    for code in NEVER:
        if any(code in refusal for refusal in club.refusals):
            result.wrong.append(f"somebody was answered {code}")
    await trio.to_thread.run_sync(_look_into_database, club, result)
    return result


async def _tables(server: ServerProcess, tables: int) -> list[str]:
    settings = {
        "requires_approval": False,
        "max_seats": 2,
        "min_buy_in": 1,
        "max_buy_in": 1000,
        "small_blind": 1,
        "big_blind": 1,
        "auto_start": False,
    }
    async with connected(server.ws_url, token=server.token("host")) as host:
        made = [await host.ask("create_room", settings=settings) for _ in range(tables)]
    return [reply["room"]["id"] for reply in made]


async def _compare_at_rest(club: Field, seen: dict[str, Queues]) -> list[str]:
    """Compare what all know of the queues until they agree; return where they still do not."""
    wrong: list[str] = []
    with trio.move_on_after(REST_S):
        while True:
            await trio.sleep(0.2)
            wrong = await _compare(club, seen)
            if not wrong:
                break
    return wrong + [line for queues in (club.queues, *seen.values()) for line in queues.wrong]


async def _compare(club: Field, seen: dict[str, Queues]) -> list[str]:
    wrong: list[str] = []
    stored = await trio.to_thread.run_sync(_stored, club)
    token = club.server.token("boss", role="staff")
    async with (
        httpx.AsyncClient(headers={"Authorization": f"Bearer {token}"}) as http,
        connected(club.server.ws_url, token=token) as staff,
    ):
        for table_id, queue in stored.items():
            url = f"{club.server.http_url}/api/waitlist/table/{table_id}"
            listed = (await http.get(url)).json()["entries"]
            known = {
                "hydration": (await staff.ask("hydrate", room_id=table_id))["waitlist"],
                "HTTP": [{**entry, "player_id": entry["playerId"]} for entry in listed],
                "the room's events": seen[table_id].of(table_id),
                "staff's events": club.queues.of(table_id),
            }
            if [place for _, _, place, _ in queue] != list(range(1, len(queue) + 1)):
                wrong.append(f"{table_id}: the places in the database are {queue}")
            wrong += [
                f"{table_id}: {source} has {places(entries)}, the database {queue}"
                for source, entries in known.items()
                if places(entries) != queue
            ]
    return wrong


def _stored(club: Field) -> dict[str, list[tuple[Any, ...]]]:
    with psycopg.connect(club.server.database_url, autocommit=True) as conn:
        return {
            table_id: conn.execute(_QUEUE.encode(), (table_id,)).fetchall()
            for table_id in club.tables
        }


def _look_into_database(club: Field, result: QueueResult) -> None:
    """Look for what was lost, told twice or left untold."""
    with psycopg.connect(club.server.database_url, autocommit=True) as conn:
        there = {row[0] for row in conn.execute(_ALL.encode())}
        lost = club.made - club.deleted - there
        if lost:
            result.wrong.append(f"acknowledged, and not there: {sorted(lost)}")
        (untold,) = conn.execute("SELECT count(*) FROM outside_writes").fetchone() or (0,)
        if untold:
            result.wrong.append(f"{untold} writes were told to nobody")
        for table_id in club.tables:
            queue = {row[1] for row in conn.execute(_QUEUE.encode(), (table_id,))}
            waiting: set[str] = set()
            for change, player_id in conn.execute(_TOLD.encode(), (table_id,)):
                result.told += 1
                again = change in _JOINS and player_id in waiting
                unheard = change not in _JOINS and player_id not in waiting
                if again or unheard:
                    result.wrong.append(f"{table_id}: {change} of {player_id} out of turn")
                if change in _JOINS:
                    waiting.add(player_id)
                elif change in _ENDS:
                    waiting.discard(player_id)
            if waiting != queue:
                result.wrong.append(f"{table_id}: told {waiting} wait, and {queue} do")
            result.waiting += len(queue)


async def report(operations: int, tables: int, players: int, seed: int, kills: int) -> int:
    """Run it on a server of its own, print what came of it; return the exit code."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    async with serving(SETTINGS) as server:
        with Progress(*columns, TimeElapsedColumn()) as bar:
            task = bar.add_task("operations", total=operations)
            result = await run(
                server,
                operations=operations,
                tables=tables,
                players=players,
                seed=seed,
                kills=kills,
                progress=lambda done: bar.update(task, completed=done),
            )
    _show(result)
    return 1 if result.wrong else 0


def _show(result: QueueResult) -> None:
    table = Table(title="queues written from four sources at once")
    table.add_column("what")
    table.add_column("figure", justify="right")
    table.add_row("operations carried out", f"{result.done}")
    table.add_row("cut off by a kill", f"{result.unknown}")
    for what, times in sorted(result.refusals.items()):
        table.add_row(f"refused, {what}", f"{times}")
    table.add_row("changes told", f"{result.told}")
    table.add_row("waiting at the end", f"{result.waiting}")
    table.add_row("wrong", f"{len(result.wrong)}")
    console = Console()
    console.print(table)
    for line in result.wrong:
        console.print(line, markup=False)
