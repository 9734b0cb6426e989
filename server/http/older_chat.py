"""Support chat for the portals of V1.2: the same conversations in their words.

A status is `pending`, `active` or `resolved` wherever one is told. Who speaks is the token's user,
whichever of the endpoints they come by.
"""

from msgspec import Struct

from server.http.calls import Call, Routes
from server.http.chat import enter_status, messages_of, say, sessions_of
from server.http.chat_answers import (
    OlderChatChanged,
    OlderChatMessages,
    OlderChatSent,
    OlderChatSessions,
)
from server.http.chat_bodies import ChatsQuery, ChatStatusBody, MessagesQuery, OlderSendBody

_PLAYERS = "/api/player-chat-integration"
_STAFFS = "/api/staff-chat-integration"

ROUTES = Routes("chat V1.2")


@ROUTES("POST", f"{_PLAYERS}/send", takes=OlderSendBody, answers=OlderChatSent, about_asker=False)
async def send_from_player_portal(call: Call, body: OlderSendBody) -> Struct:
    """Say something in a player's conversation; players in their own, staff in anybody's."""
    return OlderChatSent.of_sent(await say(call, body, body.text, "player_portal"))


@ROUTES("GET", f"{_PLAYERS}/messages/{{player_id}}", takes=MessagesQuery, answers=OlderChatMessages)
async def messages_for_player_portal(call: Call, query: MessagesQuery) -> Struct:
    """List what a player and staff have said, newest last, with the open or last session."""
    return OlderChatMessages.of(await messages_of(call, query))


@ROUTES(
    "POST",
    f"{_STAFFS}/send",
    takes=OlderSendBody,
    answers=OlderChatSent,
    access="staff",
    about_asker=False,
)
async def send_from_staff_portal(call: Call, body: OlderSendBody) -> Struct:
    """Answer a player, or write to one first (staff)."""
    return OlderChatSent.of_sent(await say(call, body, body.text, "staff_portal"))


@ROUTES(
    "GET",
    f"{_STAFFS}/messages/{{player_id}}",
    takes=MessagesQuery,
    answers=OlderChatMessages,
    access="staff",
    about_asker=False,
)
async def messages_for_staff_portal(call: Call, query: MessagesQuery) -> Struct:
    """List what a player and staff have said, newest last, with the open or last session."""
    return OlderChatMessages.of(await messages_of(call, query))


@ROUTES(
    "GET",
    f"{_STAFFS}/requests",
    takes=ChatsQuery,
    answers=OlderChatSessions,
    access="staff",
    about_asker=False,
)
async def requests_for_staff_portal(call: Call, query: ChatsQuery) -> Struct:
    """List sessions: those that wait first, then by their last message."""
    return OlderChatSessions.of(await sessions_of(call, query, query.player_id))


@ROUTES(
    "POST",
    f"{_STAFFS}/status/{{request_id}}",
    takes=ChatStatusBody,
    answers=OlderChatChanged,
    access="staff",
    about_asker=False,
)
async def status_from_staff_portal(call: Call, body: ChatStatusBody) -> Struct:
    """Resolve or reopen a session, or say how urgent it is."""
    return OlderChatChanged.of(await enter_status(call, body, "staff_portal"))
