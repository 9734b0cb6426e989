"""One socket's side of the protocol: decode, authenticate, hand on, answer."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import structlog
import trio

from actors.room import Ask
from actors.supervisor import crash_id
from game.chat import SessionOver
from protocol.codec import BadMessage, Coding, decode_command, encode
from protocol.commands import (
    AnyChatCommand,
    AnyCommand,
    AnyRoomCommand,
    Authenticate,
    ChatCommand,
    ChatHistory,
    ChatInbox,
    ChatSend,
    CreateRoom,
    Heartbeat,
    Hydrate,
    Join,
    ListRooms,
    Subscribe,
    Unsubscribe,
    WaitlistCommand,
)
from protocol.errors import CloseCode, ErrorCode, Refused, bad_field
from protocol.ids import STAFF_PORTAL, player_channel, player_of, room_of
from protocol.principal import Principal
from protocol.replies import Authenticated, Hydrated, Ok, Seen, Subscribed
from server.auth.errors import Unauthenticated
from server.clock import now_ms
from server.club import Joint
from server.gateway.joining import authenticated, next_try, subscribed
from server.gateway.rate import TokenBucket
from server.posting import unavailable
from server.transport import Connection, frame
from server.waitlist_desk import named_table, needs_look_up

if TYPE_CHECKING:
    from server.gateway.gateway import Gateway

log = structlog.stdlib.get_logger(__name__)

MAX_AHEAD = 64
"""Commands that may wait for the authentication that they follow, and that may run at once."""
_BUSY = Refused(ErrorCode.BUSY, "Too many commands at once.", retry_after_s=0.5)


class Session:
    """One open socket. It is the transport's session and the hub's subscriber."""

    __slots__ = (
        "_ahead",
        "_bucket",
        "_connection",
        "_entering",
        "_excess",
        "_gateway",
        "_gone",
        "_heard",
        "_principal",
        "_room_id",
        "_running",
        "_text",
        "_turns",
        "coding",
        "cork",
        "enqueue",
        "is_staff",
        "uncork",
        "user_id",
    )

    def __init__(self, gateway: "Gateway", connection: Connection, coding: Coding) -> None:
        self.coding = coding
        self.user_id = ""
        self.is_staff = False
        # The hub's subscriber is the socket itself.
        self.enqueue = connection.enqueue
        self.cork = connection.cork
        self.uncork = connection.uncork
        self._gateway = gateway
        self._connection = connection
        self._text = coding is Coding.JSON
        self._principal: Principal | None = None
        self._room_id = ""
        self._ahead: list[AnyCommand] | None = None
        self._running = 0
        self._entering: list[trio.CancelScope] | None = None
        self._gone = False
        self._heard = False
        self._turns: dict[str, trio.Event] = {}
        limits = gateway.limits
        self._bucket = TokenBucket(limits.commands_per_s, limits.command_burst, trio.current_time())
        self._excess = 0

    # The transport's session

    def on_message(self, data: bytes | str) -> None:
        """Take one frame."""
        self._heard = True
        if isinstance(data, str) is not self._text:
            self._connection.close(
                CloseCode.UNSUPPORTED_DATA, f"{self.coding.value} has other frames"
            )
            return
        try:
            command = decode_command(self.coding, data)
        except BadMessage as bad:
            if self._may_go_on(bad.re):
                self._refuse(bad.re, bad)
            return
        if self._may_go_on(command.id):
            self._take(command)

    def on_closed(self, code: int, reason: str) -> None:
        """Leave everything; who fell silent was there until they last spoke."""
        self._gone = True
        for scope in self._entering or ():
            scope.cancel()
        self._gateway.left(self, self._spoke_at() if code == CloseCode.IDLE else None)

    # For presence and the gateway

    def take_seen_at(self) -> int | None:
        """Return when the last message came (UTC, ms) if one came since the last call."""
        if not self._heard:
            return None
        self._heard = False
        return self._spoke_at()

    def _spoke_at(self) -> int:
        ago_ms = int((trio.current_time() - self._connection.last_message_at) * 1000)
        return now_ms() - max(0, ago_ms)

    def close(self, code: int, reason: str) -> None:
        """Close the socket."""
        self._connection.close(code, reason)

    # Commands

    def _may_go_on(self, re: int | None) -> bool:
        wait_s = self._bucket.take(trio.current_time())
        if not wait_s:
            self._excess = 0
            return True
        self._excess += 1
        if self._excess > self._gateway.limits.command_burst:
            self._connection.close(CloseCode.FLOODING, "too many commands")
            return False
        self._refuse(
            re,
            Refused(ErrorCode.RATE_LIMITED, "That is too fast.", retry_after_s=round(wait_s, 3)),
        )
        return False

    def _take(self, command: AnyCommand) -> None:
        if self._ahead is not None:
            if len(self._ahead) < MAX_AHEAD:
                self._ahead.append(command)
            else:
                self._refuse(command.id, _BUSY)
        elif isinstance(command, Authenticate):
            if self._start(command, self._authenticate):
                self._ahead = []
                # What is limited is the client's silence: from here on it waits for us.
                self._connection.expect_before(None)
        elif self._principal is None:
            refusal = Refused(ErrorCode.UNAUTHENTICATED, "Authenticate first.")
            self._connection.close(
                CloseCode.NOT_AUTHENTICATED,
                "not authenticated",
                after=self._framed(refusal.reply(command.id)),
            )
        else:
            self._dispatch(command, self._principal)

    def _dispatch(self, command: AnyCommand, principal: Principal) -> None:
        match command:
            case Heartbeat():
                self._send(Seen(re=command.id, at=now_ms()))
            case Unsubscribe():
                self._gateway.hub.unsubscribe(command.channel, self)
                self._send(Ok(re=command.id))
            case Subscribe():
                self._start(command, self._subscribe)
            case Hydrate():
                command.room_id = command.room_id or self._room_id
                self._start(command, self._hydrate)
            case CreateRoom() | ListRooms():
                self._start(command, self._run)
            case Join() if command.room_id is None:
                self._start(command, self._join_by_code)
            case WaitlistCommand() if needs_look_up(command):
                self._start(command, self._to_waitlist)
            case ChatCommand():
                self._to_conversation(command, principal)
            case ChatHistory() | ChatInbox():
                self._start(command, self._chat)
            case Authenticate():
                raise AssertionError("taken before")
            case _:
                self._to_room(command, principal)

    def _to_room(self, command: AnyRoomCommand, principal: Principal) -> None:
        """Hand a room's command over in this very step where the room is live."""
        if isinstance(command, WaitlistCommand):
            command.room_id = named_table(command)
        room_id = command.room_id = command.room_id or self._room_id
        if not room_id:
            self._refuse(command.id, bad_field("room_id", "Say which room."))
            return
        ask = self._ask(command, principal)
        try:
            posted = self._gateway.club.rooms.post(room_id, ask)
        except Refused as refusal:
            ask.answer(refusal)
            return
        if not posted:
            self._start(command, partial(self._send_to_room, room_id, ask))

    def _ask(self, command: AnyRoomCommand, principal: Principal) -> Ask:
        return Ask(
            command,
            principal,
            "websocket",
            partial(self._answer, command, trio.current_time()),
            self,
        )

    async def _send_to_room(self, room_id: str, ask: Ask, _: AnyCommand) -> None:
        await self._gateway.club.rooms.send(room_id, ask)

    def _to_conversation(self, command: AnyChatCommand, principal: Principal) -> None:
        """Hand a chat's command over in this very step where its session is live and known, and
        nothing that came before it is being looked up."""
        key = ""
        if principal.is_staff:
            named = command.player_id if isinstance(command, ChatSend) else None
            key = command.session_id or named or ""
        began = trio.current_time()

        def answer(reply: Ok | Refused) -> None:
            if isinstance(reply, SessionOver):
                self._start_in_turn(command, key)
            else:
                self._answer(command, began, reply)

        try:
            posted = key not in self._turns and self._gateway.club.chats.post(
                principal, command, source="websocket", answer=answer
            )
        except Refused as refusal:
            self._answer(command, began, refusal)
            return
        if not posted:
            self._start_in_turn(command, key)

    def _answer(self, command: AnyCommand, began: float, answer: Ok | Refused) -> None:
        self._gateway.count(command, answer, began)
        if self._gone:
            # What it did may have let this socket into a room.
            self._gateway.hub.drop(self)
        elif isinstance(answer, Refused):
            self._refuse(command.id, answer)
        else:
            answer.re = command.id
            self._send(answer)

    # What takes its time

    def _start(self, command: AnyCommand, run: Callable[[AnyCommand], Awaitable[None]]) -> bool:
        """Carry a command out beside the reading; False if too many are under way."""
        if self._running >= MAX_AHEAD:
            self._refuse(command.id, _BUSY)
            return False
        self._running += 1
        self._gateway.start(self._guarded, command, run)
        return True

    def _start_in_turn(self, command: AnyChatCommand, key: str) -> None:
        """Start a chat's command, which is carried out after those that came before it for the same
        conversation: what somebody says stays in its order."""
        before, done = self._turns.get(key), trio.Event()

        async def in_turn(command: AnyCommand) -> None:
            try:
                if before is not None:
                    await before.wait()
                await self._chat(command)
            finally:
                done.set()
                if self._turns.get(key) is done:
                    del self._turns[key]

        if self._start(command, in_turn):
            self._turns[key] = done

    async def _guarded(
        self, command: AnyCommand, run: Callable[[AnyCommand], Awaitable[None]]
    ) -> None:
        began = trio.current_time()
        try:
            await run(command)
        except Refused as refusal:
            self._answer(command, began, refusal)
        except Exception as error:
            log.exception("command_failed", type=type(command).__name__, crash_id=crash_id(error))
            self._refuse(
                command.id,
                Refused(
                    ErrorCode.INTERNAL,
                    "Something went wrong here; it was noted under this id.",
                    {"id": crash_id(error)},
                ),
            )
        finally:
            self._running -= 1

    @contextmanager
    def _while_here(self) -> Iterator[None]:
        """Give the block up when the client has gone: nobody is there to be let in any more."""
        with trio.CancelScope() as scope:
            if self._gone:
                scope.cancel()
            self._entering = [*(self._entering or ()), scope]
            try:
                yield
            finally:
                self._entering = [one for one in self._entering if one is not scope] or None

    async def _run(self, command: AnyCommand) -> None:
        assert self._principal is not None
        assert isinstance(command, CreateRoom | ListRooms)
        began = trio.current_time()
        reply = await self._gateway.club.run(self._principal, command, source="websocket")
        self._answer(command, began, reply)

    async def _join_by_code(self, command: AnyCommand) -> None:
        assert self._principal is not None
        assert isinstance(command, Join)
        club = self._gateway.club
        command.room_id = await club.room_to_join(command)
        await club.rooms.send(command.room_id, self._ask(command, self._principal))

    async def _to_waitlist(self, command: AnyCommand) -> None:
        assert self._principal is not None
        assert isinstance(command, WaitlistCommand)
        club = self._gateway.club
        room_id = await club.waitlists.complete(command, default=self._room_id)
        await club.rooms.send(room_id, self._ask(command, self._principal))

    async def _chat(self, command: AnyCommand) -> None:
        assert self._principal is not None
        began = trio.current_time()
        desk = self._gateway.club.chats
        match command:
            case ChatHistory():
                reply: Ok = await desk.history(self._principal, command)
            case ChatInbox():
                reply = await desk.inbox(self._principal, command)
            case _:
                assert isinstance(command, AnyChatCommand)
                reply = await desk.run(self._principal, command, source="websocket")
        self._answer(command, began, reply)

    async def _hydrate(self, command: AnyCommand) -> None:
        assert isinstance(command, Hydrate)
        assert self._principal is not None
        snapshot = await self._gateway.club.hydrate(self._principal, command.room_id, command.role)
        self._send(Hydrated.of(snapshot, command.id))

    async def _subscribe(self, command: AnyCommand) -> None:
        assert isinstance(command, Subscribe)
        principal = self._principal
        assert principal is not None
        channel, hub = command.channel, self._gateway.hub
        room_id = room_of(channel)
        if room_id is not None:
            with self._while_here():
                joint = await self._gateway.club.join_events(
                    principal, room_id, self, command.last_seq
                )
                self._finish(command.id, joint, subscribed(command, joint))
            return
        if channel == STAFF_PORTAL:
            allowed = principal.is_staff
        elif (owner := player_of(channel)) is not None:
            allowed = owner == principal.user_id
        else:
            raise bad_field("channel", "There is no such channel.")
        if not allowed:
            raise Refused(ErrorCode.FORBIDDEN, "This channel is not yours.")
        if hub.subscription(channel, self) is None:
            hub.subscribe(channel, self)
        self._send(Subscribed(re=command.id, channel=channel, seq=0))

    def _finish(self, re: int | None, joint: Joint, reply: object) -> None:
        """Send the reply and let live events follow it, none lost and none twice."""
        subscription = joint.subscription
        if self._gone:
            # It went before it was in, when it had nothing to leave.
            self._gateway.hub.drop(self)
            return
        if subscription.release(joint.seq, self._framed(reply)) or self._connection.closed:
            return
        if subscription.overflowed:
            self._connection.close(CloseCode.TOO_SLOW, "too much happened meanwhile")
        elif self._gateway.hub.subscription(subscription.channel, self) is not None:
            self._refuse(re, Refused(ErrorCode.CONFLICT, "You subscribed again meanwhile."))
        else:
            self._refuse(re, Refused(ErrorCode.NOT_APPROVED, "You are not in this room any more."))

    async def _authenticate(self, command: AnyCommand) -> None:
        assert isinstance(command, Authenticate)
        with self._while_here():
            try:
                principal, token = await self._gateway.identify(command)
            except Unauthenticated as failed:
                refusal = Refused(ErrorCode.UNAUTHENTICATED, f"Not authenticated: {failed.reason}.")
                self._connection.close(
                    CloseCode.NOT_AUTHENTICATED,
                    "not authenticated",
                    after=self._framed(refusal.reply(command.id)),
                )
            except Exception as error:
                self._not_authenticated(error if isinstance(error, Refused) else unavailable(1.0))
                raise
            else:
                await self._enter(command, principal, token)

    def _not_authenticated(self, refusal: Refused) -> None:
        """Refuse what followed an authentication that failed, and wait for the next one."""
        if self._principal is None:
            limit_s = self._gateway.limits.auth_timeout_s
            deadline, code = next_try(refusal, self._connection.opened_at, limit_s)
            self._connection.expect_before(deadline, code, "not authenticated in time")
        ahead, self._ahead = self._ahead or [], None
        for waiting in ahead:
            if self._principal is None:
                self._refuse(waiting.id, refusal)
            else:
                self._take(waiting)

    async def _enter(self, command: Authenticate, principal: Principal, token: str | None) -> None:
        if self._connection.closed:
            return
        if not self._gateway.entered(self, principal):
            self._connection.close(CloseCode.TOO_MANY_SOCKETS, "too many sockets")
            return
        self._principal = principal
        self._gateway.hub.subscribe(player_channel(principal.user_id), self)
        try:
            await self._welcome(command, principal, token)
        finally:
            ahead, self._ahead = self._ahead or [], None
            for waiting in ahead:
                self._take(waiting)

    async def _welcome(
        self, command: Authenticate, principal: Principal, token: str | None
    ) -> None:
        reply = Authenticated(
            re=command.id, user_id=principal.user_id, name=principal.name, role=principal.role
        )
        if token is not None:
            reply.rejoin_token = token
        joint = None
        if command.room_id is not None:
            self._room_id = command.room_id
            try:
                joint = await self._gateway.club.join_events(
                    principal, command.room_id, self, command.last_seq
                )
            except Refused as refusal:
                if refusal.code not in (ErrorCode.NOT_APPROVED, ErrorCode.FORBIDDEN):
                    raise
        if joint is None:
            self._send(reply)
            return
        self._finish(command.id, joint, authenticated(reply, command, joint))

    # Out

    def _send(self, message: object) -> None:
        self.enqueue(self._framed(message))

    def _refuse(self, re: int | None, refusal: Refused) -> None:
        self._send(refusal.reply(re))

    def _framed(self, message: object) -> bytes:
        return frame(encode(self.coding, message), text=self._text)
