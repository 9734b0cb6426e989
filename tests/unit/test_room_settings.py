"""Settings of new and of running rooms: SPEC section 3."""

import pytest

from game.room_settings import changed_settings, settings_for_new_room
from protocol.errors import Refused
from protocol.values import BombPot, RoomSettings, SettingsPatch


def test_a_new_room_has_the_defaults_of_the_contract() -> None:
    settings = settings_for_new_room(SettingsPatch())
    assert settings == RoomSettings(
        name="Table",
        turn_seconds=20,
        time_bank_seconds=60,
        auto_start=True,
        requires_approval=True,
        spectators_allowed=True,
        rake_basis_points=0,
        rake_cap=0,
        is_private=False,
        small_blind=50,
        big_blind=100,
        min_buy_in=2_000,
        max_buy_in=10_000,
    )


@pytest.mark.parametrize(
    ("patch", "expected"),
    [
        (SettingsPatch(big_blind=20), (10, 20, 400, 2_000)),
        (SettingsPatch(big_blind=1), (1, 1, 20, 100)),
        (SettingsPatch(small_blind=5), (5, 10, 200, 1_000)),
        (SettingsPatch(big_blind=20, max_buy_in=100), (10, 20, 100, 100)),
        (SettingsPatch(big_blind=20, min_buy_in=5_000), (10, 20, 5_000, 5_000)),
    ],
)
def test_what_is_left_out_follows_from_the_stakes(
    patch: SettingsPatch, expected: tuple[int, int, int, int]
) -> None:
    made = settings_for_new_room(patch)
    assert (made.small_blind, made.big_blind, made.min_buy_in, made.max_buy_in) == expected


@pytest.mark.parametrize(
    ("patch", "field"),
    [
        (SettingsPatch(small_blind=200), "small_blind"),
        (SettingsPatch(min_buy_in=20_000), "min_buy_in"),
        (SettingsPatch(name="   "), "name"),
        (SettingsPatch(straddle=100), "straddle"),
        (SettingsPatch(straddle=199), "straddle"),
    ],
)
def test_settings_that_contradict_each_other_are_refused_by_field(
    patch: SettingsPatch, field: str
) -> None:
    with pytest.raises(Refused) as caught:
        changed_settings(RoomSettings(), patch)
    assert caught.value.details == {"field": field}


def test_a_change_leaves_the_rest_as_it_is() -> None:
    current = RoomSettings(name="Deep", ante=3)
    assert changed_settings(current, SettingsPatch(ante=4)) == RoomSettings(name="Deep", ante=4)


def test_a_straddle_is_none_or_two_big_blinds_and_more() -> None:
    straddled = changed_settings(RoomSettings(), SettingsPatch(straddle=200))
    assert straddled.straddle == 200
    with pytest.raises(Refused) as caught:
        changed_settings(straddled, SettingsPatch(big_blind=101))
    assert caught.value.details == {"field": "straddle"}
    assert changed_settings(straddled, SettingsPatch(straddle=0)).straddle == 0


def test_bomb_pots_can_be_switched_on_and_off() -> None:
    on = settings_for_new_room(SettingsPatch(bomb_pot=BombPot(every_n_hands=5, amount=300)))
    assert on.bomb_pot == BombPot(every_n_hands=5, amount=300)
    assert changed_settings(on, SettingsPatch(ante=1)).bomb_pot == on.bomb_pot
    assert changed_settings(on, SettingsPatch(bomb_pot=None)).bomb_pot is None
