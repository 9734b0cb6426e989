"""What staff do with conversations: see all, assign, read, canned replies, those out of order."""

from msgspec import UNSET, Struct

from protocol.commands import ChatAssign, ChatRead
from protocol.replies import ChatChanged, ChatSessions, Ok
from server.http.bodies import NoBody
from server.http.calls import Call, Routes
from server.http.chat import sessions_of
from server.http.chat_answers import (
    CannedRepliesAnswer,
    CannedReplyAnswer,
    LiftedChatAnswer,
    QuarantinedChatsAnswer,
    RemovedReplyAnswer,
)
from server.http.chat_bodies import AssignBody, CannedReplyBody, ChatsQuery, ReadBody

SOURCE = "staff_portal"
_CHATS = "/api/staff/chats"
_CANNED = "/api/staff/canned-replies"

ROUTES = Routes("staff")


@ROUTES("GET", _CHATS, takes=ChatsQuery, answers=ChatSessions, access="staff", about_asker=False)
async def staff_chats(call: Call, query: ChatsQuery) -> Ok:
    """List sessions: those that wait first, then by their last message."""
    return await sessions_of(call, query, query.player_id)


@ROUTES(
    "POST",
    f"{_CHATS}/{{session_id}}/assign",
    takes=AssignBody,
    answers=ChatChanged,
    access="staff",
    about_asker=False,
)
async def assign_chat(call: Call, body: AssignBody) -> Ok:
    """Take a session, give it to somebody of the staff, or (null) to nobody."""
    command = ChatAssign(session_id=call.path["session_id"])
    if body.staff_id is not UNSET:
        command.staff_id = None if body.staff_id is None else str(body.staff_id)
    return await call.chat(command, source=SOURCE)


@ROUTES(
    "POST",
    f"{_CHATS}/{{session_id}}/read",
    takes=ReadBody,
    answers=ChatChanged,
    access="staff",
    about_asker=False,
)
async def read_chat(call: Call, body: ReadBody) -> Ok:
    """Note that what the player said was read, up to a message or all of it."""
    command = ChatRead(session_id=call.path["session_id"], message_id=body.message_id)
    return await call.chat(command, source=SOURCE)


@ROUTES(
    "GET",
    f"{_CHATS}/quarantined",
    takes=NoBody,
    answers=QuarantinedChatsAnswer,
    access="staff",
    about_asker=False,
)
async def quarantined_chats(call: Call, _: NoBody) -> Struct:
    """List the conversations that crashed too often and wait for an operator."""
    found = await call.club.staff.quarantined_chats(call.principal)
    return QuarantinedChatsAnswer(chats=list(found))


@ROUTES(
    "POST",
    f"{_CHATS}/{{session_id}}/lift",
    takes=NoBody,
    answers=LiftedChatAnswer,
    access="staff",
    about_asker=False,
)
async def lift_chat(call: Call, _: NoBody) -> Struct:
    """Let a quarantined conversation go on."""
    session_id = call.path["session_id"]
    await call.club.staff.lift_chat(call.principal, session_id)
    return LiftedChatAnswer(session_id=session_id)


@ROUTES(
    "GET",
    _CANNED,
    takes=NoBody,
    answers=CannedRepliesAnswer,
    access="staff",
    about_asker=False,
)
async def canned_replies(call: Call, _: NoBody) -> Struct:
    """List what staff say by shortcuts."""
    replies = await call.club.chats.canned_replies(call.principal)
    return CannedRepliesAnswer(replies=list(replies))


@ROUTES(
    "POST",
    _CANNED,
    takes=CannedReplyBody,
    answers=CannedReplyAnswer,
    access="staff",
    about_asker=False,
)
async def put_canned_reply(call: Call, body: CannedReplyBody) -> Struct:
    """Keep a canned reply, in place of the one that the shortcut had."""
    reply = await call.club.chats.put_canned_reply(call.principal, body.shortcut, body.message_text)
    return CannedReplyAnswer(reply=reply)


@ROUTES(
    "DELETE",
    f"{_CANNED}/{{shortcut}}",
    takes=NoBody,
    answers=RemovedReplyAnswer,
    access="staff",
    about_asker=False,
)
async def remove_canned_reply(call: Call, _: NoBody) -> Struct:
    """Forget a canned reply; its shortcut stands in the path without the slash."""
    shortcut = call.path["shortcut"]
    await call.club.chats.remove_canned_reply(call.principal, shortcut)
    return RemovedReplyAnswer(shortcut=f"/{shortcut}")
