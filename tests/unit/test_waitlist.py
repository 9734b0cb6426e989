"""The waitlist's rules: who waits, who is called to which seat, how waiting ends, who is told."""

from typing import Any

import pytest
from msgspec import UNSET

from game.changes import AuditEntry, WaitlistPut
from game.decide import next_deadline
from game.presence import Gone, TakenOver
from game.state import Ban
from game.waitlist.steps import MAX_WAITING
from protocol import commands
from protocol.errors import ErrorCode, Refused
from protocol.events import (
    MembershipApproved,
    PlayerApproved,
    PlayerSeated,
    RoomClosed,
    SeatOffered,
    WaitlistEnded,
    WaitlistPosition,
    WaitlistUpdate,
)
from protocol.replies import EntryReply, WaitlistAccepted, WaitlistJoined, WaitlistSeated
from protocol.values import SettingsPatch
from protocol.views import WaitlistEntry
from tests.support.rooms import HOST, SEAT_OFFER_MS, STAFF, Table


@pytest.fixture
def table() -> Table:
    """Three seats, all taken, no hand running; only the host lets people in."""
    table = Table(max_seats=3, auto_start=False)
    table.sit((HOST, 0), ("ann", 1), ("bob", 2))
    patch = SettingsPatch(requires_approval=True)
    table.do(HOST, commands.ChangeSettings(settings=patch))
    return table


def join(table: Table, user_id: str, /, **wishes: Any) -> WaitlistEntry:
    reply = table.do(user_id, commands.WaitlistJoin(**wishes))
    assert isinstance(reply, WaitlistJoined)
    assert not reply.already_waiting
    assert reply.seq == table.state.seq
    return reply.entry


def free(table: Table, player_id: str) -> None:
    table.do(player_id, commands.LeaveSeat())


def refusal_of(table: Table, user_id: str, command: commands.AnyRoomCommand) -> Refused:
    with pytest.raises(Refused) as caught:
        table.do(user_id, command)
    return caught.value


def order(table: Table) -> list[str]:
    return [entry.player_id for entry in table.state.waitlist]


def changes(table: Table) -> list[tuple[str, str, int | None]]:
    """What the last decision told of the waitlist: change, player, place."""
    found = [event for event in table.events() if isinstance(event, WaitlistUpdate)]
    return [(event.change, event.player_id, event.position) for event in found]


def told_to(table: Table, user_id: str) -> list[Any]:
    return [event for user, event in table.last.personal if user == user_id]


def ended(table: Table) -> list[tuple[str, str]]:
    """Whose waiting ended how in the last decision, as it is stored."""
    return [(r.player_id, r.status) for r in table.rows(WaitlistPut) if r.position is None]


def audited(table: Table) -> list[tuple[str, str, str | None]]:
    return [(row.user_id, row.action, row.subject_id) for row in table.rows(AuditEntry)]


# Joining


def test_an_entry_holds_what_was_wished_for(table: Table) -> None:
    entry = join(
        table, "kim", seat_number=2, game_type="nlhe", min_buy_in=200, max_buy_in=900, notes="vip"
    )
    assert (entry.player_id, entry.player_name, entry.table_id) == ("kim", "Kim", "room-1")
    assert (entry.position, entry.status, entry.source) == (1, "waiting", "socket")
    assert (entry.seat_number, entry.game_type) == (2, "nlhe")
    assert (entry.min_buy_in, entry.max_buy_in) == (200, 900)
    assert entry.notes is UNSET, "notes are for those who run the room"
    assert table.rows(WaitlistPut)[0].notes == "vip"
    assert changes(table) == [("player_joined", "kim", 1)]
    assert audited(table) == [("kim", "waitlist_join", "kim")]
    (place,) = told_to(table, "kim")
    assert isinstance(place, WaitlistPosition)
    assert (place.position, place.ahead, place.entry_id) == (1, 0, entry.id)


def test_public_entries_hold_no_notes(table: Table) -> None:
    join(table, "kim", notes="owes the house")
    (place,) = table.event(WaitlistUpdate).entries
    assert not hasattr(place, "notes")


def test_the_source_is_the_way_in(table: Table) -> None:
    for source in ("player_portal", "staff_portal"):
        table.source = source
        assert join(table, f"by-{source}").source == source


def test_a_second_join_answers_the_first_entry_and_changes_nothing(table: Table) -> None:
    first = join(table, "kim")
    reply = table.do("kim", commands.WaitlistJoin(seat_number=1, notes="again"))
    assert isinstance(reply, WaitlistJoined)
    assert reply.already_waiting
    assert reply.entry == first
    assert table.last.empty


def test_join_with_a_free_seat_and_nobody_waiting_is_called_at_once(table: Table) -> None:
    free(table, "bob")
    entry = join(table, "kim")
    assert (entry.status, entry.seat_index, entry.position) == ("called", 2, 1)
    assert entry.expires_at == table.now + SEAT_OFFER_MS
    assert changes(table) == [("player_joined", "kim", 1), ("player_called", "kim", 1)]


def test_who_has_a_seat_does_not_wait_for_one(table: Table) -> None:
    refused = refusal_of(table, "ann", commands.WaitlistJoin())
    assert refused.code is ErrorCode.ALREADY_JOINED


def test_who_is_banned_does_not_wait(table: Table) -> None:
    table.state.bans["kim"] = Ban("kim", None, HOST, table.now)
    for user_id, player_id in (("kim", None), (HOST, "kim")):
        refused = refusal_of(table, user_id, commands.WaitlistJoin(player_id=player_id))
        assert refused.code is ErrorCode.FORBIDDEN


def test_buy_in_wishes_must_not_cross(table: Table) -> None:
    refused = refusal_of(table, "kim", commands.WaitlistJoin(min_buy_in=9, max_buy_in=8))
    assert refused.details == {"field": "min_buy_in"}


def test_a_waitlist_has_an_end(table: Table) -> None:
    for number in range(MAX_WAITING):
        join(table, f"p{number}")
    assert refusal_of(table, "kim", commands.WaitlistJoin()).code is ErrorCode.ROOM_FULL
    again = table.do("p0", commands.WaitlistJoin())
    assert isinstance(again, WaitlistJoined), "who waits is answered all the same"


@pytest.mark.parametrize("user_id", [HOST, STAFF])
def test_host_and_staff_add_a_player_who_has_no_client_by_name(table: Table, user_id: str) -> None:
    entry = join(table, user_id, player_name="Old Joe", notes="at the bar")
    assert (entry.player_name, entry.has_client, entry.notes) == ("Old Joe", False, "at the bar")
    assert entry.player_id not in (user_id, "Old Joe")
    assert not table.last.personal
    free(table, "bob")
    assert ("player_called", entry.player_id, 1) in changes(table)
    assert not table.last.personal, "there is nobody to tell but staff"
    assert [event.change for event in table.last.for_staff] == ["player_called"]  # type: ignore[attr-defined]


def test_host_and_staff_add_others_by_id_and_players_only_themselves(table: Table) -> None:
    entry = join(table, STAFF, player_id="kim", player_name="Kim K.")
    assert (entry.player_id, entry.player_name, entry.has_client) == ("kim", "Kim K.", True)
    assert audited(table) == [(STAFF, "waitlist_join", "kim")]
    refused = refusal_of(table, "ann", commands.WaitlistJoin(player_id="leo"))
    assert refused.code is ErrorCode.FORBIDDEN
    assert join(table, "leo", player_id="leo", player_name="Leo L.").player_name == "Leo L."


# Being called


def test_a_seat_that_comes_free_calls_the_first_in_line(table: Table) -> None:
    kim, leo = join(table, "kim"), join(table, "leo")
    free(table, "ann")
    assert changes(table) == [("player_called", "kim", 1)]
    (offer,) = told_to(table, "kim")
    assert isinstance(offer, SeatOffered)
    assert (offer.entry_id, offer.seat_index, offer.table_id) == (kim.id, 1, "room-1")
    assert offer.expires_at == table.now + SEAT_OFFER_MS
    assert not told_to(table, "leo")
    assert [e.status for e in table.event(WaitlistUpdate).entries] == ["called", "waiting"]
    assert leo.position == 2
    assert ("server", "waitlist_call", "kim") in audited(table)


def test_a_seat_is_free_for_the_queue_only_after_the_hand(table: Table) -> None:
    join(table, "kim")
    table.do(HOST, commands.Start())
    leaving = next(s.user_id for s in table.state.seats.values() if s is not table.actor)
    free(table, leaving)
    assert changes(table) == []
    table.fold_out()
    assert changes(table) == [("player_called", "kim", 1)]


def test_a_seat_freed_by_the_grace_period_calls_the_first_in_line(table: Table) -> None:
    join(table, "kim")
    table.internal(Gone("ann"))
    assert table.names() == ["seat_freed", "waitlist_update"]


def test_more_seats_call_more_players(table: Table) -> None:
    for player_id in ("kim", "leo", "mia"):
        join(table, player_id)
    table.do(HOST, commands.ChangeSettings(settings=SettingsPatch(max_seats=5)))
    assert [(e.player_id, e.seat_index) for e in table.state.waitlist] == [
        ("kim", 3),
        ("leo", 4),
        ("mia", None),
    ]


def test_the_wished_for_seat_is_offered_where_it_is_free(table: Table) -> None:
    join(table, "kim", seat_number=2)
    free(table, "ann")
    assert table.state.waitlist[0].seat_index == 1, "the wish is a wish"
    table.do("kim", commands.WaitlistLeave())
    free(table, "bob")
    assert join(table, "leo", seat_number=2).seat_index == 2


def test_a_called_seat_is_held(table: Table) -> None:
    join(table, "kim")
    free(table, "ann")
    refused = refusal_of(table, "ann", commands.Seat(seat_index=1, buy_in=500))
    assert refused.code is ErrorCode.SEAT_TAKEN
    assert refused.details == {"seat_index": 1, "held_until": table.now + SEAT_OFFER_MS}


def test_a_held_seat_is_not_taken_off_the_table(table: Table) -> None:
    join(table, "kim", seat_number=2)
    free(table, "bob")
    patch = SettingsPatch(max_seats=2)
    refused = refusal_of(table, HOST, commands.ChangeSettings(settings=patch))
    assert refused.details == {"field": "max_seats"}


# Answering


def test_accepting_seats_with_a_buy_in_without_the_hosts_approval(table: Table) -> None:
    entry = join(table, "kim", player_id="kim", player_name="Kim K.")
    free(table, "ann")
    reply = table.do("kim", commands.WaitlistAccept(entry_id=entry.id, buy_in=700))
    assert isinstance(reply, WaitlistAccepted)
    assert table.event(PlayerSeated).display_name == "Kim K.", "by the name that all know"
    assert (reply.role, reply.seat_index, reply.chips) == ("player", 1, 700)
    assert (reply.entry.status, reply.entry.position) == ("seated", None)
    assert table.names() == ["player_approved", "player_seated", "waitlist_update"]
    assert changes(table) == [("player_seated", "kim", None)]
    assert table.state.members["kim"].status == "approved"
    assert table.wallets["kim"] == -700
    assert [(g.user_id, g.role, g.seat_index) for g in table.last.grants] == [("kim", "player", 1)]
    assert ended(table) == [("kim", "seated")]
    assert ("kim", "waitlist_accept", "kim") in audited(table)
    (over,) = told_to(table, "kim")
    assert isinstance(over, WaitlistEnded)
    assert over.status == "seated"


def test_accepting_ends_a_request_to_join_too(table: Table) -> None:
    table.do("kim", commands.Join())
    entry = join(table, "kim")
    free(table, "ann")
    table.do("kim", commands.WaitlistAccept(entry_id=entry.id, buy_in=700))
    assert isinstance(table.event(PlayerApproved), PlayerApproved)
    assert table.state.members["kim"].status == "approved"


@pytest.mark.parametrize("buy_in", [99, 2_001])
def test_the_buy_in_has_the_limits_of_any_seat(table: Table, buy_in: int) -> None:
    entry = join(table, "kim")
    free(table, "ann")
    refused = refusal_of(table, "kim", commands.WaitlistAccept(entry_id=entry.id, buy_in=buy_in))
    assert refused.details == {"field": "buy_in", "min_buy_in": 100, "max_buy_in": 2_000}


def test_only_who_is_called_accepts(table: Table) -> None:
    kim, leo = join(table, "kim"), join(table, "leo")
    free(table, "ann")
    for user_id, entry, code in (
        ("leo", leo.id, ErrorCode.CONFLICT),
        ("leo", kim.id, ErrorCode.FORBIDDEN),
        (HOST, kim.id, ErrorCode.FORBIDDEN),
        ("leo", "no-such-entry", ErrorCode.NOT_FOUND),
    ):
        command = commands.WaitlistAccept(entry_id=entry, buy_in=700)
        assert refusal_of(table, user_id, command).code is code


def test_a_room_that_takes_no_more_people_seats_no_more_from_its_waitlist(table: Table) -> None:
    entry = join(table, "kim")
    free(table, "ann")
    table.max_members = len(table.state.members)
    refused = refusal_of(table, "kim", commands.WaitlistAccept(entry_id=entry.id, buy_in=700))
    assert refused.code is ErrorCode.ROOM_FULL


def test_taking_the_held_seat_plainly_accepts_the_offer(table: Table) -> None:
    join(table, "kim")
    free(table, "ann")
    table.do("kim", commands.Seat(seat_index=1, buy_in=500))
    assert ended(table) == [("kim", "seated")]
    assert ("kim", "waitlist_accept", "kim") in audited(table)


def test_who_is_called_still_needs_approval_for_another_seat(table: Table) -> None:
    join(table, "kim")
    free(table, "ann")
    free(table, "bob")
    refused = refusal_of(table, "kim", commands.Seat(seat_index=2, buy_in=500))
    assert refused.code is ErrorCode.NOT_APPROVED


def test_who_sits_down_elsewhere_at_the_table_waits_no_more(table: Table) -> None:
    table.do("kim", commands.Join())
    table.do(HOST, commands.Approve(user_id="kim"))
    join(table, "kim")
    free(table, "ann")
    free(table, "bob")
    table.do("kim", commands.Seat(seat_index=2, buy_in=500))
    assert ended(table) == [("kim", "seated")]
    assert ("kim", "waitlist_seat", "kim") in audited(table)


def test_declining_calls_the_next_in_line(table: Table) -> None:
    entry, _ = join(table, "kim"), join(table, "leo")
    free(table, "ann")
    reply = table.do("kim", commands.WaitlistDecline(entry_id=entry.id))
    assert isinstance(reply, EntryReply)
    assert reply.entry.status == "declined"
    assert reply.seq == table.state.seq
    assert changes(table) == [("player_left", "kim", None), ("player_called", "leo", 1)]
    assert [type(event) for event in told_to(table, "leo")] == [SeatOffered, WaitlistPosition]


def test_only_a_called_player_declines(table: Table) -> None:
    entry = join(table, "kim")
    command = commands.WaitlistDecline(entry_id=entry.id)
    assert refusal_of(table, "kim", command).code is ErrorCode.CONFLICT
    assert refusal_of(table, "ann", command).code is ErrorCode.FORBIDDEN


def test_no_answer_in_a_minute_expires_and_calls_the_next(table: Table) -> None:
    join(table, "kim")
    join(table, "leo")
    free(table, "ann")
    assert next_deadline(table.state) == table.now + SEAT_OFFER_MS
    table.wait(SEAT_OFFER_MS - 1)
    assert changes(table) == []
    table.wait(1)
    assert changes(table) == [("player_expired", "kim", None), ("player_called", "leo", 1)]
    assert ended(table) == [("kim", "expired")]
    assert ("server", "waitlist_expired", "kim") in audited(table)
    (over,) = told_to(table, "kim")
    assert over.status == "expired"
    assert next_deadline(table.state) == table.now + SEAT_OFFER_MS


def test_an_offer_ends_in_time_while_a_hand_is_played(table: Table) -> None:
    join(table, "kim")
    free(table, "ann")
    table.do(HOST, commands.Start())
    actor = table.actor.seat_index
    table.now = (next_deadline(table.state) or 0) - table.actor.time_bank_ms - 1
    table.do(table.actor.user_id, commands.Action(action="CALL"))
    offer_ends = table.state.waitlist[0].expires_at
    assert offer_ends is not None
    assert next_deadline(table.state) == offer_ends
    table.wait(offer_ends - table.now)
    assert order(table) == []
    assert table.actor.seat_index != actor
    assert table.state.clock is not None, "nobody's turn ended by it"


def test_leaving_cancels_who_waits_and_declines_for_who_is_called(table: Table) -> None:
    join(table, "kim")
    entry = join(table, "leo")
    table.do("leo", commands.WaitlistLeave(entry_id=entry.id))
    assert ended(table) == [("leo", "cancelled")]
    free(table, "ann")
    table.do("kim", commands.WaitlistLeave())
    assert ended(table) == [("kim", "declined")]
    assert refusal_of(table, "kim", commands.WaitlistLeave()).code is ErrorCode.NOT_FOUND


def test_nobody_leaves_for_somebody_else(table: Table) -> None:
    entry = join(table, "kim")
    refused = refusal_of(table, "leo", commands.WaitlistLeave(entry_id=entry.id))
    assert refused.code is ErrorCode.FORBIDDEN


def test_positions_close_up_when_one_leaves_and_all_behind_are_told(table: Table) -> None:
    for player_id in ("kim", "leo", "mia"):
        join(table, player_id)
    table.do("kim", commands.WaitlistLeave())
    assert [told_to(table, p)[0].position for p in ("leo", "mia")] == [1, 2]
    assert sorted(r.position for r in table.rows(WaitlistPut) if r.position) == [1, 2]


def test_who_left_may_come_back_in_one_go(table: Table) -> None:
    join(table, "kim")
    table.do("kim", commands.WaitlistLeave())
    again = join(table, "kim")
    assert again.id in table.waitlist.stored
    assert len(table.waitlist.stored) == 2, "ended entries stay as history"


# Staff's steps


@pytest.mark.parametrize(
    "command",
    [
        commands.WaitlistCall(entry_id=""),
        commands.WaitlistSeat(entry_id=""),
        commands.WaitlistMove(entry_id="", position=1),
        commands.WaitlistNoShow(entry_id=""),
    ],
    ids=lambda command: type(command).__name__,
)
def test_only_host_and_staff_run_the_queue(table: Table, command: commands.EntryCommand) -> None:
    command.entry_id = join(table, "kim").id
    for user_id in ("kim", "ann"):
        assert refusal_of(table, user_id, command).code is ErrorCode.FORBIDDEN  # type: ignore[arg-type]
    command.entry_id = "no-such-entry"
    assert refusal_of(table, HOST, command).code is ErrorCode.NOT_FOUND  # type: ignore[arg-type]


def test_nobody_is_called_to_a_table_where_every_seat_is_taken(table: Table) -> None:
    for entry in (join(table, "kim"), join(table, "leo")):
        command = commands.WaitlistCall(entry_id=entry.id)
        assert refusal_of(table, HOST, command).code is ErrorCode.ROOM_FULL


def test_calling_out_of_turn_skips_who_has_had_the_longest_to_answer(table: Table) -> None:
    join(table, "kim")
    leo = join(table, "leo")
    free(table, "ann")
    reply = table.do(STAFF, commands.WaitlistCall(entry_id=leo.id))
    assert isinstance(reply, EntryReply)
    assert (reply.entry.status, reply.entry.seat_index) == ("called", 1)
    kim, _ = table.state.waitlist
    assert (kim.player_id, kim.status, kim.seat_index, kim.expires_at) == (
        "kim",
        "waiting",
        None,
        None,
    )
    assert changes(table) == [("moved", "kim", 1), ("player_called", "leo", 2)]
    assert audited(table) == [(STAFF, "waitlist_skip", "kim"), (STAFF, "waitlist_call", "leo")]
    # The seat is offered to kim no more, and is to leo.
    assert [type(event) for event in told_to(table, "kim")] == [WaitlistPosition]
    assert SeatOffered in [type(event) for event in told_to(table, "leo")]
    # The next seat is kim's, who is first in line.
    free(table, "bob")
    assert changes(table) == [("player_called", "kim", 1)]


def test_calling_again_gives_a_fresh_minute(table: Table) -> None:
    entry = join(table, "kim")
    free(table, "ann")
    table.wait(SEAT_OFFER_MS // 2)
    reply = table.do(STAFF, commands.WaitlistCall(entry_id=entry.id))
    assert isinstance(reply, EntryReply)
    assert (reply.entry.seat_index, reply.entry.expires_at) == (1, table.now + SEAT_OFFER_MS)
    assert isinstance(told_to(table, "kim")[0], SeatOffered)
    assert audited(table) == [(STAFF, "waitlist_call", "kim")]


def test_staff_seat_a_player_with_a_buy_in_from_their_wallet(table: Table) -> None:
    join(table, "kim")
    entry = join(table, "leo")
    free(table, "ann")
    free(table, "bob")
    reply = table.do(STAFF, commands.WaitlistSeat(entry_id=entry.id, buy_in=400))
    assert isinstance(reply, WaitlistSeated)
    assert (reply.seat_index, reply.chips, reply.entry.status) == (2, 400, "seated")
    assert table.wallets["leo"] == -400
    assert [(g.user_id, g.seat_index) for g in table.last.grants] == [("leo", 2)]
    assert any(isinstance(event, MembershipApproved) for event in told_to(table, "leo"))
    assert audited(table) == [(STAFF, "waitlist_seat", "leo")]


def test_a_host_takes_nothing_from_anybodys_wallet(table: Table) -> None:
    entry = join(table, HOST, player_id="kim")
    free(table, "ann")
    command = commands.WaitlistSeat(entry_id=entry.id, buy_in=400)
    assert refusal_of(table, HOST, command).code is ErrorCode.FORBIDDEN


def test_staff_do_not_seat_on_a_seat_held_for_another(table: Table) -> None:
    join(table, "kim")
    entry = join(table, "leo")
    free(table, "ann")
    command = commands.WaitlistSeat(entry_id=entry.id, seat_index=1, buy_in=400)
    assert refusal_of(table, STAFF, command).code is ErrorCode.SEAT_TAKEN
    command = commands.WaitlistSeat(entry_id=entry.id, buy_in=400)
    assert refusal_of(table, STAFF, command).code is ErrorCode.ROOM_FULL


def test_without_a_buy_in_an_entry_is_only_noted_as_seated(table: Table) -> None:
    entry = join(table, HOST, player_name="Old Joe")
    command = commands.WaitlistSeat(entry_id=entry.id, buy_in=400)
    assert refusal_of(table, STAFF, command).details == {"field": "buy_in"}
    reply = table.do(HOST, commands.WaitlistSeat(entry_id=entry.id))
    assert isinstance(reply, WaitlistSeated)
    assert (reply.entry.status, reply.seat_index) == ("seated", UNSET)
    assert not [event for event in table.events() if isinstance(event, PlayerSeated)]


@pytest.mark.parametrize(
    ("position", "after"),
    [(1, ["mia", "kim", "leo"]), (2, ["kim", "mia", "leo"]), (99, ["kim", "leo", "mia"])],
)
def test_staff_move_an_entry_to_any_place(table: Table, position: int, after: list[str]) -> None:
    for player_id in ("kim", "leo"):
        join(table, player_id)
    entry = join(table, "mia")
    reply = table.do(STAFF, commands.WaitlistMove(entry_id=entry.id, position=position))
    assert order(table) == after
    assert isinstance(reply, EntryReply)
    assert reply.entry.position == after.index("mia") + 1
    if position == 99:
        assert table.last.empty, "the place that it had"
    else:
        assert changes(table) == [("moved", "mia", position)]
        assert audited(table) == [(STAFF, "waitlist_move", "mia")]


def test_staff_remove_anybody(table: Table) -> None:
    kim, leo = join(table, "kim"), join(table, "leo")
    free(table, "ann")
    table.do(STAFF, commands.WaitlistRemove(entry_id=kim.id))
    assert ended(table) == [("kim", "cancelled")]
    assert changes(table) == [("player_left", "kim", None), ("player_called", "leo", 1)]
    refused = refusal_of(table, "ann", commands.WaitlistRemove(entry_id=leo.id))
    assert refused.code is ErrorCode.FORBIDDEN
    table.do(HOST, commands.WaitlistLeave(entry_id=leo.id))
    assert ended(table) == [("leo", "cancelled")], "only who is called themselves declines"


def test_a_player_may_remove_themselves(table: Table) -> None:
    entry = join(table, "kim")
    table.do("kim", commands.WaitlistRemove(entry_id=entry.id))
    assert ended(table) == [("kim", "cancelled")]


def test_a_called_player_who_is_not_there_is_a_no_show(table: Table) -> None:
    entry = join(table, "kim")
    command = commands.WaitlistNoShow(entry_id=entry.id)
    assert refusal_of(table, STAFF, command).code is ErrorCode.CONFLICT
    free(table, "ann")
    table.do(STAFF, command)
    assert ended(table) == [("kim", "no_show")]
    assert changes(table) == [("player_left", "kim", None)]


def test_operators_see_notes_in_the_answer(table: Table) -> None:
    entry = join(table, "kim", notes="vip")
    reply = table.do(HOST, commands.WaitlistMove(entry_id=entry.id, position=1))
    assert isinstance(reply, EntryReply)
    assert reply.entry.notes == "vip"


# The room around it


def test_closing_the_room_cancels_everybody_and_tells_them(table: Table) -> None:
    join(table, "kim")
    join(table, "leo")
    free(table, "ann")
    table.do(HOST, commands.CloseRoom())
    assert ended(table) == [("kim", "cancelled"), ("leo", "cancelled")]
    assert isinstance(table.events()[-1], RoomClosed), "which is the last that is told"
    assert [event.status for event in told_to(table, "kim")] == ["cancelled"]


def test_closing_after_the_hand_cancels_everybody_at_once(table: Table) -> None:
    join(table, "kim")
    table.do(HOST, commands.Start())
    table.do(HOST, commands.CloseRoom())
    assert ended(table) == [("kim", "cancelled")]
    assert refusal_of(table, "kim", commands.WaitlistJoin()).code is ErrorCode.CONFLICT


def test_after_a_restart_an_offer_has_its_whole_time_again(table: Table) -> None:
    join(table, "kim")
    join(table, "leo")
    free(table, "ann")
    table.now += 10 * SEAT_OFFER_MS
    table.internal(TakenOver())
    kim = table.state.waitlist[0]
    assert (kim.status, kim.expires_at) == ("called", table.now + SEAT_OFFER_MS)
    assert changes(table) == [("player_called", "kim", 1)]
    assert isinstance(told_to(table, "kim")[0], SeatOffered)


def test_a_kick_ends_waiting_too(table: Table) -> None:
    table.do("kim", commands.Join())
    join(table, "kim")
    table.do(HOST, commands.Kick(user_id="kim"))
    assert ended(table) == [("kim", "cancelled")]


# What writes from outside may leave behind


def test_who_was_banned_or_seated_meanwhile_waits_no_more(table: Table) -> None:
    join(table, "kim")
    join(table, "leo")
    table.state.bans["kim"] = Ban("kim", None, HOST, table.now)
    table.internal(TakenOver())
    assert ended(table) == [("kim", "cancelled")]
    assert order(table) == ["leo"]


def test_a_seat_that_cannot_be_held_goes_back_to_the_queue(table: Table) -> None:
    join(table, "kim")
    free(table, "bob")
    table.state.waitlist[0].seat_index = 1
    table.internal(Gone("nobody"))
    assert changes(table) == [("moved", "kim", 1), ("player_called", "kim", 1)]
    assert table.state.waitlist[0].seat_index == 2
