"""The desks of a club that only remember what they were asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from persistence.accounts import AuditFilters, AuditLine, LedgerLine, RoomOfUser
from persistence.chats import CannedReply
from persistence.overview import PlayerAtTable, TableOverview
from persistence.push import PushCounts
from protocol.commands import AnyChatCommand, ChatHistory, ChatInbox, ChatSend
from protocol.principal import Principal
from protocol.replies import ChatChanged, ChatMessages, ChatSent, ChatSessions
from protocol.values import RoomSettings, Winner
from protocol.views import ChatMessage, ChatSession, RoomView, WaitlistEntry
from server.answers import Me, Overview, QuarantinedChat, QuarantinedRoom
from server.archive import File, HandLine, PlayerOfHand

ROOM = RoomView(
    id="r1",
    code="ABC234",
    host_id="amy",
    status="waiting",
    created_at=1,
    **{name: getattr(RoomSettings(), name) for name in RoomSettings.__struct_fields__},
)

ENTRY = WaitlistEntry(
    id="e1",
    table_id="r1",
    player_id="amy",
    player_name="Amy",
    has_client=True,
    seat_number=None,
    position=1,
    game_type=None,
    min_buy_in=None,
    max_buy_in=None,
    status="waiting",
    source="player_portal",
    seat_index=None,
    called_at=None,
    expires_at=None,
    created_at=1,
    updated_at=1,
)


SESSION = ChatSession(
    id="s1",
    player_id="amy",
    player_name="Amy",
    initial_message="Hello?",
    status="in_progress",
    assigned_staff="sue",
    assigned_staff_name="Sue",
    urgency="normal",
    unread_by_player=1,
    unread_by_staff=0,
    created_at=1,
    updated_at=2,
    waiting_since=1,
    first_reply_at=2,
    last_message_at=2,
    resolved_at=None,
    seq=7,
)

MESSAGE = ChatMessage(
    id="11111111-2222-3333-4444-555555555555",
    session_id="s1",
    player_id="amy",
    sender="staff",
    sender_name="Sue",
    message_text="Yes?",
    timestamp=2,
    seq=4,
    status="sent",
)

CANNED = CannedReply(
    shortcut="/hello", message_text="Hello!", created_by="sue", created_at=1, updated_at=2
)


class _Desk:
    """Tells `ask` the name of each call and its arguments; what that raises is the answer."""

    def __init__(self, ask: Callable[..., None]) -> None:
        self._ask = ask


class FakeAccounts(_Desk):
    """The asker's own accounts; `welcomed` holds those who were to be known."""

    def __init__(self, ask: Callable[..., None]) -> None:
        super().__init__(ask)
        self.welcomed: list[Principal] = []

    async def welcome(self, principal: Principal) -> None:
        self.welcomed.append(principal)

    async def me(self, principal: Principal) -> Me:
        self._ask("me")
        room = RoomOfUser(id="r1", code="ABC234", name="Table", role="player", seat_index=3)
        return Me(
            user_id=principal.user_id,
            name=principal.name,
            role=principal.role,
            balance=10_000,
            rooms=[room],
        )

    async def ledger(
        self, principal: Principal, before: int | None, limit: int
    ) -> Sequence[LedgerLine]:
        self._ask("ledger", before, limit)
        line = LedgerLine(
            id=9,
            account="wallet",
            amount=-5,
            kind="buy_in",
            reason=None,
            room_id="r1",
            hand_id=None,
            at=1,
        )
        return [line]


class FakeRecords(_Desk):
    """What is kept of rooms."""

    async def hands(
        self, principal: Principal, room_id: str, before: int | None, limit: int
    ) -> Sequence[HandLine]:
        self._ask("hands", room_id, before, limit)
        line = HandLine(
            number=9,
            id="h9",
            variant="nlhe",
            started_at=1,
            ended_at=2,
            players=[PlayerOfHand(seat_index=3, user_id="amy", display_name="Amy")],
            board=["Ah", "Kd", "2c"],
            boards=[["Ah", "Kd", "2c"]],
            pot=300,
            winners=[Winner(3, "amy", 290, "two pair")],
        )
        return [line]

    async def hand_history(self, principal: Principal, room_id: str, number: int) -> File:
        self._ask("hand_history", room_id, number)
        return File(f"ABC234-{number}.phh", "variant = 'NT'\n")

    async def room_books(self, principal: Principal, room_id: str) -> File:
        self._ask("room_books", room_id)
        return File("ABC234-ledger.csv", "net\r\n")


class FakeStaff(_Desk):
    """What only staff do."""

    async def credit_wallet(
        self,
        principal: Principal,
        user_id: str,
        amount: int,
        reason: str,
        command_id: str | None,
    ) -> int:
        self._ask("credit_wallet", user_id, amount, reason, command_id)
        return 10_000 + amount

    async def audit_log(self, principal: Principal, filters: AuditFilters) -> Sequence[AuditLine]:
        self._ask("audit_log", filters)
        line = AuditLine(
            id=9,
            at=1,
            user_id="amy",
            role="player",
            action="kick",
            room_id="r1",
            subject_id="bob",
            source="http",
            details={"some_reason": "rude"},
        )
        return [line]

    async def overview(self, principal: Principal) -> Overview:
        self._ask("overview")
        player = PlayerAtTable(
            user_id="bob",
            display_name="Bob",
            seat_index=3,
            chips=500,
            status="active",
            connected=True,
        )
        table = TableOverview(
            players=[player],
            in_hand=True,
            spectators=0,
            pending_requests=1,
            waitlist_length=2,
            **{
                name: getattr(ROOM, name)
                for name in TableOverview.__struct_fields__
                if hasattr(ROOM, name)
            },
        )
        return Overview(
            open_rooms=1,
            rooms=[table],
            waiting_chats=3,
            quarantined=list(await self.quarantined_rooms(principal)),
            quarantined_chats=list(await self.quarantined_chats(principal)),
            push_notifications=PushCounts(pending=1, sent=2, dead=0, skipped=0),
        )

    async def quarantined_rooms(self, principal: Principal) -> Sequence[QuarantinedRoom]:
        self._ask("quarantined_rooms")
        return [QuarantinedRoom(room_id="r1", since=1, reason="ValueError", crash_id="c1")]

    async def lift_room(self, principal: Principal, room_id: str) -> None:
        self._ask("lift_room", room_id)

    async def quarantined_chats(self, principal: Principal) -> Sequence[QuarantinedChat]:
        self._ask("quarantined_chats")
        return [QuarantinedChat(session_id="s1", since=1, reason="ValueError", crash_id="c1")]

    async def lift_chat(self, principal: Principal, session_id: str) -> None:
        self._ask("lift_chat", session_id)


class FakeWaitlists(_Desk):
    """The waitlists, read."""

    async def of_table(self, principal: Principal, table_id: str) -> Sequence[WaitlistEntry]:
        self._ask("of_table", table_id)
        return [ENTRY]

    async def of_player(self, principal: Principal, player_id: str) -> Sequence[WaitlistEntry]:
        self._ask("of_player", player_id)
        return [ENTRY]


class FakeChats(_Desk):
    """What players and staff say; `ran` is told each command."""

    def __init__(
        self, ask: Callable[..., None], ran: Callable[[Principal, object, str], None]
    ) -> None:
        super().__init__(ask)
        self._ran = ran

    async def run(
        self, principal: Principal, command: AnyChatCommand, *, source: str
    ) -> ChatChanged:
        self._ran(principal, command, source)
        if isinstance(command, ChatSend):
            return ChatSent(seq=7, session=SESSION, message=MESSAGE)
        return ChatChanged(seq=7, session=SESSION)

    async def history(self, principal: Principal, query: ChatHistory) -> ChatMessages:
        self._ask("history", query)
        return ChatMessages(messages=[MESSAGE], session=SESSION, more=True, staff_online=True)

    async def inbox(self, principal: Principal, query: ChatInbox) -> ChatSessions:
        self._ask("inbox", query)
        return ChatSessions(sessions=[SESSION], staff_online=False)

    async def canned_replies(self, principal: Principal) -> Sequence[CannedReply]:
        self._ask("canned_replies")
        return [CANNED]

    async def put_canned_reply(
        self, principal: Principal, shortcut: str, message_text: str
    ) -> CannedReply:
        self._ask("put_canned_reply", shortcut, message_text)
        return CANNED

    async def remove_canned_reply(self, principal: Principal, shortcut: str) -> None:
        self._ask("remove_canned_reply", shortcut)
