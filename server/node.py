"""This process among others on the same database: its lease, rooms left behind."""

import psycopg
import structlog
import trio

from persistence import nodes
from persistence.errors import PersistenceError, Unavailable
from persistence.pool import Pool
from server.garbage import left_alone
from server.rooms import Rooms

log = structlog.stdlib.get_logger(__name__)

RENEWALS_PER_LEASE = 3
RETRY_S = 0.5


class Node:
    """The process's place in `nodes`.

    Args:
        pool: the database.
        node_id: who it is.
        address: where clients reach it.
        lease_s: how long its rooms stay its own without a sign of life, in seconds.

    Attributes:
        reachable: whether the lease could be renewed the last time.
    """

    def __init__(self, pool: Pool, node_id: str, *, address: str, lease_s: float) -> None:
        self.id = node_id
        self.reachable = False
        self._pool = pool
        self._address = address
        self._lease_s = lease_s

    async def begin(self, rooms: Rooms) -> None:
        """Go on with every table, however often the database goes away meanwhile."""
        while True:
            try:
                with left_alone():
                    await self.continue_rooms(rooms)
                return
            except Unavailable as away:
                log.warning("waiting_for_database", reason=away.reason)
                await trio.sleep(RETRY_S)

    async def continue_rooms(self, rooms: Rooms) -> int:
        """Enter the node and go on with every room that it had, or that nobody has.

        Returns:
            How many rooms go on.

        Raises:
            Unavailable: the database is away.
        """
        await nodes.register(self._pool, self.id, self._address, self._lease_s)
        found = await nodes.live_rooms(self._pool, self.id)
        taken = await rooms.take_over(found, restarted=True)
        await nodes.renew(self._pool, self.id, self._lease_s)
        self.reachable = True
        return taken

    async def run(self, rooms: Rooms) -> None:
        """Renew the lease, let go of rooms that were lost, take over those left behind."""
        while True:
            await trio.sleep(self._lease_s / RENEWALS_PER_LEASE)
            try:
                await self._renew(rooms)
                self.reachable = True
            except (PersistenceError, psycopg.Error) as error:
                self.reachable = False
                log.warning("lease_not_renewed", reason=type(error).__name__)

    async def resign(self) -> None:
        """Give the lease up, so that others may take the rooms at once."""
        try:
            await nodes.resign(self._pool, self.id)
        except PersistenceError:
            log.info("lease_left_to_expire")

    async def _renew(self, rooms: Rooms) -> None:
        for room_id in await nodes.lost_rooms(self._pool, self.id, rooms.live_ids()):
            log.warning("room_lost", room_id=room_id)
            rooms.lost(room_id)
        await nodes.renew(self._pool, self.id, self._lease_s)
        orphans = await nodes.live_rooms(self._pool, None)
        if orphans:
            log.info("rooms_taken_over", rooms=await rooms.take_over(orphans, restarted=False))
