"""The public state of play, as `game_states` keeps it: nothing that a spectator may not see."""

from game.state import RoomState
from protocol.views import (
    GameView,
    HandView,
    RunItAnswer,
    RunItView,
    TableState,
    TimerView,
)


def table_state(state: RoomState) -> TableState:
    """Draw the public state of play from a room's state."""
    game, hand, clock, vote = state.game, state.hand, state.clock, state.vote
    return TableState(
        game=None
        if game is None
        else GameView(
            id=game.id,
            status=game.status,
            hands_played=game.hands_played,
            current_hand_id=hand.setup.hand_id if hand else None,
            next_hand_at=game.next_hand_at,
        ),
        hand=None
        if hand is None
        else HandView(
            id=hand.setup.hand_id,
            number=hand.setup.number,
            phase=hand.phase,
            board=list(hand.board),
            pot=hand.pot,
            pots=hand.pots,
            current_bet=hand.current_bet,
            min_raise_to=hand.min_raise_to,
            button_seat=hand.setup.button_seat,
            small_blind_seat=hand.small_blind_seat,
            big_blind_seat=hand.big_blind_seat,
            actor_seat=hand.actor_seat,
            boards=hand.boards,
            run_it=None
            if vote is None
            else RunItView(
                seats=hand.run_it_seats,
                votes=[RunItAnswer(*answer) for answer in sorted(vote.votes.items())],
                times=hand.most_runouts,
                deadline=vote.deadline,
            ),
        ),
        seats=[] if hand is None else hand.seat_states(),
        timer=None
        if clock is None
        else TimerView(
            actor_seat=clock.seat_index,
            started_at=clock.started_at,
            deadline=clock.deadline,
            timebank_remaining=state.seats[clock.seat_index].time_bank_ms,
        ),
        legal=None if clock is None else clock.legal,
    )
