"""Room settings: defaults that follow from the stakes, and the rules that need two fields."""

from typing import Any

from msgspec import UNSET, convert, structs

from game.poker.variants import VARIANTS
from protocol.errors import bad_field
from protocol.values import RoomSettings, SettingsPatch

MIN_BUY_IN_BLINDS = 20
MAX_BUY_IN_BLINDS = 100
MIN_STRADDLE_BLINDS = 2


def settings_for_new_room(patch: SettingsPatch) -> RoomSettings:
    """Complete the settings of a new room.

    A missing small blind is half the big one (and the other way round), missing buy-in limits are
    20 and 100 big blinds, a missing number of seats is what the variant's deck allows.

    Raises:
        Refused: `bad_request` with the field at fault.
    """
    given = _given(patch)
    if "big_blind" in given:
        given.setdefault("small_blind", max(1, given["big_blind"] // 2))
    elif "small_blind" in given:
        given["big_blind"] = given["small_blind"] * 2
    big_blind = given.get("big_blind", RoomSettings().big_blind)
    if "min_buy_in" not in given:
        ceiling = given.get("max_buy_in", big_blind * MIN_BUY_IN_BLINDS)
        given["min_buy_in"] = min(big_blind * MIN_BUY_IN_BLINDS, ceiling)
    if "max_buy_in" not in given:
        given["max_buy_in"] = max(big_blind * MAX_BUY_IN_BLINDS, given["min_buy_in"])
    settings = convert(given, RoomSettings)
    if "max_seats" not in given and settings.variant in VARIANTS:
        most = VARIANTS[settings.variant].max_players
        settings = structs.replace(settings, max_seats=min(settings.max_seats, most))
    return _checked(settings)


def changed_settings(current: RoomSettings, patch: SettingsPatch) -> RoomSettings:
    """Apply a change to settings.

    Raises:
        Refused: `bad_request` with the field at fault.
    """
    return _checked(structs.replace(current, **_given(patch)))


def _given(patch: SettingsPatch) -> dict[str, Any]:
    return {
        name: value
        for name in patch.__struct_fields__
        if (value := getattr(patch, name)) is not UNSET
    }


def _checked(settings: RoomSettings) -> RoomSettings:
    for low, high in (("small_blind", "big_blind"), ("min_buy_in", "max_buy_in")):
        if getattr(settings, low) > getattr(settings, high):
            raise bad_field(low, f"{low} must not be above {high}.")
    if 0 < settings.straddle < MIN_STRADDLE_BLINDS * settings.big_blind:
        raise bad_field("straddle", f"A straddle is {MIN_STRADDLE_BLINDS} big blinds or more.")
    rules = VARIANTS.get(settings.variant)
    if rules is None:
        raise bad_field("variant", f"The variants are {', '.join(VARIANTS)}.")
    if settings.max_seats > rules.max_players:
        raise bad_field(
            "max_seats", f"The deck of {rules.name} is for {rules.max_players} players."
        )
    if not settings.name.strip():
        raise bad_field("name", "The name must not be blank.")
    return settings
