"""The rows that a decision writes, as plain named tuples.

Each class is one kind of row; its fields, in order, are what the journal hands to that kind's
statement. Times are UTC in milliseconds. `…Put` writes a whole row whether or not it exists;
`…Gone` removes one. Nothing here knows SQL.
"""

from typing import NamedTuple

from msgspec import Raw

from protocol.values import BombPot, ChatSender, MessageStatus, PushKind


class RoomPut(NamedTuple):
    """Everything of a room that commands change; `next_settings` is JSON or None."""

    room_id: str
    host_id: str
    status: str
    name: str
    variant: str
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
    ante_kind: str
    straddle: int
    bomb_pot: BombPot | None
    run_it_times: int
    next_settings: Raw | None
    closing: str | None
    rigged_deck: str | None
    closed_at: int | None


class MemberPut(NamedTuple):
    """A user's membership of a room."""

    room_id: str
    user_id: str
    display_name: str
    status: str
    requested_at: int
    decided_at: int | None
    told_seq: int


class MemberGone(NamedTuple):
    """A user is a member no more."""

    room_id: str
    user_id: str


class SeatPut(NamedTuple):
    """A taken seat, whole; `last_seen_at` and `connected` only count when the row is new."""

    room_id: str
    seat_index: int
    user_id: str
    display_name: str
    chips: int
    status: str
    time_bank_ms: int
    clock_outs: int
    away: bool
    leaving: str | None
    leaving_reason: str | None
    sitting_id: str
    last_seen_at: int


class SeatPlay(NamedTuple):
    """What one decision changes of a seat."""

    room_id: str
    seat_index: int
    chips: int
    time_bank_ms: int
    clock_outs: int


class SeatGone(NamedTuple):
    """A seat is free."""

    room_id: str
    seat_index: int


class SpectatorPut(NamedTuple):
    """A spectator; `last_seen_at` only counts when the row is new."""

    room_id: str
    user_id: str
    display_name: str
    last_seen_at: int


class SpectatorGone(NamedTuple):
    """A spectator is none any more."""

    room_id: str
    user_id: str


class SittingStarted(NamedTuple):
    """A user sat down."""

    sitting_id: str
    room_id: str
    user_id: str
    display_name: str
    started_at: int


class SittingEnded(NamedTuple):
    """A user got up."""

    sitting_id: str
    ended_at: int


class GamePut(NamedTuple):
    """The room's game."""

    game_id: str
    room_id: str
    status: str
    hands_played: int
    button_seat: int | None
    big_blind_seat: int | None
    hand_ended_at: int | None
    next_hand_at: int | None
    started_at: int
    ended_at: int | None


class HandOpened(NamedTuple):
    """A hand with its deck, written before any card of it is dealt."""

    hand_id: str
    room_id: str
    game_id: str
    number: int
    variant: str
    deck: str
    button_seat: int
    small_blind_seat: int
    big_blind_seat: int
    small_blind: int
    big_blind: int
    ante: int
    rake_basis_points: int
    rake_cap: int
    started_at: int
    ante_kind: str
    straddle: int
    bomb_pot: bool
    run_it_times: int


class HandPlay(NamedTuple):
    """How a hand stands; a board is its cards run together, such as ``AhTd2c``.

    `runouts` is how often the board was run out, None unless that was a choice; `other_boards` are
    those after the first. `run_it_votes` maps seat indices to what each has said.
    """

    hand_id: str
    board: str
    pot: int
    current_bet: int
    phase: str
    rake: int
    turn_started_at: int | None
    turn_deadline: int | None
    ended_at: int | None
    runouts: int | None
    other_boards: list[str]
    run_it_deadline: int | None
    run_it_votes: dict[str, int]


class PlayerDealt(NamedTuple):
    """A player in a hand; `hole_cards` run together."""

    hand_id: str
    room_id: str
    position: int
    user_id: str
    seat_index: int
    hole_cards: str
    starting_stack: int


class PlayerResult(NamedTuple):
    """How a hand ended for a player."""

    hand_id: str
    seat_index: int
    final_stack: int
    shown: bool


class ActionDone(NamedTuple):
    """One decision of a hand; `seq` is that of the event that told it."""

    hand_id: str
    ordinal: int
    room_id: str
    seq: int
    seat_index: int
    user_id: str
    action: str
    amount: int
    raise_to: int | None
    auto: bool
    at: int


class WalletMove(NamedTuple):
    """Chips into (or out of) a wallet."""

    user_id: str
    delta: int


class LedgerEntry(NamedTuple):
    """One side of a transfer."""

    transfer_id: str
    account: str
    user_id: str | None
    room_id: str | None
    hand_id: str | None
    sitting_id: str | None
    amount: int
    kind: str
    reason: str | None
    at: int


class TokensRevoked(NamedTuple):
    """A user's rejoin tokens for a room are void."""

    room_id: str
    user_id: str


class AuditEntry(NamedTuple):
    """Who did what to whom; `details` is JSON."""

    at: int
    user_id: str
    role: str
    action: str
    room_id: str | None
    subject_id: str | None
    source: str
    details: Raw


class BanPut(NamedTuple):
    """A user may not come into the room."""

    room_id: str
    user_id: str
    reason: str | None
    banned_by: str
    banned_at: int


class BanGone(NamedTuple):
    """A user may come in again."""

    room_id: str
    user_id: str


class WaitlistPut(NamedTuple):
    """An entry of the waitlist; `position` is None for one that waits no more."""

    entry_id: str
    room_id: str
    player_id: str
    player_name: str
    has_client: bool
    seat_number: int | None
    position: int | None
    game_type: str | None
    min_buy_in: int | None
    max_buy_in: int | None
    status: str
    source: str
    notes: str | None
    seat_index: int | None
    called_at: int | None
    expires_at: int | None
    created_at: int
    updated_at: int


class OutsideTold(NamedTuple):
    """What was written from outside is told, up to the entry with this id."""

    room_id: str
    up_to: int


class ChatMessagePut(NamedTuple):
    """A message of a chat session, as it is told."""

    message_id: str
    session_id: str
    player_id: str
    sender: ChatSender
    sender_id: str | None
    sender_name: str
    message_text: str
    timestamp: int
    seq: int
    source: str


class ChatMessageTold(NamedTuple):
    """A message that somebody wrote past the server, as it was told."""

    message_id: str
    player_id: str
    seq: int
    timestamp: int


class ChatOutsideTold(NamedTuple):
    """What was written to a chat session from outside is told, up to the entry with this id."""

    session_id: str
    up_to: int


class ChatMarked(NamedTuple):
    """A message, named by its seq, was received or read."""

    session_id: str
    seq: int
    status: MessageStatus
    at: int


class PushQueued(NamedTuple):
    """A push notification to one user, or to all staff (`user_id` None).

    `data` goes along for the app, as JSON. It is not worth sending after `expires_at`, if that is
    set.
    """

    kind: PushKind
    user_id: str | None
    title: str
    body: str
    data: Raw
    expires_at: int | None
    at: int


class EventTold(NamedTuple):
    """A public event as it is told; `message` is the whole of it in JSON."""

    room_id: str
    seq: int
    at: int
    type: str
    message: Raw


Change = (
    RoomPut
    | MemberPut
    | MemberGone
    | SeatPut
    | SeatPlay
    | SeatGone
    | SpectatorPut
    | SpectatorGone
    | SittingStarted
    | SittingEnded
    | GamePut
    | HandOpened
    | HandPlay
    | PlayerDealt
    | PlayerResult
    | ActionDone
    | WalletMove
    | LedgerEntry
    | TokensRevoked
    | AuditEntry
    | BanPut
    | BanGone
    | WaitlistPut
    | OutsideTold
    | ChatMessagePut
    | ChatMessageTold
    | ChatOutsideTold
    | ChatMarked
    | PushQueued
    | EventTold
)
