"""What answers about support chat carry where the protocol has no reply for it: canned replies,
sessions out of order, and what V1.2 portals are told, in their words.
"""

from typing import Any

import msgspec
from msgspec import Struct

from game.chat.handling import older_word
from persistence.chats import CannedReply
from protocol.replies import ChatChanged, ChatMessages, ChatSent, ChatSessions
from protocol.values import ChatSender, OlderChatStatus
from protocol.views import ChatMessage, ChatSession
from server.answers import QuarantinedChat


class CannedRepliesAnswer(Struct, frozen=True, kw_only=True):
    """Canned replies, by their shortcuts."""

    replies: list[CannedReply]


class CannedReplyAnswer(Struct, frozen=True, kw_only=True):
    """A canned reply as it is kept."""

    reply: CannedReply


class RemovedReplyAnswer(Struct, frozen=True, kw_only=True):
    """The shortcut that stands for nothing any more."""

    shortcut: str


class QuarantinedChatsAnswer(Struct, frozen=True, kw_only=True):
    """The conversations that crashed too often."""

    chats: list[QuarantinedChat]


class LiftedChatAnswer(Struct, frozen=True, kw_only=True):
    """The conversation that goes on."""

    session_id: str


class OlderChatSession(ChatSession, frozen=True, kw_only=True):
    """A session, with its status in the words of V1.2."""

    status: OlderChatStatus  # type: ignore[assignment]  # the same in other words

    @classmethod
    def of(cls, session: ChatSession) -> "OlderChatSession":
        """Tell a session in the words of V1.2."""
        return cls(**_fields(session) | {"status": older_word(session.status)})


class OlderChatMessage(ChatMessage, frozen=True, kw_only=True):
    """A message, with what V1.2 portals look for beside: `message` is its text."""

    message: str
    is_from_player: bool
    sender_type: ChatSender

    @classmethod
    def of(cls, message: ChatMessage) -> "OlderChatMessage":
        """Tell a message as V1.2 does."""
        return cls(
            **_fields(message),
            message=message.message_text,
            is_from_player=message.sender == "player",
            sender_type=message.sender,
        )


class OlderChatChanged(Struct, frozen=True, kw_only=True):
    """A session after a change."""

    seq: int
    session: OlderChatSession

    @classmethod
    def of(cls, reply: ChatChanged) -> "OlderChatChanged":
        """Tell a change as V1.2 does."""
        return cls(seq=reply.seq, session=OlderChatSession.of(reply.session))


class OlderChatSent(OlderChatChanged, frozen=True, kw_only=True):
    """A message that is kept; its `id` and `timestamp` are what V1.2 portals look for."""

    id: str
    timestamp: int
    message: OlderChatMessage

    @classmethod
    def of_sent(cls, reply: ChatSent) -> "OlderChatSent":
        """Tell a message that was sent as V1.2 does."""
        return cls(
            id=reply.message.id,
            timestamp=reply.message.timestamp,
            seq=reply.seq,
            session=OlderChatSession.of(reply.session),
            message=OlderChatMessage.of(reply.message),
        )


class OlderChatMessages(Struct, frozen=True, kw_only=True):
    """Messages, newest last; `more`: there are older ones."""

    messages: list[OlderChatMessage]
    session: OlderChatSession | None
    more: bool
    staff_online: bool

    @classmethod
    def of(cls, found: ChatMessages) -> "OlderChatMessages":
        """Tell a page of messages as V1.2 does."""
        return cls(
            messages=[OlderChatMessage.of(message) for message in found.messages],
            session=None if found.session is None else OlderChatSession.of(found.session),
            more=found.more,
            staff_online=found.staff_online,
        )


class OlderChatSessions(Struct, frozen=True, kw_only=True):
    """Sessions, those that wait first."""

    sessions: list[OlderChatSession]
    staff_online: bool

    @classmethod
    def of(cls, found: ChatSessions) -> "OlderChatSessions":
        """Tell sessions as V1.2 does."""
        return cls(
            sessions=[OlderChatSession.of(session) for session in found.sessions],
            staff_online=found.staff_online,
        )


def _fields(value: Struct) -> dict[str, Any]:
    return msgspec.structs.asdict(value)
