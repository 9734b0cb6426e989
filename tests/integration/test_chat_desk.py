"""The desk of chats: which session a command is about, two processes on one database, reading."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import trio

from game.chat import SessionOver
from protocol import commands
from protocol.commands import ChatHistory
from protocol.errors import ErrorCode, Refused
from tests.support.chat_books import PLAYER, message_id, read, received, say, who
from tests.support.chat_desks import LiveDesk, make_people, open_desk

pytestmark = pytest.mark.fail_after(60)


@pytest.fixture
async def desk(database_url: str) -> AsyncIterator[LiveDesk]:
    async with open_desk(database_url) as made:
        await make_people(made.pool, PLAYER, "bob")
        yield made


@pytest.fixture
async def other(desk: LiveDesk, database_url: str) -> AsyncIterator[LiveDesk]:
    """Another process on the same database."""
    async with open_desk(database_url) as made:
        yield made


async def refused(coroutine: Any) -> Refused:
    with pytest.raises(Refused) as caught:
        await coroutine
    return caught.value


def status(word: Any, session_id: str) -> commands.SetChatStatus:
    return commands.SetChatStatus(status=word, session_id=session_id)


def posted(desk: LiveDesk, user_id: str, command: commands.AnyChatCommand) -> list[Any] | None:
    """What a command is answered in time that is handed over at once, None if it cannot be."""
    answers: list[Any] = []
    took = desk.desk.post(who(user_id), command, source="test", answer=answers.append)
    return answers if took else None


async def answered(answers: list[Any] | None, count: int = 1) -> list[Any]:
    assert answers is not None
    while len(answers) < count:  # noqa: ASYNC110 - they say nothing
        await trio.sleep(0.001)
    return answers


# At once


async def test_what_is_handed_over_at_once_is_one_commit_in_its_order(desk: LiveDesk) -> None:
    session_id = (await desk.say(PLAYER, say(1))).session.id
    await desk.say("staff", say(2, session_id=session_id))
    desk.journal.units.clear()
    sent = [posted(desk, PLAYER, say(number)) for number in range(3, 8)]
    receipts = [posted(desk, PLAYER, received(2)), posted(desk, PLAYER, read(2))]
    typing = posted(desk, PLAYER, commands.ChatTyping())
    seqs = [(await answered(one))[0].seq for one in sent]
    assert seqs == sorted(seqs)
    for one in receipts:
        assert (await answered(one))[0].session.id == session_id
    await answered(typing)
    assert len(desk.journal.units) == 1


async def test_staff_see_in_an_answer_that_came_at_once_whether_the_player_is_there(
    desk: LiveDesk,
) -> None:
    session_id = (await desk.say(PLAYER, say(1))).session.id
    (reply,) = await answered(posted(desk, "staff", say(2, session_id=session_id)))
    assert reply.session.player_online is True
    (reply,) = await answered(posted(desk, PLAYER, read(2)))
    assert reply.session.player_online is msgspec.UNSET


async def test_what_must_be_looked_up_is_not_handed_over_at_once(desk: LiveDesk) -> None:
    assert posted(desk, PLAYER, say(1)) is None
    session_id = (await desk.say(PLAYER, say(1))).session.id
    bobs = (await desk.say("bob", say(1))).session.id
    for user_id, command in (
        (PLAYER, say(2, player_id="bob")),
        (PLAYER, say(2, session_id=bobs)),
        (PLAYER, status("resolved", bobs)),
        (PLAYER, read(9)),
        ("bob", commands.ChatTyping(session_id=session_id)),
        ("staff", say(2, player_id=PLAYER)),
        ("staff", say(2, "/hello", session_id=session_id)),
        ("staff", commands.ChatAssign(session_id=session_id)),
        ("staff", commands.ChatTyping()),
        ("staff", read(9)),
    ):
        assert posted(desk, user_id, command) is None
    await desk.rest()
    receipt = read(1)
    assert posted(desk, "staff", receipt) is None
    assert receipt.session_id == ""
    assert posted(desk, PLAYER, say(2)) is None


async def test_a_message_that_is_too_late_at_once_is_for_another_session(desk: LiveDesk) -> None:
    session_id = (await desk.say(PLAYER, say(1))).session.id
    resolved = posted(desk, "staff", status("resolved", session_id))
    (late,) = await answered(posted(desk, PLAYER, say(2)))
    await answered(resolved)
    assert isinstance(late, SessionOver)
    assert (await desk.say(PLAYER, say(2))).session.id != session_id


# Which session


async def test_two_first_messages_at_once_open_one_session(desk: LiveDesk) -> None:
    replies = []

    async def send(number: int) -> None:
        replies.append(await desk.say(PLAYER, say(number)))

    async with trio.open_nursery() as nursery:
        for number in range(4):
            nursery.start_soon(send, number)
    assert len({reply.session.id for reply in replies}) == 1
    assert sorted(reply.seq for reply in replies) == [1, 2, 3, 4]
    assert len(desk.told("new-chat-request")) == 1


async def test_a_message_after_the_end_opens_another_session(desk: LiveDesk) -> None:
    first = (await desk.say(PLAYER, say(1))).session.id
    await desk.do("staff", status("resolved", first))
    # The client may still name the one that it knows.
    second = await desk.say(PLAYER, say(2, session_id=first))
    assert second.session.id != first
    assert second.seq == 1
    assert len(desk.told("new-chat-request")) == 2
    assert (await desk.say(PLAYER, say(3))).session.id == second.session.id


async def test_a_session_is_not_reopened_beside_another_one(desk: LiveDesk) -> None:
    first = (await desk.say(PLAYER, say(1))).session.id
    await desk.do("staff", status("resolved", first))
    await desk.say(PLAYER, say(2))
    for command in (status("waiting", first), say(3, session_id=first)):
        assert (await refused(desk.do("staff", command))).code is ErrorCode.CONFLICT
    assert [s.status for s in await desk.inbox(PLAYER)] == ["waiting", "resolved"]
    assert desk.crashes == 0


async def test_messages_whose_sessions_end_at_once_find_their_way(desk: LiveDesk) -> None:
    """The desk looks for another session as often as one is resolved under its hands."""
    first = (await desk.say(PLAYER, say(0))).session.id
    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.do, "staff", status("resolved", first))
        for number in range(1, 9):
            nursery.start_soon(desk.say, PLAYER, say(number))
    assert len(await desk.texts()) == 9
    seqs = await desk.all("SELECT session_id, count(*), max(seq) FROM chat_messages GROUP BY 1")
    assert len(seqs) <= 2
    assert desk.crashes == 0


async def test_staff_write_first_to_a_player(desk: LiveDesk) -> None:
    sent = await desk.say("staff", say(1, player_id="bob"))
    assert (sent.session.player_id, sent.session.player_name) == ("bob", "Bob")
    assert (await desk.say("bob", say(2))).session.id == sent.session.id
    nameless = await refused(desk.say("staff", say(3)))
    assert (nameless.code, nameless.details) == (
        ErrorCode.BAD_REQUEST,
        {"field": "session_id"},
    )


async def test_a_shortcut_is_sent_as_the_text_that_it_stands_for(desk: LiveDesk) -> None:
    await desk.desk.put_canned_reply(who("staff"), "hello", "Hello, how can I help?")
    session_id = (await desk.say(PLAYER, say(1, "/hello"))).session.id
    answer = await desk.say("staff", say(2, "/hello", session_id=session_id))
    assert answer.message.message_text == "Hello, how can I help?"
    assert await desk.texts() == ["/hello", "Hello, how can I help?"]
    await desk.desk.put_canned_reply(who("staff"), "/hello", "Hi")
    assert [r.message_text for r in await desk.desk.canned_replies(who("staff"))] == ["Hi"]
    await desk.desk.remove_canned_reply(who("staff"), "hello")
    gone = await refused(desk.desk.remove_canned_reply(who("staff"), "hello"))
    assert gone.code is ErrorCode.NOT_FOUND
    for coroutine in (
        desk.desk.canned_replies(who(PLAYER)),
        desk.desk.put_canned_reply(who(PLAYER), "x", "y"),
        desk.desk.remove_canned_reply(who(PLAYER), "x"),
    ):
        assert (await refused(coroutine)).code is ErrorCode.FORBIDDEN
    for shortcut in ("", "a b", "/", "x" * 40, "/a/b"):
        wrong = await refused(desk.desk.put_canned_reply(who("staff"), shortcut, "y"))
        assert wrong.details == {"field": "shortcut"}


# Privacy


async def test_another_players_session_is_as_good_as_none(desk: LiveDesk) -> None:
    theirs = await desk.say(PLAYER, say(1))
    theirs_id, nobodys_id = theirs.session.id, "no-session"
    told = len(desk.told())

    def probes(session_id: str, message: int) -> list[commands.AnyChatCommand]:
        return [
            say(5, session_id=session_id),
            commands.ChatReceived(session_id=session_id, message_id=message_id(message)),
            commands.ChatRead(session_id=session_id, message_id=message_id(message)),
            received(message),
            read(message),
            commands.ChatTyping(session_id=session_id),
            status("resolved", session_id),
            commands.ChatAssign(session_id=session_id),
        ]

    for there, nowhere in zip(probes(theirs_id, 1), probes(nobodys_id, 99), strict=True):
        one, two = await refused(desk.do("bob", there)), await refused(desk.do("bob", nowhere))
        assert one.code is ErrorCode.NOT_FOUND
        assert (one.code, one.message, one.details) == (two.code, two.message, two.details)
    for fields in ({"session_id": theirs_id}, {"session_id": nobodys_id}):
        hidden = await refused(desk.history("bob", **fields))
        assert (hidden.code, hidden.details) == (ErrorCode.NOT_FOUND, None)
    for before in (message_id(1), message_id(99)):
        hidden = await refused(desk.history("bob", before=before))
        assert hidden.code is ErrorCode.NOT_FOUND
    for player_id in (PLAYER, "nobody"):
        for coroutine in (
            desk.history("bob", player_id=player_id),
            desk.inbox("bob", player_id=player_id),
            desk.say("bob", say(6, player_id=player_id)),
        ):
            assert (await refused(coroutine)).code is ErrorCode.FORBIDDEN
    assert await desk.inbox("bob") == []
    assert (await desk.history("bob")).session is None
    assert len(desk.told()) == told
    # An id that somebody else's message has is free.
    assert (await desk.say("bob", say(1))).message.player_id == "bob"


async def test_a_receipt_is_for_the_message_of_ones_own_conversation(desk: LiveDesk) -> None:
    sessions = {}
    for player in ("bob", PLAYER):
        # Both clients chose the same id.
        session = (await desk.say(player, say(1))).session
        sessions[player] = session.id
        await desk.say("staff", say(2, session_id=session.id))
    for player in (PLAYER, "bob"):
        assert (await desk.do(player, read(2))).session.id == sessions[player]
    assert (await desk.do("staff", read(1))).session.id == sessions[PLAYER]
    assert (await refused(desk.do("bob", read(3)))).code is ErrorCode.NOT_FOUND


async def test_typing_without_a_session_is_told_to_nobody(desk: LiveDesk) -> None:
    await desk.do(PLAYER, commands.ChatTyping())
    assert not desk.told()
    whose = await refused(desk.do("staff", commands.ChatTyping()))
    assert whose.details == {"field": "session_id"}


# Reading


async def test_history_is_paged_newest_last(desk: LiveDesk) -> None:
    first = (await desk.say(PLAYER, say(0))).session.id
    for number in range(1, 4):
        desk.now += 1_000
        await desk.say(PLAYER, say(number))
    await desk.do("staff", status("resolved", first))
    for number in range(4, 7):
        desk.now += 1_000
        await desk.say(PLAYER, say(number))

    async def pages(user_id: str, **fields: Any) -> list[list[str]]:
        found: list[list[str]] = []
        before = None
        while True:
            page = await desk.desk.history(
                who(user_id), ChatHistory(limit=3, before=before, **fields)
            )
            found.append([message.id for message in page.messages])
            if not page.more:
                return found
            before = page.messages[0].id

    ids = [message_id(number) for number in range(7)]
    assert await pages(PLAYER) == [ids[4:], ids[1:4], ids[:1]]
    assert await pages("staff", player_id=PLAYER) == [ids[4:], ids[1:4], ids[:1]]
    assert await pages("staff", session_id=first) == [ids[1:4], ids[:1]]
    latest = await desk.history(PLAYER)
    assert latest.session is not None
    assert latest.session.id != first
    nothing = await desk.history(PLAYER, before=ids[0])
    assert (nothing.messages, nothing.more) == ([], False)
    unknown = await refused(desk.history(PLAYER, before=message_id(99)))
    assert unknown.code is ErrorCode.NOT_FOUND


async def test_the_inbox_has_who_waits_first_and_then_the_last_to_be_written_in(
    desk: LiveDesk,
) -> None:
    names = [f"p{number}" for number in range(6)]
    await make_people(desk.pool, *names)
    sessions = {}
    for number, name in enumerate(names):
        desk.now += 1_000
        sessions[name] = (await desk.say(name, say(number))).session.id
    for name in ("p1", "p2", "p3"):
        await desk.do("staff", commands.ChatAssign(session_id=sessions[name]))
    await desk.do("staff", status("resolved", sessions["p3"]))
    desk.now += 1_000
    await desk.say("p1", say(10))
    listed = await desk.inbox("staff")
    assert [s.player_id for s in listed] == ["p5", "p4", "p0", "p1", "p2", "p3"]
    assert [s.unread_by_staff for s in listed] == [1, 1, 1, 2, 1, 1]
    waiting = await desk.inbox("staff", status="pending")
    assert [s.player_id for s in waiting] == ["p5", "p4", "p0"]
    assert {s.player_online for s in listed} == {False}
    assert [s.id for s in await desk.inbox("p1")] == [sessions["p1"]]
    assert [s.player_id for s in await desk.inbox("staff", limit=2)] == ["p5", "p4"]


async def test_unread_counts_are_what_each_side_has_not_read(desk: LiveDesk) -> None:
    session_id = (await desk.say(PLAYER, say(0))).session.id
    await desk.say(PLAYER, say(1))
    await desk.say("staff", say(2, session_id=session_id))
    for rest in (False, True):
        if rest:
            await desk.rest()
        (seen,) = await desk.inbox("staff")
        assert (seen.unread_by_staff, seen.unread_by_player) == (2, 1)
    await desk.do("staff", read(1))
    await desk.do(PLAYER, read(2))
    (seen,) = await desk.inbox("staff")
    assert (seen.unread_by_staff, seen.unread_by_player) == (0, 0)
    statuses = await desk.all("SELECT status, received_at = read_at FROM chat_messages")
    assert statuses == [("read", True)] * 3


# Two processes on one database


async def test_two_processes_bring_everything_into_one_order(
    desk: LiveDesk, other: LiveDesk
) -> None:
    session_id = (await desk.say(PLAYER, say(0))).session.id
    async with trio.open_nursery() as nursery:
        for number in range(1, 16):
            at = desk if number % 2 else other
            nursery.start_soon(at.say, PLAYER, say(number))
            nursery.start_soon(
                at.say, "staff" if number % 2 else "sue", say(100 + number, session_id=session_id)
            )
    seqs = sorted(event["seq"] for event in (*desk.told(), *other.told()))
    assert seqs == list(range(1, len(seqs) + 1)), "told once, by one of the two"
    stored = await desk.all("SELECT id, seq FROM chat_messages ORDER BY seq")
    told = [e for e in (*desk.told(), *other.told()) if "message" in e]
    assert sorted((e["message"]["id"], e["seq"]) for e in told) == sorted(stored)
    assert len(stored) == 31
    assert desk.crashes == other.crashes == 0


async def test_two_processes_open_one_session_for_two_first_messages(
    desk: LiveDesk, other: LiveDesk
) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.say, PLAYER, say(1))
        nursery.start_soon(other.say, PLAYER, say(2))
    assert len(await desk.all("SELECT id FROM chat_sessions")) == 1
    assert len(desk.told("new-chat-request")) + len(other.told("new-chat-request")) == 1


async def test_a_process_that_was_overtaken_answers_what_is_true_by_now(
    desk: LiveDesk, other: LiveDesk
) -> None:
    """Though what it is asked changes nothing that it knows of, and so would pass no fence."""
    session_id = (await desk.say(PLAYER, say(0))).session.id
    await desk.do("staff", read(0))
    await other.say(PLAYER, say(1))
    reply = await desk.do("staff", read(1))
    assert reply.session.unread_by_staff == 0
    assert (await desk.inbox("staff"))[0].unread_by_staff == 0
    await desk.do("staff", status("resolved", session_id))
    await other.do("staff", status("waiting", session_id))
    assert (await desk.do("staff", status("resolved", session_id))).session.status == "resolved"
    await other.do("staff", status("waiting", session_id))
    assert (await desk.do("staff", commands.ChatAssign(session_id=session_id))).seq == 10


async def test_a_session_that_another_process_reopened_takes_the_players_message(
    desk: LiveDesk, other: LiveDesk
) -> None:
    session_id = (await desk.say(PLAYER, say(0))).session.id
    await desk.do("staff", status("resolved", session_id))
    await other.do("staff", status("waiting", session_id))
    assert (await desk.say(PLAYER, say(1))).session.id == session_id


async def test_a_message_sent_again_to_another_process_is_the_first_one(
    desk: LiveDesk, other: LiveDesk
) -> None:
    first = await desk.say(PLAYER, say(1))
    again = await other.say(PLAYER, say(1))
    assert again.message == first.message
    assert not other.told()
