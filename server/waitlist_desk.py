"""The waitlists as the club's front desk knows them: whose, at which table, in which order."""

from persistence import waitlist
from protocol.commands import EntryCommand, WaitlistCommand, WaitlistJoin, WaitlistLeave
from protocol.errors import ErrorCode, Refused, bad_field
from protocol.principal import Principal
from protocol.views import WaitlistEntry
from server.club_database import ClubDatabase


class WaitlistDesk:
    """Reads waitlists, and finds the table that a command is about.

    Args:
        database: the database.
    """

    def __init__(self, database: ClubDatabase) -> None:
        self._database = database

    async def complete(self, command: WaitlistCommand, *, default: str = "") -> str:
        """Find a command's table, and the name of whom it adds by id; return the table.

        Args:
            command: gets its `room_id`, and its `player_name` where that is to be looked up.
            default: the table of a command that names neither a table nor an entry.

        Raises:
            Refused: `bad_request` where no table is named, `not_found`, `unavailable`.
        """
        table_id = named_table(command)
        entry_id = _entry_id(command)
        if not table_id and entry_id is not None:
            async with self._database.use() as pool:
                found = await waitlist.table_of_entry(pool, entry_id)
            if found is None:
                raise Refused(ErrorCode.NOT_FOUND, "There is no such entry.")
            table_id = found
        table_id = command.room_id = table_id or default
        if not table_id:
            raise bad_field("table_id", "Say which table.")
        if isinstance(command, WaitlistJoin) and _is_nameless(command):
            assert command.player_id is not None
            async with self._database.use() as pool:
                command.player_name = await waitlist.name_of(pool, command.player_id)
        return table_id

    async def of_table(self, principal: Principal, table_id: str) -> list[WaitlistEntry]:
        """List a table's queue, first in line first; host and staff see the notes.

        Raises:
            Refused: `not_found`, `unavailable`.
        """
        async with self._database.use() as pool:
            queue = await waitlist.queue_of(pool, table_id)
        if queue is None:
            raise Refused(ErrorCode.NOT_FOUND, "There is no such table.")
        if principal.is_staff or principal.user_id == queue.host_id:
            return queue.entries
        return waitlist.without_notes(queue.entries)

    async def of_player(self, principal: Principal, player_id: str) -> list[WaitlistEntry]:
        """List a player's entries at all tables, newest first, ended ones too.

        Raises:
            Refused: `forbidden` for somebody else's (but staff), `unavailable`.
        """
        if not principal.is_staff and player_id != principal.user_id:
            raise Refused(ErrorCode.FORBIDDEN, "These requests are somebody else's.")
        async with self._database.use() as pool:
            entries = await waitlist.entries_of(pool, player_id)
        return entries if principal.is_staff else waitlist.without_notes(entries)


def named_table(command: WaitlistCommand) -> str:
    """Return the table that a command names, under either name; empty for none."""
    return command.room_id or command.table_id or ""


def needs_look_up(command: WaitlistCommand) -> bool:
    """Whether a command has to be completed from the database before its room can have it."""
    if isinstance(command, WaitlistJoin):
        return _is_nameless(command)
    return not named_table(command) and _entry_id(command) is not None


def _is_nameless(command: WaitlistJoin) -> bool:
    return command.player_id is not None and command.player_name is None


def _entry_id(command: WaitlistCommand) -> str | None:
    return command.entry_id if isinstance(command, EntryCommand | WaitlistLeave) else None
