"""What the HTTP side asks of the club. Every method raises `Refused`, with any wire code."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from persistence.accounts import AuditFilters, AuditLine, LedgerLine
from protocol.commands import AnyRoomCommand, CreateRoom, ListRooms
from protocol.principal import Principal
from protocol.replies import Ok
from protocol.values import RoomRole
from protocol.views import BanView, RoomSnapshot, RoomView, SpectatorView, WaitlistEntry
from server.answers import Me, Membership, Overview, QuarantinedRoom
from server.archive import File, HandLine


class Waitlists(Protocol):
    """The waitlists, read."""

    async def of_table(self, principal: Principal, table_id: str) -> Sequence[WaitlistEntry]:
        """List a table's queue, first in line first."""

    async def of_player(self, principal: Principal, player_id: str) -> Sequence[WaitlistEntry]:
        """List a player's entries, newest first."""


class Club(Protocol):
    """The club as its edges see it."""

    @property
    def waitlists(self) -> Waitlists:
        """The waitlists, read."""

    async def welcome(self, principal: Principal) -> None:
        """See to it that the club knows a user."""

    async def run(
        self, principal: Principal, command: AnyRoomCommand | CreateRoom | ListRooms, *, source: str
    ) -> Ok:
        """Decide and commit a command; return its reply. `source` is for the audit log."""

    async def hydrate(
        self, principal: Principal, room_id: str, role: RoomRole | None
    ) -> RoomSnapshot:
        """Read a room from the database as the asker's role, or a lesser one, sees it."""

    async def room(self, principal: Principal, room_id: str) -> RoomView:
        """Read the lobby entry of one room."""

    async def membership(self, principal: Principal, room_id: str) -> Membership:
        """Say how the asker stands in a room."""

    async def spectators(self, principal: Principal, room_id: str) -> Sequence[SpectatorView]:
        """List who watches a room."""

    async def bans(self, principal: Principal, room_id: str) -> Sequence[BanView]:
        """List who is banned from a room, for its host and staff."""

    async def room_of_game(self, game_id: str) -> str:
        """Find the room of a game."""

    async def me(self, principal: Principal) -> Me:
        """Describe the asker to themselves."""

    async def ledger(
        self, principal: Principal, before: int | None, limit: int
    ) -> Sequence[LedgerLine]:
        """List the asker's own ledger entries, newest first."""

    async def credit_wallet(
        self,
        principal: Principal,
        user_id: str,
        amount: int,
        reason: str,
        command_id: str | None,
    ) -> int:
        """Credit (or with a negative amount debit) a wallet; return the new balance."""

    async def hands(
        self, principal: Principal, room_id: str, before: int | None, limit: int
    ) -> Sequence[HandLine]:
        """List a room's finished hands, newest first."""

    async def hand_history(self, principal: Principal, room_id: str, number: int) -> File:
        """Write a finished hand in PHH, with the hole cards that the asker may know."""

    async def room_books(self, principal: Principal, room_id: str) -> File:
        """Write a room's ledger as CSV."""

    async def audit_log(self, principal: Principal, filters: AuditFilters) -> Sequence[AuditLine]:
        """List lines of the audit log, newest first."""

    async def overview(self, principal: Principal) -> Overview:
        """Show the whole floor, for staff."""

    async def quarantined_rooms(self, principal: Principal) -> Sequence[QuarantinedRoom]:
        """List the rooms that crashed too often, for staff."""

    async def lift_room(self, principal: Principal, room_id: str) -> None:
        """Let a quarantined room go on, for staff."""

    def ready(self) -> tuple[bool, Mapping[str, object]]:
        """Say whether the club can be used, and particulars for an operator."""
