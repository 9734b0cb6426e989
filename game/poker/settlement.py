"""Who took what at the end of a hand, read from PokerKit's operations."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from pokerkit import ChipsPushing, HoleCardsShowingOrMucking

from game.poker.cash_state import CashState

Shares = dict[int, int]
"""Chips by player."""


class SettledPot(NamedTuple):
    """One pot: `amount` before `rake`; `parts` sum to the rest.

    A part is what was won by one kind of hand on one board: the high hands' half and the low
    hands', or the whole. `boards` says for each part which board it was won on.
    """

    amount: int
    rake: int
    parts: list[Shares]
    boards: list[int]

    @property
    def shares(self) -> Shares:
        """What each player took of all parts."""
        return _sum(self.parts)

    def shares_on(self, board: int) -> Shares:
        """What each player took on one board."""
        return _sum(part for part, at in zip(self.parts, self.boards, strict=True) if at == board)


def shown_players(state: CashState) -> list[int]:
    """List the players who tabled their hands, in showdown order."""
    return [
        operation.player_index
        for operation in state.operations
        if isinstance(operation, HoleCardsShowingOrMucking) and operation.hole_cards
    ]


def settled_pots(state: CashState) -> list[SettledPot]:
    """List the pots of a finished hand, main pot first."""
    settled = [SettledPot(pot.raked_amount, pot.raked_amount, [], []) for pot in state.pots]
    for operation in state.operations:
        if isinstance(operation, ChipsPushing):
            pot = settled[operation.pot_index]
            pot.parts.append({i: amount for i, amount in enumerate(operation.amounts) if amount})
            pot.boards.append(operation.board_index or 0)
    settled = [pot._replace(amount=pot.rake + sum(pot.shares.values())) for pot in settled]
    if state.abandoned is not None:
        left, owner = state.abandoned
        share = {owner: left.unraked_amount}
        settled.append(SettledPot(left.amount, left.raked_amount, [share], [0]))
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
    """Split a pot into pots of these amounts; None if rake or shares do not go into them."""
    split: list[SettledPot] = []
    rake, rest = pot.rake, [dict(part) for part in pot.parts]
    for amount in amounts[:-1]:
        raked = min(rake, amount * rake_basis_points // 10_000)
        taken = _taken(amount - raked, rest)
        rake -= raked
        rest = [_less(part, given) for part, given in zip(rest, taken, strict=True)]
        if any(not part or min(part.values()) < 0 for part in rest):
            return None
        split.append(SettledPot(amount, raked, taken, pot.boards))
    if rake > amounts[-1] * rake_basis_points // 10_000:
        return None
    split.append(SettledPot(amounts[-1], rake, rest, pot.boards))
    return split


def _sum(parts: Iterable[Shares]) -> Shares:
    taken: Shares = {}
    for part in parts:
        for player, amount in part.items():
            taken[player] = taken.get(player, 0) + amount
    return taken


def _taken(amount: int, parts: Sequence[Shares]) -> list[Shares]:
    """Take an amount out of parts in their proportion, evenly from all who share one.

    Odd chips come out of the first part, and of the first shares in it.
    """
    sizes = [sum(part.values()) for part in parts]
    wanted = [amount * size // sum(sizes) for size in sizes]
    wanted[0] += amount - sum(wanted)
    taken: list[Shares] = []
    for size, part in zip(wanted, parts, strict=True):
        even, odd = divmod(size, len(part))
        taken.append({p: share for i, p in enumerate(part) if (share := even + (i < odd))})
    return taken


def _less(part: Shares, taken: Shares) -> Shares:
    return {p: left for p, share in part.items() if (left := share - taken.get(p, 0))}
