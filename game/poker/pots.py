"""The pots of a running hand: who may still win what has been bet so far."""

from collections.abc import Sequence
from typing import NamedTuple

from protocol.views import PotView


class Contribution(NamedTuple):
    """What one seat has put in: `live` while it holds cards, `all_in` with nothing behind."""

    seat_index: int
    amount: int
    live: bool
    all_in: bool


def split(contributions: Sequence[Contribution], dead: int = 0) -> list[PotView]:
    """Split everything bet so far into pots, main pot first; they sum to what was put in.

    `dead` is what is in the main pot beside the contributions: antes posted for all.

    Each all-in caps a pot at what that player put in; whoever has chips behind may win every pot,
    since they either match the rest or fold. Seats are listed in the order given. A pot that all
    its contenders folded has no seats.
    """
    caps: list[int | None] = []
    caps.extend(sorted({c.amount for c in contributions if c.live and c.all_in}))
    caps.append(None)
    pots: list[PotView] = []
    floor = 0
    for cap in caps:
        amount = dead + sum(
            max(0, (c.amount if cap is None else min(c.amount, cap)) - floor) for c in contributions
        )
        seats = [
            c.seat_index
            for c in contributions
            if c.live and (not c.all_in or (cap is not None and c.amount >= cap))
        ]
        floor, dead = floor if cap is None else cap, 0
        if not amount:
            continue
        if pots and pots[-1].seats == seats:
            amount += pots.pop().amount
        pots.append(PotView(amount, seats))
    return pots
