"""Hands that people played, each with a whole deck that it could have been played with.

A hand history knows the board and the hands that were shown. What it hides is filled in here, the
same on every load: a player who mucked at showdown gets cards that lose to what was shown, all
others get whatever is left.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from itertools import combinations
from pathlib import Path

from pokerkit import HandHistory, StandardHighHand, State

from protocol.values import ActionName

PATH = Path(__file__).parent.parent / "tests" / "data" / "hands.phhs"
_DECK = tuple(rank + suit for rank in "23456789TJQKA" for suit in "cdhs")


@dataclass(frozen=True)
class RecordedHand:
    """A recorded hand; amounts in cents.

    Players are numbered from 0 as in the history: heads-up p1 is the big blind. `dealing_order`
    lists them from the small blind on, heads-up from the button on. All other tuples go by player.

    `actions` are (player, action, what a bet or raise makes of the street bet). `final_stacks` come
    from PokerKit's own replay of the history, without rake.
    """

    name: str
    stacks: tuple[int, ...]
    small_blind: int
    big_blind: int
    ante: int
    min_bet: int
    dealing_order: tuple[int, ...]
    deck: tuple[str, ...]
    actions: tuple[tuple[int, ActionName, int | None], ...]
    final_stacks: tuple[int, ...]
    board: tuple[str, ...]
    shown: dict[int, tuple[str, ...]]


def recorded_hands(path: Path = PATH) -> list[RecordedHand]:
    """Load every hand of a PHH file of several hands of no-limit hold'em with uniform antes."""
    with path.open("rb") as file:
        return [_record(history) for history in HandHistory.load_all(file)]


def _cents(amount: int | Decimal) -> int:
    cents = Decimal(amount) * 100
    assert cents == int(cents)
    return int(cents)


def _record(history: HandHistory) -> RecordedHand:
    antes = {_cents(ante) for ante in history.antes}
    assert len(antes) == 1, "antes are not uniform"
    assert history.blinds_or_straddles is not None
    blinds = [_cents(blind) for blind in history.blinds_or_straddles]
    count = len(history.starting_stacks)
    actions: list[tuple[int, ActionName, int | None]] = []
    board: list[str] = []
    shown: dict[int, tuple[str, ...]] = {}
    mucked: list[int] = []
    to_call, highest, final = Decimal(0), Decimal(0), None
    for state, action in history.state_actions:
        match (action or "").split():
            case ["d", "db", dealt]:
                board += _split(dealt)
            case [player, "sm", "????"]:
                mucked.append(_player(player))
            case [player, "sm", hole]:
                shown[_player(player)] = tuple(_split(hole))
            case [player, "f"]:
                actions.append((_player(player), "FOLD", None))
            case [player, "cc"]:
                actions.append((_player(player), "CALL" if to_call else "CHECK", None))
            case [player, "cbr", amount]:
                name: ActionName = "RAISE" if highest else "BET"
                actions.append((_player(player), name, _cents(Decimal(amount))))
        to_call = Decimal(state.checking_or_calling_amount or 0)
        highest = Decimal(max(state.bets))
        final = state
    assert final is not None
    order = tuple(range(count)) if count > 2 else (1, 0)
    return RecordedHand(
        name=str(history.hand),
        stacks=tuple(_cents(stack) for stack in history.starting_stacks),
        small_blind=blinds[0],
        big_blind=blinds[1],
        ante=antes.pop(),
        min_bet=_cents(history.min_bet or 0),
        dealing_order=order,
        deck=_deck(order, board, shown, mucked),
        actions=tuple(actions),
        final_stacks=_final_stacks(final),
        board=tuple(board),
        shown=shown,
    )


def _final_stacks(state: State) -> tuple[int, ...]:
    return tuple(_cents(stack) for stack in state.stacks)


def _player(label: str) -> int:
    return int(label.removeprefix("p")) - 1


def _split(dealt: str) -> list[str]:
    return [dealt[i : i + 2] for i in range(0, len(dealt), 2)]


def _deck(
    order: tuple[int, ...],
    board: list[str],
    shown: dict[int, tuple[str, ...]],
    mucked: list[int],
) -> tuple[str, ...]:
    known = {*board, *(card for hole in shown.values() for card in hole)}
    free = [card for card in _DECK if card not in known]
    holes = dict(shown)
    for player in mucked:
        holes[player] = next(_losing_hands(free, board, shown))
        free = [card for card in free if card not in holes[player]]
    rest = iter(free)
    for player in order:
        if player not in holes:
            holes[player] = next(rest), next(rest)
    deck = [holes[player][number] for number in range(2) for player in order]
    boards = iter(board)
    for street in (3, 1, 1):
        deck.append(next(rest))
        deck += [next(boards, None) or next(rest) for _ in range(street)]
    return (*deck, *rest)


def _losing_hands(
    free: list[str], board: list[str], shown: dict[int, tuple[str, ...]]
) -> Iterator[tuple[str, ...]]:
    dealt = "".join(board)
    best = max(StandardHighHand.from_game("".join(hole), dealt) for hole in shown.values())
    for hole in combinations(free, 2):
        if StandardHighHand.from_game("".join(hole), dealt) < best:
            yield hole
