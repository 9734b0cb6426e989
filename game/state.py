"""A room as its actor holds it: membership, seats, the game, the running hand.

Everything here can be rebuilt from the database (`persistence.hydration`). The structs
are mutable: deciding changes them in place once a command has been found valid, and a state whose
changes did not commit is dropped. Times are UTC in milliseconds.
"""

from typing import Any, Literal

from msgspec import Struct

from game.poker.hand import Hand
from protocol.values import (
    GameStatus,
    LegalActions,
    RoomSettings,
    SeatStatus,
    WaitlistSource,
    WaitlistStatus,
)

MemberStatus = Literal["pending", "approved", "rejected"]
Leaving = Literal["seat", "room", "kick", "grace"]


class Member(Struct):
    """A user who asked to be let in, was, or was turned down.

    `told_seq` is the room's seq when the request was told to host and staff.
    """

    user_id: str
    display_name: str
    status: MemberStatus
    requested_at: int
    decided_at: int | None
    told_seq: int


class Seat(Struct):
    """A taken seat.

    `chips` is the stack behind. `clock_outs` counts decisions in a row that the clock made. `away`:
    told as disconnected. `leaving` is set while a hand must end before the seat can be freed.
    """

    seat_index: int
    user_id: str
    display_name: str
    chips: int
    status: SeatStatus
    time_bank_ms: int
    clock_outs: int
    away: bool
    leaving: Leaving | None
    leaving_reason: str | None
    sitting_id: str
    last_seen_at: int

    @property
    def ready(self) -> bool:
        """Whether the seat is dealt into the next hand."""
        return self.status == "active" and self.chips > 0 and self.leaving is None


class Spectator(Struct):
    """Somebody who watches."""

    user_id: str
    display_name: str
    last_seen_at: int


class Game(Struct):
    """The room's game: one a room, from the first start until the room closes."""

    id: str
    status: GameStatus
    hands_played: int
    button_seat: int | None
    big_blind_seat: int | None
    hand_ended_at: int | None
    next_hand_at: int | None
    started_at: int
    ended_at: int | None


class TurnClock(Struct):
    """The running decision: what it may be, and when the turn's own time ends and the time bank
    begins."""

    seat_index: int
    started_at: int
    deadline: int
    legal: LegalActions


class RunItVote(Struct):
    """The players of a hand are asked how often to run the board out, until `deadline`.

    `votes` is what each seat has said.
    """

    deadline: int
    votes: dict[int, int]


class Ban(Struct):
    """Somebody who may not come in."""

    user_id: str
    reason: str | None
    banned_by: str
    banned_at: int


class Waiting(Struct):
    """A live entry of the waitlist: somebody who waits, or is called to a seat.

    `seat_number` is a wish; `seat_index` is the seat held for who is called, until `expires_at`.
    Somebody without a client (`has_client`) was entered by staff by name.
    """

    entry_id: str
    player_id: str
    player_name: str
    has_client: bool
    seat_number: int | None
    game_type: str | None
    min_buy_in: int | None
    max_buy_in: int | None
    status: WaitlistStatus
    source: WaitlistSource
    notes: str | None
    seat_index: int | None
    called_at: int | None
    expires_at: int | None
    created_at: int
    updated_at: int


class OutsideWrite(Struct):
    """A row that somebody wrote past the server, as it was before and after; None: was not there.

    What it means is not told yet.
    """

    id: int
    relation: Literal["waitlist", "room_seats", "rooms"]
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    written_by: str
    written_at: int


class RoomState(Struct):
    """A room. `seq` is that of the last public event, `epoch` its owner's fencing epoch.

    `waitlist` holds the live entries, first in line first. `outside` counts the writes from outside
    that this state contains, `untold` are those that nobody was told of.
    """

    room_id: str
    code: str
    host_id: str
    settings: RoomSettings
    created_at: int
    seq: int
    epoch: int
    outside: int = 0
    next_settings: RoomSettings | None = None
    closing: str | None = None
    rigged_deck: tuple[str, ...] | None = None
    closed_at: int | None = None
    members: dict[str, Member] = {}
    seats: dict[int, Seat] = {}
    spectators: dict[str, Spectator] = {}
    bans: dict[str, Ban] = {}
    waitlist: list[Waiting] = []
    untold: list[OutsideWrite] = []
    game: Game | None = None
    hand: Hand | None = None
    clock: TurnClock | None = None
    vote: RunItVote | None = None

    @property
    def closed(self) -> bool:
        """Whether the room is closed for good."""
        return self.closed_at is not None

    @property
    def status(self) -> Literal["waiting", "playing", "paused", "closed"]:
        """The room's status as lobby and snapshot tell it."""
        if self.closed:
            return "closed"
        if self.game is None or self.game.status == "ended":
            return "waiting"
        return self.game.status

    @property
    def seat_count(self) -> int:
        """How many seats may be taken; the fewer while new settings wait for the next hand."""
        return min(self.settings.max_seats, (self.next_settings or self.settings).max_seats)

    @property
    def places(self) -> dict[str, int]:
        """Each waitlist entry's place in line, from 1, first in line first."""
        return {entry.entry_id: place for place, entry in enumerate(self.waitlist, 1)}

    def seat_of(self, user_id: str) -> Seat | None:
        """Return the seat that a user has, if any."""
        for seat in self.seats.values():
            if seat.user_id == user_id:
                return seat
        return None

    def in_hand(self, seat: Seat) -> bool:
        """Whether a seat was dealt into the running hand, folded since or not."""
        return self.hand is not None and any(
            dealt.seat_index == seat.seat_index for dealt in self.hand.setup.seats
        )

    def ready_seats(self) -> list[Seat]:
        """List the seats that the next hand deals in, by seat index."""
        return [seat for _, seat in sorted(self.seats.items()) if seat.ready]
