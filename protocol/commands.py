"""Every command that a client may send: one closed union, decoded straight from the frame.

`id` is the client's own and comes back as `re`. `command_id` (a UUID) makes a command happen at
most once. A room command without `room_id` means the room that the socket authenticated for.
"""

from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from protocol.tags import snake
from protocol.values import (
    ActionName,
    AnyChatStatus,
    Card,
    Chips,
    ChipsDelta,
    DisplayName,
    EntryKey,
    GameType,
    MessageKey,
    MessageRef,
    MessageText,
    Notes,
    Place,
    PositiveChips,
    Reason,
    RoomKey,
    RoomRole,
    RunItTimes,
    SeatIndex,
    SessionKey,
    SettingsPatch,
    Urgency,
    UserKey,
)

ReplyId = Annotated[int, Meta(ge=1)]
Seq = Annotated[int, Meta(ge=0)]
CommandKey = Annotated[
    str,
    Meta(
        pattern="^[0-9a-fA-F]{8}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{12}\\Z"
    ),
]
TokenText = Annotated[str, Meta(min_length=1, max_length=8192)]
ChannelName = Annotated[str, Meta(min_length=1, max_length=200)]
PageSize = Annotated[int, Meta(ge=1, le=200)]
JoinCode = Annotated[str, Meta(pattern=r"^[0-9A-Za-z]{1,12}\Z")]


class Command(Struct, tag_field="type", tag=snake, kw_only=True):
    """The envelope of every command."""

    id: ReplyId | None = None
    command_id: CommandKey | None = None


class RoomCommand(Command, kw_only=True):
    """A command to one room's actor."""

    room_id: RoomKey = ""


# The socket


class Authenticate(Command, kw_only=True):
    """Say who one is: by access token, or by rejoin token, which brings one back into its room."""

    token: TokenText | None = None
    rejoin_token: TokenText | None = None
    room_id: RoomKey | None = None
    last_seq: Seq | None = None


class Heartbeat(Command):
    """Be seen."""


class Subscribe(Command, kw_only=True):
    """Get the events of a channel from now on, or from after `last_seq` on."""

    channel: ChannelName
    last_seq: Seq | None = None


class Unsubscribe(Command, kw_only=True):
    """Stop getting the events of a channel."""

    channel: ChannelName


class Hydrate(RoomCommand, kw_only=True):
    """Get the whole room as the asker's role (or a lesser one) sees it."""

    role: RoomRole | None = None


# Rooms and membership


class CreateRoom(Command, kw_only=True):
    """Make a room; the asker becomes its host."""

    settings: SettingsPatch = SettingsPatch()
    display_name: DisplayName | None = None


class ListRooms(Command):
    """List the rooms of the lobby."""


class Join(Command, kw_only=True):
    """Ask to be let into a room, named by id or by its join code."""

    room_id: RoomKey | None = None
    code: JoinCode | None = None
    display_name: DisplayName | None = None


class Approve(RoomCommand, kw_only=True):
    """Let a pending user in."""

    user_id: UserKey


class Reject(RoomCommand, kw_only=True):
    """Turn a pending user down."""

    user_id: UserKey


class Seat(RoomCommand, kw_only=True):
    """Take an empty seat with a buy-in from the wallet."""

    seat_index: SeatIndex
    buy_in: PositiveChips
    display_name: DisplayName | None = None


class LeaveSeat(RoomCommand):
    """Give the seat up; in a hand, it is folded at the player's turn first."""


class Spectate(RoomCommand, kw_only=True):
    """Watch."""

    display_name: DisplayName | None = None


class LeaveRoom(RoomCommand):
    """Leave the room altogether, or withdraw a pending request."""


# Play


class Action(RoomCommand, kw_only=True):
    """Decide at one's turn; `amount` is the total that a bet or raise makes of the street bet.

    Fixed-limit games know it without.
    """

    action: ActionName
    amount: PositiveChips | None = None


class RunIt(RoomCommand, kw_only=True):
    """Say how often the rest of the board is to be dealt, as a player who is asked."""

    times: RunItTimes


class SitOut(RoomCommand):
    """Be dealt out from the next hand on."""


class SitIn(RoomCommand):
    """Be dealt in from the next hand on."""


class TopUp(RoomCommand, kw_only=True):
    """Add chips from the wallet to the stack, between hands."""

    amount: PositiveChips


# The host


class Start(RoomCommand):
    """Start the game, or the next hand where hands do not start by themselves."""


class Pause(RoomCommand):
    """Stop after the current hand."""


class Resume(RoomCommand):
    """Go on."""


class Kick(RoomCommand, kw_only=True):
    """Remove a user from the room."""

    user_id: UserKey
    reason: Reason | None = None


class Ban(RoomCommand, kw_only=True):
    """Keep a user out of the room from now on; who is in it is kicked."""

    user_id: UserKey
    reason: Reason | None = None


class Unban(RoomCommand, kw_only=True):
    """Lift a ban."""

    user_id: UserKey


class ChangeSettings(RoomCommand, kw_only=True, tag="settings"):
    """Change settings from the next hand on; whole under `settings`, or flat beside it."""

    settings: SettingsPatch | UnsetType = UNSET


class AdjustChips(RoomCommand, kw_only=True):
    """Change a player's stack against the house account, between hands."""

    user_id: UserKey
    delta: ChipsDelta
    reason: Reason


class TransferHost(RoomCommand, kw_only=True):
    """Hand the room over to another member."""

    user_id: UserKey


class CloseRoom(RoomCommand, kw_only=True):
    """Close the room; stacks go home after the current hand."""

    reason: Reason | None = None


# The waitlist


class WaitlistCommand(RoomCommand, kw_only=True):
    """A command about a table's waitlist; `table_id` is the room under its other name."""

    table_id: RoomKey | None = None


class EntryCommand(WaitlistCommand, kw_only=True):
    """A command about one entry; the table need not be named, the entry is of one only."""

    entry_id: EntryKey


class WaitlistJoin(WaitlistCommand, kw_only=True):
    """Wait for a seat; host and staff add others, by id or, who has no client, by name only."""

    seat_number: SeatIndex | None = None
    game_type: GameType | None = None
    min_buy_in: Chips | None = None
    max_buy_in: Chips | None = None
    notes: Notes | None = None
    player_id: UserKey | None = None
    player_name: DisplayName | None = None


class WaitlistLeave(WaitlistCommand, kw_only=True):
    """Wait no longer, at a table or by the entry; a seat that was offered is declined."""

    entry_id: EntryKey | None = None


class WaitlistAccept(EntryCommand, kw_only=True):
    """Take the seat that was offered, with a buy-in from the wallet."""

    buy_in: PositiveChips


class WaitlistDecline(EntryCommand):
    """Do not take the seat that was offered."""


class WaitlistCall(EntryCommand):
    """Call somebody out of turn, or again (host and staff)."""


class WaitlistSeat(EntryCommand, kw_only=True):
    """Seat somebody with a buy-in from their wallet (staff); without one, note that they were
    seated by hand (host and staff)."""

    seat_index: SeatIndex | None = None
    buy_in: PositiveChips | None = None


class WaitlistMove(EntryCommand, kw_only=True):
    """Put somebody on another place in line, 1 being the first (host and staff)."""

    position: Place


class WaitlistRemove(EntryCommand):
    """Take somebody off the waitlist (host and staff), or oneself."""


class WaitlistNoShow(EntryCommand):
    """Note that somebody who was called is not there (host and staff)."""


# Support chat


class ChatCommand(Command, kw_only=True, omit_defaults=True):
    """A command to one conversation's actor."""

    session_id: SessionKey = ""


class ChatSend(ChatCommand, kw_only=True):
    """Say something.

    A player's message goes to their open session, or opens one. Staff name the session, or the
    player. `message_id` makes it happen at most once; `urgency` counts for a session that opens.
    """

    message_id: MessageKey
    message_text: MessageText
    player_id: UserKey | None = None
    urgency: Urgency | None = None


class ChatReceived(ChatCommand, kw_only=True):
    """A message has reached a socket of the other side."""

    message_id: MessageRef


class ChatRead(ChatCommand, kw_only=True):
    """A message was read, and with it what the same side said before it; without a `message_id`,
    everything that the other side has said in the session."""

    message_id: MessageRef | None = None


class ChatTyping(ChatCommand, kw_only=True):
    """Somebody is typing, or (`typing` false) no longer is."""

    typing: bool = True


class SetChatStatus(ChatCommand, kw_only=True, tag="chat_status"):
    """Resolve or reopen a session, or say how urgent it is (staff)."""

    status: AnyChatStatus | None = None
    urgency: Urgency | None = None


class ChatAssign(ChatCommand, kw_only=True):
    """Give a session to one of the staff: to oneself, unless `staff_id` says to whom; null gives it
    to nobody."""

    staff_id: UserKey | None | UnsetType = UNSET


class ChatHistory(Command, kw_only=True):
    """Read a session, or all that a player and staff ever said; players read their own."""

    session_id: SessionKey | None = None
    player_id: UserKey | None = None
    before: MessageRef | None = None
    limit: PageSize = 50


class ChatInbox(Command, kw_only=True):
    """List sessions, those that wait first, then by their last message; players see their own."""

    status: AnyChatStatus | None = None
    player_id: UserKey | None = None
    limit: PageSize = 50


class RigDeck(RoomCommand, kw_only=True):
    """Fix the next hand's deck, in the order in which it is dealt (only where configured)."""

    cards: Annotated[list[Card], Meta(min_length=1, max_length=52)]


SocketCommand = Authenticate | Heartbeat | Subscribe | Unsubscribe | Hydrate
ClubCommand = CreateRoom | ListRooms
AnyRoomCommand = (
    Join
    | Approve
    | Reject
    | Seat
    | LeaveSeat
    | Spectate
    | LeaveRoom
    | Action
    | RunIt
    | SitOut
    | SitIn
    | TopUp
    | Start
    | Pause
    | Resume
    | Kick
    | Ban
    | Unban
    | ChangeSettings
    | AdjustChips
    | TransferHost
    | CloseRoom
    | WaitlistJoin
    | WaitlistLeave
    | WaitlistAccept
    | WaitlistDecline
    | WaitlistCall
    | WaitlistSeat
    | WaitlistMove
    | WaitlistRemove
    | WaitlistNoShow
    | RigDeck
)
"""What a room's actor decides."""

AnyChatCommand = ChatSend | ChatReceived | ChatRead | ChatTyping | SetChatStatus | ChatAssign
"""What a chat session's actor decides."""

ChatQuery = ChatHistory | ChatInbox
"""What is read of chats."""

AnyCommand = SocketCommand | ClubCommand | AnyRoomCommand | AnyChatCommand | ChatQuery
"""What a frame may hold."""
