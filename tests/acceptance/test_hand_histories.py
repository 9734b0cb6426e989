"""Hands played on a server that is killed meanwhile, had by everybody who may, replayed."""

from __future__ import annotations

import csv
import io
import json
import os
import random
import subprocess
import sys
import warnings
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from pokerkit import HandHistory

from bench.server_process import ServerProcess
from tests.acceptance.playing import TABLE, choose, serving
from tests.support.served import rows, web

PLAYERS = ("ann", "bob", "cleo")
ROOT = Path(__file__).resolve().parents[2]
STORED = """
SELECT h.number, h.rake, array_to_string(h.board, '') AS board,
       jsonb_object_agg(p.user_id, p.final_stack) AS stacks,
       jsonb_object_agg(p.user_id, array_to_string(p.hole_cards, '')) AS cards,
       jsonb_object_agg(p.user_id, p.shown) AS shown
FROM hands h JOIN players p ON p.hand_id = h.id
WHERE h.ended_at IS NOT NULL GROUP BY h.id ORDER BY h.number
"""


class Room:
    """A room played over HTTP, hand by hand, by a host who does not sit."""

    def __init__(self, web: dict[str, httpx.AsyncClient], room_id: str, rng: random.Random) -> None:
        self.web = web
        self.path = f"/api/rooms/{room_id}"
        self._rng = rng

    async def post(self, user: str, path: str, **body: Any) -> dict[str, Any]:
        answer = await self.web[user].post(path, json=body)
        assert answer.status_code < 300, (path, answer.text)
        told: dict[str, Any] = answer.json()
        return told

    async def open(self, **settings: Any) -> None:
        """Make the room and seat the players."""
        given = {**TABLE, "auto_start": False, "ante": 10, "name": "Friday's", **settings}
        made = await self.post("host", "/api/rooms", settings=given)
        self.path = f"/api/rooms/{made['room']['id']}"
        for seat, user in enumerate(PLAYERS):
            await self.post(user, f"{self.path}/join", displayName=f"{user.title()} O'Hara")
            await self.post(user, f"{self.path}/seat", seatIndex=seat, buyIn=10_000)

    async def begin(self) -> None:
        await self.post("host", f"{self.path}/start")

    async def act(self) -> bool:
        """Have the player to act do something; False when no hand runs."""
        room = (await self.web["host"].get(f"{self.path}/hydrate")).json()
        if room["timer"] is None:
            return False
        user = next(
            seat["user_id"]
            for seat in room["seats"]
            if seat["seat_index"] == room["timer"]["actor_seat"]
        )
        own = (await self.web[user].get(f"{self.path}/hydrate")).json()
        action = choose(own["me"]["legal_actions"], self._rng)
        await self.post(user, f"/api/games/{room['game']['id']}/actions", **action)
        return True

    async def finish(self) -> None:
        while await self.act():
            pass

    async def history(self, user: str, number: int) -> HandHistory:
        answer = await self.web[user].get(f"{self.path}/hands/{number}.phh")
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        return HandHistory.loads(answer.text)

    async def status(self, user: str, path: str) -> tuple[int, str]:
        answer = await self.web[user].get(f"{self.path}/{path}")
        return answer.status_code, answer.json()["code"]


@asynccontextmanager
async def visiting(server: ServerProcess, room: Room) -> AsyncIterator[Room]:
    """Give everybody a client of the server's present address."""
    async with AsyncExitStack() as stack:
        for user in (*PLAYERS, "host", "dan", "floor"):
            role = "staff" if user == "floor" else "player"
            room.web[user] = await stack.enter_async_context(web(server, user, role))
        yield room


async def beside(server: ServerProcess, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command on the server's data folder."""

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "server.cli", *arguments],
            cwd=ROOT,
            env={**os.environ, "CARDROOM_DATA_DIR": str(server.data_dir)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return await trio.to_thread.run_sync(run)


def replayed(history: HandHistory) -> dict[str, int]:
    """The stacks with which PokerKit's replay ends, by user."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="There is no reason")
        *_, final = history
    assert not final.status
    return dict(zip(history.user_defined_fields["_user_ids"], final.stacks, strict=True))


def dealt(history: HandHistory) -> dict[str, str]:
    """The hole cards told of each user."""
    users = history.user_defined_fields["_user_ids"]
    told = [action.split() for action in history.actions if action.startswith("d dh")]
    return {users[int(player[1:]) - 1]: cards for _, _, player, cards in told}


def check(history: HandHistory, stored: dict[str, Any], viewer: str, *, all_cards: bool) -> None:
    """Hold a history against what is in the database."""
    stacks = replayed(history)
    users = history.user_defined_fields["_user_ids"]
    assert history.finishing_stacks == [stored["stacks"][user] for user in users]
    assert sum(stacks.values()) - sum(stored["stacks"].values()) == stored["rake"]
    assert history.user_defined_fields["_rake"] == stored["rake"]
    if not stored["rake"]:
        assert stacks == stored["stacks"]
    for user, cards in dealt(history).items():
        may_see = all_cards or user == viewer or stored["shown"][user]
        assert cards == (stored["cards"][user] if may_see else "????"), (viewer, user)
    board = "".join(action.split()[2] for action in history.actions if action.startswith("d db"))
    assert board == stored["board"]


@pytest.mark.fail_after(110)
async def test_histories_of_a_killed_server_replay_for_everybody_who_may_have_them() -> None:
    async with serving() as server:
        room = Room({}, "", random.Random(4))
        async with visiting(server, room):
            await room.open(rake_basis_points=500, rake_cap=40)
            for _ in range(3):
                await room.begin()
                await room.finish()
            await room.begin()
            await room.act()
            await room.act()
            assert await room.status("ann", "hands/4.phh") == (409, "conflict")
            assert await room.status("dan", "hands/4.phh") == (403, "forbidden")
        await server.kill()
        await server.start()
        async with visiting(server, room):
            await room.finish()
            await room.begin()
            stored = {row["number"]: row for row in rows(server, STORED)}
            assert list(stored) == [1, 2, 3, 4]
            assert any(row["rake"] for row in stored.values())
            for user in (*PLAYERS, "host", "floor"):
                for number, row in stored.items():
                    check(await room.history(user, number), row, user, all_cards=False)
                page = (await room.web[user].get(f"{room.path}/hands?limit=3")).json()
                assert [hand["number"] for hand in page["hands"]] == [4, 3, 2]
                assert page["nextBefore"] == 2
            for path in ("hands", "hands/1.phh", "hands/99.phh", "ledger.csv"):
                assert await room.status("dan", path) == (403, "forbidden")
            assert await room.status("ann", "hands/99.phh") == (404, "not_found")
            assert await room.status("ann", "ledger.csv") == (403, "forbidden")
            books = await room.web["host"].get(f"{room.path}/ledger.csv")
            nets = [int(row["net"]) for row in csv.DictReader(io.StringIO(books.text))]
            assert sum(nets) == -sum(row["rake"] for row in stored.values())

            # Beside the running server, in the middle of a hand.
            audit = await beside(server, "audit", "--json", "--hands")
            assert (audit.returncode, json.loads(audit.stdout)["findings"]) == (0, [])
            exported = await beside(server, "export-hands", "--all-cards")
            assert exported.returncode == 0, exported.stderr
            histories = list(HandHistory.loads_all(exported.stdout))
            assert [history.hand for history in histories] == [1, 2, 3, 4]
            for history in histories:
                check(history, stored[history.hand], "", all_cards=True)
        await server.kill()
        # The killed server's file is still there, and so is its database.
        audit = await beside(server, "audit")
        assert (audit.returncode, audit.stderr) == (0, ""), audit.stdout
