"""The course of play: hands begin, decisions are made, clocks run out, hands end.

A hand that needs no decision any more runs to its end within the decision that brought it there.
Whatever happens between hands (departures, new settings, closing) is done as a hand ends.
"""

from uuid import NAMESPACE_OID, uuid5

from game import rows, run_it
from game.button import Positions, next_positions
from game.decision import POT, Account, Context, Decision, stack
from game.departures import settle_departures
from game.poker.hand import Hand, HandSetup, TakenAction
from game.poker.variants import VARIANTS
from game.state import Game, RoomState, Seat, TurnClock
from protocol.commands import Action, RunIt
from protocol.errors import ErrorCode, Refused
from protocol.events import (
    GameStarted,
    HandComplete,
    PlayerSatOut,
    PublicEvent,
    TurnStarted,
)
from protocol.principal import Principal
from protocol.values import DealtIn, SeatStack

CLOCK_OUTS_TO_SIT_OUT = 2


def act(
    state: RoomState, command: Action, principal: Principal, ctx: Context, out: Decision
) -> None:
    """Carry out a player's decision.

    Raises:
        Refused: `forbidden` without a seat, `not_your_turn` (without a hand too),
            `illegal_action` (details say what would be legal), `bad_request`.
    """
    seat = state.seat_of(principal.user_id)
    if seat is None:
        raise Refused(ErrorCode.FORBIDDEN, "You have no seat at this table.")
    hand, clock = state.hand, state.clock
    if hand is None:
        raise Refused(ErrorCode.NOT_YOUR_TURN, "No hand is running.")
    if clock is None:
        raise Refused(ErrorCode.NOT_YOUR_TURN, "Betting is over in this hand.")
    if clock.seat_index != seat.seat_index:
        raise Refused(
            ErrorCode.NOT_YOUR_TURN, "It is not your turn.", {"actor_seat": clock.seat_index}
        )
    taken, events = hand.act(seat.seat_index, command.action, command.amount)
    seat.time_bank_ms = max(0, seat.time_bank_ms - max(0, ctx.now - clock.deadline))
    seat.clock_outs = 0
    _played(state, taken, events, ctx, out)
    _go_on(state, ctx, out)


def vote_on_runouts(
    state: RoomState, command: RunIt, principal: Principal, ctx: Context, out: Decision
) -> None:
    """Take a player's word on how often to run the board out.

    Raises:
        Refused: `forbidden` for who is not asked, `conflict` while nobody is and after an answer,
            `bad_request` for more than was offered.
    """
    seat = state.seat_of(principal.user_id)
    if seat is None:
        raise Refused(ErrorCode.FORBIDDEN, "You have no seat at this table.")
    run_it.vote(state, seat, command.times, ctx, out)
    _go_on(state, ctx, out)


def settle_vote(state: RoomState, ctx: Context, out: Decision) -> None:
    """See whether the vote on runouts, if one is on, is settled by now."""
    if state.vote is not None:
        _go_on(state, ctx, out)


def clock_ran_out(state: RoomState, ctx: Context, out: Decision) -> None:
    """Decide for the player whose turn and time bank are over; twice in a row sits them out."""
    hand, clock = state.hand, state.clock
    if hand is None or clock is None:
        return
    seat = state.seats[clock.seat_index]
    taken, events = hand.act_for_clock(seat.seat_index)
    seat.time_bank_ms = 0
    seat.clock_outs += 1
    _played(state, taken, events, ctx, out)
    if seat.clock_outs >= CLOCK_OUTS_TO_SIT_OUT and seat.status == "active":
        sit_out(seat, "clock", ctx, out)
    _go_on(state, ctx, out)


def sit_out(seat: Seat, reason: str, ctx: Context, out: Decision) -> None:
    """Deal a seat out from the next hand on."""
    seat.status = "sitting_out"
    out.touch_seat(seat.seat_index)
    out.emit(PlayerSatOut(seat.seat_index, seat.user_id, reason), ctx.now)


def turn_expires_at(state: RoomState) -> int | None:
    """Return when the running decision's clock and time bank are both over (UTC, ms)."""
    clock = state.clock
    return None if clock is None else clock.deadline + state.seats[clock.seat_index].time_bank_ms


def open_game(state: RoomState, ctx: Context, out: Decision) -> Game:
    """Start the room's game if it has none yet, and return it."""
    if state.game is None:
        state.game = Game(
            id=_derived_id(state, "game"),
            status="playing",
            hands_played=0,
            button_seat=None,
            big_blind_seat=None,
            hand_ended_at=None,
            next_hand_at=None,
            started_at=ctx.now,
            ended_at=None,
        )
        out.touch_game()
        out.touch_room()
        out.emit(GameStarted(state.game.id), ctx.now)
    return state.game


def schedule(state: RoomState, ctx: Context, out: Decision) -> None:
    """Set (or take back) the time of the next hand by who is ready now.

    A game starts by itself once two are ready, where hands start by themselves.
    """
    if state.hand is not None or state.closed:
        return
    settings = state.next_settings or state.settings
    due = settings.auto_start and len(state.ready_seats()) >= 2
    if due and state.game is None:
        open_game(state, ctx, out)
    game = state.game
    if game is None:
        return
    if not due or game.status != "playing":
        next_at = None
    elif game.next_hand_at is not None:
        next_at = game.next_hand_at
    else:
        since = ctx.now if game.hand_ended_at is None else max(game.hand_ended_at, ctx.now)
        next_at = since + ctx.hand_interval_ms
    if next_at != game.next_hand_at:
        game.next_hand_at = next_at
        out.touch_game()


def start_hand(state: RoomState, ctx: Context, out: Decision) -> None:
    """Deal a hand to all who are ready; the caller has seen that it may start.

    Raises:
        Refused: `conflict` with fewer than two ready.
    """
    game = open_game(state, ctx, out)
    _apply_settings(state, out)
    ready = state.ready_seats()
    if len(ready) < 2:
        raise Refused(ErrorCode.CONFLICT, "A hand needs two players who are ready.")
    positions = next_positions([s.seat_index for s in ready], game.big_blind_seat)
    hand = Hand.start(_setup(state, game, positions, ctx))
    state.hand = hand
    if state.rigged_deck is not None:
        state.rigged_deck = None
        out.touch_room()
    game.button_seat = positions.button
    game.big_blind_seat = positions.big_blind
    game.next_hand_at = None
    game.hands_played += 1
    out.touch_game()
    out.touch_hand()
    out.write(rows.hand_opened(state.room_id, game.id, hand, ctx.now))
    for dealt in rows.players_dealt(state.room_id, hand):
        out.write(dealt)
    out.emit(hand.started(), ctx.now)
    for seat in ready:
        out.whisper(hand.dealt(seat.seat_index), ctx.now, seat.user_id)
        out.touch_play(seat.seat_index)
    for event in hand.opening():
        out.emit(event, ctx.now)
    _go_on(state, ctx, out)


def fresh_clock(state: RoomState, ctx: Context, out: Decision) -> None:
    """Give the running decision or vote its whole time again, and tell so."""
    if state.hand is None:
        return
    if state.clock is not None:
        _start_turn(state, state.hand, state.seats[state.clock.seat_index], ctx, out)
    elif state.vote is not None:
        run_it.ask(state, state.hand, ctx, out)


def _played(
    state: RoomState, taken: TakenAction, events: list[PublicEvent], ctx: Context, out: Decision
) -> None:
    hand = state.hand
    assert hand is not None
    state.clock = None
    for index, event in enumerate(events):
        out.emit(event, ctx.now)
        if index == 0:
            out.write(rows.action_done(state.room_id, hand, taken, seq=state.seq, now=ctx.now))
    out.touch_play(taken.seat_index)
    out.touch_hand()


def _go_on(state: RoomState, ctx: Context, out: Decision) -> None:
    """Bring the hand to its next decision, to a vote on runouts or to its end."""
    hand = state.hand
    assert hand is not None
    while (actor := hand.actor_seat) is not None:
        seat = state.seats[actor]
        if not _gone(seat):
            _start_turn(state, hand, seat, ctx, out)
            break
        taken, events = hand.fold_out(seat.seat_index)
        _played(state, taken, events, ctx, out)
    if hand.run_it_seats:
        run_it.settle(state, hand, ctx, out)
    _mirror_stacks(state, hand)
    if hand.finished:
        _finish(state, hand, ctx, out)


def settle_turn(state: RoomState, seat: Seat, ctx: Context, out: Decision) -> None:
    """Do what is to follow as a seat has just gone (left, kicked, sat out, away).

    It folds if the turn is its own, and answers no more how often to run the board out.
    """
    hand, clock = state.hand, state.clock
    if hand is not None and clock is not None and clock.seat_index == seat.seat_index:
        taken, events = hand.fold_out(seat.seat_index)
        _played(state, taken, events, ctx, out)
        _go_on(state, ctx, out)
    else:
        settle_vote(state, ctx, out)


def _gone(seat: Seat) -> bool:
    return seat.status == "sitting_out" or seat.leaving in ("seat", "room", "kick")


def _start_turn(state: RoomState, hand: Hand, seat: Seat, ctx: Context, out: Decision) -> None:
    deadline, legal = ctx.now + state.settings.turn_seconds * 1000, hand.legal()
    state.clock = TurnClock(seat.seat_index, ctx.now, deadline, legal)
    out.touch_hand()
    out.emit(
        TurnStarted(seat.seat_index, seat.user_id, deadline, seat.time_bank_ms, legal),
        ctx.now,
    )


def _mirror_stacks(state: RoomState, hand: Hand) -> None:
    for seat_index, chips in hand.chips().items():
        state.seats[seat_index].chips = chips


def _finish(state: RoomState, hand: Hand, ctx: Context, out: Decision) -> None:
    game = state.game
    assert game is not None
    out.write(rows.hand_play(hand, None, None, ctx.now))
    for result in rows.player_results(hand):
        out.write(result)
    _post_to_ledger(state, hand, ctx, out)
    for dealt in hand.setup.seats:
        out.touch_play(dealt.seat_index)
    state.hand = None
    state.clock = None
    game.hand_ended_at = ctx.now
    game.next_hand_at = None
    out.touch_game()
    complete = HandComplete(
        hand.setup.hand_id,
        hand.winners(),
        [SeatStack(index, chips) for index, chips in sorted(hand.chips().items())],
        None,
    )
    out.emit(complete, ctx.now)
    _apply_settings(state, out)
    for seat in list(state.seats.values()):
        if seat.away and seat.status == "active":
            sit_out(seat, "disconnected", ctx, out)
    settle_departures(state, ctx, out)
    schedule(state, ctx, out)
    complete.next_hand_at = game.next_hand_at


def _post_to_ledger(state: RoomState, hand: Hand, ctx: Context, out: Decision) -> None:
    hand_id = hand.setup.hand_id
    for seat_index, net in hand.net().items():
        if net:
            seat = state.seats[seat_index]
            account = stack(seat.user_id, seat.sitting_id)
            out.transfer(POT, account, net, kind="hand", now=ctx.now, hand_id=hand_id)
    if hand.rake:
        out.transfer(POT, Account("house"), hand.rake, kind="rake", now=ctx.now, hand_id=hand_id)


def _apply_settings(state: RoomState, out: Decision) -> None:
    if state.next_settings is not None:
        state.settings = state.next_settings
        state.next_settings = None
        out.touch_room()


def _setup(state: RoomState, game: Game, positions: Positions, ctx: Context) -> HandSetup:
    settings = state.settings
    assert ctx.deck is not None, "a deck comes with every command that may start a hand"
    rules = VARIANTS[settings.variant]
    rigged = tuple(card for card in state.rigged_deck or () if card in rules.deck)
    deck = (*rigged, *(card for card in ctx.deck if card not in rigged))
    assert len(deck) == len(rules.deck)
    number = game.hands_played + 1
    bomb = settings.bomb_pot
    if bomb is not None and number % bomb.every_n_hands:
        bomb = None
    return HandSetup(
        hand_id=_derived_id(state, f"hand:{number}"),
        number=number,
        variant=settings.variant,
        small_blind=settings.small_blind,
        big_blind=settings.big_blind,
        ante=settings.ante if bomb is None else bomb.amount,
        ante_kind=settings.ante_kind if bomb is None else "all",
        straddle=settings.straddle if bomb is None and len(positions.order) > 2 else 0,
        bomb_pot=bomb is not None,
        run_it_times=settings.run_it_times,
        rake_basis_points=settings.rake_basis_points,
        rake_cap=settings.rake_cap,
        button_seat=positions.button,
        seats=tuple(
            DealtIn(index, state.seats[index].user_id, state.seats[index].chips)
            for index in positions.order
        ),
        deck=deck,
    )


def _derived_id(state: RoomState, what: str) -> str:
    """Derive an id from the room and what it names: the same for the same thing, always."""
    return str(uuid5(NAMESPACE_OID, f"{state.room_id}/{what}"))
