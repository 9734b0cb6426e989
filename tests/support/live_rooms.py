"""Room actors over a real database, without the server around them."""

import hashlib
import itertools
import secrets
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import trio

from actors.hub import Hub, Subscription
from actors.room import Ask, Attach, RoomActor, RoomServices
from game.state import RoomState
from game.table import table_state
from persistence import nodes, rooms
from persistence.accounts import ensure_wallet
from persistence.connection import TrioConnection
from persistence.journal import Journal, JournalLike
from persistence.pool import Connection, Pool
from protocol.commands import AnyRoomCommand
from protocol.errors import Refused
from protocol.events import Event
from protocol.replies import Ok
from protocol.values import ClubRole
from server.club_database import ClubDatabase
from server.readiness import Readiness
from tests.support.hands import shuffled_deck
from tests.support.patience import PATIENCE_S
from tests.support.rooms import HOST, START, make_room, principal

NODE = "node-a"
AS_JOURNAL = "SELECT set_config('cardroom.journal', 'on', true); "
"""In front of statements that write what only a journal writes, in one transaction with them."""


class Socket:
    """A subscriber that keeps what it gets, decoded."""

    coding: Hashable = "json"

    def __init__(self, user_id: str, *, is_staff: bool = False) -> None:
        self.user_id = user_id
        self.is_staff = is_staff
        self.got: list[dict[str, Any]] = []
        self.sends = 0
        self._corked: list[bytes] | None = None

    def enqueue(self, frames: bytes) -> None:
        """Take frames, one JSON document a line."""
        if self._corked is not None:
            self._corked.append(frames)
            return
        self.sends += 1
        self.got += [msgspec.json.decode(line) for line in frames.splitlines()]

    def cork(self) -> None:
        """Gather what comes until `uncork`."""
        self._corked = self._corked or []

    def uncork(self) -> None:
        """Take what was gathered."""
        corked, self._corked = self._corked, None
        if corked:
            self.enqueue(b"".join(corked))


class Club:
    """What room actors of one process share, on a clock of its own; made by `open_club`."""

    def __init__(self, pool: Pool, journal: JournalLike, node_id: str = NODE) -> None:
        self.pool = pool
        self.journal = journal
        self.now = START
        self.tokens: dict[tuple[str, str], str | None] = {}
        self.lost: list[str] = []
        self.decided_s: list[float] = []
        self.hub = Hub(encode=_encoded)
        self._numbers = itertools.count(1)
        self.services = RoomServices(
            pool=pool,
            journal=journal,
            hub=self.hub,
            node_id=node_id,
            now=lambda: self.now,
            new_deck=lambda variant: shuffled_deck(next(self._numbers), variant),
            new_token=self._new_token,
            keep_token=lambda room, user, token: self.tokens.update({(room, user): token}),
            known_token=lambda room, user: self.tokens.get((room, user)),
            room_lost=self.lost.append,
            decided=self.decided_s.append,
            mailbox_capacity=1_000,
            hand_interval_ms=3_000,
            reject_cooldown_ms=60_000,
            seat_offer_ms=60_000,
            max_members=100,
            token_life_ms=300_000,
            old_token_life_ms=10_000,
            rigging_enabled=True,
        )

    def _new_token(self) -> tuple[str, str]:
        token = secrets.token_hex(16)
        return token, hashlib.sha256(token.encode()).hexdigest()

    async def make_room(self, room_id: str = "room-1", **settings: Any) -> RoomState:
        """Make a room in the database, and return it as it should be read back."""
        settings = {"requires_approval": False, "small_blind": 5, "big_blind": 10, **settings}
        settings = {"min_buy_in": 100, "max_buy_in": 2_000, **settings}
        state = make_room(room_id, **settings)
        await rooms.create_room(
            self.pool,
            room_id=room_id,
            code=state.code,
            host_id=HOST,
            host_name="Host",
            role="player",
            settings=state.settings,
            empty_state=msgspec.json.encode(table_state(state)),
            node_id=self.services.node_id,
            now=START,
            source="http",
            command_id=None,
        )
        return state

    async def wallets(self, *user_ids: str, balance: int = 10_000) -> None:
        """Make wallets."""
        for user_id in user_ids:
            await ensure_wallet(self.pool, user_id, user_id.title(), balance, START)

    def actor(self, room_id: str = "room-1") -> RoomActor:
        """Make the actor of a room; it hydrates when it runs."""
        return RoomActor(room_id, self.services)

    def database(self) -> ClubDatabase:
        """Give the database out as a server does that has started."""
        readiness = Readiness()
        readiness.started = True
        return ClubDatabase(self.pool, readiness)

    async def one(self, query: str, *values: object) -> Any:
        """Read one value."""
        async with self.pool.connection(read_only=True) as conn:
            row = await (await conn.execute(query.encode(), values)).fetchone()
        assert row is not None
        return row[0]


@asynccontextmanager
async def open_club(
    url: str,
    *,
    node_id: str = NODE,
    timeout_s: float = PATIENCE_S,
    on_push: Callable[[], None] | None = None,
) -> AsyncIterator[Club]:
    """Register a node and run its journal for the block."""

    async def connect() -> Connection:
        conn: Connection = await TrioConnection.connect(url, autocommit=True)
        return conn

    async with Pool(url, size=4, timeout_s=timeout_s) as pool, trio.open_nursery() as nursery:
        journal = Journal(connect, timeout_s=timeout_s, on_push=on_push)
        await nursery.start(journal.run)
        await nodes.register(pool, node_id, f"{node_id}.test", 60.0)
        yield Club(pool, journal, node_id)
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def running(actor: RoomActor) -> AsyncIterator[RoomActor]:
    """Let an actor live for the block; a crash of it comes out of the block."""
    async with trio.open_nursery() as nursery:

        async def live(*, task_status: trio.TaskStatus[None]) -> None:
            await actor.run(started=task_status.started)

        await nursery.start(live)
        yield actor
        nursery.cancel_scope.cancel()


class Answered:
    """A place for an answer, which must come once."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._come = trio.Event()

    def put(self, value: Any) -> None:
        """Take the answer."""
        self.values.append(value)
        self._come.set()

    async def get(self) -> Any:
        """Wait for it; a refusal is raised."""
        await self._come.wait()
        (value,) = self.values
        if isinstance(value, Refused):
            raise value
        return value


def post(
    actor: RoomActor,
    user_id: str,
    command: AnyRoomCommand,
    *,
    role: ClubRole | None = None,
    socket: Socket | None = None,
) -> Answered:
    """Put a command into an actor's mailbox."""
    answered = Answered()
    actor.mailbox.put_nowait(
        Ask(command, principal(user_id, role), "websocket", answered.put, socket)
    )
    return answered


async def ask(
    actor: RoomActor, user_id: str, command: AnyRoomCommand, *, role: ClubRole | None = None
) -> Ok:
    """Send a command and wait for its reply; a refusal is raised."""
    reply: Ok = await post(actor, user_id, command, role=role).get()
    return reply


async def attach(actor: RoomActor, user_id: str, socket: Socket) -> Subscription:
    """Have a socket get the room's events from now on."""
    answered = Answered()
    actor.mailbox.put_nowait(Attach(principal(user_id), socket, answered.put))
    subscription: Subscription = await answered.get()
    return subscription


async def until_waiting_for_a_lock(pool: Pool) -> None:
    """Return once some session on the pool's database waits for a lock."""
    query = (
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    async with pool.connection() as conn:
        while await (await conn.execute(query)).fetchone() == (0,):  # noqa: ASYNC110
            await trio.sleep(0.005)


def live_state(actor: RoomActor) -> RoomState:
    """The state that an actor holds."""
    assert actor._state is not None
    return actor._state


def _encoded(_: Hashable, event: Event) -> bytes:
    return msgspec.json.encode(event) + b"\n"
