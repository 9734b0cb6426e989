"""The events of support chat, on the channel `staff-portal` and on the player's own.

What is kept of a session takes the session's next `seq` and is told on both channels, so that the
numbers have no gaps on either. What passes (typing, who is online) carries the session's current
`seq` and ``private: true``. `at` is UTC in milliseconds since 1970.
"""

from typing import Literal

from msgspec import UNSET, UnsetType

from protocol.events import Event, subclasses
from protocol.values import ChatSide, ChatStatus, Urgency
from protocol.views import ChatMessage, ChatSession


class ChatEvent(Event, kw_only=True):
    """An event of one chat session; `seq` is the session's."""


class NewChatRequest(ChatEvent, tag="new-chat-request"):
    """To staff: a session has begun, with this message (None where somebody opened it by SQL)."""

    session: ChatSession
    message: ChatMessage | None


class ChatMessageReceived(ChatEvent, tag="chat-message-received"):
    """To staff: the player, or one of the staff, said something in a session that was there."""

    session_id: str
    message: ChatMessage


class ChatStatusChanged(ChatEvent, tag="chat-status-changed", rename={"from_": "from"}):
    """To staff: a session's status, or with `from` and `to` alike its urgency, is another one.

    `by` is the user id of who changed it (``system`` for writes by SQL).
    """

    session_id: str
    from_: ChatStatus
    to: ChatStatus
    by: str
    urgency: Urgency


class ChatAssigned(ChatEvent, tag="chat-assigned"):
    """A session was given to somebody of the staff, or (None) to nobody; told to both sides."""

    session_id: str
    assigned_staff: str | None
    assigned_staff_name: str | None
    by: str


class ChatReadEvent(ChatEvent, tag="chat-read"):
    """One side has read what the other said up to this message; told to both sides."""

    session_id: str
    message_id: str
    reader: ChatSide
    unread_by_player: int
    unread_by_staff: int


class ChatReceivedEvent(ChatEvent, tag="chat-received"):
    """A message has reached a socket of the side that it was for; told to both sides."""

    session_id: str
    message_id: str
    receiver: ChatSide


class StaffMessageReceived(ChatEvent, tag="staff-message-received"):
    """To the player: staff said something."""

    session_id: str
    message: ChatMessage


class ChatStatusUpdated(ChatEvent, tag="chat-status-updated"):
    """To the player: what the session's status is."""

    session_id: str
    status: ChatStatus


class PlayerConfirmation(ChatEvent, tag="player-confirmation"):
    """To the player: what they said is stored. It is for all of their sockets."""

    message_id: str
    session_id: str
    message: ChatMessage


class PassingChatEvent(ChatEvent, kw_only=True):
    """An event that nothing is kept of."""

    private: Literal[True] = True


class ChatTypingEvent(PassingChatEvent, tag="chat-typing"):
    """One side is typing, or no longer is; told to the other side, and staff to all staff."""

    session_id: str
    player_id: str
    sender: ChatSide
    sender_name: str
    typing: bool


class ChatOnline(PassingChatEvent, tag="chat-online"):
    """Somebody came or went: to staff the player of a session, to a player whether staff are there.

    `session_id` and `player_id` are left out where a player is told.
    """

    online: bool
    session_id: str | UnsetType = UNSET
    player_id: str | UnsetType = UNSET


CHAT_EVENTS = subclasses(ChatEvent)
