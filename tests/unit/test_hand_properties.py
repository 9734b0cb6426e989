"""Whatever is played: no chip is lost, no card is told, and a replay is the hand again."""

import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any, cast

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET
from pokerkit import (
    FixedLimitTexasHoldem,
    Mode,
    NoLimitShortDeckHoldem,
    NoLimitTexasHoldem,
    OmahaEightOrBetterLowHand,
    OmahaHoldemHand,
    PotLimitOmahaHoldem,
    State,
)
from pokerkit.games import Holdem, OmahaHoldemMixin, PotLimitPokerMixin, UnfixedLimitHoldem

from game.poker.cash_state import AUTOMATIONS
from game.poker.hand import Hand, HandSetup
from game.poker.variants import VARIANTS
from protocol.errors import ErrorCode, Refused
from protocol.events import (
    PlayerAction,
    PotDistributed,
    PublicEvent,
    Showdown,
    StreetAdvanced,
)
from protocol.values import ActionName, LegalActions
from tests.support.hands import (
    choose,
    make_setup,
    play_on,
    public_state,
    shuffled_deck,
    takes_all_in,
)

ACTIONS: tuple[ActionName, ...] = ("FOLD", "CHECK", "CALL", "BET", "RAISE", "ALL_IN")

_stacks = st.one_of(st.integers(1, 300), st.integers(1, 5_000))
seeds = st.integers(0, 2**32)


@st.composite
def setups(
    draw: st.DrawFn,
    raked: bool = True,
    variants: Sequence[str] = tuple(VARIANTS),
    max_players: int = 10,
) -> HandSetup:
    variant = draw(st.sampled_from(variants))
    most = min(max_players, VARIANTS[variant].max_players)
    stacks = draw(st.lists(_stacks, min_size=2, max_size=most))
    bomb_pot = draw(st.sampled_from([False, False, True]))
    straddle = draw(st.sampled_from([0, 200, 350])) if len(stacks) > 2 and not bomb_pot else 0
    return make_setup(
        stacks,
        variant=variant,
        ante=draw(st.sampled_from([7, 25, 300] if bomb_pot else [0, 0, 7, 25])),
        ante_kind="all" if bomb_pot else draw(st.sampled_from(["all", "big_blind", "button"])),
        straddle=straddle,
        bomb_pot=bomb_pot,
        run_it_times=draw(st.sampled_from([1, 2, 3])),
        rake_basis_points=draw(st.sampled_from([0, 333, 500, 1000])) if raked else 0,
        rake_cap=draw(st.sampled_from([0, 1, 40, 300])) if raked else 0,
        deck=shuffled_deck(draw(seeds), variant),
    )


def play(
    setup: HandSetup, rng: random.Random, *, free_folds: bool = True
) -> tuple[Hand, list[PublicEvent]]:
    hand = Hand.start(setup)
    return hand, hand.opening() + play_on(hand, rng, free_folds=free_folds)


def check_chips(hand: Hand) -> None:
    total = sum(seat.chips for seat in hand.setup.seats)
    assert sum(hand.chips().values()) + hand.pot + hand.rake == total
    assert min(hand.chips().values()) >= 0
    assert sum(pot.amount for pot in hand.pots) == hand.pot


@given(setups(), seeds)
@settings(max_examples=200)
def test_chips_are_conserved_after_every_action(setup: HandSetup, seed: int) -> None:
    rng = random.Random(seed)
    hand = Hand.start(setup)
    check_chips(hand)
    while (seat := hand.actor_seat) is not None:
        before, pot = hand.chips()[seat], hand.pot
        bet = {state.seat_index: state.bet for state in hand.seat_states()}[seat]
        taken, events = hand.act(seat, *choose(hand, rng))
        told = events[0]
        assert isinstance(told, PlayerAction)
        assert (told.amount, told.chips) == (taken.amount, before - taken.amount)
        assert (told.bet, told.pot) == (bet + taken.amount, pot + taken.amount)
        assert taken.raise_to in (None, told.bet)
        check_chips(hand)
    play_on(hand, rng)
    check_chips(hand)


def pokerkits_limits(state: State) -> tuple[int | None, int | None]:
    return (
        state.min_completion_betting_or_raising_to_amount,
        state.max_completion_betting_or_raising_to_amount,
    )


@given(setups(), seeds)
@settings(max_examples=200)
def test_what_is_legal_is_pokerkits_word_in_every_decision(setup: HandSetup, seed: int) -> None:
    rng = random.Random(seed)
    hand = Hand.start(setup)
    while (seat := hand.actor_seat) is not None:
        legal = hand.legal()
        assert (legal.min_raise_to, legal.max_raise_to) == pokerkits_limits(hand.state)
        assert legal.call_amount == (hand.state.checking_or_calling_amount or None)
        assert hand.min_raise_to == legal.min_raise_to
        hand.act(seat, *choose(hand, rng))
    assert hand.legal() == LegalActions(False, False, None, None, None)


@given(setups(), seeds)
@settings(max_examples=200)
def test_pots_are_shared_out_exactly(setup: HandSetup, seed: int) -> None:
    hand, events = play(setup, random.Random(seed))
    distributed = events[-1]
    assert isinstance(distributed, PotDistributed)
    for pot in distributed.pots:
        assert sum(share.amount for share in pot.winners) + pot.rake == pot.amount > 0
        assert pot.rake <= pot.amount * setup.rake_basis_points // 10_000
        if pot.runouts is not UNSET:
            assert [part.runout for part in pot.runouts] == list(range(1, len(hand.boards) + 1))
            shares = Counter[int]()
            for part in pot.runouts:
                assert sum(share.amount for share in part.winners) == part.amount
                shares.update({share.seat_index: share.amount for share in part.winners})
            assert shares == {share.seat_index: share.amount for share in pot.winners}
    assert hand.rake == sum(pot.rake for pot in distributed.pots)
    assert hand.rake <= (setup.rake_cap or hand.rake)
    assert hand.board or not hand.rake
    assert sum(hand.net().values()) == -hand.rake
    won = sum(winner.amount for winner in hand.winners())
    assert won + hand.rake == sum(pot.amount for pot in distributed.pots)


@given(setups(), seeds)
@settings(max_examples=60)
def test_replay_is_the_hand_again_after_every_action(setup: HandSetup, seed: int) -> None:
    rng = random.Random(seed)
    hand = Hand.start(setup)
    while (seat := hand.actor_seat) is not None:
        action = choose(hand, rng)
        again = Hand.replay(setup, hand.actions)
        assert public_state(again) == public_state(hand)
        assert again.act(seat, *action) == hand.act(seat, *action)
    assert public_state(Hand.replay(setup, hand.actions)) == public_state(hand)
    play_on(hand, rng)
    assert public_state(Hand.replay(setup, hand.actions, hand.runouts)) == public_state(hand)


@given(setups(), seeds)
@settings(max_examples=200)
def test_events_come_in_the_order_of_the_contract(setup: HandSetup, seed: int) -> None:
    hand, events = play(setup, random.Random(seed))
    dealt = [event for event in events if isinstance(event, StreetAdvanced)]
    later = [event for event in dealt if event.runout is not UNSET and event.runout > 1]
    streets = [event.street for event in dealt if event not in later]
    assert streets == ["flop", "turn", "river"][: len(streets)]
    for runout in range(2, len(hand.boards) + 1):
        again = [event.street for event in later if event.runout == runout]
        assert again == streets[-len(again) :]
    tail = [type(event) for event in events if not isinstance(event, PlayerAction | StreetAdvanced)]
    shown = any(hand.shown(seat.seat_index) for seat in setup.seats)
    assert tail == ([Showdown] if shown else []) + [PotDistributed]
    assert [type(event) for event in events[-len(tail) :]] == tail
    assert not shown or [len(board) for board in hand.boards] == [5] * len(hand.boards)
    for runout, board in enumerate(hand.boards[1:], start=2):
        mine = [event for event in later if event.runout == runout]
        assert board == mine[-1].board
        new = [card for event in mine for card in event.cards]
        assert board == hand.board[: 5 - len(new)] + new


@given(setups(), seeds)
@settings(max_examples=80)
def test_refused_actions_change_nothing(setup: HandSetup, seed: int) -> None:
    rng = random.Random(seed)
    hand = Hand.start(setup)
    while (seat := hand.actor_seat) is not None:
        legal = hand.legal()
        allowed = {"FOLD"}
        allowed |= {"CHECK"} if legal.can_check else {"CALL"}
        if legal.min_raise_to is not None:
            allowed |= {"RAISE"} if hand.current_bet else {"BET", "RAISE"}
        if takes_all_in(hand) is not False:
            allowed.add("ALL_IN")
        before = public_state(hand)
        for action in ACTIONS:
            if action in ("BET", "RAISE"):
                amounts = [(legal.min_raise_to or 100) - 1, (legal.max_raise_to or 100) + 1]
            elif action in allowed:
                continue
            else:
                amounts = [0]
            for amount in amounts:
                with pytest.raises(Refused) as refused:
                    hand.act(seat, action, amount)
                assert refused.value.code == ErrorCode.ILLEGAL_ACTION
                assert refused.value.details is not None
                assert refused.value.details["legal"] == msgspec.to_builtins(legal)
                at_fault = action in ("BET", "RAISE") and action in allowed
                assert refused.value.details.get("field") == ("amount" if at_fault else None)
        for other in setup.seats:
            if other.seat_index != seat:
                with pytest.raises(Refused) as refused:
                    hand.act(other.seat_index, "FOLD", None)
                assert refused.value.code == ErrorCode.NOT_YOUR_TURN
        assert public_state(hand) == before
        hand.act(seat, *choose(hand, rng))


def words(value: object) -> set[str]:
    """Every string in a value as it goes over the wire."""
    match msgspec.to_builtins(value):
        case str() as text:
            return {text}
        case dict() as fields:
            return {word for field in fields.values() for word in words(field)}
        case list() | tuple() as items:
            return {word for item in items for word in words(item)}
        case _:
            return set()


@given(setups(), seeds)
@settings(max_examples=150)
def test_a_card_is_told_only_once_it_is_on_the_table(setup: HandSetup, seed: int) -> None:
    rng = random.Random(seed)
    hand = Hand.start(setup)
    told: list[object] = [hand.started(), *hand.opening()]
    while (seat := hand.actor_seat) is not None:
        told += [hand.seat_states(), hand.pots, hand.winners()]
        assert not any(hand.shown(other.seat_index) for other in setup.seats)
        told += hand.act(seat, *choose(hand, rng))[1]
    told += [hand.seat_states(), hand.pots, *play_on(hand, rng)]
    told += [hand.seat_states(), hand.winners()]

    on_board: set[str] = set()
    tabled: set[str] = set()
    for thing in told:
        if isinstance(thing, StreetAdvanced):
            on_board |= set(thing.board)
        if isinstance(thing, Showdown):
            tabled |= {card for shown in thing.hands for card in shown.cards}
        assert words(thing) & set(setup.deck) <= on_board | tabled
    assert on_board == {card for board in hand.boards for card in board}
    folded = {taken.seat_index for taken in hand.actions if taken.action == "FOLD"}
    for seat in folded:
        assert not tabled & set(hand.hole_cards(seat))


@given(setups(), seeds)
@settings(max_examples=100)
def test_hidden_cards_leave_no_trace_in_public_events(setup: HandSetup, seed: int) -> None:
    hand, events = play(setup, random.Random(seed))
    folded = {taken.seat_index for taken in hand.actions if taken.action == "FOLD"}
    in_play = {card for board in hand.boards for card in board}
    for seat in setup.seats:
        if seat.seat_index not in folded:
            in_play |= set(hand.hole_cards(seat.seat_index))
    hidden = [card for card in setup.deck if card not in in_play]
    others = dict(zip(hidden, hidden[1:] + hidden[:1], strict=True))
    deck = tuple(others.get(card, card) for card in setup.deck)
    again = Hand.start(msgspec.structs.replace(setup, deck=deck))
    told = again.opening()
    for taken in hand.actions:
        told += again.act(taken.seat_index, taken.action, taken.raise_to)[1]
    if hand.runouts is not None:
        told += again.run_out(hand.runouts)
    assert told == events


def fair_shares(setup: HandSetup, hand: Hand, won: dict[int, int]) -> dict[int, Fraction]:
    """Split every layer of what was put in between the best hands of those who matched it.

    An ante for all lies under the first layer. Every board decides the same part of each.
    """
    rules = VARIANTS[setup.variant]
    final, folded = hand.chips(), {a.seat_index for a in hand.actions if a.action == "FOLD"}
    for_all = setup.ante_kind != "all"
    dead = {one.seat_index: one.ante for one in hand.started().posted if for_all}
    put_in = {
        seat.seat_index: seat.chips
        + won.get(seat.seat_index, 0)
        - final[seat.seat_index]
        - dead.get(seat.seat_index, 0)
        for seat in setup.seats
    }
    live = [seat for seat in put_in if seat not in folded]
    boards = ["".join(board) for board in hand.boards]
    holes = {seat: "".join(hand.hole_cards(seat)) for seat in live}
    shares: dict[int, Fraction] = defaultdict(Fraction)
    floor, under = 0, sum(dead.values())
    for level in sorted({put_in[seat] for seat in live}):
        layer = under + sum(min(chips, level) - min(chips, floor) for chips in put_in.values())
        contenders = [seat for seat in live if put_in[seat] >= level]
        floor, under = level, 0
        for board in boards:
            halves = []
            for kind in rules.hand_types:
                made = {s: kind.reference.from_game_or_none(holes[s], board) for s in contenders}
                known = {seat: hand for seat, hand in made.items() if hand is not None}
                if known:
                    best = max(known.values())
                    halves.append([seat for seat, hand in known.items() if hand == best])
            for winners in halves:
                for seat in winners:
                    shares[seat] += Fraction(layer, len(boards) * len(halves) * len(winners))
    return shares


@given(setups(raked=False), seeds)
@settings(max_examples=150, deadline=None)
def test_each_layer_of_the_pot_goes_to_its_best_hands(setup: HandSetup, seed: int) -> None:
    # Nobody folds for nothing, so no layer is without somebody who may win it.
    hand, events = play(setup, random.Random(seed), free_folds=False)
    won = {winner.seat_index: winner.amount for winner in hand.winners()}
    if not any(isinstance(event, Showdown) for event in events):
        return
    shares = fair_shares(setup, hand, won)
    odd_chips = 3 * len(cast(PotDistributed, events[-1]).pots) * len(hand.boards)
    for seat in {*won, *shares}:
        assert abs(won.get(seat, 0) - shares[seat]) <= odd_chips


class PotLimitOmahaHighLow(PotLimitPokerMixin, OmahaHoldemMixin, UnfixedLimitHoldem):
    """PokerKit has this game with fixed limits only."""

    hand_types = (OmahaHoldemHand, OmahaEightOrBetterLowHand)


PLAIN_GAMES: dict[str, tuple[type[Holdem], tuple[int, ...]]] = {
    "nlhe": (NoLimitTexasHoldem, (100,)),
    "plo": (PotLimitOmahaHoldem, (100,)),
    "plo8": (PotLimitOmahaHighLow, (100,)),
    "shortdeck": (NoLimitShortDeckHoldem, (100,)),
    "flhe": (FixedLimitTexasHoldem, (100, 200)),
}


def plain_pokerkit(setup: HandSetup, hand: Hand) -> State:
    """Play the same hand on PokerKit as it comes, with its own hand types and deck."""
    players = setup.seats if len(setup.seats) > 2 else setup.seats[::-1]
    game, bets = PLAIN_GAMES[setup.variant]
    forced: tuple[Any, ...] = (setup.small_blind, setup.big_blind, setup.straddle)
    button = 0 if len(players) == 2 else -1
    antes: Any = {"big_blind": {1: setup.ante}, "button": {button: setup.ante}}.get(
        setup.ante_kind, setup.ante
    )
    trims = setup.ante_kind == "all"
    start = game(
        AUTOMATIONS, trims, antes, 0 if setup.bomb_pot else forced, *bets, mode=Mode.CASH_GAME
    )
    cards = iter(setup.deck[VARIANTS[setup.variant].hole_cards * len(players) :])
    if setup.bomb_pot:
        holes, flop, turn, river = start.streets
        start.streets = (
            replace(flop, hole_dealing_statuses=holes.hole_dealing_statuses),
            turn,
            river,
        )
    state = start(tuple(seat.chips for seat in players), len(players))
    for player, seat in enumerate(players):
        state.deal_hole("".join(hand.hole_cards(seat.seat_index)), player)
    taken = iter(hand.actions)
    while state.status:
        if state.can_select_runout_count():
            state.select_runout_count(hand.runouts)
            continue
        if state.actor_index is None:
            if state.can_burn_card():
                state.burn_card(next(cards))
            state.deal_board("".join(next(cards) for _ in range(state.board_dealing_count or 0)))
            continue
        action = next(taken)
        assert players[state.actor_index].seat_index == action.seat_index
        if action.action == "FOLD":
            state.fold()
        elif action.raise_to is None:
            state.check_or_call()
        else:
            state.complete_bet_or_raise_to(action.raise_to)
    return state


@pytest.mark.parametrize("variant", VARIANTS)
@given(data=st.data(), seed=seeds)
@settings(max_examples=40)
def test_stacks_come_out_as_pokerkit_has_them(variant: str, data: st.DataObject, seed: int) -> None:
    # With four players, or more boards, PokerKit splits a pot in which nobody has a low.
    most = 3 if variant == "plo8" else 10
    setup = data.draw(setups(raked=False, variants=[variant], max_players=most))
    if variant == "plo8":
        setup = msgspec.structs.replace(setup, run_it_times=1)
    hand, _ = play(setup, random.Random(seed), free_folds=False)
    state = plain_pokerkit(setup, hand)
    stacks = hand.chips()
    players = setup.seats if len(setup.seats) > 2 else setup.seats[::-1]
    assert state.stacks == [stacks[seat.seat_index] for seat in players]
