"""What rooms announce by push notification, in the unit of what they announce."""

from __future__ import annotations

import msgspec
import pytest

from game.changes import PushQueued
from game.presence import TakenOver
from protocol import commands
from protocol.values import SettingsPatch
from tests.support.rooms import HOST, SEAT_OFFER_MS, STAFF, Table


@pytest.fixture
def table() -> Table:
    """Two seats, both taken, no hand running."""
    table = Table(max_seats=2, auto_start=False, name="Back room")
    table.sit((HOST, 0), ("ann", 1))
    return table


def pushed(table: Table) -> list[PushQueued]:
    return table.rows(PushQueued)


def test_a_seat_that_is_offered_is_announced_for_as_long_as_it_is_held(table: Table) -> None:
    table.do("bob", commands.WaitlistJoin())
    assert pushed(table) == []
    table.do("ann", commands.LeaveSeat())
    (entry,) = table.state.waitlist
    (row,) = pushed(table)
    assert (row.kind, row.user_id, row.at) == ("seat_offer", "bob", table.now)
    assert row.expires_at == entry.expires_at == table.now + SEAT_OFFER_MS
    assert msgspec.json.decode(row.data) == {
        "table_id": table.state.room_id,
        "entry_id": entry.entry_id,
        "seat_index": 1,
        "expires_at": entry.expires_at,
    }
    assert "Back room" in row.body


def test_an_offer_that_is_renewed_is_announced_again_with_its_new_end(table: Table) -> None:
    table.do("bob", commands.WaitlistJoin())
    table.do("ann", commands.LeaveSeat())
    table.now += 10_000
    table.internal(TakenOver())
    (row,) = pushed(table)
    assert row.expires_at == table.now + SEAT_OFFER_MS


def test_a_player_without_a_client_gets_no_push(table: Table) -> None:
    table.do(STAFF, commands.WaitlistJoin(player_name="Walk-in"))
    table.do("ann", commands.LeaveSeat())
    assert table.state.waitlist[0].status == "called"
    assert pushed(table) == []


def test_a_host_who_is_away_hears_of_a_join_request(table: Table) -> None:
    table.do(HOST, commands.ChangeSettings(settings=SettingsPatch(requires_approval=True)))
    table.host_connected = False
    table.do("bob", commands.Join(display_name="Bob B."))
    (row,) = pushed(table)
    assert (row.kind, row.user_id, row.expires_at) == ("join_request", HOST, None)
    assert msgspec.json.decode(row.data) == {
        "room_id": table.state.room_id,
        "user_id": "bob",
        "display_name": "Bob B.",
    }
    assert "Bob B." in row.title


def test_a_host_who_is_there_needs_no_push(table: Table) -> None:
    table.do(HOST, commands.ChangeSettings(settings=SettingsPatch(requires_approval=True)))
    table.do("bob", commands.Join())
    assert pushed(table) == []


def test_who_is_let_in_at_once_is_not_announced(table: Table) -> None:
    table.host_connected = False
    table.do("bob", commands.Join())
    table.do(STAFF, commands.Join())
    assert pushed(table) == []
