"""The database as the club and its desks use it: what is away is said as a client is told it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from persistence.errors import Unavailable
from persistence.pool import Pool
from persistence.snapshot import StoredRoom, read_room
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

    async def read_room(self, room_id: str, user_id: str) -> StoredRoom:
        """Read a room as it is stored, with what concerns a user.

        Raises:
            Refused: `bad_request` where no room is named, `not_found`, `unavailable`.
        """
        if not room_id:
            raise bad_field("room_id", "Say which room.")
        async with self.use() as pool:
            stored = await read_room(pool, room_id, user_id)
        if stored is None:
            raise Refused(ErrorCode.NOT_FOUND, "There is no such room.")
        return stored
