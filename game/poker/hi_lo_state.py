"""PokerKit's state with one rule mended: a pot in which nobody has a low is the high hand's.

Where high and low split the pot, PokerKit 0.7.7 divides every pot of a board as soon as a contender
of one of them has a low there, and shares the low half of a pot without a low among all its
contenders.
"""

from pokerkit import Operation, State

SubPot = tuple[int, int, int | None, int | None]
"""A part of a pot: its amount, and the indices of pot, board and hand type."""


class HiLoState(State):
    """A hand whose pots are divided into halves only where each half has a claimant."""

    def _update_chips_pushing(self, operation: Operation | None = None) -> None:
        if operation is None:
            self._sub_pots = self._claimed_sub_pots()
        super()._update_chips_pushing(operation)

    def _claimed_sub_pots(self) -> list[SubPot]:
        """List what is to be pushed, each part of a pot that nobody can claim added to the first.

        The first part of a pot is its high half, which a contender always has a hand for.
        """
        parts: list[SubPot] = []
        for amount, pot, board, kind in self._sub_pots:
            if board is None or kind is None or self._has_claimant(pot, board, kind):
                parts.append((amount, pot, board, kind))
            else:
                high, _, high_board, high_kind = parts.pop()
                parts.append((high + amount, pot, high_board, high_kind))
        return parts

    def _has_claimant(self, pot_index: int, board_index: int, hand_type_index: int) -> bool:
        assert self._pots is not None
        hands = tuple(self.get_up_hands(board_index, hand_type_index))
        return any(hands[i] is not None for i in self._pots[pot_index].player_indices)
