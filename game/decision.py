"""What deciding yields: events to tell, rows to write, tokens to grant.

One decision may hold several commands of one room that are committed as one unit. Deciding emits
events as it goes (each public one takes the room's next seq) and notes which seats and members it
touched; `writes` turns what was touched into rows once, at the end.
"""

from typing import NamedTuple

import msgspec

from game import rows
from game.changes import (
    AuditEntry,
    BanGone,
    Change,
    EventTold,
    LedgerEntry,
    MemberGone,
    SeatGone,
    SpectatorGone,
    WalletMove,
)
from game.state import RoomState, Waiting
from protocol.audience import Audience, Told
from protocol.events import EVENT_NAMES, Event, PublicEvent
from protocol.ids import STAFF_PORTAL, RoomId, UserId, player_channel, room_channel
from protocol.principal import Principal
from protocol.values import RoomRole

SERVER = "server"
"""Who does, in the audit log, what nobody asked for just then."""


class TokenGrant(NamedTuple):
    """A rejoin token due to a user, in the role (and seat) that they now have."""

    user_id: str
    role: RoomRole
    seat_index: int | None


class Context(msgspec.Struct, frozen=True):
    """What deciding may know beyond the room: the time, a shuffled deck, where it came from.

    `now` is UTC in milliseconds. `deck` is a whole shuffled deck of the room's variant, there for
    commands that may start a hand. `host_connected` says whether the room's host has a socket.
    `source` names the way in (``websocket``, ``http``, ``server``, and for the waitlist
    ``player_portal`` or ``staff_portal``).
    """

    now: int
    hand_interval_ms: int
    reject_cooldown_ms: int
    seat_offer_ms: int
    max_members: int
    rigging_enabled: bool
    deck: tuple[str, ...] | None = None
    source: str = "server"
    host_connected: bool = True


class Decision:
    """The growing outcome of one or more commands on one room.

    `places_told` is the place in line that each entry of the waitlist was last told; what is not in
    it is told anew.
    """

    __slots__ = (
        "_bans",
        "_channel",
        "_entries",
        "_game",
        "_hand",
        "_places",
        "_plays",
        "_seats",
        "_spectators",
        "_transfers",
        "changes",
        "first_seq",
        "for_staff",
        "grants",
        "personal",
        "places_told",
        "room_touched",
        "state",
        "told",
        "touched_members",
    )

    def __init__(self, state: RoomState) -> None:
        self.state = state
        self.first_seq = state.seq
        self._channel = room_channel(RoomId(state.room_id))
        self.told: list[Told] = []
        self.grants: list[TokenGrant] = []
        self.personal: list[tuple[str, Event]] = []
        self.for_staff: list[Event] = []
        self.changes: list[Change] = []
        self.touched_members: set[str] = set()
        self.room_touched = False
        self._seats: set[int] = set()
        self._plays: set[int] = set()
        self._spectators: set[str] = set()
        self._bans: set[str] = set()
        self._game = False
        self._hand = False
        self._transfers = 0
        self._entries: dict[str, Waiting] = {}
        self._places = state.places
        self.places_told = self._places.copy()

    @property
    def empty(self) -> bool:
        """Whether nothing has changed and nothing is to be told."""
        return not (
            self.told
            or self.changes
            or self.room_touched
            or self.touched_members
            or self._seats
            or self._plays
            or self._spectators
            or self._bans
            or self._game
            or self._hand
            or self._entries
        )

    def emit(self, event: PublicEvent, now: int) -> None:
        """Tell everybody in the room; the event takes the next seq."""
        state = self.state
        state.seq += 1
        event.channel = self._channel
        event.seq = state.seq
        event.at = now
        self.told.append(Told(event, Audience.EVERYONE))

    def whisper(self, event: Event, now: int, audience: Audience | str) -> None:
        """Tell some only; the event goes with the last public one and takes no seq."""
        event.channel = self._channel
        event.seq = self.state.seq
        event.at = now
        self.told.append(Told(event, audience))

    def tell_user(self, user_id: str, event: Event, now: int) -> None:
        """Tell one user on their own channel, whether or not they are in the room."""
        event.channel = player_channel(UserId(user_id))
        event.seq = self.state.seq
        event.at = now
        self.personal.append((user_id, event))

    def tell_staff(self, event: Event, now: int) -> None:
        """Tell all staff of the club on their own channel."""
        event.channel = STAFF_PORTAL
        event.seq = self.state.seq
        event.at = now
        self.for_staff.append(event)

    def touch_room(self) -> None:
        """The room's own row changed."""
        self.room_touched = True

    def touch_member(self, user_id: str) -> None:
        """A membership changed, came or went."""
        self.touched_members.add(user_id)

    def touch_seat(self, seat_index: int) -> None:
        """A seat changed, was taken or was freed."""
        self._seats.add(seat_index)

    def touch_play(self, seat_index: int) -> None:
        """A seat's stack, time bank or clock-outs changed, and nothing else of it."""
        self._plays.add(seat_index)

    def touch_spectator(self, user_id: str) -> None:
        """A spectator came or went."""
        self._spectators.add(user_id)

    def touch_ban(self, user_id: str) -> None:
        """A ban came or was lifted."""
        self._bans.add(user_id)

    def touch_game(self) -> None:
        """The game's row changed."""
        self._game = True

    def touch_hand(self) -> None:
        """The running hand changed."""
        self._hand = True

    def touch_waitlist(self, entry: Waiting) -> None:
        """An entry of the waitlist came, changed or ended; those that moved up show themselves."""
        self._entries[entry.entry_id] = entry

    def write(self, change: Change) -> None:
        """Add a row that follows from no state."""
        self.changes.append(change)

    def transfer(
        self,
        source: "Account",
        target: "Account",
        amount: int,
        *,
        kind: str,
        now: int,
        reason: str | None = None,
        hand_id: str | None = None,
    ) -> None:
        """Move `amount` chips (any sign but zero) between two accounts, both sides at once."""
        self._transfers += 1
        room_id = self.state.room_id
        # Every decision that moves chips tells so, hence begins at a seq of its own.
        transfer_id = f"{room_id}:{self.first_seq}:{self._transfers}"
        for account, delta in ((source, -amount), (target, amount)):
            self.changes.append(
                LedgerEntry(
                    transfer_id,
                    account.name,
                    account.user_id,
                    room_id,
                    hand_id,
                    account.sitting_id,
                    delta,
                    kind,
                    reason,
                    now,
                )
            )
            if account.name == "wallet" and account.user_id is not None:
                self.changes.append(WalletMove(account.user_id, delta))

    def audit(
        self,
        principal: Principal | None,
        action: str,
        ctx: Context,
        subject_id: str | None,
        **details: object,
    ) -> None:
        """Note who did what to whom; None is the server itself."""
        self.changes.append(
            AuditEntry(
                ctx.now,
                SERVER if principal is None else principal.user_id,
                SERVER if principal is None else principal.role,
                action,
                self.state.room_id,
                subject_id,
                SERVER if principal is None else ctx.source,
                msgspec.Raw(msgspec.json.encode(details)),
            )
        )

    def writes(self) -> list[Change]:
        """List every row of the decision; call it once, when deciding is over."""
        state, out = self.state, self.changes
        room_id = state.room_id
        if self.room_touched:
            out.append(rows.room(state))
        for user_id in self.touched_members:
            member = state.members.get(user_id)
            out.append(rows.member(room_id, member) if member else MemberGone(room_id, user_id))
        for index in self._seats:
            seat = state.seats.get(index)
            out.append(rows.seat(room_id, seat) if seat else SeatGone(room_id, index))
        for index in self._plays - self._seats:
            seat = state.seats.get(index)
            if seat is not None:
                out.append(rows.seat_play(room_id, seat))
        for user_id in self._spectators:
            spectator = state.spectators.get(user_id)
            out.append(
                rows.spectator(room_id, spectator) if spectator else SpectatorGone(room_id, user_id)
            )
        for user_id in self._bans:
            ban = state.bans.get(user_id)
            out.append(rows.ban(room_id, ban) if ban else BanGone(room_id, user_id))
        if self._game and state.game is not None:
            out.append(rows.game(room_id, state.game))
        if self._hand and state.hand is not None:
            out.append(rows.hand_play(state.hand, state.clock, state.vote))
        if self._entries or self._places:
            out.extend(self._waitlist_rows())
        for told in self.told:
            if told.audience is Audience.EVERYONE:
                event = told.event
                out.append(
                    EventTold(
                        room_id,
                        event.seq,
                        event.at,
                        EVENT_NAMES[type(event)],
                        msgspec.Raw(msgspec.json.encode(event)),
                    )
                )
        return out

    def _waitlist_rows(self) -> list[Change]:
        """Write the entries that changed or moved; ended ones first, for their players may have
        joined again."""
        if not self._entries and not self.state.waitlist:
            return []
        room_id, now_at = self.state.room_id, self.state.places
        found: list[Change] = [
            rows.waitlist_entry(room_id, entry, None)
            for entry in self._entries.values()
            if entry.entry_id not in now_at
        ]
        for entry, place in zip(self.state.waitlist, now_at.values(), strict=True):
            if entry.entry_id in self._entries or self._places.get(entry.entry_id) != place:
                found.append(rows.waitlist_entry(room_id, entry, place))
        return found


class Account(NamedTuple):
    """One account of the ledger."""

    name: str
    user_id: str | None = None
    sitting_id: str | None = None


HOUSE = Account("house")
POT = Account("pot")


def wallet(user_id: str) -> Account:
    """Name a user's wallet."""
    return Account("wallet", user_id)


def stack(user_id: str, sitting_id: str) -> Account:
    """Name a user's stack in the room."""
    return Account("stack", user_id, sitting_id)
