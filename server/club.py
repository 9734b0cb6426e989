"""What can be asked of the club, whichever way it is asked: the WebSocket gateway and the HTTP API
are coats on this. Whole subjects of it have a desk of their own.

Every method raises `Refused` with the code that the client is told, and nothing else that a client
can cause.
"""

import secrets
import uuid
from collections.abc import Callable, Mapping

import msgspec
from msgspec import UNSET, Struct

from actors.hub import Subscriber, Subscription
from game.room_settings import settings_for_new_room
from persistence import events
from persistence import rooms as stored_rooms
from persistence.errors import ConstraintViolated
from persistence.events import Absence
from persistence.snapshot import StoredRoom, snapshot_for
from protocol.commands import AnyRoomCommand, CreateRoom, Join, ListRooms, WaitlistCommand
from protocol.errors import ErrorCode, Refused, bad_field
from protocol.ids import RoomId, room_channel
from protocol.principal import Principal
from protocol.replies import Joined, Ok, RoleTaken, RoomReply, Rooms
from protocol.values import RoomRole
from protocol.views import BanView, RoomSnapshot, RoomView, SpectatorView, TableState
from server.account_desk import AccountDesk
from server.answers import Membership
from server.auth.rejoin_book import RejoinBook, Rejoined
from server.chat_desk import ChatDesk
from server.chats import Chats
from server.clock import now_ms
from server.club_database import ClubDatabase
from server.readiness import Readiness
from server.records_desk import RecordsDesk
from server.rooms import Rooms as LiveRooms
from server.staff_desk import StaffDesk
from server.waitlist_desk import WaitlistDesk

CODE_LENGTH = 6
CODE_ALPHABET = "ABCDEFGHJKMNPQRSTUVWXYZ23456789"
"""Without the look-alikes I, L, O, 0 and 1."""

_NO_STATE = msgspec.json.encode(TableState(game=None, hand=None, seats=[], timer=None, legal=None))


class Joint(Struct, frozen=True):
    """A held subscription, and what closes the gap before it: missed events, or the snapshot.

    `seq` is where that ends and live events begin.
    """

    subscription: Subscription
    seq: int
    missed: list[dict[str, object]] | None
    snapshot: RoomSnapshot | None


class Club:
    """The club's front desk.

    Args:
        database: the database.
        rooms: the live rooms.
        chats: the live chat sessions.
        rejoin: rejoin tokens.
        readiness: whether the club can be used.
        touch: is told that a user did something in a room, by whatever way.
        node_id: this process, which owns the rooms made here.
        starting_balance: chips of a new wallet.

    Attributes:
        accounts: wallets, and what moved on them.
        chats: what players and staff say to each other.
        records: what is kept of rooms.
        staff: what only staff do.
        waitlists: who waits where.
    """

    def __init__(
        self,
        *,
        database: ClubDatabase,
        rooms: LiveRooms,
        chats: Chats,
        rejoin: RejoinBook,
        readiness: Readiness,
        touch: Callable[[str, str], None],
        node_id: str,
        starting_balance: int,
    ) -> None:
        self.rooms = rooms
        self.rejoin = rejoin
        self.accounts = AccountDesk(database, starting_balance)
        self.chats = ChatDesk(database, chats)
        self.records = RecordsDesk(database)
        self.staff = StaffDesk(database, rooms, chats, starting_balance)
        self.waitlists = WaitlistDesk(database)
        self._database = database
        self._readiness = readiness
        self._touch = touch
        self._node_id = node_id

    def ready(self) -> tuple[bool, Mapping[str, object]]:
        """Say whether the club can be used, and particulars for an operator."""
        return self._readiness.ready, self._readiness.particulars

    async def rejoin_with(self, room_id: str | None, token: str) -> Rejoined:
        """Let somebody in by rejoin token, into the room that it is for.

        Raises:
            Unauthenticated: the token lets nobody into this room, or into any.
            Refused: `unavailable`.
        """
        async with self._database.use():
            return await self.rejoin.use(room_id, token)

    async def run(
        self,
        principal: Principal,
        command: AnyRoomCommand | CreateRoom | ListRooms,
        *,
        source: str,
    ) -> Ok:
        """Carry a command out and return its reply, durable.

        Raises:
            Refused: any code; nothing was changed.

        Cancellation: the command may be carried out all the same.
        """
        await self.accounts.welcome(principal)
        match command:
            case CreateRoom():
                return await self._create_room(principal, command, source)
            case ListRooms():
                return await self._list_rooms(principal)
            case Join():
                room_id = await self.room_to_join(command)
            case WaitlistCommand():
                room_id = await self.waitlists.complete(command)
            case _:
                room_id = command.room_id
        if not room_id:
            raise bad_field("room_id", "Say which room.")
        reply = await self.rooms.ask(room_id, command, principal, source)
        self._touch(room_id, principal.user_id)
        if isinstance(reply, Joined) and reply.status == "approved":
            reply.rejoin_token = await self._token(room_id, principal.user_id, "approved")
        elif isinstance(reply, RoleTaken):
            reply.rejoin_token = await self._token(room_id, principal.user_id, reply.role)
        return reply

    async def room_to_join(self, command: Join) -> str:
        """Find the room that a join names by id or code.

        Raises:
            Refused: `bad_request` for neither, `not_found`, `unavailable`.
        """
        if command.room_id:
            return command.room_id
        if command.code is None:
            raise bad_field("room_id", "Say which room, by room_id or code.")
        async with self._database.use() as pool:
            found = await stored_rooms.room_id_by_code(pool, command.code)
        if found is None:
            raise Refused(ErrorCode.NOT_FOUND, "There is no room with this code.")
        return found

    async def hydrate(
        self, principal: Principal, room_id: str, role: RoomRole | None
    ) -> RoomSnapshot:
        """Read a room whole, as the asker's role (or a lesser one) sees it.

        Whoever asks is there: a client without a socket keeps its seat by asking.

        Raises:
            Refused: `not_found`, `forbidden`, `unavailable`.
        """
        await self.accounts.welcome(principal)
        stored = await self._database.read_room(room_id, principal.user_id)
        self._touch(room_id, principal.user_id)
        return await self._snapshot(stored, principal, room_id, role)

    async def join_events(
        self, principal: Principal, room_id: str, subscriber: Subscriber, last_seq: int | None
    ) -> Joint:
        """Subscribe to a room and close the gap up to its live events.

        The caller sends what it got and releases the subscription at `seq`.

        Raises:
            Refused: `not_found`, `not_approved`, `moved`, `unavailable`, …; nothing is subscribed.

        Cancellation leaves nothing subscribed.
        """
        subscription = await self.rooms.attach(room_id, principal, subscriber)
        try:
            if last_seq is not None:
                missed = await self._database.missed(
                    Absence(room_id, last_seq, principal.user_id, subscription.operator)
                )
                if missed is not None:
                    return Joint(subscription, missed.seq, missed.events, None)
            stored = await self._database.read_room(room_id, principal.user_id)
            snapshot = await self._snapshot(stored, principal, room_id, None)
            return Joint(subscription, snapshot.seq, None, snapshot)
        except BaseException:
            self.rooms.hub.unsubscribe(room_channel(RoomId(room_id)), subscriber)
            raise

    async def room(self, principal: Principal, room_id: str) -> RoomView:
        """Read a room's own view, which anybody may have who knows its id.

        Raises:
            Refused: `not_found`, `unavailable`.
        """
        return (await self._database.read_room(room_id, principal.user_id)).room

    async def membership(self, principal: Principal, room_id: str) -> Membership:
        """Tell the asker where they stand with a room, with their rejoin token if they have one.

        Raises:
            Refused: `not_found`, `unavailable`.
        """
        stored = await self._database.read_room(room_id, principal.user_id)
        role = stored.role_of(principal.user_id)
        let_in = role not in ("guest", "pending")
        token = await self._token(room_id, principal.user_id, role) if let_in else None
        return Membership(
            room_id=room_id,
            user_id=principal.user_id,
            status=stored.standing(principal.user_id),
            role=role,
            rejoin_token=token,
        )

    async def spectators(self, principal: Principal, room_id: str) -> list[SpectatorView]:
        """List who watches a room.

        Raises:
            Refused: `not_found`, `forbidden`, `unavailable`.
        """
        return (await self.hydrate(principal, room_id, None)).spectators

    async def bans(self, principal: Principal, room_id: str) -> list[BanView]:
        """List who is banned from a room, for its host and staff.

        Raises:
            Refused: `not_found`, `forbidden`, `unavailable`.
        """
        bans = (await self.hydrate(principal, room_id, None)).bans
        if bans is UNSET:
            raise Refused(ErrorCode.FORBIDDEN, "Only the host or staff may do this.")
        return bans

    async def room_of_game(self, game_id: str) -> str:
        """Find the room of a game.

        Raises:
            Refused: `not_found`, `unavailable`.
        """
        async with self._database.use() as pool:
            found = await stored_rooms.room_id_by_game(pool, game_id)
        if found is None:
            raise Refused(ErrorCode.NOT_FOUND, "There is no such game.")
        return found

    async def _create_room(
        self, principal: Principal, command: CreateRoom, source: str
    ) -> RoomReply:
        settings = settings_for_new_room(command.settings)
        room_id = str(uuid.uuid4())
        while True:
            code = "".join(secrets.choice(CODE_ALPHABET) for _ in range(CODE_LENGTH))
            try:
                async with self._database.use() as pool:
                    await stored_rooms.create_room(
                        pool,
                        room_id=room_id,
                        code=code,
                        host_id=principal.user_id,
                        host_name=command.display_name or principal.name,
                        role=principal.role,
                        settings=settings,
                        empty_state=_NO_STATE,
                        node_id=self._node_id,
                        now=now_ms(),
                        source=source,
                        command_id=command.command_id,
                    )
                break
            except stored_rooms.CodeTaken:
                continue
            except ConstraintViolated as violated:
                if violated.constraint != "commands_key" or command.command_id is None:
                    raise
                room_id = await self._room_made_by(command.command_id, principal)
                break
        stored = await self._database.read_room(room_id, principal.user_id)
        return RoomReply(seq=stored.seq, room=stored.room)

    async def _room_made_by(self, command_id: str, principal: Principal) -> str:
        async with self._database.use() as pool:
            found = await events.outcome_of(pool, command_id, principal.user_id)
        if found is None or found[0] != "create_room" or found[1] is None:
            raise Refused(
                ErrorCode.CONFLICT,
                "This command_id was used for another command.",
                {"field": "command_id"},
            )
        return found[1]

    async def _list_rooms(self, principal: Principal) -> Rooms:
        async with self._database.use() as pool:
            return Rooms(
                rooms=await stored_rooms.list_rooms(
                    pool, user_id=principal.user_id, staff=principal.is_staff
                )
            )

    async def _snapshot(
        self, stored: StoredRoom, principal: Principal, room_id: str, role: RoomRole | None
    ) -> RoomSnapshot:
        own = stored.role_of(principal.user_id)
        token = None
        if own not in ("guest", "pending"):
            token = await self._token(room_id, principal.user_id, own)
        return snapshot_for(stored, principal, wanted=role, rejoin_token=token, now=now_ms())

    async def _token(self, room_id: str, user_id: str, role: RoomRole) -> str:
        async with self._database.use():
            return await self.rejoin.current(room_id, user_id, role, None)
