"""This process among others on the same database: its identity, its lease, rooms left behind."""

import fcntl
import uuid
from pathlib import Path
from typing import IO

import psycopg
import structlog
import trio

from persistence import nodes
from persistence.errors import PersistenceError, Unavailable
from persistence.pool import Pool
from server.rooms import Rooms

log = structlog.stdlib.get_logger(__name__)

NODE_FILE = "node_id"
RENEWALS_PER_LEASE = 3
RETRY_S = 0.5


class Identity:
    """Which node this process is.

    The id is kept in the data folder under a lock that the kernel gives up with the process: one
    started there after a kill is the same node. While another process lives in that folder (frozen
    or not), this one gets an id of its own.

    Args:
        data_dir: the data folder, which exists.

    Attributes:
        node_id: which node.
        alone: no other process lives in the folder.
    """

    def __init__(self, data_dir: Path) -> None:
        self.alone = True
        self._file: IO[str] = (data_dir / NODE_FILE).open("a+")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.alone = False
            self.node_id = str(uuid.uuid4())
            log.warning("node_id_taken", hint="another server runs in this data folder")
            return
        self._file.seek(0)
        self.node_id = self._file.read().strip()
        if not self.node_id:
            self.node_id = str(uuid.uuid4())
            self._file.write(self.node_id)
            self._file.flush()

    def release(self) -> None:
        """Give the folder's id up."""
        self._file.close()


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
