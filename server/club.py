"""What can be asked of the club, whichever way it is asked: the WebSocket gateway and the HTTP API
are coats on this.

Every method raises `Refused` with the code that the client is told, and nothing else that a client
can cause.
"""

import secrets
import uuid
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

import msgspec
from msgspec import UNSET, Struct

from actors.hub import Subscriber, Subscription
from game.room_settings import settings_for_new_room
from persistence import accounts, events, overview, push
from persistence import rooms as stored_rooms
from persistence.accounts import AuditFilters, AuditLine, LedgerLine
from persistence.errors import ConstraintViolated, Unavailable
from persistence.pool import Pool
from persistence.snapshot import StoredRoom, read_room, snapshot_for
from protocol.commands import AnyRoomCommand, CreateRoom, Join, ListRooms, WaitlistCommand
from protocol.errors import ErrorCode, Refused, bad_field
from protocol.ids import RoomId, room_channel
from protocol.principal import Principal
from protocol.replies import Joined, Ok, RoleTaken, RoomReply, Rooms
from protocol.values import RoomRole
from protocol.views import BanView, RoomSnapshot, RoomView, SpectatorView, TableState
from server import archive
from server.answers import Me, Membership, Overview, QuarantinedRoom
from server.archive import File, HandLine
from server.auth.rejoin_book import RejoinBook, Rejoined
from server.clock import now_ms
from server.readiness import Readiness
from server.rooms import Rooms as LiveRooms
from server.rooms import unavailable
from server.waitlist_desk import WaitlistDesk

CODE_LENGTH = 6
CODE_ALPHABET = "ABCDEFGHJKMNPQRSTUVWXYZ23456789"
"""Without the look-alikes I, L, O, 0 and 1."""

KNOWN_USERS = 100_000
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
        pool: the database.
        rooms: the live rooms.
        rejoin: rejoin tokens.
        readiness: until it says ready, everything is `unavailable`.
        touch: is told that a user did something in a room, by whatever way.
        node_id: this process, which owns the rooms made here.
        starting_balance: chips of a new wallet.
    """

    def __init__(
        self,
        *,
        pool: Pool,
        rooms: LiveRooms,
        rejoin: RejoinBook,
        readiness: Readiness,
        touch: Callable[[str, str], None],
        node_id: str,
        starting_balance: int,
    ) -> None:
        self.rooms = rooms
        self.rejoin = rejoin
        self.waitlists = WaitlistDesk(pool, self._database)
        self._pool = pool
        self._readiness = readiness
        self._touch = touch
        self._node_id = node_id
        self._starting_balance = starting_balance
        self._known_users: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._known_staff: OrderedDict[str, bool] = OrderedDict()

    def ready(self) -> tuple[bool, Mapping[str, object]]:
        """Say whether the club can be used, and particulars for an operator."""
        return self._readiness.ready, self._readiness.particulars

    async def welcome(self, principal: Principal) -> None:
        """See to it that a user has a wallet, and stands on the list of the staff who get push
        notifications or does not; at once for one seen before.

        Raises:
            Refused: `unavailable`.
        """
        # A rejoin token (it has no end of its own) says nothing of the role in the club.
        staff = None if principal.expires_at is None else principal.is_staff
        key = (principal.user_id, principal.name)
        role_known = staff in (None, self._known_staff.get(principal.user_id))
        if key in self._known_users and role_known:
            return
        async with self._database():
            await accounts.ensure_wallet(
                self._pool,
                principal.user_id,
                principal.name,
                self._starting_balance,
                now_ms(),
                staff=staff,
            )
        self._known_users[key] = None
        if staff is not None:
            self._known_staff[principal.user_id] = staff
        for known in (self._known_users, self._known_staff):
            if len(known) > KNOWN_USERS:
                known.popitem(last=False)

    async def rejoin_with(self, room_id: str | None, token: str) -> Rejoined:
        """Let somebody in by rejoin token, into the room that it is for.

        Raises:
            Unauthenticated: the token lets nobody into this room, or into any.
            Refused: `unavailable`.
        """
        async with self._database():
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
        await self.welcome(principal)
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
        async with self._database():
            found = await stored_rooms.room_id_by_code(self._pool, command.code)
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
        await self.welcome(principal)
        stored = await self._read(room_id, principal.user_id)
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
                async with self._database():
                    missed = await events.missed_events(
                        self._pool,
                        room_id,
                        last_seq,
                        principal.user_id,
                        operator=subscription.operator,
                    )
                if missed is not None:
                    return Joint(subscription, missed[0], missed[1], None)
            stored = await self._read(room_id, principal.user_id)
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
        return (await self._read(room_id, principal.user_id)).room

    async def membership(self, principal: Principal, room_id: str) -> Membership:
        """Tell the asker where they stand with a room, with their rejoin token if they have one.

        Raises:
            Refused: `not_found`, `unavailable`.
        """
        stored = await self._read(room_id, principal.user_id)
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
        async with self._database():
            found = await stored_rooms.room_id_by_game(self._pool, game_id)
        if found is None:
            raise Refused(ErrorCode.NOT_FOUND, "There is no such game.")
        return found

    async def me(self, principal: Principal) -> Me:
        """Tell the asker who they are, what they have and where they are.

        Raises:
            Refused: `unavailable`.
        """
        await self.welcome(principal)
        async with self._database():
            balance = await accounts.balance(self._pool, principal.user_id)
            rooms = await accounts.rooms_of(self._pool, principal.user_id)
        return Me(
            user_id=principal.user_id,
            name=principal.name,
            role=principal.role,
            balance=balance or 0,
            rooms=rooms,
        )

    async def ledger(
        self, principal: Principal, before: int | None, limit: int
    ) -> list[LedgerLine]:
        """List the asker's own entries, newest first.

        Raises:
            Refused: `unavailable`.
        """
        async with self._database():
            return await accounts.ledger(self._pool, principal.user_id, before, limit)

    async def credit_wallet(
        self,
        principal: Principal,
        user_id: str,
        amount: int,
        reason: str,
        command_id: str | None,
        *,
        source: str = "http",
    ) -> int:
        """Credit (or with a negative amount debit) a wallet; return its balance.

        Raises:
            Refused: `forbidden` for all but staff, `insufficient_balance`, `bad_request`,
                `conflict`, `unavailable`.
        """
        _require_staff(principal)
        async with self._database():
            if await accounts.balance(self._pool, user_id) is None:
                await accounts.ensure_wallet(
                    self._pool, user_id, user_id, self._starting_balance, now_ms()
                )
            return await accounts.credit(
                self._pool,
                by=principal,
                user_id=user_id,
                amount=amount,
                reason=reason,
                command_id=command_id,
                source=source,
                now=now_ms(),
            )

    async def hands(
        self, principal: Principal, room_id: str, before: int | None, limit: int
    ) -> Sequence[HandLine]:
        """List a room's finished hands, newest first.

        Raises:
            Refused: `not_found`, `forbidden`, `unavailable`.
        """
        room = await self._read(room_id, principal.user_id)
        async with self._database():
            return await archive.list_hands(self._pool, principal, room, before, limit)

    async def hand_history(self, principal: Principal, room_id: str, number: int) -> File:
        """Write a finished hand in PHH, with the hole cards that the asker may know.

        Raises:
            Refused: `not_found`, `forbidden`, `conflict` while it runs, `unavailable`.
        """
        room = await self._read(room_id, principal.user_id)
        async with self._database():
            return await archive.hand_history(self._pool, principal, room, number, now_ms())

    async def room_books(self, principal: Principal, room_id: str) -> File:
        """Write a room's ledger as CSV.

        Raises:
            Refused: `not_found`, `forbidden` for all but host and staff, `unavailable`.
        """
        room = await self._read(room_id, principal.user_id)
        async with self._database():
            return await archive.room_books(self._pool, principal, room)

    async def audit_log(self, principal: Principal, filters: AuditFilters) -> Sequence[AuditLine]:
        """List lines of the audit log, for staff.

        Raises:
            Refused: `forbidden`, `unavailable`.
        """
        _require_staff(principal)
        async with self._database():
            return await accounts.audit(self._pool, filters)

    async def overview(self, principal: Principal) -> Overview:
        """Show the whole floor, for staff.

        Raises:
            Refused: `forbidden`, `unavailable`.
        """
        quarantined = list(await self.quarantined_rooms(principal))
        async with self._database():
            open_rooms, tables = await overview.overview(self._pool)
            pushes = await push.counts(self._pool)
        return Overview(
            open_rooms=open_rooms, rooms=tables, quarantined=quarantined, push_notifications=pushes
        )

    async def quarantined_rooms(self, principal: Principal) -> Sequence[QuarantinedRoom]:
        """List the rooms that crashed too often, for staff.

        Raises:
            Refused: `forbidden`.
        """
        _require_staff(principal)
        return [
            QuarantinedRoom(
                room_id=room_id,
                since=round(found.since.timestamp() * 1000),
                reason=found.reason,
                crash_id=found.crash_id,
            )
            for room_id, found in self.rooms.quarantined().items()
        ]

    async def lift_room(self, principal: Principal, room_id: str) -> None:
        """Let a quarantined room go on, with all its restarts to use up again, for staff.

        Raises:
            Refused: `forbidden`, `not_found` for a room that is not in quarantine, `unavailable`.
        """
        _require_staff(principal)
        if room_id not in self.rooms.quarantined():
            raise Refused(ErrorCode.NOT_FOUND, "This room is not in quarantine.")
        async with self._database():
            await accounts.note_action(
                self._pool, by=principal, action="lift_room", room_id=room_id, now=now_ms()
            )
        self.rooms.lift(room_id)

    async def _create_room(
        self, principal: Principal, command: CreateRoom, source: str
    ) -> RoomReply:
        settings = settings_for_new_room(command.settings)
        room_id = str(uuid.uuid4())
        while True:
            code = "".join(secrets.choice(CODE_ALPHABET) for _ in range(CODE_LENGTH))
            try:
                async with self._database():
                    await stored_rooms.create_room(
                        self._pool,
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
        stored = await self._read(room_id, principal.user_id)
        return RoomReply(seq=stored.seq, room=stored.room)

    async def _room_made_by(self, command_id: str, principal: Principal) -> str:
        async with self._database():
            found = await events.outcome_of(self._pool, command_id, principal.user_id)
        if found is None or found[0] != "create_room" or found[1] is None:
            raise Refused(
                ErrorCode.CONFLICT,
                "This command_id was used for another command.",
                {"field": "command_id"},
            )
        return found[1]

    async def _list_rooms(self, principal: Principal) -> Rooms:
        async with self._database():
            return Rooms(
                rooms=await stored_rooms.list_rooms(
                    self._pool, user_id=principal.user_id, staff=principal.is_staff
                )
            )

    async def _read(self, room_id: str, user_id: str) -> StoredRoom:
        if not room_id:
            raise bad_field("room_id", "Say which room.")
        async with self._database():
            stored = await read_room(self._pool, room_id, user_id)
        if stored is None:
            raise Refused(ErrorCode.NOT_FOUND, "There is no such room.")
        return stored

    async def _snapshot(
        self, stored: StoredRoom, principal: Principal, room_id: str, role: RoomRole | None
    ) -> RoomSnapshot:
        own = stored.role_of(principal.user_id)
        token = None
        if own not in ("guest", "pending"):
            token = await self._token(room_id, principal.user_id, own)
        return snapshot_for(stored, principal, wanted=role, rejoin_token=token, now=now_ms())

    @asynccontextmanager
    async def _database(self) -> AsyncIterator[None]:
        """Say a database that is away (or not ready yet) as a client is told it."""
        if not self._readiness.started:
            raise unavailable(1.0)
        try:
            yield
        except Unavailable as away:
            raise unavailable(away.retry_after_s) from None

    async def _token(self, room_id: str, user_id: str, role: RoomRole) -> str:
        async with self._database():
            return await self.rejoin.current(room_id, user_id, role, None)


def _require_staff(principal: Principal) -> None:
    if not principal.is_staff:
        raise Refused(ErrorCode.FORBIDDEN, "Only staff may do this.")
