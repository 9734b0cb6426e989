"""How often the rest of the board is dealt, once all who are left are all-in: their vote.

Each is asked once, an answer stands. More than once needs all of them, and then the smallest number
that was said is dealt. Somebody who says once, does not answer in time or cannot answer (away,
sitting out, leaving) settles it: the board is dealt once. Nobody is asked when that is clear from
the start.
"""

from game.decision import Context, Decision
from game.poker.hand import Hand
from game.state import RoomState, RunItVote, Seat
from protocol.errors import ErrorCode, Refused, bad_field
from protocol.events import RunItDecided, RunItOffered, RunItVoted

VOTE_MS = 10_000
"""How long the players have."""


def vote(state: RoomState, seat: Seat, times: int, ctx: Context, out: Decision) -> None:
    """Take a player's answer; `settle` follows.

    Raises:
        Refused: `conflict` while nobody is asked and after an answer, `forbidden` for who is not
            asked, `bad_request` for more than was offered.
    """
    hand, running = state.hand, state.vote
    if hand is None or running is None:
        raise Refused(ErrorCode.CONFLICT, "Nobody is asked how often to deal the board now.")
    if seat.seat_index not in hand.run_it_seats:
        raise Refused(ErrorCode.FORBIDDEN, "Only players still in the hand are asked.")
    if seat.seat_index in running.votes:
        raise Refused(ErrorCode.CONFLICT, "You have answered already.")
    if times > hand.most_runouts:
        raise bad_field("times", f"The board may be dealt up to {hand.most_runouts} times.")
    running.votes[seat.seat_index] = times
    out.touch_hand()
    out.emit(RunItVoted(hand.setup.hand_id, seat.seat_index, seat.user_id, times), ctx.now)


def settle(state: RoomState, hand: Hand, ctx: Context, out: Decision) -> None:
    """Ask the players of a hand that waits for it, or run the board out once that is settled."""
    times = _outcome(state, hand, ctx.now)
    if times is None:
        if state.vote is None:
            ask(state, hand, ctx, out)
        return
    if state.vote is not None:
        out.emit(RunItDecided(hand.setup.hand_id, times), ctx.now)
    state.vote = None
    for event in hand.run_out(times):
        out.emit(event, ctx.now)
    out.touch_hand()


def ask(state: RoomState, hand: Hand, ctx: Context, out: Decision) -> None:
    """Ask the players, or give those who have not answered their whole time again."""
    deadline, votes = ctx.now + VOTE_MS, state.vote.votes if state.vote else {}
    state.vote = RunItVote(deadline, votes)
    out.touch_hand()
    for seat_index in hand.run_it_seats:
        # A bet that nobody could call has gone back.
        out.touch_play(seat_index)
    missing = [seat_index for seat_index in hand.run_it_seats if seat_index not in votes]
    out.emit(
        RunItOffered(hand.setup.hand_id, missing, hand.most_runouts, deadline, hand.pot), ctx.now
    )


def _outcome(state: RoomState, hand: Hand, now: int) -> int | None:
    """Say how often the board is dealt; None while an answer that matters is missing."""
    votes = {} if state.vote is None else state.vote.votes
    missing = [state.seats[index] for index in hand.run_it_seats if index not in votes]
    in_time = state.vote is None or now < state.vote.deadline
    if 1 in votes.values() or any(map(_cannot_answer, missing)) or (missing and not in_time):
        return 1
    return None if missing else min(votes.values())


def _cannot_answer(seat: Seat) -> bool:
    return seat.away or seat.status == "sitting_out" or seat.leaving is not None
