"""What requests about support chat carry."""

from typing import Annotated

from msgspec import UNSET, Meta, UnsetType

from protocol.commands import PageSize
from protocol.errors import bad_field
from protocol.values import (
    AnyChatStatus,
    MessageKey,
    MessageRef,
    MessageText,
    SessionKey,
    Urgency,
    UserKey,
)
from server.http.bodies import Body, UserRef

SessionRef = SessionKey | Annotated[int, Meta(ge=0, le=2**63 - 1)]
"""A session's id, as a number where an older portal sends it so."""
Shortcut = Annotated[str, Meta(pattern=r"^/?[^\s/\x00-\x1f\x7f]{1,39}\Z")]
"""What a canned reply is called, with or without its slash."""


class AnySendBody(Body, frozen=True, kw_only=True):
    """A message in a player's conversation.

    Without a `messageId` the `Idempotency-Key` is the message's id, or else the server makes one.
    Without a `sessionId` it goes to the player's open session, or opens one, with this `urgency`.
    """

    player_id: UserRef
    message_id: MessageKey | None = None
    session_id: SessionRef | None = None
    urgency: Urgency | None = None


class SendBody(AnySendBody, frozen=True, kw_only=True):
    """What to say in a player's conversation."""

    message_text: MessageText


class OlderSendBody(AnySendBody, frozen=True, kw_only=True):
    """What to say, which V1.2 portals have under either name."""

    message_text: MessageText | None = None
    message: MessageText | None = None

    @property
    def text(self) -> str:
        """What is said.

        Raises:
            Refused: `bad_request` where nothing is.
        """
        text = self.message_text or self.message
        if text is None:
            raise bad_field("message_text", "Say something.")
        return text


class ChatStatusBody(Body, frozen=True, kw_only=True):
    """Which status a session is to have, how urgent it is, or both."""

    status: AnyChatStatus | None = None
    urgency: Urgency | None = None


class AssignBody(Body, frozen=True, kw_only=True):
    """Who is to see to a session: the asker where left out, nobody for null."""

    staff_id: UserRef | None | UnsetType = UNSET


class ReadBody(Body, frozen=True, kw_only=True):
    """Up to which message; everything said so far where left out."""

    message_id: MessageRef | None = None


class CannedReplyBody(Body, frozen=True, kw_only=True):
    """A text, and the shortcut by which staff say it."""

    shortcut: Shortcut
    message_text: MessageText


class MessagesQuery(Body, frozen=True, kw_only=True):
    """`before`: only messages older than this one; `sessionId`: only those of one session."""

    before: MessageRef | None = None
    session_id: SessionKey | None = None
    limit: PageSize = 50


class ConversationsQuery(Body, frozen=True, kw_only=True):
    """Only sessions with this status."""

    status: AnyChatStatus | None = None
    limit: PageSize = 50


class ChatsQuery(ConversationsQuery, frozen=True, kw_only=True):
    """Only sessions that agree with all of these."""

    player_id: UserKey | None = None
