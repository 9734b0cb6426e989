"""How the parts of a room's state are written as rows; `persistence.hydration` reads them back."""

import msgspec

from game.changes import (
    ActionDone,
    BanPut,
    GamePut,
    HandOpened,
    HandPlay,
    MemberPut,
    PlayerDealt,
    PlayerResult,
    RoomPut,
    SeatPlay,
    SeatPut,
    SpectatorPut,
    WaitlistPut,
)
from game.poker.hand import Hand, TakenAction
from game.state import (
    Ban,
    Game,
    Member,
    RoomState,
    RunItVote,
    Seat,
    Spectator,
    TurnClock,
    Waiting,
)


def room(state: RoomState) -> RoomPut:
    """Write the room's own row."""
    settings = msgspec.structs.asdict(state.settings)
    return RoomPut(
        room_id=state.room_id,
        host_id=state.host_id,
        status=state.status,
        **settings,
        next_settings=None
        if state.next_settings is None
        else msgspec.Raw(msgspec.json.encode(state.next_settings)),
        closing=state.closing,
        rigged_deck=None if state.rigged_deck is None else "".join(state.rigged_deck),
        closed_at=state.closed_at,
    )


def member(room_id: str, member: Member) -> MemberPut:
    """Write a membership."""
    return MemberPut(
        room_id,
        member.user_id,
        member.display_name,
        member.status,
        member.requested_at,
        member.decided_at,
        member.told_seq,
    )


def seat(room_id: str, seat: Seat) -> SeatPut:
    """Write a seat whole."""
    return SeatPut(
        room_id,
        seat.seat_index,
        seat.user_id,
        seat.display_name,
        seat.chips,
        seat.status,
        seat.time_bank_ms,
        seat.clock_outs,
        seat.away,
        seat.leaving,
        seat.leaving_reason,
        seat.sitting_id,
        seat.last_seen_at,
    )


def seat_play(room_id: str, seat: Seat) -> SeatPlay:
    """Write what a decision changes of a seat."""
    return SeatPlay(room_id, seat.seat_index, seat.chips, seat.time_bank_ms, seat.clock_outs)


def spectator(room_id: str, spectator: Spectator) -> SpectatorPut:
    """Write a spectator."""
    return SpectatorPut(room_id, spectator.user_id, spectator.display_name, spectator.last_seen_at)


def ban(room_id: str, ban: Ban) -> BanPut:
    """Write a ban."""
    return BanPut(room_id, ban.user_id, ban.reason, ban.banned_by, ban.banned_at)


def waitlist_entry(room_id: str, entry: Waiting, position: int | None) -> WaitlistPut:
    """Write an entry of the waitlist; `position` None once it waits no more."""
    return WaitlistPut(
        entry.entry_id,
        room_id,
        entry.player_id,
        entry.player_name,
        entry.has_client,
        entry.seat_number,
        position,
        entry.game_type,
        entry.min_buy_in,
        entry.max_buy_in,
        entry.status,
        entry.source,
        entry.notes,
        entry.seat_index,
        entry.called_at,
        entry.expires_at,
        entry.created_at,
        entry.updated_at,
    )


def game(room_id: str, game: Game) -> GamePut:
    """Write the game."""
    return GamePut(
        game.id,
        room_id,
        game.status,
        game.hands_played,
        game.button_seat,
        game.big_blind_seat,
        game.hand_ended_at,
        game.next_hand_at,
        game.started_at,
        game.ended_at,
    )


def hand_opened(room_id: str, game_id: str, hand: Hand, now: int) -> HandOpened:
    """Write a hand with its deck, before it is told."""
    setup = hand.setup
    return HandOpened(
        setup.hand_id,
        room_id,
        game_id,
        setup.number,
        setup.variant,
        "".join(setup.deck),
        setup.button_seat,
        hand.small_blind_seat,
        hand.big_blind_seat,
        setup.small_blind,
        setup.big_blind,
        setup.ante,
        setup.rake_basis_points,
        setup.rake_cap,
        now,
        setup.ante_kind,
        setup.straddle,
        setup.bomb_pot,
        setup.run_it_times,
    )


def hand_play(
    hand: Hand, clock: TurnClock | None, vote: RunItVote | None, ended_at: int | None = None
) -> HandPlay:
    """Write how a hand stands."""
    return HandPlay(
        hand.setup.hand_id,
        "".join(hand.board),
        hand.pot,
        hand.current_bet,
        hand.phase,
        hand.rake if hand.finished else 0,
        clock.started_at if clock else None,
        clock.deadline if clock else None,
        ended_at,
        hand.runouts,
        ["".join(board) for board in hand.boards[1:]],
        vote.deadline if vote else None,
        {str(seat): times for seat, times in vote.votes.items()} if vote else {},
    )


def players_dealt(room_id: str, hand: Hand) -> list[PlayerDealt]:
    """Write who was dealt what, in dealing order."""
    return [
        PlayerDealt(
            hand.setup.hand_id,
            room_id,
            position,
            dealt.user_id,
            dealt.seat_index,
            "".join(hand.hole_cards(dealt.seat_index)),
            dealt.chips,
        )
        for position, dealt in enumerate(hand.setup.seats)
    ]


def player_results(hand: Hand) -> list[PlayerResult]:
    """Write how a finished hand ended for each player."""
    chips = hand.chips()
    return [
        PlayerResult(
            hand.setup.hand_id,
            dealt.seat_index,
            chips[dealt.seat_index],
            hand.shown(dealt.seat_index) is not None,
        )
        for dealt in hand.setup.seats
    ]


def action_done(room_id: str, hand: Hand, taken: TakenAction, *, seq: int, now: int) -> ActionDone:
    """Write the decision just made; `seq` is that of the event that tells it."""
    return ActionDone(
        hand.setup.hand_id,
        len(hand.actions) - 1,
        room_id,
        seq,
        taken.seat_index,
        hand.user_of(taken.seat_index),
        taken.action,
        taken.amount,
        taken.raise_to,
        taken.auto,
        now,
    )
