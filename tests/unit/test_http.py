"""The HTTP coat: every route brings its command to the club and the answer back."""

from __future__ import annotations

import uuid
from typing import Any

import msgspec
import pytest
from quart.wrappers import Response
from structlog.testing import capture_logs
from trio.testing import MockClock

from persistence.accounts import AuditFilters
from persistence.errors import Unavailable
from protocol import commands
from protocol.errors import ErrorCode, Refused
from protocol.values import BombPot, SettingsPatch
from server.http.app import ALL_ROUTES, MAX_BODY_BYTES
from server.http.problems import PROBLEM_TYPE, STATUS
from server.http.rates import Rates
from server.settings import Settings
from tests.support.fake_desks import ROOM
from tests.support.http import FakeClub, bearer, make_app


class Caller:
    """A client of an application before a fake club, with amy's token unless told otherwise."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.club = FakeClub()
        self.app = make_app(self.club, settings)
        self._client = self.app.test_client()

    async def raw(self, method: str, path: str, **given: Any) -> Response:
        given.setdefault("headers", bearer())
        response = await self._client.open(path, method=method, **given)
        assert isinstance(response, Response)
        return response

    async def ok(
        self, method: str, path: str, json: object = None, status: int = 200, **given: Any
    ) -> dict[str, Any]:
        if json is not None:
            given["data"] = msgspec.json.encode(json)
        response = await self.raw(method, path, **given)
        body: dict[str, Any] = msgspec.json.decode(await response.get_data())
        assert response.status_code == status, body
        assert body.pop("success") is True
        return body

    async def problem(
        self, method: str, path: str, json: object = None, **given: Any
    ) -> tuple[Response, dict[str, Any]]:
        if json is not None:
            given["data"] = msgspec.json.encode(json)
        response = await self.raw(method, path, **given)
        assert response.content_type == PROBLEM_TYPE
        document: dict[str, Any] = msgspec.json.decode(await response.get_data())
        assert document["status"] == response.status_code
        assert document["type"] == f"/docs#{document['code']}"
        assert document["request_id"] == response.headers["X-Request-Id"]
        return response, document


@pytest.fixture
def caller() -> Caller:
    return Caller()


R = "/api/rooms/r1"
CHANGED = {"seq": 7}
LEFT = {"seq": 7, "pending": False, "chips": 500}
STACK = {"seq": 7, "chips": 500}
COMMANDS: list[tuple[str, str, object, commands.Command, dict[str, Any]]] = [
    (
        "POST",
        f"{R}/join",
        {"userId": "amy", "displayName": "Amy"},
        commands.Join(room_id="r1", display_name="Amy"),
        {"seq": 7, "roomId": "r1", "status": "pending", "waitingForApproval": True},
    ),
    (
        "POST",
        f"{R}/approve",
        {"userId": "bob"},
        commands.Approve(room_id="r1", user_id="bob"),
        CHANGED,
    ),
    (
        "POST",
        f"{R}/approve",
        {"userId": 29, "approved": True},
        commands.Approve(room_id="r1", user_id="29"),
        CHANGED,
    ),
    (
        "POST",
        f"{R}/approve",
        {"userId": "bob", "approved": False},
        commands.Reject(room_id="r1", user_id="bob"),
        CHANGED,
    ),
    (
        "POST",
        f"{R}/reject",
        {"userId": "bob"},
        commands.Reject(room_id="r1", user_id="bob"),
        CHANGED,
    ),
    (
        "POST",
        f"{R}/seat",
        {"seatIndex": 3, "displayName": "Amy", "buyIn": 500},
        commands.Seat(room_id="r1", seat_index=3, display_name="Amy", buy_in=500),
        {"seq": 7, "role": "player", "rejoinToken": "again", "seatIndex": 3, "chips": 500},
    ),
    (
        "POST",
        f"{R}/seat",
        {"seat_index": 3, "buy_in": 500},
        commands.Seat(room_id="r1", seat_index=3, buy_in=500),
        {"seq": 7, "role": "player", "rejoinToken": "again", "seatIndex": 3, "chips": 500},
    ),
    ("DELETE", f"{R}/seat", None, commands.LeaveSeat(room_id="r1"), LEFT),
    ("DELETE", f"{R}/seat?userId=amy", None, commands.LeaveSeat(room_id="r1"), LEFT),
    (
        "POST",
        f"{R}/spectate",
        {"displayName": "Amy"},
        commands.Spectate(room_id="r1", display_name="Amy"),
        {"seq": 7, "role": "spectator", "rejoinToken": "again"},
    ),
    ("DELETE", f"{R}/spectate", {"userId": "amy"}, commands.LeaveRoom(room_id="r1"), LEFT),
    (
        "POST",
        f"{R}/kick",
        {"userId": "bob", "reason": "rude"},
        commands.Kick(room_id="r1", user_id="bob", reason="rude"),
        LEFT,
    ),
    (
        "POST",
        f"{R}/bans",
        {"userId": 29, "reason": "rude"},
        commands.Ban(room_id="r1", user_id="29", reason="rude"),
        LEFT,
    ),
    ("DELETE", f"{R}/bans/29", None, commands.Unban(room_id="r1", user_id="29"), CHANGED),
    ("POST", f"{R}/start", None, commands.Start(room_id="r1"), CHANGED),
    ("POST", f"{R}/pause", {}, commands.Pause(room_id="r1"), CHANGED),
    ("POST", f"{R}/resume", None, commands.Resume(room_id="r1"), CHANGED),
    (
        "POST",
        f"{R}/chips",
        {"userId": "bob", "delta": -50, "reason": "mistake"},
        commands.AdjustChips(room_id="r1", user_id="bob", delta=-50, reason="mistake"),
        STACK,
    ),
    ("POST", f"{R}/topup", {"amount": 50}, commands.TopUp(room_id="r1", amount=50), STACK),
    ("POST", f"{R}/run-it", {"times": 2}, commands.RunIt(room_id="r1", times=2), CHANGED),
    ("POST", f"{R}/sit-out", None, commands.SitOut(room_id="r1"), CHANGED),
    ("POST", f"{R}/sit-in", None, commands.SitIn(room_id="r1"), CHANGED),
    (
        "POST",
        f"{R}/transfer-host",
        {"userId": "bob"},
        commands.TransferHost(room_id="r1", user_id="bob"),
        CHANGED,
    ),
    ("DELETE", R, {"reason": "late"}, commands.CloseRoom(room_id="r1", reason="late"), LEFT),
    (
        "POST",
        "/api/games/g1/actions",
        {"action": "RAISE", "amount": 400},
        commands.Action(room_id="r1", action="RAISE", amount=400),
        CHANGED,
    ),
]


@pytest.mark.parametrize(("method", "path", "body", "command", "answer"), COMMANDS)
async def test_command_reaches_the_club_and_its_reply_comes_back_in_camel_case(
    caller: Caller,
    method: str,
    path: str,
    body: object,
    command: commands.Command,
    answer: dict[str, Any],
) -> None:
    assert await caller.ok(method, path, body) == answer
    [(principal, ran, source)] = caller.club.ran
    assert ran == command
    assert principal.user_id == "amy"
    assert source == "http"


@pytest.mark.parametrize(
    "body",
    [
        {"name": "Nine", "bigBlind": 40, "displayName": "Amy"},
        {"settings": {"name": "Nine", "bigBlind": 40}, "displayName": "Amy"},
        {"settings": {"name": "Nine"}, "big_blind": 40, "display_name": "Amy"},
        {"name": "Ten", "settings": {"name": "Nine", "big_blind": 40}, "displayName": "Amy"},
    ],
)
async def test_room_is_made_from_settings_flat_or_nested(
    caller: Caller, body: dict[str, Any]
) -> None:
    answer = await caller.ok("POST", "/api/rooms", body, status=201)
    assert caller.club.ran[0][1] == commands.CreateRoom(
        settings=SettingsPatch(name="Nine", big_blind=40), display_name="Amy"
    )
    assert answer["room"]["bigBlind"] == ROOM.big_blind
    assert answer["room"]["hostId"] == "amy"
    assert "big_blind" not in answer["room"]


async def test_settings_change_names_only_what_changes(caller: Caller) -> None:
    await caller.ok("PATCH", f"{R}/settings", {"turnSeconds": 30})
    assert caller.club.ran[0][1] == commands.ChangeSettings(
        room_id="r1", settings=SettingsPatch(turn_seconds=30)
    )


@pytest.mark.parametrize("nested", [True, False])
@pytest.mark.parametrize(
    ("given", "bomb_pot"),
    [
        ({"everyNHands": 5, "amount": 300}, BombPot(every_n_hands=5, amount=300)),
        ({"every_n_hands": 5, "amount": 300}, BombPot(every_n_hands=5, amount=300)),
        (None, None),
    ],
)
async def test_a_setting_of_parts_is_read_in_both_cases_and_taken_back_with_null(
    caller: Caller, nested: bool, given: object, bomb_pot: BombPot | None
) -> None:
    settings = {"bombPot": given}
    body: dict[str, Any] = {"settings": settings} if nested else settings
    await caller.ok("PATCH", f"{R}/settings", body)
    assert caller.club.ran[0][1] == commands.ChangeSettings(
        room_id="r1", settings=SettingsPatch(bomb_pot=bomb_pot)
    )


async def test_lobby_and_room_are_listed(caller: Caller) -> None:
    rooms = (await caller.ok("GET", "/api/rooms"))["rooms"]
    assert rooms[0]["seatsTaken"] == 0
    assert (await caller.ok("GET", R))["room"]["code"] == "ABC234"


async def test_membership_tells_the_rejoin_token(caller: Caller) -> None:
    assert await caller.ok("GET", f"{R}/membership") == {
        "roomId": "r1",
        "userId": "amy",
        "status": "approved",
        "role": "spectator",
        "rejoinToken": "again",
    }


async def test_spectators_are_listed(caller: Caller) -> None:
    assert await caller.ok("GET", f"{R}/spectators") == {
        "spectators": [{"userId": "bob", "displayName": "Bob"}]
    }


async def test_hydrated_room_keeps_snake_case(caller: Caller) -> None:
    answer = await caller.ok("GET", f"{R}/hydrate?userId=amy&role=spectator")
    assert answer["recent_actions"] == []
    assert answer["room"]["big_blind"] == ROOM.big_blind
    assert answer["me"]["user_id"] == "amy"
    assert "pending_requests" not in answer
    assert "type" not in answer
    assert caller.club.asked == [("hydrate", "r1", "spectator")]


async def test_what_a_query_leaves_empty_counts_as_left_out(caller: Caller) -> None:
    await caller.ok("GET", f"{R}/hydrate?userId=&role=")
    assert caller.club.asked == [("hydrate", "r1", None)]


async def test_stop_watching_never_gives_up_a_seat(caller: Caller) -> None:
    caller.club.role = "player"
    _, document = await caller.problem("DELETE", f"{R}/spectate")
    assert document["code"] == "conflict"
    assert caller.club.ran == []


async def test_me_and_ledger(caller: Caller) -> None:
    me = await caller.ok("GET", "/api/me")
    assert me["balance"] == 10_000
    assert me["rooms"] == [
        {"id": "r1", "code": "ABC234", "name": "Table", "role": "player", "seatIndex": 3}
    ]
    page = await caller.ok("GET", "/api/me/ledger?before=10&limit=1")
    assert page["nextBefore"] == 9
    assert page["entries"][0]["handId"] is None
    assert (await caller.ok("GET", "/api/me/ledger"))["nextBefore"] is None
    assert caller.club.asked[1:] == [("ledger", 10, 1), ("ledger", None, 50)]


async def test_staff_credit_and_read_the_audit_log(caller: Caller) -> None:
    staff = bearer("sue", "staff")
    answer = await caller.ok(
        "POST",
        "/api/staff/wallets/bob/credit",
        {"amount": -30, "reason": "refund"},
        headers=staff,
    )
    assert answer == {"userId": "bob", "balance": 9_970}
    page = await caller.ok("GET", "/api/staff/audit?userId=amy&limit=5", headers=staff)
    assert page["entries"][0]["details"] == {"some_reason": "rude"}
    assert page["entries"][0]["subjectId"] == "bob"
    assert caller.club.asked == [
        ("credit_wallet", "bob", -30, "refund", None),
        ("audit_log", AuditFilters(user_id="amy", limit=5)),
    ]


async def test_host_lists_who_is_banned(caller: Caller) -> None:
    (ban,) = (await caller.ok("GET", f"{R}/bans"))["bans"]
    assert ban == {"userId": "bob", "reason": "rude", "bannedBy": "amy", "bannedAt": 5}
    assert caller.club.asked == [("bans", "r1")]


async def test_staff_see_the_floor(caller: Caller) -> None:
    floor = await caller.ok("GET", "/api/staff/overview", headers=bearer("sam", "staff"))
    (table,) = floor["rooms"]
    assert (table["status"], table["waitlistLength"], table["pendingRequests"]) == ("waiting", 2, 1)
    assert table["players"][0]["displayName"] == "Bob"
    assert (floor["openRooms"], floor["quarantined"][0]["crashId"]) == (1, "c1")
    assert floor["pushNotifications"] == {"pending": 1, "sent": 2, "dead": 0, "skipped": 0}


async def test_staff_are_known_from_their_first_request_on(caller: Caller) -> None:
    await caller.ok("GET", "/api/staff/audit", headers=bearer("sam", "staff"))
    assert [one.user_id for one in caller.club.accounts.welcomed] == ["sam"]


async def test_staff_see_and_lift_quarantined_rooms(caller: Caller) -> None:
    staff = bearer("sue", "staff")
    page = await caller.ok("GET", "/api/staff/rooms/quarantined", headers=staff)
    assert page["rooms"] == [{"roomId": "r1", "since": 1, "reason": "ValueError", "crashId": "c1"}]
    assert await caller.ok("POST", "/api/staff/rooms/r1/lift", headers=staff) == {"roomId": "r1"}
    assert caller.club.asked == [("quarantined_rooms",), ("lift_room", "r1")]


@pytest.mark.parametrize("route", [route for route in ALL_ROUTES if route.access == "staff"])
async def test_staff_routes_are_forbidden_to_players(caller: Caller, route: Any) -> None:
    response, document = await caller.problem(
        route.method, route.path.replace("{", "").replace("}", "")
    )
    assert (response.status_code, document["code"]) == (403, "forbidden")
    assert caller.club.asked == []


@pytest.mark.parametrize(
    "route",
    [route for route in ALL_ROUTES if route.access != "anybody" and not route.plain_errors],
    ids=lambda route: route.name,
)
@pytest.mark.parametrize("authorization", [None, "Bearer nonsense", "Basic YTpi", "Bearer"])
async def test_route_needs_an_access_token(
    caller: Caller, route: Any, authorization: str | None
) -> None:
    path = route.path.replace("{", "").replace("}", "")
    headers = {} if authorization is None else {"Authorization": authorization}
    response, document = await caller.problem(route.method, path, headers=headers)
    assert (response.status_code, document["code"]) == (401, "unauthenticated")
    assert response.headers["WWW-Authenticate"].startswith("Bearer")
    assert caller.club.ran == []
    assert caller.club.asked == []


MEANS_ME = [
    ("POST", f"{R}/join", {"userId": "bob"}),
    ("POST", f"{R}/join?userId=bob", {}),
    ("POST", f"{R}/join", {"user_id": "bob"}),
    ("POST", f"{R}/seat", {"userId": 29, "seatIndex": 1, "buyIn": 5}),
    ("DELETE", f"{R}/seat", {"userId": "bob"}),
    ("DELETE", f"{R}/seat?userId=bob", None),
    ("GET", f"{R}/hydrate?userId=bob", None),
    ("GET", "/api/rooms?user_id=bob", None),
    ("GET", "/api/me?userId=bob", None),
    ("POST", "/api/games/g1/actions", {"userId": "bob", "action": "FOLD"}),
    ("POST", "/api/rooms", {"userId": "bob"}),
]


@pytest.mark.parametrize(("method", "path", "body"), MEANS_ME)
async def test_somebody_elses_user_id_is_forbidden(
    caller: Caller, method: str, path: str, body: object
) -> None:
    response, document = await caller.problem(method, path, body)
    assert (response.status_code, document["code"]) == (403, "forbidden")
    assert caller.club.ran == []
    assert caller.club.asked == []


async def test_numeric_user_id_agrees_with_a_legacy_token(caller: Caller) -> None:
    await caller.ok("POST", f"{R}/join", {"userId": 29}, headers=bearer("29"))
    assert len(caller.club.ran) == 1


async def test_idempotency_key_is_the_command_id(caller: Caller) -> None:
    key = str(uuid.uuid4())
    await caller.ok("POST", f"{R}/start", headers={**bearer(), "Idempotency-Key": key})
    await caller.ok("POST", f"{R}/start")
    ran = [command.command_id for _, command, _ in caller.club.ran]  # type: ignore[attr-defined]
    assert ran == [key, None]


async def test_idempotency_key_reaches_a_credit(caller: Caller) -> None:
    key = str(uuid.uuid4())
    headers = {**bearer("sue", "staff"), "Idempotency-Key": key}
    body = {"amount": 5, "reason": "bonus"}
    await caller.ok("POST", "/api/staff/wallets/bob/credit", body, headers=headers)
    assert caller.club.asked == [("credit_wallet", "bob", 5, "bonus", key)]


async def test_idempotency_key_that_is_no_uuid_is_a_bad_request(caller: Caller) -> None:
    headers = {**bearer(), "Idempotency-Key": "again"}
    response, document = await caller.problem("POST", f"{R}/start", headers=headers)
    assert response.status_code == 400
    assert document["details"] == {"field": "Idempotency-Key"}
    assert caller.club.ran == []


BAD = [
    ("POST", f"{R}/seat", b'{"seatIndex": 99, "buyIn": 5}', "seatIndex"),
    ("POST", f"{R}/seat", b'{"seatIndex": 1}', "buyIn"),
    ("POST", f"{R}/seat", b'{"seatIndex": "1", "buyIn": 5}', "seatIndex"),
    ("POST", f"{R}/kick", b"{}", "userId"),
    ("POST", f"{R}/chips", b'{"userId": "b", "delta": 1, "reason": "a\\u0000b"}', "reason"),
    ("POST", "/api/rooms", b'{"bigBlind": 0}', "bigBlind"),
    ("POST", "/api/rooms", b'{"settings": {"bigBlind": 0}}', "settings.bigBlind"),
    ("POST", "/api/rooms", b'{"settings": {"bigBlond": 5}}', "settings.bigBlond"),
    ("POST", "/api/rooms", b'{"bombPot": {"everyNHands": 2}}', "bombPot.amount"),
    ("POST", f"{R}/run-it", b"{}", "times"),
    ("POST", "/api/games/g1/actions", b'{"action": "BLUFF"}', "action"),
    ("GET", "/api/me/ledger?limit=9999", b"", "limit"),
    ("GET", f"{R}/hydrate?role=owner", b"", "role"),
    ("POST", f"{R}/join", b"{", None),
    ("POST", f"{R}/join", b"[]", None),
    ("POST", f"{R}/join", b'"\xff"', None),
    ("POST", f"{R}/join", b"[" * 5000, None),
    ("POST", "/api/rooms/a%00b/start", b"", "roomId"),
    ("GET", f"/api/rooms/{'x' * 65}", b"", "roomId"),
]


@pytest.mark.parametrize(("method", "path", "data", "field"), BAD)
async def test_what_cannot_be_read_is_a_bad_request_with_its_field(
    caller: Caller, method: str, path: str, data: bytes, field: str | None
) -> None:
    response, document = await caller.problem(method, path, data=data)
    assert (response.status_code, document["code"]) == (400, "bad_request")
    assert document.get("details", {}).get("field") == field
    assert caller.club.ran == []


async def test_unknown_field_is_ignored(caller: Caller) -> None:
    await caller.ok("POST", f"{R}/join", {"playerLevel": 3, "displayName": "Amy"})


async def test_body_over_the_limit_is_too_large(caller: Caller) -> None:
    response, document = await caller.problem("POST", f"{R}/join", data=b" " * (MAX_BODY_BYTES + 1))
    assert (response.status_code, document["code"]) == (413, "too_large")
    assert caller.club.ran == []


@pytest.mark.parametrize("code", list(ErrorCode))
async def test_every_code_has_its_status(caller: Caller, code: ErrorCode) -> None:
    caller.club.failure = Refused(code, "Not now.", {"field": "seat_index", "legal": 1}, 0.2)
    response, document = await caller.problem("POST", f"{R}/start")
    assert response.status_code == STATUS[code]
    assert document["code"] == code
    assert document["detail"] == "Not now."
    assert document["details"] == {"field": "seatIndex", "legal": 1}
    assert document["retry_after"] == 0.2
    assert response.headers["Retry-After"] == "1"


async def test_moved_tells_the_address(caller: Caller) -> None:
    caller.club.failure = Refused(ErrorCode.MOVED, "Elsewhere.", {"address": "ws://b:1/ws"})
    response, document = await caller.problem("GET", R)
    assert response.status_code == 421
    assert document["details"] == {"address": "ws://b:1/ws"}
    assert "Retry-After" not in response.headers


async def test_database_away_is_unavailable(caller: Caller) -> None:
    caller.club.failure = Unavailable("gone", 2.5)
    response, document = await caller.problem("GET", "/api/me")
    assert (response.status_code, document["code"]) == (503, "unavailable")
    assert response.headers["Retry-After"] == "3"
    assert "gone" not in document["detail"]


async def test_crash_tells_an_id_and_nothing_else(caller: Caller) -> None:
    caller.club.failure = RuntimeError("the deck was AhKh")
    with capture_logs() as lines:
        response, document = await caller.problem("POST", f"{R}/start")
    assert response.status_code == 500
    assert document["details"] == {"id": document["request_id"]}
    assert "AhKh" not in str(document)
    assert "http_request_crashed" in [line["event"] for line in lines]


async def test_unknown_path_and_wrong_method_are_problems(caller: Caller) -> None:
    response, document = await caller.problem("GET", "/api/nothing")
    assert (response.status_code, document["code"]) == (404, "not_found")
    response, document = await caller.problem("PATCH", "/api/me")
    assert (response.status_code, document["code"]) == (405, "bad_request")
    assert "GET" in response.headers["Allow"]
    assert (await caller.problem("GET", "/api/rooms/"))[0].status_code == 404


async def test_unknown_game_is_not_found(caller: Caller) -> None:
    _, document = await caller.problem("POST", "/api/games/g2/actions", {"action": "FOLD"})
    assert document["code"] == "not_found"
    assert caller.club.ran == []


async def test_too_many_requests_of_one_user_are_limited_and_no_others(
    mock_clock: MockClock,
) -> None:
    caller = Caller(Settings(commands_per_s=1, command_burst=3, sockets_per_user=1))
    for _ in range(3):
        await caller.ok("GET", "/api/me")
    response, document = await caller.problem("GET", "/api/me")
    assert (response.status_code, document["code"]) == (429, "rate_limited")
    assert response.headers["Retry-After"] == "1"
    assert document["retry_after"] == 1
    await caller.ok("GET", "/api/me", headers=bearer("bob"))
    assert (await caller.raw("GET", "/healthz")).status_code == 200
    mock_clock.jump(1)
    await caller.ok("GET", "/api/me")


async def test_a_user_may_ask_as_much_as_over_all_their_sockets() -> None:
    caller = Caller(Settings(commands_per_s=1, command_burst=3, sockets_per_user=4))
    for _ in range(12):
        await caller.ok("GET", "/api/me")


def test_bucket_fills_up_again_and_full_ones_are_forgotten() -> None:
    rates = Rates(per_s=2, burst=2)
    assert [rates.take("amy", 10.0) for _ in range(3)] == [0, 0, 0.5]
    assert rates.take("amy", 10.25) == pytest.approx(0.25)
    assert rates.take("amy", 10.5) == 0
    for number in range(5000):
        rates.take(f"user {number}", 100.0)
    assert rates.take("amy", 100.0) == 0
    rates.take("last", 200.0)
    for number in range(5000):
        rates.take(f"other {number}", 200.0)
    assert len(rates._buckets) <= 5001


async def test_request_id_is_the_clients_if_sane(caller: Caller) -> None:
    response = await caller.raw("GET", "/healthz", headers={"X-Request-Id": "abc-1"})
    assert response.headers["X-Request-Id"] == "abc-1"
    response = await caller.raw("GET", "/healthz", headers={"X-Request-Id": "a b" + "c" * 99})
    assert len(response.headers["X-Request-Id"]) == 12


async def test_access_line_holds_no_query(caller: Caller) -> None:
    with capture_logs() as lines:
        await caller.raw("GET", "/api/me?token=hush&userId=amy")
    [line] = [line for line in lines if line["event"] == "http_request"]
    assert (line["method"], line["path"], line["status"]) == ("GET", "/api/me", 200)
    assert line["user_id"] == "amy"
    assert "hush" not in str(lines)


async def test_only_configured_origins_may_read() -> None:
    caller = Caller(Settings(allowed_origins=("https://club.example",)))
    asked = {"Origin": "https://club.example", "Access-Control-Request-Method": "POST"}
    response = await caller.raw("OPTIONS", f"{R}/join", headers=asked)
    assert response.status_code == 204
    assert response.headers["Access-Control-Allow-Origin"] == "https://club.example"
    assert "Idempotency-Key" in response.headers["Access-Control-Allow-Headers"]
    assert "PATCH" in response.headers["Access-Control-Allow-Methods"]

    response, _ = await caller.problem("GET", "/api/me", headers={"Origin": asked["Origin"]})
    assert response.headers["Access-Control-Allow-Origin"] == "https://club.example"
    for origin in ("https://evil.example", "null", "https://club.example.evil"):
        response = await caller.raw("GET", "/healthz", headers={"Origin": origin})
        assert "Access-Control-Allow-Origin" not in response.headers
        assert response.headers["Vary"] == "Origin"


async def test_no_origin_may_read_by_default(caller: Caller) -> None:
    response = await caller.raw("GET", "/healthz", headers={"Origin": "https://club.example"})
    assert "Access-Control-Allow-Origin" not in response.headers


async def test_config_tells_the_socket_and_the_limits(caller: Caller) -> None:
    answer = await caller.ok("GET", "/api/config", headers={})
    assert answer["wsUrl"] == "ws://127.0.0.1:8001/ws"
    assert answer["limits"]["maxMessageBytes"] == 16 * 1024
    assert answer["limits"]["commandsPerSecond"] == 30
    other = Caller(Settings(advertised_ws_address="wss://play.example/ws"))
    assert (await other.ok("GET", "/api/config"))["wsUrl"] == "wss://play.example/ws"


@pytest.mark.parametrize(
    ("listens", "asked", "told"),
    [
        ("0.0.0.0", "club.example:8000", "club.example"),
        ("::", "[2001:db8::1]:8000", "[2001:db8::1]"),
        ("10.1.2.3", "club.example:8000", "10.1.2.3"),
    ],
)
async def test_on_every_address_the_socket_is_where_the_asker_found_the_server(
    listens: str, asked: str, told: str
) -> None:
    caller = Caller(Settings(host=listens))
    answer = await caller.ok("GET", "/api/config", headers={"Host": asked})
    assert answer["wsUrl"] == f"ws://{told}:8001/ws"


async def test_readiness_is_the_clubs(caller: Caller) -> None:
    answer = await caller.ok("GET", "/readyz", headers={})
    assert answer == {"ready": True, "details": {"database": "there", "rigged_decks": False}}
    caller.club.is_ready = False
    response = await caller.raw("GET", "/readyz")
    assert response.status_code == 503
    body = msgspec.json.decode(await response.get_data())
    assert body["success"] is False
    assert body["ready"] is False
    assert await caller.ok("GET", "/healthz") == {"status": "ok"}


async def test_metrics_count_requests_by_route_and_hold_no_user(caller: Caller) -> None:
    await caller.raw("GET", R)
    await caller.raw("GET", "/surely/no/such/path")
    response = await caller.raw("GET", "/metrics", headers={})
    text = str(await response.get_data(as_text=True))
    assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    line = 'cardroom_http_requests_total{method="GET",route="/api/rooms/<room_id>",status="200"}'
    assert f"{line} 1.0" in text
    assert "amy" not in text
    assert "such" not in text


async def test_docs_page_is_whole_in_itself(caller: Caller) -> None:
    response = await caller.raw("GET", "/docs", headers={})
    page = str(await response.get_data(as_text=True))
    assert response.headers["Content-Type"].startswith("text/html")
    assert "//" not in page.replace("://${host}", "")
    for document in ("/openapi.json", "/asyncapi.json"):
        assert document in page
        assert (await caller.raw("GET", document, headers={})).status_code == 200
