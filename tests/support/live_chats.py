"""Chat sessions over a real database, without the server around them, and somebody writing SQL."""

import json
import secrets
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest
import trio

from actors.chat import ChatServices
from actors.supervisor import Intensity, Supervisor
from game.chat import ChatState
from persistence import chats as stored
from persistence.audit import audit
from persistence.connection import TrioConnection
from persistence.outside import untold_chats
from persistence.pool import Connection
from protocol import commands
from protocol.ids import STAFF_PORTAL, UserId, player_channel
from protocol.replies import ChatSent, Ok
from protocol.values import ClubRole
from server.chat_desk import ChatDesk
from server.chats import Chats
from tests.support.live_rooms import Club, Socket, open_club
from tests.support.patience import PATIENCE_S
from tests.support.rooms import principal

Event = dict[str, Any]
STAFF = "boss"


class ChatScene:
    """The chats of a server, staff who listen, and players who do."""

    def __init__(self, club: Club, sql: Connection, supervisor: Supervisor) -> None:
        self.club = club
        self.sql = sql
        self.crashes = 0
        self.sessions = Chats(
            supervisor=supervisor,
            services=ChatServices(
                pool=club.pool,
                journal=club.journal,
                hub=club.hub,
                now=lambda: club.now,
                new_unit_id=lambda: secrets.randbits(63),
                decided=lambda _: None,
                mailbox_capacity=1_000,
            ),
            intensity=Intensity(restarts=1_000),
            timeout_s=PATIENCE_S,
            on_crash=self._crashed,
        )
        self.desk = ChatDesk(club.database(), self.sessions)
        self.staff = Socket(STAFF, is_staff=True)
        club.hub.subscribe(STAFF_PORTAL, self.staff, operator=True)
        self.players: dict[str, Socket] = {}

    def _crashed(self) -> None:
        self.crashes += 1

    def player(self, user_id: str) -> Socket:
        """Have a player listen, from now on."""
        socket = self.players[user_id] = Socket(user_id)
        self.club.hub.subscribe(player_channel(UserId(user_id)), socket, operator=False)
        return socket

    async def run(
        self, user_id: str, command: commands.AnyChatCommand, role: ClubRole | None = None
    ) -> Ok:
        """Carry out what somebody asks over their socket."""
        return await self.desk.run(principal(user_id, role), command, source="websocket")

    async def say(self, user_id: str, text: str, *, session_id: str = "") -> ChatSent:
        """Have somebody say something; `STAFF` as staff."""
        role: ClubRole = "staff" if user_id == STAFF else "player"
        command = commands.ChatSend(
            session_id=session_id, message_id=str(uuid.uuid4()), message_text=text
        )
        reply = await self.run(user_id, command, role)
        assert isinstance(reply, ChatSent)
        return reply

    async def write(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Do as an older portal does."""
        cursor = await self.sql.execute(statement.encode(), values or None)
        return await cursor.fetchall() if cursor.description else []

    async def refused(self, statement: str, *values: object) -> str:
        """Hold that the database refuses a write by itself; return its words."""
        with pytest.raises(psycopg.Error) as caught:
            await self.write(statement, *values)
        assert caught.value.sqlstate == "CR003", caught.value
        return str(caught.value)

    async def told(self) -> tuple[list[Event], dict[str, list[Event]]]:
        """Have everything told that was written; return what staff and players heard since."""
        while found := await untold_chats(self.club.pool):
            assert self.crashes == 0
            await self.sessions.take_up_writes(found)
            await trio.sleep(0.002)
        ids = await self.club.one("SELECT coalesce(array_agg(id), '{}') FROM chat_sessions")
        for session_id in ids:
            # Answered once the session is done with everything before it.
            await self.run(
                STAFF, commands.ChatReceived(session_id=session_id, message_id=""), "staff"
            )
        heard, self.staff.got = self.staff.got, []
        own = {}
        for user_id, socket in self.players.items():
            own[user_id], socket.got = socket.got, []
        return heard, own

    async def state(self, session_id: str) -> ChatState:
        """Read a session back as its actor would have it."""
        found = await stored.load_session(self.club.pool, session_id)
        assert found is not None
        return found.state

    async def row(self, query: str, *values: object) -> dict[str, Any]:
        """Read one row."""
        document = await self.club.one(f"SELECT to_jsonb(r)::text FROM ({query}) r", *values)
        row: dict[str, Any] = json.loads(document)
        return row

    async def assert_sound(self) -> None:
        """Hold that nothing is left to tell, nothing crashed, and everything adds up."""
        assert await self.club.one("SELECT count(*) FROM outside_chat_writes") == 0
        assert await self.club.one("SELECT count(*) FROM chat_messages WHERE seq IS NULL") == 0
        assert self.crashes == 0
        audited = await audit(self.club.pool)
        assert audited.clean, audited.findings


@asynccontextmanager
async def chat_scene(url: str) -> AsyncIterator[ChatScene]:
    """Make the chats of a server without its ear: `ChatScene.told` does what that would."""
    async with open_club(url) as club, trio.open_nursery() as nursery:
        sql: Connection = await TrioConnection.connect(url, autocommit=True)
        async with sql:
            supervisor = Supervisor()
            await nursery.start(supervisor.run)
            scene = ChatScene(club, sql, supervisor)
            yield scene
            await scene.told()
            await scene.assert_sound()
            await scene.sessions.stop(PATIENCE_S)
        nursery.cancel_scope.cancel()


def names(events: list[Event]) -> list[str]:
    """List the types of events."""
    return [event["type"] for event in events]
