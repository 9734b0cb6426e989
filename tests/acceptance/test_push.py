"""Push notifications from outside: what rooms announce, with a provider that does as it likes."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from bench.outside import connected
from bench.push_stand_in import HANG, LOST_ANSWER, PushStandIn
from bench.server_process import ServerProcess
from tests.acceptance.playing import TABLE, serving
from tests.support.outbox import APP, KEY
from tests.support.served import rows, web

pytestmark = pytest.mark.fail_after(120)

APART = {**TABLE, "max_seats": 2, "auto_start": False, "requires_approval": True}


@asynccontextmanager
async def club(**settings: str) -> AsyncIterator[tuple[ServerProcess, PushStandIn]]:
    """Run a server whose provider is a stand-in."""
    stand_in = PushStandIn(app_id=APP, api_key=KEY)
    async with trio.open_nursery() as nursery:
        await nursery.start(stand_in.run)
        given = {
            "CARDROOM_ONESIGNAL_BASE_URL": stand_in.url,
            "CARDROOM_ONESIGNAL_APP_ID": APP,
            "CARDROOM_ONESIGNAL_API_KEY": KEY,
            "CARDROOM_PUSH_RETRY_FIRST_S": "0.05",
            "CARDROOM_SEAT_OFFER_S": "600",
        }
        async with serving(given | settings) as server:
            yield server, stand_in
        log = server.log()
        assert "asks to join" not in log
        assert KEY not in log
        nursery.cancel_scope.cancel()


async def ask(server: ServerProcess, user: str, method: str, path: str, **body: Any) -> Any:
    async with web(server, user, "staff" if user == "floor" else "player") as http:
        answer = await http.request(method, path, json=body or None)
        assert answer.is_success, answer.text
        return answer.json()


async def make_room(server: ServerProcess) -> str:
    """Have ``host``, who never has a socket, make a room."""
    made = await ask(server, "host", "POST", "/api/rooms", settings=APART)
    return str(made["room"]["id"])


async def ask_to_join(server: ServerProcess, room_id: str, user: str) -> None:
    path = f"/api/rooms/{room_id}/join"
    await ask(server, user, "POST", path, userId=user, displayName=user.title())


def of_kind(kind: str) -> Any:
    return lambda push: push.data["kind"] == kind


async def all_sent(server: ServerProcess, count: int) -> None:
    """Wait until so many notifications are noted as sent."""
    query = "SELECT count(*) AS sent FROM push_notifications WHERE status = 'sent'"
    while rows(server, query)[0]["sent"] < count:  # noqa: ASYNC110 - another process
        await trio.sleep(0.02)


async def test_an_absent_host_hears_of_a_request_and_a_player_of_a_seat() -> None:
    async with club() as (server, stand_in):
        room_id = await make_room(server)
        path = f"/api/rooms/{room_id}"
        for index, user in enumerate(("ann", "bob")):
            await ask_to_join(server, room_id, user)
            await ask(server, "host", "POST", f"{path}/approve", userId=user, approved=True)
            seat = {"seatIndex": index, "displayName": user, "buyIn": 10_000}
            await ask(server, user, "POST", f"{path}/seat", **seat)
        for user in ("ann", "bob"):
            asked = await stand_in.push(lambda push, user=user: push.data.get("user_id") == user)  # type: ignore[misc]
            assert (asked.to, asked.data["room_id"]) == (["host"], room_id)
            assert asked.title == f"{user.title()} asks to join"

        waits = await ask(
            server, "cem", "POST", "/api/seat-requests", playerId="cem", tableId=room_id
        )
        await ask(server, "bob", "DELETE", f"{path}/seat")
        offer = await stand_in.push(of_kind("seat_offer"))
        entry = rows(server, "SELECT * FROM waitlist WHERE table_id = %s", room_id)[0]
        assert offer.to == ["cem"]
        assert offer.data == {
            "kind": "seat_offer",
            "table_id": room_id,
            "entry_id": entry["id"],
            "seat_index": 1,
            "expires_at": round(entry["expires_at"].timestamp() * 1000),
        }
        assert entry["id"] in str(waits)

        async with connected(server.ws_url, token=server.token("host")):
            await ask_to_join(server, room_id, "dan")
        await all_sent(server, 3)
        assert Counter(push.data["kind"] for push in stand_in.pushes) == {
            "join_request": 2,
            "seat_offer": 1,
        }
        floor = await ask(server, "floor", "GET", "/api/staff/overview")
        assert floor["pushNotifications"] == {"pending": 0, "sent": 3, "dead": 0, "skipped": 0}
        async with web(server, "floor", "staff") as http:
            metrics = (await http.get("/metrics")).text
        assert 'cardroom_push_total{outcome="sent"} 3.0' in metrics
        assert "cardroom_push_oldest_waiting_seconds" in metrics


async def test_a_kill_while_sending_loses_nothing_and_sends_nothing_twice() -> None:
    async with club(CARDROOM_PUSH_LEASE_S="2", CARDROOM_PUSH_TIMEOUT_S="1") as (server, stand_in):
        room_id = await make_room(server)
        stand_in.fault = LOST_ANSWER
        users = [f"user{n}" for n in range(6)]
        for user in users:
            await ask_to_join(server, room_id, user)
        await stand_in.asked(1)
        await server.kill()
        stand_in.fault = None
        before = len(stand_in.requests)
        await server.start()
        await all_sent(server, len(users))
        assert len(stand_in.requests) > before
        keys = {str(row["id"]) for row in rows(server, "SELECT id FROM push_notifications")}
        assert len(keys) == len(users)
        assert Counter(push.key for push in stand_in.pushes) == Counter(keys)
        assert {push.data["user_id"] for push in stand_in.pushes} == set(users)
        provider = {row["provider_id"] for row in rows(server, "TABLE push_notifications")}
        assert provider == {push.id for push in stand_in.pushes}


async def test_a_provider_that_hangs_holds_up_nobody_and_the_server_stops_in_time() -> None:
    async with club(CARDROOM_PUSH_TIMEOUT_S="60", CARDROOM_PUSH_LEASE_S="90") as (server, stand_in):
        stand_in.fault = HANG
        room_id = await make_room(server)
        users = [f"user{n}" for n in range(20)]
        for user in users:
            await ask_to_join(server, room_id, user)
        await stand_in.asked(4)
        for user in users:
            path = f"/api/rooms/{room_id}/approve"
            await ask(server, "host", "POST", path, userId=user, approved=True)
        floor = await ask(server, "floor", "GET", "/api/staff/overview")
        assert floor["pushNotifications"] == {"pending": 20, "sent": 0, "dead": 0, "skipped": 0}
        assert len(stand_in.requests) == 4
        await server.stop()
        assert "not_stopped_in_time" not in server.log()


async def test_the_list_of_staff_follows_what_their_tokens_say() -> None:
    async with club() as (server, _):

        def listed() -> list[dict[str, Any]]:
            return rows(server, "SELECT user_id, name FROM club_staff ORDER BY 1")

        async with connected(server.ws_url, token=server.token("sue", "Sue", "staff")):
            assert listed() == [{"user_id": "sue", "name": "Sue"}]
        await ask(server, "floor", "GET", "/api/staff/rooms/quarantined")
        assert [row["user_id"] for row in listed()] == ["floor", "sue"]

        room_id = await make_room(server)
        async with connected(server.ws_url, token=server.token("sue", "Sue", "staff")) as sue:
            token = (await sue.ask("spectate", room_id=room_id))["rejoin_token"]
        async with connected(server.ws_url, rejoin_token=token) as again:
            assert again.user_id == "sue"
            await again.ask("list_rooms")
        assert [row["user_id"] for row in listed()] == ["floor", "sue"]

        async with connected(server.ws_url, token=server.token("sue", "Sue")):
            assert [row["user_id"] for row in listed()] == ["floor"]
        async with connected(server.ws_url, token=server.token("sue", "Sue", "staff")):
            assert [row["user_id"] for row in listed()] == ["floor", "sue"]
