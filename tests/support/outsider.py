"""A room that is watched while somebody writes past its server."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from actors.room import RoomActor
from persistence import hydration
from persistence.audit import audit
from protocol.ids import STAFF_PORTAL, UserId, player_channel
from tests.support.live_rooms import Club, Socket, attach, live_state, running
from tests.support.rooms import HOST, comparable

Event = dict[str, Any]
ROOM = "room-1"


class Watched:
    """A room with its actor alive, and sockets that keep what they are told."""

    def __init__(self, club: Club, actor: RoomActor) -> None:
        self.club = club
        self.actor = actor
        self.host = Socket(HOST)
        self.staff = Socket("staff", is_staff=True)
        self.own: dict[str, Socket] = {}

    async def told(self) -> list[Event]:
        """Have the actor look at what was written; return the events that the room was told."""
        self.actor.written_outside()
        # Answered once everything before it is done.
        await attach(self.actor, HOST, Socket(HOST))
        told, self.host.got = self.host.got, []
        return told

    def of(self, user_id: str) -> list[Event]:
        """Return what a user was told on their own channel since the last time."""
        socket = self.own[user_id]
        got, socket.got = socket.got, []
        return got

    async def assert_as_stored(self) -> None:
        """Hold that the actor has what the database has, and that nothing is left to tell."""
        stored = await hydration.load_room(self.club.pool, ROOM)
        assert stored is not None
        assert comparable(stored, seen=False) == comparable(live_state(self.actor), seen=False)
        assert stored.untold == []
        status = await self.club.one("SELECT status FROM rooms WHERE id = %s", ROOM)
        assert status == stored.status


@asynccontextmanager
async def watched(club: Club, *own: str) -> AsyncIterator[Watched]:
    """Run the room's actor with its host and staff listening, and users on their own channels."""
    async with running(club.actor()) as actor:
        room = Watched(club, actor)
        (await attach(actor, HOST, room.host)).release(-1)
        club.hub.subscribe(STAFF_PORTAL, room.staff, operator=True)
        for user_id in own:
            room.own[user_id] = Socket(user_id)
            club.hub.subscribe(player_channel(UserId(user_id)), room.own[user_id], operator=False)
        yield room
        await room.told()
        await room.assert_as_stored()
    audited = await audit(club.pool, replay_hands=True)
    assert audited.clean, audited.findings


def names(events: list[Event]) -> list[str]:
    """List the types of events."""
    return [event["type"] for event in events]
