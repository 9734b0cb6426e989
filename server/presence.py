"""Who is there: written down in batches, and acted on when a grace time is over."""

from collections.abc import Iterable
from typing import Protocol

import psycopg
import structlog
import trio

from actors.hub import Subscriber
from game.presence import Gone, Seen, Unseen
from persistence import events, push, seen, tokens
from persistence.errors import PersistenceError
from persistence.pool import Pool
from persistence.seen import SeenAt
from protocol.ids import RoomId, room_channel, room_of
from server.clock import now_ms
from server.rooms import Rooms

log = structlog.stdlib.get_logger(__name__)

UPKEEP_EVERY_S = 60.0
FLUSH_ATTEMPTS = 5
FLUSH_PAUSE_S = 0.02
"""Long enough for the commit to be over in which a room was found."""
PAUSE_FORGIVEN_FROM_S = 5.0
"""A pause longer than this, in which the process stood still or the database was away, counts
against nobody: clients could not be seen however much they tried."""


class Listening(Subscriber, Protocol):
    """A socket, as far as being seen goes."""

    def take_seen_at(self) -> int | None:
        """Return when the last message came (UTC, ms) if one came since the last call."""


class Presence:
    """Last signs of life, the grace times that count from them, and the upkeep of old rows.

    Args:
        pool: the database.
        rooms: the live rooms, which are told what follows.
        node_id: this process, which looks after its own rooms.
        sockets: the sockets that are open now.
        flush_s: how often signs of life are written, in seconds.
        away_ms, free_ms, drop_ms: unseen for so long a player is told as disconnected, loses the
            seat, a spectator is dropped.
        silent_ms: a socket that says nothing for so long is closed, and then some.
        token_life_ms: how long a rejoin token lives past its user's last sign of life.
        event_retention_ms: how long events, command outcomes and push notifications that are done
            with are kept.
    """

    def __init__(
        self,
        *,
        pool: Pool,
        rooms: Rooms,
        node_id: str,
        sockets: Iterable[Listening],
        flush_s: float,
        away_ms: int,
        free_ms: int,
        drop_ms: int,
        silent_ms: int,
        token_life_ms: int,
        event_retention_ms: int,
    ) -> None:
        self._pool = pool
        self._rooms = rooms
        self._node_id = node_id
        self._sockets = sockets
        self._flush_s = flush_s
        self._away_ms = away_ms
        self._free_ms = free_ms
        self._drop_ms = drop_ms
        self._silent_ms = silent_ms
        self._token_life_ms = token_life_ms
        self._event_retention_ms = event_retention_ms
        self._noted: dict[tuple[str, str], SeenAt] = {}

    def note(self, channel: str, user_id: str, present: bool, *, at: int | None = None) -> None:
        """Note that a user's first socket in a channel came, or the last one went.

        They were there until `at` (UTC, ms), None being now.
        """
        room_id = room_of(channel)
        if room_id is not None:
            before = self._noted.get((room_id, user_id))
            seen_at = now_ms() if at is None else max(at, before.at if before else 0)
            self._noted[room_id, user_id] = SeenAt(room_id, user_id, seen_at, present)

    def touch(self, room_id: str, user_id: str) -> None:
        """Note that a user did something in a room without a socket."""
        present = self._rooms.hub.connected(room_channel(RoomId(room_id)), user_id)
        self._noted[room_id, user_id] = SeenAt(room_id, user_id, now_ms(), present)

    async def run(self) -> None:
        """Write, look and tell, over and over, until cancelled."""
        looked = trio.current_time()
        while True:
            await trio.sleep(self._flush_s)
            try:
                await self.flush()
                pause_s = trio.current_time() - looked - self._flush_s
                if pause_s > PAUSE_FORGIVEN_FROM_S:
                    log.warning("pause_forgiven", seconds=round(pause_s, 1))
                    ms = round(pause_s * 1000)
                    await seen.forgive(self._pool, self._node_id, ms=ms, now=now_ms())
                looked = trio.current_time()
                await self._look()
            except (PersistenceError, psycopg.Error) as error:
                log.warning("presence_not_written", reason=type(error).__name__)

    async def upkeep(self) -> None:
        """Delete dead tokens and old rows, over and over, until cancelled."""
        while True:
            await trio.sleep(UPKEEP_EVERY_S)
            try:
                await tokens.sweep(self._pool, now_ms())
                await events.forget_old(self._pool, now_ms() - self._event_retention_ms)
                await push.forget_finished(self._pool, now_ms() - self._event_retention_ms)
            except (PersistenceError, psycopg.Error) as error:
                log.warning("upkeep_failed", reason=type(error).__name__)

    async def flush(self) -> None:
        """Write who was seen since the last time.

        Raises:
            Unavailable: what was to be written is kept for the next time.
        """
        hub = self._rooms.hub
        for socket in tuple(self._sockets):
            at = socket.take_seen_at()
            if at is None:
                continue
            for channel in hub.channels_of(socket):
                room_id = room_of(channel)
                if room_id is not None:
                    key = (room_id, socket.user_id)
                    self._noted[key] = SeenAt(room_id, socket.user_id, at, True)
        if not self._noted:
            return
        noted, self._noted = self._noted, {}
        try:
            for attempt in range(FLUSH_ATTEMPTS):
                if attempt:
                    await trio.sleep(FLUSH_PAUSE_S)
                left = await seen.flush(self._pool, noted.values(), self._token_life_ms)
                noted = {(one.room_id, one.user_id): one for one in left}
                if not noted:
                    break
        finally:
            self._noted = {**noted, **self._noted}

    async def _look(self) -> None:
        now = now_ms()
        for user in await seen.overdue(
            self._pool,
            self._node_id,
            away_before=now - self._away_ms,
            free_before=now - self._free_ms,
            drop_before=now - self._drop_ms,
            silent_before=now - self._silent_ms,
        ):
            match user.grace:
                case "gone":
                    await self._rooms.tell(user.room_id, Gone(user.user_id))
                case "back":
                    await self._rooms.tell(user.room_id, Seen(user.user_id))
                case _:
                    unseen = Unseen(user.user_id, user.last_seen_at)
                    await self._rooms.tell(user.room_id, unseen)
