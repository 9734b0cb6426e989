"""The actor of chats over a real database: at most once, hydration, every way to fail."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any
from unittest import mock

import pytest
import trio
import trio.testing

from actors.chat import outcomes
from game.chat import handling
from persistence import chats
from persistence.chats import load_session
from persistence.errors import OutcomeUnknown, RowsRefused, Superseded, Unavailable
from protocol import commands
from protocol.errors import ErrorCode, Refused
from tests.support.chat_books import PLAYER, say, who
from tests.support.database_proxy import Commit, database_proxy
from tests.support.live_chats import LiveDesk, comparable, make_people, open_desk
from tests.support.rooms import AWAY

pytestmark = pytest.mark.fail_after(60)

ONCE = "11111111-1111-4111-8111-111111111111"


@pytest.fixture
async def desk(database_url: str) -> AsyncIterator[LiveDesk]:
    async with open_desk(database_url) as made:
        await make_people(made.pool, PLAYER, "bob")
        yield made


async def refused(coroutine: Any) -> Refused:
    with pytest.raises(Refused) as caught:
        await coroutine
    return caught.value


async def matches_database(desk: LiveDesk, session_id: str) -> None:
    stored = await load_session(desk.pool, session_id)
    assert stored is not None
    assert comparable(desk.state(session_id)) == comparable(stored.state)


def resolve(**fields: Any) -> commands.SetChatStatus:
    return commands.SetChatStatus(status="resolved", **fields)


# What is told is stored


async def test_nothing_is_told_before_it_is_stored(desk: LiveDesk) -> None:
    async def look() -> None:
        assert not desk.staff.got
        assert not desk.player.got
        assert await desk.texts() == []

    desk.journal.next = [look]
    sent = await desk.say(PLAYER, say(1, "hello"))
    assert await desk.texts() == ["hello"]
    assert [e["type"] for e in desk.staff.got] == ["new-chat-request"]
    assert [e["type"] for e in desk.player.got] == ["player-confirmation"]
    await matches_database(desk, sent.session.id)


async def test_what_was_not_stored_is_told_to_nobody(desk: LiveDesk) -> None:
    desk.journal.next = [AWAY]
    away = await refused(desk.say(PLAYER, say(1)))
    assert away.code is ErrorCode.UNAVAILABLE
    assert away.retry_after_s
    assert (desk.staff.got, desk.player.got) == ([], [])
    assert (await desk.say(PLAYER, say(1))).seq == 1
    assert len(desk.staff.got) == 1


async def test_what_waits_is_committed_as_one_unit(desk: LiveDesk) -> None:
    sent = await desk.say(PLAYER, say(0))
    async with trio.open_nursery() as nursery:

        async def meanwhile() -> None:
            # The commit of the first waits until all of the others are in the mailbox.
            for number in range(2, 8):
                nursery.start_soon(desk.say, PLAYER, say(number))
            await trio.testing.wait_all_tasks_blocked()

        desk.journal.next = [meanwhile]
        nursery.start_soon(desk.say, PLAYER, say(1))
    assert len(desk.journal.units) == 3
    assert sorted(e["seq"] for e in desk.told()) == list(range(1, 9))
    await matches_database(desk, sent.session.id)


# At most once


async def test_a_message_sent_twice_at_once_is_one(desk: LiveDesk) -> None:
    replies = []

    async def send() -> None:
        replies.append(await desk.say(PLAYER, say(1)))

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(send)
    assert {reply.message.seq for reply in replies} == {1}
    assert len({reply.session.id for reply in replies}) == 1
    assert len(desk.told()) == 1
    assert len(await desk.texts()) == 1


@pytest.mark.parametrize("over", [False, True])
async def test_a_message_sent_again_to_a_fresh_actor_answers_the_first_one(
    desk: LiveDesk, over: bool
) -> None:
    first = await desk.say(PLAYER, say(1, "once"))
    await desk.do("staff", commands.ChatReceived(message_id=first.message.id))
    if over:
        await desk.do("staff", resolve(session_id=first.session.id))
    await desk.rest()
    told = len(desk.told())
    again = await desk.say(PLAYER, say(1, "once more"))
    assert again.session.id == first.session.id
    assert (again.message.seq, again.message.message_text) == (1, "once")
    assert again.message.status == "received"
    assert len(desk.told()) == told
    assert await desk.texts() == ["once"]
    assert desk.crashes == 0
    assert (desk.desk.open_session(PLAYER) is None) is over


async def test_an_id_of_another_writer_is_a_conflict(desk: LiveDesk) -> None:
    first = await desk.say(PLAYER, say(1))
    answer = say(1, session_id=first.session.id)
    for _ in range(2):
        conflict = await refused(desk.say("staff", answer))
        assert (conflict.code, conflict.details) == (
            ErrorCode.CONFLICT,
            {"field": "message_id"},
        )
        await desk.rest()
    assert await desk.texts() == ["hello"]
    # Somebody else's conversation is another matter.
    assert (await desk.say("bob", say(1))).message.player_id == "bob"


@pytest.mark.parametrize("rest", [False, True])
async def test_status_and_assignment_happen_once_for_an_id(desk: LiveDesk, rest: bool) -> None:
    session_id = (await desk.say(PLAYER, say(1))).session.id
    once = resolve(session_id=session_id, command_id=ONCE)
    first = await desk.do("staff", once)
    await desk.do("sue", commands.SetChatStatus(session_id=session_id, status="active"))
    if rest:
        await desk.rest()
    again = await desk.do("staff", once)
    assert (again.seq, again.session.status) == (first.seq, "resolved")
    assert (await desk.inbox("staff"))[0].status == "in_progress"
    other = commands.ChatAssign(session_id=session_id, command_id=ONCE)
    conflict = await refused(desk.do("staff", other))
    assert (conflict.code, conflict.details) == (ErrorCode.CONFLICT, {"field": "command_id"})
    # Another user's command may have the same id.
    await desk.do("sue", commands.ChatAssign(session_id=session_id, command_id=ONCE))


async def test_every_constraint_that_outcomes_know_is_in_the_schema(desk: LiveDesk) -> None:
    named = {value for name, value in vars(outcomes).items() if name.endswith("_KEY")}
    assert len(named) == 4
    found = await desk.all(
        "SELECT indexrelid::regclass::text FROM pg_index WHERE indisunique "
        "AND indexrelid::regclass::text = ANY(%s)",
        sorted(named),
    )
    assert {name for (name,) in found} == named


# Failure


@pytest.mark.parametrize("opens", [False, True])
@pytest.mark.parametrize("happened", [False, True])
async def test_an_unknown_outcome_ends_in_the_true_answer(
    desk: LiveDesk, happened: bool, opens: bool
) -> None:
    if not opens:
        await desk.say(PLAYER, say(0))
    desk.journal.commit_first = happened
    desk.journal.next = [OutcomeUnknown("gone")]
    sent = await desk.say(PLAYER, say(1))
    assert sent.message.seq == (1 if opens else 2)
    assert [e["seq"] for e in desk.told()] == [1] if opens else [1, 2]
    assert [e["seq"] for e in desk.player.got] == [e["seq"] for e in desk.told()]
    await matches_database(desk, sent.session.id)


@pytest.mark.parametrize("opens", [False, True])
async def test_a_unit_that_comes_after_it_was_given_up_is_told_once(
    desk: LiveDesk, opens: bool
) -> None:
    """The database got it, and begins with it when everything seems to be over."""

    async def late() -> None:
        await desk.journal.inner.commit(desk.journal.units[-2], lambda: None)

    if not opens:
        await desk.say(PLAYER, say(0))
    desk.journal.next = [OutcomeUnknown("gone"), late]
    sent = await desk.say(PLAYER, say(1))
    assert [e["message"]["id"] for e in desk.told()][-1] == sent.message.id
    assert len(desk.told()) == sent.seq == (1 if opens else 2)
    assert desk.crashes == 0
    await matches_database(desk, sent.session.id)


@pytest.mark.parametrize("commit", list(Commit))
async def test_a_connection_that_breaks_during_a_commit(database_url: str, commit: Commit) -> None:
    async with database_proxy(database_url) as proxy, open_desk(proxy.url) as desk:
        await make_people(desk.pool, PLAYER)
        first = await desk.say(PLAYER, say(1))
        async with trio.open_nursery() as nursery:
            proxy.next_commit = commit
            nursery.start_soon(desk.say, PLAYER, say(2))
            await proxy.fallen.wait()
            proxy.mend()
        assert [e["seq"] for e in desk.told()] == [1, 2]
        assert [e["seq"] for e in desk.player.got] == [1, 2]
        assert len(await desk.texts()) == 2
        await matches_database(desk, first.session.id)


async def test_a_database_that_is_away_is_unavailable_and_heals(database_url: str) -> None:
    async with (
        database_proxy(database_url) as proxy,
        open_desk(proxy.url, timeout_s=0.05) as desk,
    ):
        session_id = (await desk.say(PLAYER, say(1))).session.id
        await proxy.cut()
        for command in (say(2), say(3)):
            away = await refused(desk.do(PLAYER, command))
            assert away.code is ErrorCode.UNAVAILABLE
            assert away.retry_after_s
        away = await refused(desk.history(PLAYER))
        assert away.code is ErrorCode.UNAVAILABLE
        assert len(desk.told()) == 1
        proxy.mend()
        sent = None
        while sent is None:
            with contextlib.suppress(Refused):
                sent = await desk.say(PLAYER, say(2))
        assert (sent.session.id, sent.seq) == (session_id, 2)
        assert [e["seq"] for e in desk.told()] == [1, 2]
        assert desk.crashes == 0


async def test_a_superseded_session_is_read_back_and_decides_again(desk: LiveDesk) -> None:
    sent = await desk.say(PLAYER, say(1))
    desk.journal.next = [Superseded(sent.session.id)]
    assert (await desk.say(PLAYER, say(2))).seq == 2
    assert len(desk.journal.units) == 3
    assert [e["seq"] for e in desk.told()] == [1, 2]


async def test_a_poisonous_command_hurts_its_sender_only(desk: LiveDesk) -> None:
    session_id = (await desk.say(PLAYER, say(0))).session.id
    replies: dict[int, Any] = {}

    async def send(number: int) -> None:
        replies[number] = await desk.say(PLAYER, say(number))

    async def poisoned() -> None:
        replies[-1] = await refused(desk.do("staff", resolve(session_id=session_id)))

    async with trio.open_nursery() as nursery:

        async def meanwhile() -> None:
            for task in (lambda: send(2), poisoned, lambda: send(3)):
                nursery.start_soon(task)
            await trio.testing.wait_all_tasks_blocked()

        desk.journal.next = [meanwhile]
        with mock.patch.object(handling, "enter_status", side_effect=ZeroDivisionError):
            nursery.start_soon(send, 1)
            while len(replies) < 4:  # noqa: ASYNC110 - four tasks
                await trio.sleep(0.001)
    assert replies[-1].code is ErrorCode.INTERNAL
    assert set(replies[-1].details) == {"id"}
    assert sorted(e["seq"] for e in desk.told()) == [1, 2, 3, 4]
    assert desk.crashes == 1
    await matches_database(desk, session_id)


async def test_rows_that_the_database_does_not_take_hurt_their_sender_only(
    desk: LiveDesk,
) -> None:
    await desk.say(PLAYER, say(0))
    # Past the frame's decoder, which refuses it, and so what is left is our own bug.
    internal = await refused(desk.say(PLAYER, say(1, "a\x00b")))
    assert internal.code is ErrorCode.INTERNAL
    assert (await desk.say(PLAYER, say(2))).seq == 2
    assert desk.crashes == 1


async def test_a_session_that_crashes_again_and_again_is_quarantined_alone(
    desk: LiveDesk,
) -> None:
    session_id = (await desk.say(PLAYER, say(1))).session.id
    desk.journal.next = [RowsRefused("22021") for _ in range(6)]
    for number in range(2, 8):
        internal = await refused(desk.say(PLAYER, say(number)))
        assert internal.code in (ErrorCode.INTERNAL, ErrorCode.ROOM_UNAVAILABLE)
    out_of_order = await refused(desk.say(PLAYER, say(2)))
    assert out_of_order.code is ErrorCode.ROOM_UNAVAILABLE
    assert set(desk.chats.quarantined()) == {session_id}
    assert (await desk.say("bob", say(1))).seq == 1
    # Nobody else's business, even so.
    hidden = await refused(desk.do("bob", say(5, session_id=session_id)))
    assert hidden.code is ErrorCode.NOT_FOUND
    desk.chats.lift(session_id)
    assert (await desk.say(PLAYER, say(2))).seq == 2


async def test_a_session_leaves_memory_and_comes_back_as_it_was(desk: LiveDesk) -> None:
    sent = await desk.say(PLAYER, say(1))
    await desk.say("staff", say(2, session_id=sent.session.id))
    before = comparable(desk.state(sent.session.id))
    await desk.rest()
    await desk.do(PLAYER, commands.ChatTyping(typing=True))
    assert comparable(desk.state(sent.session.id)) == before


async def test_a_session_that_nobody_opened_leaves_nothing_behind(desk: LiveDesk) -> None:
    unknown = await refused(desk.do("staff", resolve(session_id="nobody")))
    assert unknown.code is ErrorCode.NOT_FOUND
    while len(desk.chats):  # noqa: ASYNC110 - it says nothing
        await trio.sleep(0.001)


async def test_a_database_that_falls_silent_while_it_is_asked_back(desk: LiveDesk) -> None:
    """Before an answer that passes no fence."""
    session_id = (await desk.say(PLAYER, say(1))).session.id
    with mock.patch.object(chats, "place_of", side_effect=Unavailable("away")):
        away = await refused(desk.do("staff", commands.ChatAssign(session_id="x" + session_id)))
        assert away.code is ErrorCode.NOT_FOUND
        again = commands.SetChatStatus(session_id=session_id, status="waiting")
        assert (await refused(desk.do("staff", again))).code is ErrorCode.UNAVAILABLE
    assert (await desk.do("staff", again)).seq == 1


# Texts


@pytest.mark.parametrize(
    "text",
    [
        *("x" * 4000, "\U0001f0a1" * 4000, "<script>alert('x')</script> & \"q\""),
        *("\x01\x02\x1b[31m\x7f\r\n\t", "\u202e\u2028\ufeff", "'); DROP TABLE chat_messages; --"),
        *("%s %(x)s {x} \\u0000 \\", "/nosuchshortcut"),
    ],
)
async def test_texts_are_stored_and_read_as_they_were_written(desk: LiveDesk, text: str) -> None:
    sent = await desk.say(PLAYER, say(1, text))
    assert await desk.texts() == [text]
    assert (await desk.history(PLAYER)).messages == [sent.message]
    assert desk.told()[0]["message"]["message_text"] == text
    (pushed,) = await desk.all("SELECT body FROM push_notifications")
    assert pushed == (text[:100],)
    assert sent.session.initial_message == text
    assert who(PLAYER).name == sent.message.sender_name
