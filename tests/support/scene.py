"""A table in a real database, with hands at will, and what is kept of it."""

import csv
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pokerkit import HandHistory

from actors.room import RoomActor
from persistence.snapshot import StoredRoom, read_room
from protocol import commands
from protocol.commands import AnyRoomCommand
from protocol.values import ActionName, ClubRole
from server import archive
from tests.support.live_rooms import Club, ask, live_state, open_club, running
from tests.support.rooms import HOST, STAFF, principal

ROOM = "room-1"
PLAYERS = ("ann", "bob", "cleo")


class Scene:
    """A room with three players, its host watching, and hands at will."""

    def __init__(self, club: Club, actor: RoomActor) -> None:
        self.club = club
        self.actor = actor

    async def ask(self, user: str, command: AnyRoomCommand, role: ClubRole | None = None) -> None:
        self.club.now += 1
        await ask(self.actor, user, command, role=role)

    async def sit(self, user: str, seat: int, buy_in: int = 1_000) -> None:
        await self.ask(user, commands.Join(display_name=user.title()))
        await self.ask(user, commands.Seat(seat_index=seat, buy_in=buy_in))

    async def act(self, action: ActionName, amount: int | None = None) -> None:
        state = live_state(self.actor)
        assert state.clock is not None
        user = state.seats[state.clock.seat_index].user_id
        await self.ask(user, commands.Action(action=action, amount=amount))

    async def hand(self, *, quick: bool = True) -> None:
        """Play a hand: all fold to the big blind, or everybody sees the river."""
        await self.ask(HOST, commands.Start())
        while live_state(self.actor).hand is not None:
            clock = live_state(self.actor).clock
            assert clock is not None
            await self.act("FOLD" if quick else "CHECK" if clock.legal.can_check else "CALL")

    async def room(self, user: str) -> StoredRoom:
        stored = await read_room(self.club.pool, ROOM, user)
        assert stored is not None
        return stored

    async def history(
        self, user: str, number: int = 1, *, role: ClubRole | None = None, later_ms: int = 0
    ) -> HandHistory:
        file = await archive.hand_history(
            self.club.pool,
            principal(user, role),
            await self.room(user),
            number,
            self.club.now + later_ms,
        )
        assert file.name == f"ROOM-1-{number}.phh"
        return HandHistory.loads(file.text)

    async def listed(self, user: str, before: int | None = None, limit: int = 20) -> list[int]:
        room = await self.room(user)
        lines = await archive.list_hands(self.club.pool, principal(user), room, before, limit)
        return [line.number for line in lines]

    async def books(self, user: str) -> list[dict[str, str]]:
        file = await archive.room_books(self.club.pool, principal(user), await self.room(user))
        assert file.name == "ROOM-1-ledger.csv"
        return list(csv.DictReader(io.StringIO(file.text)))


@asynccontextmanager
async def table(database_url: str) -> AsyncIterator[Scene]:
    """Seat the players."""
    async with open_club(database_url) as club:
        await club.make_room(ROOM, auto_start=False)
        await club.wallets(*PLAYERS, HOST, STAFF, "dan", "eve")
        async with running(club.actor(ROOM)) as actor:
            scene = Scene(club, actor)
            for seat, user in enumerate(PLAYERS):
                await scene.sit(user, seat)
            yield scene
