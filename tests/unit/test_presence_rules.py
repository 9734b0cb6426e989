"""Disconnecting and the grace periods: SPEC section 3."""

from game.presence import Gone, Seen, Unseen
from game.roles import role_of
from protocol import commands
from protocol.events import PlayerDisconnected, PlayerSatOut, SeatFreed
from tests.support.rooms import HOST, START, Table


def seated() -> Table:
    table = Table()
    table.sit(("ann", 0), ("bob", 1), ("cat", 2))
    return table


def test_unseen_between_hands_is_told_and_sits_out() -> None:
    table = seated()
    table.internal(Unseen("ann", START))
    assert table.names() == ["player_disconnected", "player_sat_out"]
    assert table.event(PlayerDisconnected).last_seen_at == START
    assert table.event(PlayerSatOut).reason == "disconnected"
    table.internal(Unseen("ann", START))
    assert table.names() == []


def test_unseen_in_a_hand_leaves_the_clock_to_act_and_sits_out_after() -> None:
    table = seated()
    table.deal()
    table.internal(Unseen("ann", START))
    assert table.names() == ["player_disconnected"]
    assert table.actor.user_id == "ann"
    table.wait(80_000)
    table.fold_out()
    assert table.state.seats[0].status == "sitting_out"
    assert table.event(PlayerSatOut).user_id == "ann"


def test_who_is_back_is_told_and_sits_in_by_asking() -> None:
    table = seated()
    table.internal(Unseen("ann", START))
    table.internal(Seen("ann"))
    assert table.names() == ["player_reconnected"]
    table.do("ann", commands.SitIn())
    table.internal(Seen("ann"))
    assert table.names() == []


def test_gone_frees_the_seat_and_the_stack_goes_home() -> None:
    table = seated()
    table.internal(Unseen("ann", START))
    table.internal(Gone("ann"))
    assert table.names() == ["seat_freed"]
    freed = table.event(SeatFreed)
    assert (freed.seat_index, freed.user_id, freed.chips) == (0, "ann", 1_000)
    assert table.wallets["ann"] == 0
    assert role_of(table.state, "ann") == "approved"


def test_gone_in_a_hand_frees_the_seat_after_it_and_plays_it_to_the_end() -> None:
    table = seated()
    table.deal()
    table.internal(Gone("cat"))
    table.act("CALL")
    table.act("CALL")
    assert table.actor.user_id == "cat", "not folded before the clock says so"
    table.fold_out()
    assert 2 not in table.state.seats
    assert table.event(SeatFreed).user_id == "cat"


def test_back_in_time_keeps_the_seat() -> None:
    table = seated()
    table.deal()
    table.internal(Unseen("cat", START))
    table.internal(Gone("cat"))
    table.internal(Seen("cat"))
    table.fold_out()
    assert table.state.seats[2].user_id == "cat"
    assert table.state.seats[2].status == "active"


def test_a_spectator_unseen_is_dropped() -> None:
    table = Table()
    table.do("ann", commands.Join())
    table.do("ann", commands.Spectate())
    table.internal(Unseen("ann", START))
    assert table.names() == ["spectator_left"]
    assert role_of(table.state, "ann") == "approved"


def test_word_that_no_longer_applies_does_nothing() -> None:
    table = seated()
    for command in (Seen("zoe"), Unseen("zoe", START), Gone("zoe"), Seen("ann")):
        table.internal(command)
        assert table.last.empty
    table.do(HOST, commands.CloseRoom())
    table.internal(Unseen("ann", START))
    assert table.last.empty


def test_disconnecting_frees_no_seat_that_is_kicked_twice() -> None:
    table = seated()
    table.deal()
    table.do(HOST, commands.Kick(user_id="bob"))
    table.internal(Gone("bob"))
    table.internal(Seen("bob"))
    table.fold_out()
    assert "bob" not in table.state.members
