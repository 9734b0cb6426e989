"""The rules of support chat: who may say and do what, what is told of it, and what is kept."""

from __future__ import annotations

import contextlib
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from game.changes import AuditEntry, ChatMarked, ChatMessagePut, PushQueued
from game.chat import SessionOver
from game.chat.state import REMEMBERED_MESSAGES, plain_name
from protocol import commands
from protocol.errors import ErrorCode, Refused
from protocol.replies import ChatChanged, ChatSent
from protocol.values import AnyChatStatus, ChatStatus
from tests.support.chat_books import (
    COMMANDS,
    PLAYER,
    SESSION,
    Talk,
    message_id,
    read,
    received,
    say,
    who,
)

STATUS = ["chat-status-changed"], ["chat-status-updated"]


def status(word: AnyChatStatus) -> commands.SetChatStatus:
    return commands.SetChatStatus(status=word)


def refusal(talk: Talk, user_id: str, command: commands.AnyChatCommand) -> ErrorCode:
    with pytest.raises(Refused) as caught:
        talk.do(user_id, command)
    return caught.value.code


ANYTHING: list[commands.AnyChatCommand] = [
    say(9),
    received(0),
    read(0),
    commands.ChatTyping(),
    status("resolved"),
    commands.ChatAssign(),
]


# Who may


@pytest.mark.parametrize("command", ANYTHING, ids=lambda c: type(c).__name__)
def test_another_player_is_told_that_there_is_no_such_conversation(
    command: commands.AnyChatCommand,
) -> None:
    with pytest.raises(Refused) as theirs:
        Talk().do("bob", command)
    with pytest.raises(Refused) as unborn:
        Talk(opened=False).do("bob", command)
    assert theirs.value.code is ErrorCode.NOT_FOUND
    assert (theirs.value.message, theirs.value.details) == (
        unborn.value.message,
        unborn.value.details,
    )


@pytest.mark.parametrize("command", ANYTHING[1:], ids=lambda c: type(c).__name__)
@pytest.mark.parametrize("user_id", [PLAYER, "staff"])
def test_nothing_but_a_message_can_be_done_before_there_is_a_session(
    command: commands.AnyChatCommand, user_id: str
) -> None:
    assert refusal(Talk(opened=False), user_id, command) is ErrorCode.NOT_FOUND


def test_every_command_of_chats_is_tried_here() -> None:
    assert {type(one) for one in ANYTHING} == set(get_args(commands.AnyChatCommand))


@pytest.mark.parametrize("command", [status("resolved"), commands.ChatAssign()])
def test_a_player_handles_no_session(command: commands.AnyChatCommand) -> None:
    assert refusal(Talk(), PLAYER, command) is ErrorCode.FORBIDDEN


# Saying something


def test_a_first_message_opens_the_session() -> None:
    talk = Talk(opened=False)
    reply = talk.do(PLAYER, say(1, "help me", urgency="high"))
    assert talk.names() == (["new-chat-request"], ["player-confirmation"])
    (request,), (confirmation,) = talk.to_staff, talk.to_player
    assert isinstance(reply, ChatSent)
    assert request.session == reply.session
    assert request.message == reply.message == confirmation.message
    assert (reply.seq, reply.session.seq, reply.message.seq) == (1, 1, 1)
    assert talk.last.opens
    session = reply.session
    assert (session.status, session.urgency, session.initial_message) == (
        "waiting",
        "high",
        "help me",
    )
    assert (session.unread_by_staff, session.unread_by_player) == (1, 0)
    assert talk.pushes() == [(None, "New chat request from Ann", "help me")]
    (push,) = talk.rows(PushQueued)
    assert msgspec.json.decode(push.data) == {
        "session_id": SESSION,
        "player_id": PLAYER,
        "message_id": message_id(1),
        "urgency": "high",
        "player_name": "Ann",
    }


def test_a_later_message_goes_to_the_session_that_is_open() -> None:
    talk = Talk()
    talk.do(PLAYER, say(1, "more", urgency="high"))
    assert talk.names() == (["chat-message-received"], ["player-confirmation"])
    assert not talk.last.opens
    assert not talk.pushes()
    assert (talk.state.initial_message, talk.state.urgency) == ("first", "normal")


def test_the_push_of_a_request_shows_a_hundred_characters() -> None:
    talk = Talk(opened=False)
    talk.do(PLAYER, say(1, "\U0001f600" * 101))
    assert talk.pushes()[0][2] == "\U0001f600" * 100


@pytest.mark.parametrize("online", [True, False])
def test_an_answer_is_pushed_to_an_absent_player_only(online: bool) -> None:
    talk = Talk()
    talk.online = online
    talk.do("staff", say(1, "y" * 200))
    assert talk.pushes() == ([] if online else [(PLAYER, "Staff", "y" * 100)])


def test_the_first_answer_assigns_and_takes_into_work() -> None:
    talk = Talk()
    reply = talk.do("staff", say(1))
    assert talk.names() == (
        ["chat-message-received", "chat-assigned", "chat-status-changed"],
        ["staff-message-received", "chat-assigned", "chat-status-updated"],
    )
    session = reply.session
    assert (session.status, session.assigned_staff, session.assigned_staff_name) == (
        "in_progress",
        "staff",
        "Staff",
    )
    assert session.first_reply_at == talk.now
    assert reply.seq == reply.message.seq == 2
    assert session.seq == 4


def test_an_answer_leaves_the_session_to_whom_it_was_given() -> None:
    talk = Talk()
    talk.do("staff", commands.ChatAssign(staff_id="sue"), staff_name="Sue")
    talk.do("staff", say(1))
    assert talk.names() == (["chat-message-received"], ["staff-message-received"])
    assert talk.state.assigned_staff == "sue"


def test_who_answers_a_session_that_nobody_has_gets_it() -> None:
    talk = Talk()
    talk.do("staff", status("in_progress"))
    talk.do("sue", say(1))
    assert (talk.state.assigned_staff, talk.state.status) == ("sue", "in_progress")


def test_staff_open_a_session_by_a_message() -> None:
    talk = Talk(opened=False)
    reply = talk.do("staff", say(1, "welcome"))
    assert talk.names() == (
        ["new-chat-request", "chat-assigned", "chat-status-changed"],
        ["staff-message-received", "chat-assigned", "chat-status-updated"],
    )
    assert not talk.pushes()
    assert reply.session.player_id == PLAYER
    assert (reply.session.unread_by_player, reply.session.unread_by_staff) == (1, 0)
    assert talk.to_staff[0].session.first_reply_at == talk.now


def test_a_message_after_the_end_is_for_another_session() -> None:
    talk = Talk()
    talk.do("staff", status("resolved"))
    with pytest.raises(SessionOver):
        talk.do(PLAYER, say(1))


def test_a_message_sent_again_after_the_end_is_still_the_first_one() -> None:
    talk = Talk()
    talk.do("staff", status("resolved"))
    assert talk.do(PLAYER, say(0, "first")).message.seq == 1
    assert not talk.last.kept


def test_an_answer_after_the_end_reopens() -> None:
    talk = Talk()
    talk.do("staff", say(1))
    talk.do("staff", status("resolved"))
    reply = talk.do("sue", say(2))
    assert talk.names() == (
        ["chat-message-received", "chat-status-changed"],
        ["staff-message-received", "chat-status-updated"],
    )
    assert (reply.session.status, reply.session.resolved_at) == ("in_progress", None)
    assert reply.session.assigned_staff == "staff"


def test_a_message_sent_again_changes_nothing_and_shows_how_far_it_got() -> None:
    talk = Talk()
    first = talk.do(PLAYER, say(1, "once"))
    for command, expected in ((None, "sent"), (received(1), "received"), (read(1), "read")):
        if command is not None:
            talk.do("staff", command)
        again = talk.do(PLAYER, say(1, "another text"))
        assert not talk.last.kept
        assert talk.names() == ([], [])
        assert again.message == msgspec.structs.replace(first.message, status=expected)


@pytest.mark.parametrize("other", ["staff", "sue"])
def test_an_id_is_its_first_writers(other: str) -> None:
    talk = Talk()
    talk.do("staff" if other == "sue" else PLAYER, say(1))
    with pytest.raises(Refused) as caught:
        talk.do(other, say(1))
    assert (caught.value.code, caught.value.details) == (
        ErrorCode.CONFLICT,
        {"field": "message_id"},
    )


def test_the_last_messages_are_remembered_and_no_more() -> None:
    talk = Talk()
    for number in range(1, REMEMBERED_MESSAGES + 5):
        talk.do(PLAYER, say(number))
    assert len(talk.state.recent) == REMEMBERED_MESSAGES
    assert message_id(REMEMBERED_MESSAGES + 4) in talk.state.recent


def test_texts_are_kept_and_told_as_they_were_written() -> None:
    talk = Talk()
    text = "<b>\U0001f0a1</b>\x1b[31m\r\n\t\x07 & 'x'"
    reply = talk.do(PLAYER, say(1, text))
    (row,) = talk.rows(ChatMessagePut)
    assert row.message_text == reply.message.message_text == text
    assert talk.to_staff[0].message.message_text == text


def test_time_does_not_run_backwards_within_a_session() -> None:
    talk = Talk()
    talk.now -= 5_000
    reply = talk.do(PLAYER, say(1))
    assert reply.message.timestamp == talk.now + 5_000
    assert reply.session.updated_at == talk.now + 5_000


def test_names_are_shown_in_one_line() -> None:
    assert plain_name(" A\x00n\nn\u2028e ", "ann") == "A n n e"
    assert plain_name("\x00", "ann") == "ann"
    assert plain_name("x" * 61, "ann") == "x" * 60
    talk = Talk()
    talk.do("staff", commands.ChatAssign(), staff_name="S\x00\x1b\n")
    assert talk.state.assigned_staff_name == "S"


# Receipts


def test_receiving_marks_one_message() -> None:
    talk = Talk()
    talk.do(PLAYER, say(1))
    reply = talk.do("staff", received(1))
    assert talk.names() == (["chat-received"], ["chat-received"])
    assert talk.rows(ChatMarked) == [ChatMarked(SESSION, 2, "received", talk.now)]
    assert [talk.messages[message_id(n)].status for n in (0, 1)] == ["sent", "received"]
    assert (reply.seq, reply.session.unread_by_staff) == (3, 2)


def test_reading_marks_a_message_and_what_that_side_said_before() -> None:
    talk = Talk()
    for number in (1, 2):
        talk.do(PLAYER, say(number))
    talk.do("staff", say(3))
    reply = talk.do("sue", read(1))
    assert talk.names() == (["chat-read"], ["chat-read"])
    assert [talk.messages[message_id(n)].status for n in range(4)] == [
        *("read", "read"),
        *("sent", "sent"),
    ]
    (event,) = talk.to_player
    assert (event.reader, event.message_id) == ("staff", message_id(1))
    assert (event.unread_by_staff, event.unread_by_player) == (1, 1)
    assert (reply.session.unread_by_staff, reply.session.unread_by_player) == (1, 1)


@pytest.mark.parametrize(
    "command", [received(0), read(0), received(7), read(7)], ids=["got", "read", "got?", "read?"]
)
def test_nobody_acknowledges_their_own_sides_messages_or_unknown_ones(
    command: commands.AnyChatCommand,
) -> None:
    talk = Talk()
    reply = talk.do(PLAYER, command)
    assert isinstance(reply, ChatChanged)
    assert not talk.last.kept
    assert talk.names() == ([], [])


def test_a_receipt_counts_once_and_never_goes_back() -> None:
    talk = Talk()
    talk.do("staff", read(0))
    for command in (received(0), read(0)):
        talk.do("sue", command)
        assert not talk.last.kept
    assert talk.messages[message_id(0)].status == "read"


# Status


STATUSES: tuple[ChatStatus, ...] = ("waiting", "in_progress", "resolved")
OLDER: dict[ChatStatus, AnyChatStatus] = {"waiting": "pending", "in_progress": "active"}


@pytest.mark.parametrize("older", [False, True])
@pytest.mark.parametrize("after", STATUSES)
@pytest.mark.parametrize("before", STATUSES)
def test_staff_take_a_session_from_any_status_to_any(
    before: ChatStatus, after: ChatStatus, older: bool
) -> None:
    talk = Talk()
    talk.do("staff", status(before))
    talk.now += 1_000
    reply = talk.do("staff", status(OLDER.get(after, after) if older else after))
    assert reply.session.status == after
    if before == after:
        assert not talk.last.kept
        return
    assert talk.names() == STATUS
    (told,), (updated,) = talk.to_staff, talk.to_player
    assert (told.from_, told.to, told.by) == (before, after, "staff")
    assert updated.status == after
    assert reply.session.resolved_at == (talk.now if after == "resolved" else None)
    if after == "waiting":
        assert reply.session.waiting_since == talk.now
    (audit,) = talk.rows(AuditEntry)
    assert (audit.action, audit.user_id) == ("chat_status", "staff")


def test_urgency_is_told_as_a_status_that_stays() -> None:
    talk = Talk()
    talk.do("staff", commands.SetChatStatus(urgency="high"))
    assert talk.names() == STATUS
    (told,) = talk.to_staff
    assert (told.from_, told.to, told.urgency) == ("waiting", "waiting", "high")
    talk.do("staff", commands.SetChatStatus(urgency="high"))
    assert not talk.last.kept


def test_status_and_urgency_go_together() -> None:
    talk = Talk()
    reply = talk.do("staff", commands.SetChatStatus(status="resolved", urgency="low"))
    assert (reply.session.status, reply.session.urgency, reply.seq) == ("resolved", "low", 3)


def test_a_status_command_says_something() -> None:
    with pytest.raises(Refused) as caught:
        Talk().do("staff", commands.SetChatStatus())
    assert (caught.value.code, caught.value.details) == (
        ErrorCode.BAD_REQUEST,
        {"field": "status"},
    )


def test_assigning_takes_a_waiting_session_into_work() -> None:
    talk = Talk()
    reply = talk.do("staff", commands.ChatAssign(), staff_name="Staff Person")
    assert talk.names() == (
        ["chat-assigned", "chat-status-changed"],
        ["chat-assigned", "chat-status-updated"],
    )
    assert (reply.session.assigned_staff, reply.session.assigned_staff_name) == (
        "staff",
        "Staff Person",
    )
    assert reply.session.first_reply_at is None
    talk.do("staff", commands.ChatAssign(staff_id="sue"))
    assert talk.names() == (["chat-assigned"], ["chat-assigned"])
    assert talk.state.assigned_staff_name == "sue"
    reply = talk.do("sue", commands.ChatAssign(staff_id=None))
    assert reply.session.assigned_staff is reply.session.assigned_staff_name is None
    assert talk.state.status == "in_progress"


def test_a_session_that_is_over_is_given_to_nobody() -> None:
    talk = Talk()
    talk.do("staff", status("resolved"))
    assert refusal(talk, "staff", commands.ChatAssign()) is ErrorCode.CONFLICT


# Typing


@pytest.mark.parametrize("typing", [True, False])
def test_typing_passes_and_leaves_nothing(typing: bool) -> None:
    talk = Talk()
    talk.do(PLAYER, commands.ChatTyping(typing=typing))
    assert talk.names() == (["chat-typing"], [])
    talk.do("staff", commands.ChatTyping(typing=typing))
    assert talk.names() == (["chat-typing"], ["chat-typing"])
    assert not talk.last.kept
    (event,) = talk.to_player
    assert (event.seq, event.private, event.sender, event.sender_name) == (
        1,
        True,
        "staff",
        "Staff",
    )
    assert event.typing is typing


# Anything


STEPS = st.lists(st.tuples(st.sampled_from([PLAYER, "staff", "sue", "bob"]), COMMANDS), max_size=60)


@given(steps=STEPS)
def test_any_sequence_keeps_the_books_and_the_machine(steps: list[tuple[str, Any]]) -> None:
    """`Talk` compares rows, unread counts and seqs after each step."""
    talk = Talk()
    written: dict[str, str] = {message_id(0): PLAYER}
    for user_id, command in steps:
        before = talk.state.status
        talk.now += 1
        try:
            reply = talk.do(user_id, command)
        except SessionOver:
            assert (before, user_id) == ("resolved", PLAYER)
            continue
        except Refused:
            continue
        assert user_id != "bob"
        if isinstance(command, commands.ChatSend):
            assert written.setdefault(command.message_id, user_id) == user_id
            assert reply.message.id == command.message_id
        if before != talk.state.status:
            assert who(user_id).is_staff, "a player's message changes no status"
        if isinstance(command, commands.ChatSend) and user_id != PLAYER and talk.last.kept:
            assert talk.state.status == "in_progress"
    assert set(written) == set(talk.messages)
    seqs = [event.seq for event in talk.staff_events]
    assert seqs == sorted(seqs)


@given(steps=STEPS)
def test_what_both_sides_are_told_adds_up_to_the_session(steps: list[tuple[str, Any]]) -> None:
    talk = Talk()
    for user_id, command in steps:
        with contextlib.suppress(Refused):
            talk.do(user_id, command)
    for events in (talk.staff_events, talk.player_events):
        seen, assigned, state = {}, None, "waiting"
        for event in events:
            match type(event).__struct_config__.tag:
                case "chat-status-changed":
                    assert event.from_ == state
                    state = event.to
                case "chat-status-updated":
                    state = event.status
                case "chat-assigned":
                    assigned = event.assigned_staff
                case "chat-received":
                    seen[event.message_id] = "received"
                case "chat-read":
                    (last,) = [m for m in talk.messages.values() if m.id == event.message_id]
                    for one in talk.messages.values():
                        if one.sender == last.sender and one.seq <= last.seq:
                            seen[one.id] = "read"
                case "chat-typing":
                    pass
                case _:
                    seen[event.message.id] = "sent"
        assert state == talk.state.status
        assert assigned == talk.state.assigned_staff
        assert seen == {key: one.status for key, one in talk.messages.items()}
