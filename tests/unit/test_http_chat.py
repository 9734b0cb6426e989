"""The HTTP coat of support chat: three generations of portals, each in its own words."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from game.chat.handling import older_word, status_of
from protocol import commands
from protocol.values import ChatStatus
from server.http.app import ALL_ROUTES
from server.http.openapi import openapi
from tests.support.http import bearer
from tests.unit.test_http import Caller

KEY = "0f8fad5b-d9cb-469f-a165-70867728950e"
SESSION = {
    "id": "s1",
    "playerId": "amy",
    "playerName": "Amy",
    "initialMessage": "Hello?",
    "status": "in_progress",
    "assignedStaff": "sue",
    "assignedStaffName": "Sue",
    "urgency": "normal",
    "unreadByPlayer": 1,
    "unreadByStaff": 0,
    "createdAt": 1,
    "updatedAt": 2,
    "waitingSince": 1,
    "firstReplyAt": 2,
    "lastMessageAt": 2,
    "resolvedAt": None,
    "seq": 7,
}
MESSAGE = {
    "id": "11111111-2222-3333-4444-555555555555",
    "sessionId": "s1",
    "playerId": "amy",
    "sender": "staff",
    "senderName": "Sue",
    "messageText": "Yes?",
    "timestamp": 2,
    "seq": 4,
    "status": "sent",
}
CHANGED = {"seq": 7, "session": SESSION}
SENT = {**CHANGED, "message": MESSAGE}
OLDER_SESSION = SESSION | {"status": "active"}
OLDER_MESSAGE = MESSAGE | {"message": "Yes?", "isFromPlayer": False, "senderType": "staff"}
OLDER_CHANGED = {"seq": 7, "session": OLDER_SESSION}
OLDER_SENT = {
    **OLDER_CHANGED,
    "id": MESSAGE["id"],
    "timestamp": 2,
    "message": OLDER_MESSAGE,
}
CANNED = {
    "shortcut": "/hello",
    "messageText": "Hello!",
    "createdBy": "sue",
    "createdAt": 1,
    "updatedAt": 2,
}

UNIFIED = "/api/unified-chat"
PLAYERS = "/api/player-chat-integration"
STAFFS = "/api/staff-chat-integration"
CHATS = "/api/staff/chats"
MINE = {"playerId": "amy", "messageText": "hi", "messageId": KEY}


@pytest.fixture
def caller() -> Caller:
    return Caller()


def said(**fields: Any) -> commands.ChatSend:
    given = {"message_id": KEY, "message_text": "hi", "player_id": "amy"}
    return commands.ChatSend(**given | fields)


@pytest.mark.parametrize(
    ("path", "body", "command", "answer", "source"),
    [
        (f"{UNIFIED}/send", MINE, said(), SENT, "unified_portal"),
        (
            f"{UNIFIED}/send",
            {"player_id": 29, "message_text": "<b>\u0001\n", "message_id": KEY, "sessionId": 7},
            said(player_id="29", message_text="<b>\u0001\n", session_id="7"),
            SENT,
            "unified_portal",
        ),
        (
            f"{UNIFIED}/send",
            MINE | {"sessionId": "s1", "urgency": "high"},
            said(session_id="s1", urgency="high"),
            SENT,
            "unified_portal",
        ),
        (f"{PLAYERS}/send", MINE, said(), OLDER_SENT, "player_portal"),
        (
            f"{PLAYERS}/send",
            {"playerId": 29, "playerName": "A.", "message": "hi", "messageId": KEY},
            said(player_id="29"),
            OLDER_SENT,
            "player_portal",
        ),
        (f"{STAFFS}/send", MINE, said(), OLDER_SENT, "staff_portal"),
        (
            f"{UNIFIED}/status/s1",
            {"status": "active"},
            commands.SetChatStatus(session_id="s1", status="active"),
            CHANGED,
            "unified_portal",
        ),
        (
            f"{UNIFIED}/status/s1",
            {"status": "resolved", "urgency": "low"},
            commands.SetChatStatus(session_id="s1", status="resolved", urgency="low"),
            CHANGED,
            "unified_portal",
        ),
        (
            f"{STAFFS}/status/s1",
            {"status": "pending"},
            commands.SetChatStatus(session_id="s1", status="pending"),
            OLDER_CHANGED,
            "staff_portal",
        ),
        (
            f"{UNIFIED}/read/s1",
            {},
            commands.ChatRead(session_id="s1"),
            CHANGED,
            "unified_portal",
        ),
        (
            f"{CHATS}/s1/read",
            {"messageId": KEY},
            commands.ChatRead(session_id="s1", message_id=KEY),
            CHANGED,
            "staff_portal",
        ),
        (f"{CHATS}/s1/read", None, commands.ChatRead(session_id="s1"), CHANGED, "staff_portal"),
        (
            f"{CHATS}/s1/assign",
            None,
            commands.ChatAssign(session_id="s1"),
            CHANGED,
            "staff_portal",
        ),
        (
            f"{CHATS}/s1/assign",
            {"staffId": 12},
            commands.ChatAssign(session_id="s1", staff_id="12"),
            CHANGED,
            "staff_portal",
        ),
        (
            f"{CHATS}/s1/assign",
            {"staffId": None},
            commands.ChatAssign(session_id="s1", staff_id=None),
            CHANGED,
            "staff_portal",
        ),
    ],
)
async def test_command_reaches_the_desk_and_its_reply_comes_back(
    caller: Caller,
    path: str,
    body: object,
    command: commands.Command,
    answer: dict[str, Any],
    source: str,
) -> None:
    staff = bearer("sue", "staff")
    assert await caller.ok("POST", path, body, headers=staff) == answer
    [(principal, ran, came_by)] = caller.club.ran
    assert (principal.user_id, ran, came_by) == ("sue", command, source)


async def test_players_write_by_the_portals_that_are_theirs(caller: Caller) -> None:
    await caller.ok("POST", f"{UNIFIED}/send", MINE)
    await caller.ok("POST", f"{PLAYERS}/send", MINE)
    assert [principal.user_id for principal, *_ in caller.club.ran] == ["amy", "amy"]


async def test_message_id_is_the_idempotency_key_or_else_a_new_one(caller: Caller) -> None:
    other = str(UUID(int=7))
    body = {"playerId": "amy", "messageText": "hi"}
    keyed = bearer() | {"Idempotency-Key": KEY}
    await caller.ok("POST", f"{UNIFIED}/send", body, headers=keyed)
    await caller.ok("POST", f"{UNIFIED}/send", body | {"messageId": other}, headers=keyed)
    await caller.ok("POST", f"{UNIFIED}/send", body)
    await caller.ok("POST", f"{UNIFIED}/send", body)
    sent = [ran for _, ran, _ in caller.club.ran]
    assert all(isinstance(one, commands.ChatSend) for one in sent)
    ids = [one.message_id for one in sent if isinstance(one, commands.ChatSend)]
    keys = [one.command_id for one in sent if isinstance(one, commands.ChatSend)]
    assert (ids[:2], keys) == ([KEY, other], [KEY, KEY, None, None])
    assert len({UUID(one) for one in ids}) == 4


@pytest.mark.parametrize(
    ("base", "message", "session"),
    [(UNIFIED, MESSAGE, SESSION), *((b, OLDER_MESSAGE, OLDER_SESSION) for b in (PLAYERS, STAFFS))],
)
async def test_messages_are_paged(
    caller: Caller, base: str, message: dict[str, Any], session: dict[str, Any]
) -> None:
    # What others wrote with SQL may have ids of other kinds.
    path = f"{base}/messages/29?before=msg-7&limit=5&sessionId=s1"
    page = await caller.ok("GET", path, headers=bearer("sue", "staff"))
    assert page == {"messages": [message], "session": session, "more": True, "staffOnline": True}
    query = commands.ChatHistory(player_id="29", before="msg-7", limit=5, session_id="s1")
    assert caller.club.asked == [("history", query)]


@pytest.mark.parametrize(
    ("path", "query", "session"),
    [
        (
            f"{UNIFIED}/conversations/29?status=pending",
            commands.ChatInbox(player_id="29", status="pending"),
            SESSION,
        ),
        (
            f"{CHATS}?status=waiting&playerId=29&limit=5",
            commands.ChatInbox(player_id="29", status="waiting", limit=5),
            SESSION,
        ),
        (CHATS, commands.ChatInbox(), SESSION),
        (
            f"{STAFFS}/requests?status=active",
            commands.ChatInbox(status="active"),
            OLDER_SESSION,
        ),
    ],
)
async def test_sessions_are_listed(
    caller: Caller, path: str, query: commands.ChatInbox, session: dict[str, Any]
) -> None:
    listed = await caller.ok("GET", path, headers=bearer("sue", "staff"))
    assert listed == {"sessions": [session], "staffOnline": False}
    assert caller.club.asked == [("inbox", query)]


async def test_canned_replies_are_kept_listed_and_forgotten(caller: Caller) -> None:
    staff, path = bearer("sue", "staff"), "/api/staff/canned-replies"
    body = {"shortcut": "hello", "messageText": "Hello!"}
    assert await caller.ok("POST", path, body, headers=staff) == {"reply": CANNED}
    assert await caller.ok("GET", path, headers=staff) == {"replies": [CANNED]}
    gone = await caller.ok("DELETE", f"{path}/hello", headers=staff)
    assert gone == {"shortcut": "/hello"}
    assert caller.club.asked == [
        ("put_canned_reply", "hello", "Hello!"),
        ("canned_replies",),
        ("remove_canned_reply", "hello"),
    ]


async def test_staff_see_and_lift_quarantined_conversations(caller: Caller) -> None:
    staff = bearer("sue", "staff")
    page = await caller.ok("GET", f"{CHATS}/quarantined", headers=staff)
    chat = {"sessionId": "s1", "since": 1, "reason": "ValueError", "crashId": "c1"}
    assert page == {"chats": [chat]}
    assert await caller.ok("POST", f"{CHATS}/s1/lift", headers=staff) == {"sessionId": "s1"}
    assert caller.club.asked == [("quarantined_chats",), ("lift_chat", "s1")]
    floor = await caller.ok("GET", "/api/staff/overview", headers=staff)
    assert (floor["waitingChats"], floor["quarantinedChats"]) == (3, [chat])


@pytest.mark.parametrize(
    ("method", "path", "body", "field"),
    [
        ("POST", f"{UNIFIED}/send", {"playerId": "amy"}, "messageText"),
        ("POST", f"{UNIFIED}/send", {"playerId": "amy", "message": "hi"}, "messageText"),
        ("POST", f"{UNIFIED}/send", {"messageText": "hi"}, "playerId"),
        ("POST", f"{UNIFIED}/send", MINE | {"playerId": -1}, "playerId"),
        ("POST", f"{UNIFIED}/send", MINE | {"playerId": True}, "playerId"),
        ("POST", f"{UNIFIED}/send", MINE | {"messageText": ""}, "messageText"),
        ("POST", f"{UNIFIED}/send", MINE | {"messageText": "x" * 4001}, "messageText"),
        ("POST", f"{UNIFIED}/send", MINE | {"messageText": "\x00"}, "messageText"),
        ("POST", f"{UNIFIED}/send", MINE | {"messageId": "m1"}, "messageId"),
        ("POST", f"{UNIFIED}/send", MINE | {"sessionId": ""}, "sessionId"),
        ("POST", f"{UNIFIED}/send", MINE | {"urgency": "urgent"}, "urgency"),
        ("POST", f"{PLAYERS}/send", {"playerId": "amy"}, "messageText"),
        ("POST", f"{PLAYERS}/send", {"playerId": "amy", "message": ""}, "message"),
        ("POST", f"{STAFFS}/send", {"message": "hi"}, "playerId"),
        ("GET", f"{UNIFIED}/messages/amy?before={'x' * 65}", None, "before"),
        ("GET", f"{UNIFIED}/messages/amy?limit=201", None, "limit"),
        ("GET", f"{UNIFIED}/messages/{'a' * 65}", None, "playerId"),
        ("GET", f"{UNIFIED}/conversations/amy?status=open", None, "status"),
        ("POST", f"{UNIFIED}/status/s1", {"status": "closed"}, "status"),
        ("POST", f"{UNIFIED}/status/{'a' * 65}", {"status": "resolved"}, "requestId"),
        ("POST", f"{UNIFIED}/read/s1", {"messageId": 5}, "messageId"),
        ("GET", f"{CHATS}?limit=0", None, "limit"),
        ("POST", f"{CHATS}/s1/assign", {"staffId": ""}, "staffId"),
        ("POST", "/api/staff/canned-replies", {"shortcut": "/a b", "messageText": "x"}, "shortcut"),
        ("POST", "/api/staff/canned-replies", {"shortcut": "/hi"}, "messageText"),
        ("DELETE", "/api/staff/canned-replies/a%20b", None, "shortcut"),
    ],
)
async def test_bad_input_is_refused_with_the_field_and_never_repeated(
    caller: Caller, method: str, path: str, body: object, field: str
) -> None:
    staff = bearer("sue", "staff")
    _, document = await caller.problem(method, path, body, headers=staff)
    assert document["code"] == "bad_request"
    assert document["details"]["field"] == field
    assert "hi" not in document["detail"].split()
    assert caller.club.ran == []
    assert caller.club.asked == []


@pytest.mark.parametrize("escaped", [False, True])
async def test_the_longest_message_fits_however_it_is_written(
    caller: Caller, escaped: bool
) -> None:
    char = r"\ud83c\udca1" if escaped else "🂡"
    data = f'{{"playerId": "amy", "messageText": "{char * 4000}"}}'.encode()
    await caller.ok("POST", f"{UNIFIED}/send", data=data)
    [(_, ran, _)] = caller.club.ran
    assert isinstance(ran, commands.ChatSend)
    assert ran.message_text == "🂡" * 4000


@pytest.mark.parametrize(
    ("ours", "older"),
    [("waiting", "pending"), ("in_progress", "active"), ("resolved", "resolved")],
)
def test_statuses_go_into_older_words_and_back(ours: ChatStatus, older: str) -> None:
    assert older_word(ours) == older
    assert status_of(older_word(ours)) == status_of(ours) == ours


def test_documents_tell_each_portal_its_own_words() -> None:
    document = openapi(ALL_ROUTES)
    found = document["components"]["schemas"]
    ours, older = {"waiting", "in_progress", "resolved"}, {"pending", "active", "resolved"}
    assert set(found["HttpChatSession"]["properties"]["status"]["enum"]) == ours
    assert set(found["HttpOlderChatSession"]["properties"]["status"]["enum"]) == older
    assert set(found["ChatStatusBody"]["properties"]["status"]["anyOf"][0]["enum"]) == ours | older
    for path, methods in document["paths"].items():
        for operation in methods.values():
            if operation["tags"] == ["chat V1.2"]:
                [success] = [v for k, v in operation["responses"].items() if k == "200"]
                assert "HttpOlderChat" in str(success), path
