"""The events of support chat and waitlists, and what clients of Pusher get for each of them."""

from __future__ import annotations

from typing import NamedTuple

from protocol.chat_events import (
    CHAT_EVENTS,
    ChatAssigned,
    ChatMessageReceived,
    ChatOnline,
    ChatReadEvent,
    ChatReceivedEvent,
    ChatStatusChanged,
    ChatStatusUpdated,
    ChatTypingEvent,
    NewChatRequest,
    PlayerConfirmation,
    StaffMessageReceived,
)
from protocol.events import Event
from protocol.ids import STAFF_PORTAL, UserId, player_channel
from protocol.values import ChatSender
from protocol.views import ChatMessage, ChatSession
from server.pusher.signing import App

APP = App("1729", "club-key", "a secret of the tests")
SETTINGS = {
    "pusher_app_id": APP.id,
    "pusher_key": APP.key,
    "pusher_secret": APP.secret,
}
PLAYER = UserId("29")
OWN = player_channel(PLAYER)


def said(sender: ChatSender) -> ChatMessage:
    """Make a message of a chat."""
    return ChatMessage(
        id="9b2f0c1e-3d5a-4c7b-8e6f-1a2b3c4d5e6f",
        session_id="s1",
        player_id=PLAYER,
        sender=sender,
        sender_name="Sue" if sender == "staff" else "Paul",
        message_text='Where is my <b>seat</b>? "Here" – \\ ☃',
        timestamp=1_700_000_000_000,
        seq=4,
        status="sent",
    )


SESSION = ChatSession(
    id="s1",
    player_id=PLAYER,
    player_name="Paul",
    initial_message="Where?",
    status="waiting",
    assigned_staff=None,
    assigned_staff_name=None,
    urgency="normal",
    unread_by_player=0,
    unread_by_staff=1,
    created_at=1,
    updated_at=1,
    waiting_since=1,
    first_reply_at=None,
    last_message_at=1,
    resolved_at=None,
    seq=4,
)


class ToldAs(NamedTuple):
    """An event on its channel, and the names under which clients of Pusher get it there."""

    event: Event
    names: tuple[str, ...]


def _on(channel: str, event: Event) -> Event:
    event.channel, event.seq, event.at = channel, 4, 1_700_000_000_001
    return event


def _assigned() -> ChatAssigned:
    return ChatAssigned(session_id="s1", assigned_staff="sue", assigned_staff_name="Sue", by="sue")


TOLD: list[ToldAs] = [
    *(
        ToldAs(_on(channel, event), names)
        for channel, event, names in (
            (
                STAFF_PORTAL,
                NewChatRequest(session=SESSION, message=said("player")),
                ("new-chat-request", "new-player-message"),
            ),
            (
                STAFF_PORTAL,
                NewChatRequest(session=SESSION, message=said("staff")),
                ("new-chat-request",),
            ),
            (STAFF_PORTAL, NewChatRequest(session=SESSION, message=None), ("new-chat-request",)),
            (
                STAFF_PORTAL,
                ChatMessageReceived(session_id="s1", message=said("player")),
                ("chat-message-received", "new-player-message"),
            ),
            (
                STAFF_PORTAL,
                ChatMessageReceived(session_id="s1", message=said("staff")),
                ("chat-message-received",),
            ),
            (
                STAFF_PORTAL,
                ChatStatusChanged(
                    session_id="s1", from_="waiting", to="in_progress", by="sue", urgency="high"
                ),
                ("chat-status-changed",),
            ),
            (STAFF_PORTAL, _assigned(), ("chat-assigned",)),
            (
                STAFF_PORTAL,
                ChatReadEvent(
                    session_id="s1",
                    message_id="m1",
                    reader="player",
                    unread_by_player=0,
                    unread_by_staff=0,
                ),
                ("chat-read",),
            ),
            (
                STAFF_PORTAL,
                ChatReceivedEvent(session_id="s1", message_id="m1", receiver="player"),
                ("chat-received",),
            ),
            (
                STAFF_PORTAL,
                ChatTypingEvent(
                    session_id="s1",
                    player_id=PLAYER,
                    sender="player",
                    sender_name="Paul",
                    typing=True,
                ),
                ("chat-typing",),
            ),
            (
                STAFF_PORTAL,
                ChatOnline(online=True, session_id="s1", player_id=PLAYER),
                ("chat-online",),
            ),
            (
                OWN,
                StaffMessageReceived(session_id="s1", message=said("staff")),
                ("staff-message-received", "chat-message-received", "new-gre-message"),
            ),
            (
                OWN,
                ChatStatusUpdated(session_id="s1", status="resolved"),
                ("chat-status-updated",),
            ),
            (
                OWN,
                PlayerConfirmation(message_id="m1", session_id="s1", message=said("player")),
                ("player-confirmation", "message-sent"),
            ),
            (OWN, _assigned(), ("chat-assigned",)),
            (
                OWN,
                ChatReadEvent(
                    session_id="s1",
                    message_id="m1",
                    reader="staff",
                    unread_by_player=0,
                    unread_by_staff=0,
                ),
                ("chat-read",),
            ),
            (
                OWN,
                ChatReceivedEvent(session_id="s1", message_id="m1", receiver="staff"),
                ("chat-received",),
            ),
            (
                OWN,
                ChatTypingEvent(
                    session_id="s1",
                    player_id=PLAYER,
                    sender="staff",
                    sender_name="Sue",
                    typing=False,
                ),
                ("chat-typing",),
            ),
            (OWN, ChatOnline(online=True), ("chat-online",)),
        )
    )
]
"""Every event of support chat, on each channel that it is told on."""

assert {type(told.event) for told in TOLD} == set(CHAT_EVENTS)
