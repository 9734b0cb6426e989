"""A finished hand in the PHH format, as one viewer may know it.

PHH (the Poker Hand History file format) is PokerKit's own notation, and PokerKit writes it here:
from the operations of the hand, with the cards taken out that the viewer may not see. What it
writes, it replays: betting needs no cards, and whoever was paid at showdown has shown theirs.

Some things are beyond it. It knows no rake over a whole hand, so a replay ends with the chips of
`_rake` still on the table. It has no word for a board that is run out again: the actions tell the
first board, `_boards` all of them, and `History` replays them all. In a bomb pot (`_bomb_pot`) it
checks everybody through to the flop. And the side pot that nobody left in the hand can win (see
`cash_state`) is burned in a replay (or ends it, where one player is left), while `finishing_stacks`
and `_abandoned` tell who had it.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from copy import copy
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from typing import ClassVar

from msgspec import Struct
from pokerkit import (
    BoardDealing,
    Card,
    HandHistory,
    HoleDealing,
    Operation,
    Rank,
    State,
    Suit,
    ValuesLike,
)
from pokerkit.games import Poker

from game.poker.dealing import BOARD_CARDS
from game.poker.hand import Hand
from game.poker.hi_lo_state import HiLoState
from game.poker.variants import VARIANTS, VariantRules, from_the_flop

AUTHOR = "Cardroom"

_DEAL_BOARD = "d db "
_UNKNOWN = Card(Rank.UNKNOWN, Suit.UNKNOWN)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_QUOTES = "'''"
_CONTROLS = dict.fromkeys((*range(32), 127), " ")


_STANDARD_CODES = {game: code for code, game in HandHistory.game_types.items()}


def code_of(rules: VariantRules) -> str:
    """Return a variant's code in PHH; its name where PHH has none."""
    return rules.phh or _STANDARD_CODES.get(rules.game) or rules.name


def _state_of(game: Poker, raw_starting_stacks: ValuesLike, player_count: int) -> State:
    return HiLoState(
        game.automations,
        game.deck,
        game.hand_types,
        game.streets,
        game.betting_structure,
        game.ante_trimming_status,
        game.raw_antes,
        game.raw_blinds_or_straddles,
        game.bring_in,
        raw_starting_stacks,
        player_count,
        mode=game.mode,
        divmod=game.divmod,
        rake=game.rake,
    )


def _game_of(rules: VariantRules) -> type[Poker]:
    """Make a game that PHH has no code for out of PokerKit's own parts."""
    references = tuple(kind.reference for kind in rules.hand_types)
    return type(rules.name, (rules.game,), {"hand_types": references, "__call__": _state_of})


_OTHERS = {
    code: rules
    for rules in VARIANTS.values()
    if (code := code_of(rules)) not in HandHistory.game_types
}


class History(HandHistory):
    """A hand history; also of what PokerKit's own has no word for.

    That is variants without a code (pot-limit Omaha hi-lo), bomb pots, and boards that were run out
    more than once.
    """

    game_types: ClassVar[dict[str, type[Poker]]] = {
        **HandHistory.game_types,
        **{code: _game_of(rules) for code, rules in _OTHERS.items()},
    }
    required_field_names: ClassVar[dict[str, tuple[str, ...]]] = {
        **HandHistory.required_field_names,
        **{
            code: HandHistory.required_field_names["FT" if rules.fixed_limit else "NT"]
            for code, rules in _OTHERS.items()
        },
    }

    def create_game(self) -> Poker:
        """Make the game; a bomb pot begins on the flop."""
        game = super().create_game()
        if self.user_defined_fields.get("_bomb_pot"):
            game.streets = from_the_flop(game.streets)
        return game

    def create_state(self) -> State:
        """Make the state at the beginning, which knows how often the board is run out."""
        state = super().create_state()
        # Players who are asked and have no preference leave it at that.
        state.runout_count = len(self._boards) or None
        return state

    @property
    def state_actions(self) -> Iterator[tuple[State, str | None]]:
        """Replay the hand, every board of it in turn."""
        actions = list(self.actions)
        dealt = [i for i, action in enumerate(actions) if action.startswith(_DEAL_BOARD)]
        if self._boards and dealt:
            streets = [len(actions[i].removeprefix(_DEAL_BOARD)) for i in dealt]
            alike = takewhile(lambda column: len(set(column)) == 1, zip(*self._boards, strict=True))
            shared = len(list(alike)) // 2 * 2
            place = dealt[-1] + 1
            actions[place:place] = [
                deal for board in self._boards[1:] for deal in _deals(board, streets, shared)
            ]
        plain: property = HandHistory.__dict__["state_actions"]
        assert plain.fget is not None
        yield from plain.fget(replace(self, actions=actions))

    @property
    def _boards(self) -> list[str]:
        return self.user_defined_fields.get("_boards") or []


class Particulars(Struct, frozen=True, kw_only=True):
    """What a hand's history tells besides the play.

    Args:
        room_id: the room's id.
        table: the room's name.
        seat_count: how many seats the table has.
        names: what the players are called, by seat index.
        started_at: UTC in milliseconds, as is `ended_at`.
    """

    room_id: str
    table: str
    seat_count: int
    names: Mapping[int, str]
    started_at: int
    ended_at: int


def open_seats(hand: Hand, viewer: str | None, *, everything: bool = False) -> frozenset[int]:
    """Tell whose hole cards a viewer may know: their own, and those that were shown.

    Args:
        hand: finished.
        viewer: a user id, None for somebody who was not in the hand.
        everything: every hand, shown or not.
    """
    return frozenset(
        seat.seat_index
        for seat in hand.players
        if everything or seat.user_id == viewer or hand.shown(seat.seat_index) is not None
    )


def compose(hand: Hand, about: Particulars, known: Collection[int]) -> HandHistory:
    """Write a finished hand in PHH.

    Players stand in PokerKit's order, small blind first; heads-up the big blind first. Seats count
    from 1 in PHH: seat index 0 is seat 1.

    Args:
        hand: finished.
        about: what else is told.
        known: seat indexes whose hole cards are told; those of others are `??`.
    """
    assert hand.finished, "a running hand has no history yet"
    setup, players, chips = hand.setup, hand.players, hand.chips()
    won = {winner.seat_index: winner.amount for winner in hand.winners()}
    state = copy(hand.state)
    state.operations = [
        replace(operation, cards=(_UNKNOWN,) * len(operation.cards))
        if isinstance(operation, HoleDealing)
        and players[operation.player_index].seat_index not in known
        else operation
        for operation in _with_one_board(state.operations)
    ]
    started_at = _EPOCH + timedelta(milliseconds=about.started_at)
    return History.from_game_state(
        state.game,
        state,
        variant=code_of(VARIANTS[setup.variant]),
        ante_trimming_status=state.ante_trimming_status,
        author=AUTHOR,
        table=_quotable(about.table),
        hand=setup.number,
        time=started_at.time(),
        time_zone="UTC",
        day=started_at.day,
        month=started_at.month,
        year=started_at.year,
        seats=[seat.seat_index + 1 for seat in players],
        seat_count=max(about.seat_count, *(seat.seat_index + 1 for seat in players)),
        players=[_quotable(about.names.get(seat.seat_index, seat.user_id)) for seat in players],
        finishing_stacks=[chips[seat.seat_index] for seat in players],
        winnings=[won.get(seat.seat_index, 0) for seat in players],
        user_defined_fields={
            "_room_id": _quotable(about.room_id),
            "_hand_id": setup.hand_id,
            "_variant": setup.variant,
            "_user_ids": [_quotable(seat.user_id) for seat in players],
            "_button": setup.button_seat + 1,
            "_ended_at": _iso(about.ended_at),
            "_rake": hand.rake,
            "_abandoned": _abandoned(hand),
            "_bomb_pot": setup.bomb_pot or None,
            "_boards": ["".join(board) for board in hand.boards] if len(hand.boards) > 1 else None,
        },
    )


def _with_one_board(operations: Iterable[Operation]) -> Iterator[Operation]:
    """Leave out the boards after the first."""
    dealt = 0
    for operation in operations:
        if isinstance(operation, BoardDealing):
            dealt += len(operation.cards)
            if dealt > BOARD_CARDS:
                continue
        yield operation


def _deals(board: str, streets: Iterable[int], shared: int) -> Iterator[str]:
    """Write the streets of a board (by length, in characters) that it does not share."""
    place = 0
    for length in streets:
        if place >= shared:
            yield _DEAL_BOARD + board[place : place + length]
        place += length


def _abandoned(hand: Hand) -> list[int] | None:
    """Player number (from 1, as in the actions) and chips of the pot that nobody could win."""
    if hand.state.abandoned is None:
        return None
    pot, owner = hand.state.abandoned
    return [owner + 1, pot.unraked_amount]


def _quotable(text: str) -> str:
    """Make a text fit for the quotes that PokerKit puts around it, which know no escapes."""
    return text.translate(_CONTROLS).replace(_QUOTES, "’’’")


def _iso(at: int) -> str:
    return (_EPOCH + timedelta(milliseconds=at)).isoformat(timespec="milliseconds")
