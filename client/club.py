"""The club as one user's client sees it: one socket that is always there again.

The socket is lost now and then; what the user does is not. After a loss the client connects again,
says who it is, takes every room up where it was (`last_seq`) and sends every command again that has
no answer yet, under the same `command_id`, so that it happens once.
"""

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from math import inf
from typing import NoReturn, TypeVar
from uuid import uuid4

import msgspec
import trio

from client.chats import Chats
from client.connection import Arrived, Connection, moved_url, open_connection, raise_unchanged
from client.errors import (
    ClientError,
    ConnectFailed,
    ConnectionClosed,
    NotSent,
    OutcomeUnknown,
    Refused,
    RoomGone,
)
from client.login import Login, RejoinRefused
from client.messages import AnyEvent, RawMessage, event_of
from client.room import LiveRoom
from client.timing import Backoff, Timing
from client.waitlists import Waitlists
from protocol import commands
from protocol.codec import Coding
from protocol.commands import Command
from protocol.errors import ErrorCode
from protocol.events import MembershipApproved
from protocol.ids import room_of
from protocol.replies import (
    Authenticated,
    Hydrated,
    Joined,
    Ok,
    RoleTaken,
    RoomReply,
    Rooms,
    WaitlistAccepted,
)
from protocol.values import SettingsPatch
from protocol.views import LobbyRoom, RoomSnapshot, RoomView

Token = str | Callable[[], str] | Callable[[], Awaitable[str]]
R = TypeVar("R", bound=Ok | Authenticated | Hydrated)

TRY_AGAIN = frozenset({ErrorCode.BUSY, ErrorCode.UNAVAILABLE, ErrorCode.RATE_LIMITED})
_ONLY_ASKS = (
    commands.Hydrate,
    commands.ListRooms,
    commands.Heartbeat,
    commands.Subscribe,
    commands.ChatHistory,
    commands.ChatInbox,
    commands.ChatTyping,
)


class CardroomClient:
    """One user in the club. Made by `open_club`, whose block it lives for.

    Its methods may be used by any number of tasks. They wait while there is no connection, up to
    `command_s`, and raise

    - `Refused` with what the server answered (`busy`, `unavailable` and `rate_limited` are tried
      again first, `moved` is followed);
    - `NotSent` or `OutcomeUnknown` when time is up;
    - `ConnectionClosed` or `NotAuthenticated` once the server has said not to come back.

    A cancelled call may have been carried out.
    """

    def __init__(
        self,
        url: str,
        token: Token | None,
        *,
        rejoin_tokens: dict[str, str] | None = None,
        coding: Coding = Coding.MSGPACK,
        timing: Timing | None = None,
        on_event: Callable[[RawMessage], None] | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self.url = url
        self.connections = 0
        """How many times it was connected and logged in so far."""
        self.failure: ClientError | None = None
        """Why it has given up for good; None while it has not."""
        self._home = url
        self._coding = coding
        self._timing = timing or Timing()
        self._hook = on_event
        self._backoff = Backoff(self._timing, rng or random.Random())
        self._login = Login(token, rejoin_tokens or {})
        self.waitlists = Waitlists(self)
        self.chats = Chats(self)
        self._rooms: dict[str, LiveRoom] = {}
        self._connection: Connection | None = None
        self._change = trio.Event()
        self._nursery: trio.Nursery | None = None
        self._socket: Connection | None = None
        self._leaving = False
        self._logged_in_at = inf

    @property
    def me(self) -> Authenticated:
        """Who the server says the user is."""
        assert self._login.me is not None, "the client is used within its block"
        return self._login.me

    @property
    def connected(self) -> bool:
        """Whether there is a connection, logged in."""
        return self._connection is not None

    @property
    def rejoin_tokens(self) -> dict[str, str]:
        """The rejoin tokens that the user has, by room."""
        return dict(self._login.rejoin_tokens)

    # Rooms

    async def create_room(
        self, settings: SettingsPatch | None = None, display_name: str | None = None
    ) -> RoomView:
        """Make a room; the user is its host."""
        command = commands.CreateRoom(
            settings=settings or SettingsPatch(), display_name=display_name
        )
        return (await self.ask(command, RoomReply)).room

    async def list_rooms(self) -> list[LobbyRoom]:
        """List the lobby."""
        return (await self.ask(commands.ListRooms(), Rooms)).rooms

    async def join(
        self,
        *,
        room_id: str | None = None,
        code: str | None = None,
        display_name: str | None = None,
    ) -> Joined:
        """Ask to be let into a room, by id or by code."""
        command = commands.Join(room_id=room_id, code=code, display_name=display_name)
        joined = await self.ask(command, Joined)
        self._login.remember(joined.room_id, joined.rejoin_token or None, keep=True)
        return joined

    async def enter(self, room_id: str) -> LiveRoom:
        """Follow a room live, from now until `leave`; the same room again is the same object.

        Raises:
            Refused: the room is not there, or the user has not been let in.
        """
        room = self._rooms.get(room_id)
        if room is None or room.gone is not None:
            staff = self.me.role == "staff"
            room = LiveRoom(self, room_id, staff=staff, need_snapshot=self._hydrate_soon)
            self._rooms[room_id] = room
            command = commands.Subscribe(channel=room.channel)
            try:
                await self._exchange(command, partial(self._take_up, room))
            except BaseException:
                room.end()
                self._forget(room)
                raise
        try:
            await room.until(lambda _: True)
        except RoomGone as gone:
            raise gone.refusal or gone from None
        return room

    async def enter_when_approved(self, room_id: str) -> LiveRoom:
        """Follow a room as soon as its host has let the user in.

        Raises:
            Refused: the room is not there any more.
        """
        while True:
            change = self._change
            try:
                return await self.enter(room_id)
            except Refused as refused:
                if refused.code not in (ErrorCode.NOT_APPROVED, ErrorCode.FORBIDDEN):
                    raise
            await change.wait()

    async def leave(self, room: LiveRoom) -> None:
        """Leave a room altogether; a seat in a hand is given up after it."""
        await self.ask(commands.LeaveRoom(room_id=room.room_id), Ok)
        self._login.remember(room.room_id, None)
        room.end()
        self._forget(room)

    async def ask(self, command: Command, reply: type[R], *, timeout_s: float | None = None) -> R:
        """Send any command, see it through, and return its reply as `reply`.

        A command without a `command_id` gets one, unless it only asks for something.

        Raises:
            Refused, NotSent, OutcomeUnknown, ConnectionClosed: as for the class.
        """
        answer = await self._exchange(command, timeout_s=timeout_s)
        done = msgspec.convert(answer, reply)
        if isinstance(done, RoleTaken):
            room_id = getattr(command, "room_id", "")
            if isinstance(done, WaitlistAccepted):
                room_id = done.entry.table_id
            self._login.remember(room_id, done.rejoin_token or None, keep=True)
        return done

    async def _exchange(
        self, command: Command, arrived: Arrived | None = None, *, timeout_s: float | None = None
    ) -> RawMessage:
        if command.command_id is None and not isinstance(command, _ONLY_ASKS):
            command = msgspec.structs.replace(command, command_id=str(uuid4()))
        limit = self._timing.command_s if timeout_s is None else timeout_s
        sent = False
        with trio.move_on_after(limit):
            attempt = 0
            while True:
                connection = await self._connected()
                sent = True
                try:
                    return await connection.request(command, arrived)
                except ConnectionClosed:
                    # Sent again, under the same command_id, on the next connection.
                    await connection.wait_closed()
                    self._drop(connection)
                except Refused as refused:
                    await self._refused(refused, connection, attempt)
                    attempt += 1
        if not sent:
            raise NotSent("there was no connection all the time")
        raise OutcomeUnknown(command.command_id)

    async def _refused(self, refused: Refused, connection: Connection, attempt: int) -> None:
        """Wait or move if that will help; raise the refusal if not."""
        if self._moved(refused, connection):
            return
        if refused.code not in TRY_AGAIN:
            raise refused
        await trio.sleep(self._backoff.retry_s(refused.retry_after_s, attempt))

    def _moved(self, refused: Refused, connection: Connection) -> bool:
        if not self._follow(refused):
            return False
        connection.abandon("moved")
        self._drop(connection)
        return True

    def _follow(self, refused: Refused) -> bool:
        """Take the address of a `moved` for the next connection; say whether it was one."""
        address = refused.details.get("address")
        if refused.code != ErrorCode.MOVED or not isinstance(address, str) or not address:
            return False
        self.url = moved_url(address, self.url)
        return True

    async def _connected(self) -> Connection:
        while True:
            if self.failure is not None:
                self._give_up(self.failure)
            if self._connection is not None:
                return self._connection
            await self._change.wait()

    def _give_up(self, failure: ClientError) -> NoReturn:
        raise failure.again() if isinstance(failure, ConnectionClosed) else failure

    # The connection

    async def run(self) -> None:
        """Stay connected until told not to come back; `open_club` runs it."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            refusals = 0
            while self.failure is None and not self._leaving:
                self._logged_in_at = inf
                error = await self._one_connection()
                lasted = max(0.0, trio.current_time() - self._logged_in_at)
                if lasted:
                    refusals = 0
                if isinstance(error, ConnectionClosed) and error.permanent:
                    self._fail(error)
                elif isinstance(error, RejoinRefused):
                    continue
                elif isinstance(error, Refused) and error.code in TRY_AGAIN:
                    await trio.sleep(self._backoff.retry_s(error.retry_after_s, refusals))
                    refusals += 1
                elif isinstance(error, Refused) and not self._follow(error):
                    self._fail(error)
                else:
                    if isinstance(error, ConnectFailed):
                        # Where a room moved to may be gone by now; home knows better.
                        self.url = self._home
                    await trio.sleep(self._backoff.wait_s(error, lasted))
            nursery.cancel_scope.cancel()

    async def aclose(self) -> None:
        """Say goodbye to the server, and stay away."""
        self._leaving = True
        if self._socket is not None:
            await self._socket.aclose()

    async def _one_connection(self) -> Exception:
        """Connect, log in, take the rooms up, and stay; return how it ended."""
        try:
            async with open_connection(
                self.url, self._on_event, coding=self._coding, timing=self._timing
            ) as connection:
                self._socket = connection
                try:
                    await self._log_in(connection)
                    self._connection = connection
                    self._logged_in_at = trio.current_time()
                    self.connections += 1
                    self.chats.reconnected()
                    self._tell()
                    return await connection.wait_closed()
                finally:
                    self._drop(connection)
        except (ConnectFailed, ConnectionClosed, Refused, RejoinRefused) as error:
            return error

    async def _log_in(self, connection: Connection) -> None:
        rooms = [room for room in self._rooms.values() if room.gone is None]
        taken_up = await self._login.run(connection, rooms, self._take_up)
        for room in rooms:
            if room is taken_up:
                continue
            command = commands.Subscribe(channel=room.channel, last_seq=room.seq)
            try:
                await connection.request_soon(command, partial(self._take_up, room))
            except Refused as refused:
                if refused.code in TRY_AGAIN:
                    raise
                if not self._moved(refused, connection):
                    room.end(refused)
                    self._forget(room)

    def _take_up(self, room: LiveRoom, reply: RawMessage) -> None:
        """Bring a room up to date from the reply that begins its events on a connection."""
        missed, snapshot = reply.get("missed"), reply.get("room")
        if snapshot is not None:
            self._install(room, snapshot)
        elif isinstance(missed, list) and reply.get("recovered") is True and room.seq is not None:
            for raw in missed:
                self._on_event(raw)
        elif room.seq is not None:
            room.resync()
        else:
            self._hydrate_soon(room)

    def _install(self, room: LiveRoom, raw: object) -> None:
        snapshot = msgspec.convert(raw, RoomSnapshot)
        self._login.remember(room.room_id, snapshot.me.rejoin_token, keep=True)
        room.install(snapshot)

    def soon(self, run: Callable[[], Awaitable[None]]) -> None:
        """Have something done beside what is under way, for as long as the client lives."""
        if self._nursery is not None:
            self._nursery.start_soon(run)

    def _hydrate_soon(self, room: LiveRoom) -> None:
        if self._nursery is not None:
            self._nursery.start_soon(self._hydrate, room)

    async def _hydrate(self, room: LiveRoom) -> None:
        def install(reply: RawMessage) -> None:
            self._install(room, {key: reply[key] for key in reply if key not in ("type", "re")})

        while room.gone is None and room.seq is None:
            try:
                await self._exchange(commands.Hydrate(room_id=room.room_id), install)
            except (NotSent, OutcomeUnknown):
                continue
            except ClientError as error:
                room.end(error)
                self._forget(room)

    def _on_event(self, raw: RawMessage) -> None:
        if self._hook is not None:
            self._hook(raw)
        event = event_of(raw)
        room_id = room_of(event.channel)
        if room_id is not None:
            room = self._rooms.get(room_id)
            if room is not None:
                room.receive(event)
        else:
            self._personal(event)

    def _personal(self, event: AnyEvent) -> None:
        if isinstance(event, MembershipApproved):
            self._login.remember(event.room_id, event.rejoin_token or None)
        self.waitlists.take(event)
        self.chats.take(event)
        self._tell()

    def _forget(self, room: LiveRoom) -> None:
        if self._rooms.get(room.room_id) is room:
            del self._rooms[room.room_id]

    def _drop(self, connection: Connection) -> None:
        if self._connection is connection:
            self._connection = None
            self.chats.lost()
            self._tell()

    def _fail(self, error: ClientError) -> None:
        self.failure = error
        for room in list(self._rooms.values()):
            room.end(error)
        self._rooms.clear()
        self._tell()

    def _tell(self) -> None:
        self._change.set()
        self._change = trio.Event()

    async def connection_changed(self) -> None:
        """Wait until the connection comes, goes, or is given up, or a message to the user comes."""
        await self._change.wait()


@asynccontextmanager
async def open_club(
    url: str,
    token: Token | None = None,
    *,
    rejoin_tokens: dict[str, str] | None = None,
    coding: Coding = Coding.MSGPACK,
    timing: Timing | None = None,
    on_event: Callable[[RawMessage], None] | None = None,
    rng: random.Random | None = None,
) -> AsyncIterator[CardroomClient]:
    """Be in the club for the duration of a block.

    Args:
        url: the server's socket, such as ``ws://127.0.0.1:8001/ws``.
        token: the access token, or what gives a fresh one each time it is needed.
        rejoin_tokens: rejoin tokens by room, from an earlier time.
        coding: how messages are written.
        timing: None for the defaults.
        on_event: called with each event as it came in, missed ones included.
        rng: for the jitter of waits.

    Raises:
        NotSent: no connection within `command_s`.
        Refused: the token is not accepted.
        ConnectionClosed: the server does not want this client.
    """
    client = CardroomClient(
        url,
        token,
        rejoin_tokens=rejoin_tokens,
        coding=coding,
        timing=timing,
        on_event=on_event,
        rng=rng,
    )
    inside: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            try:
                nursery.start_soon(client.run)
                with trio.move_on_after(client._timing.command_s):
                    await client._connected()
                if client._login.me is None:
                    raise NotSent(f"no connection to {url}")
                yield client
            except BaseException as error:
                inside = error
                raise
            finally:
                await client.aclose()
                nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        # A nursery wraps the block's own error; the block's caller knows nothing of nurseries.
        _, rest = group.split(trio.Cancelled)
        if inside is not None and rest is not None and rest.exceptions == (inside,):
            raise_unchanged(inside)
        raise
