"""Rooms that are brought to life on demand, over a real database."""

from collections.abc import AsyncIterator
from unittest.mock import create_autospec

import pytest
import trio

from actors.supervisor import Intensity, Supervisor
from protocol import commands
from protocol.errors import ErrorCode, Refused
from protocol.ids import RoomId, room_channel
from protocol.replies import Joined
from server.chats import Chats
from server.rooms import Rooms
from server.staff_desk import StaffDesk
from tests.support.live_rooms import AS_JOURNAL, Club, Socket, open_club
from tests.support.rooms import HOST, principal

pytestmark = pytest.mark.fail_after(20)

BREAK = AS_JOURNAL + "UPDATE rooms SET next_settings = '[]' WHERE id = 'room-1'"
MEND = AS_JOURNAL + "UPDATE rooms SET next_settings = NULL WHERE id = 'room-1'"


@pytest.fixture
async def club(database_url: str) -> AsyncIterator[Club]:
    async with open_club(database_url) as made:
        await made.make_room()
        await made.wallets("ann")
        yield made


async def execute(club: Club, statement: str) -> None:
    async with club.pool.connection() as conn:
        await conn.execute(statement.encode())


@pytest.fixture
async def rooms(club: Club, nursery: trio.Nursery) -> Rooms:
    supervisor = Supervisor()
    await nursery.start(supervisor.run)
    return Rooms(
        supervisor=supervisor,
        services=club.services,
        intensity=Intensity(2, 60.0),
        timeout_s=15.0,
        on_crash=lambda: None,
        on_quarantine=lambda _: None,
    )


async def set_aside(club: Club, rooms: Rooms) -> None:
    """Make the room crash too often."""
    await execute(club, BREAK)
    for _ in range(2):
        with pytest.raises(Refused) as caught:
            await rooms.ask("room-1", commands.Join(), principal("ann"), "test")
        assert caught.value.code is ErrorCode.ROOM_UNAVAILABLE
    assert list(rooms.quarantined()) == ["room-1"]


async def test_a_room_that_cannot_be_read_is_set_aside_until_it_is_lifted(
    club: Club, rooms: Rooms
) -> None:
    await set_aside(club, rooms)
    with pytest.raises(Refused) as caught:
        await rooms.ask("no-room", commands.Join(), principal("ann"), "test")
    assert caught.value.code is ErrorCode.NOT_FOUND

    await execute(club, MEND)
    rooms.lift("room-1")
    reply = await rooms.ask("room-1", commands.Join(), principal("ann"), "test")
    assert isinstance(reply, Joined)
    assert not rooms.quarantined()
    assert not rooms.lift("room-1")


async def test_two_of_staff_may_lift_a_room_at_once(club: Club, rooms: Rooms) -> None:
    await set_aside(club, rooms)
    await execute(club, MEND)
    # The desk asks for nothing of chats here.
    staff = StaffDesk(club.database(), rooms, create_autospec(Chats, instance=True), 0)
    async with trio.open_nursery() as both:
        for name in ("sue", "sam"):
            both.start_soon(staff.lift_room, principal(name, "staff"), "room-1")
    await rooms.ask("room-1", commands.Join(), principal("ann"), "test")
    assert not rooms.quarantined()


async def test_who_gives_up_while_a_room_lets_them_in_is_not_left_behind_in_it(
    club: Club, rooms: Rooms
) -> None:
    host, channel = principal(HOST), room_channel(RoomId("room-1"))
    await rooms.attach("room-1", host, Socket(HOST))
    gave_up, stays = Socket(HOST), Socket(HOST)
    with trio.CancelScope() as scope:
        scope.cancel()
        await rooms.attach("room-1", host, gave_up)
    # The room takes its messages in their order.
    await rooms.attach("room-1", host, stays)
    assert club.hub.subscription(channel, stays) is not None
    assert club.hub.subscription(channel, gave_up) is None
