"""Writes from outside: hears of them, and sees that every room tells its own.

Notifications only make it fast. What is to be told stands in the rooms' inboxes, which are looked
through when listening begins, whenever it begins again, and every now and then: for rooms whose
server died, and for those that could not be reached.
"""

import psycopg
import structlog
import trio

from persistence.errors import PersistenceError
from persistence.listener import Listener
from persistence.outside import CHANNEL, mend_waitlists, untold_rooms
from persistence.pool import Pool
from server.rooms import Rooms

log = structlog.stdlib.get_logger(__name__)

LOOK_EVERY_S = 3.0


class OutsideWrites:
    """The ear of a server process.

    Args:
        url: the database, for a connection of its own.
        pool: the database.
        rooms: the rooms, which are told.
        node_id: this process, which brings to life what it may own.
    """

    def __init__(self, url: str, pool: Pool, rooms: Rooms, node_id: str) -> None:
        self._url = url
        self._pool = pool
        self._rooms = rooms
        self._node_id = node_id
        self._look = trio.Event()

    async def run(self) -> None:
        """Listen and tell until cancelled.

        Raises:
            psycopg.Error: listening failed in a way that trying again does not mend.
        """
        listener = Listener(self._url, [CHANNEL], self._heard, self._look_again)
        async with trio.open_nursery() as nursery:
            await nursery.start(listener.run)
            while True:
                self._look = trio.Event()
                try:
                    await self._tell_rooms()
                    await mend_waitlists(self._pool)
                except (PersistenceError, psycopg.Error) as error:
                    log.warning("inboxes_not_read", reason=type(error).__name__)
                with trio.move_on_after(LOOK_EVERY_S):
                    await self._look.wait()

    def _heard(self, _: str, room_id: str) -> None:
        if not self._rooms.written_outside(room_id):
            self._look_again()

    def _look_again(self) -> None:
        self._look.set()

    async def _tell_rooms(self) -> None:
        """Tell every room with something in its inbox, bringing to life those that are not."""
        found = await untold_rooms(self._pool, self._node_id)
        if found:
            await self._rooms.take_up_writes(found)
