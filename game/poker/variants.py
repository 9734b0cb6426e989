"""The variants that a room may play, each one entry over a PokerKit game.

`docs/adding-a-variant.md` says how to add one; nothing outside this module lists them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from types import MappingProxyType

from pokerkit import (
    BettingStructure,
    Card,
    FixedLimitTexasHoldem,
    NoLimitShortDeckHoldem,
    NoLimitTexasHoldem,
    PotLimitOmahaHoldem,
    Street,
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
from protocol.values import AnteKind

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
        phh: its code in hand histories; None for that of `game`, or the name where PHH has none.
    """

    name: str
    game: type[Holdem]
    hand_types: tuple[type[FastHand], ...]
    bet_sizes: tuple[int, ...] = (1,)
    phh: str | None = None

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
        ante_kind: AnteKind,
        straddle: int,
        bomb_pot: bool,
        rake_basis_points: int,
        rake_cap: int,
    ) -> CashState:
        """Post antes, blinds and straddle of a new hand; it waits for hole cards.

        Args:
            stacks: chips before posting, small blind first; heads-up the big blind first, which
                is PokerKit's order.
            bomb_pot: post antes alone; the flop comes with the hole cards.
        """
        game = self.game(
            AUTOMATIONS,
            ante_kind == "all",  # then an ante that nobody can match goes back
            _antes(ante, ante_kind, len(stacks)),
            0 if bomb_pot else (small_blind, big_blind, straddle),
            *(size * big_blind for size in self.bet_sizes),
        )
        if bomb_pot:
            game.streets = from_the_flop(game.streets)
        return CashState(game, self.hand_types, stacks, rake_basis_points, rake_cap)

    def rank(self, hole: Sequence[Card], board: Sequence[Card]) -> str:
        """Name the hand that hole and board cards make, in lower-case English words.

        Where high and low split the pot, the low follows if there is one: `two pair / eight low`.
        """
        hands = [kind.from_game_or_none(hole, board) for kind in self.hand_types]
        return " / ".join(hand.name for hand in hands if isinstance(hand, FastHand))


def _antes(ante: int, kind: AnteKind, players: int) -> dict[int, int]:
    """Map PokerKit's places to what is posted there; heads-up its first is the button."""
    match kind:
        case "all":
            return dict.fromkeys(range(players), ante)
        case "big_blind":
            return {1: ante}
        case "button":
            return {0 if players == 2 else players - 1: ante}


def from_the_flop(streets: tuple[Street, ...]) -> tuple[Street, ...]:
    """Make streets of which the first deals hole cards and flop together."""
    holes, flop, *rest = streets
    return replace(flop, hole_dealing_statuses=holes.hole_dealing_statuses), *rest


@cache
def _unshuffled(game: type[Holdem]) -> tuple[str, ...]:
    return tuple(cards.texts(game.deck))


VARIANTS: Mapping[str, VariantRules] = MappingProxyType(
    {
        rules.name: rules
        for rules in (
            VariantRules("nlhe", NoLimitTexasHoldem, (HighHand,)),
            VariantRules("plo", PotLimitOmahaHoldem, (OmahaHighHand,)),
            VariantRules("plo8", PotLimitOmahaHoldem, (OmahaHighHand, OmahaLowHand), phh="PO/8"),
            VariantRules("shortdeck", NoLimitShortDeckHoldem, (ShortDeckHand,)),
            VariantRules("flhe", FixedLimitTexasHoldem, (HighHand,), bet_sizes=(1, 2)),
        )
    }
)
"""Every variant by its name in the settings."""
