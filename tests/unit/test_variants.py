"""What sets each variant apart, in hands known beforehand."""

from typing import cast

import pytest
from pokerkit import NoLimitRoyalHoldem

from game.poker import variants
from game.poker.hand import Hand
from game.poker.hand_types import HighHand
from game.poker.variants import VARIANTS, VariantRules
from game.room_settings import changed_settings, settings_for_new_room
from protocol.errors import ErrorCode, Refused
from protocol.events import PotDistributed, PublicEvent, Showdown
from protocol.values import (
    ActionName,
    LegalActions,
    PotAward,
    PotShare,
    RoomSettings,
    SettingsPatch,
    Winner,
)
from tests.support.hands import make_setup, rigged_deck

LOW_BOARD = "2c3d7hKdQs"
KINGS_AND_LOW = "AhKc4hKh"
NINES_AND_LOW = "Ad9c4d9d"
KINGS = "KhKc9s8s"
NOTHING = "JdJhTh9h"


def start(
    variant: str, stacks: list[int], holes: list[str], board: str, rake_basis_points: int = 0
) -> Hand:
    deck = rigged_deck(holes, board, variant)
    setup = make_setup(stacks, variant=variant, deck=deck, rake_basis_points=rake_basis_points)
    return Hand.start(setup)


def play(hand: Hand, *actions: tuple[int, ActionName] | tuple[int, ActionName, int]) -> None:
    for seat, action, *amount in actions:
        hand.act(seat, action, amount[0] if amount else None)


def check_down(hand: Hand) -> list[PublicEvent]:
    """Call and check to the end; return what the last decision tells."""
    events: list[PublicEvent] = []
    while (seat := hand.actor_seat) is not None:
        events = hand.act(seat, "CHECK" if hand.legal().can_check else "CALL", None)[1]
    return events


def pots_of(events: list[PublicEvent]) -> list[PotAward]:
    return cast(PotDistributed, events[-1]).pots


def ranks_of(events: list[PublicEvent]) -> dict[int, str]:
    return {hand.seat_index: hand.rank for hand in cast(Showdown, events[-2]).hands}


def refusal(hand: Hand, action: ActionName, amount: int | None = None) -> Refused:
    assert hand.actor_seat is not None
    with pytest.raises(Refused) as refused:
        hand.act(hand.actor_seat, action, amount)
    return refused.value


# All of them


def test_the_club_plays_five_variants() -> None:
    dealt = {name: (len(rules.deck), rules.hole_cards) for name, rules in VARIANTS.items()}
    five = {
        "nlhe": (52, 2),
        "plo": (52, 4),
        "plo8": (52, 4),
        "shortdeck": (36, 2),
        "flhe": (52, 2),
    }
    assert dealt.items() >= five.items()
    assert all(VARIANTS[name].max_players == 10 for name in five)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_full_table_sees_every_street(variant: str) -> None:
    players = VARIANTS[variant].max_players
    hand = Hand.start(make_setup([1_000] * players, variant=variant))
    seen = {card for seat in hand.setup.seats for card in hand.hole_cards(seat.seat_index)}
    check_down(hand)
    assert len(seen | set(hand.board)) == players * VARIANTS[variant].hole_cards + 5
    assert sum(hand.net().values()) == 0


def test_settings_take_every_variant_and_no_other() -> None:
    for name in VARIANTS:
        assert settings_for_new_room(SettingsPatch(variant=name)).variant == name
        small = RoomSettings(max_seats=2)
        assert changed_settings(small, SettingsPatch(variant=name)).variant == name
    for change in (settings_for_new_room, lambda p: changed_settings(RoomSettings(), p)):
        with pytest.raises(Refused) as refused:
            change(SettingsPatch(variant="badugi"))
        assert (refused.value.code, refused.value.details) == (
            ErrorCode.BAD_REQUEST,
            {"field": "variant"},
        )
        assert "plo8" in str(refused.value)


def test_a_sixth_variant_is_one_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    royal = VariantRules("royal", NoLimitRoyalHoldem, (HighHand,))
    sixth = {**VARIANTS, "royal": royal}
    for module in (variants, *_users_of_variants()):
        monkeypatch.setattr(module, "VARIANTS", sixth)
    assert (len(royal.deck), royal.max_players) == (20, 6)
    assert settings_for_new_room(SettingsPatch(variant="royal")).max_seats == 6
    with pytest.raises(Refused, match="6 players"):
        changed_settings(RoomSettings(), SettingsPatch(variant="royal"))
    with pytest.raises(ValueError, match="2 to 6 players"):
        Hand.start(make_setup([1_000] * 7, variant="royal"))
    hand = Hand.start(make_setup([1_000] * 6, variant="royal"))
    check_down(hand)
    assert hand.finished
    assert min(card[0] for card in hand.board) >= "A"


def _users_of_variants() -> list[object]:
    from game import room_settings
    from game.poker import hand
    from tests.support import hands

    return [room_settings, hand, hands]


# Pot-limit Omaha


def test_the_largest_pot_ever_played_online() -> None:
    """Antonius against Blom, 2009, in quarters of a dollar (PokerKit's documentation has it)."""
    deck = rigged_deck(["6d9s7d8h", "Ah3sKsKh"], "4s5c2h5h9c", "plo")
    setup = make_setup(
        [2_713_894, 5_037_801], variant="plo", small_blind=2_000, big_blind=4_000, deck=deck
    )
    hand = Hand.start(setup)
    blom, antonius = 9, 8
    play(hand, (blom, "RAISE", 12_000), (antonius, "RAISE", 36_000))
    play(hand, (blom, "RAISE", 108_000), (antonius, "RAISE", 324_000), (blom, "CALL"))
    assert hand.board == ["4s", "5c", "2h"]
    play(hand, (antonius, "BET", 364_000), (blom, "RAISE", 1_740_000))
    play(hand, (antonius, "RAISE", 3_116_000), (blom, "CALL"))
    assert hand.chips() == {blom: 0, antonius: 7_751_695}
    assert hand.winners()[0].rank == "straight"


def test_a_bet_is_at_most_the_pot() -> None:
    hand = start("plo", [5_000] * 3, [KINGS, NOTHING, NINES_AND_LOW], LOW_BOARD)
    # To call 100 makes the pot 250: the raise may be 250 more.
    assert hand.legal() == LegalActions(True, False, 100, 200, 350)
    assert refusal(hand, "RAISE", 351).details == {
        "legal": {
            "can_fold": True,
            "can_check": False,
            "call_amount": 100,
            "min_raise_to": 200,
            "max_raise_to": 350,
        },
        "field": "amount",
    }
    play(hand, (7, "RAISE", 350), (9, "CALL"), (8, "CALL"))
    assert hand.legal() == LegalActions(True, True, None, 100, 1_050)


def test_all_in_above_the_pot_is_refused_and_says_what_is_legal() -> None:
    hand = start("plo", [5_000] * 3, [KINGS, NOTHING, NINES_AND_LOW], LOW_BOARD)
    refused = refusal(hand, "ALL_IN")
    assert refused.code == ErrorCode.ILLEGAL_ACTION
    assert "200 to 350" in refused.message
    assert refused.details is not None
    assert refused.details["legal"] == {
        "can_fold": True,
        "can_check": False,
        "call_amount": 100,
        "min_raise_to": 200,
        "max_raise_to": 350,
    }


def test_all_in_within_the_pot_is_a_raise_and_for_the_last_chips_a_call() -> None:
    hand = start("plo", [300, 600, 5_000], [KINGS, NOTHING, NINES_AND_LOW], LOW_BOARD)
    play(hand, (7, "RAISE", 350))
    taken, _ = hand.act(9, "ALL_IN", None)
    assert (taken.amount, taken.raise_to) == (250, None)
    taken, _ = hand.act(8, "ALL_IN", None)
    assert (taken.amount, taken.raise_to) == (500, 600)


def test_omaha_hands_are_two_hole_cards_and_three_of_the_board() -> None:
    # One spade in the hole and four on the board are no flush.
    hand = start("plo", [1_000] * 2, ["As7c8d9h", "QhQd2c3c"], "KsTs6s4sQc")
    events = check_down(hand)
    assert ranks_of(events) == {8: "three of a kind"}
    assert hand.winners() == [Winner(8, "u1", 200, "three of a kind")]


# Pot-limit Omaha hi-lo


def test_one_hand_scoops_high_and_low() -> None:
    hand = start("plo8", [1_000] * 2, [KINGS_AND_LOW, NOTHING], LOW_BOARD)
    events = check_down(hand)
    assert pots_of(events) == [PotAward(200, 0, [PotShare(9, 200)])]
    assert hand.winners() == [Winner(9, "u0", 200, "three of a kind / seven low")]


def test_high_and_low_split_the_pot() -> None:
    hand = start("plo8", [1_000] * 2, [KINGS, NINES_AND_LOW], LOW_BOARD)
    events = check_down(hand)
    assert pots_of(events) == [PotAward(200, 0, [PotShare(9, 100), PotShare(8, 100)])]
    assert ranks_of(events) == {8: "one pair / seven low", 9: "three of a kind"}


def test_who_ties_for_the_low_only_is_quartered() -> None:
    hand = start("plo8", [1_000] * 2, [KINGS_AND_LOW, NINES_AND_LOW], LOW_BOARD)
    events = check_down(hand)
    assert pots_of(events) == [PotAward(200, 0, [PotShare(9, 150), PotShare(8, 50)])]
    assert ranks_of(events) == {
        8: "one pair / seven low",
        9: "three of a kind / seven low",
    }


def test_without_a_low_the_high_hand_takes_it_all() -> None:
    hand = start("plo8", [1_000] * 2, [KINGS, NINES_AND_LOW], "2c3dThKdQs")
    events = check_down(hand)
    assert pots_of(events) == [PotAward(200, 0, [PotShare(9, 200)])]
    assert ranks_of(events)[9] == "three of a kind"


def test_the_odd_chip_goes_to_the_high_hand() -> None:
    deck = rigged_deck([NOTHING, NINES_AND_LOW, KINGS], LOW_BOARD, "plo8")
    setup = make_setup([1_000] * 3, variant="plo8", small_blind=25, big_blind=50, deck=deck)
    hand = Hand.start(setup)
    play(hand, (7, "CALL"), (9, "FOLD"))
    events = check_down(hand)
    assert pots_of(events) == [PotAward(125, 0, [PotShare(7, 63), PotShare(8, 62)])]


def test_a_low_in_the_main_pot_takes_nothing_of_a_side_pot_without_one() -> None:
    holes = ["Ah4hJcTs", KINGS, NOTHING, "QhQc9d9c"]
    hand = start("plo8", [300, 600, 1_000, 1_000], holes, LOW_BOARD)
    play(hand, (7, "RAISE", 350), (6, "CALL"), (9, "ALL_IN"), (8, "ALL_IN"), (7, "ALL_IN"))
    events = hand.act(6, "CALL", None)[1]
    assert pots_of(events) == [
        PotAward(1_200, 0, [PotShare(8, 600), PotShare(9, 600)]),
        PotAward(900, 0, [PotShare(8, 900)]),
        PotAward(800, 0, [PotShare(6, 800)]),
    ]


@pytest.mark.parametrize(
    ("rake", "pots"),
    [
        (
            0,
            [
                PotAward(900, 0, [PotShare(8, 675), PotShare(7, 225)]),
                PotAward(1_400, 0, [PotShare(8, 1_050), PotShare(7, 350)]),
            ],
        ),
        (
            500,
            [
                PotAward(900, 45, [PotShare(8, 642), PotShare(7, 213)]),
                PotAward(1_400, 70, [PotShare(8, 997), PotShare(7, 333)]),
            ],
        ),
    ],
)
def test_pots_with_the_same_winners_are_each_quartered(rake: int, pots: list[PotAward]) -> None:
    holes = [NOTHING, KINGS_AND_LOW, NINES_AND_LOW]
    hand = start("plo8", [300, 1_000, 1_000], holes, LOW_BOARD, rake)
    play(hand, (7, "RAISE", 350), (9, "ALL_IN"), (8, "ALL_IN"))
    assert pots_of(hand.act(7, "CALL", None)[1]) == pots


# Short deck


def test_a_flush_beats_a_full_house() -> None:
    hand = start("shortdeck", [1_000] * 2, ["KhKc", "As9s"], "Ks6s8s8dQh")
    events = check_down(hand)
    assert ranks_of(events) == {8: "flush"}
    assert hand.winners() == [Winner(8, "u1", 200, "flush")]
    full = start("nlhe", [1_000] * 2, ["KhKc", "As9s"], "Ks6s8s8dQh")
    check_down(full)
    assert full.winners() == [Winner(9, "u0", 200, "full house")]


def test_the_ace_counts_below_the_six() -> None:
    hand = start("shortdeck", [1_000] * 2, ["Ah6d", "KhQd"], "7c8d9hKcKs")
    assert ranks_of(check_down(hand)) == {8: "three of a kind", 9: "straight"}
    assert hand.winners() == [Winner(9, "u0", 200, "straight")]
    higher = start("shortdeck", [1_000] * 2, ["Ah6d", "6cTd"], "7c8d9hKcKs")
    check_down(higher)
    assert higher.winners() == [Winner(8, "u1", 200, "straight")]


# Fixed limit


def test_bets_are_the_small_bet_first_and_the_big_bet_on_turn_and_river() -> None:
    hand = start("flhe", [5_000] * 3, ["KhKc", "As9s", "2c3d"], "Ks6s8s8dQh")
    assert hand.legal() == LegalActions(True, False, 100, 200, 200)
    play(hand, (7, "CALL"), (9, "CALL"), (8, "CHECK"))
    for size in (100, 200, 200):
        assert hand.legal() == LegalActions(True, True, None, size, size)
        play(hand, (9, "BET", size))
        assert hand.legal() == LegalActions(True, False, size, 2 * size, 2 * size)
        play(hand, (8, "CALL"), (7, "CALL"))
    assert hand.finished


def test_a_bet_of_fixed_size_needs_no_amount_and_takes_no_other() -> None:
    hand = start("flhe", [5_000] * 3, ["KhKc", "As9s", "2c3d"], "Ks6s8s8dQh")
    taken, _ = hand.act(7, "RAISE", None)
    assert (taken.amount, taken.raise_to) == (200, 200)
    for amount in (299, 301):
        refused = refusal(hand, "RAISE", amount)
        assert refused.code == ErrorCode.ILLEGAL_ACTION
        assert refused.message == "The street bet may become 300."
    play(hand, (9, "RAISE", 300))


def test_raises_are_capped_and_an_all_in_does_not_get_around_it() -> None:
    hand = start("flhe", [5_000, 5_000, 5_000], ["KhKc", "As9s", "2c3d"], "Ks6s8s8dQh")
    play(hand, (7, "RAISE", 200), (9, "RAISE", 300), (8, "RAISE", 400))
    assert refusal(hand, "ALL_IN").message == (
        "The limit is below your stack. The street bet may become 500."
    )
    play(hand, (7, "RAISE", 500))
    assert hand.legal() == LegalActions(True, False, 200, None, None)
    assert refusal(hand, "RAISE", 600).code == ErrorCode.ILLEGAL_ACTION
    refused = refusal(hand, "ALL_IN")
    assert refused.code == ErrorCode.ILLEGAL_ACTION
    assert "no more raises" in refused.message
    play(hand, (9, "CALL"), (8, "CALL"))
    assert hand.phase == "flop"


def test_the_last_chips_may_go_in_below_the_fixed_size() -> None:
    hand = start("flhe", [150, 520, 5_000], ["KhKc", "As9s", "2c3d"], "Ks6s8s8dQh")
    play(hand, (7, "RAISE", 200))
    taken, _ = hand.act(9, "ALL_IN", None)
    assert (taken.amount, taken.raise_to) == (100, None)
    play(hand, (8, "RAISE", 300), (7, "RAISE", 400), (8, "RAISE", 500))
    assert hand.legal() == LegalActions(True, False, 100, None, None)
    play(hand, (7, "CALL"))
    assert hand.legal() == LegalActions(True, True, None, 20, 20)
    taken, _ = hand.act(8, "ALL_IN", None)
    assert (taken.amount, taken.raise_to) == (20, 20)
