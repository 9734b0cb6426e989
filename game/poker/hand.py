"""One hand of poker from the blinds to the last chip: the adapter over PokerKit.

The rules are PokerKit's (see `cash_state` for the few that it leaves open). Here its players become
seats, the stored deck becomes its cards, and its operations become our events. A hand is a function
of its setup and its actions, so a restart replays it.
"""

from collections.abc import Iterable
from typing import Self

from msgspec import UNSET

from game.poker import cards, decisions, pots, settlement
from game.poker.cash_state import CashState
from game.poker.dealing import Dealing
from game.poker.hand_setup import HandSetup, TakenAction
from game.poker.result import Result
from game.poker.variants import VARIANTS
from protocol.errors import ErrorCode, Refused
from protocol.events import (
    CardsDealt,
    HandStarted,
    PlayerAction,
    PotDistributed,
    PublicEvent,
    Showdown,
    StreetAdvanced,
)
from protocol.values import (
    ActionName,
    DealtIn,
    LegalActions,
    Posted,
    SeatStack,
    Street,
    Winner,
)
from protocol.views import HandState, PotView

__all__ = ["Hand", "HandSetup", "ReplayMismatch", "TakenAction"]

_STREETS: tuple[Street, ...] = ("preflop", "flop", "turn", "river")


class ReplayMismatch(Exception):
    """Stored actions do not fit the stored deck and stacks: the database contradicts itself."""


class Hand:
    """A hand in play. Make one with `start` or `replay`; only `act` and its kin change it.

    Attributes:
        actions: what was done so far.
        runouts: how often the board was run out, None unless that was a choice.
    """

    def __init__(self, setup: HandSetup) -> None:
        rules = VARIANTS[setup.variant]
        most = rules.max_players
        if not 2 <= len(setup.seats) <= most:
            raise ValueError(f"a hand is for 2 to {most} players, not {len(setup.seats)}")
        cards.check_deck(setup.deck, rules.deck)
        self.setup = setup
        self.actions: list[TakenAction] = []
        self.runouts: int | None = None
        self._rules = rules
        # PokerKit counts players from the left of the button: heads-up that is the big blind.
        self._players = setup.seats if len(setup.seats) > 2 else setup.seats[::-1]
        self._player_of = {seat.seat_index: i for i, seat in enumerate(self._players)}
        self._in_dealing_order = [(self._player_of[seat.seat_index], seat) for seat in setup.seats]
        self._legal: LegalActions | None = None
        self._state = rules.make_state(
            stacks=tuple(seat.chips for seat in self._players),
            small_blind=setup.small_blind,
            big_blind=setup.big_blind,
            ante=setup.ante,
            ante_kind=setup.ante_kind,
            straddle=setup.straddle,
            bomb_pot=setup.bomb_pot,
            rake_basis_points=setup.rake_basis_points,
            rake_cap=setup.rake_cap,
        )
        self._chips = sum(seat.chips for seat in setup.seats)
        self._streets = _STREETS[1:] if setup.bomb_pot else _STREETS
        self._dead = [self._state.dead_ante(i) for i in range(len(self._players))]
        self._folded: set[int] = set()
        self._result: Result | None = None
        self._posted = self._what_was_posted()
        order = [player for player, _ in self._in_dealing_order]
        deck = cards.parse(setup.deck)
        self._dealing = Dealing(self._state, deck, order, rules.hole_cards)
        self._opening = self._run_on()

    @classmethod
    def start(cls, setup: HandSetup) -> Self:
        """Post antes and blinds and deal the hole cards.

        Raises:
            ValueError: if the deck is not the variant's, or if the stacks or the number of players
                allow no hand.
        """
        return cls(setup)

    @classmethod
    def replay(
        cls, setup: HandSetup, actions: Iterable[TakenAction], runouts: int | None = None
    ) -> Self:
        """Build the hand again as it was after `actions`.

        Args:
            setup: what it started from.
            actions: what was done in it.
            runouts: how often the board was run out then, None if that was no choice or is open.

        Raises:
            ReplayMismatch: if one of them cannot have happened.
        """
        hand = cls(setup)
        for number, taken in enumerate(actions):
            try:
                again, _ = hand.act(taken.seat_index, taken.action, taken.raise_to, auto=taken.auto)
            except Refused as refused:
                raise ReplayMismatch(f"action {number} is refused: {refused}") from refused
            if again != taken:
                raise ReplayMismatch(f"action {number} comes out as {again}, not {taken}")
        if runouts is not None:
            if not 1 <= runouts <= hand.most_runouts:
                raise ReplayMismatch(f"the board cannot have been run out {runouts} times")
            hand.run_out(runouts)
        return hand

    # What is said about the hand

    def started(self) -> HandStarted:
        """Tell that the hand began, stacks before posting."""
        setup = self.setup
        return HandStarted(
            hand_id=setup.hand_id,
            number=setup.number,
            button_seat=setup.button_seat,
            small_blind_seat=self.small_blind_seat,
            big_blind_seat=self.big_blind_seat,
            small_blind=0 if setup.bomb_pot else setup.small_blind,
            big_blind=0 if setup.bomb_pot else setup.big_blind,
            ante=setup.ante,
            seats=list(setup.seats),
            ante_kind=setup.ante_kind,
            straddle=setup.straddle,
            straddle_seat=setup.seats[2].seat_index if setup.straddle else None,
            bomb_pot=setup.bomb_pot,
            posted=list(self._posted),
        )

    @property
    def players(self) -> tuple[DealtIn, ...]:
        """The players as PokerKit numbers them: from the left of the button on."""
        return self._players

    @property
    def state(self) -> CashState:
        """PokerKit's state, for reading only; its players are `players`."""
        return self._state

    def dealt(self, seat_index: int) -> CardsDealt:
        """Tell a seat its hole cards; for its owner alone."""
        return CardsDealt(
            hand_id=self.setup.hand_id,
            seat_index=seat_index,
            hole_cards=self.hole_cards(seat_index),
        )

    def opening(self) -> list[PublicEvent]:
        """List what follows `started` before the first decision.

        The flop of a bomb pot, and if antes and blinds put everybody all-in, the hand to its end
        (or until it is said how often to run the board out).
        """
        return list(self._opening)

    @property
    def small_blind_seat(self) -> int:
        """The seat whose turn it was to post the small blind."""
        return self.setup.seats[0].seat_index

    @property
    def big_blind_seat(self) -> int:
        """The seat whose turn it was to post the big blind."""
        return self.setup.seats[1].seat_index

    @property
    def finished(self) -> bool:
        """Whether every chip has its owner."""
        return not self._state.status

    @property
    def phase(self) -> Street:
        """The street in play; ``showdown`` once the hand is finished, however it ended."""
        street = self._state.street_index
        return "showdown" if self.finished or street is None else self._streets[street]

    @property
    def board(self) -> list[str]:
        """The community cards in dealing order; the first board if there are more."""
        return list(self._dealing.board_texts[0])

    @property
    def boards(self) -> list[list[str]]:
        """All boards: one, unless the board was run out more than once."""
        return [list(board) for board in self._dealing.board_texts]

    @property
    def actor_seat(self) -> int | None:
        """The seat to act, None once betting is over."""
        player = self._state.actor_index
        return None if player is None else self._players[player].seat_index

    @property
    def current_bet(self) -> int:
        """The highest street bet."""
        return 0 if self.finished else max(self._state.bets)

    @property
    def min_raise_to(self) -> int | None:
        """The smallest total that the actor may bet or raise to, None if they may not."""
        return self.legal().min_raise_to

    @property
    def pot(self) -> int:
        """Everything bet in the hand so far, antes and the running street included."""
        if self.finished:
            return 0
        return self._chips - sum(self._state.stacks)

    @property
    def pots(self) -> list[PotView]:
        """`pot` split by who may still win it, main pot first; empty when finished."""
        if self.finished:
            return []
        stacks = self._state.stacks
        live = [(i, seat) for i, seat in self._in_dealing_order if i not in self._folded]
        if 0 not in [stacks[i] for i, _ in live]:
            # Nobody is all-in, as in nearly every decision: there is one pot.
            return [PotView(self.pot, [seat.seat_index for _, seat in live])]
        return pots.split(
            [
                pots.Contribution(
                    seat.seat_index,
                    seat.chips - stacks[i] - self._dead[i],
                    i not in self._folded,
                    not stacks[i],
                )
                for i, seat in self._in_dealing_order
            ],
            sum(self._dead),
        )

    @property
    def rake(self) -> int:
        """What the house took; 0 until the hand is finished."""
        return 0 if self._result is None else self._result.rake

    @property
    def run_it_seats(self) -> list[int]:
        """The seats that are to say how often the board is run out; empty but at that moment."""
        if not self._state.waits_for_runouts:
            return []
        return [seat.seat_index for i, seat in self._in_dealing_order if i not in self._folded]

    @property
    def most_runouts(self) -> int:
        """How often the board may be run out now; 0 unless that is to be said."""
        if not self._state.waits_for_runouts:
            return 0
        return min(self.setup.run_it_times, self._dealing.possible_runouts)

    def legal(self) -> LegalActions:
        """Tell what the actor may do; nothing at all once betting is over."""
        # Asked for the turn's event, for the public state and to verify the decision.
        if self._legal is None:
            self._legal = decisions.legal_actions(self._state)
        return self._legal

    def seat_states(self) -> list[HandState]:
        """Tell how each seat stands, in dealing order; when finished, who held cards to the end."""
        bets, stacks, folded = self._state.bets, self._state.stacks, self._folded
        finished = self.finished
        return [
            HandState(
                seat_index=seat.seat_index,
                bet=bets[i],
                in_hand=i not in folded,
                all_in=not finished and i not in folded and not stacks[i],
                shown_cards=self.shown(seat.seat_index) if finished else None,
            )
            for i, seat in self._in_dealing_order
        ]

    def user_of(self, seat_index: int) -> str:
        """Who plays the hand on a seat."""
        return self._players[self._player_of[seat_index]].user_id

    def hole_cards(self, seat_index: int) -> list[str]:
        """The seat's hole cards, folded or not; secret unless `shown`."""
        return cards.texts(self._dealing.holes[self._player_of[seat_index]])

    def shown(self, seat_index: int) -> list[str] | None:
        """The seat's hole cards if they were tabled, else None."""
        result, player = self._result, self._player_of[seat_index]
        shown = result is not None and player in result.shown
        return self.hole_cards(seat_index) if shown else None

    def chips(self) -> dict[int, int]:
        """The chips behind of each seat, in dealing order; the final stacks when finished."""
        stacks = self._state.stacks
        return {seat.seat_index: stacks[i] for i, seat in self._in_dealing_order}

    def stacks(self) -> list[SeatStack]:
        """The same as `chips`, as `hand_complete` tells it."""
        return [SeatStack(seat, chips) for seat, chips in self.chips().items()]

    def net(self) -> dict[int, int]:
        """What each seat has more than before the hand; negative for a loss."""
        stacks = self.chips()
        return {seat.seat_index: stacks[seat.seat_index] - seat.chips for seat in self.setup.seats}

    def winners(self) -> list[Winner]:
        """Who took how much from all pots together, in the order of the pots."""
        return [] if self._result is None else self._result.winners()

    # What changes the hand

    def act(
        self, seat_index: int, action: ActionName, amount: int | None, *, auto: bool = False
    ) -> tuple[TakenAction, list[PublicEvent]]:
        """Carry out a decision, and all that follows from it without another.

        Args:
            seat_index: whose decision it is.
            action: what to do; an all-in is whichever of call, bet and raise takes the stack.
            amount: what a bet or raise makes of the street bet; may be left out in fixed-limit
                games, other actions ignore it.
            auto: whether the clock or a departure decided.

        Returns:
            What was done, and `player_action` with the streets, showdown and distribution that
            follow it.

        Raises:
            Refused: `not_your_turn`, `bad_request` for a bet or raise without an amount, or
                `illegal_action` with what would be legal. The hand is unchanged.
        """
        if self.actor_seat != seat_index:
            raise Refused(ErrorCode.NOT_YOUR_TURN, "It is not this seat's turn.")
        raise_to = decisions.verify(self._state, self.legal(), action, amount)
        return self._carry_out(action, raise_to, auto)

    def act_for_clock(self, seat_index: int) -> tuple[TakenAction, list[PublicEvent]]:
        """Do what happens when time is up: check if possible, else fold.

        Raises:
            Refused: `not_your_turn`.
        """
        free = self._state.checking_or_calling_amount == 0
        return self.act(seat_index, "CHECK" if free else "FOLD", None, auto=True)

    def fold_out(self, seat_index: int) -> tuple[TakenAction, list[PublicEvent]]:
        """Fold for a player who leaves, at their turn, even where a check is free.

        Raises:
            Refused: `not_your_turn`.
        """
        return self.act(seat_index, "FOLD", None, auto=True)

    def run_out(self, times: int) -> list[PublicEvent]:
        """Deal the rest of the board `times` times and settle, while `run_it_seats` are asked.

        Args:
            times: from 1 to `most_runouts`.

        Returns:
            The streets of each board in turn, showdown and distribution.
        """
        assert 1 <= times <= self.most_runouts
        self.runouts = times
        self._legal = None
        self._dealing.share()
        self._state.run_out(times)
        return self._run_on()

    def _carry_out(
        self, action: ActionName, raise_to: int | None, auto: bool
    ) -> tuple[TakenAction, list[PublicEvent]]:
        state = self._state
        player = state.actor_index
        assert player is not None
        seat = self._players[player]
        pot, bet, chips = self.pot, state.bets[player], state.stacks[player]
        to_call = self.legal().call_amount or 0
        self._legal = None
        # PokerKit goes on to the next decision by itself, so what this one did is worked out first.
        if action == "FOLD":
            added = 0
            self._folded.add(player)
            state.fold()
        elif raise_to is not None:
            added = raise_to - bet
            state.complete_bet_or_raise_to(raise_to)
        else:
            added = to_call
            state.check_or_call()
        taken = TakenAction(
            seat_index=seat.seat_index,
            action=action,
            amount=added,
            raise_to=raise_to,
            auto=auto,
        )
        self.actions.append(taken)
        told = PlayerAction(
            hand_id=self.setup.hand_id,
            seat_index=seat.seat_index,
            user_id=seat.user_id,
            action=action,
            amount=added,
            bet=bet + added,
            chips=chips - added,
            pot=pot + added,
            auto=auto,
        )
        return taken, [told, *self._run_on()]

    # Dealing and settling

    def _what_was_posted(self) -> list[Posted]:
        state = self._state
        posted = []
        for i, seat in self._in_dealing_order:
            put_in = seat.chips - state.stacks[i]
            if put_in:
                posted.append(Posted(seat.seat_index, put_in - state.bets[i], state.bets[i]))
        return posted

    def _run_on(self) -> list[PublicEvent]:
        """Deal streets until somebody must decide or the hand is over."""
        events: list[PublicEvent] = []
        state = self._state
        while state.status and state.actor_index is None:
            if state.waits_for_runouts:
                if self.most_runouts > 1:
                    return events
                state.run_out(1)
            # Taken before dealing: the last card of a run-out distributes the pot.
            street, pot = self.phase, self.pot
            new = self._dealing.street()
            boards = self._dealing.board_texts
            events.append(
                StreetAdvanced(
                    hand_id=self.setup.hand_id,
                    street=street,
                    cards=cards.texts(new),
                    board=list(boards[-1]),
                    pot=pot,
                    runout=len(boards) if (self.runouts or 1) > 1 else UNSET,
                )
            )
        if not state.status:
            events.extend(self._settle())
        return events

    def _settle(self) -> list[PublicEvent]:
        self._result = result = Result(
            self._state, self._rules, self._dealing, self._players, self._settled_pots()
        )
        hand_id = self.setup.hand_id
        distributed = PotDistributed(hand_id=hand_id, pots=result.awards())
        if not result.shown:
            return [distributed]
        return [Showdown(hand_id=hand_id, hands=result.tabled()), distributed]

    def _settled_pots(self) -> list[settlement.SettledPot]:
        """The pots as they were contested, with who took them."""
        settled = settlement.settled_pots(self._state)
        won = [0] * len(self._players)
        for pot in settled:
            for player, share in pot.shares.items():
                won[player] += share
        put_in = [
            pots.Contribution(
                seat.seat_index,
                paid - self._dead[i],
                i not in self._folded,
                all_in=paid == seat.chips,
            )
            for i, seat in self._in_dealing_order
            for paid in [seat.chips + won[i] - self._state.stacks[i]]
        ]
        contested = [pot.amount for pot in pots.split(put_in, sum(self._dead))]
        return settlement.as_contested(settled, contested, self.setup.rake_basis_points)
