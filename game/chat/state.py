"""A chat session as its actor holds it.

Everything here can be rebuilt from the database (`persistence.chats`). Deciding changes it in place
once a command has been found valid; a state whose changes did not commit is dropped. Times are UTC
in milliseconds.
"""

from typing import Any, Literal

from msgspec import Struct

from protocol.values import ChatSender, ChatSide, ChatStatus, MessageStatus, Urgency
from protocol.views import ChatMessage, ChatSession

REMEMBERED_MESSAGES = 64
MAX_NAME_CHARS = 60


class Unread(Struct, frozen=True):
    """A message that the side that it is for has not read."""

    message_id: str
    seq: int
    sender: ChatSender
    status: MessageStatus

    @property
    def reader(self) -> ChatSide:
        """The side that it is for."""
        return "staff" if self.sender == "player" else "player"


class Said(Struct, frozen=True):
    """A message and the user id of its writer, None for one that came without."""

    message: ChatMessage
    sender_id: str | None


class ChatWrite(Struct, frozen=True):
    """A row that somebody wrote past the server, as it was before and after; None: was not there.

    What it means is not told yet. Of a message the rows have id, sender, seq and status.
    """

    id: int
    relation: Literal["chat_sessions", "chat_messages"]
    before: dict[str, Any] | None
    after: dict[str, Any] | None


class Unsaid(Struct, frozen=True):
    """A message that stands in the database and was told to nobody: it has no seq yet."""

    id: str
    sender: ChatSender
    sender_id: str | None
    sender_name: str
    message_text: str
    timestamp: int
    status: MessageStatus


class ChatState(Struct, kw_only=True):
    """One session.

    `opened` is False until the unit that makes it has been decided. `unread` holds, by message id
    in order of `seq`, what has not been read; `recent` the last messages decided in this life, so
    that one sent again is known. `outside` counts the writes from outside that this state contains,
    `untold` are those that nobody was told of, `unsaid` the messages among them; the session's own
    fields are as they were before those. `elsewhere`: the player has another session that is open.
    """

    session_id: str
    player_id: str
    player_name: str
    initial_message: str = ""
    status: ChatStatus = "waiting"
    assigned_staff: str | None = None
    assigned_staff_name: str | None = None
    urgency: Urgency = "normal"
    created_at: int
    updated_at: int
    waiting_since: int
    first_reply_at: int | None = None
    last_message_at: int | None = None
    resolved_at: int | None = None
    seq: int = 0
    outside: int = 0
    untold: list[ChatWrite] = []
    unsaid: dict[str, Unsaid] = {}
    elsewhere: bool = False
    opened: bool = True
    unread: dict[str, Unread] = {}
    recent: dict[str, Said] = {}

    def unread_by(self, side: ChatSide) -> int:
        """Count what a side has not read."""
        return sum(one.reader == side for one in self.unread.values())

    def remember(self, said: Said) -> None:
        """Keep a message for whoever sends it again."""
        self.recent[said.message.id] = said
        if len(self.recent) > REMEMBERED_MESSAGES:
            del self.recent[next(iter(self.recent))]


def fresh_session(session_id: str, player_id: str, player_name: str, now: int) -> ChatState:
    """Make a session that nobody has said anything in and that the database does not have yet."""
    return ChatState(
        session_id=session_id,
        player_id=player_id,
        player_name=plain_name(player_name, player_id),
        created_at=now,
        updated_at=now,
        waiting_since=now,
        opened=False,
    )


def plain_name(name: str, user_id: str) -> str:
    """Make a name fit to be shown in one line of at most 60 characters."""
    shown = "".join(c if c.isprintable() else " " for c in name).strip()[:MAX_NAME_CHARS].strip()
    return shown or user_id[:MAX_NAME_CHARS]


def session_view(state: ChatState) -> ChatSession:
    """Show a session as it is told."""
    return ChatSession(
        id=state.session_id,
        player_id=state.player_id,
        player_name=state.player_name,
        initial_message=state.initial_message,
        status=state.status,
        assigned_staff=state.assigned_staff,
        assigned_staff_name=state.assigned_staff_name,
        urgency=state.urgency,
        unread_by_player=state.unread_by("player"),
        unread_by_staff=state.unread_by("staff"),
        created_at=state.created_at,
        updated_at=state.updated_at,
        waiting_since=state.waiting_since,
        first_reply_at=state.first_reply_at,
        last_message_at=state.last_message_at,
        resolved_at=state.resolved_at,
        seq=state.seq,
    )
