"""A chat session under the pure rules, with the time in the test's hands and the books kept."""

from __future__ import annotations

from typing import Any, get_args
from uuid import UUID

import msgspec
from hypothesis import strategies as st

from game.changes import ChatMarked, ChatMessagePut, PushQueued
from game.chat import ChatContext, ChatDecision, ChatState, decide, fresh_session, session_view
from protocol.chat_events import PassingChatEvent
from protocol.commands import (
    AnyChatCommand,
    ChatAssign,
    ChatRead,
    ChatReceived,
    ChatSend,
    ChatTyping,
    SetChatStatus,
)
from protocol.errors import Refused
from protocol.principal import Principal
from protocol.replies import Ok
from protocol.values import AnyChatStatus
from protocol.views import ChatMessage
from tests.support.rooms import START, principal

PLAYER = "ann"
STAFF = ("staff", "sue")
SESSION = "session-1"


def who(user_id: str) -> Principal:
    """A principal; ``staff`` and ``sue`` are of the staff."""
    return principal(user_id, "staff" if user_id in STAFF else "player")


def message_id(number: int) -> str:
    """The id of the test's message of this number."""
    return str(UUID(int=number))


def say(number: int, text: str = "hello", **fields: Any) -> ChatSend:
    """A message."""
    return ChatSend(message_id=message_id(number), message_text=text, **fields)


def received(number: int) -> ChatReceived:
    """A receipt for a message."""
    return ChatReceived(message_id=message_id(number))


def read(number: int) -> ChatRead:
    """A message was read."""
    return ChatRead(message_id=message_id(number))


COMMANDS = st.one_of(
    st.builds(say, st.integers(0, 12), st.sampled_from(["a", "b"])),
    st.builds(received, st.integers(0, 13)),
    st.builds(read, st.integers(0, 13)),
    st.builds(ChatTyping, typing=st.booleans()),
    st.builds(
        SetChatStatus,
        status=st.none() | st.sampled_from(get_args(AnyChatStatus)),
        urgency=st.none() | st.sampled_from(["low", "normal", "high"]),
    ),
    st.builds(ChatAssign, staff_id=st.sampled_from([msgspec.UNSET, None, "staff", "sue"])),
)
"""Any command on few messages."""


class Talk:
    """One session; what is decided is checked against rows and events kept beside it.

    Attributes:
        staff_events, player_events: what each side was told, all of it.
        last: the last decision.
        messages: the messages as their rows have them, by id.
    """

    def __init__(self, *, opened: bool = True) -> None:
        self.state: ChatState = fresh_session(SESSION, PLAYER, "Ann", START)
        self.now = START
        self.online = True
        self.staff_events: list[Any] = []
        self.player_events: list[Any] = []
        self.last = ChatDecision(self.state)
        self.messages: dict[str, ChatMessage] = {}
        if opened:
            self.do(PLAYER, say(0, "first"))

    def do(self, user_id: str, command: AnyChatCommand, *, staff_name: str | None = None) -> Any:
        """Have a command decided; a refusal must have changed nothing."""
        out = ChatDecision(self.state)
        before = msgspec.json.encode(self.state)
        context = ChatContext(self.now, "test", self.online, staff_name)
        try:
            reply: Ok = decide(self.state, command, who(user_id), context, out)
        except Refused:
            assert msgspec.json.encode(self.state) == before, "a refusal changed the session"
            assert (out.changes, out.for_staff, out.for_player) == ([], [], [])
            raise
        self.last = out
        self._keep(out)
        return reply

    @property
    def to_staff(self) -> list[Any]:
        """What the last decision told staff."""
        return list(self.last.for_staff)

    @property
    def to_player(self) -> list[Any]:
        """What the last decision told the player."""
        return list(self.last.for_player)

    def names(self) -> tuple[list[str], list[str]]:
        """The names of what the last decision told staff and the player."""
        return _names(self.last.for_staff), _names(self.last.for_player)

    def rows(self, kind: type[Any]) -> list[Any]:
        """The last decision's rows of a kind."""
        return [row for row in self.last.changes if isinstance(row, kind)]

    def pushes(self) -> list[tuple[str | None, str, str]]:
        """Whom the last decision notifies, with title and body."""
        return [(row.user_id, row.title, row.body) for row in self.rows(PushQueued)]

    def _keep(self, out: ChatDecision) -> None:
        self.staff_events += out.for_staff
        self.player_events += out.for_player
        told = range(out.first_seq + 1, self.state.seq + 1)
        for events in (out.for_staff, out.for_player):
            kept = [one.seq for one in events if not isinstance(one, PassingChatEvent)]
            assert kept == list(told), "one event a channel and seq, +1 each"
        assert {one.channel for one in out.for_staff} <= {"staff-portal"}
        assert {one.channel for one in out.for_player} <= {f"player-{PLAYER}"}
        for row in out.changes:
            match row:
                case ChatMessagePut():
                    assert row.message_id not in self.messages, "a message is written once"
                    self.messages[row.message_id] = ChatMessage(
                        id=row.message_id,
                        session_id=row.session_id,
                        player_id=row.player_id,
                        sender=row.sender,
                        sender_name=row.sender_name,
                        message_text=row.message_text,
                        timestamp=row.timestamp,
                        seq=row.seq,
                        status="sent",
                    )
                case ChatMarked():
                    (found,) = [m for m in self.messages.values() if m.seq == row.seq]
                    marked = msgspec.structs.replace(found, status=row.status)
                    self.messages[found.id] = marked
                case _:
                    pass
        self._check()

    def _check(self) -> None:
        state, view = self.state, session_view(self.state)
        unread = {m.id: m for m in self.messages.values() if m.status != "read"}
        assert list(state.unread) == sorted(unread, key=lambda key: unread[key].seq)
        assert view.unread_by_staff == sum(m.sender == "player" for m in unread.values())
        assert view.unread_by_player == sum(m.sender != "player" for m in unread.values())
        assert (state.resolved_at is not None) == (state.status == "resolved")
        answered = any(m.sender == "staff" for m in self.messages.values())
        assert (state.first_reply_at is not None) == answered
        assert (state.assigned_staff is None) == (state.assigned_staff_name is None)


def _names(events: list[Any]) -> list[str]:
    return [str(type(event).__struct_config__.tag) for event in events]
