"""Dealing a hand from its stored deck: hole cards, streets, and boards that are run out again.

The deck is one row of cards. Each player gets one in turn from the small blind on until each has
all, then every street burns a card and deals from the top. A board that is run out again goes on
from there: its streets burn and deal the cards after the last one of the board before.
"""

from collections.abc import Sequence

from pokerkit import Card

from game.poker import cards
from game.poker.cash_state import CashState

BOARD_CARDS = 5


class Dealing:
    """The cards of one hand. Making it deals the hole cards.

    Args:
        state: the hand's state, which waits for hole cards.
        deck: the whole deck in the order in which it is dealt.
        players: PokerKit's players in dealing order.
        each: how many hole cards each of them gets.
    """

    def __init__(
        self, state: CashState, deck: tuple[Card, ...], players: Sequence[int], each: int
    ) -> None:
        self._state = state
        self._deck = deck
        self._next = len(players) * each
        self._shared = 0
        self.boards: list[list[Card]] = [[]]
        """The board, or one for each time that it is run out; their first cards are the same."""
        self.board_texts: list[list[str]] = [[]]
        """The same in two-character strings, kept since every decision tells the board."""
        self.holes: list[tuple[Card, ...]] = [()] * len(players)
        """Hole cards by PokerKit's player."""
        for position, player in enumerate(players):
            self.holes[player] = deck[position : self._next : len(players)]
        for player, hole in enumerate(self.holes):
            state.deal_hole(hole, player)

    @property
    def possible_runouts(self) -> int:
        """How often the cards left can complete the board; 0 when it is complete."""
        street = self._state.street_index
        ahead = () if street is None else self._state.streets[street + 1 :]
        needed = sum(one.card_burning_status + one.board_dealing_count for one in ahead)
        return (len(self._deck) - self._next) // needed if needed else 0

    def share(self) -> None:
        """Keep what is on the board now for all boards that follow."""
        self._shared = len(self.boards[0])

    def street(self) -> tuple[Card, ...]:
        """Burn, deal the next street and return its cards; a full board is followed by another."""
        if len(self.boards[-1]) == BOARD_CARDS:
            self.boards.append(self.boards[0][: self._shared])
            self.board_texts.append(self.board_texts[0][: self._shared])
        if self._state.card_burning_status:
            self._state.burn_card(self._draw(1))
        count = self._state.board_dealing_count
        assert count is not None
        new = self._draw(count)
        self.boards[-1].extend(new)
        self.board_texts[-1].extend(cards.texts(new))
        self._state.deal_board(new)
        return new

    def _draw(self, count: int) -> tuple[Card, ...]:
        drawn = self._deck[self._next : self._next + count]
        self._next += count
        return drawn
