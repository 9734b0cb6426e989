"""The HTTP coat of the waitlist: portals' requests become commands, with where they came from."""

from __future__ import annotations

from typing import Any

import pytest

from protocol import commands
from tests.support.http import bearer
from tests.unit.test_http import Caller

E = "/api/waitlist/e1"
ENTRY = {
    "id": "e1",
    "tableId": "r1",
    "playerId": "amy",
    "playerName": "Amy",
    "hasClient": True,
    "seatNumber": None,
    "position": 1,
    "gameType": None,
    "minBuyIn": None,
    "maxBuyIn": None,
    "status": "waiting",
    "source": "player_portal",
    "seatIndex": None,
    "calledAt": None,
    "expiresAt": None,
    "createdAt": 1,
    "updatedAt": 1,
}
DONE = {"seq": 7, "entry": ENTRY}
JOINED = {**DONE, "alreadyWaiting": False}
SEATED = {**DONE, "seatIndex": 3, "chips": 500}
WISHES = {"seatNumber": 4, "gameType": "nlhe", "minBuyIn": 5, "maxBuyIn": 9, "notes": "a\nb"}
WISHED = {"seat_number": 4, "game_type": "nlhe", "min_buy_in": 5, "max_buy_in": 9, "notes": "a\nb"}


@pytest.fixture
def caller() -> Caller:
    return Caller()


@pytest.mark.parametrize(
    ("method", "path", "body", "command", "answer", "source"),
    [
        (
            "POST",
            "/api/seat-requests",
            {"playerId": "amy", "tableId": "r1", **WISHES},
            commands.WaitlistJoin(room_id="r1", player_id="amy", **WISHED),  # type: ignore[arg-type]
            JOINED,
            "player_portal",
        ),
        (
            "POST",
            "/api/seat-requests",
            {"playerId": 29, "tableId": 7},
            commands.WaitlistJoin(room_id="7", player_id="29"),
            JOINED,
            "player_portal",
        ),
        (
            "POST",
            "/api/waitlist/table/r1",
            {"playerName": "Old Joe", **WISHES},
            commands.WaitlistJoin(room_id="r1", player_name="Old Joe", **WISHED),  # type: ignore[arg-type]
            JOINED,
            "staff_portal",
        ),
        (
            "POST",
            "/api/waitlist/table/r1",
            {"playerId": 29},
            commands.WaitlistJoin(room_id="r1", player_id="29"),
            JOINED,
            "staff_portal",
        ),
        (
            "DELETE",
            "/api/seat-requests/e1",
            None,
            commands.WaitlistLeave(entry_id="e1"),
            DONE,
            "http",
        ),
        ("POST", f"{E}/call", None, commands.WaitlistCall(entry_id="e1"), DONE, "http"),
        ("POST", f"{E}/seat", {}, commands.WaitlistSeat(entry_id="e1"), SEATED, "http"),
        (
            "POST",
            f"{E}/seat",
            {"seatIndex": 3, "buyIn": 500},
            commands.WaitlistSeat(entry_id="e1", seat_index=3, buy_in=500),
            SEATED,
            "http",
        ),
        (
            "POST",
            f"{E}/accept",
            {"buyIn": 500},
            commands.WaitlistAccept(entry_id="e1", buy_in=500),
            {**SEATED, "role": "player", "rejoinToken": "again"},
            "http",
        ),
        ("POST", f"{E}/decline", None, commands.WaitlistDecline(entry_id="e1"), DONE, "http"),
        (
            "POST",
            f"{E}/move",
            {"position": 2},
            commands.WaitlistMove(entry_id="e1", position=2),
            DONE,
            "http",
        ),
        ("POST", f"{E}/no-show", None, commands.WaitlistNoShow(entry_id="e1"), DONE, "http"),
        ("DELETE", E, None, commands.WaitlistRemove(entry_id="e1"), DONE, "http"),
    ],
)
async def test_step_reaches_the_club_and_its_reply_comes_back(
    caller: Caller,
    method: str,
    path: str,
    body: object,
    command: commands.Command,
    answer: dict[str, Any],
    source: str,
) -> None:
    assert await caller.ok(method, path, body) == answer
    [(_, ran, came_by)] = caller.club.ran
    assert ran == command
    assert came_by == source


async def test_the_idempotency_key_is_the_command_id(caller: Caller) -> None:
    key = "11111111-2222-3333-4444-555555555555"
    headers = {**bearer(), "Idempotency-Key": key}
    await caller.ok("POST", f"{E}/accept", {"buyIn": 500}, headers=headers)
    [(_, ran, _)] = caller.club.ran
    assert isinstance(ran, commands.WaitlistAccept)
    assert ran.command_id == key


async def test_queue_and_requests_are_listed(caller: Caller) -> None:
    assert await caller.ok("GET", "/api/waitlist/table/r1") == {"entries": [ENTRY]}
    assert await caller.ok("GET", "/api/seat-requests/29") == {"entries": [ENTRY]}
    assert caller.club.asked == [("of_table", "r1"), ("of_player", "29")]


MINE = {"playerId": "amy", "tableId": "r1"}


@pytest.mark.parametrize(
    ("method", "path", "body", "field"),
    [
        ("POST", "/api/seat-requests", {"tableId": "r1"}, None),
        ("POST", "/api/seat-requests", MINE | {"seatNumber": 10}, "seatNumber"),
        ("POST", "/api/seat-requests", MINE | {"notes": "\x00"}, "notes"),
        ("POST", "/api/seat-requests", {"playerId": -1, "tableId": "r1"}, "playerId"),
        ("POST", "/api/waitlist/table/r1", {"minBuyIn": -5}, "minBuyIn"),
        ("POST", f"{E}/accept", {"buyIn": 0}, "buyIn"),
        ("POST", f"{E}/move", {"position": 0}, "position"),
        ("DELETE", "/api/waitlist/" + "e" * 65, None, "entryId"),
    ],
)
async def test_bad_bodies_are_refused_with_the_field(
    caller: Caller, method: str, path: str, body: object, field: str | None
) -> None:
    _, document = await caller.problem(method, path, body)
    assert document["code"] == "bad_request"
    if field is not None:
        assert document["details"]["field"] == field
    assert caller.club.ran == []
