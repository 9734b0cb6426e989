"""Support chat over HTTP from outside, beside the socket: what is said, read and refused."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import Any, LiteralString
from uuid import uuid4

import httpx
import psycopg
import pytest
import trio

from bench.outside import Outside, connected
from bench.server_process import ServerProcess
from tests.support.served import FAST, rows, serving, web

pytestmark = pytest.mark.fail_after(120)

UNIFIED = "/api/unified-chat"
PLAYERS = "/api/player-chat-integration"
STAFFS = "/api/staff-chat-integration"
HOSTILE = (
    "<script>alert('1')</script>&amp;\r\n\t\u0001\u001b[31m\u202e ' OR 1=1 -- \\u0041 😀 %s {}"
)


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with serving(FAST | {"CARDROOM_RESTART_INTENSITY": "2"}) as running:
        yield running


class Person:
    """Somebody with an HTTP client and an id of their own."""

    def __init__(self, http: httpx.AsyncClient, user_id: str) -> None:
        self.http = http
        self.id = user_id

    async def ok(self, method: str, path: str, body: object = None, **given: Any) -> dict[str, Any]:
        """Ask for something that is to be had."""
        answer = await self.http.request(method, path, json=body, **given)
        found: dict[str, Any] = answer.json()
        assert answer.status_code == 200, found
        return found

    async def say(self, text: str, base: str = UNIFIED, **fields: Any) -> dict[str, Any]:
        """Say something in one's own conversation, or where `playerId` says."""
        body = {"playerId": self.id, "messageText": text} | fields
        return await self.ok("POST", f"{base}/send", body)

    async def refused(
        self, method: str, path: str, body: object = None, **given: Any
    ) -> tuple[int, str]:
        """Ask for something that is not to be had; return status and code."""
        answer = await self.http.request(method, path, json=body, **given)
        told = answer.json()
        assert answer.headers["content-type"] == "application/problem+json", told
        return answer.status_code, told["code"]


Newcomer = Callable[..., Person]


@pytest.fixture
async def newcomer(server: ServerProcess) -> AsyncIterator[Newcomer]:
    """Make people whom nothing is known of, of a role."""
    clients: list[httpx.AsyncClient] = []

    def make(role: str = "player") -> Person:
        user_id = f"u{uuid4().hex[:12]}"
        clients.append(web(server, user_id, role))
        return Person(clients[-1], user_id)

    yield make
    for client in clients:
        await client.aclose()


async def test_a_conversation_is_one_for_all_portals(
    server: ServerProcess, newcomer: Newcomer
) -> None:
    amy, sue = newcomer(), newcomer("staff")
    first = await amy.say("hello", PLAYERS)
    session_id = first["session"]["id"]
    assert (first["session"]["status"], first["session"]["unreadByStaff"]) == ("pending", 1)
    waiting = await sue.ok("GET", f"/api/staff/chats?status=pending&playerId={amy.id}")
    assert [(s["id"], s["status"]) for s in waiting["sessions"]] == [(session_id, "waiting")]
    assert (await sue.ok("GET", "/api/staff/overview"))["waitingChats"] >= 1

    answer = await sue.say("yes?", STAFFS, playerId=amy.id)
    assert (answer["session"]["status"], answer["session"]["assignedStaff"]) == ("active", sue.id)
    page = await amy.ok("GET", f"{UNIFIED}/messages/{amy.id}")
    assert [m["messageText"] for m in page["messages"]] == ["hello", "yes?"]
    assert (page["session"]["status"], page["session"]["unreadByPlayer"]) == ("in_progress", 1)
    older = await amy.ok("GET", f"{PLAYERS}/messages/{amy.id}")
    assert [m["isFromPlayer"] for m in older["messages"]] == [True, False]
    assert older["session"]["status"] == "active"

    read = await amy.ok("POST", f"{UNIFIED}/read/{session_id}")
    assert (read["session"]["unreadByPlayer"], read["session"]["unreadByStaff"]) == (0, 1)
    read = await sue.ok("POST", f"/api/staff/chats/{session_id}/read")
    assert read["session"]["unreadByStaff"] == 0

    resolved = await sue.ok(
        "POST", f"{UNIFIED}/status/{session_id}", {"status": "resolved", "urgency": "low"}
    )
    assert (resolved["session"]["status"], resolved["session"]["urgency"]) == ("resolved", "low")
    again = await amy.say("one more thing")
    assert again["session"]["id"] != session_id
    listed = await amy.ok("GET", f"{UNIFIED}/conversations/{amy.id}")
    assert [s["status"] for s in listed["sessions"]] == ["waiting", "resolved"]
    of_first = await amy.ok("GET", f"{UNIFIED}/messages/{amy.id}?sessionId={session_id}")
    assert [m["status"] for m in of_first["messages"]] == ["read", "read"]

    kept = rows(
        server,
        "SELECT message_text, source FROM chat_messages WHERE player_id = %s "
        'ORDER BY "timestamp", seq',
        amy.id,
    )
    assert [(one["message_text"], one["source"]) for one in kept] == [
        ("hello", "player_portal"),
        ("yes?", "staff_portal"),
        ("one more thing", "unified_portal"),
    ]
    audited = rows(
        server,
        "SELECT action, source FROM audit_log WHERE subject_id = %s ORDER BY id",
        session_id,
    )
    assert {(one["action"], one["source"]) for one in audited} == {
        ("chat_urgency", "unified_portal"),
        ("chat_status", "unified_portal"),
    }


async def test_staff_give_a_conversation_to_each_other_and_reopen_it(newcomer: Newcomer) -> None:
    amy, sue, tom = newcomer(), newcomer("staff"), newcomer("staff")
    session_id = (await amy.say("hello"))["session"]["id"]
    path = f"/api/staff/chats/{session_id}/assign"
    mine = await sue.ok("POST", path)
    assert (mine["session"]["status"], mine["session"]["assignedStaff"]) == ("in_progress", sue.id)
    assert (await sue.ok("POST", path, {"staffId": tom.id}))["session"]["assignedStaff"] == tom.id
    assert (await sue.ok("POST", path, {"staffId": None}))["session"]["assignedStaff"] is None
    status = f"{STAFFS}/status/{session_id}"
    assert (await tom.ok("POST", status, {"status": "resolved"}))["session"]["resolvedAt"]
    assert await tom.refused("POST", path) == (409, "conflict")
    reopened = await tom.ok("POST", status, {"status": "active"})
    assert (reopened["session"]["status"], reopened["session"]["resolvedAt"]) == ("active", None)


async def test_text_is_kept_as_it_was_sent_and_stands_in_no_log(
    server: ServerProcess, newcomer: Newcomer
) -> None:
    amy, sue = newcomer(), newcomer("staff")
    secret = f"a secret {uuid4().hex}"
    sent = await amy.say(HOSTILE)
    assert sent["message"]["messageText"] == sent["session"]["initialMessage"] == HOSTILE
    await sue.say(f"{HOSTILE} {secret}", PLAYERS, playerId=amy.id)
    for person, base, key in ((amy, UNIFIED, "messageText"), (sue, STAFFS, "message")):
        answer = await person.http.get(f"{base}/messages/{amy.id}")
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["x-content-type-options"] == "nosniff"
        texts = [message[key] for message in answer.json()["messages"]]
        assert texts == [HOSTILE, f"{HOSTILE} {secret}"]
    too_long = {"playerId": amy.id, "messageText": secret * 200}
    refusal = await amy.http.post(f"{UNIFIED}/send", json=too_long)
    assert refusal.json()["details"]["field"] == "messageText"
    assert secret not in refusal.text
    assert secret not in server.log()
    assert "alert(" not in server.log()
    assert secret not in (await amy.http.get("/metrics")).text


async def test_a_message_happens_once_by_whatever_way_it_comes(
    server: ServerProcess, newcomer: Newcomer
) -> None:
    amy, sue = newcomer(), newcomer("staff")
    message_id, key = str(uuid4()), str(uuid4())
    async with (
        connected(server.ws_url, token=server.token(amy.id)) as socket,
        connected(server.ws_url, token=server.token(sue.id, role="staff")) as staff,
    ):
        await staff.ask("subscribe", channel="staff-portal")
        first = await amy.say("hello", messageId=message_id)
        by_socket = await socket.ask("chat_send", message_id=message_id, message_text="hello")
        again = await amy.say("hello", PLAYERS, messageId=message_id)
        assert first["message"]["seq"] == by_socket["message"]["seq"] == again["message"]["seq"]

        keyed = {"playerId": amy.id, "messageText": "once"}
        for _ in range(3):
            sent = await amy.ok("POST", f"{UNIFIED}/send", keyed, headers={"Idempotency-Key": key})
            assert sent["message"]["id"] == key
        by_socket = await socket.ask("chat_send", message_id=key, message_text="once")
        assert by_socket["message"]["seq"] == sent["message"]["seq"]
        last = await socket.ask("chat_send", message_id=str(uuid4()), message_text="last")
        told = await everything_until(staff, amy.id, last["message"]["id"])
        assert told == ["hello", "once", "last"]
    # The id is known when its session is over, too.
    session_id = first["session"]["id"]
    await sue.ok("POST", f"{UNIFIED}/status/{session_id}", {"status": "resolved"})
    late = await amy.say("hello", messageId=message_id)
    assert (late["message"]["seq"], late["session"]["id"]) == (first["message"]["seq"], session_id)
    late = await amy.ok("POST", f"{UNIFIED}/send", keyed, headers={"Idempotency-Key": key})
    assert late["message"]["id"] == key
    page = await amy.ok("GET", f"{UNIFIED}/messages/{amy.id}")
    assert [m["messageText"] for m in page["messages"]] == ["hello", "once", "last"]
    # The staff's message with the player's id is another writer's.
    stolen = {"playerId": amy.id, "messageText": "mine", "messageId": message_id}
    assert await sue.refused("POST", f"{UNIFIED}/send", stolen) == (409, "conflict")


async def test_a_key_is_for_one_thing_in_one_conversation(newcomer: Newcomer) -> None:
    amy, bob, sue = newcomer(), newcomer(), newcomer("staff")
    keyed: dict[str, Any] = {"headers": {"Idempotency-Key": str(uuid4())}}
    session_id = (await amy.say("hello"))["session"]["id"]
    other_id = (await bob.say("hello"))["session"]["id"]
    send = {"playerId": amy.id, "messageText": "yes?"}
    first = await sue.ok("POST", f"{UNIFIED}/send", send, **keyed)
    for path, body in (
        (f"{UNIFIED}/send", send | {"playerId": bob.id}),
        (f"{UNIFIED}/status/{session_id}", {"status": "resolved"}),
    ):
        assert await sue.refused("POST", path, body, **keyed) == (409, "conflict")
    again = await sue.ok("POST", f"{UNIFIED}/send", send, **keyed)
    assert again["message"] == first["message"]

    keyed = {"headers": {"Idempotency-Key": str(uuid4())}}
    resolve, reopen = {"status": "resolved"}, {"status": "active"}
    await sue.ok("POST", f"{UNIFIED}/status/{session_id}", resolve, **keyed)
    await sue.ok("POST", f"{UNIFIED}/status/{session_id}", reopen)
    late = await sue.ok("POST", f"{UNIFIED}/status/{session_id}", resolve, **keyed)
    assert late["session"]["status"] == "resolved"
    elsewhere = f"{UNIFIED}/status/{other_id}"
    assert await sue.refused("POST", elsewhere, resolve, **keyed) == (409, "conflict")
    listed = [
        (await person.ok("GET", f"{UNIFIED}/conversations/{person.id}"))["sessions"][0]["status"]
        for person in (amy, bob)
    ]
    assert listed == ["in_progress", "waiting"]


async def test_first_messages_at_once_open_one_session_and_the_same_one_is_said_once(
    newcomer: Newcomer,
) -> None:
    amy = newcomer()
    same = str(uuid4())
    async with trio.open_nursery() as nursery:
        for n in range(8):
            nursery.start_soon(partial(amy.say, f"{n}", (UNIFIED, PLAYERS)[n % 2]))
            nursery.start_soon(partial(amy.say, "same", messageId=same))
    listed = await amy.ok("GET", f"{UNIFIED}/conversations/{amy.id}")
    assert [s["unreadByStaff"] for s in listed["sessions"]] == [9]
    page = await amy.ok("GET", f"{UNIFIED}/messages/{amy.id}")
    assert [m["seq"] for m in page["messages"]] == list(range(1, 10))
    assert sorted(m["messageText"] for m in page["messages"]) == [*"01234567", "same"]


async def everything_until(staff: Outside, player_id: str, message_id: str) -> list[str]:
    """Wait for a message to be told to staff; return what was told of the player's up to it."""
    await staff.event(lambda e: (e.get("message") or {}).get("id") == message_id)
    messages = [event["message"] for event in staff.events if event.get("message")]
    return [m["message_text"] for m in messages if m["player_id"] == player_id]


async def test_history_goes_back_page_by_page(newcomer: Newcomer) -> None:
    amy, sue = newcomer(), newcomer("staff")
    for n in range(3):
        await amy.say(f"{n}")
        answer = await sue.say(f"{n}!", playerId=amy.id)
        await sue.ok("POST", f"{UNIFIED}/status/{answer['session']['id']}", {"status": "resolved"})
    for base in (UNIFIED, PLAYERS):
        pages: list[list[str]] = []
        before, more = "", True
        while more:
            page = await amy.ok("GET", f"{base}/messages/{amy.id}?limit=4&before={before}")
            pages.append([m["messageText"] for m in page["messages"]])
            before, more = page["messages"][0]["id"], page["more"]
        assert pages == [["1", "1!", "2", "2!"], ["0", "0!"]]
    unknown = f"{UNIFIED}/messages/{amy.id}?before={uuid4()}"
    assert await amy.refused("GET", unknown) == (404, "not_found")


async def test_canned_replies_are_said_by_their_shortcut(newcomer: Newcomer) -> None:
    amy, sue = newcomer(), newcomer("staff")
    path, word = "/api/staff/canned-replies", f"hi{uuid4().hex[:8]}"
    await sue.ok("POST", path, {"shortcut": word, "messageText": "old"})
    kept = await sue.ok("POST", path, {"shortcut": f"/{word}", "messageText": HOSTILE})
    assert (kept["reply"]["shortcut"], kept["reply"]["createdBy"]) == (f"/{word}", sue.id)
    assert kept["reply"] in (await sue.ok("GET", path))["replies"]
    await amy.say(f"/{word}")
    sent = await sue.say(f"/{word}", STAFFS, playerId=amy.id)
    assert sent["message"]["message"] == HOSTILE
    page = await amy.ok("GET", f"{UNIFIED}/messages/{amy.id}")
    assert [m["messageText"] for m in page["messages"]] == [f"/{word}", HOSTILE], (
        "players have no shortcuts"
    )
    assert await sue.ok("DELETE", f"{path}/{word}") == {"success": True, "shortcut": f"/{word}"}
    assert await sue.refused("DELETE", f"{path}/{word}") == (404, "not_found")


async def test_others_conversations_are_closed_on_every_route(
    server: ServerProcess, newcomer: Newcomer
) -> None:
    amy, eve, sue = newcomer(), newcomer(), newcomer("staff")
    sent = await amy.say("for staff only")
    session_id, message_id = sent["session"]["id"], sent["message"]["id"]
    own = (await eve.say("mine"))["session"]["id"]
    send = {"playerId": amy.id, "messageText": "x"}
    into_amys = {"playerId": eve.id, "messageText": "x", "sessionId": session_id}
    before = chats_of(server, amy.id), chats_of(server, eve.id)
    forbidden, not_found = (403, "forbidden"), (404, "not_found")
    cases: list[tuple[str, str, object, tuple[int, str]]] = [
        ("POST", f"{UNIFIED}/send", send, forbidden),
        ("POST", f"{UNIFIED}/send", into_amys, not_found),
        ("POST", f"{PLAYERS}/send", send, forbidden),
        ("POST", f"{PLAYERS}/send", into_amys, not_found),
        ("POST", f"{STAFFS}/send", send, forbidden),
        ("GET", f"{UNIFIED}/messages/{amy.id}", None, forbidden),
        ("GET", f"{UNIFIED}/messages/{amy.id}?sessionId={own}", None, forbidden),
        ("GET", f"{UNIFIED}/messages/{eve.id}?sessionId={session_id}", None, not_found),
        ("GET", f"{UNIFIED}/messages/{eve.id}?before={message_id}", None, not_found),
        ("GET", f"{PLAYERS}/messages/{amy.id}", None, forbidden),
        ("GET", f"{PLAYERS}/messages/{eve.id}?sessionId={session_id}", None, not_found),
        ("GET", f"{STAFFS}/messages/{amy.id}", None, forbidden),
        ("GET", f"{STAFFS}/requests", None, forbidden),
        ("GET", f"{UNIFIED}/conversations/{amy.id}", None, forbidden),
        ("POST", f"{UNIFIED}/status/{session_id}", {"status": "resolved"}, not_found),
        ("POST", f"{UNIFIED}/status/{own}", {"status": "resolved"}, forbidden),
        ("POST", f"{STAFFS}/status/{session_id}", {"status": "resolved"}, forbidden),
        ("POST", f"{UNIFIED}/read/{session_id}", {}, not_found),
        ("POST", f"{UNIFIED}/read/{session_id}", {"messageId": message_id}, not_found),
        ("GET", "/api/staff/chats", None, forbidden),
        ("GET", f"/api/staff/chats?playerId={eve.id}", None, forbidden),
        ("POST", f"/api/staff/chats/{session_id}/assign", {}, forbidden),
        ("POST", f"/api/staff/chats/{session_id}/read", {}, forbidden),
        ("POST", f"/api/staff/chats/{session_id}/lift", {}, forbidden),
        ("GET", "/api/staff/chats/quarantined", None, forbidden),
        ("GET", "/api/staff/canned-replies", None, forbidden),
        ("POST", "/api/staff/canned-replies", {"shortcut": "x", "messageText": "x"}, forbidden),
        ("DELETE", "/api/staff/canned-replies/x", None, forbidden),
    ]
    for method, path, body, refusal in cases:
        answer = await eve.http.request(method, path, json=body)
        assert (answer.status_code, answer.json()["code"]) == refusal, (method, path)
        assert "for staff only" not in answer.text
        # What is there and what is not are told alike.
        if refusal == not_found:
            elsewhere = path.replace(session_id, str(uuid4())).replace(message_id, str(uuid4()))
            other = body
            if isinstance(body, dict) and "sessionId" in body:
                other = body | {"sessionId": str(uuid4())}
            nothing = await eve.http.request(method, elsewhere, json=other)
            assert nothing.json()["detail"] == answer.json()["detail"], (method, path)
    assert (chats_of(server, amy.id), chats_of(server, eve.id)) == before
    # Nor do staff by mistake write to, or see, somebody whom they did not mean.
    assert await sue.refused("POST", f"{UNIFIED}/send", into_amys) == not_found
    mixed = f"{UNIFIED}/messages/{eve.id}?sessionId={session_id}"
    assert await sue.refused("GET", mixed) == not_found
    assert (chats_of(server, amy.id), chats_of(server, eve.id)) == before


async def test_a_conversation_out_of_order_is_seen_and_lifted_by_staff(
    server: ServerProcess, newcomer: Newcomer
) -> None:
    amy, bob, sue = newcomer(), newcomer(), newcomer("staff")
    session_id = (await amy.say("hello"))["session"]["id"]
    read = f"/api/staff/chats/{session_id}/read"
    # Nothing decided on such a row can go well.
    damage(server, "ALTER TABLE chat_sessions ALTER COLUMN seq DROP NOT NULL")
    damage(server, "UPDATE chat_sessions SET seq = NULL, outside = 1 WHERE id = %s", session_id)
    codes: list[str] = []
    while codes[-1:] != ["room_unavailable"]:
        codes.append((await sue.refused("POST", read))[1])
        assert len(codes) < 20
    assert "internal" in codes
    floor = await sue.ok("GET", "/api/staff/overview")
    listed = (await sue.ok("GET", "/api/staff/chats/quarantined"))["chats"]
    assert [chat["sessionId"] for chat in listed] == [session_id]
    assert floor["quarantinedChats"] == listed
    await bob.say("is not concerned")

    damage(server, "UPDATE chat_sessions SET seq = 1 WHERE id = %s", session_id)
    lift = f"/api/staff/chats/{session_id}/lift"
    assert await sue.ok("POST", lift) == {"success": True, "sessionId": session_id}
    assert await sue.refused("POST", lift) == (404, "not_found")
    assert (await sue.ok("POST", read))["session"]["unreadByStaff"] == 0
    [line] = rows(server, "SELECT * FROM audit_log WHERE action = 'lift_chat'")
    assert (line["user_id"], line["subject_id"]) == (sue.id, session_id)


def damage(server: ServerProcess, statement: LiteralString, *values: object) -> None:
    """Damage the server's database, past all triggers."""
    with psycopg.connect(server.database_url, autocommit=True) as conn:
        conn.execute("SET session_replication_role = replica")
        conn.execute(statement, values)


async def test_a_message_with_an_others_id_is_its_writers_own(
    server: ServerProcess, newcomer: Newcomer
) -> None:
    amy, eve = newcomer(), newcomer()
    message_id = str(uuid4())
    await amy.say("amy's", messageId=message_id)
    sent = await eve.say("eve's", messageId=message_id)
    assert sent["message"]["messageText"] == "eve's"
    page = await amy.ok("GET", f"{UNIFIED}/messages/{amy.id}")
    assert [m["messageText"] for m in page["messages"]] == ["amy's"]


def chats_of(server: ServerProcess, player_id: str) -> list[dict[str, Any]]:
    """Read all that is kept of a player's conversations."""
    sessions = rows(server, "SELECT * FROM chat_sessions WHERE player_id = %s", player_id)
    return sessions + rows(server, "SELECT * FROM chat_messages WHERE player_id = %s", player_id)
