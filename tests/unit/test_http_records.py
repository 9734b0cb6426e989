"""Hands, histories and the ledger over HTTP."""

import pytest

from protocol.errors import ErrorCode, Refused
from server.http.app import ALL_ROUTES
from server.http.openapi import openapi
from tests.unit.test_http import Caller

R = "/api/rooms/r1"


@pytest.fixture
def caller() -> Caller:
    return Caller()


async def test_hands_are_listed_by_pages(caller: Caller) -> None:
    page = await caller.ok("GET", f"{R}/hands?before=10&limit=1")
    assert page == {
        "hands": [
            {
                "number": 9,
                "id": "h9",
                "variant": "nlhe",
                "startedAt": 1,
                "endedAt": 2,
                "players": [{"seatIndex": 3, "userId": "amy", "displayName": "Amy"}],
                "board": ["Ah", "Kd", "2c"],
                "pot": 300,
                "winners": [{"seatIndex": 3, "userId": "amy", "amount": 290, "rank": "two pair"}],
            }
        ],
        "nextBefore": 9,
    }
    assert (await caller.ok("GET", f"{R}/hands"))["nextBefore"] is None
    assert caller.club.asked == [("hands", "r1", 10, 1), ("hands", "r1", None, 20)]


async def test_a_history_comes_as_text_to_be_saved(caller: Caller) -> None:
    response = await caller.raw("GET", f"{R}/hands/17.phh")
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert response.headers["Content-Disposition"] == 'attachment; filename="ABC234-17.phh"'
    assert await response.get_data(as_text=True) == "variant = 'NT'\n"
    assert caller.club.asked == [("hand_history", "r1", 17)]


@pytest.mark.parametrize("number", ["x", "-1", "1.5", "007", "99999999999", "1%20"])
async def test_a_hand_has_a_whole_number(caller: Caller, number: str) -> None:
    response, document = await caller.problem("GET", f"{R}/hands/{number}.phh")
    assert (response.status_code, document["details"]["field"]) == (400, "number")
    assert caller.club.asked == []


@pytest.mark.parametrize("path", [f"{R}/hands/.phh", f"{R}/hands/17", f"{R}/hands/17.phh/"])
async def test_a_history_has_one_address(caller: Caller, path: str) -> None:
    response, _ = await caller.problem("GET", path)
    assert response.status_code == 404


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "before=0", "before=x"])
async def test_pages_of_hands_have_bounds(caller: Caller, query: str) -> None:
    response, document = await caller.problem("GET", f"{R}/hands?{query}")
    assert (response.status_code, document["details"]["field"]) == (400, query.partition("=")[0])


async def test_the_ledger_comes_as_a_file_of_its_own(caller: Caller) -> None:
    response = await caller.raw("GET", f"{R}/ledger.csv")
    assert response.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert response.headers["Content-Disposition"] == 'attachment; filename="ABC234-ledger.csv"'
    assert await response.get_data(as_text=True) == "net\r\n"


@pytest.mark.parametrize("path", ["hands", "hands/17.phh", "ledger.csv"])
async def test_a_refusal_is_a_problem_and_no_file(caller: Caller, path: str) -> None:
    caller.club.failure = Refused(ErrorCode.FORBIDDEN, "You have not been let into this room.")
    response, document = await caller.problem("GET", f"{R}/{path}")
    assert (response.status_code, document["code"]) == (403, "forbidden")
    assert "Content-Disposition" not in response.headers


def test_the_document_knows_the_files_and_their_parameters() -> None:
    paths = openapi(ALL_ROUTES)["paths"]
    history = paths["/api/rooms/{roomId}/hands/{number}.phh"]["get"]
    assert [(p["name"], p["schema"]["type"]) for p in history["parameters"]] == [
        ("roomId", "string"),
        ("number", "integer"),
    ]
    assert list(history["responses"]["200"]["content"]) == ["text/plain; charset=utf-8"]
    ledger = paths["/api/rooms/{roomId}/ledger.csv"]["get"]
    assert list(ledger["responses"]["200"]["content"]) == ["text/csv; charset=utf-8"]
