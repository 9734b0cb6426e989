"""The pots of a running hand, kept up from events or taken up from a snapshot.

What was bet on earlier streets is in layers: a player who went all-in caps one, and nobody adds to
it any more. Above them lies what everybody still in with chips has matched (`loose`), on which the
bets of the running street come. That is all that later bets can change, so a client that starts
from a snapshot in the middle of a hand goes on exactly like one that saw the hand begin.
"""

from collections.abc import Sequence
from typing import NamedTuple, Self

from protocol.views import PotView


class Standing(NamedTuple):
    """How a seat stands: its street bet, whether it holds cards, whether it has nothing behind."""

    seat_index: int
    bet: int
    live: bool
    all_in: bool


class Layers:
    """Everything bet on earlier streets. Seats are always given in dealing order."""

    def __init__(self, closed: list[PotView], loose: int) -> None:
        self._closed = closed
        self._loose = loose

    @classmethod
    def taken_up(cls, pots: Sequence[PotView], seats: Sequence[Standing]) -> Self:
        """Find the layers behind the pots of a snapshot."""
        spent = {seat.seat_index for seat in seats if seat.all_in and not seat.bet}
        closed = [pot for pot in pots if spent.intersection(pot.seats)]
        total = sum(pot.amount for pot in pots)
        bets = sum(seat.bet for seat in seats)
        return cls(closed, total - bets - sum(pot.amount for pot in closed))

    def pots(self, seats: Sequence[Standing]) -> list[PotView]:
        """Split everything bet so far, main pot first."""
        capped, rest = self._open(seats)
        live = {seat.seat_index for seat in seats if seat.live}
        closed = [PotView(pot.amount, [s for s in pot.seats if s in live]) for pot in self._closed]
        return [pot for pot in (*closed, *capped, rest) if pot.amount]

    def add_dead(self, seats: Sequence[Standing]) -> None:
        """Take in bets that nobody has to match: whoever is in the hand may win them."""
        dead = sum(seat.bet for seat in seats)
        if any(seat.bet and seat.all_in for seat in seats):
            self._closed.append(PotView(dead, [seat.seat_index for seat in seats if seat.live]))
        else:
            self._loose += dead

    def collect(self, seats: Sequence[Standing]) -> None:
        """Take the street's bets in; the street is over."""
        capped, rest = self._open(seats)
        self._closed += [pot for pot in capped if pot.amount]
        self._loose = rest.amount

    def _open(self, seats: Sequence[Standing]) -> tuple[list[PotView], PotView]:
        caps = sorted({seat.bet for seat in seats if seat.live and seat.all_in and seat.bet})
        capped: list[PotView] = []
        floor, under = 0, self._loose
        for cap in caps:
            amount = under + sum(max(0, min(seat.bet, cap) - floor) for seat in seats)
            may_win = [s.seat_index for s in seats if s.live and (not s.all_in or s.bet >= cap)]
            capped.append(PotView(amount, may_win))
            floor, under = cap, 0
        amount = under + sum(max(0, seat.bet - floor) for seat in seats)
        return capped, PotView(amount, [s.seat_index for s in seats if s.live and not s.all_in])
