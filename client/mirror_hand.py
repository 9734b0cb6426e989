"""The running hand of a mirrored room: what each event of play does to it and to the seats."""

from typing import Self

from msgspec import UNSET, Struct, structs

from client.pots import Layers, Standing
from protocol import events
from protocol.values import Posted, PotAward, ShownHand, Street, Winner
from protocol.views import HandView, RunItAnswer, RunItView, SeatView

Seats = dict[int, SeatView]

MAX_SEATS = 10


class HandResult(Struct, frozen=True):
    """How the last hand ended, as told; not part of a room's state."""

    hand_id: str
    number: int
    boards: list[list[str]]
    shown: list[ShownHand]
    pots: list[PotAward]
    winners: list[Winner]


class HandTracker:
    """One hand from its first event, or from a snapshot in the middle of it."""

    def __init__(
        self,
        *,
        hand_id: str,
        number: int,
        button_seat: int,
        small_blind_seat: int,
        big_blind_seat: int,
        layers: Layers,
    ) -> None:
        self.hand_id = hand_id
        self.number = number
        self._button = button_seat
        self._small_blind = small_blind_seat
        self._big_blind = big_blind_seat
        self._layers = layers
        self._phase: Street = "preflop"
        self._boards: list[list[str]] = [[]]
        self._run_it: RunItView | None = None
        self._pot = 0
        self._actor: int | None = None
        self._min_raise_to: int | None = None
        self._shown: list[ShownHand] = []
        self._awards: list[PotAward] = []

    @classmethod
    def taken_up(cls, view: HandView, seats: list[SeatView]) -> Self:
        """Take a hand up from a snapshot."""
        standings = _standings({seat.seat_index: seat for seat in seats}, view.small_blind_seat)
        hand = cls(
            hand_id=view.id,
            number=view.number,
            button_seat=view.button_seat,
            small_blind_seat=view.small_blind_seat,
            big_blind_seat=view.big_blind_seat,
            layers=Layers.taken_up(view.pots, standings),
        )
        hand._phase = view.phase
        hand._boards = [list(board) for board in view.boards or [view.board]]
        hand._run_it = view.run_it
        hand._pot = view.pot
        hand._actor = view.actor_seat
        hand._min_raise_to = view.min_raise_to
        return hand

    @classmethod
    def begun(cls, event: events.HandStarted, seats: Seats) -> Self:
        """Begin a hand: antes are taken in, then blinds and straddle are posted."""
        hand = cls(
            hand_id=event.hand_id,
            number=event.number,
            button_seat=event.button_seat,
            small_blind_seat=event.small_blind_seat,
            big_blind_seat=event.big_blind_seat,
            layers=Layers([], 0),
        )
        stacks = {dealt.seat_index: dealt.chips for dealt in event.seats}
        posted = {one.seat_index: one for one in event.posted}
        for index, seat in seats.items():
            chips = stacks.get(index)
            seats[index] = _cleared(seat)
            if chips is not None:
                ante = posted.get(index, _NOTHING).ante
                seats[index] = structs.replace(
                    seats[index], chips=chips - ante, bet=ante, in_hand=True, all_in=ante == chips
                )
        if event.ante_kind == "all":
            hand._collect(seats)
        else:
            hand._take_dead(seats)
        for index, one in posted.items():
            if index in seats and one.bet:
                left = seats[index].chips - one.bet
                seats[index] = structs.replace(
                    seats[index], chips=left, bet=one.bet, all_in=left == 0
                )
        hand._pot = sum(one.ante + one.bet for one in event.posted)
        return hand

    def view(self, seats: Seats) -> HandView:
        """Draw the hand."""
        return HandView(
            id=self.hand_id,
            number=self.number,
            phase=self._phase,
            board=list(self._boards[0]),
            pot=self._pot,
            pots=self._layers.pots(_standings(seats, self._small_blind)),
            current_bet=max((seat.bet for seat in seats.values()), default=0),
            min_raise_to=self._min_raise_to,
            button_seat=self._button,
            small_blind_seat=self._small_blind,
            big_blind_seat=self._big_blind,
            actor_seat=self._actor,
            boards=[list(board) for board in self._boards],
            run_it=self._run_it,
        )

    def turn(self, event: events.TurnStarted) -> None:
        """A decision begins."""
        self._actor = event.seat_index
        self._min_raise_to = event.legal.min_raise_to

    def acted(self, event: events.PlayerAction, seats: Seats) -> None:
        """A decision was made."""
        self._actor, self._min_raise_to = None, None
        self._pot = event.pot
        if (seat := seats.get(event.seat_index)) is not None:
            folded = event.action == "FOLD"
            seats[event.seat_index] = structs.replace(
                seat,
                bet=event.bet,
                chips=event.chips,
                in_hand=not folded,
                all_in=not folded and event.chips == 0,
            )

    def street(self, event: events.StreetAdvanced, seats: Seats) -> None:
        """The street's bets are taken in, and board cards are dealt."""
        self._collect(seats)
        self._phase = event.street
        self._run_it = None
        if event.runout is not UNSET and event.runout > len(self._boards):
            self._boards.append([])
        self._boards[-1] = list(event.board)
        self._pot = event.pot

    def offered(self, event: events.RunItOffered, seats: Seats) -> None:
        """Betting is over, and the players are asked how often to deal the rest of the board."""
        self._collect(seats)
        asked = self._run_it or RunItView(event.seats, [], event.times, event.deadline)
        self._run_it = structs.replace(asked, deadline=event.deadline)
        self._pot = event.pot

    def voted(self, event: events.RunItVoted) -> None:
        """One of them has said how often."""
        if self._run_it is not None:
            answers = [*self._run_it.votes, RunItAnswer(event.seat_index, event.times)]
            answers.sort(key=lambda answer: answer.seat_index)
            self._run_it = structs.replace(self._run_it, votes=answers)

    def decided(self) -> None:
        """It is settled how often."""
        self._run_it = None

    def shown(self, event: events.Showdown, seats: Seats) -> None:
        """Hands are tabled."""
        self._phase = "showdown"
        self._shown = list(event.hands)
        for tabled in event.hands:
            if (seat := seats.get(tabled.seat_index)) is not None:
                seats[tabled.seat_index] = structs.replace(seat, shown_cards=tabled.cards)

    def distributed(self, event: events.PotDistributed) -> None:
        """The pots have their winners; the stacks come with the end of the hand."""
        self._awards = list(event.pots)

    def complete(self, event: events.HandComplete, seats: Seats) -> HandResult:
        """End the hand: seats are as between hands."""
        stacks = {stack.seat_index: stack.chips for stack in event.stacks}
        for index, seat in seats.items():
            seats[index] = structs.replace(_cleared(seat), chips=stacks.get(index, seat.chips))
        return HandResult(
            self.hand_id, self.number, self._boards, self._shown, self._awards, event.winners
        )

    def _take_dead(self, seats: Seats) -> None:
        """Take in what one player anted for all."""
        self._layers.add_dead(_standings(seats, self._small_blind))
        for index, seat in seats.items():
            seats[index] = structs.replace(seat, bet=0)

    def _collect(self, seats: Seats) -> None:
        """Take the bets in; what nobody could call goes back."""
        second, *_ = sorted((seat.bet for seat in seats.values()), reverse=True)[1:] or [0]
        for index, seat in seats.items():
            if seat.bet > second:
                chips = seat.chips + seat.bet - second
                seats[index] = structs.replace(seat, chips=chips, bet=second, all_in=False)
        self._layers.collect(_standings(seats, self._small_blind))
        for index, seat in seats.items():
            if seat.bet:
                seats[index] = structs.replace(seat, bet=0)


_NOTHING = Posted(-1, 0, 0)


def _cleared(seat: SeatView) -> SeatView:
    return structs.replace(seat, bet=0, in_hand=False, all_in=False, shown_cards=None)


def _standings(seats: Seats, small_blind_seat: int) -> list[Standing]:
    """List the seats in dealing order, from the small blind on."""
    order = sorted(seats, key=lambda index: (index - small_blind_seat) % MAX_SEATS)
    return [
        Standing(index, seats[index].bet, seats[index].in_hand, seats[index].all_in)
        for index in order
    ]
