"""Every event that the server sends unasked.

A public room event carries the room's next `seq`; its fields beyond `type`, `channel`, `seq` and
`at` are, field for field, the `payload` of that `seq` in `room_events`. A private event carries the
`seq` of the public event that it goes with, and ``private: true``. `at` is UTC in milliseconds
since 1970. The classes are mutable because the room stamps the envelope when it emits them.
"""

from typing import Literal

from msgspec import UNSET, Struct, UnsetType

from protocol.tags import snake
from protocol.values import (
    ActionName,
    AnteKind,
    DealtIn,
    LegalActions,
    Posted,
    PotAward,
    RoomSettings,
    SeatStack,
    ShownHand,
    Street,
    WaitlistChange,
    WaitlistStatus,
    Winner,
)
from protocol.views import WaitlistPlace


class Event(Struct, tag_field="type", tag=snake, kw_only=True):
    """The envelope of every event."""

    channel: str = ""
    seq: int = 0
    at: int = 0


class PublicEvent(Event):
    """An event told to everybody in the room and kept in `room_events`."""


class PrivateEvent(Event, kw_only=True):
    """An event for some subscribers only; never in `room_events`."""

    private: Literal[True] = True


# A hand


class HandStarted(PublicEvent):
    """A hand begins; `seats` in dealing order from the small blind on, stacks before posting.

    `posted` lists what was put in, by those who put something in. `straddle_seat` is None without a
    straddle. In a bomb pot everybody posts the ante, the blinds are 0 (their seats are told all the
    same) and the flop follows at once.
    """

    hand_id: str
    number: int
    button_seat: int
    small_blind_seat: int
    big_blind_seat: int
    small_blind: int
    big_blind: int
    ante: int
    seats: list[DealtIn]
    ante_kind: AnteKind = "all"
    straddle: int = 0
    straddle_seat: int | None = None
    bomb_pot: bool = False
    posted: list[Posted] = []


class CardsDealt(PrivateEvent):
    """The owner's hole cards; goes with `HandStarted`."""

    hand_id: str
    seat_index: int
    hole_cards: list[str]


class TurnStarted(PublicEvent):
    """A decision begins. `deadline` is UTC in ms, `timebank_remaining` in ms beyond it."""

    seat_index: int
    user_id: str
    deadline: int
    timebank_remaining: int
    legal: LegalActions


class PlayerAction(PublicEvent):
    """A decision was made.

    `amount` is what it added to the pot, `bet` the seat's street bet after it, `chips` the stack
    behind, `pot` everything bet in the hand so far. `auto`: the clock or a departure decided.
    """

    hand_id: str
    seat_index: int
    user_id: str
    action: ActionName
    amount: int
    bet: int
    chips: int
    pot: int
    auto: bool


class StreetAdvanced(PublicEvent):
    """Board cards were dealt: `cards` are the new ones, `board` all of them in dealing order.

    Where the rest of the board is dealt more than once, `runout` counts the boards from 1.
    """

    hand_id: str
    street: Street
    cards: list[str]
    board: list[str]
    pot: int
    runout: int | UnsetType = UNSET


class RunItOffered(PublicEvent):
    """Betting is over with cards to come: how often is the rest of the board to be dealt?

    `seats` are to answer, `times` is the most that they may say, `deadline` is UTC in ms. `pot` is
    everything bet in the hand; a bet that nobody could call has gone back. When a server goes on
    with a hand, it is told again to those who have not answered, with a new deadline.
    """

    hand_id: str
    seats: list[int]
    times: int
    deadline: int
    pot: int


class RunItVoted(PublicEvent):
    """A player has said how often."""

    hand_id: str
    seat_index: int
    user_id: str
    times: int


class RunItDecided(PublicEvent):
    """The rest of the board is dealt so many times."""

    hand_id: str
    times: int


class Showdown(PublicEvent):
    """Hands tabled, in showdown order; a mucked hand is not listed."""

    hand_id: str
    hands: list[ShownHand]


class PotDistributed(PublicEvent):
    """Who took which pot, main pot first. An uncalled bet that went back is in no pot."""

    hand_id: str
    pots: list[PotAward]


class HandComplete(PublicEvent):
    """A hand is over. `next_hand_at` is UTC in ms, or None if none is due by itself."""

    hand_id: str
    winners: list[Winner]
    stacks: list[SeatStack]
    next_hand_at: int | None


# Membership and seats


class PlayerJoinRequested(PrivateEvent):
    """Somebody asks to be let in; for the host and staff."""

    user_id: str
    display_name: str
    requested_at: int


class PlayerApproved(PublicEvent):
    """A user was let in."""

    user_id: str
    display_name: str


class MembershipApproved(PrivateEvent, tag="player_approved"):
    """The same told to the user, on their own channel, with the token that lets them rejoin."""

    room_id: str
    user_id: str
    display_name: str
    rejoin_token: str


class PlayerRejected(PublicEvent):
    """A request was turned down."""

    user_id: str


class MembershipRejected(PrivateEvent, tag="player_rejected"):
    """The same told to the user; `retry_at` (UTC, ms) is when they may ask again."""

    room_id: str
    user_id: str
    retry_at: int


class PlayerSeated(PublicEvent):
    """A user took a seat with a stack."""

    seat_index: int
    user_id: str
    display_name: str
    chips: int


class SpectatorJoined(PublicEvent):
    """A user watches."""

    user_id: str
    display_name: str


class SpectatorLeft(PublicEvent):
    """A user stopped watching; `reason` is ``left``, ``seated``, ``unseen`` or ``kicked``."""

    user_id: str
    reason: str


class PlayerLeftSeat(PublicEvent):
    """A player left the seat by their own will; `chips` went back to their wallet."""

    seat_index: int
    user_id: str
    chips: int


class SeatFreed(PublicEvent):
    """The grace period ended: the seat is free, `chips` went back to the wallet."""

    seat_index: int
    user_id: str
    chips: int


class PlayerDisconnected(PublicEvent):
    """A seated player was not seen for the grace time; they keep the seat for now."""

    seat_index: int
    user_id: str
    last_seen_at: int


class PlayerReconnected(PublicEvent):
    """A player who had been told as disconnected is back."""

    seat_index: int
    user_id: str


class PlayerKicked(PublicEvent):
    """A user was removed by the host or staff; a seat's chips go back once the hand is over."""

    user_id: str
    seat_index: int | None
    chips: int
    reason: str | None


class PlayerJoinWithdrawn(PublicEvent):
    """A user does not ask to be let in any more."""

    user_id: str


class PlayerBanned(PublicEvent):
    """A user may not come in any more; if they were in the room, they are kicked."""

    user_id: str


class BanTold(PrivateEvent, tag="player_banned"):
    """The same with the reason, to host and staff, and to the user on their own channel.

    `banned_by` is None in what the user is told. `banned_at` is UTC in ms.
    """

    room_id: str
    user_id: str
    reason: str | None
    banned_by: str | None
    banned_at: int


class PlayerUnbanned(PublicEvent):
    """A user may ask to be let in again."""

    user_id: str


class BanLifted(PrivateEvent, tag="player_unbanned"):
    """The same told to the user, on their own channel."""

    room_id: str
    user_id: str


class PlayerSatOut(PublicEvent):
    """A player is not dealt in; `reason`: ``asked``, ``clock`` or ``disconnected``."""

    seat_index: int
    user_id: str
    reason: str


class PlayerSatIn(PublicEvent):
    """A player is dealt in from the next hand on."""

    seat_index: int
    user_id: str


class ChipsAdded(PublicEvent):
    """A top-up: `amount` came from the wallet, `chips` is the stack after it."""

    seat_index: int
    user_id: str
    amount: int
    chips: int


class ChipsAdjusted(PublicEvent):
    """The host or staff changed a stack by `delta` against the house; `chips` is what it is now."""

    seat_index: int
    user_id: str
    delta: int
    chips: int
    reason: str


# The waitlist


class WaitlistUpdate(PublicEvent):
    """The table's waitlist changed: to whom what happened, and the whole of it after that.

    `position` is None for who waits no more. `timestamp` is UTC in ms. Staff get the same on their
    own channel, from all tables.
    """

    change: WaitlistChange
    player_id: str
    player_name: str
    table_id: str
    position: int | None
    timestamp: int
    entries: list[WaitlistPlace]


class WaitlistPosition(PrivateEvent):
    """A player's place in line is another one; `ahead` is how many stand before them."""

    table_id: str
    entry_id: str
    position: int
    ahead: int


class SeatOffered(PrivateEvent):
    """A player is called: the seat is held for them until `expires_at` (UTC, ms)."""

    table_id: str
    entry_id: str
    seat_index: int
    expires_at: int


class WaitlistEnded(PrivateEvent):
    """A player waits no more; `status` says how it ended."""

    table_id: str
    entry_id: str
    status: WaitlistStatus


# The room


class SettingsChanged(PublicEvent):
    """New settings, in force from the next hand on."""

    settings: RoomSettings


class GameStarted(PublicEvent):
    """The game is on: hands follow."""

    game_id: str


class GamePaused(PublicEvent):
    """No hand starts until resumed; one that runs is played to its end."""

    game_id: str


class GameResumed(PublicEvent):
    """Hands follow again."""

    game_id: str


class HostChanged(PublicEvent):
    """The room belongs to somebody else."""

    host_id: str
    previous_host_id: str


class RoomClosed(PublicEvent):
    """The room is closed; all stacks went home to their wallets."""

    reason: str | None = None


# From elsewhere


class Published(PrivateEvent):
    """What an existing back end, or a client of the Pusher-compatible endpoint, published here.

    It passes through: nothing is kept of it, and `seq` is 0. `data` is text as it was published,
    usually JSON.
    """

    name: str
    data: str


def subclasses(base: type[Event]) -> tuple[type[Event], ...]:
    """List the concrete event classes under `base`, in order of definition."""
    found: list[type[Event]] = []
    for cls in base.__subclasses__():
        below = subclasses(cls)
        found.extend(below if below else (cls,))
    return tuple(found)


PUBLIC_EVENTS = subclasses(PublicEvent)
PRIVATE_EVENTS = subclasses(PrivateEvent)
EVENT_NAMES: dict[type[Event], str] = {
    cls: str(cls.__struct_config__.tag) for cls in PUBLIC_EVENTS + PRIVATE_EVENTS
}
"""The wire name of each event class."""
