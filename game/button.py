"""Where button and blinds go.

The big blind always moves to the next player: nobody posts it twice running or is passed over.
Small blind and button are the players before it, so that with the same players the button moves
one seat a hand, and heads-up the button posts the small blind. (Cooke & Bond, "Rules of Poker",
calls this the forward-moving big blind; it needs no dead button.) A bomb pot is a hand like others
here: the places move on though nobody posts a blind.
"""

from typing import NamedTuple


class Positions(NamedTuple):
    """Seat indices of one hand; `order` is the dealing order, the small blind first."""

    button: int
    small_blind: int
    big_blind: int
    order: tuple[int, ...]


def next_positions(ready: list[int], last_big_blind: int | None) -> Positions:
    """Place button and blinds for the next hand.

    Args:
        ready: the seat indices dealt in, ascending, at least two.
        last_big_blind: the seat that posted the big blind last (it may be empty by now), or None
            before the first hand, whose button is the lowest seat.
    """
    count = len(ready)
    if last_big_blind is None:
        big = 1 if count == 2 else 2
    else:
        big = next((i for i, seat in enumerate(ready) if seat > last_big_blind), 0)
    small = (big - 1) % count
    button = small if count == 2 else (big - 2) % count
    order = tuple(ready[(small + step) % count] for step in range(count))
    return Positions(ready[button], ready[small], ready[big], order)
