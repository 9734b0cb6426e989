"""A wire between a server and its PostgreSQL that can be cut, and cut exactly at a commit."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from enum import Enum
from functools import partial

import trio
from psycopg.conninfo import conninfo_to_dict

CHUNK = 65536
_COMMITTING = b'"Advance"'
"""Stands in the document of every commit of the journal."""


class Commit(Enum):
    """What is to happen to the next commit that passes, after which the wire is cut."""

    LOST_ON_THE_WAY = "the database never sees it"
    UNANSWERED = "the database commits it, and the answer is lost"


class DatabaseProxy:
    """The wire. Made by `database_proxy`.

    Attributes:
        url: the database through this wire.
        next_commit: what is to happen to the next commit; None: it passes.
        fallen: set when that has happened.
    """

    def __init__(self, url: str, socket_path: str) -> None:
        self.url = url
        self.next_commit: Commit | None = None
        self.fallen = trio.Event()
        self._socket_path = socket_path
        self._live: set[trio.CancelScope] = set()
        self._carrying: dict[trio.SocketStream, trio.Event] = {}
        self._whole = True

    async def cut(self) -> None:
        """Break every connection; new ones are broken too, until `mend`.

        Once it returns they are closed: what is sent then was never under way.
        """
        self._break()
        for gone in list(self._carrying.values()):
            await gone.wait()

    def mend(self) -> None:
        """Let everything through again."""
        self._whole = True

    async def carry(self, client: trio.SocketStream) -> None:
        """Carry one connection."""
        gone = self._carrying[client] = trio.Event()
        try:
            with suppress(trio.BrokenResourceError, OSError):
                async with client:
                    if self._whole:
                        async with await trio.open_unix_socket(self._socket_path) as database:
                            await self._both_ways(client, database)
        finally:
            del self._carrying[client]
            gone.set()

    def _break(self) -> None:
        self._whole = False
        for scope in list(self._live):
            scope.cancel()

    async def _both_ways(self, client: trio.SocketStream, database: trio.SocketStream) -> None:
        with trio.CancelScope() as scope:
            self._live.add(scope)
            committing = trio.Event()

            async def answers() -> None:
                with suppress(trio.BrokenResourceError):
                    while data := await database.receive_some(CHUNK):
                        if committing.is_set():
                            # What it answers goes no further: it is known to have committed.
                            self._fall()
                        await client.send_all(data)
                scope.cancel()

            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(answers)
                    with suppress(trio.BrokenResourceError):
                        while data := await client.receive_some(CHUNK):
                            if self.next_commit is not None and _COMMITTING in data:
                                if self.next_commit is Commit.LOST_ON_THE_WAY:
                                    self._fall()
                                    await trio.lowlevel.checkpoint()
                                committing.set()
                            await database.send_all(data)
                    scope.cancel()
            finally:
                self._live.discard(scope)

    def _fall(self) -> None:
        self.next_commit = None
        self._break()
        self.fallen.set()


@asynccontextmanager
async def database_proxy(database: str) -> AsyncIterator[DatabaseProxy]:
    """Lay a wire to the PostgreSQL of a URL that names a socket folder."""
    parts = conninfo_to_dict(database)
    socket_path = f"{parts['host']}/.s.PGSQL.{parts['port']}"
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listeners[0].socket.getsockname()[1]
        proxy = DatabaseProxy(
            f"postgresql://{parts['user']}@127.0.0.1:{port}/{parts['dbname']}", socket_path
        )
        nursery.start_soon(partial(trio.serve_listeners, proxy.carry, listeners))
        yield proxy
        nursery.cancel_scope.cancel()
