"""One conversation as a client knows it: history and events joined by `seq`, no hole, no double.

Nothing in here knows of sockets. While a history is on its way events are kept, to be applied after
it.
"""

from enum import Enum

from msgspec import structs

from protocol.chat_events import (
    ChatAssigned,
    ChatMessageReceived,
    ChatReadEvent,
    ChatReceivedEvent,
    ChatStatusChanged,
    ChatStatusUpdated,
    NewChatRequest,
    PlayerConfirmation,
    StaffMessageReceived,
)
from protocol.values import ChatSide, ChatStatus, MessageStatus
from protocol.views import ChatMessage, ChatSession

KeptEvent = (
    ChatMessageReceived
    | StaffMessageReceived
    | PlayerConfirmation
    | ChatStatusChanged
    | ChatStatusUpdated
    | ChatAssigned
    | ChatReceivedEvent
    | ChatReadEvent
)
"""An event that takes a seq of the conversation that it names."""

_FAR: dict[MessageStatus, int] = {"sent": 0, "received": 1, "read": 2}


class Joined(Enum):
    """What became of an event."""

    NEWS = "applied"
    STALE = "known already"
    KEPT = "kept until the history is there"
    HOLE = "kept; a history is needed"


class ChatMirror:
    """One conversation, from its first history on.

    Attributes:
        session: the conversation as it is now; None until the first history is there.
        followed: whether the messages are kept, the newest ones without a hole.
    """

    def __init__(self) -> None:
        self.session: ChatSession | None = None
        self.followed = False
        self._messages: dict[str, ChatMessage] = {}
        self._kept: list[NewChatRequest | KeptEvent] | None = []

    @property
    def messages(self) -> list[ChatMessage]:
        """The messages that are known, newest last."""
        return sorted(self._messages.values(), key=lambda message: message.seq)

    @property
    def seq(self) -> int:
        """Up to which event the conversation is known."""
        return 0 if self.session is None else self.session.seq

    @property
    def up_to_date(self) -> bool:
        """Whether events are applied as they come."""
        return self._kept is None

    def suspend(self) -> None:
        """Keep events from now on: some may have been lost."""
        if self._kept is None:
            self._kept = []

    def install(self, session: ChatSession, messages: list[ChatMessage]) -> Joined:
        """Go on from a conversation as the server has it, and from the events kept since.

        Args:
            session: the conversation.
            messages: its last messages, which reach back to those known if it is followed.

        Returns:
            HOLE if events are missing all the same.
        """
        if session.seq >= self.seq:
            if not self.followed:
                self._messages.clear()
            self.session = session
        for message in messages:
            self._put(message)
        kept, self._kept = self._kept or [], None
        for index, event in enumerate(kept):
            if self.apply(event) is Joined.HOLE:
                self._kept = kept[index:]
                return Joined.HOLE
        return Joined.NEWS

    def add(self, messages: list[ChatMessage]) -> None:
        """Take messages that an answer had: older ones, or one that its event is yet to tell."""
        for message in messages:
            self._put(message)

    def apply(self, event: NewChatRequest | KeptEvent) -> Joined:
        """Take an event that the server keeps; it counts if it is the next one."""
        if self._kept is not None or self.session is None:
            self._kept = [*(self._kept or []), event]
            return Joined.KEPT
        if event.seq <= self.seq:
            return Joined.STALE
        if event.seq > self.seq + 1:
            self._kept = [event]
            return Joined.HOLE
        self.session = structs.replace(
            self.session, seq=event.seq, updated_at=max(event.at, self.session.updated_at)
        )
        match event:
            case NewChatRequest(message=ChatMessage() as message):
                self._say(message)
            case ChatMessageReceived() | StaffMessageReceived() | PlayerConfirmation():
                self._say(event.message)
            case ChatStatusChanged():
                self._change(urgency=event.urgency)
                self._enter(event.to, event.at)
            case ChatStatusUpdated():
                self._enter(event.status, event.at)
            case ChatAssigned():
                self._change(
                    assigned_staff=event.assigned_staff,
                    assigned_staff_name=event.assigned_staff_name,
                )
            case ChatReceivedEvent():
                self._mark(event.message_id, "received")
            case ChatReadEvent():
                self._read(event)
            case _:
                pass
        return Joined.NEWS

    def not_acknowledged(self, by: ChatSide) -> list[str]:
        """List the messages for a side that it has not said to have received."""
        return [m.id for m in self.messages if _for(m) == by and m.status == "sent"]

    def _say(self, message: ChatMessage) -> None:
        session = self.session
        assert session is not None
        if self.followed:
            self._put(message)
        self._change(last_message_at=message.timestamp)
        if _for(message) == "staff":
            self._change(unread_by_staff=session.unread_by_staff + 1)
        else:
            self._change(unread_by_player=session.unread_by_player + 1)
        if message.sender == "staff" and session.first_reply_at is None:
            self._change(first_reply_at=message.timestamp)

    def _enter(self, status: ChatStatus, at: int) -> None:
        assert self.session is not None
        if status != self.session.status:
            self._change(status=status, resolved_at=at if status == "resolved" else None)
            if status == "waiting":
                self._change(waiting_since=at)

    def _read(self, event: ChatReadEvent) -> None:
        last = self._messages.get(event.message_id)
        for message in self.messages:
            if last is not None and _for(message) == event.reader and message.seq <= last.seq:
                self._mark(message.id, "read")
        self._change(unread_by_player=event.unread_by_player, unread_by_staff=event.unread_by_staff)

    def _mark(self, message_id: str, status: MessageStatus) -> None:
        message = self._messages.get(message_id)
        if message is not None:
            self._put(structs.replace(message, status=status))

    def _put(self, message: ChatMessage) -> None:
        """Keep a message; how far it got never goes back."""
        known = self._messages.get(message.id)
        if known is not None and _FAR[known.status] > _FAR[message.status]:
            message = structs.replace(message, status=known.status)
        self._messages[message.id] = message

    def _change(self, **fields: object) -> None:
        assert self.session is not None
        self.session = structs.replace(self.session, **fields)


def _for(message: ChatMessage) -> ChatSide:
    return "staff" if message.sender == "player" else "player"
