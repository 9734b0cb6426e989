"""Support chat as one user has it: a player their own conversation, staff all of them.

After a lost connection what may have been missed is read again, and joined with what comes
meanwhile (`client.chat_mirror`). A message that is said keeps its id until the server has confirmed
it, however often it has to be sent, so that it is there once.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Protocol
from uuid import uuid4

import trio
from msgspec import UNSET

from client.chat_mirror import ChatMirror, Joined, KeptEvent
from client.errors import ClientError, TimedOut
from client.messages import AnyEvent
from client.room import Asks
from protocol import commands
from protocol.chat_events import ChatOnline, ChatTypingEvent, NewChatRequest
from protocol.ids import STAFF_PORTAL, UserId, player_channel
from protocol.replies import (
    Authenticated,
    ChatChanged,
    ChatMessages,
    ChatSent,
    ChatSessions,
    Ok,
    Subscribed,
)
from protocol.values import AnyChatStatus, ChatSide, Urgency
from protocol.views import ChatMessage, ChatSession

PAGE = 100
"""Messages asked for at a time."""
INBOX = 200
"""Conversations asked for at a time, the most that a server gives."""


class Talks(Asks, Protocol):
    """What chats need of the client."""

    @property
    def me(self) -> Authenticated: ...

    def soon(self, run: Callable[[], Awaitable[None]]) -> None: ...


class Chats:
    """The user's conversations. Its methods raise what `CardroomClient.ask` raises.

    Nothing is followed before `open` (a player) or `open_inbox` (staff).

    Attributes:
        staff_online: whether somebody of the staff is there, as last told.
        acknowledge: whether messages that come are acknowledged as received by themselves.

    Args:
        client: sends the commands.
    """

    def __init__(self, client: Talks) -> None:
        self.staff_online = False
        self.acknowledge = True
        self._client = client
        self._mirrors: dict[str, ChatMirror] = {}
        self._typing: dict[str, str] = {}
        self._online: dict[str, bool] = {}
        self._acknowledged: set[str] = set()
        self._following = False
        self._news = trio.Event()

    # Looking

    @property
    def sessions(self) -> list[ChatSession]:
        """The conversations that are known, as the inbox orders them: those that wait, those in
        work, those that are over; the last to be written in first."""
        found = [mirror.session for mirror in self._mirrors.values() if mirror.session is not None]
        return sorted(
            found,
            key=lambda s: (
                s.status != "waiting",
                s.status == "resolved",
                -(s.last_message_at or s.created_at),
                s.id,
            ),
        )

    @property
    def current(self) -> ChatSession | None:
        """A player's open conversation, or else their last one."""
        return max(
            self.sessions, key=lambda s: (s.status != "resolved", s.created_at), default=None
        )

    def session(self, session_id: str) -> ChatSession | None:
        """Return a conversation as it is known."""
        mirror = self._mirrors.get(session_id)
        return None if mirror is None else mirror.session

    def messages(self, session_id: str | None = None) -> list[ChatMessage]:
        """List what was said in a conversation, or in all that are followed, newest last."""
        if session_id is not None:
            mirror = self._mirrors.get(session_id)
            return [] if mirror is None else mirror.messages
        everything = [m for mirror in self._mirrors.values() for m in mirror.messages]
        return sorted(everything, key=lambda m: (m.timestamp, m.session_id, m.seq))

    def typing_in(self, session_id: str) -> str | None:
        """Return who of the other side is typing in a conversation."""
        return self._typing.get(session_id)

    def online(self, player_id: str) -> bool:
        """Whether a player is there, as staff were told last."""
        return self._online.get(player_id, False)

    async def until(self, matches: Callable[["Chats"], bool]) -> None:
        """Wait until something is so; at once if it is."""
        while not matches(self):
            await self._news.wait()

    # Following

    async def open(self) -> ChatSession | None:
        """Follow a player's own conversations from now on, and return the current one."""
        self._following = True
        await self._refresh()
        return self.current

    async def open_inbox(self) -> list[ChatSession]:
        """Follow all conversations from now on (staff); their messages only where `follow` says."""
        self._following = True
        await self._refresh()
        return self.sessions

    async def follow(self, session_id: str) -> list[ChatMessage]:
        """Keep what is said in a conversation, from its last messages on."""
        mirror = self._mirrors.setdefault(session_id, ChatMirror())
        if not mirror.followed:
            mirror.followed = True
            mirror.suspend()
            await self._read_back(session_id, mirror)
        return mirror.messages

    async def older(self, session_id: str) -> bool:
        """Read messages from before those that are known; say whether there are older ones yet."""
        mirror = self._mirrors[session_id]
        before = mirror.messages[0].id if mirror.messages else None
        page = await self._history(session_id, before)
        mirror.add(page.messages)
        self._tell()
        return page.more

    # Doing

    async def say(
        self,
        text: str,
        *,
        session_id: str | None = None,
        player_id: str | None = None,
        message_id: str | None = None,
        urgency: Urgency | None = None,
    ) -> ChatMessage:
        """Say something, and see it through however long the server is away.

        Staff name the conversation, or the player. Cancelled, it may have been said; say it again
        with the same `message_id` to be sure.
        """
        command = commands.ChatSend(
            message_id=message_id or str(uuid4()),
            message_text=text,
            session_id=session_id or "",
            player_id=player_id,
            urgency=urgency,
        )
        while True:
            try:
                reply = await self._client.ask(command, ChatSent)
                break
            except TimedOut:
                continue
        mirror = self._mirrors.get(reply.message.session_id)
        if mirror is not None and mirror.followed:
            mirror.add([reply.message])
            self._tell()
        return reply.message

    async def read(self, message: ChatMessage) -> ChatSession:
        """Say that a message, and what its side said before it, was read."""
        command = commands.ChatRead(session_id=message.session_id, message_id=message.id)
        return await self._do(command)

    async def typing(self, typing: bool = True, *, session_id: str = "") -> None:
        """Say that the user types, or no longer does."""
        command = commands.ChatTyping(session_id=session_id, typing=typing)
        await self._client.ask(command, Ok)

    async def set_status(
        self,
        session_id: str,
        status: AnyChatStatus | None = None,
        *,
        urgency: Urgency | None = None,
    ) -> ChatSession:
        """Resolve or reopen a conversation, or say how urgent it is (staff)."""
        command = commands.SetChatStatus(session_id=session_id, status=status, urgency=urgency)
        return await self._do(command)

    async def assign(self, session_id: str) -> ChatSession:
        """Take a conversation over (staff)."""
        return await self._do(commands.ChatAssign(session_id=session_id))

    async def give(self, session_id: str, staff_id: str | None) -> ChatSession:
        """Give a conversation to somebody of the staff, or to nobody (staff)."""
        return await self._do(commands.ChatAssign(session_id=session_id, staff_id=staff_id))

    # Fed by the client

    def take(self, event: AnyEvent) -> None:
        """Take an event that is not a room's."""
        if not self._following or event.channel != self._channel:
            return
        match event:
            case ChatTypingEvent():
                if event.sender != self._side:
                    self._typing.pop(event.session_id, None)
                    if event.typing:
                        self._typing[event.session_id] = event.sender_name
            case ChatOnline():
                if isinstance(event.player_id, str):
                    self._online[event.player_id] = event.online
                else:
                    self.staff_online = event.online
            case NewChatRequest():
                self._join(event.session.id, event)
            case _ if isinstance(event, KeptEvent):
                self._join(event.session_id, event)
            case _:
                return
        self._tell()

    def lost(self) -> None:
        """Take note that the connection is gone, and events with it."""
        self._typing.clear()
        for mirror in self._mirrors.values():
            mirror.suspend()

    def reconnected(self) -> None:
        """Read what may have been missed."""
        if self._following:
            self._client.soon(partial(self._patiently, self._refresh))

    @property
    def _side(self) -> ChatSide:
        return "staff" if self._client.me.role == "staff" else "player"

    @property
    def _channel(self) -> str:
        if self._side == "staff":
            return STAFF_PORTAL
        return player_channel(UserId(self._client.me.user_id))

    def _join(self, session_id: str, event: NewChatRequest | KeptEvent) -> None:
        mirror = self._mirrors.get(session_id)
        if mirror is None:
            mirror = self._mirrors[session_id] = ChatMirror()
            mirror.followed = self._side == "player"
            if isinstance(event, NewChatRequest):
                # It tells the conversation as it is with this very event.
                mirror.install(event.session, [])
            else:
                mirror.apply(event)
                self._read_back_soon(session_id, mirror)
            return
        match mirror.apply(event):
            case Joined.HOLE:
                self._read_back_soon(session_id, mirror)
            case Joined.NEWS:
                self._typing.pop(session_id, None)
                self._acknowledge(session_id, mirror)
            case _:
                pass

    async def _refresh(self) -> None:
        """Read the conversations again, and the messages of those that are followed."""
        if self._side == "staff":
            await self._client.ask(commands.Subscribe(channel=STAFF_PORTAL), Subscribed)
        listed = await self._client.ask(commands.ChatInbox(limit=INBOX), ChatSessions)
        self.staff_online = listed.staff_online
        for session in listed.sessions:
            mirror = self._mirrors.setdefault(session.id, ChatMirror())
            if session.player_online is not UNSET:
                self._online[session.player_id] = session.player_online
            if not mirror.followed and mirror.install(session, []) is Joined.HOLE:
                await self._read_back(session.id, mirror)
        if self._side == "player" and self.current is not None:
            await self.follow(self.current.id)
        for session_id, mirror in list(self._mirrors.items()):
            if not mirror.up_to_date:
                await self._read_back(session_id, mirror)
        self._tell()

    async def _read_back(self, session_id: str, mirror: ChatMirror) -> None:
        """Read a conversation, its messages back to those that are known."""
        while True:
            known = mirror.messages[-1].seq if mirror.messages else None
            page = await self._history(session_id, None)
            found, more = page.messages, page.more
            while mirror.followed and known is not None and more and found[0].seq > known:
                older = await self._history(session_id, found[0].id)
                found, more = older.messages + found, older.more
            assert page.session is not None
            self.staff_online = page.staff_online
            joined = mirror.install(page.session, found if mirror.followed else [])
            self._tell()
            if joined is not Joined.HOLE:
                self._acknowledge(session_id, mirror)
                return

    def _read_back_soon(self, session_id: str, mirror: ChatMirror) -> None:
        read_back = partial(self._read_back, session_id, mirror)
        self._client.soon(partial(self._patiently, read_back))

    async def _patiently(self, run: Callable[[], Awaitable[None]]) -> None:
        """Do something for as long as it takes; what the server refuses is left."""
        with suppress(ClientError):
            while True:
                with suppress(TimedOut):
                    return await run()

    def _acknowledge(self, session_id: str, mirror: ChatMirror) -> None:
        if not self.acknowledge:
            return
        for message_id in mirror.not_acknowledged(self._side):
            if message_id not in self._acknowledged:
                self._acknowledged.add(message_id)
                self._client.soon(partial(self._received, session_id, message_id))

    async def _received(self, session_id: str, message_id: str) -> None:
        command = commands.ChatReceived(session_id=session_id, message_id=message_id)
        try:
            with suppress(ClientError):
                await self._client.ask(command, ChatChanged)
        finally:
            self._acknowledged.discard(message_id)

    async def _history(self, session_id: str, before: str | None) -> ChatMessages:
        query = commands.ChatHistory(session_id=session_id, before=before, limit=PAGE)
        return await self._client.ask(query, ChatMessages)

    async def _do(self, command: commands.ChatCommand) -> ChatSession:
        return (await self._client.ask(command, ChatChanged)).session

    def _tell(self) -> None:
        self._news.set()
        self._news = trio.Event()
