"""A failure stays in its room: the others play on, and an operator can bring it back."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
import structlog
import trio
import trio.testing

from bench.outside import Message, Outside, Refusal, connected
from bench.server_process import ServerProcess
from game import play
from game.decision import Context, Decision
from game.state import RoomState
from protocol.commands import Action
from protocol.principal import Principal
from protocol.values import ClubRole
from server.auth.tokens import mint
from server.server_file import Addresses
from server.settings import load
from server.start import run_server
from tests.support.patience import PATIENCE_S
from tests.support.served import FAST, rows

ROOMS = 50
ACTIONS = 20
"""That each table makes in peace, and again from when the broken one begins to fail."""
SECRET = "a secret of the tests that is long enough"
NOTICED = 10.0
MAX_LATENCY_S = 2.0
"""An action was held up if it took longer than this, and so many times as long as in peace."""


class Table:
    """A room of two bots, who decide as soon as it is their turn."""

    def __init__(self, number: int) -> None:
        self.users = (f"a{number}", f"b{number}")
        self.room_id = ""
        self.actions = 0
        self.slowest_s = 0.0
        self.refused: Counter[str] = Counter()

    async def open(self, sockets: list[Outside]) -> None:
        """Make the room and sit down."""
        options = {"requires_approval": False, "big_blind": 10, "turn_seconds": 120}
        made = await sockets[0].ask("create_room", settings=options)
        self.room_id = made["room"]["id"]
        await sockets[0].ask("subscribe", channel=f"room:{self.room_id}")
        await sockets[1].ask("join", room_id=self.room_id)
        for index, socket in enumerate(sockets):
            await socket.ask("seat", room_id=self.room_id, seat_index=index, buy_in=1_000)

    async def play(self, socket: Outside, rng: random.Random) -> None:
        """Check and call, and fold now and then."""
        seen = 0
        while True:
            turn = await socket.event_of("turn_started", after=seen, user_id=socket.user_id)
            seen = socket.events.index(turn) + 1
            if socket.events[-1]["seq"] > turn["seq"]:
                continue
            free = turn["legal"]["can_check"]
            action = "CHECK" if free else rng.choice(["CALL", "CALL", "CALL", "FOLD"])
            began = time.perf_counter()
            try:
                await socket.ask("action", room_id=self.room_id, action=action)
            except Refusal as refusal:
                self.refused[refusal.code] += 1
            else:
                self.actions += 1
                self.slowest_s = max(self.slowest_s, time.perf_counter() - began)


@asynccontextmanager
async def in_process(database_url: str, folder: Path) -> AsyncIterator[Addresses]:
    """Run a server in this very process, so that its rules can be broken from here."""
    settings = load(
        {
            **FAST,
            "DATABASE_URL": database_url,
            "CARDROOM_DATA_DIR": str(folder),
            "CARDROOM_HTTP_PORT": "0",
            "CARDROOM_WS_PORT": "0",
            "CARDROOM_JWT_SECRET": SECRET,
        }
    )
    async with trio.open_nursery() as nursery:
        addresses: Addresses = await nursery.start(run_server, settings)
        yield addresses
        nursery.cancel_scope.cancel()


def token_of(user_id: str, role: ClubRole = "player") -> str:
    return mint(SECRET, user_id=user_id, name=user_id, role=role)


@pytest.mark.fail_after(240)
async def test_a_room_whose_rules_raise_is_set_aside_and_fifty_others_play_on(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, broken_ids = play.act, set[str]()

    def act(
        state: RoomState, command: Action, principal: Principal, ctx: Context, out: Decision
    ) -> None:
        if state.room_id in broken_ids:
            state.seats.clear()
            raise ZeroDivisionError(f"half done, with {state.hand}")
        real(state, command, principal, ctx, out)

    monkeypatch.setattr(play, "act", act)
    tables = [Table(number) for number in range(ROOMS + 1)]
    broken, *others = tables
    with structlog.testing.capture_logs() as logs:
        async with in_process(database_url, tmp_path) as addresses, trio.open_nursery() as nursery:
            url = f"ws://127.0.0.1:{addresses.ws_port}/ws"
            base = f"http://127.0.0.1:{addresses.http_port}"
            sockets: dict[str, Outside] = {}

            async def live(
                user_id: str, task_status: trio.TaskStatus[Outside] = trio.TASK_STATUS_IGNORED
            ) -> None:
                async with connected(url, token=token_of(user_id)) as socket:
                    task_status.started(socket)
                    await trio.sleep_forever()

            for table in tables:
                for user_id in table.users:
                    sockets[user_id] = await nursery.start(live, user_id)
                await table.open([sockets[user_id] for user_id in table.users])
            players = await nursery.start(open_nursery)
            for table in others:
                for user_id in table.users:
                    players.start_soon(table.play, sockets[user_id], random.Random(user_id))

            await played(others, [0] * ROOMS)
            before = [table.actions for table in others]
            calm = max(table.slowest_s for table in others)
            for table in others:
                table.slowest_s = 0.0

            broken_ids.add(broken.room_id)
            told = await provoke(broken, sockets)
            await played(others, before)
            after = [table.actions for table in others]
            worst = max(table.slowest_s for table in others)

            # The others noticed nothing.
            assert not sum((table.refused for table in others), Counter())
            assert worst < max(MAX_LATENCY_S, NOTICED * calm), (calm, worst)

            # Its own clients were told, with what finds the error in the log and nothing else.
            assert [reply["code"] for reply in told[:-1]] == ["internal"] * (len(told) - 1)
            assert told[-1]["code"] == "room_unavailable"
            written = json.dumps(logs, default=str)
            for reply in told:
                assert set(reply["details"]) == {"id"}
                assert reply["details"]["id"] in written
                assert "half done" not in json.dumps(reply)

            # An operator sees it and lifts it once the rules are mended.
            staff = {"Authorization": f"Bearer {token_of('floor', 'staff')}"}
            player = {"Authorization": f"Bearer {token_of('a1')}"}
            async with httpx.AsyncClient(base_url=base, headers=staff, timeout=PATIENCE_S) as http:
                await see_and_lift(http, broken.room_id, player, broken_ids)
            room = await sockets["a0"].ask("hydrate", room_id=broken.room_id)
            actor = broken.users[room["hand"]["actor_seat"]]
            done = await sockets[actor].ask("action", room_id=broken.room_id, action="CALL")
            assert done["seq"] > room["seq"]
            # The players first: a player whose socket is closed under them would complain.
            players.cancel_scope.cancel()
            await trio.testing.wait_all_tasks_blocked()
            print({"actions": sum(after), "calm_s": calm, "worst_s": worst, "told": len(told)})
            nursery.cancel_scope.cancel()


async def played(tables: list[Table], before: list[int]) -> None:
    """Wait until each table has made enough actions beyond those before."""
    while any(  # noqa: ASYNC110 - bots at sockets
        table.actions < made + ACTIONS for table, made in zip(tables, before, strict=True)
    ):
        await trio.sleep(0.02)


async def open_nursery(task_status: trio.TaskStatus[trio.Nursery]) -> None:
    """Open a nursery of its own within another one."""
    async with trio.open_nursery() as nursery:
        task_status.started(nursery)
        await trio.sleep_forever()


async def provoke(broken: Table, sockets: dict[str, Outside]) -> list[Message]:
    """Act in the broken room until it is set aside; return the errors."""
    told: list[Message] = []
    while not told or told[-1]["code"] != "room_unavailable":
        assert len(told) < 20, told
        room = await sockets["a0"].ask("hydrate", room_id=broken.room_id)
        actor = broken.users[room["hand"]["actor_seat"]]
        fields: dict[str, Any] = {"room_id": broken.room_id, "action": "CALL"}
        told.append(await sockets[actor].refused("action", **fields))
    return told


async def see_and_lift(
    http: httpx.AsyncClient, room_id: str, player: dict[str, str], broken_ids: set[str]
) -> None:
    """Find the room as staff do, and let it go on; nobody else may."""
    metrics = (await http.get("/metrics")).text
    assert "cardroom_rooms_quarantined 1.0" in metrics
    assert 'cardroom_restarts_total{kind="room"}' in metrics
    listed = (await http.get("/api/staff/rooms/quarantined")).json()["rooms"]
    assert [room["roomId"] for room in listed] == [room_id]
    lift = f"/api/staff/rooms/{room_id}/lift"
    assert (await http.post(lift, headers=player)).status_code == 403
    broken_ids.clear()
    assert (await http.post(lift)).status_code == 200
    assert (await http.post(lift)).status_code == 404
    assert (await http.get("/api/staff/rooms/quarantined")).json()["rooms"] == []


@pytest.mark.fail_after(120)
async def test_a_room_that_cannot_be_read_does_not_keep_the_others_from_starting(
    tmp_path: Path,
) -> None:
    server = ServerProcess(tmp_path / "data", FAST)
    await server.start()
    tables = [Table(number) for number in range(3)]
    for table in tables:
        async with (
            connected(server.ws_url, token=server.token(table.users[0])) as one,
            connected(server.ws_url, token=server.token(table.users[1])) as two,
        ):
            await table.open([one, two])
            await one.event_of("turn_started")
    with psycopg.connect(server.database_url) as conn:
        # Whatever did it: the deck of the first room's hand is not one any more.
        conn.execute(
            "UPDATE hands SET deck = repeat('Ah', 52) WHERE room_id = %s", (tables[0].room_id,)
        )
    await server.kill()
    await server.start()
    try:
        for table in tables[1:]:
            async with connected(server.ws_url, token=server.token(table.users[0])) as one:
                room = await one.ask("hydrate", room_id=table.room_id)
                actor = table.users[room["hand"]["actor_seat"]]
                async with connected(server.ws_url, token=server.token(actor)) as two:
                    assert await two.ask("action", room_id=table.room_id, action="CALL")
        async with connected(server.ws_url, token=server.token(tables[0].users[0])) as one:
            for _ in range(3):
                told = await one.refused("action", room_id=tables[0].room_id, action="CALL")
                assert told["code"] in ("internal", "room_unavailable"), told
                assert told["details"]["id"] in server.log()
                assert "Ah" not in json.dumps(told)
        (kept,) = rows(
            server, "SELECT count(*) AS n FROM hands WHERE room_id = %s", tables[0].room_id
        )
        assert kept["n"] == 1
    finally:
        await server.stop()
