"""Who is there, as chats tell it: to staff of players, to players of staff."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from protocol import commands
from protocol.ids import STAFF_PORTAL
from server.chat_presence import ChatPresence
from tests.support.chat_books import PLAYER, say
from tests.support.live_chats import LiveDesk, make_people, open_desk
from tests.support.live_rooms import Socket

pytestmark = pytest.mark.fail_after(60)

OWN = f"player-{PLAYER}"


@pytest.fixture
async def desk(database_url: str) -> AsyncIterator[LiveDesk]:
    async with open_desk(database_url) as made:
        await make_people(made.pool, PLAYER, "bob")
        made.hub._on_presence = ChatPresence(made.hub, made.desk).note
        yield made


def online(socket: Socket) -> list[Any]:
    return [event["online"] for event in socket.got if event["type"] == "chat-online"]


async def test_staff_hear_of_a_players_first_and_last_socket(desk: LiveDesk) -> None:
    session_id = (await desk.say(PLAYER, say(1))).session.id
    another = Socket(PLAYER)
    desk.hub.subscribe(OWN, another)
    desk.hub.drop(desk.player)
    assert online(desk.staff) == []
    desk.hub.drop(another)
    assert online(desk.staff) == [False]
    desk.hub.subscribe(OWN, another)
    assert online(desk.staff) == [False, True]
    event = desk.staff.got[-1]
    assert (event["session_id"], event["player_id"]) == (session_id, PLAYER)
    assert (event["channel"], event["seq"], event["private"]) == (STAFF_PORTAL, 0, True)
    assert online(another) == []


async def test_nothing_is_told_of_players_without_an_open_session(desk: LiveDesk) -> None:
    desk.hub.drop(desk.player)
    session_id = (await desk.say(PLAYER, say(1))).session.id
    await desk.do("staff", commands.SetChatStatus(session_id=session_id, status="resolved"))
    desk.hub.subscribe(OWN, desk.player)
    desk.hub.drop(Socket("bob"))
    assert online(desk.staff) == []


async def test_players_hear_of_the_first_and_the_last_of_the_staff(desk: LiveDesk) -> None:
    await desk.say(PLAYER, say(1))
    bob = Socket("bob")
    desk.hub.subscribe("player-bob", bob)
    sue = Socket("sue", is_staff=True)
    desk.hub.subscribe(STAFF_PORTAL, sue)
    desk.hub.drop(desk.staff)
    assert online(desk.player) == []
    desk.hub.drop(sue)
    desk.hub.subscribe(STAFF_PORTAL, sue)
    desk.hub.subscribe(STAFF_PORTAL, desk.staff)
    assert online(desk.player) == [False, True]
    told = next(event for event in desk.player.got if event["type"] == "chat-online")
    assert set(told) == {"type", "channel", "seq", "at", "private", "online"}
    assert online(bob) == [], "who talks with nobody is told nothing"
