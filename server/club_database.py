"""The database as the club and its desks use it: what is away is said as a client is told it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from persistence.accounts import Newcomer, are_known
from persistence.errors import Unavailable
from persistence.events import Absence, Missed, missed_events
from persistence.gathering import Gathering
from persistence.pool import Pool
from persistence.snapshot import StoredRoom, read_rooms
from protocol.errors import ErrorCode, Refused, bad_field
from server.posting import unavailable
from server.readiness import Readiness

NOT_STARTED_RETRY_S = 1.0


class ClubDatabase:
    """Gives out the database, once the server has started.

    Args:
        pool: the database.
        readiness: until it says started, everything is `unavailable`.
    """

    def __init__(self, pool: Pool, readiness: Readiness) -> None:
        self._pool = pool
        self._readiness = readiness
        self._users = Gathering(partial(are_known, pool))
        self._rooms = Gathering(partial(read_rooms, pool))
        self._missed = Gathering(partial(missed_events, pool))

    @asynccontextmanager
    async def use(self) -> AsyncIterator[Pool]:
        """Give the database for the block.

        Raises:
            Refused: `unavailable`, before the block or out of it.
        """
        if not self._readiness.started:
            raise unavailable(NOT_STARTED_RETRY_S)
        try:
            yield self._pool
        except Unavailable as away:
            raise unavailable(away.retry_after_s) from None

    async def knows(self, newcomer: Newcomer) -> bool:
        """Whether a user's wallet and role stand as they should already.

        Raises:
            Refused: `unavailable`.
        """
        async with self.use():
            return await self._users.get(newcomer)

    async def read_room(self, room_id: str, user_id: str) -> StoredRoom:
        """Read a room as it is stored, with what concerns a user.

        Raises:
            Refused: `bad_request` where no room is named, `not_found`, `unavailable`.
        """
        if not room_id:
            raise bad_field("room_id", "Say which room.")
        async with self.use():
            stored = await self._rooms.get((room_id, user_id))
        if stored is None:
            raise Refused(ErrorCode.NOT_FOUND, "There is no such room.")
        return stored

    async def missed(self, absence: Absence) -> Missed | None:
        """Read what a client missed, or None if that is too much or no longer all kept.

        Raises:
            Refused: `unavailable`.
        """
        async with self.use():
            return await self._missed.get(absence)
