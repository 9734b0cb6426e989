"""What the HTTP side asks of the club. Every method raises `Refused`, with any wire code."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from persistence.accounts import AuditFilters, AuditLine, LedgerLine
from persistence.chats import CannedReply
from protocol.commands import (
    AnyChatCommand,
    AnyRoomCommand,
    ChatHistory,
    ChatInbox,
    CreateRoom,
    ListRooms,
)
from protocol.principal import Principal
from protocol.replies import ChatMessages, ChatSessions, Ok
from protocol.values import RoomRole
from protocol.views import BanView, RoomSnapshot, RoomView, SpectatorView, WaitlistEntry
from server.answers import Me, Membership, Overview, QuarantinedChat, QuarantinedRoom
from server.archive import File, HandLine


class Accounts(Protocol):
    """The asker's own accounts."""

    async def welcome(self, principal: Principal) -> None:
        """See to it that the asker is known by name."""

    async def me(self, principal: Principal) -> Me:
        """Describe the asker to themselves."""

    async def ledger(
        self, principal: Principal, before: int | None, limit: int
    ) -> Sequence[LedgerLine]:
        """List the asker's own ledger entries, newest first."""


class Records(Protocol):
    """What is kept of rooms."""

    async def hands(
        self, principal: Principal, room_id: str, before: int | None, limit: int
    ) -> Sequence[HandLine]:
        """List a room's finished hands, newest first."""

    async def hand_history(self, principal: Principal, room_id: str, number: int) -> File:
        """Write a finished hand in PHH, with the hole cards that the asker may know."""

    async def room_books(self, principal: Principal, room_id: str) -> File:
        """Write a room's ledger as CSV."""


class Staff(Protocol):
    """What only staff do."""

    async def credit_wallet(
        self,
        principal: Principal,
        user_id: str,
        amount: int,
        reason: str,
        command_id: str | None,
    ) -> int:
        """Credit (or with a negative amount debit) a wallet; return the new balance."""

    async def audit_log(self, principal: Principal, filters: AuditFilters) -> Sequence[AuditLine]:
        """List lines of the audit log, newest first."""

    async def overview(self, principal: Principal) -> Overview:
        """Show the whole floor, for staff."""

    async def quarantined_rooms(self, principal: Principal) -> Sequence[QuarantinedRoom]:
        """List the rooms that crashed too often, for staff."""

    async def lift_room(self, principal: Principal, room_id: str) -> None:
        """Let a quarantined room go on, for staff."""

    async def quarantined_chats(self, principal: Principal) -> Sequence[QuarantinedChat]:
        """List the conversations that crashed too often, for staff."""

    async def lift_chat(self, principal: Principal, session_id: str) -> None:
        """Let a quarantined conversation go on, for staff."""


class Waitlists(Protocol):
    """The waitlists, read."""

    async def of_table(self, principal: Principal, table_id: str) -> Sequence[WaitlistEntry]:
        """List a table's queue, first in line first."""

    async def of_player(self, principal: Principal, player_id: str) -> Sequence[WaitlistEntry]:
        """List a player's entries, newest first."""


class Chats(Protocol):
    """What players and staff say to each other."""

    async def run(self, principal: Principal, command: AnyChatCommand, *, source: str) -> Ok:
        """Decide and commit a command; return its reply. `source` is for the message's row."""

    async def history(self, principal: Principal, query: ChatHistory) -> ChatMessages:
        """Read a session, or all that a player and staff have said."""

    async def inbox(self, principal: Principal, query: ChatInbox) -> ChatSessions:
        """List sessions, for staff; a player gets their own."""

    async def canned_replies(self, principal: Principal) -> Sequence[CannedReply]:
        """List what staff say by shortcuts, for staff."""

    async def put_canned_reply(
        self, principal: Principal, shortcut: str, message_text: str
    ) -> CannedReply:
        """Keep a canned reply, in place of the one that the shortcut had, for staff."""

    async def remove_canned_reply(self, principal: Principal, shortcut: str) -> None:
        """Forget a canned reply, for staff."""


class Club(Protocol):
    """The club as its edges see it."""

    @property
    def accounts(self) -> Accounts:
        """The asker's own accounts."""

    @property
    def records(self) -> Records:
        """What is kept of rooms."""

    @property
    def staff(self) -> Staff:
        """What only staff do."""

    @property
    def waitlists(self) -> Waitlists:
        """The waitlists, read."""

    @property
    def chats(self) -> Chats:
        """What players and staff say to each other."""

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

    def ready(self) -> tuple[bool, Mapping[str, object]]:
        """Say whether the club can be used, and particulars for an operator."""
