"""Every reply to a command. All are `ok` on the wire; the class says which fields come with it."""

from typing import Literal

from msgspec import UNSET, Struct, UnsetType

from protocol import commands
from protocol.values import ClubRole, RoomRole
from protocol.views import (
    ChatMessage,
    ChatSession,
    LobbyRoom,
    RoomSnapshot,
    RoomView,
    WaitlistEntry,
)


class Ok(Struct, tag_field="type", tag="ok", kw_only=True):
    """Done, and durable. `re` is the command's id (None where it had none)."""

    re: int | None = None


class Authenticated(Struct, tag_field="type", tag="authenticated", kw_only=True):
    """Who the socket now speaks for; with a room, its snapshot or the events missed since."""

    re: int | None = None
    user_id: str
    name: str
    role: ClubRole
    room: RoomSnapshot | UnsetType = UNSET
    recovered: bool | UnsetType = UNSET
    missed: list[dict[str, object]] | UnsetType = UNSET
    rejoin_token: str | UnsetType = UNSET


class Seen(Ok):
    """Answer to `heartbeat`: the server's clock, UTC in ms."""

    at: int


class Subscribed(Ok):
    """Answer to `subscribe`: events with `seq` above this one follow (0: a channel without).

    `missed` holds the events after the client's `last_seq`, where they could be recovered.
    """

    channel: str
    seq: int
    recovered: bool | UnsetType = UNSET
    missed: list[dict[str, object]] | UnsetType = UNSET
    room: RoomSnapshot | UnsetType = UNSET


class Hydrated(RoomSnapshot, tag_field="type", tag="ok", frozen=True, kw_only=True):
    """Answer to `hydrate`: the snapshot's fields stand flat in the reply."""

    re: int | None = None

    @classmethod
    def of(cls, snapshot: RoomSnapshot, re: int | None) -> "Hydrated":
        """Make the reply to the command with id `re` out of a snapshot."""
        return cls(
            re=re, **{name: getattr(snapshot, name) for name in RoomSnapshot.__struct_fields__}
        )


class Changed(Ok):
    """Answer to whatever changes a room: the room's `seq` once the change was told."""

    seq: int


class RoomReply(Changed):
    """Answer to `create_room` and `settings`."""

    room: RoomView


class Rooms(Ok):
    """Answer to `list_rooms`."""

    rooms: list[LobbyRoom]


class Joined(Changed):
    """Answer to `join`."""

    room_id: str
    status: Literal["pending", "approved"]
    waiting_for_approval: bool
    rejoin_token: str | UnsetType = UNSET


class RoleTaken(Changed):
    """Answer to `seat` and `spectate`."""

    role: RoomRole
    rejoin_token: str | UnsetType = UNSET
    seat_index: int | UnsetType = UNSET
    chips: int | UnsetType = UNSET


class SeatLeft(Changed):
    """Answer to `leave_seat`, `leave_room`, `kick`, `ban`; `pending`: a hand must end first."""

    pending: bool
    chips: int


class StackChanged(Changed):
    """Answer to `top_up` and `adjust_chips`: the stack after it."""

    chips: int


class EntryReply(Changed):
    """Answer to the waitlist's commands: the entry as it is after it."""

    entry: WaitlistEntry


class WaitlistJoined(EntryReply):
    """Answer to `waitlist_join`; `already_waiting`: the entry was there, nothing changed."""

    already_waiting: bool


class WaitlistSeated(EntryReply):
    """Answer to `waitlist_seat`: the seat and stack of who was seated with a buy-in."""

    seat_index: int | UnsetType = UNSET
    chips: int | UnsetType = UNSET


class WaitlistAccepted(RoleTaken, kw_only=True):
    """Answer to `waitlist_accept`."""

    entry: WaitlistEntry


class ChatChanged(Ok):
    """Answer to whatever changes a chat session: the session as it is after it."""

    seq: int
    session: ChatSession


class ChatSent(ChatChanged):
    """Answer to `chat_send`; to the same message sent again, the message as it is by now."""

    message: ChatMessage


class ChatMessages(Ok):
    """Answer to `chat_history`: messages, newest last, and the session that was asked for.

    Without a `session_id` it is the player's open session, or their last one (None: they have had
    none). `more`: there are older ones, `before` the first of these. `staff_online`: somebody of
    the staff is there.
    """

    messages: list[ChatMessage]
    session: ChatSession | None
    more: bool
    staff_online: bool


class ChatSessions(Ok):
    """Answer to `chat_inbox`."""

    sessions: list[ChatSession]
    staff_online: bool


REPLIES: dict[type[commands.Command], type[Ok] | type[Authenticated] | type[Hydrated]] = {
    commands.Authenticate: Authenticated,
    commands.Heartbeat: Seen,
    commands.Subscribe: Subscribed,
    commands.Unsubscribe: Ok,
    commands.Hydrate: Hydrated,
    commands.CreateRoom: RoomReply,
    commands.ListRooms: Rooms,
    commands.Join: Joined,
    commands.Approve: Changed,
    commands.Reject: Changed,
    commands.Seat: RoleTaken,
    commands.LeaveSeat: SeatLeft,
    commands.Spectate: RoleTaken,
    commands.LeaveRoom: SeatLeft,
    commands.Action: Changed,
    commands.RunIt: Changed,
    commands.SitOut: Changed,
    commands.SitIn: Changed,
    commands.TopUp: StackChanged,
    commands.Start: Changed,
    commands.Pause: Changed,
    commands.Resume: Changed,
    commands.Kick: SeatLeft,
    commands.Ban: SeatLeft,
    commands.Unban: Changed,
    commands.ChangeSettings: RoomReply,
    commands.AdjustChips: StackChanged,
    commands.TransferHost: Changed,
    commands.CloseRoom: SeatLeft,
    commands.WaitlistJoin: WaitlistJoined,
    commands.WaitlistLeave: EntryReply,
    commands.WaitlistAccept: WaitlistAccepted,
    commands.WaitlistDecline: EntryReply,
    commands.WaitlistCall: EntryReply,
    commands.WaitlistSeat: WaitlistSeated,
    commands.WaitlistMove: EntryReply,
    commands.WaitlistRemove: EntryReply,
    commands.WaitlistNoShow: EntryReply,
    commands.RigDeck: Changed,
    commands.ChatSend: ChatSent,
    commands.ChatReceived: ChatChanged,
    commands.ChatRead: ChatChanged,
    commands.ChatTyping: Ok,
    commands.SetChatStatus: ChatChanged,
    commands.ChatAssign: ChatChanged,
    commands.ChatHistory: ChatMessages,
    commands.ChatInbox: ChatSessions,
}
"""What answers each command when it is not refused."""
