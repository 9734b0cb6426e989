"""How a finished hand ended, as its last events tell it."""

from collections.abc import Sequence

from msgspec import UNSET

from game.poker import cards
from game.poker.cash_state import CashState
from game.poker.dealing import Dealing
from game.poker.settlement import SettledPot, Shares, shown_players
from game.poker.variants import VariantRules
from protocol.values import DealtIn, PotAward, PotShare, RunoutAward, ShownHand, Winner


class Result:
    """Who showed what and took how much.

    Args:
        state: the finished hand.
        rules: what was played.
        dealing: its cards.
        players: the seats by PokerKit's player.
        pots: the pots as they were contested, main pot first.

    Attributes:
        shown: the players who tabled their hands, in showdown order.
    """

    def __init__(
        self,
        state: CashState,
        rules: VariantRules,
        dealing: Dealing,
        players: Sequence[DealtIn],
        pots: Sequence[SettledPot],
    ) -> None:
        self.shown = shown_players(state)
        self._rules = rules
        self._dealing = dealing
        self._players = players
        self._pots = pots

    @property
    def rake(self) -> int:
        """What the house took."""
        return sum(pot.rake for pot in self._pots)

    def tabled(self) -> list[ShownHand]:
        """Tell the hands that were shown, in showdown order."""
        return [self._shown(player) for player in self.shown]

    def awards(self) -> list[PotAward]:
        """Tell the pots, main pot first."""
        return [self._award(pot) for pot in self._pots]

    def winners(self) -> list[Winner]:
        """Tell who took how much from all pots together, in the order of the pots."""
        totals: Shares = {}
        for pot in self._pots:
            for player, share in pot.shares.items():
                totals[player] = totals.get(player, 0) + share
        return [
            Winner(self._players[i].seat_index, self._players[i].user_id, total, self._won_with(i))
            for i, total in totals.items()
        ]

    def _shown(self, player: int) -> ShownHand:
        ranks = [self._rank(player, board) for board in range(len(self._dealing.boards))]
        return ShownHand(
            self._players[player].seat_index,
            cards.texts(self._dealing.holes[player]),
            ranks[0],
            ranks if len(ranks) > 1 else UNSET,
        )

    def _award(self, pot: SettledPot) -> PotAward:
        runouts: list[RunoutAward] = []
        for board in range(len(self._dealing.boards)):
            shares = pot.shares_on(board)
            runouts.append(RunoutAward(board + 1, sum(shares.values()), self._told(shares)))
        return PotAward(
            pot.amount,
            pot.rake,
            self._told(pot.shares),
            runouts if len(runouts) > 1 else UNSET,
        )

    def _told(self, shares: Shares) -> list[PotShare]:
        return [PotShare(self._players[i].seat_index, amount) for i, amount in shares.items()]

    def _won_with(self, player: int) -> str | None:
        if player not in self.shown:
            return None
        won_on = min(
            board
            for pot in self._pots
            for board, part in zip(pot.boards, pot.parts, strict=True)
            if player in part
        )
        return self._rank(player, won_on)

    def _rank(self, player: int, board: int) -> str:
        return self._rules.rank(self._dealing.holes[player], self._dealing.boards[board])
