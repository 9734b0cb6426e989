"""What deciding about a chat session yields: events for both sides, rows, push notifications."""

import msgspec
from msgspec import Struct

from game.changes import AuditEntry, Change
from game.chat.state import ChatState
from game.decision import SERVER
from protocol.chat_events import ChatEvent
from protocol.errors import ErrorCode, Refused
from protocol.ids import STAFF_PORTAL, UserId, player_channel
from protocol.principal import Principal


class SessionOver(Refused):
    """The player's message found a resolved session: it is to open another one. Nobody is told."""

    def __init__(self) -> None:
        super().__init__(ErrorCode.CONFLICT, "This conversation is over.")


class ChatContext(Struct, frozen=True):
    """What deciding may know beyond the session.

    `now` is UTC in milliseconds, `source` names the way in, `player_online` says whether the player
    has a socket, `staff_name` how somebody who is given the session is called.
    """

    now: int
    source: str = "server"
    player_online: bool = False
    staff_name: str | None = None


class ChatDecision:
    """The growing outcome of one or more commands on one session.

    `for_staff` and `for_player` are told on `staff-portal` and on the player's own channel once the
    rest is committed; `changes` are rows, `kept` says whether there is anything to commit.
    """

    def __init__(self, state: ChatState) -> None:
        self.state = state
        self.first_seq = state.seq
        self.opens = False
        self.for_staff: list[ChatEvent] = []
        self.for_player: list[ChatEvent] = []
        self.changes: list[Change] = []

    @property
    def kept(self) -> bool:
        """Whether there is anything to commit."""
        return self.opens or self.state.seq != self.first_seq or bool(self.changes)

    def emit(self, staff: ChatEvent, player: ChatEvent, now: int) -> None:
        """Tell both sides something that is kept; it takes the session's next seq."""
        self.state.seq += 1
        self.state.updated_at = max(now, self.state.updated_at)
        self.pass_on(staff, player, now)

    def pass_on(self, staff: ChatEvent | None, player: ChatEvent | None, now: int) -> None:
        """Tell what happened at the session's current seq."""
        for event, channel, told in (
            (staff, STAFF_PORTAL, self.for_staff),
            (player, player_channel(UserId(self.state.player_id)), self.for_player),
        ):
            if event is not None:
                event.channel = channel
                event.seq = self.state.seq
                event.at = now
                told.append(event)

    def audit(self, who: Principal, action: str, ctx: ChatContext, **details: object) -> None:
        """Note who did what with the session."""
        self.changes.append(
            AuditEntry(
                ctx.now,
                who.user_id,
                who.role,
                action,
                None,
                self.state.session_id,
                SERVER if who.user_id == SERVER else ctx.source,
                msgspec.Raw(msgspec.json.encode({"player_id": self.state.player_id, **details})),
            )
        )
