"""Support chat, for the portals that speak of it as the socket does."""

import uuid
from typing import Literal

from protocol.commands import ChatHistory, ChatInbox, ChatRead, ChatSend, SetChatStatus
from protocol.replies import ChatChanged, ChatMessages, ChatSent, ChatSessions, Ok
from server.http.calls import Call, Routes
from server.http.chat_bodies import (
    AnySendBody,
    ChatStatusBody,
    ConversationsQuery,
    MessagesQuery,
    ReadBody,
    SendBody,
)

Portal = Literal["unified_portal", "player_portal", "staff_portal"]
"""Which of the portals a message came by; it stands in its row, and in the audit log."""

SOURCE: Portal = "unified_portal"
_CHAT = "/api/unified-chat"

ROUTES = Routes("chat")


@ROUTES("POST", f"{_CHAT}/send", takes=SendBody, answers=ChatSent, about_asker=False)
async def send_message(call: Call, body: SendBody) -> Ok:
    """Say something in a player's conversation; players in their own, staff in anybody's."""
    return await say(call, body, body.message_text, SOURCE)


@ROUTES("GET", f"{_CHAT}/messages/{{player_id}}", takes=MessagesQuery, answers=ChatMessages)
async def chat_messages(call: Call, query: MessagesQuery) -> Ok:
    """List what a player and staff have said, newest last, with the open or last session."""
    return await messages_of(call, query)


@ROUTES(
    "GET", f"{_CHAT}/conversations/{{player_id}}", takes=ConversationsQuery, answers=ChatSessions
)
async def chat_conversations(call: Call, query: ConversationsQuery) -> Ok:
    """List a player's sessions: the open one, then resolved ones, the last first."""
    return await sessions_of(call, query, call.path["player_id"])


@ROUTES("POST", f"{_CHAT}/status/{{request_id}}", takes=ChatStatusBody, answers=ChatChanged)
async def chat_status(call: Call, body: ChatStatusBody) -> Ok:
    """Resolve or reopen a session, or say how urgent it is (staff)."""
    return await enter_status(call, body, SOURCE)


@ROUTES("POST", f"{_CHAT}/read/{{request_id}}", takes=ReadBody, answers=ChatChanged)
async def chat_read(call: Call, body: ReadBody) -> Ok:
    """Note that what the other side said was read, up to a message or all of it."""
    command = ChatRead(session_id=call.path["request_id"], message_id=body.message_id)
    return await call.chat(command, source=SOURCE)


# For the portals of V1.2 and of staff, too


async def say(call: Call, body: AnySendBody, text: str, source: Portal) -> ChatSent:
    """Have a message sent; its id is the client's own, wherever it has put it."""
    command = ChatSend(
        message_id=body.message_id or call.command_id or str(uuid.uuid4()),
        message_text=text,
        player_id=str(body.player_id),
        session_id="" if body.session_id is None else str(body.session_id),
        urgency=body.urgency,
    )
    reply = await call.chat(command, source=source)
    assert isinstance(reply, ChatSent)
    return reply


async def messages_of(call: Call, query: MessagesQuery) -> ChatMessages:
    """Read what the player of the path and staff have said."""
    history = ChatHistory(
        player_id=call.path["player_id"],
        session_id=query.session_id,
        before=query.before,
        limit=query.limit,
    )
    return await call.club.chats.history(call.principal, history)


async def sessions_of(call: Call, query: ConversationsQuery, player_id: str | None) -> ChatSessions:
    """List sessions, of one player or of all."""
    inbox = ChatInbox(status=query.status, player_id=player_id, limit=query.limit)
    return await call.club.chats.inbox(call.principal, inbox)


async def enter_status(call: Call, body: ChatStatusBody, source: Portal) -> ChatChanged:
    """Have the session of the path enter a status, or be as urgent as is said."""
    command = SetChatStatus(
        session_id=call.path["request_id"], status=body.status, urgency=body.urgency
    )
    reply = await call.chat(command, source=source)
    assert isinstance(reply, ChatChanged)
    return reply
