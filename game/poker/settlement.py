"""Who took what at the end of a hand, read from PokerKit's operations."""

from collections.abc import Sequence
from typing import NamedTuple

from pokerkit import ChipsPushing, HoleCardsShowingOrMucking

from game.poker.cash_state import CashState


class SettledPot(NamedTuple):
    """One pot: `amount` before `rake`; `shares` by player, which sum to the rest."""

    amount: int
    rake: int
    shares: dict[int, int]


def shown_players(state: CashState) -> list[int]:
    """List the players who tabled their hands, in showdown order."""
    return [
        operation.player_index
        for operation in state.operations
        if isinstance(operation, HoleCardsShowingOrMucking) and operation.hole_cards
    ]


def settled_pots(state: CashState) -> list[SettledPot]:
    """List the pots of a finished hand, main pot first.

    PokerKit pushes a pot in parts when boards or hand types split it; here they are added up.
    """
    shares: dict[int, dict[int, int]] = {}
    for operation in state.operations:
        if not isinstance(operation, ChipsPushing):
            continue
        taken = shares.setdefault(operation.pot_index, {})
        for player, amount in enumerate(operation.amounts):
            if amount:
                taken[player] = taken.get(player, 0) + amount
    settled = []
    for index, pot in enumerate(state.pots):
        won = shares.get(index, {})
        settled.append(SettledPot(sum(won.values()) + pot.raked_amount, pot.raked_amount, won))
    if state.abandoned is not None:
        pot, owner = state.abandoned
        settled.append(SettledPot(pot.amount, pot.raked_amount, {owner: pot.unraked_amount}))
    return settled


def as_contested(
    settled: Sequence[SettledPot], contested: Sequence[int], rake_basis_points: int
) -> list[SettledPot]:
    """Tell the pots apart again that PokerKit merged once their losers were out.

    Who takes how much in all stays as PokerKit has it; a merged pot's rake and shares are spread
    over its parts. It stays merged where they do not go into the parts: rake that is rounded down
    for the whole can be a chip more than that of the parts.

    Args:
        settled: the pots as they were paid out, main pot first.
        contested: the amounts of the pots before anybody lost, main pot first, with the same sum.
        rake_basis_points: of each pot, as far as a merged pot was raked.
    """
    parts: list[SettledPot] = []
    rest = list(contested)
    for pot in settled:
        amounts: list[int] = []
        while sum(amounts) < pot.amount and rest:
            amounts.append(rest.pop(0))
        split = _spread(pot, amounts, rake_basis_points) if sum(amounts) == pot.amount else None
        if split is None:
            return list(settled)
        parts += split
    return parts


def _spread(
    pot: SettledPot, amounts: Sequence[int], rake_basis_points: int
) -> list[SettledPot] | None:
    """Split a pot into parts of these amounts; None if rake or shares do not go into them."""
    parts: list[SettledPot] = []
    rake, shares = pot.rake, dict(pot.shares)
    for amount in amounts[:-1]:
        raked = min(rake, amount * rake_basis_points // 10_000)
        even, odd = divmod(amount - raked, len(shares))
        taken = {p: part for i, p in enumerate(shares) if (part := even + (i < odd))}
        rake -= raked
        shares = {p: rest for p, share in shares.items() if (rest := share - taken.get(p, 0))}
        if not shares or min(shares.values()) < 0:
            return None
        parts.append(SettledPot(amount, raked, taken))
    if rake > amounts[-1] * rake_basis_points // 10_000:
        return None
    parts.append(SettledPot(amounts[-1], rake, shares))
    return parts
