"""Rejoin tokens in use: rotation, and the token that a user has right now.

The database holds only hashes. The tokens themselves are remembered here for as long as the process
lives, so that `hydrate` can tell a user the one they have; after a restart they get a new one.
"""

from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple, TypedDict, TypeVar

import trio

from persistence import tokens
from persistence.gathering import Gathering
from persistence.pool import Pool
from persistence.tokens import Rotation, TokenHolder
from protocol.ids import UserId
from protocol.principal import Principal
from protocol.values import RoomRole
from server.auth.errors import Unauthenticated
from server.auth.rejoin import new_token, token_hash
from server.clock import now_ms

REMEMBERED_TOKENS = 100_000

K = TypeVar("K")
V = TypeVar("V")


class Rejoined(NamedTuple):
    """Who came back into which room, and the token that replaces the one that they used."""

    principal: Principal
    room_id: str
    token: str


class _Times(TypedDict):
    now: int
    expires_at: int
    old_good_until: int


class RejoinBook:
    """The rejoin tokens of all rooms.

    Args:
        pool: the database.
        life_ms: how long a token is good past its user's last sign of life.
        overlap_ms: how long a replaced token stays good, so that a lost answer locks nobody out.
    """

    def __init__(self, pool: Pool, *, life_ms: int, overlap_ms: int) -> None:
        self._pool = pool
        self._life_ms = life_ms
        self._overlap_ms = overlap_ms
        self._holders = Gathering(self._read_holders)
        self._good = Gathering(self._read_good)
        self._rotations = Gathering(self._store)
        self._current: OrderedDict[tuple[str, str], str] = OrderedDict()
        self._successors: OrderedDict[bytes, tuple[int, str]] = OrderedDict()
        self._rotating: dict[tuple[str, str], trio.Event] = {}

    def mint(self) -> tuple[str, str]:
        """Make a token and its SHA-256 in hex."""
        token = new_token()
        return token, token_hash(token).hex()

    def keep(self, room_id: str, user_id: str, token: str | None) -> None:
        """Remember the token that a user now has for a room, or that they have none."""
        self._current.pop((room_id, user_id), None)
        if token is not None:
            _put(self._current, (room_id, user_id), token)

    def known(self, room_id: str, user_id: str) -> str | None:
        """Return the token that a user has, as far as this process knows."""
        return self._current.get((room_id, user_id))

    async def current(
        self, room_id: str, user_id: str, role: RoomRole, seat_index: int | None
    ) -> str:
        """Return the token that a user has, as long as it is good, or give them a new one.

        Raises:
            Unavailable: the database is away.
        """
        known = self.known(room_id, user_id)
        # Another process may have replaced it, and who stayed away has outlived it.
        if known is not None and await self._good.get((token_hash(known), room_id)):
            return known
        async with self._one_at_a_time(room_id, user_id):
            given = self.known(room_id, user_id)
            if given is not None and given != known:
                return given
            return await self._rotate(room_id, user_id, role, seat_index)

    async def use(self, room_id: str | None, token: str) -> Rejoined:
        """Let somebody in by their token; they get a new one for it.

        The token alone says which room it is for; a `room_id` beside it has to agree. Used again
        while it overlaps with its successor, also at the same moment, it gives that same successor.

        Raises:
            Unauthenticated: the token lets nobody into this room.
            Unavailable: the database is away.
        """
        digest, now = token_hash(token), now_ms()
        self._drop_over(now)
        holder = await self._holders.get((digest, room_id))
        if holder is None:
            raise Unauthenticated("the rejoin token is not good (any more)")
        principal = Principal(UserId(holder.user_id), holder.display_name)
        async with self._one_at_a_time(holder.room_id, holder.user_id):
            successor = self._successors.get(digest)
            if successor is not None and successor[0] > now:
                return Rejoined(principal, holder.room_id, successor[1])
            fresh = await self._rotate(holder.room_id, holder.user_id, holder.role, None)
            _put(self._successors, digest, (now + self._overlap_ms, fresh))
        return Rejoined(principal, holder.room_id, fresh)

    @asynccontextmanager
    async def _one_at_a_time(self, room_id: str, user_id: str) -> AsyncIterator[None]:
        """Wait until nobody else gives this user a new token, which could be the one to tell.

        A user's sockets come back together. Each with a token of its own, all but the last of them
        would have one that is replaced already.
        """
        key = room_id, user_id
        while (under_way := self._rotating.get(key)) is not None:
            await under_way.wait()
        done = self._rotating[key] = trio.Event()
        try:
            yield
        finally:
            del self._rotating[key]
            done.set()

    def _drop_over(self, now: int) -> None:
        """Forget what replaced tokens that are good no longer; the oldest come first."""
        while self._successors:
            good_until, _ = next(iter(self._successors.values()))
            if good_until > now:
                return
            self._successors.popitem(last=False)

    async def _rotate(
        self, room_id: str, user_id: str, role: RoomRole, seat_index: int | None
    ) -> str:
        token = new_token()
        rotation = Rotation(room_id, user_id, role, seat_index, token_hash(token))
        if not await self._rotations.get(rotation):
            await tokens.rotate_one(self._pool, rotation, **self._times())
        self.keep(room_id, user_id, token)
        return token

    async def _read_holders(
        self, asked: Sequence[tuple[bytes, str | None]]
    ) -> list[TokenHolder | None]:
        return await tokens.holders_of(self._pool, asked, now_ms())

    async def _read_good(self, asked: Sequence[tuple[bytes, str]]) -> list[bool]:
        return await tokens.are_good(self._pool, asked, now_ms())

    async def _store(self, rotations: Sequence[Rotation]) -> list[bool]:
        return await tokens.rotate(self._pool, rotations, **self._times())

    def _times(self) -> _Times:
        now = now_ms()
        return {
            "now": now,
            "expires_at": now + self._life_ms,
            "old_good_until": now + self._overlap_ms,
        }


def _put(into: OrderedDict[K, V], key: K, value: V) -> None:
    into[key] = value
    if len(into) > REMEMBERED_TOKENS:
        into.popitem(last=False)
