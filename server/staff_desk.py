"""What only staff may do: see the floor and the audit log, credit wallets, bring rooms back."""

from collections.abc import Sequence

from persistence import accounts, chats, overview, push
from persistence.accounts import AuditFilters, AuditLine
from protocol.errors import ErrorCode, Refused
from protocol.principal import Principal
from server.answers import Overview, QuarantinedChat, QuarantinedRoom
from server.chats import Chats
from server.clock import now_ms
from server.club_database import ClubDatabase
from server.rooms import Rooms


class StaffDesk:
    """Serves staff, and refuses everybody else.

    Args:
        database: the database.
        rooms: the live rooms.
        sessions: the live chat sessions.
        starting_balance: chips of a new wallet.
    """

    def __init__(
        self, database: ClubDatabase, rooms: Rooms, sessions: Chats, starting_balance: int
    ) -> None:
        self._database = database
        self._rooms = rooms
        self._sessions = sessions
        self._starting_balance = starting_balance

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
        async with self._database.use() as pool:
            if await accounts.balance(pool, user_id) is None:
                await accounts.ensure_wallet(
                    pool, user_id, user_id, self._starting_balance, now_ms()
                )
            return await accounts.credit(
                pool,
                by=principal,
                user_id=user_id,
                amount=amount,
                reason=reason,
                command_id=command_id,
                source=source,
                now=now_ms(),
            )

    async def audit_log(self, principal: Principal, filters: AuditFilters) -> Sequence[AuditLine]:
        """List lines of the audit log, for staff.

        Raises:
            Refused: `forbidden`, `unavailable`.
        """
        _require_staff(principal)
        async with self._database.use() as pool:
            return await accounts.audit(pool, filters)

    async def overview(self, principal: Principal) -> Overview:
        """Show the whole floor, for staff.

        Raises:
            Refused: `forbidden`, `unavailable`.
        """
        quarantined = list(await self.quarantined_rooms(principal))
        async with self._database.use() as pool:
            open_rooms, tables = await overview.overview(pool)
            waiting_chats = await chats.count_waiting(pool)
            pushes = await push.counts(pool)
        return Overview(
            open_rooms=open_rooms,
            rooms=tables,
            waiting_chats=waiting_chats,
            quarantined=quarantined,
            quarantined_chats=list(await self.quarantined_chats(principal)),
            push_notifications=pushes,
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
            for room_id, found in self._rooms.quarantined().items()
        ]

    async def lift_room(self, principal: Principal, room_id: str) -> None:
        """Let a quarantined room go on, with all its restarts to use up again, for staff.

        Raises:
            Refused: `forbidden`, `not_found` for a room that is not in quarantine, `unavailable`.
        """
        _require_staff(principal)
        if room_id not in self._rooms.quarantined():
            raise Refused(ErrorCode.NOT_FOUND, "This room is not in quarantine.")
        async with self._database.use() as pool:
            await accounts.note_action(
                pool, by=principal, action="lift_room", room_id=room_id, now=now_ms()
            )
        # Somebody else may have done so meanwhile; then all is as both wanted it.
        self._rooms.lift(room_id)

    async def quarantined_chats(self, principal: Principal) -> Sequence[QuarantinedChat]:
        """List the conversations that crashed too often, for staff.

        Raises:
            Refused: `forbidden`.
        """
        _require_staff(principal)
        return [
            QuarantinedChat(
                session_id=session_id,
                since=round(found.since.timestamp() * 1000),
                reason=found.reason,
                crash_id=found.crash_id,
            )
            for session_id, found in self._sessions.quarantined().items()
        ]

    async def lift_chat(self, principal: Principal, session_id: str) -> None:
        """Let a quarantined conversation go on, for staff.

        Raises:
            Refused: `forbidden`, `not_found` for one that is not in quarantine, `unavailable`.
        """
        _require_staff(principal)
        if session_id not in self._sessions.quarantined():
            raise Refused(ErrorCode.NOT_FOUND, "This conversation is not in quarantine.")
        async with self._database.use() as pool:
            await accounts.note_action(
                pool, by=principal, action="lift_chat", subject_id=session_id, now=now_ms()
            )
        self._sessions.lift(session_id)  # or somebody else has, as with rooms


def _require_staff(principal: Principal) -> None:
    if not principal.is_staff:
        raise Refused(ErrorCode.FORBIDDEN, "Only staff may do this.")
