"""Random hands of every variant through a server, held against its ledger and PokerKit's replay.

Three witnesses who share no code with what they look at: a trigger in the database that refuses
a commit after which a table holds other chips than the ledger brought there, PokerKit's replay of
each exported hand history, and the server's own audit.
"""

from __future__ import annotations

import os
import random
import selectors
import subprocess
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import trio
from msgspec import Struct
from rich.console import Console
from rich.table import Table

from bench.audit import findings
from bench.light_socket import LightSocket
from bench.server_process import ServerProcess
from bench.serving import serving
from game.poker.history import History

PLAYERS = 6
TABLES = 6
"""How many tables play each variant at once."""
BUY_IN = 6_000
SETTINGS = {
    "CARDROOM_HAND_INTERVAL_S": "0",
    "CARDROOM_STARTING_BALANCE": "1000000000000",
    "CARDROOM_COMMANDS_PER_S": "100000",
    "CARDROOM_COMMAND_BURST": "100000",
    "CARDROOM_LOG_LEVEL": "warning",
}
CHUNK = 200
"""Histories that a process replays at a time."""
_WITNESS = (Path(__file__).parent / "queries" / "witness.sql").read_text()
_ROOT = Path(__file__).resolve().parent.parent
_decode = msgspec.msgpack.Decoder().decode


class Books(Struct):
    """What was held against what, for one variant."""

    variant: str
    hands: int = 0
    showdowns: int = 0
    actions: int = 0
    commits: int = 0
    wrong: int = 0


async def report(hands: int, variants: Sequence[str], seed: int) -> int:
    """Play, compare, print a table; return 1 if anything does not add up."""
    async with serving(SETTINGS) as server:
        books, found = await trio.to_thread.run_sync(
            check, server, hands, variants, seed, abandon_on_cancel=True
        )
    table = Table("variant", "hands", "showdowns", "actions", "commits witnessed", "wrong")
    for book in books:
        table.add_row(*(f"{value}" for value in msgspec.structs.astuple(book)))
    console = Console()
    console.print(table)
    console.print(f"cardroom audit --hands: {'; '.join(found) or 'nothing found'}")
    return 1 if found or any(book.wrong for book in books) else 0


def check(
    server: ServerProcess, hands: int, variants: Sequence[str], seed: int
) -> tuple[list[Books], list[str]]:
    """Play so many hands of each variant on a running server; return what came of it."""
    books = {variant: Books(variant) for variant in variants}
    with psycopg.connect(server.database_url, autocommit=True) as conn:
        conn.execute(_WITNESS.encode())
        for number, variant in enumerate(variants):
            rooms = _Play(server, variant, hands, random.Random(f"{seed} {variant}"), number).run()
            found = conn.execute(
                "SELECT coalesce(sum(commits), 0)::bigint FROM witness_commits"
                " WHERE room_id = ANY(%s)",
                (rooms,),
            ).fetchone()
            assert found is not None
            books[variant].commits = found[0]
        results = _results(conn)
    for variant, counted in _replayed(server, results):
        book = books[variant]
        book.hands += counted["hands"]
        book.actions += counted["actions"]
        book.showdowns += counted["showdowns"]
        book.wrong += counted["wrong"]
    for book in books.values():
        book.wrong += book.hands < hands
    return list(books.values()), findings(server.database_url)


class _Play:
    """Tables of one variant, until all of them together have played enough hands."""

    def __init__(
        self, server: ServerProcess, variant: str, hands: int, rng: random.Random, number: int
    ) -> None:
        self._rng = rng
        self._left = hands
        self._selector = selectors.DefaultSelector()
        self._rooms: dict[str, dict[str, LightSocket]] = {}
        self._heard: dict[tuple[str, int], None] = {}
        for table in range(TABLES):
            tokens = [server.token(f"v{number}t{table}p{seat}") for seat in range(PLAYERS)]
            self._sit_down(server.ws_url, tokens, variant)

    def run(self) -> list[str]:
        """Play to the end; return the rooms."""
        for room_id, players in self._rooms.items():
            host = next(iter(players.values()))
            host.send("settings", room_id=room_id, settings={"auto_start": True})
        while self._left > 0:
            for key, _ in self._selector.select(5.0):
                room_id, socket = key.data
                for payload in socket.read():
                    self._hear(room_id, _decode(payload))
        for players in self._rooms.values():
            for socket in players.values():
                socket.sock.close()
        return list(self._rooms)

    def _sit_down(self, url: str, tokens: list[str], variant: str) -> None:
        host = LightSocket(url)
        host.ask("authenticate", token=tokens[0])
        settings = {
            "name": f"Books of {variant}",
            "variant": variant,
            "requires_approval": False,
            "max_buy_in": BUY_IN,
            "auto_start": False,
        }
        room_id = host.ask("create_room", settings=settings)["room"]["id"]
        players = self._rooms[room_id] = {}
        for seat, token in enumerate(tokens):
            socket = host if seat == 0 else LightSocket(url)
            user = socket.ask("authenticate", token=token)["user_id"]
            if seat:
                socket.ask("join", room_id=room_id)
            else:
                socket.ask("subscribe", channel=f"room:{room_id}")
            socket.ask("seat", room_id=room_id, seat_index=seat, buy_in=BUY_IN)
            players[user] = socket
        for socket in players.values():
            socket.watch()
            self._selector.register(socket.sock, selectors.EVENT_READ, (room_id, socket))

    def _hear(self, room_id: str, event: dict[str, Any]) -> None:
        players = self._rooms[room_id]
        match event["type"]:
            case "turn_started" if self._is_news(event):
                action, amount = self._choose(event["legal"])
                fields = {} if amount is None else {"amount": amount}
                players[event["user_id"]].send("action", room_id=room_id, action=action, **fields)
            case "hand_complete" if self._is_news(event):
                self._left -= 1
                users = list(players)
                for stack in event["stacks"]:
                    if not stack["chips"]:
                        broke = players[users[stack["seat_index"]]]
                        broke.send("top_up", room_id=room_id, amount=BUY_IN)
            case "error":
                raise RuntimeError(f"a player was refused: {event}")

    def _is_news(self, event: dict[str, Any]) -> bool:
        """Whether this is the first copy of an event: all six sockets hear it."""
        key = event["channel"], event["seq"]
        if key in self._heard:
            return False
        self._heard[key] = None
        if len(self._heard) > 10_000:
            self._heard.pop(next(iter(self._heard)))
        return True

    def _choose(self, legal: dict[str, Any]) -> tuple[str, int | None]:
        rng, low, high = self._rng, legal["min_raise_to"], legal["max_raise_to"]
        roll = rng.random()
        if low is not None and roll < 0.25:
            return "RAISE", rng.choice([low, low, min(high, 2 * low), rng.randint(low, high)])
        if legal["call_amount"] is None:
            return "CHECK", None
        return ("FOLD" if roll > 0.8 else "CALL"), None


def _results(conn: psycopg.Connection[Any]) -> dict[str, list[int]]:
    """Return the stacks in which each hand ended by the ledger, by its id and seat."""
    found: dict[str, list[int]] = {}
    for hand_id, stacks in conn.execute(
        """
        SELECT p.hand_id, array_agg(p.starting_stack + coalesce(l.net, 0) ORDER BY p.seat_index)
        FROM players p JOIN hands h ON h.id = p.hand_id AND h.ended_at IS NOT NULL
        LEFT JOIN (SELECT hand_id, user_id, sum(amount)::bigint AS net FROM ledger_entries
                   WHERE kind = 'hand' AND account = 'stack' GROUP BY 1, 2) l
            ON l.hand_id = p.hand_id AND l.user_id = p.user_id
        GROUP BY p.hand_id
        """
    ):
        found[hand_id] = stacks
    return found


def _replayed(
    server: ServerProcess, results: dict[str, list[int]]
) -> Iterator[tuple[str, Counter[str]]]:
    """Export all hands, and have PokerKit play each again."""
    with tempfile.TemporaryDirectory(prefix="cardroom-bench-") as folder:
        out = Path(folder) / "hands"
        subprocess.run(
            [sys.executable, "-m", "server.cli", "export-hands", "--out", str(out)],
            cwd=_ROOT,
            env={**os.environ, "DATABASE_URL": server.database_url},
            check=True,
        )
        files = sorted(out.iterdir())
        parts = [files[i : i + CHUNK] for i in range(0, len(files), CHUNK)]
        with ProcessPoolExecutor(os.cpu_count()) as pool:
            for counted in pool.map(_replay, parts, [results] * len(parts)):
                yield from counted.items()


def _replay(files: list[Path], results: dict[str, list[int]]) -> dict[str, Counter[str]]:
    counted: dict[str, Counter[str]] = {}
    warnings.filterwarnings("ignore", message="There is no reason")
    for file in files:
        history = History.loads(file.read_text(encoding="utf-8"))
        fields = history.user_defined_fields
        *_, final = history
        assert history.seats is not None
        by_seat = sorted(zip(history.seats, final.stacks, strict=True))
        book = counted.setdefault(fields["_variant"], Counter())
        book["hands"] += 1
        book["actions"] += sum(action.startswith("p") for action in history.actions)
        book["showdowns"] += any(" sm " in action for action in history.actions)
        ended = [stack for _, stack in by_seat]
        if final.status or ended != results[fields["_hand_id"]]:
            book["wrong"] += 1
            print(f"{file.name} ends with {ended}, not {results[fields['_hand_id']]}")
    return counted
