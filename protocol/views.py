"""What `hydrate` answers: a room as one role sees it, read in one snapshot of the database.

Times ending in `_at` and `deadline` are UTC in milliseconds since 1970. Fields that only some roles
get are left out of the frame for the others (UNSET), never sent empty.
"""

from msgspec import UNSET, Struct, UnsetType

from protocol.values import (
    AnteKind,
    BombPot,
    ChatSender,
    ChatStatus,
    GameStatus,
    LegalActions,
    MessageStatus,
    RoomRole,
    RoomSettings,
    RoomStatus,
    SeatStatus,
    Street,
    Urgency,
    Variant,
    WaitlistSource,
    WaitlistStatus,
)


class RoomView(Struct, frozen=True, kw_only=True):
    """The room itself; the settings stand flat, as in force for the running or next hand."""

    id: str
    code: str
    host_id: str
    status: RoomStatus
    created_at: int
    name: str
    variant: Variant
    small_blind: int
    big_blind: int
    ante: int
    min_buy_in: int
    max_buy_in: int
    max_seats: int
    turn_seconds: int
    time_bank_seconds: int
    auto_start: bool
    requires_approval: bool
    spectators_allowed: bool
    rake_basis_points: int
    rake_cap: int
    is_private: bool
    ante_kind: AnteKind
    straddle: int
    bomb_pot: BombPot | None
    run_it_times: int
    next_settings: RoomSettings | None = None


class LobbyRoom(Struct, frozen=True, kw_only=True):
    """A room's line in the lobby."""

    id: str
    code: str
    name: str
    host_id: str
    variant: Variant
    small_blind: int
    big_blind: int
    ante: int
    min_buy_in: int
    max_buy_in: int
    max_seats: int
    seats_taken: int
    spectators: int
    status: RoomStatus
    requires_approval: bool
    spectators_allowed: bool
    is_private: bool


class GameView(Struct, frozen=True, kw_only=True):
    """The room's game."""

    id: str
    status: GameStatus
    hands_played: int
    current_hand_id: str | None
    next_hand_at: int | None


class PotView(Struct, frozen=True):
    """One pot and the seats that may still win it."""

    amount: int
    seats: list[int]


class RunItAnswer(Struct, frozen=True):
    """What one seat has said."""

    seat_index: int
    times: int


class RunItView(Struct, frozen=True):
    """The vote on how often the rest of the board is dealt, while it is on.

    `seats` are asked, `votes` is what some have said, `times` the most that they may say.
    """

    seats: list[int]
    votes: list[RunItAnswer]
    times: int
    deadline: int


class HandView(Struct, frozen=True, kw_only=True):
    """The running hand. `pot` is everything bet so far; `pots` splits it by who may win.

    `boards` holds `board` first, and others where the rest of it is dealt more than once.
    """

    id: str
    number: int
    phase: Street
    board: list[str]
    pot: int
    pots: list[PotView]
    current_bet: int
    min_raise_to: int | None
    button_seat: int
    small_blind_seat: int
    big_blind_seat: int
    actor_seat: int | None
    boards: list[list[str]] = []
    run_it: RunItView | None = None


class SeatView(Struct, frozen=True, kw_only=True):
    """One taken seat. `bet` is the bet of the running street; `shown_cards` None unless tabled."""

    seat_index: int
    user_id: str
    display_name: str
    chips: int
    bet: int
    status: SeatStatus
    in_hand: bool
    all_in: bool
    connected: bool
    last_seen_at: int
    shown_cards: list[str] | None


class SpectatorView(Struct, frozen=True):
    """One spectator."""

    user_id: str
    display_name: str


class PendingRequest(Struct, frozen=True):
    """Somebody who waits to be let in."""

    user_id: str
    display_name: str
    requested_at: int


class BanView(Struct, frozen=True):
    """Somebody who may not come in; `banned_at` is UTC in ms."""

    user_id: str
    reason: str | None
    banned_by: str
    banned_at: int


class WaitlistPlace(Struct, frozen=True, kw_only=True):
    """One place of the table's waitlist, 1 being the first in line, as everybody may see it.

    `seat_number` is a wish, `seat_index` the seat held until `expires_at` for who is called.
    """

    id: str
    player_id: str
    player_name: str
    position: int
    status: WaitlistStatus
    seat_number: int | None
    seat_index: int | None
    expires_at: int | None
    created_at: int


class WaitlistEntry(Struct, frozen=True, kw_only=True):
    """An entry of a waitlist, whole; `position` None once it waits no more.

    `notes` are for those who run the room, left out for everybody else.
    """

    id: str
    table_id: str
    player_id: str
    player_name: str
    has_client: bool
    seat_number: int | None
    position: int | None
    game_type: str | None
    min_buy_in: int | None
    max_buy_in: int | None
    status: WaitlistStatus
    source: WaitlistSource
    seat_index: int | None
    called_at: int | None
    expires_at: int | None
    created_at: int
    updated_at: int
    notes: str | None | UnsetType = UNSET


class ChatMessage(Struct, frozen=True, kw_only=True):
    """Something said in a chat. `timestamp` is UTC in ms; `seq` orders a session's messages."""

    id: str
    session_id: str
    player_id: str
    sender: ChatSender
    sender_name: str
    message_text: str
    timestamp: int
    seq: int
    status: MessageStatus


class ChatSession(Struct, frozen=True, kw_only=True):
    """A player's conversation with the staff, at `seq`.

    `unread_by_player` counts what staff said and the player has not read, `unread_by_staff` the
    other way round. `player_online` says whether the player has a socket; only staff are told.
    """

    id: str
    player_id: str
    player_name: str
    initial_message: str
    status: ChatStatus
    assigned_staff: str | None
    assigned_staff_name: str | None
    urgency: Urgency
    unread_by_player: int
    unread_by_staff: int
    created_at: int
    updated_at: int
    waiting_since: int
    first_reply_at: int | None
    last_message_at: int | None
    resolved_at: int | None
    seq: int
    player_online: bool | UnsetType = UNSET


class RecentAction(Struct, frozen=True, kw_only=True):
    """One of the last decisions at the table."""

    hand_id: str
    seq: int
    seat_index: int
    user_id: str
    action: str
    amount: int
    auto: bool
    at: int


class TimerView(Struct, frozen=True, kw_only=True):
    """The running decision's clock; `timebank_remaining` in ms is what follows the deadline."""

    actor_seat: int
    started_at: int
    deadline: int
    timebank_remaining: int


class HostControls(Struct, frozen=True, kw_only=True):
    """What a host may do just now."""

    can_pause: bool
    can_kick: bool
    can_adjust_chips: bool
    can_start: bool


class MeView(Struct, frozen=True, kw_only=True):
    """The asker in this room. `rejoin_token` None where the role has none (guest, pending)."""

    user_id: str
    role: RoomRole
    display_name: str
    rejoin_token: str | None
    seat_index: int | UnsetType = UNSET
    hole_cards: list[str] | UnsetType = UNSET
    legal_actions: LegalActions | UnsetType = UNSET


class RoomSnapshot(Struct, frozen=True, kw_only=True):
    """The whole room at `seq`, in the view of `role`."""

    seq: int
    timestamp: int
    role: RoomRole
    room: RoomView
    game: GameView | None
    hand: HandView | None
    seats: list[SeatView]
    spectators: list[SpectatorView]
    me: MeView
    recent_actions: list[RecentAction]
    timer: TimerView | None
    waitlist: list[WaitlistPlace]
    pending_requests: list[PendingRequest] | UnsetType = UNSET
    bans: list[BanView] | UnsetType = UNSET
    host_controls: HostControls | UnsetType = UNSET


class HandState(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How one seat stands in the running hand; what is as in most seats is not written."""

    seat_index: int
    bet: int = 0
    in_hand: bool = True
    all_in: bool = False
    shown_cards: list[str] | None = None


class TableState(Struct, frozen=True, kw_only=True):
    """The public state of play of a room, as kept in `game_states.current_state` at each seq.

    It holds nothing that a spectator may not see.
    """

    game: GameView | None
    hand: HandView | None
    seats: list[HandState]
    timer: TimerView | None
    legal: LegalActions | None
