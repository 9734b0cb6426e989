"""What a hand starts from and what was done in it: enough to build it again."""

import msgspec

from protocol.values import ActionName, AnteKind, DealtIn, Variant


class HandSetup(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is settled before the first card of a hand.

    Args:
        hand_id: the hand's id.
        number: its number in the room, from 1.
        variant: a key of `game.poker.variants.VARIANTS`.
        small_blind: in chips, like all amounts here.
        big_blind: also the smallest bet of the games without fixed limits.
        ante: posted by whom `ante_kind` says; 0 for none.
        ante_kind: everybody, or the big blind or the button for all.
        straddle: posted by the third player in dealing order; 0 for none.
        bomb_pot: everybody posts the ante, no blinds are posted and play begins on the flop.
        run_it_times: how often the board may be run out at most; above 1 the players are asked.
        rake_basis_points: hundredths of a percent of each pot that saw a flop, rounded down.
        rake_cap: the most that all pots of the hand pay together; 0 for no cap.
        button_seat: the seat with the button; it may be empty.
        seats: two to ten players in dealing order with their stacks before posting: small blind
            (heads-up the button posts it), big blind, and so on.
        deck: the whole deck in the order in which it is dealt: one card to each player in turn
            from the small blind on, until each has all; then burn, flop, burn, turn, burn, river.
            Secret.
    """

    hand_id: str
    number: int
    variant: Variant
    small_blind: int
    big_blind: int
    ante: int
    ante_kind: AnteKind = "all"
    straddle: int = 0
    bomb_pot: bool = False
    run_it_times: int = 1
    rake_basis_points: int
    rake_cap: int
    button_seat: int
    seats: tuple[DealtIn, ...]
    deck: tuple[str, ...]


class TakenAction(msgspec.Struct, frozen=True, kw_only=True):
    """One decision as it was carried out; with the setup, these replay a hand exactly.

    `amount` is what it added to the pot. `raise_to` is the street bet that a bet or raise made, by
    all-in too, None for anything else. `auto`: the clock or a departure decided.
    """

    seat_index: int
    action: ActionName
    amount: int
    raise_to: int | None
    auto: bool
