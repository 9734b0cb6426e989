"""The club's conversations: finds the session that a command is about, and reads what was said."""

import re
import uuid
from collections import OrderedDict
from collections.abc import Callable

import msgspec
from msgspec import UNSET

from actors.chat import ChatAsk, Opening
from game.chat import SessionOver
from game.chat.decide import no_session
from game.chat.handling import status_of
from persistence import chats
from persistence.chats import CannedReply
from protocol.commands import (
    AnyChatCommand,
    ChatAssign,
    ChatHistory,
    ChatInbox,
    ChatRead,
    ChatReceived,
    ChatSend,
    ChatTyping,
)
from protocol.errors import ErrorCode, Refused, bad_field
from protocol.ids import STAFF_PORTAL, UserId, player_channel
from protocol.principal import Principal
from protocol.replies import ChatChanged, ChatMessages, ChatSent, ChatSessions, Ok
from protocol.views import ChatMessage, ChatSession
from server.chats import Chats
from server.club_database import ClubDatabase

KNOWN_SESSIONS = 100_000
KNOWN_MESSAGES = 20_000
"""Receipts come soon after what they are for."""
MAX_SESSIONS_TRIED = 8
SHORTCUT = re.compile(r"/[^\s/]{1,39}\Z")


class ChatDesk:
    """Runs the commands of chats, and reads them.

    Args:
        database: the database.
        sessions: the live sessions.
    """

    def __init__(self, database: ClubDatabase, sessions: Chats) -> None:
        self._database = database
        self._sessions = sessions
        self._hub = sessions.hub
        self._open: OrderedDict[str, str] = OrderedDict()
        # By its id, the session and the player of a message; of two players' with one id the last.
        self._said: OrderedDict[str, tuple[str, str]] = OrderedDict()

    @property
    def staff_online(self) -> bool:
        """Whether somebody of the staff looks at the portal."""
        return self._hub.subscribers(STAFF_PORTAL) > 0

    def open_sessions(self) -> list[tuple[str, str]]:
        """List player and session of the conversations that are known to be open."""
        return list(self._open.items())

    def open_session(self, player_id: str) -> str | None:
        """Return a player's open session, if it is known here."""
        return self._open.get(player_id)

    def post(
        self,
        principal: Principal,
        command: AnyChatCommand,
        *,
        source: str,
        answer: Callable[[Ok | Refused], None],
    ) -> bool:
        """Hand a command to its session in this very step, if that is live and known to be the one.

        Args:
            principal, command, source: as for `run`.
            answer: is called once, and must not wait. A message that is answered `SessionOver` is
                for another session, and is to be `run`.

        Returns:
            False if something has to be looked up first; nothing has happened then.

        Raises:
            Refused: `busy`; nothing was changed.
        """
        session_id = self._session_at_once(principal, command)
        if not session_id:
            return False
        named, opening = command.session_id, None
        if not isinstance(command, ChatSend):
            command.session_id = session_id
        elif not principal.is_staff and not named:
            opening = Opening(principal.user_id, principal.name)

        def answered(reply: Ok | Refused) -> None:
            if isinstance(reply, Ok):
                self._noted(principal, reply)
            elsewhere = isinstance(reply, ChatSent) and reply.session.id != session_id
            if opening is not None and (elsewhere or isinstance(reply, SessionOver)):
                self._forget(principal.user_id, session_id)
            answer(reply)

        ask = ChatAsk(command, principal, source, answered, opening)
        if self._sessions.post(session_id, ask):
            return True
        command.session_id = named
        return False

    async def run(self, principal: Principal, command: AnyChatCommand, *, source: str) -> Ok:
        """Carry a command out and return its reply, durable.

        Raises:
            Refused: any code; nothing was changed.

        Cancellation: the command may be carried out all the same.
        """
        staff_name = None
        if command.session_id and not principal.is_staff:
            await self._require_own(principal, command.session_id)
        match command:
            case ChatSend():
                return await self._send(principal, command, source)
            case ChatReceived(message_id=str(named)) | ChatRead(message_id=str(named)) if (
                not command.session_id
            ):
                command.session_id = await self._session_of_message(principal, named)
            case ChatTyping() if not command.session_id and not principal.is_staff:
                command.session_id = await self._open_session_of(principal.user_id) or ""
                if not command.session_id:
                    return Ok()
            case ChatAssign():
                staff_name = await self._staff_name(principal, command)
            case _:
                pass
        if not command.session_id:
            raise bad_field("session_id", "Say which conversation.")
        return await self._ask(
            command.session_id, command, principal, source, staff_name=staff_name
        )

    async def history(self, principal: Principal, query: ChatHistory) -> ChatMessages:
        """Read a session, or all that a player and staff have said.

        Raises:
            Refused: `bad_request` where staff name neither, `forbidden` for another player's,
                `not_found` also for a session that is not the named player's, `unavailable`.
        """
        whose = self._whose(principal, query.player_id)
        async with self._database.use() as pool:
            if query.session_id:
                session = await chats.read_session(pool, query.session_id)
                if session is None or whose not in (None, session.player_id):
                    raise no_session()
                owner = session.player_id
                found = await chats.said_in_session(pool, session.id, query.before, query.limit)
            else:
                owner = whose or ""
                if not owner:
                    raise bad_field("session_id", "Say which conversation, or whose.")
                session = await chats.latest_session_of(pool, owner)
                found = await chats.said_with_player(pool, owner, query.before, query.limit)
            messages, more = found
            unknown = query.before is not None and not messages
            if unknown and await chats.find_said(pool, query.before or "", owner) is None:
                raise _no_message()
        return ChatMessages(
            messages=messages,
            session=session and self._seen_by(principal, session),
            more=more,
            staff_online=self.staff_online,
        )

    async def inbox(self, principal: Principal, query: ChatInbox) -> ChatSessions:
        """List sessions, for staff; a player gets their own.

        Raises:
            Refused: `forbidden` for another player's, `unavailable`.
        """
        async with self._database.use() as pool:
            found = await chats.list_sessions(
                pool,
                status=None if query.status is None else status_of(query.status),
                player_id=self._whose(principal, query.player_id),
                limit=query.limit,
            )
        for session in found:
            self._note(session)
        return ChatSessions(
            sessions=[self._seen_by(principal, session) for session in found],
            staff_online=self.staff_online,
        )

    async def canned_replies(self, principal: Principal) -> list[CannedReply]:
        """List what staff say by shortcuts.

        Raises:
            Refused: `forbidden`, `unavailable`.
        """
        _require_staff(principal)
        async with self._database.use() as pool:
            return await chats.canned_replies(pool)

    async def put_canned_reply(
        self, principal: Principal, shortcut: str, message_text: str
    ) -> CannedReply:
        """Keep a canned reply, in place of the one that the shortcut had.

        Raises:
            Refused: `forbidden`, `bad_request` for what is no shortcut, `unavailable`.
        """
        _require_staff(principal)
        shortcut = shortcut if shortcut.startswith("/") else f"/{shortcut}"
        if not SHORTCUT.match(shortcut):
            raise bad_field("shortcut", "A shortcut is one word of at most 39 characters.")
        async with self._database.use() as pool:
            return await chats.put_canned_reply(pool, shortcut, message_text, principal.user_id)

    async def remove_canned_reply(self, principal: Principal, shortcut: str) -> None:
        """Forget a canned reply.

        Raises:
            Refused: `forbidden`, `not_found`, `unavailable`.
        """
        _require_staff(principal)
        shortcut = shortcut if shortcut.startswith("/") else f"/{shortcut}"
        async with self._database.use() as pool:
            if not await chats.remove_canned_reply(pool, shortcut):
                raise Refused(ErrorCode.NOT_FOUND, "There is no such reply.")

    async def _send(self, principal: Principal, command: ChatSend, source: str) -> Ok:
        """Say something in the session that is named, else in the player's open one, else in a new
        one."""
        if principal.is_staff:
            await self._expand(command)
            if command.session_id:
                return await self._ask(command.session_id, command, principal, source)
            if command.player_id is None:
                raise bad_field("session_id", "Say which conversation.")
            async with self._database.use() as pool:
                name = await chats.name_of_player(pool, command.player_id)
            opening = Opening(command.player_id, name)
        else:
            self._whose(principal, command.player_id)
            opening = Opening(principal.user_id, principal.name)
            if command.session_id:
                try:
                    return await self._ask(command.session_id, command, principal, source)
                except SessionOver:
                    pass
        for _ in range(MAX_SESSIONS_TRIED):
            session_id = await self._open_session_of(opening.player_id)
            unborn = session_id is None
            if session_id is None:
                # Whoever says something at the same moment finds the same one.
                session_id = self._open.setdefault(opening.player_id, str(uuid.uuid4()))
            try:
                reply = await self._ask(session_id, command, principal, source, opening=opening)
                unborn = isinstance(reply, ChatSent) and reply.session.id != session_id
                return reply
            except SessionOver:
                self._forget(opening.player_id, session_id)
            finally:
                if unborn:
                    self._forget(opening.player_id, session_id)
        raise Refused(ErrorCode.CONFLICT, "The conversation ends whenever it begins; try again.")

    async def _require_own(self, principal: Principal, session_id: str) -> None:
        """Turn away a player who names a session that is not theirs, without asking its actor, by
        which they could tell that there is one.

        Raises:
            Refused: `not_found`, `unavailable`.
        """
        if self._open.get(principal.user_id) == session_id:
            return
        async with self._database.use() as pool:
            session = await chats.read_session(pool, session_id)
        if session is None or session.player_id != principal.user_id:
            raise no_session()

    async def _ask(
        self,
        session_id: str,
        command: AnyChatCommand,
        principal: Principal,
        source: str,
        *,
        opening: Opening | None = None,
        staff_name: str | None = None,
    ) -> Ok:
        reply = await self._sessions.ask(
            session_id,
            lambda answer: ChatAsk(command, principal, source, answer, opening, staff_name),
        )
        self._noted(principal, reply)
        return reply

    def _noted(self, principal: Principal, reply: Ok) -> None:
        """Take note of what a reply says, and complete it for who gets it."""
        if isinstance(reply, ChatSent):
            self._note_message(reply.message)
        if isinstance(reply, ChatChanged):
            self._note(reply.session)
            reply.session = self._seen_by(principal, reply.session)

    def _session_at_once(self, principal: Principal, command: AnyChatCommand) -> str | None:
        """Say which session a command is about, if that is beyond doubt without looking it up."""
        own = None if principal.is_staff else principal.user_id
        known = None if own is None else self._open.get(own)
        match command:
            case ChatAssign():
                return None
            case ChatSend() if own is None:
                return None if SHORTCUT.match(command.message_text) else command.session_id
            case ChatSend() if command.player_id not in (None, own):
                return None
            case ChatReceived(message_id=str(named)) | ChatRead(message_id=str(named)) if (
                not command.session_id
            ):
                session_id, player_id = self._said.get(named, ("", ""))
                return session_id if own in (None, player_id) else None
            case _:
                pass
        if own is None:
            return command.session_id
        return known if command.session_id in ("", known) else None

    async def _expand(self, command: ChatSend) -> None:
        """Put what a canned reply says in the place of its shortcut."""
        if SHORTCUT.match(command.message_text):
            async with self._database.use() as pool:
                text = await chats.canned_text(pool, command.message_text)
            command.message_text = text or command.message_text

    async def _staff_name(self, principal: Principal, command: ChatAssign) -> str | None:
        if command.staff_id is UNSET or command.staff_id == principal.user_id:
            return principal.name
        if command.staff_id is None:
            return None
        async with self._database.use() as pool:
            return await chats.name_of_staff(pool, command.staff_id)

    async def _session_of_message(self, principal: Principal, message_id: str) -> str:
        own = None if principal.is_staff else principal.user_id
        known = self._said.get(message_id)
        if known is not None and own in (None, known[1]):
            return known[0]
        async with self._database.use() as pool:
            found = await chats.session_of_message(pool, message_id, own)
        if found is None:
            raise _no_message()
        return found

    async def _open_session_of(self, player_id: str) -> str | None:
        known = self._open.get(player_id)
        if known is not None:
            return known
        async with self._database.use() as pool:
            found = await chats.open_session_of(pool, player_id)
        if found is not None:
            self._keep(player_id, found)
        return found

    def _note_message(self, message: ChatMessage) -> None:
        self._said[message.id] = (message.session_id, message.player_id)
        self._said.move_to_end(message.id)
        if len(self._said) > KNOWN_MESSAGES:
            self._said.popitem(last=False)

    def _note(self, session: ChatSession) -> None:
        if session.status == "resolved":
            self._forget(session.player_id, session.id)
        else:
            self._keep(session.player_id, session.id)

    def _keep(self, player_id: str, session_id: str) -> None:
        self._open[player_id] = session_id
        if len(self._open) > KNOWN_SESSIONS:
            self._open.popitem(last=False)

    def _forget(self, player_id: str, session_id: str) -> None:
        if self._open.get(player_id) == session_id:
            del self._open[player_id]

    def _whose(self, principal: Principal, player_id: str | None) -> str | None:
        """Return the player that a query is about; for a player that is themselves.

        Raises:
            Refused: `forbidden`.
        """
        if principal.is_staff:
            return player_id
        if player_id is not None and player_id != principal.user_id:
            raise Refused(
                ErrorCode.FORBIDDEN,
                "These conversations are somebody else's.",
                {"field": "player_id"},
            )
        return principal.user_id

    def _seen_by(self, principal: Principal, session: ChatSession) -> ChatSession:
        if not principal.is_staff:
            return session
        player = UserId(session.player_id)
        online = self._hub.connected(player_channel(player), player)
        return msgspec.structs.replace(session, player_online=online)


def _require_staff(principal: Principal) -> None:
    if not principal.is_staff:
        raise Refused(ErrorCode.FORBIDDEN, "Only staff may do this.")


def _no_message() -> Refused:
    return Refused(ErrorCode.NOT_FOUND, "There is no such message.")
