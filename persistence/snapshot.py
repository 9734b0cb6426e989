"""Rooms as single users may see them, read from the database in one statement."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from game.state import MemberStatus
from persistence.pool import Pool
from protocol.errors import ErrorCode, Refused
from protocol.principal import Principal
from protocol.values import RoomRole, SeatStatus
from protocol.views import (
    BanView,
    HostControls,
    MeView,
    PendingRequest,
    RecentAction,
    RoomSnapshot,
    RoomView,
    SeatView,
    SpectatorView,
    TableState,
    WaitlistPlace,
)

Standing = Literal["guest", "pending", "approved", "rejected"]

RECENT_ACTIONS = 20

_QUERY = (Path(__file__).parent / "queries" / "snapshot.sql").read_text()
_RANK: dict[RoomRole, int] = {
    "guest": 0,
    "pending": 1,
    "approved": 2,
    "spectator": 3,
    "player": 4,
    "host": 5,
}


class _Seat(Struct, frozen=True):
    seat_index: int
    user_id: str
    display_name: str
    chips: int
    status: SeatStatus
    connected: bool
    last_seen_at: int
    leaving: str | None


class _Member(Struct, frozen=True):
    display_name: str
    status: MemberStatus


_HoleCards = list[Annotated[str, Meta(min_length=2)]]


class _Own(Struct, frozen=True):
    member: _Member | None
    hole_cards: _HoleCards | None


class StoredRoom(Struct, frozen=True):
    """Everything that a snapshot needs, as the database told it at one moment.

    `member` and `hole_cards` are those of the asker alone; the rest may be shared with others who
    asked for the same room.
    """

    seq: int
    state: TableState
    room: RoomView
    rigged: bool
    seats: list[_Seat]
    spectators: list[SpectatorView]
    pending: list[PendingRequest]
    bans: list[BanView]
    recent_actions: list[RecentAction]
    waitlist: list[WaitlistPlace]
    member: _Member | None = None
    hole_cards: _HoleCards | None = None

    def role_of(self, user_id: str) -> RoomRole:
        """Return the user's role in the room, staff not considered."""
        if user_id == self.room.host_id:
            return "host"
        if any(seat.user_id == user_id for seat in self.seats):
            return "player"
        if any(spectator.user_id == user_id for spectator in self.spectators):
            return "spectator"
        match self.member.status if self.member else "rejected":
            case "approved":
                return "approved"
            case "pending":
                return "pending"
            case _:
                return "guest"

    def standing(self, user_id: str) -> Standing:
        """Return how far the user's membership has come."""
        if self.role_of(user_id) not in ("guest", "pending"):
            return "approved"
        return self.member.status if self.member else "guest"


_decode = msgspec.json.Decoder(StoredRoom).decode
_decode_own = msgspec.json.Decoder(dict[int, _Own]).decode


async def read_rooms(pool: Pool, asked: Sequence[tuple[str, str]]) -> list[StoredRoom | None]:
    """Read rooms with what belongs to one user each, or None where there is no such room.

    Args:
        pool: connections.
        asked: pairs of room and user. What they see alike of a room is read once.

    Raises:
        Unavailable: the database is away.
    """
    values = {
        "rooms": list({room_id for room_id, _ in asked}),
        "asked_rooms": [room_id for room_id, _ in asked],
        "asked_users": [user_id for _, user_id in asked],
        "recent": RECENT_ACTIONS,
    }
    found: list[StoredRoom | None] = [None] * len(asked)
    async with pool.connection(read_only=True) as conn:
        cursor = await conn.execute(_QUERY, values, prepare=True)
        for _, room, owns in await cursor.fetchall():
            stored = _decode(room)
            for n, own in _decode_own(owns).items():
                found[n - 1] = msgspec.structs.replace(
                    stored, member=own.member, hole_cards=own.hole_cards
                )
    return found


async def read_room(pool: Pool, room_id: str, user_id: str) -> StoredRoom | None:
    """Read one room with what belongs to one user, as `read_rooms` does."""
    return (await read_rooms(pool, [(room_id, user_id)]))[0]


def snapshot_for(
    stored: StoredRoom,
    principal: Principal,
    *,
    wanted: RoomRole | None,
    rejoin_token: str | None,
    now: int,
) -> RoomSnapshot:
    """Draw the snapshot that a principal may have.

    Args:
        stored: the room as read for this principal.
        principal: who asks.
        wanted: a lesser role to see it as; None for the asker's own.
        rejoin_token: the asker's, None where they have none.
        now: UTC in milliseconds.

    Raises:
        Refused: `forbidden` for a greater role than the asker's, and for who is not let in.
    """
    own = stored.role_of(principal.user_id)
    if principal.is_staff and _RANK[own] < _RANK["spectator"]:
        own = "spectator"
    if _RANK[own] < _RANK["approved"]:
        raise Refused(ErrorCode.FORBIDDEN, "You have not been let into this room.")
    role = wanted or own
    if _RANK[role] > _RANK[own]:
        raise Refused(ErrorCode.FORBIDDEN, f"You are {own} here, not {role}.")
    as_self = role == own
    operates = as_self and (own == "host" or principal.is_staff)
    state = stored.state
    by_seat = {hand_state.seat_index: hand_state for hand_state in state.seats}
    seats = []
    for seat in stored.seats:
        playing = by_seat.get(seat.seat_index)
        seats.append(
            SeatView(
                seat_index=seat.seat_index,
                user_id=seat.user_id,
                display_name=seat.display_name,
                chips=seat.chips,
                bet=playing.bet if playing else 0,
                status=seat.status,
                in_hand=playing is not None and playing.in_hand,
                all_in=playing is not None and playing.all_in,
                connected=seat.connected,
                last_seen_at=seat.last_seen_at,
                shown_cards=playing.shown_cards if playing else None,
            )
        )
    return RoomSnapshot(
        seq=stored.seq,
        timestamp=now,
        role=role,
        room=stored.room,
        game=state.game,
        hand=state.hand,
        seats=seats,
        spectators=stored.spectators,
        me=_me(stored, principal, role, rejoin_token),
        recent_actions=stored.recent_actions,
        timer=state.timer,
        waitlist=stored.waitlist,
        pending_requests=stored.pending if operates else UNSET,
        bans=stored.bans if operates else UNSET,
        host_controls=_controls(stored) if operates else UNSET,
    )


def _me(
    stored: StoredRoom, principal: Principal, role: RoomRole, rejoin_token: str | None
) -> MeView:
    """Tell the asker about themselves: seat and cards in the roles that have them."""
    seat = next((s for s in stored.seats if s.user_id == principal.user_id), None)
    sits = seat is not None and role in ("host", "player")
    legal = stored.state.legal
    timer = stored.state.timer
    acts = sits and seat is not None and timer is not None and timer.actor_seat == seat.seat_index
    hole: list[str] | UnsetType = stored.hole_cards if sits and stored.hole_cards else UNSET
    name = seat.display_name if seat else stored.member.display_name if stored.member else None
    return MeView(
        user_id=principal.user_id,
        role=role,
        display_name=name or principal.name,
        rejoin_token=rejoin_token,
        seat_index=seat.seat_index if sits and seat is not None else UNSET,
        hole_cards=hole,
        legal_actions=legal if acts and legal is not None else UNSET,
    )


def _controls(stored: StoredRoom) -> HostControls:
    room, hand = stored.room, stored.state.hand
    ready = sum(s.status == "active" and s.chips > 0 and s.leaving is None for s in stored.seats)
    is_open = room.status != "closed"
    return HostControls(
        can_pause=is_open and room.status != "paused",
        can_kick=is_open,
        can_adjust_chips=is_open and hand is None,
        can_start=is_open and room.status != "paused" and hand is None and ready >= 2,
    )
