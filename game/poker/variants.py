"""The variants that a room may play, each one entry over a PokerKit game.

`docs/adding-a-variant.md` says how to add one; nothing outside this module lists them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

from pokerkit import (
    BettingStructure,
    Card,
    FixedLimitTexasHoldem,
    NoLimitShortDeckHoldem,
    NoLimitTexasHoldem,
    PotLimitOmahaHoldem,
)
from pokerkit.games import Holdem

from game.poker import cards
from game.poker.cash_state import AUTOMATIONS, CashState
from game.poker.hand_types import (
    FastHand,
    HighHand,
    OmahaHighHand,
    OmahaLowHand,
    ShortDeckHand,
)

MAX_PLAYERS = 10
"""As many as a room has seats."""
_BOARD_AND_BURNS = 8


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
    hand_types: tuple[type[FastHand], ...]
    bet_sizes: tuple[int, ...] = (1,)

    @property
    def hole_cards(self) -> int:
        """How many cards each player holds."""
        return self.game.hole_dealing_count

    @property
    def deck(self) -> tuple[str, ...]:
        """The unshuffled deck as two-character strings."""
        return _unshuffled(self.game)

    @property
    def max_players(self) -> int:
        """How many players the deck has cards for, and at most a full room."""
        return min(MAX_PLAYERS, (len(self.deck) - _BOARD_AND_BURNS) // self.hole_cards)

    @property
    def fixed_limit(self) -> bool:
        """Whether a bet or raise has one size only."""
        return self.game.betting_structure is BettingStructure.FIXED_LIMIT

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
        """Name the hand that hole and board cards make, in lower-case English words.

        Where high and low split the pot, the low follows if there is one: `two pair / eight low`.
        """
        hands = [kind.from_game_or_none(hole, board) for kind in self.hand_types]
        return " / ".join(hand.name for hand in hands if isinstance(hand, FastHand))


@cache
def _unshuffled(game: type[Holdem]) -> tuple[str, ...]:
    return tuple(cards.texts(game.deck))


VARIANTS: Mapping[str, VariantRules] = MappingProxyType(
    {
        rules.name: rules
        for rules in (
            VariantRules("nlhe", NoLimitTexasHoldem, (HighHand,)),
            VariantRules("plo", PotLimitOmahaHoldem, (OmahaHighHand,)),
            VariantRules("plo8", PotLimitOmahaHoldem, (OmahaHighHand, OmahaLowHand)),
            VariantRules("shortdeck", NoLimitShortDeckHoldem, (ShortDeckHand,)),
            VariantRules("flhe", FixedLimitTexasHoldem, (HighHand,), bet_sizes=(1, 2)),
        )
    }
)
"""Every variant by its name in the settings."""
