"""What is said in a chat, and how far it got: sent, received, read."""

import msgspec
from msgspec import Raw

from game.changes import ChatMarked, ChatMessagePut, PushQueued
from game.chat import handling
from game.chat.decision import ChatContext, ChatDecision, SessionOver
from game.chat.state import ChatState, Said, Unread, plain_name, session_view
from protocol.chat_events import (
    ChatMessageReceived,
    ChatReadEvent,
    ChatReceivedEvent,
    ChatTypingEvent,
    NewChatRequest,
    PlayerConfirmation,
    StaffMessageReceived,
)
from protocol.commands import ChatRead, ChatReceived, ChatSend, ChatTyping
from protocol.errors import ErrorCode, Refused
from protocol.principal import Principal
from protocol.replies import ChatChanged, ChatSent, Ok
from protocol.values import ChatSide
from protocol.views import ChatMessage

PREVIEW_CHARS = 100
"""How much of a message a push notification shows."""


def side_of(principal: Principal) -> ChatSide:
    """Return the side that a user speaks for."""
    return "staff" if principal.is_staff else "player"


def send(
    state: ChatState, command: ChatSend, principal: Principal, ctx: ChatContext, out: ChatDecision
) -> Ok:
    """Say something. The same message again changes nothing.

    A player's first message opens the session. An answer of staff takes a session into work that
    waits or is resolved, and gives it to who answers unless somebody has it.

    Raises:
        SessionOver: the session is resolved, and a player's message is for a new one.
        Refused: `conflict` where the id is another message's.
    """
    known = state.recent.get(command.message_id)
    if known is not None:
        return sent_again(state, known, principal)
    side = side_of(principal)
    if side == "player" and state.status == "resolved":
        raise SessionOver
    now = max(ctx.now, state.last_message_at or 0)
    opens = not state.opened
    if opens:
        state.opened = out.opens = True
        state.initial_message = command.message_text
        state.urgency = command.urgency or state.urgency
    state.last_message_at = now
    message = ChatMessage(
        id=command.message_id,
        session_id=state.session_id,
        player_id=state.player_id,
        sender=side,
        sender_name=plain_name(principal.name, principal.user_id),
        message_text=command.message_text,
        timestamp=now,
        seq=state.seq + 1,
        status="sent",
    )
    state.unread[message.id] = Unread(message.id, message.seq, side, "sent")
    state.remember(Said(message, principal.user_id))
    out.changes.append(
        ChatMessagePut(
            message.id,
            state.session_id,
            state.player_id,
            side,
            principal.user_id,
            message.sender_name,
            message.message_text,
            now,
            message.seq,
            ctx.source,
        )
    )
    if side == "staff" and state.first_reply_at is None:
        state.first_reply_at = now
    tell_message(state, message, opens=opens, now=ctx.now, out=out)
    if side == "staff":
        if state.assigned_staff is None:
            handling.give_to(state, principal, principal.user_id, message.sender_name, ctx, out)
        if state.status != "in_progress":
            handling.enter_status(state, "in_progress", principal.user_id, ctx, out)
        if not ctx.player_online:
            out.changes.append(_push_answer(state, message, ctx.now))
    if opens and side == "player":
        out.changes.append(_push_request(state, message, ctx.now))
    return ChatSent(seq=message.seq, session=session_view(state), message=message)


def sent_again(state: ChatState, known: Said, principal: Principal) -> Ok:
    """Answer a message whose id is known: its writer gets it as it is by now.

    Raises:
        Refused: `conflict`: the id is another writer's.
    """
    if known.sender_id != principal.user_id or known.message.sender != side_of(principal):
        raise Refused(
            ErrorCode.CONFLICT,
            "Another message has this id.",
            {"field": "message_id"},
        )
    unread = state.unread.get(known.message.id)
    message = msgspec.structs.replace(
        known.message, status="read" if unread is None else unread.status
    )
    return ChatSent(seq=state.seq, session=session_view(state), message=message)


def tell_message(
    state: ChatState, message: ChatMessage, *, opens: bool, now: int, out: ChatDecision
) -> None:
    """Tell both sides a message; it takes the next seq."""
    assert message.seq == state.seq + 1
    to_player = (
        PlayerConfirmation(message_id=message.id, session_id=state.session_id, message=message)
        if message.sender == "player"
        else StaffMessageReceived(session_id=state.session_id, message=message)
    )
    to_staff = ChatMessageReceived(session_id=state.session_id, message=message)
    if not opens:
        out.emit(to_staff, to_player, now)
        return
    request = NewChatRequest(session=session_view(state), message=message)
    out.emit(request, to_player, now)
    # The session that is told is the one that has the message.
    request.session = session_view(state)


def receive(
    state: ChatState,
    command: ChatReceived,
    principal: Principal,
    ctx: ChatContext,
    out: ChatDecision,
) -> Ok:
    """Note that a message of the other side has arrived; later ones may arrive before it."""
    side = side_of(principal)
    unread = state.unread.get(command.message_id)
    if unread is not None and unread.reader == side and unread.status == "sent":
        state.unread[unread.message_id] = msgspec.structs.replace(unread, status="received")
        out.changes.append(ChatMarked(state.session_id, unread.seq, "received", ctx.now))

        def event() -> ChatReceivedEvent:
            return ChatReceivedEvent(
                session_id=state.session_id, message_id=unread.message_id, receiver=side
            )

        out.emit(event(), event(), ctx.now)
    return ChatChanged(seq=state.seq, session=session_view(state))


def read(
    state: ChatState, command: ChatRead, principal: Principal, ctx: ChatContext, out: ChatDecision
) -> Ok:
    """Note that a message of the other side was read, and what that side said before it; without
    naming one, all that it has said."""
    side = side_of(principal)
    if command.message_id is None:
        last = next((o for o in reversed(state.unread.values()) if o.reader == side), None)
    else:
        last = state.unread.get(command.message_id)
    if last is not None and last.reader == side:
        for one in [o for o in state.unread.values() if o.reader == side and o.seq <= last.seq]:
            del state.unread[one.message_id]
            out.changes.append(ChatMarked(state.session_id, one.seq, "read", ctx.now))

        def event() -> ChatReadEvent:
            return ChatReadEvent(
                session_id=state.session_id,
                message_id=last.message_id,
                reader=side,
                unread_by_player=state.unread_by("player"),
                unread_by_staff=state.unread_by("staff"),
            )

        out.emit(event(), event(), ctx.now)
    return ChatChanged(seq=state.seq, session=session_view(state))


def typing(
    state: ChatState, command: ChatTyping, principal: Principal, ctx: ChatContext, out: ChatDecision
) -> Ok:
    """Pass on that somebody is typing: to staff always, to the player if staff are."""
    side = side_of(principal)

    def event() -> ChatTypingEvent:
        return ChatTypingEvent(
            session_id=state.session_id,
            player_id=state.player_id,
            sender=side,
            sender_name=plain_name(principal.name, principal.user_id),
            typing=command.typing,
        )

    out.pass_on(event(), event() if side == "staff" else None, ctx.now)
    return Ok()


def _push_request(state: ChatState, message: ChatMessage, now: int) -> PushQueued:
    return PushQueued(
        "chat_request",
        None,
        f"New chat request from {state.player_name}",
        message.message_text[:PREVIEW_CHARS],
        _data(state, message, urgency=state.urgency, player_name=state.player_name),
        None,
        now,
    )


def _push_answer(state: ChatState, message: ChatMessage, now: int) -> PushQueued:
    return PushQueued(
        "chat_message",
        state.player_id,
        message.sender_name,
        message.message_text[:PREVIEW_CHARS],
        _data(state, message),
        None,
        now,
    )


def _data(state: ChatState, message: ChatMessage, **more: object) -> Raw:
    return Raw(
        msgspec.json.encode(
            {
                "session_id": state.session_id,
                "player_id": state.player_id,
                "message_id": message.id,
                **more,
            }
        )
    )
