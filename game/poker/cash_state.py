"""PokerKit's state of one hand, with the few rules of a club that it leaves open.

PokerKit 0.7.7 in cash-game mode decides everything but this:

- Folding when a check is free is allowed there with a warning; here it is simply allowed.
- Its rake hook sees one pot at a time, so it cannot hold a cap over the whole hand.
- When all others fold, it hands the winner's last bet back whole; here the part of it that was
  called belongs to the pot, which is raked and told as such, and only the rest is uncalled.
- A side pot whose every contender has folded, the last of them for nothing, has no owner there
  (it crashes or burns the chips); here it belongs to the last one who had a claim on it.
- Where high and low split the pot, it divides a pot in which nobody has a low (see `hi_lo_state`).

Who is all-in is asked how often to run the board out: the state waits for `run_out`.
"""

from collections.abc import Iterable, Iterator
from typing import cast

from pokerkit import (
    Automation,
    BettingStructure,
    Card,
    CardsLike,
    Deck,
    Folding,
    Hand,
    Mode,
    Pot,
    State,
)
from pokerkit.games import Poker

from game.poker.hi_lo_state import HiLoState

AUTOMATIONS = (
    Automation.ANTE_POSTING,
    Automation.BET_COLLECTION,
    Automation.BLIND_OR_STRADDLE_POSTING,
    Automation.HOLE_CARDS_SHOWING_OR_MUCKING,
    Automation.HAND_KILLING,
    Automation.CHIPS_PUSHING,
    Automation.CHIPS_PULLING,
)
"""Everything but decisions, dealing, and how often the board is run out."""


class CashState(HiLoState):
    """One cash-game hand; stops for decisions and for cards, and for nothing else.

    Args:
        game: the variant with its stakes.
        hand_types: what hands are compared by, in place of the game's own.
        stacks: in chips before posting, in PokerKit's order of players.
        rake_basis_points: of each pot, rounded down, once there is a board.
        rake_cap: the most that all pots of the hand pay together; 0 for no cap.
    """

    def __init__(
        self,
        game: Poker,
        hand_types: tuple[type[Hand], ...],
        stacks: tuple[int, ...],
        rake_basis_points: int,
        rake_cap: int,
    ) -> None:
        self.game = game
        """The variant with its stakes."""
        self._basis_points = rake_basis_points
        self._rake_cap = rake_cap
        self._folders: list[int] = []
        self._hands: dict[tuple[int, int, int, int], Hand | None] = {}
        self._winnable: list[Pot] = []
        self._winnable_after = -1
        self.abandoned: tuple[Pot, int] | None = None
        """A side pot that nobody left in the hand can win, and the player who takes it."""
        self._whole_deck = tuple(game.deck)
        super().__init__(
            game.automations,
            cast(Deck, ()),  # or it would be shuffled with Python's global generator
            hand_types,
            game.streets,
            game.betting_structure,
            game.ante_trimming_status,
            game.raw_antes,
            game.raw_blinds_or_straddles,
            game.bring_in,
            stacks,
            len(stacks),
            mode=Mode.CASH_GAME,
            rake=_unraked,
        )

    @property
    def fixed_limit(self) -> bool:
        """Whether a bet or raise has one size only."""
        return self.betting_structure is BettingStructure.FIXED_LIMIT

    @property
    def limit_below_stack(self) -> bool:
        """Whether pot limit, fixed limit or cap keep the actor from betting the whole stack."""
        actor = self.actor_index
        if actor is None or self.street is None:
            return False
        stack, most = self.stacks[actor], self.max_completion_betting_or_raising_to_amount
        if most is not None:
            return most < self.bets[actor] + stack
        cap = self.street.max_completion_betting_or_raising_count
        capped = cap is not None and self.completion_betting_or_raising_count >= cap
        return capped and (self.checking_or_calling_amount or 0) < stack

    @property
    def bet_limits(self) -> tuple[int | None, int | None]:
        """The least and the most that the actor's street bet may become, None for neither.

        PokerKit verifies the whole of it for each; without a limit the most is the whole stack.
        """
        least, actor = self.min_completion_betting_or_raising_to_amount, self.actor_index
        if least is None or actor is None:
            return None, None
        if self.betting_structure is BettingStructure.NO_LIMIT:
            return least, self.stacks[actor] + self.bets[actor]
        return least, self.max_completion_betting_or_raising_to_amount

    @property
    def waits_for_runouts(self) -> bool:
        """Whether betting is over before the board is complete, and nobody has said `run_out`."""
        return any(self.runout_count_selector_statuses)

    def run_out(self, times: int) -> None:
        """Have the rest of the board dealt so many times; the state waits for its cards."""
        while self.waits_for_runouts:
            self.select_runout_count(times if times > 1 else None)

    def dead_ante(self, player_index: int) -> int:
        """Return what a player anted for all: nobody has to match it, and it is no bet."""
        return 0 if self.ante_trimming_status else self.get_effective_ante(player_index)

    def verify_folding(self) -> None:
        """Raise a `ValueError` unless somebody is to act; a free check may be folded."""
        if self.actor_index is None:
            raise ValueError("There is no player to act.")

    def fold(self, *, commentary: str | None = None) -> Folding:
        """Fold the actor's hand, remembering the order of folds."""
        if self.actor_index is not None:
            self._folders.append(self.actor_index)
        return super().fold(commentary=commentary)

    @property
    def pots(self) -> Iterator[Pot]:
        """The pots that somebody left in the hand can win, main pot first, raked."""
        if self._pots is not None:
            return iter(self._pots)
        # A showdown asks for each hand that may be shown, mucked or killed, and only an operation
        # (and what begins the pushing of chips, below) changes them.
        done = len(self.operations)
        if done != self._winnable_after:
            self._winnable = [pot for pot in self._raked_pots() if pot.player_indices]
            self._winnable_after = done
        return iter(self._winnable)

    def _raked_pots(self) -> Iterator[Pot]:
        room = self._rake_cap or None
        for pot in super().pots:
            rake = pot.amount * self._basis_points // 10_000 if self.board_cards else 0
            if room is not None:
                rake = min(rake, room)
                room -= rake
            yield Pot(rake, pot.amount - rake, pot.player_indices)

    def get_hand(self, player_index: int, board_index: int, hand_type_index: int) -> Hand | None:
        """Evaluate a player's hand, once for the same board; None when folded or mucked."""
        if not self.statuses[player_index]:
            return None
        key = player_index, board_index, hand_type_index, self._cards_on_board
        if key not in self._hands:
            self._hands[key] = super().get_hand(player_index, board_index, hand_type_index)
        return self._hands[key]

    @property
    def _cards_on_board(self) -> int:
        return sum(map(len, self.board_cards))

    def get_up_hand(self, player_index: int, board_index: int, hand_type_index: int) -> Hand | None:
        """Evaluate a tabled hand; None before it is tabled.

        PokerKit compares with the board alone until then, which no hand loses to.
        """
        if not all(self.hole_card_statuses[player_index]):
            return None
        return self.get_hand(player_index, board_index, hand_type_index)

    # The deck is the hand's, whole and in order, and always lasts: PokerKit need not keep one,
    # search it for each card, put shown cards back into it and take them out again.

    def get_dealable_cards(
        self, deal_count: int | None = 0, warning_status: bool = True
    ) -> Iterator[Card]:
        """List the whole deck: all that PokerKit asks here is whether it would last."""
        yield from self._whole_deck

    def _verify_cards_consumption(self, cards: CardsLike | int) -> tuple[Card, ...]:
        if isinstance(cards, int):
            raise ValueError("cards are dealt by name")
        return Card.clean(cards)

    def _consume_cards(self, cards: tuple[Card, ...]) -> None:
        pass

    def _produce_cards(self, cards: Iterable[Card]) -> None:
        pass

    def can_show_or_muck_hole_cards(
        self,
        status_or_hole_cards: bool | CardsLike | None = None,
        player_index: int | None = None,
    ) -> bool:
        """Say whether a hand is to be shown or mucked, which then verifies itself whether it can.

        PokerKit asks this before each, and would compare all hands for it and again for the deed.
        """
        return bool(self.showdown_indices)

    def _begin_chips_pushing(self) -> None:
        if sum(self.statuses) == 1:
            self._return_uncalled(self.statuses.index(True))
        self._winnable_after = -1
        for pot in self._raked_pots():
            if not pot.player_indices:
                # Whoever folded last had matched all who folded before: the pot is wholly theirs.
                owner = self._folders[-1]
                self.stacks[owner] += pot.unraked_amount
                self.abandoned = pot, owner
        super()._begin_chips_pushing()

    def _return_uncalled(self, winner: int) -> None:
        bets = [-payoff - self.dead_ante(i) for i, payoff in enumerate(self.payoffs)]
        called = max(bet for i, bet in enumerate(bets) if i != winner)
        uncalled = max(0, bets[winner] - called)
        self.stacks[winner] += uncalled
        self.payoffs[winner] += uncalled
        self.bets[winner] = 0


def _unraked(amount: int, _: State) -> tuple[int, int]:
    return 0, amount
