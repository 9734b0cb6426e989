"""Writes from outside: hears of them, and sees that every room and chat session tells its own.

Notifications only make it fast. What is to be told stands in the inboxes, which are looked through
when listening begins, whenever it begins again, and every now and then: for those whose server
died, and for those that could not be reached.
"""

from collections.abc import Awaitable, Callable

import psycopg
import structlog
import trio

from persistence.errors import PersistenceError
from persistence.listener import Listener
from persistence.outside import (
    CHANNEL,
    CHATS_CHANNEL,
    mend_waitlists,
    untold_chats,
    untold_rooms,
)
from persistence.pool import Pool
from server.chats import Chats
from server.rooms import Rooms

log = structlog.stdlib.get_logger(__name__)

LOOK_EVERY_S = 3.0


class OutsideWrites:
    """The ear of a server process.

    Args:
        url: the database, for a connection of its own.
        pool: the database.
        rooms: the rooms, which are told.
        chats: the chat sessions, which are told.
        node_id: this process, which brings to life what it may own.
    """

    def __init__(self, url: str, pool: Pool, rooms: Rooms, chats: Chats, node_id: str) -> None:
        self._url = url
        self._pool = pool
        self._rooms = rooms
        self._chats = chats
        self._node_id = node_id
        self._round_of_rooms = _Round(self._tell_rooms)
        self._round_of_chats = _Round(self._tell_chats)

    async def run(self) -> None:
        """Listen and tell until cancelled.

        Raises:
            psycopg.Error: listening failed in a way that trying again does not mend.
        """
        channels = [CHANNEL, CHATS_CHANNEL]
        listener = Listener(self._url, channels, self._heard, self._look_again)
        async with trio.open_nursery() as nursery:
            await nursery.start(listener.run)
            nursery.start_soon(self._round_of_rooms.run)
            nursery.start_soon(self._round_of_chats.run)

    def _heard(self, channel: str, key: str) -> None:
        if channel == CHATS_CHANNEL:
            if not self._chats.written_outside(key):
                self._round_of_chats.now()
        elif not self._rooms.written_outside(key):
            self._round_of_rooms.now()

    def _look_again(self) -> None:
        self._round_of_rooms.now()
        self._round_of_chats.now()

    async def _tell_rooms(self) -> None:
        """Tell every room with something in its inbox, bringing to life those that are not."""
        found = await untold_rooms(self._pool, self._node_id)
        if found:
            await self._rooms.take_up_writes(found)
        await mend_waitlists(self._pool)

    async def _tell_chats(self) -> None:
        """Tell every chat session with something in its inbox, bringing to life those that are not.

        Nobody owns a session: of several servers that do so, the fence lets one tell.
        """
        await self._chats.take_up_writes(await untold_chats(self._pool))


class _Round:
    """Goes through inboxes every now and then, and when told to.

    Args:
        look: goes through them once.
    """

    def __init__(self, look: Callable[[], Awaitable[None]]) -> None:
        self._look = look
        self._due = trio.Event()

    def now(self) -> None:
        """Have it look as soon as it can; not at all if it is about to anyway."""
        self._due.set()

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            self._due = trio.Event()
            try:
                await self._look()
            except (PersistenceError, psycopg.Error) as error:
                log.warning("inboxes_not_read", reason=type(error).__name__)
            with trio.move_on_after(LOOK_EVERY_S):
                await self._due.wait()
