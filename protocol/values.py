"""Values that several messages share: amounts, cards, room settings, legal actions.

Bounds that one field can hold on its own stand here, so that a frame that breaks them is refused
while it is decoded; rules that need two fields or a room's state are in `game`.
"""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

MAX_CHIPS = 10**15
"""Upper bound of any single amount, so that sums of many stay far inside 64 bits."""

Chips = Annotated[int, Meta(ge=0, le=MAX_CHIPS)]
PositiveChips = Annotated[int, Meta(ge=1, le=MAX_CHIPS)]
ChipsDelta = Annotated[int, Meta(ge=-MAX_CHIPS, le=MAX_CHIPS)]
Card = Annotated[str, Meta(pattern="^[2-9TJQKA][cdhs]$")]
SeatIndex = Annotated[int, Meta(ge=0, le=9)]
_TEXT = r"^[^\x00-\x1f\x7f]+\Z"
"""No control characters: they forge lines in logs and exports, and PostgreSQL takes no NUL."""
DisplayName = Annotated[str, Meta(min_length=1, max_length=60, pattern=_TEXT)]
UserKey = Annotated[str, Meta(min_length=1, max_length=64, pattern=_TEXT)]
RoomKey = Annotated[str, Meta(min_length=1, max_length=64, pattern=_TEXT)]
RoomName = Annotated[str, Meta(min_length=1, max_length=60, pattern=_TEXT)]
Reason = Annotated[str, Meta(min_length=1, max_length=500, pattern=_TEXT)]
Place = Annotated[int, Meta(ge=1, le=1_000_000)]
GameType = Annotated[str, Meta(min_length=1, max_length=60, pattern=_TEXT)]
EntryKey = Annotated[str, Meta(min_length=1, max_length=64, pattern=_TEXT)]
Notes = Annotated[str, Meta(max_length=1000, pattern=r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*\Z")]
"""What people write into a box: lines and tabs, no other control characters."""

Variant = Annotated[str, Meta(title="Variant", pattern=r"^[a-z0-9]{1,20}\Z")]
"""The name of a variant. Which there are is the rules' to say, and the documents list them."""
ClubRole = Literal["player", "staff"]
RoomRole = Literal["host", "player", "spectator", "approved", "pending", "guest"]
ActionName = Literal["FOLD", "CHECK", "CALL", "BET", "RAISE", "ALL_IN"]
Street = Literal["preflop", "flop", "turn", "river", "showdown"]
RoomStatus = Literal["waiting", "playing", "paused", "closed"]
GameStatus = Literal["waiting", "playing", "paused", "ended"]
SeatStatus = Literal["active", "sitting_out"]
AnteKind = Literal["all", "big_blind", "button"]
"""Who posts the ante: everybody, or one player for all."""
WaitlistStatus = Literal[
    "waiting", "called", "seated", "declined", "expired", "no_show", "cancelled"
]
WaitlistSource = Literal["player_portal", "staff_portal", "socket", "external"]
WaitlistChange = Literal[
    "player_joined", "player_left", "player_called", "player_seated", "player_expired", "moved"
]
"""What happened to a waitlist."""

MessageKey = Annotated[
    str,
    Meta(pattern=r"^[0-9a-fA-F]{8}(-?[0-9a-fA-F]{4}){3}-?[0-9a-fA-F]{12}\Z"),
]
"""The id of a chat message: a UUID that its writer chose."""
MessageRef = Annotated[str, Meta(min_length=1, max_length=64, pattern=_TEXT)]
"""The id of a message that is there: those that others wrote with SQL need not be UUIDs."""
MessageText = Annotated[str, Meta(min_length=1, max_length=4000, pattern=r"^[^\x00]+\Z")]
"""What is said in a chat, as it was written; only NUL cannot be stored."""
SessionKey = Annotated[str, Meta(min_length=1, max_length=64, pattern=_TEXT)]
ChatStatus = Literal["waiting", "in_progress", "resolved"]
AnyChatStatus = Literal["waiting", "in_progress", "resolved", "pending", "active"]
"""The same with the words of older clients: pending is waiting, active is in progress."""
OlderChatStatus = Literal["pending", "active", "resolved"]
"""The words of older clients alone."""
Urgency = Literal["low", "normal", "high"]
ChatSender = Literal["player", "staff", "system"]
ChatSide = Literal["player", "staff"]
MessageStatus = Literal["sent", "received", "read"]
"""Whether a socket of the other side has it, and whether somebody there has read it."""
PushKind = Literal["chat_request", "chat_message", "seat_offer", "join_request"]

RunItTimes = Annotated[int, Meta(ge=1, le=3)]
"""How often the rest of the board may be dealt."""

_Seconds = Annotated[int, Meta(ge=5, le=120)]
_BankSeconds = Annotated[int, Meta(ge=0, le=300)]
_Seats = Annotated[int, Meta(ge=2, le=10)]
_BasisPoints = Annotated[int, Meta(ge=0, le=1000)]


class BombPot(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every so many hands, all players put `amount` into the pot and play begins on the flop."""

    every_n_hands: Annotated[int, Meta(ge=1, le=1000)]
    amount: PositiveChips


class RoomSettings(Struct, frozen=True, kw_only=True):
    """The settings of a room, complete. Amounts are chips, times whole seconds.

    `ante` is what whoever `ante_kind` says posts. `straddle` is what the player left of the big
    blind posts (0: nothing, or at least two big blinds), where three or more play. `run_it_times`
    is how often the rest of the board is dealt at most when players who are all-in agree (1: they
    are not asked).
    """

    name: RoomName = "Table"
    variant: Variant = "nlhe"
    small_blind: PositiveChips = 50
    big_blind: PositiveChips = 100
    ante: Chips = 0
    min_buy_in: PositiveChips = 2_000
    max_buy_in: PositiveChips = 10_000
    max_seats: _Seats = 9
    turn_seconds: _Seconds = 20
    time_bank_seconds: _BankSeconds = 60
    auto_start: bool = True
    requires_approval: bool = True
    spectators_allowed: bool = True
    rake_basis_points: _BasisPoints = 0
    rake_cap: Chips = 0
    is_private: bool = False
    ante_kind: AnteKind = "all"
    straddle: Chips = 0
    bomb_pot: BombPot | None = None
    run_it_times: RunItTimes = 1


class LooseSettings(Struct, frozen=True, kw_only=True):
    """Some settings of a room, standing flat among the other fields of a message."""

    name: RoomName | UnsetType = UNSET
    variant: Variant | UnsetType = UNSET
    small_blind: PositiveChips | UnsetType = UNSET
    big_blind: PositiveChips | UnsetType = UNSET
    ante: Chips | UnsetType = UNSET
    min_buy_in: PositiveChips | UnsetType = UNSET
    max_buy_in: PositiveChips | UnsetType = UNSET
    max_seats: _Seats | UnsetType = UNSET
    turn_seconds: _Seconds | UnsetType = UNSET
    time_bank_seconds: _BankSeconds | UnsetType = UNSET
    auto_start: bool | UnsetType = UNSET
    requires_approval: bool | UnsetType = UNSET
    spectators_allowed: bool | UnsetType = UNSET
    rake_basis_points: _BasisPoints | UnsetType = UNSET
    rake_cap: Chips | UnsetType = UNSET
    is_private: bool | UnsetType = UNSET
    ante_kind: AnteKind | UnsetType = UNSET
    straddle: Chips | UnsetType = UNSET
    bomb_pot: BombPot | None | UnsetType = UNSET
    run_it_times: RunItTimes | UnsetType = UNSET


class SettingsPatch(LooseSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Some settings of a room: what is left out stays as it is (or takes its default)."""


class LegalActions(Struct, frozen=True):
    """What the player to act may do; amounts in chips, None where there is no such action.

    `call_amount` is what calling adds to the player's street bet. `min_raise_to` and `max_raise_to`
    bound the total that a bet or raise makes of the street bet.
    """

    can_fold: bool
    can_check: bool
    call_amount: int | None
    min_raise_to: int | None
    max_raise_to: int | None


class SeatStack(Struct, frozen=True):
    """The chips behind of one seat."""

    seat_index: int
    chips: int


class DealtIn(Struct, frozen=True):
    """One seat that takes part in a hand, with its stack before antes and blinds."""

    seat_index: int
    user_id: str
    chips: int


class Posted(Struct, frozen=True):
    """What one seat had to put in before the cards, as far as its stack went.

    `ante` is in the pot, `bet` (a blind or straddle) is the seat's street bet.
    """

    seat_index: int
    ante: int
    bet: int


class ShownHand(Struct, frozen=True):
    """A hand tabled at showdown; `rank` is its name in English words, such as ``two pair``.

    In a hi-lo game a low follows, if the hand has one: ``two pair / eight low``. Where the board
    was run out more than once, `ranks` names it for each board, `rank` for the first.
    """

    seat_index: int
    cards: list[str]
    rank: str
    ranks: list[str] | UnsetType = UNSET


class PotShare(Struct, frozen=True):
    """What one seat took from a pot."""

    seat_index: int
    amount: int


class RunoutAward(Struct, frozen=True):
    """The part of a pot that was played for on one board, counted from 1, and who took it."""

    runout: int
    amount: int
    winners: list[PotShare]


class PotAward(Struct, frozen=True):
    """One pot and who took it: `amount` is the pot before `rake`; the shares sum to the rest.

    Where the board was run out more than once, `runouts` divides that rest among the boards.
    """

    amount: int
    rake: int
    winners: list[PotShare]
    runouts: list[RunoutAward] | UnsetType = UNSET


class Winner(Struct, frozen=True):
    """What a seat took from all pots of a hand; `rank` is None if its cards were not shown.

    Where the board was run out more than once, it is the hand on the first board that it won on.
    """

    seat_index: int
    user_id: str
    amount: int
    rank: str | None
