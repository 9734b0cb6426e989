"""LISTEN on a connection of its own, for as long as it takes.

Notifications are hints: PostgreSQL keeps none for a listener that is away. Whoever needs to know
what happened meanwhile reads it from the tables when told of a reconnection.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Any

import psycopg
import trio
from psycopg import sql

from persistence.connection import TrioConnection
from persistence.errors import Unavailable, translate
from persistence.pool import BACKOFF_FIRST_S, BACKOFF_MAX_S, application_name

logger = logging.getLogger(__name__)

Connection = TrioConnection[tuple[Any, ...]]
Connect = Callable[[], Awaitable[Connection]]

CHECK_EVERY_S = 30.0
"""A connection that is silent for so long is asked whether it is still there."""

CHECK_TIMEOUT_S = 5.0
CONNECT_TIMEOUT_S = 10


class Listener:
    """Hands notifications on, reconnecting whenever it has to.

    Args:
        connect: libpq connection string, or what makes a connection in autocommit mode; it may
            raise `Unavailable` or psycopg's errors.
        channels: what to LISTEN on.
        on_notify: called with channel and payload of each notification, in the order of commits.
        on_reconnect: called after each LISTEN but the first, before the notifications that follow:
            those sent in between are lost.

    The two functions must not block; an exception in them ends `run`.
    """

    def __init__(
        self,
        connect: Connect | str,
        channels: Sequence[str],
        on_notify: Callable[[str, str], None],
        on_reconnect: Callable[[], None],
    ) -> None:
        self._connect = _connector(connect) if isinstance(connect, str) else connect
        self._channels = tuple(channels)
        self._on_notify = on_notify
        self._on_reconnect = on_reconnect

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Listen until cancelled; "started" once the first LISTEN is in force.

        Raises:
            psycopg.Error: one that trying again does not mend.
        """
        listened_before = False
        delay_s = BACKOFF_FIRST_S
        while True:
            try:
                conn = await self._connect()
                try:
                    await self._listen(conn)
                    delay_s = BACKOFF_FIRST_S
                    if listened_before:
                        self._on_reconnect()
                    else:
                        listened_before = True
                        task_status.started()
                    await self._hand_on(conn)
                finally:
                    await conn.close()
            except psycopg.Error as exc:
                logger.warning("listener: %s", translate(exc))
            except Unavailable as exc:
                logger.warning("listener: %s", exc)
            await trio.sleep(delay_s * random.uniform(0.5, 1.0))
            delay_s = min(delay_s * 2, BACKOFF_MAX_S)

    async def _listen(self, conn: Connection) -> None:
        for channel in self._channels:
            await conn.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))

    async def _hand_on(self, conn: Connection) -> None:
        """Hand notifications on until the connection is lost."""
        while True:
            async with aclosing(conn.notifies(timeout=CHECK_EVERY_S)) as notifies:
                async for notify in notifies:
                    self._on_notify(notify.channel, notify.payload)
            with trio.move_on_after(CHECK_TIMEOUT_S) as scope:
                await conn.execute("SELECT 1")
            if scope.cancelled_caught:
                raise psycopg.OperationalError("the connection does not answer")


def _connector(conninfo: str) -> Connect:
    async def connect() -> Connection:
        return await TrioConnection.connect(
            conninfo,
            autocommit=True,
            application_name=application_name(),
            connect_timeout=CONNECT_TIMEOUT_S,
        )

    return connect
