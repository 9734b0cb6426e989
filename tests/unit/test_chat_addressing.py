"""Whose conversation a command is about, and up to where it was read, by the rules alone."""

from __future__ import annotations

from uuid import uuid4

import pytest

from game.chat import ChatContext, ChatDecision, ChatState, decide, fresh_session
from protocol.commands import AnyChatCommand, ChatRead, ChatSend
from protocol.errors import ErrorCode, Refused
from protocol.ids import UserId
from protocol.principal import Principal
from protocol.replies import ChatChanged, Ok

AMY = Principal(UserId("amy"), "Amy", "player")
SUE = Principal(UserId("sue"), "Sue", "staff")
FIRST, SECOND, ANSWER = (str(uuid4()) for _ in range(3))


def said(text: str, message_id: str, player_id: str | None = None) -> ChatSend:
    return ChatSend(message_id=message_id, message_text=text, player_id=player_id)


def run(state: ChatState, principal: Principal, command: AnyChatCommand) -> tuple[Ok, ChatDecision]:
    out = ChatDecision(state)
    return decide(state, command, principal, ChatContext(now=5), out), out


@pytest.fixture
def state() -> ChatState:
    """Amy has said two things, and staff has answered."""
    session = fresh_session("s1", "amy", "Amy", 1)
    run(session, AMY, said("hello", FIRST))
    run(session, AMY, said("anybody?", SECOND))
    run(session, SUE, said("yes", ANSWER))
    return session


def test_staff_answer_only_the_player_whom_they_name(state: ChatState) -> None:
    with pytest.raises(Refused) as refused:
        run(state, SUE, said("for bob", str(uuid4()), "bob"))
    assert refused.value.code is ErrorCode.NOT_FOUND
    _, out = run(state, SUE, said("for amy", str(uuid4()), "amy"))
    assert out.kept


def test_all_that_the_other_side_said_is_read_at_once(state: ChatState) -> None:
    reply, out = run(state, SUE, ChatRead())
    assert isinstance(reply, ChatChanged)
    assert (reply.session.unread_by_staff, reply.session.unread_by_player) == (0, 1)
    [event] = out.for_staff
    assert getattr(event, "message_id", None) == SECOND


def test_reading_what_was_read_already_changes_nothing(state: ChatState) -> None:
    run(state, AMY, ChatRead())
    reply, out = run(state, AMY, ChatRead())
    assert isinstance(reply, ChatChanged)
    assert reply.session.unread_by_player == 0
    assert not out.kept
