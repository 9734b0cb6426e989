"""A club that only remembers what it was asked, and the HTTP application before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from msgspec import UNSET

from protocol import commands, replies
from protocol.commands import AnyRoomCommand, CreateRoom, ListRooms
from protocol.errors import ErrorCode, Refused
from protocol.principal import Principal
from protocol.schema import reply_of
from protocol.values import ClubRole, RoomRole
from protocol.views import (
    BanView,
    LobbyRoom,
    MeView,
    RoomSnapshot,
    RoomView,
    SpectatorView,
)
from server.answers import Membership
from server.auth.tokens import AccessTokens, mint
from server.http.app import HttpApp, create_app
from server.metrics import Metrics
from server.pusher.endpoint import PusherEndpoint
from server.settings import Settings
from tests.support.fake_desks import (
    ENTRY,
    ROOM,
    FakeAccounts,
    FakeChats,
    FakeRecords,
    FakeStaff,
    FakeWaitlists,
)

SECRET = "a secret of the tests that is long enough"

LOBBY_ROOM = LobbyRoom(
    seats_taken=0,
    spectators=0,
    **{
        name: getattr(ROOM, name)
        for name in LobbyRoom.__struct_fields__
        if name not in ("seats_taken", "spectators")
    },
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

    def __post_init__(self) -> None:
        self.accounts = FakeAccounts(self._ask)
        self.records = FakeRecords(self._ask)
        self.staff = FakeStaff(self._ask)
        self.waitlists = FakeWaitlists(self._ask)
        self.chats = FakeChats(self._ask, self._run)

    async def run(
        self, principal: Principal, command: AnyRoomCommand | CreateRoom | ListRooms, *, source: str
    ) -> replies.Ok:
        self._run(principal, command, source)
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

    def ready(self) -> tuple[bool, Mapping[str, object]]:
        return self.is_ready, {"database": "there", "rigged_decks": False}

    def _run(self, principal: Principal, command: object, source: str) -> None:
        self.ran.append((principal, command, source))
        self._fail()

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
