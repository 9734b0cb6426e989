"""Hands to test with: short to set up, and played by a player who knows no fear."""

import random
from collections.abc import Sequence

from game.poker.hand import Hand, HandSetup
from game.poker.variants import VARIANTS
from protocol.events import PublicEvent
from protocol.values import ActionName, AnteKind, DealtIn

DECK = VARIANTS["nlhe"].deck


def shuffled_deck(seed: int, variant: str = "nlhe") -> tuple[str, ...]:
    """A whole deck, the same for the same seed."""
    deck = list(VARIANTS[variant].deck)
    random.Random(seed).shuffle(deck)
    return tuple(deck)


def rigged_deck(holes: Sequence[str], board: str, variant: str = "nlhe") -> tuple[str, ...]:
    """A whole deck that deals `holes` (such as ``AhKd``, from the small blind on) and `board`."""
    each = range(0, len(holes[0]), 2)
    known = [hole[i : i + 2] for i in each for hole in holes]
    streets = [board[i : i + 2] for i in range(0, len(board), 2)]
    rest = iter([c for c in VARIANTS[variant].deck if c not in {*known, *streets}])
    return (
        *known,
        *(next(rest), *streets[:3]),
        *(next(rest), streets[3]),
        *(next(rest), streets[4]),
        *rest,
    )


def make_setup(
    stacks: Sequence[int],
    *,
    variant: str = "nlhe",
    small_blind: int = 50,
    big_blind: int = 100,
    ante: int = 0,
    ante_kind: AnteKind = "all",
    straddle: int = 0,
    bomb_pot: bool = False,
    run_it_times: int = 1,
    rake_basis_points: int = 0,
    rake_cap: int = 0,
    deck: tuple[str, ...] | None = None,
) -> HandSetup:
    """A hand whose player at dealing position ``i`` sits in seat ``9 - i``, user ``u{i}``."""
    seats = tuple(DealtIn(9 - i, f"u{i}", stack) for i, stack in enumerate(stacks))
    return HandSetup(
        hand_id="hand-1",
        number=1,
        variant=variant,
        small_blind=small_blind,
        big_blind=big_blind,
        ante=ante,
        ante_kind=ante_kind,
        straddle=straddle,
        bomb_pot=bomb_pot,
        run_it_times=run_it_times,
        rake_basis_points=rake_basis_points,
        rake_cap=rake_cap,
        button_seat=seats[0 if len(seats) == 2 else -1].seat_index,
        seats=seats,
        deck=shuffled_deck(1, variant) if deck is None else deck,
    )


def choose(
    hand: Hand, rng: random.Random, *, free_folds: bool = True
) -> tuple[ActionName, int | None]:
    """Choose a legal action; the likelier ones keep the hand alive."""
    legal = hand.legal()
    choices: list[tuple[ActionName, int | None]] = []
    if legal.can_check:
        choices += [("CHECK", None)] * 4
    if legal.call_amount is not None:
        choices += [("CALL", None)] * 6
    if free_folds or not legal.can_check:
        choices += [("FOLD", None)]
    if legal.min_raise_to is not None and legal.max_raise_to is not None:
        name: ActionName = "RAISE" if hand.current_bet else "BET"
        choices += [(name, legal.min_raise_to)] * 2
        choices += [(name, rng.randint(legal.min_raise_to, legal.max_raise_to))]
    if takes_all_in(hand):
        choices += [("ALL_IN", None)]
    return rng.choice(choices)


def play_on(hand: Hand, rng: random.Random, *, free_folds: bool = True) -> list[PublicEvent]:
    """Play a hand to its end, and return what is told of it."""
    events: list[PublicEvent] = []
    while (seat := hand.actor_seat) is not None:
        events += hand.act(seat, *choose(hand, rng, free_folds=free_folds))[1]
    if hand.run_it_seats:
        events += hand.run_out(rng.randint(1, hand.most_runouts))
    assert hand.finished
    return events


def takes_all_in(hand: Hand) -> bool | None:
    """Whether the actor may say all-in; None where it takes the raises of the street to know.

    Not where pot limit or fixed limit keep chips back; with betting closed it is a call.
    """
    legal, seat = hand.legal(), hand.actor_seat
    assert seat is not None
    behind = hand.chips()[seat]
    bet = next(state.bet for state in hand.seat_states() if state.seat_index == seat)
    if legal.max_raise_to is not None:
        return legal.max_raise_to == bet + behind
    if legal.call_amount is None:
        return False
    capped = VARIANTS[hand.setup.variant].fixed_limit and legal.call_amount < behind
    return None if capped else True


def public_state(hand: Hand) -> tuple[object, ...]:
    """Everything that a hand says of itself, cards of the dead included."""
    return (
        hand.actor_seat,
        hand.legal(),
        hand.finished,
        hand.phase,
        hand.boards,
        hand.runouts,
        hand.run_it_seats,
        hand.most_runouts,
        hand.pot,
        hand.pots,
        hand.current_bet,
        hand.min_raise_to,
        hand.seat_states(),
        hand.chips(),
        hand.net(),
        hand.winners(),
        hand.rake,
        list(hand.actions),
    )
