"""What is kept of rooms, as the club's front desk gives it out: finished hands and books."""

from collections.abc import Sequence

from protocol.principal import Principal
from server import archive
from server.archive import File, HandLine
from server.clock import now_ms
from server.club_database import ClubDatabase


class RecordsDesk:
    """Finds a room and has the archive write what the asker may know of it.

    Args:
        database: the database.
    """

    def __init__(self, database: ClubDatabase) -> None:
        self._database = database

    async def hands(
        self, principal: Principal, room_id: str, before: int | None, limit: int
    ) -> Sequence[HandLine]:
        """List a room's finished hands, newest first.

        Raises:
            Refused: `not_found`, `forbidden`, `unavailable`.
        """
        room = await self._database.read_room(room_id, principal.user_id)
        async with self._database.use() as pool:
            return await archive.list_hands(pool, principal, room, before, limit)

    async def hand_history(self, principal: Principal, room_id: str, number: int) -> File:
        """Write a finished hand in PHH, with the hole cards that the asker may know.

        Raises:
            Refused: `not_found`, `forbidden`, `conflict` while it runs, `unavailable`.
        """
        room = await self._database.read_room(room_id, principal.user_id)
        async with self._database.use() as pool:
            return await archive.hand_history(pool, principal, room, number, now_ms())

    async def room_books(self, principal: Principal, room_id: str) -> File:
        """Write a room's ledger as CSV.

        Raises:
            Refused: `not_found`, `forbidden` for all but host and staff, `unavailable`.
        """
        room = await self._database.read_room(room_id, principal.user_id)
        async with self._database.use() as pool:
            return await archive.room_books(pool, principal, room)
