"""A club that only remembers what it was asked, and the HTTP application before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from msgspec import UNSET

from persistence.accounts import AuditFilters, AuditLine, LedgerLine, RoomOfUser
from persistence.overview import PlayerAtTable, TableOverview
from protocol import commands, replies
from protocol.commands import AnyRoomCommand, CreateRoom, ListRooms
from protocol.errors import ErrorCode, Refused
from protocol.principal import Principal
from protocol.schema import reply_of
from protocol.values import ClubRole, RoomRole, RoomSettings, Winner
from protocol.views import (
    BanView,
    LobbyRoom,
    MeView,
    RoomSnapshot,
    RoomView,
    SpectatorView,
    WaitlistEntry,
)
from server.answers import Me, Membership, Overview, QuarantinedRoom
from server.archive import File, HandLine, PlayerOfHand
from server.auth.tokens import AccessTokens, mint
from server.http.app import HttpApp, create_app
from server.metrics import Metrics
from server.pusher.endpoint import PusherEndpoint
from server.settings import Settings

SECRET = "a secret of the tests that is long enough"

ROOM = RoomView(
    id="r1",
    code="ABC234",
    host_id="amy",
    status="waiting",
    created_at=1,
    **{name: getattr(RoomSettings(), name) for name in RoomSettings.__struct_fields__},
)
LOBBY_ROOM = LobbyRoom(
    seats_taken=0,
    spectators=0,
    **{
        name: getattr(ROOM, name)
        for name in LobbyRoom.__struct_fields__
        if name not in ("seats_taken", "spectators")
    },
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


@dataclass
class FakeClub:
    """Answers everything; `ran` holds the commands, `asked` the names of other calls with their
    arguments. `failure` is raised instead, where set."""

    ran: list[tuple[Principal, object, str]] = field(default_factory=list)
    asked: list[tuple[object, ...]] = field(default_factory=list)
    failure: Exception | None = None
    role: RoomRole = "spectator"
    is_ready: bool = True

    async def welcome(self, principal: Principal) -> None:
        self._ask("welcome", principal.user_id)

    async def run(
        self, principal: Principal, command: AnyRoomCommand | CreateRoom | ListRooms, *, source: str
    ) -> replies.Ok:
        self.ran.append((principal, command, source))
        self._fail()
        kind = reply_of(type(command))
        if isinstance(command, ListRooms):
            return replies.Rooms(rooms=[LOBBY_ROOM])
        if isinstance(command, commands.Join):
            return replies.Joined(seq=7, room_id="r1", status="pending", waiting_for_approval=True)
        if isinstance(command, commands.Seat):
            return replies.RoleTaken(
                seq=7, role="player", rejoin_token="again", seat_index=3, chips=500
            )
        if isinstance(command, commands.Spectate):
            return replies.RoleTaken(seq=7, role="spectator", rejoin_token="again")
        if kind is replies.SeatLeft:
            return replies.SeatLeft(seq=7, pending=False, chips=500)
        if kind is replies.StackChanged:
            return replies.StackChanged(seq=7, chips=500)
        if kind is replies.RoomReply:
            return replies.RoomReply(seq=7, room=ROOM)
        if kind is replies.WaitlistJoined:
            return replies.WaitlistJoined(seq=7, entry=ENTRY, already_waiting=False)
        if kind is replies.WaitlistAccepted:
            return replies.WaitlistAccepted(
                seq=7, role="player", rejoin_token="again", seat_index=3, chips=500, entry=ENTRY
            )
        if kind is replies.WaitlistSeated:
            return replies.WaitlistSeated(seq=7, entry=ENTRY, seat_index=3, chips=500)
        if kind is replies.EntryReply:
            return replies.EntryReply(seq=7, entry=ENTRY)
        return replies.Changed(seq=7)

    async def hydrate(
        self, principal: Principal, room_id: str, role: RoomRole | None
    ) -> RoomSnapshot:
        self._ask("hydrate", room_id, role)
        return RoomSnapshot(
            seq=7,
            timestamp=1,
            role=role or self.role,
            room=ROOM,
            game=None,
            hand=None,
            seats=[],
            spectators=[],
            me=MeView(
                user_id=principal.user_id, role="spectator", display_name="A", rejoin_token=None
            ),
            recent_actions=[],
            timer=None,
            waitlist=[],
            pending_requests=UNSET,
        )

    async def room(self, principal: Principal, room_id: str) -> RoomView:
        self._ask("room", room_id)
        return ROOM

    async def membership(self, principal: Principal, room_id: str) -> Membership:
        self._ask("membership", room_id)
        return Membership(
            room_id=room_id,
            user_id=principal.user_id,
            status="approved",
            role=self.role,
            rejoin_token="again",
        )

    async def spectators(self, principal: Principal, room_id: str) -> Sequence[SpectatorView]:
        self._ask("spectators", room_id)
        return [SpectatorView("bob", "Bob")]

    async def bans(self, principal: Principal, room_id: str) -> Sequence[BanView]:
        self._ask("bans", room_id)
        return [BanView("bob", "rude", "amy", 5)]

    async def room_of_game(self, game_id: str) -> str:
        self._ask("room_of_game", game_id)
        if game_id != "g1":
            raise Refused(ErrorCode.NOT_FOUND, "There is no such game.")
        return "r1"

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
            open_rooms=1, rooms=[table], quarantined=list(await self.quarantined_rooms(principal))
        )

    async def quarantined_rooms(self, principal: Principal) -> Sequence[QuarantinedRoom]:
        self._ask("quarantined_rooms")
        return [QuarantinedRoom(room_id="r1", since=1, reason="ValueError", crash_id="c1")]

    async def lift_room(self, principal: Principal, room_id: str) -> None:
        self._ask("lift_room", room_id)

    @property
    def waitlists(self) -> FakeClub:
        return self

    async def of_table(self, principal: Principal, table_id: str) -> Sequence[WaitlistEntry]:
        self._ask("of_table", table_id)
        return [ENTRY]

    async def of_player(self, principal: Principal, player_id: str) -> Sequence[WaitlistEntry]:
        self._ask("of_player", player_id)
        return [ENTRY]

    def ready(self) -> tuple[bool, Mapping[str, object]]:
        return self.is_ready, {"database": "there", "rigged_decks": False}

    def _ask(self, name: str, *arguments: object) -> None:
        self.asked.append((name, *arguments))
        self._fail()

    def _fail(self) -> None:
        if self.failure is not None:
            raise self.failure


@dataclass(frozen=True)
class Ports:
    """Where the socket would be."""

    ws_port: int = 8001


def make_app(
    club: FakeClub, settings: Settings | None = None, pusher: PusherEndpoint | None = None
) -> HttpApp:
    """Make the application before a club."""
    tokens = AccessTokens("HS256", SECRET)
    return create_app(club, tokens, settings or Settings(), Metrics(), Ports(), pusher)


def bearer(user_id: str = "amy", role: ClubRole = "player") -> dict[str, str]:
    """Return the header that says who one is."""
    token = mint(SECRET, user_id, user_id.title(), role)
    return {"Authorization": f"Bearer {token}"}
