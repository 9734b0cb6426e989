"""Running a room: start, pause, settings, hand over, close, fixed decks."""

import pytest

from game.changes import AuditEntry, HandOpened, RoomPut
from game.poker.variants import VARIANTS
from protocol import commands
from protocol.errors import ErrorCode, Refused
from protocol.events import GameStarted, HandComplete, HostChanged, RoomClosed, SettingsChanged
from protocol.replies import RoomReply, SeatLeft
from protocol.values import SettingsPatch
from tests.support.hands import rigged_deck
from tests.support.rooms import HAND_INTERVAL_MS, HOST, STAFF, Table


def refusal_of(table: Table, user_id: str, command: commands.AnyRoomCommand) -> Refused:
    with pytest.raises(Refused) as caught:
        table.do(user_id, command)
    return caught.value


def seated(**settings: object) -> Table:
    table = Table(**settings)
    table.sit(("ann", 0), ("bob", 1))
    return table


def test_a_game_starts_by_itself_once_two_are_ready() -> None:
    table = Table()
    table.sit(("ann", 0))
    assert table.state.game is None
    table.sit(("bob", 1))
    assert table.names() == ["player_seated", "game_started"]
    assert table.state.status == "playing"
    table.wait(HAND_INTERVAL_MS - 1)
    assert table.state.hand is None
    table.wait(1)
    assert table.names()[0] == "hand_started"


def test_with_auto_start_off_each_hand_waits_for_the_host() -> None:
    table = seated(auto_start=False)
    assert table.state.game is None
    table.do(HOST, commands.Start())
    assert table.names()[:2] == ["game_started", "hand_started"]
    table.fold_out()
    assert table.event(HandComplete).next_hand_at is None
    table.wait(10 * HAND_INTERVAL_MS)
    assert table.state.hand is None
    table.do(HOST, commands.Start())
    assert table.hand.setup.number == 2


def test_start_begins_the_next_hand_at_once() -> None:
    table = seated()
    table.do(HOST, commands.Start())
    assert table.state.hand is not None
    assert [row.action for row in table.rows(AuditEntry)] == ["start"]


def test_start_is_refused_in_a_hand_while_paused_and_without_two_players() -> None:
    table = Table()
    table.sit(("ann", 0))
    assert refusal_of(table, HOST, commands.Start()).code is ErrorCode.CONFLICT
    table.sit(("bob", 1))
    table.deal()
    assert refusal_of(table, HOST, commands.Start()).code is ErrorCode.CONFLICT
    table.fold_out()
    table.do(HOST, commands.Pause())
    assert refusal_of(table, HOST, commands.Start()).code is ErrorCode.CONFLICT


def test_a_pause_takes_effect_after_the_hand() -> None:
    table = seated()
    table.deal()
    table.do(HOST, commands.Pause())
    assert table.names() == ["game_paused"]
    table.act("FOLD")
    assert table.names()[-1] == "hand_complete"
    table.wait(10 * HAND_INTERVAL_MS)
    assert table.names() == []
    assert refusal_of(table, HOST, commands.Pause()).code is ErrorCode.CONFLICT
    table.do(HOST, commands.Resume())
    assert table.names() == ["game_resumed"]
    table.deal()
    assert refusal_of(table, HOST, commands.Resume()).code is ErrorCode.CONFLICT


def test_settings_apply_at_once_between_hands() -> None:
    table = seated()
    reply = table.do(HOST, commands.ChangeSettings(settings=SettingsPatch(big_blind=20)))
    assert isinstance(reply, RoomReply)
    assert reply.room.big_blind == 20
    assert table.event(SettingsChanged).settings.big_blind == 20
    assert table.deal().setup.big_blind == 20


def test_settings_changed_in_a_hand_apply_from_the_next() -> None:
    table = seated()
    table.deal()
    table.do(HOST, commands.ChangeSettings(settings=SettingsPatch(big_blind=20)))
    table.do(STAFF, commands.ChangeSettings(settings=SettingsPatch(ante=1)))
    assert table.hand.setup.big_blind == table.state.settings.big_blind == 10
    table.fold_out()
    setup = table.deal().setup
    assert (setup.big_blind, setup.ante) == (20, 1)


@pytest.mark.parametrize(
    ("command", "field"),
    [
        (commands.ChangeSettings(), "settings"),
        (commands.ChangeSettings(settings=SettingsPatch(small_blind=11)), "small_blind"),
        (commands.ChangeSettings(settings=SettingsPatch(max_seats=4)), "max_seats"),
    ],
)
def test_settings_that_cannot_be_are_refused_by_field(
    command: commands.ChangeSettings, field: str
) -> None:
    table = Table()
    table.sit(("ann", 4))
    assert refusal_of(table, HOST, command).details == {"field": field}


def test_switching_auto_start_off_takes_the_next_hand_back() -> None:
    table = seated()
    table.do(HOST, commands.ChangeSettings(settings=SettingsPatch(auto_start=False)))
    table.wait(10 * HAND_INTERVAL_MS)
    assert table.state.hand is None


def test_the_room_is_handed_to_a_member_only() -> None:
    table = seated()
    assert refusal_of(table, HOST, commands.TransferHost(user_id="zoe")).code is ErrorCode.NOT_FOUND
    assert refusal_of(table, HOST, commands.TransferHost(user_id=HOST)).code is ErrorCode.CONFLICT
    table.do(HOST, commands.TransferHost(user_id="ann"))
    changed = table.event(HostChanged)
    assert (changed.host_id, changed.previous_host_id) == ("ann", HOST)
    table.do("ann", commands.Pause())
    assert refusal_of(table, HOST, commands.Resume()).code is ErrorCode.FORBIDDEN


def test_somebody_on_the_way_out_does_not_become_host() -> None:
    table = seated()
    table.sit(("cat", 2))
    table.deal()
    table.do(HOST, commands.Kick(user_id="cat"))
    refused = refusal_of(table, HOST, commands.TransferHost(user_id="cat"))
    assert refused.code is ErrorCode.NOT_FOUND


def test_closing_sends_all_stacks_home_and_ends_the_room() -> None:
    table = seated()
    reply = table.do(HOST, commands.CloseRoom(reason="late"))
    assert isinstance(reply, SeatLeft)
    assert not reply.pending
    assert table.names() == ["player_left_seat", "player_left_seat", "room_closed"]
    assert table.event(RoomClosed).reason == "late"
    assert table.state.status == "closed"
    assert not any(table.wallets.values())
    for user_id, command in ((HOST, commands.Start()), ("zoe", commands.Join())):
        assert refusal_of(table, user_id, command).code is ErrorCode.ROOM_CLOSED


def test_closing_waits_for_the_hand_and_lets_nobody_sit_down() -> None:
    table = seated()
    table.deal()
    reply = table.do(HOST, commands.CloseRoom())
    assert isinstance(reply, SeatLeft)
    assert reply.pending
    table.do("cat", commands.Join())
    refused = refusal_of(table, "cat", commands.Seat(seat_index=2, buy_in=500))
    assert refused.code is ErrorCode.CONFLICT
    assert refusal_of(table, HOST, commands.CloseRoom()).code is ErrorCode.CONFLICT
    table.fold_out()
    assert table.names()[-1] == "room_closed"
    assert table.state.closed
    assert not table.state.seats


def test_decks_are_fixed_by_staff_and_only_where_configured() -> None:
    table = seated()
    command = commands.RigDeck(cards=["Ah"])
    assert refusal_of(table, STAFF, command).code is ErrorCode.FORBIDDEN
    table.rigging = True
    assert refusal_of(table, HOST, command).code is ErrorCode.FORBIDDEN
    twice = commands.RigDeck(cards=["Ah", "Ah"])
    assert refusal_of(table, STAFF, twice).code is ErrorCode.BAD_REQUEST


def test_a_fixed_deck_is_dealt_once() -> None:
    table = seated()
    table.rigging = True
    deck = rigged_deck(["AhAd", "KsKc"], "2c3d4h5s7c")
    table.do(STAFF, commands.RigDeck(cards=list(deck[:12])))
    hand = table.deal()
    assert hand.hole_cards(hand.small_blind_seat) == ["Ah", "Ad"]
    assert hand.hole_cards(hand.big_blind_seat) == ["Ks", "Kc"]
    (opened,) = table.rows(HandOpened)
    assert opened.deck[:24] == "".join(deck[:12])
    assert len(opened.deck) == 104
    (room,) = table.rows(RoomPut)
    assert room.rigged_deck is None, "nor is it dealt again after a restart"
    table.fold_out()
    again = table.deal()
    assert again.setup.deck[:12] != deck[:12]
    assert not table.rows(RoomPut), "a hand like any other leaves the room's own row alone"


def test_a_room_switches_variants_between_hands_and_a_fixed_deck_is_the_next_ones() -> None:
    table = seated(max_seats=4)
    table.rigging = True
    played = []
    for variant in [*VARIANTS, *VARIANTS]:
        hand = table.deal()
        played.append(hand.setup.variant)
        change = SettingsPatch(variant=variant)
        table.do(HOST, commands.ChangeSettings(settings=change))
        assert table.hand.setup.variant == played[-1], "a running hand stays what it is"
        rules = VARIANTS[variant]
        deck = rules.deck[::-1]
        if "2c" not in deck:
            below = commands.RigDeck(cards=["2c"])
            assert refusal_of(table, STAFF, below).details == {"field": "cards"}
        table.do(STAFF, commands.RigDeck(cards=list(deck)))
        table.fold_out()
        hand = table.deal()
        played.append(hand.setup.variant)
        assert hand.setup.deck == deck
        assert len(hand.hole_cards(hand.big_blind_seat)) == rules.hole_cards
        table.fold_out()
    assert played[1::2] == [*VARIANTS, *VARIANTS]


def test_a_fixed_deck_loses_the_cards_that_a_new_variant_has_not() -> None:
    table = seated()
    table.rigging = True
    table.do(STAFF, commands.RigDeck(cards=["2c", "Ah", "3d", "Kh"]))
    table.do(HOST, commands.ChangeSettings(settings=SettingsPatch(variant="shortdeck")))
    hand = table.deal()
    assert hand.setup.deck[:2] == ("Ah", "Kh")
    assert sorted(hand.setup.deck) == sorted(VARIANTS["shortdeck"].deck)


def test_the_game_has_one_id_for_the_life_of_the_room() -> None:
    table = Table()
    table.sit(("ann", 0))
    table.sit(("bob", 1))
    started = table.event(GameStarted).game_id
    table.deal()
    table.fold_out()
    assert table.state.game is not None
    assert table.state.game.id == started
