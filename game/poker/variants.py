"""The variants that a room may play, each one entry over a PokerKit game."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

from pokerkit import Card, NoLimitTexasHoldem
from pokerkit.games import Holdem

from game.poker import cards
from game.poker.cash_state import AUTOMATIONS, CashState
from game.poker.hand_types import HighHand


@dataclass(frozen=True, slots=True)
class VariantRules:
    """How one variant is played.

    Args:
        name: as in the room's settings.
        game: PokerKit's definition of streets, deck and betting structure.
        hand_types: what hands are compared by; two of them split the pot (high, then low).
        bet_sizes: what the game takes as bet sizes, in big blinds: the smallest bet, or the small
            and the big bet of a fixed-limit game.
    """

    name: str
    game: type[Holdem]
    hand_types: tuple[type[HighHand], ...]
    bet_sizes: tuple[int, ...] = (1,)

    @property
    def hole_cards(self) -> int:
        """How many cards each player holds."""
        return self.game.hole_dealing_count

    @property
    def deck(self) -> tuple[str, ...]:
        """The unshuffled deck as two-character strings."""
        return _unshuffled(self.game)

    def make_state(
        self,
        *,
        stacks: tuple[int, ...],
        small_blind: int,
        big_blind: int,
        ante: int,
        rake_basis_points: int,
        rake_cap: int,
    ) -> CashState:
        """Post antes and blinds of a new hand; it waits for hole cards.

        Args:
            stacks: chips before posting, small blind first; heads-up the big blind first, which
                is PokerKit's order.
        """
        game = self.game(
            AUTOMATIONS,
            True,  # every player antes the same, so an ante nobody can match goes back
            ante,
            (small_blind, big_blind),
            *(size * big_blind for size in self.bet_sizes),
        )
        return CashState(game, self.hand_types, stacks, rake_basis_points, rake_cap)

    def rank(self, hole: Sequence[Card], board: Sequence[Card]) -> str:
        """Name the hand that hole and board cards make, in lower-case English words."""
        return self.hand_types[0].from_game(hole, board).name


@cache
def _unshuffled(game: type[Holdem]) -> tuple[str, ...]:
    return tuple(cards.texts(game.deck))


VARIANTS: Mapping[str, VariantRules] = MappingProxyType(
    {rules.name: rules for rules in (VariantRules("nlhe", NoLimitTexasHoldem, (HighHand,)),)}
)
"""Every variant by its name in the settings."""
