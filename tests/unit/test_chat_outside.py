"""What writes past the server mean to a chat session, as pure rules."""

from typing import Any

import msgspec

from game.changes import ChatMarked, ChatMessageTold, ChatOutsideTold, PushQueued
from game.chat import ChatContext, ChatDecision, ChatState, ChatWrite, Unread, Unsaid, reconcile
from game.chat.outside import WRITES_AT_ONCE

NOW = 1_000_000
ROW: dict[str, Any] = {
    "player_name": "Ann",
    "initial_message": "",
    "status": "waiting",
    "assigned_staff": None,
    "assigned_staff_name": None,
    "urgency": "normal",
    "unread_by_player": 0,
    "unread_by_staff": 0,
}


def session(**more: Any) -> ChatState:
    """Make a session that was told of, with nothing said that is not read."""
    times = {"created_at": 1, "updated_at": 1, "waiting_since": 1}
    values: dict[str, Any] = {"session_id": "s", "player_id": "ann", "player_name": "Ann"}
    values |= {"seq": 5, **times}
    return ChatState(**(values | more))


def opened(number: int = 1, **more: Any) -> ChatWrite:
    return ChatWrite(number, "chat_sessions", None, ROW | more)


def changed(**more: Any) -> ChatWrite:
    return ChatWrite(1, "chat_sessions", ROW, ROW | more)


def said(state: ChatState, number: int, sender: str = "player", **more: Any) -> None:
    """Have a message stand in the database and in the inbox."""
    values: dict[str, Any] = {
        "id": f"m{number}",
        "sender": sender,
        "sender_id": None,
        "sender_name": "Somebody",
    }
    values |= {"message_text": "hi", "timestamp": NOW - 10, "status": "sent"}
    unsaid = msgspec.convert(values | more, Unsaid)
    state.unsaid = {**state.unsaid, unsaid.id: unsaid}
    row = {"id": unsaid.id, "sender": sender, "seq": None, "status": unsaid.status}
    state.untold = [*state.untold, ChatWrite(number, "chat_messages", None, row)]


def marked(number: int, one: Unread, status: str) -> ChatWrite:
    row = {"id": one.message_id, "sender": one.sender, "seq": one.seq, "status": one.status}
    return ChatWrite(number, "chat_messages", row, row | {"status": status})


def told(state: ChatState, *, online: bool = True) -> tuple[ChatDecision, list[str]]:
    """Reconcile, and hold that both sides are told one event for each seq."""
    out, before = ChatDecision(state), state.seq
    undone = reconcile(state, ChatContext(now=NOW, player_online=online), out)
    seqs = list(range(before + 1, state.seq + 1))
    assert [event.seq for event in out.for_staff] == seqs
    assert [event.seq for event in out.for_player] == seqs
    return out, undone


def tags(out: ChatDecision) -> list[str]:
    return [str(type(event).__struct_config__.tag) for event in out.for_staff]


def kinds(out: ChatDecision, kind: type) -> list[Any]:
    return [change for change in out.changes if isinstance(change, kind)]


def test_a_session_and_its_message_are_one_event_in_whichever_order_they_came() -> None:
    for opening_first in (True, False):
        state = session(seq=0)
        said(state, 2)
        opening = opened(1 if opening_first else 3)
        state.untold = sorted([*state.untold, opening], key=lambda write: write.id)
        out, _ = told(state)
        assert tags(out) == ["new-chat-request"]
        assert kinds(out, ChatMessageTold) == [ChatMessageTold("m2", "ann", 1, NOW - 10)]
        assert kinds(out, ChatOutsideTold) == [ChatOutsideTold("s", max(2, opening.id))]
        assert len(kinds(out, PushQueued)) == 1


def test_a_player_is_told_the_status_of_a_session_that_came_in_work_with_its_message() -> None:
    state = session(seq=0, status="in_progress", untold=[opened(status="in_progress")])
    said(state, 2)
    out, _ = told(state)
    assert tags(out) == ["new-chat-request", "chat-status-changed"]
    assert [str(type(event).__struct_config__.tag) for event in out.for_player] == [
        "player-confirmation",
        "chat-status-updated",
    ]


def test_a_session_without_a_message_is_told_and_notified() -> None:
    state = session(seq=0, initial_message="help", untold=[opened(initial_message="help")])
    out, _ = told(state)
    assert tags(out) == ["new-chat-request"]
    (push,) = kinds(out, PushQueued)
    assert push.body == "help"


def test_staffs_answer_takes_into_work_and_notifies_who_is_away() -> None:
    state = session()
    said(state, 1, "staff", sender_id="s1", sender_name="Sam")
    out, _ = told(state, online=False)
    assert tags(out) == ["chat-message-received", "chat-assigned", "chat-status-changed"]
    assert (state.status, state.assigned_staff, state.assigned_staff_name) == (
        "in_progress",
        "s1",
        "Sam",
    )
    assert (state.first_reply_at, state.unread_by("player")) == (NOW - 10, 1)
    assert [push.kind for push in kinds(out, PushQueued)] == ["chat_message"]


def test_staff_without_a_name_take_into_work_and_are_given_nothing() -> None:
    state = session()
    said(state, 1, "staff")
    out, _ = told(state)
    assert tags(out) == ["chat-message-received", "chat-status-changed"]
    assert state.assigned_staff is None


def test_no_message_is_dated_before_the_one_before_it_or_in_the_future() -> None:
    state = session(last_message_at=NOW - 5)
    said(state, 1, timestamp=3)
    said(state, 2, timestamp=NOW + 99)
    out, _ = told(state)
    assert [row.timestamp for row in kinds(out, ChatMessageTold)] == [NOW - 5, NOW]
    assert state.last_message_at == NOW


def test_what_came_into_a_session_that_is_over_opens_it_again() -> None:
    for sender, status in (("player", "waiting"), ("staff", "in_progress")):
        state = session(status="resolved", resolved_at=NOW - 100)
        said(state, 1, sender)
        told(state)
        assert state.status == status


def test_not_where_the_player_has_another_one_or_it_was_said_before_the_end() -> None:
    for more in ({"resolved_at": NOW - 100, "elsewhere": True}, {"resolved_at": NOW}):
        state = session(status="resolved", **more)
        said(state, 1, "staff")
        out, undone = told(state)
        assert (tags(out), state.status) == (["chat-message-received"], "resolved")
        assert bool(undone) == ("elsewhere" in more)


def test_reading_is_told_once_a_side_and_includes_all_before() -> None:
    unread = [Unread(f"m{n}", n, "player", "sent") for n in (1, 2, 3)]
    state = session(unread={unread[0].message_id: unread[0]})
    # As the database has them by now, 2 and 3 are read.
    state.untold = [marked(8, unread[2], "read"), marked(9, unread[1], "read")]
    out, _ = told(state)
    assert tags(out) == ["chat-read"]
    assert out.for_staff[0].message_id == "m3"  # type: ignore[attr-defined]
    assert kinds(out, ChatMarked) == [ChatMarked("s", 1, "read", NOW)]
    assert state.unread == {}


def test_a_count_set_to_nothing_reads_all_that_the_side_has() -> None:
    unread = [Unread("m1", 1, "player", "sent"), Unread("m2", 2, "staff", "sent")]
    state = session(unread={one.message_id: one for one in unread})
    state.untold = [
        ChatWrite(1, "chat_sessions", ROW | {"unread_by_staff": 1}, ROW | {"unread_by_staff": 0})
    ]
    told(state)
    assert list(state.unread) == ["m2"]


def test_an_assignment_takes_into_work_unless_its_writer_says_otherwise() -> None:
    given = {"assigned_staff": "s1", "assigned_staff_name": "Sam"}
    state = session(untold=[changed(**given)])
    assert tags(told(state)[0]) == ["chat-assigned", "chat-status-changed"]
    state = session(untold=[changed(**given, status="resolved")])
    told(state)
    assert (state.status, state.assigned_staff, state.resolved_at) == ("resolved", "s1", NOW)


def test_what_the_rules_do_not_allow_is_undone() -> None:
    over = {"status": "resolved", "resolved_at": 1}
    row = ROW | {"status": "resolved"}
    given = ChatWrite(1, "chat_sessions", row, row | {"assigned_staff": "s1"})
    state = session(**over, untold=[given])
    out, undone = told(state)
    assert (tags(out), state.assigned_staff, len(undone)) == ([], None, 1)
    state = session(**over, elsewhere=True, untold=[ChatWrite(1, "chat_sessions", row, ROW)])
    out, undone = told(state)
    assert (tags(out), state.status, len(undone)) == ([], "resolved", 1)


def test_every_step_of_a_status_is_told() -> None:
    first, second = ROW, ROW | {"status": "in_progress"}
    state = session(
        untold=[
            ChatWrite(1, "chat_sessions", first, second),
            ChatWrite(2, "chat_sessions", second, second | {"status": "resolved"}),
        ]
    )
    out, _ = told(state)
    steps = [(e.from_, e.to, e.by) for e in out.for_staff]  # type: ignore[attr-defined]
    assert steps == [
        ("waiting", "in_progress", "system"),
        ("in_progress", "resolved", "system"),
    ]


def test_of_a_bulk_a_part_is_told_at_a_time() -> None:
    state = session()
    for number in range(1, WRITES_AT_ONCE + 11):
        said(state, number)
    out, _ = told(state)
    assert kinds(out, ChatOutsideTold) == [ChatOutsideTold("s", WRITES_AT_ONCE)]
    out, _ = told(state)
    assert (len(out.for_staff), state.untold, state.unsaid) == (10, [], {})
