"""The waitlists of the club as one user uses them: waiting, taking the seat, and running a queue.

What a user is told of their own place and of seats held for them comes on their own channel, and is
kept here by table. It is not sent again after a lost connection: `join` tells how one stands.
"""

import trio

from client.messages import AnyEvent
from client.room import Asks
from protocol import commands
from protocol.events import SeatOffered, WaitlistEnded, WaitlistPosition
from protocol.replies import EntryReply, WaitlistAccepted, WaitlistJoined, WaitlistSeated


class Waitlists:
    """The user's side of all waitlists. Its methods raise what `CardroomClient.ask` raises.

    Attributes:
        places: the user's place in line, as last told, by table.
        offers: the seats that are held for the user, by table.

    Args:
        client: sends the commands.
    """

    def __init__(self, client: Asks) -> None:
        self.places: dict[str, WaitlistPosition] = {}
        self.offers: dict[str, SeatOffered] = {}
        self._client = client
        self._news = trio.Event()

    def take(self, event: AnyEvent) -> None:
        """Take an event of the user's own channel."""
        match event:
            case WaitlistPosition():
                self.places[event.table_id] = event
            case SeatOffered():
                self.offers[event.table_id] = event
            case WaitlistEnded():
                self.places.pop(event.table_id, None)
                self.offers.pop(event.table_id, None)
            case _:
                return
        self._news.set()
        self._news = trio.Event()

    async def offered(self, table_id: str) -> SeatOffered:
        """Wait until a seat at a table is held for the user; at once if one is."""
        while table_id not in self.offers:
            await self._news.wait()
        return self.offers[table_id]

    # For oneself

    async def join(
        self, table_id: str, *, seat_number: int | None = None, notes: str | None = None
    ) -> WaitlistJoined:
        """Wait for a seat; who waits already gets the entry that they have."""
        command = commands.WaitlistJoin(room_id=table_id, seat_number=seat_number, notes=notes)
        return await self._client.ask(command, WaitlistJoined)

    async def leave(self, table_id: str) -> EntryReply:
        """Wait no longer; a seat that was offered is declined."""
        return await self._client.ask(commands.WaitlistLeave(room_id=table_id), EntryReply)

    async def accept(self, offer: SeatOffered, buy_in: int) -> WaitlistAccepted:
        """Take the seat that is held for the user."""
        command = commands.WaitlistAccept(
            room_id=offer.table_id, entry_id=offer.entry_id, buy_in=buy_in
        )
        return await self._client.ask(command, WaitlistAccepted)

    async def decline(self, offer: SeatOffered) -> EntryReply:
        """Let the next in line have the seat."""
        command = commands.WaitlistDecline(room_id=offer.table_id, entry_id=offer.entry_id)
        return await self._client.ask(command, EntryReply)

    # For others (host and staff)

    async def add(
        self, table_id: str, *, player_name: str | None = None, player_id: str | None = None
    ) -> WaitlistJoined:
        """Have somebody else wait: by id, or by name only who has no client."""
        command = commands.WaitlistJoin(
            room_id=table_id, player_id=player_id, player_name=player_name
        )
        return await self._client.ask(command, WaitlistJoined)

    async def call(self, table_id: str, entry_id: str) -> EntryReply:
        """Call somebody out of turn, or again."""
        command = commands.WaitlistCall(room_id=table_id, entry_id=entry_id)
        return await self._client.ask(command, EntryReply)

    async def seat(
        self,
        table_id: str,
        entry_id: str,
        *,
        seat_index: int | None = None,
        buy_in: int | None = None,
    ) -> WaitlistSeated:
        """Seat somebody from their wallet; without a buy-in, note that they were seated by hand."""
        command = commands.WaitlistSeat(
            room_id=table_id, entry_id=entry_id, seat_index=seat_index, buy_in=buy_in
        )
        return await self._client.ask(command, WaitlistSeated)

    async def move(self, table_id: str, entry_id: str, position: int) -> EntryReply:
        """Put somebody on another place in line."""
        command = commands.WaitlistMove(room_id=table_id, entry_id=entry_id, position=position)
        return await self._client.ask(command, EntryReply)

    async def remove(self, table_id: str, entry_id: str) -> EntryReply:
        """Take somebody off the waitlist."""
        command = commands.WaitlistRemove(room_id=table_id, entry_id=entry_id)
        return await self._client.ask(command, EntryReply)

    async def no_show(self, table_id: str, entry_id: str) -> EntryReply:
        """Note that somebody who was called is not there."""
        command = commands.WaitlistNoShow(room_id=table_id, entry_id=entry_id)
        return await self._client.ask(command, EntryReply)
