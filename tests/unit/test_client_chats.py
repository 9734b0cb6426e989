"""The client's mirror of a conversation: histories and events joined without hole or double."""

from __future__ import annotations

import contextlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.chat_mirror import ChatMirror, Joined
from client.messages import event_of
from game.chat import session_view
from protocol.chat_events import ChatOnline, PassingChatEvent
from protocol.commands import ChatTyping
from protocol.errors import Refused
from protocol.views import ChatMessage, ChatSession
from tests.support.chat_books import COMMANDS, PLAYER, Talk, message_id, read, received, say

Snapshot = tuple[ChatSession, list[ChatMessage]]


def snapshot(talk: Talk) -> Snapshot:
    """What a history answers."""
    messages = sorted(talk.messages.values(), key=lambda message: message.seq)
    return session_view(talk.state), messages


def mirror_of(talk: Talk) -> ChatMirror:
    mirror = ChatMirror()
    mirror.followed = True
    mirror.install(*snapshot(talk))
    return mirror


def test_events_of_chats_are_read_as_their_classes() -> None:
    talk = Talk()
    for user_id, command in (
        *((PLAYER, say(1)), ("staff", say(2)), ("staff", received(0)), ("staff", read(1))),
        ("staff", ChatTyping()),
    ):
        talk.do(user_id, command)
        for told in (*talk.to_staff, *talk.to_player):
            assert event_of(msgspec.to_builtins(told)) == told
    online = ChatOnline(online=True, channel="player-ann")
    assert event_of(msgspec.to_builtins(online)) == online


def test_an_event_counts_once_and_in_its_place() -> None:
    talk = Talk()
    mirror = mirror_of(talk)
    talk.do("staff", say(1))
    first, second, third = talk.to_staff
    assert mirror.apply(first) is Joined.NEWS
    assert mirror.apply(first) is Joined.STALE
    assert mirror.apply(third) is Joined.HOLE
    assert mirror.apply(second) is Joined.KEPT
    assert not mirror.up_to_date
    assert mirror.install(*snapshot(talk)) is Joined.NEWS
    assert (mirror.session, mirror.messages) == snapshot(talk)


def test_a_history_from_before_the_events_takes_nothing_back() -> None:
    talk = Talk()
    mirror = mirror_of(talk)
    early = snapshot(talk)
    talk.do("staff", read(0))
    (event,) = talk.to_staff
    mirror.apply(event)
    mirror.install(*early)
    assert (mirror.session, mirror.messages) == snapshot(talk)


def test_a_history_that_is_older_than_a_kept_event_is_not_enough() -> None:
    talk = Talk()
    mirror = ChatMirror()
    mirror.followed = True
    early = snapshot(talk)
    talk.do("staff", say(1))
    talk.do("sue", received(0))
    (event,) = talk.to_staff
    assert mirror.apply(event) is Joined.KEPT
    assert mirror.install(*early) is Joined.HOLE
    assert mirror.install(*snapshot(talk)) is Joined.NEWS
    assert (mirror.session, mirror.messages) == snapshot(talk)


def test_what_a_side_has_not_acknowledged_is_known() -> None:
    talk = Talk()
    talk.do(PLAYER, say(1))
    talk.do("staff", say(2))
    mirror = mirror_of(talk)
    assert mirror.not_acknowledged("staff") == [message_id(0), message_id(1)]
    assert mirror.not_acknowledged("player") == [message_id(2)]
    talk.do("staff", received(0))
    mirror.apply(talk.to_staff[0])
    assert mirror.not_acknowledged("staff") == [message_id(1)]


def test_a_conversation_that_is_not_followed_keeps_no_messages() -> None:
    talk = Talk()
    mirror = ChatMirror()
    mirror.install(session_view(talk.state), [])
    talk.do(PLAYER, say(1))
    for event in talk.to_staff:
        mirror.apply(event)
    assert mirror.session == session_view(talk.state)
    assert mirror.messages == []


STEPS = st.lists(
    st.tuples(
        st.sampled_from([PLAYER, "staff", "sue"]),
        COMMANDS,
        st.sampled_from(["told", "told", "told", "lost", "cut"]),
        st.booleans(),
    ),
    max_size=40,
)


@pytest.mark.parametrize("side", ["staff", "player"])
@given(steps=STEPS)
def test_whatever_is_lost_the_mirror_ends_as_the_session(
    side: str, steps: list[tuple[str, Any, str, bool]]
) -> None:
    talk = Talk()
    mirror = mirror_of(talk)
    on_its_way: Snapshot | None = None
    for user_id, command, fate, answered in steps:
        talk.now += 1
        with contextlib.suppress(Refused):
            talk.do(user_id, command)
            for event in talk.to_staff if side == "staff" else talk.to_player:
                if fate == "lost" or isinstance(event, PassingChatEvent):
                    continue
                if mirror.apply(event) is Joined.HOLE:
                    on_its_way = None
        if fate == "cut":
            mirror.suspend()
            on_its_way = None
        if answered and not mirror.up_to_date:
            # The answer is the session as it was when it was read, some steps ago.
            if on_its_way is not None:
                mirror.install(*on_its_way)
            on_its_way = snapshot(talk)
    mirror.suspend()
    mirror.install(*snapshot(talk))
    assert mirror.up_to_date
    session, messages = snapshot(talk)
    assert mirror.messages == messages
    if side == "player":
        # A player is not told of urgency.
        assert mirror.session is not None
        session = msgspec.structs.replace(session, urgency=mirror.session.urgency)
    assert mirror.session == session


@pytest.mark.parametrize("side", ["staff", "player"])
@given(steps=STEPS)
def test_events_alone_keep_the_mirror_as_the_session_is(
    side: str, steps: list[tuple[str, Any, str, bool]]
) -> None:
    talk = Talk()
    mirror = mirror_of(talk)
    for user_id, command, _, _ in steps:
        talk.now += 1
        with contextlib.suppress(Refused):
            talk.do(user_id, command)
            for event in talk.to_staff if side == "staff" else talk.to_player:
                if not isinstance(event, PassingChatEvent):
                    assert mirror.apply(event) is Joined.NEWS
        session, messages = snapshot(talk)
        if side == "player":
            session = msgspec.structs.replace(session, urgency="normal")
        assert mirror.session == session
        assert mirror.messages == messages
