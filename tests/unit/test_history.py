"""A hand history tells what its reader may know, and PokerKit plays it again to the same end."""

import random
import re
import warnings
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pokerkit import HandHistory, NoLimitRoyalHoldem

from game.poker.hand import Hand, HandSetup
from game.poker.hand_types import HighHand
from game.poker.history import History, Particulars, code_of, compose, open_seats
from game.poker.variants import VARIANTS, VariantRules
from tests.support.hands import choose, make_setup, rigged_deck, shuffled_deck
from tests.unit.test_hand_properties import seeds, setups

STARTED = 1_763_632_800_123


def particulars(**given: Any) -> Particulars:
    values: dict[str, Any] = {
        "room_id": "r1",
        "table": "Friday",
        "seat_count": 9,
        "names": {},
        "started_at": STARTED,
        "ended_at": STARTED + 60_000,
        **given,
    }
    return Particulars(**values)


def played(setup: HandSetup, rng: random.Random, *, free_folds: bool = True) -> Hand:
    hand = Hand.start(setup)
    while (seat := hand.actor_seat) is not None:
        hand.act(seat, *choose(hand, rng, free_folds=free_folds))
    if hand.run_it_seats:
        hand.run_out(rng.randint(1, hand.most_runouts))
    return hand


def acted(setup: HandSetup, *actions: tuple[Any, int | None]) -> Hand:
    hand = Hand.start(setup)
    for action, amount in actions:
        assert hand.actor_seat is not None
        hand.act(hand.actor_seat, action, amount)
    assert hand.finished
    return hand


def text_for(hand: Hand, viewer: str | None = None, *, everything: bool = False) -> str:
    return compose(hand, particulars(), open_seats(hand, viewer, everything=everything)).dumps()


def replayed(text: str) -> list[int]:
    """The stacks with which PokerKit's own replay ends."""
    with warnings.catch_warnings():
        # A free check may be folded here; PokerKit says that there is no reason to.
        warnings.filterwarnings("ignore", message="There is no reason")
        warnings.filterwarnings("ignore", message="Due to non-standard folds")
        *_, final = History.loads(text)
    assert not final.status
    return list(final.stacks)


def cards_in(text: str) -> set[str]:
    actions = re.search(r"^actions = (.*)$", text, re.MULTILINE)
    assert actions is not None
    return set(re.findall(r"[2-9TJQKA][cdhs]", re.sub(r"\bd (dh|db)", "", actions[1])))


@st.composite
def of_any_variant(draw: st.DrawFn, raked: bool = True) -> HandSetup:
    name = draw(st.sampled_from(sorted(VARIANTS)))
    deck = list(VARIANTS[name].deck)
    random.Random(draw(seeds)).shuffle(deck)
    return msgspec.structs.replace(draw(setups(raked)), variant=name, deck=tuple(deck))


@given(of_any_variant(raked=False), seeds)
@settings(max_examples=60)
def test_what_any_reader_gets_replays_to_the_stacks_of_the_ledger(
    setup: HandSetup, seed: int
) -> None:
    hand = played(setup, random.Random(seed), free_folds=False)
    expected = [hand.chips()[seat.seat_index] for seat in hand.players]
    readers = [None, *(seat.user_id for seat in setup.seats)]
    texts = [text_for(hand, everything=True), *(text_for(hand, reader) for reader in readers)]
    for text in texts:
        assert replayed(text) == expected
        assert History.loads(text).finishing_stacks == expected


@given(of_any_variant(), seeds)
@settings(max_examples=60)
def test_a_replay_of_a_raked_hand_has_exactly_the_rake_too_much(
    setup: HandSetup, seed: int
) -> None:
    hand = played(setup, random.Random(seed), free_folds=False)
    text = text_for(hand)
    history = History.loads(text)
    assert history.finishing_stacks is not None
    assert history.user_defined_fields["_rake"] == hand.rake
    assert sum(replayed(text)) - sum(history.finishing_stacks) == hand.rake
    winners = {winner.seat_index for winner in hand.winners()}
    for seat, stack, final in zip(
        hand.players, replayed(text), history.finishing_stacks, strict=True
    ):
        assert stack == final or seat.seat_index in winners


@given(of_any_variant(), seeds)
@settings(max_examples=60)
def test_no_card_is_told_that_the_reader_may_not_know(setup: HandSetup, seed: int) -> None:
    hand = played(setup, random.Random(seed))
    for reader in [None, *(seat.user_id for seat in setup.seats)]:
        known = {
            card
            for seat in setup.seats
            if seat.user_id == reader or hand.shown(seat.seat_index)
            for card in hand.hole_cards(seat.seat_index)
        }
        assert cards_in(text_for(hand, reader)) == known | set(hand.board)
    everything = {card for s in setup.seats for card in hand.hole_cards(s.seat_index)}
    assert cards_in(text_for(hand, everything=True)) == everything | set(hand.board)


def test_every_board_is_told_and_replayed_and_the_first_by_any_reader() -> None:
    deck = rigged_deck(["AhAd", "KhKd"], "2c7d9sTc3h")
    setup = make_setup([1_000, 1_000], deck=deck, run_it_times=2)
    hand = Hand.start(setup)
    for _ in range(2):
        assert hand.actor_seat is not None
        hand.act(hand.actor_seat, "ALL_IN", None)
    hand.run_out(2)
    text = text_for(hand)
    boards = History.loads(text).user_defined_fields["_boards"]
    assert boards == ["".join(board) for board in hand.boards]
    assert len(set(boards)) == 2
    assert replayed(text) == [hand.chips()[seat.seat_index] for seat in hand.players]
    *_, first_board_only = HandHistory.loads(text)
    assert not first_board_only.status
    assert [repr(card) for (card,) in first_board_only.board_cards] == hand.board


SHOWDOWN = (("CALL", None), ("CALL", None), ("CHECK", None), *[("CHECK", None)] * 9)


def three_handed(**given: Any) -> HandSetup:
    deck = rigged_deck(["AhKd", "7c2d", "QsQc"], "Qh5s9dTc3h")
    return make_setup([1_000, 1_000, 1_000], deck=deck, **given)


def test_a_history_tells_cards_actions_shows_and_mucks() -> None:
    hand = acted(three_handed(ante=10), *SHOWDOWN)
    history = HandHistory.loads(text_for(hand, "u1"))
    assert history.variant == "NT"
    assert history.antes == [10, 10, 10]
    assert history.ante_trimming_status is True
    assert history.blinds_or_straddles == [50, 100, 0]
    assert history.min_bet == 100
    assert history.actions == [
        *("d dh p1 AhKd", "d dh p2 7c2d", "d dh p3 QsQc"),
        *("p3 cc", "p1 cc", "p2 cc"),
        *("d db Qh5s9d", "p1 cc", "p2 cc", "p3 cc"),
        *("d db Tc", "p1 cc", "p2 cc", "p3 cc"),
        *("d db 3h", "p1 cc", "p2 cc", "p3 cc"),
        *("p1 sm AhKd", "p2 sm", "p3 sm QsQc"),
    ]
    assert "d dh p2 ????" in HandHistory.loads(text_for(hand, "u0")).actions
    assert "d dh p2 ????" in HandHistory.loads(text_for(hand)).actions


def test_a_history_says_who_sat_where_and_when_it_was() -> None:
    hand = acted(three_handed(), *SHOWDOWN)
    names = {9: "Ann", 8: "Ben"}
    history = HandHistory.loads(compose(hand, particulars(names=names), ()).dumps())
    assert history.players == ["Ann", "Ben", "u2"]
    assert history.seats == [10, 9, 8]
    assert history.seat_count == 10
    assert history.starting_stacks == [1_000, 1_000, 1_000]
    assert history.finishing_stacks == [900, 900, 1_200]
    assert history.winnings == [0, 0, 300]
    assert history.hand == 1
    assert history.table == "Friday"
    assert history.time is not None
    assert history.time.isoformat("milliseconds") == "10:00:00.123"
    assert (history.year, history.month, history.day) == (2025, 11, 20)
    assert history.time_zone == "UTC"
    assert history.currency is None
    assert history.user_defined_fields == {
        "_room_id": "r1",
        "_hand_id": "hand-1",
        "_variant": "nlhe",
        "_user_ids": ["u0", "u1", "u2"],
        "_button": 8,
        "_ended_at": "2025-11-20T10:01:00.123+00:00",
        "_rake": 0,
    }


def test_heads_up_the_big_blind_is_first_and_the_button_posts_the_small_one() -> None:
    hand = acted(make_setup([700, 900]), ("FOLD", None))
    history = HandHistory.loads(text_for(hand))
    assert history.user_defined_fields["_user_ids"] == ["u1", "u0"]
    assert history.starting_stacks == [900, 700]
    assert history.blinds_or_straddles == [50, 100]
    assert history.actions == ["d dh p1 ????", "d dh p2 ????", "p2 f"]
    assert history.user_defined_fields["_button"] == 10
    assert replayed(text_for(hand)) == [950, 650]


@pytest.mark.parametrize(
    "name",
    [
        "O'Hara",
        "'",
        "''",
        "it's '''it'",
        "x''', 'y",
        "']\nvariant = 'FT'",
        '"',
        "a\\",
        "#1",
        "é👩‍👩‍👧",
    ],
)
def test_no_name_breaks_out_of_its_quotes(name: str) -> None:
    hand = acted(make_setup([700, 900]), ("FOLD", None))
    about = particulars(names={9: name}, table=name)
    history = HandHistory.loads(compose(hand, about, ()).dumps())
    assert history.variant == "NT"
    assert history.players is not None
    assert len(history.players) == 2
    assert history.players[1] == history.table
    if "'''" not in name and "\n" not in name:
        assert history.table == name


def test_a_pot_that_nobody_left_could_win_is_told_as_such() -> None:
    """PokerKit burns these chips in its replay, so the history says who had them."""
    hand = next(
        hand
        for seed in range(2_000)
        for hand in [
            played(
                make_setup([200, 300, 5_000, 5_000], deck=shuffled_deck(seed)), random.Random(seed)
            )
        ]
        if hand.state.abandoned is not None and sum(hand.state.statuses) > 1
    )
    history = HandHistory.loads(text_for(hand))
    number, chips = history.user_defined_fields["_abandoned"]
    assert history.finishing_stacks is not None
    missing = [
        a - b for a, b in zip(history.finishing_stacks, replayed(text_for(hand)), strict=True)
    ]
    assert missing == [chips if i + 1 == number else 0 for i in range(4)]


def test_a_bomb_pot_begins_on_the_flop_and_any_reader_checks_everybody_through_to_it() -> None:
    hand = acted(three_handed(ante=50, bomb_pot=True), *[("CHECK", None)] * 9)
    text = text_for(hand)
    history = History.loads(text)
    assert history.user_defined_fields["_bomb_pot"] is True
    assert history.blinds_or_straddles == [0, 0, 0]
    assert next(a for a in history.actions if not a.startswith("d dh")) == "d db Qh5s9d"
    expected = [hand.chips()[seat.seat_index] for seat in hand.players]
    assert replayed(text) == expected
    *_, final = HandHistory.loads(text)
    assert (final.status, list(final.stacks)) == (False, expected)


def test_every_variant_has_a_code_of_its_own() -> None:
    codes = {name: code_of(rules) for name, rules in VARIANTS.items()}
    assert codes.items() >= {"nlhe": "NT", "plo": "PO", "plo8": "PO/8", "flhe": "FT"}.items()
    assert codes["shortdeck"] == "NS"
    assert len(set(codes.values())) == len(codes)
    assert set(codes.values()) <= History.required_field_names.keys() & History.game_types.keys()
    assert code_of(VariantRules("royal", NoLimitRoyalHoldem, (HighHand,))) == "royal"


def test_hi_lo_omaha_without_fixed_limits_is_read_and_split() -> None:
    history = History(
        variant=code_of(VARIANTS["plo8"]),
        antes=[0, 0],
        blinds_or_straddles=[1, 2],
        min_bet=2,
        starting_stacks=[100, 100],
        actions=[
            *("d dh p1 Ah2hKcQc", "d dh p2 KdKhQdJs", "p2 cc", "p1 cc", "d db 3s4d8c"),
            *("p1 cbr 4", "p2 cc", "d db Ks", "p1 cc", "p2 cc", "d db 9d", "p1 cc", "p2 cc"),
            *("p1 sm Ah2hKcQc", "p2 sm KdKhQdJs"),
        ],
    )
    *_, final = History.loads(history.dumps())
    assert final.stacks == [100, 100]
