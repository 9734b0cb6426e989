"""Chat sessions and their desk over a real database, without the server around them."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import trio

from actors.chat import ChatServices
from actors.hub import Hub
from actors.supervisor import Intensity, Supervisor
from game.chat import ChatState
from persistence.accounts import ensure_wallet
from persistence.connection import TrioConnection
from persistence.journal import Journal, JournalLike
from persistence.pool import Connection, Pool
from persistence.units import CommitUnit
from protocol.commands import AnyChatCommand, ChatHistory, ChatInbox, ChatSend
from protocol.events import Event
from protocol.ids import STAFF_PORTAL, UserId, player_channel
from protocol.replies import ChatMessages, ChatSent
from protocol.views import ChatSession
from server.chat_desk import ChatDesk
from server.chats import Chats
from server.club_database import ClubDatabase
from server.readiness import Readiness
from tests.support.chat_books import PLAYER, who
from tests.support.live_rooms import Socket
from tests.support.patience import PATIENCE_S
from tests.support.rooms import START


class Saboteur:
    """A journal that does what it is told in place of the next commits.

    `next`: an error is raised instead of committing (after it, with `commit_first`); anything else
    is called before the commit.
    """

    def __init__(self, inner: JournalLike) -> None:
        self.inner = inner
        self.units: list[CommitUnit] = []
        self.next: list[Callable[[], Any] | Exception] = []
        self.commit_first = False

    async def commit(self, unit: CommitUnit, on_committed: Callable[[], None]) -> None:
        """Commit, or fail as told."""
        self.units.append(unit)
        planned = self.next.pop(0) if self.next else None
        if isinstance(planned, Exception):
            if self.commit_first:
                await self.inner.commit(unit, lambda: None)
            raise planned
        if planned is not None:
            await planned()
        await self.inner.commit(unit, on_committed)


class LiveDesk:
    """A process's chats. Made by `open_desk`.

    Attributes:
        now: UTC in ms, what all sessions take for it.
        staff, player: what the staff's portal and the player's channel were told.
        crashes: how many lives ended by an error.
    """

    def __init__(self, pool: Pool, journal: Journal, supervisor: Supervisor) -> None:
        self.pool = pool
        self.now = START
        self.crashes = 0
        self.journal = Saboteur(journal)
        self.hub = Hub(encode=_encoded)
        self.staff = Socket("staff", is_staff=True)
        self.player = Socket(PLAYER)
        self.hub.subscribe(STAFF_PORTAL, self.staff)
        self.hub.subscribe(player_channel(UserId(PLAYER)), self.player)
        services = ChatServices(
            pool=pool,
            journal=self.journal,
            hub=self.hub,
            now=lambda: self.now,
            new_unit_id=lambda: secrets.randbits(63),
            decided=lambda _: None,
            mailbox_capacity=1_000,
        )
        self.chats = Chats(
            supervisor=supervisor,
            services=services,
            intensity=Intensity(5, 60.0),
            timeout_s=PATIENCE_S,
            on_crash=self._crashed,
        )
        readiness = Readiness()
        readiness.started = True
        self.desk = ChatDesk(ClubDatabase(pool, readiness), self.chats)

    def _crashed(self) -> None:
        self.crashes += 1

    async def do(self, user_id: str, command: AnyChatCommand) -> Any:
        """Have a command carried out; the object is left as it is."""
        copy = msgspec.structs.replace(command)
        return await self.desk.run(who(user_id), copy, source="test")

    async def say(self, user_id: str, command: ChatSend) -> ChatSent:
        """Say something."""
        reply = await self.do(user_id, command)
        assert isinstance(reply, ChatSent)
        return reply

    async def history(self, user_id: str, **fields: Any) -> ChatMessages:
        """Read a history."""
        return await self.desk.history(who(user_id), ChatHistory(**fields))

    async def inbox(self, user_id: str, **fields: Any) -> list[ChatSession]:
        """List sessions."""
        return (await self.desk.inbox(who(user_id), ChatInbox(**fields))).sessions

    def state(self, session_id: str) -> ChatState:
        """What a live session's actor holds."""
        actor = self.chats._registry.get(session_id)
        assert actor is not None
        assert actor._state is not None
        return actor._state

    def told(self, *kinds: str) -> list[Any]:
        """What staff were told, of these kinds if any are given."""
        return [event for event in self.staff.got if not kinds or event["type"] in kinds]

    async def rest(self) -> None:
        """Let every session leave memory."""
        self.chats.passivate_idle(-1.0)
        while len(self.chats):  # noqa: ASYNC110 - it says nothing
            await trio.sleep(0.001)

    async def all(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Read rows."""
        async with self.pool.connection() as conn:
            return await (await conn.execute(query.encode(), values)).fetchall()

    async def texts(self) -> list[str]:
        """What is stored, in the order of seq."""
        found = await self.all("SELECT message_text FROM chat_messages ORDER BY session_id, seq")
        return [text for (text,) in found]


@asynccontextmanager
async def open_desk(url: str, *, timeout_s: float = PATIENCE_S) -> AsyncIterator[LiveDesk]:
    """Run a journal and a desk for the block."""

    async def connect() -> Connection:
        conn: Connection = await TrioConnection.connect(url, autocommit=True)
        return conn

    async with Pool(url, size=4, timeout_s=timeout_s) as pool, trio.open_nursery() as nursery:
        journal = Journal(connect, timeout_s=timeout_s)
        supervisor = Supervisor()
        await nursery.start(journal.run)
        await nursery.start(supervisor.run)
        yield LiveDesk(pool, journal, supervisor)
        nursery.cancel_scope.cancel()


async def make_people(pool: Pool, *user_ids: str) -> None:
    """Let users have come in before."""
    for user_id in user_ids:
        await ensure_wallet(pool, user_id, user_id.title(), 0, START)


def comparable(state: ChatState) -> dict[str, Any]:
    """A session as values that compare deeply, without what only a life remembers."""
    drawn = msgspec.convert(msgspec.to_builtins(state), dict[str, Any])
    del drawn["recent"]
    return drawn


def _encoded(_: Hashable, event: Event) -> bytes:
    return msgspec.json.encode(event) + b"\n"
