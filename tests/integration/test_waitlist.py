"""A waitlist in the database: what its actor holds is what is read back, after every step."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
from msgspec import UNSET

from game.presence import TakenOver, Tick
from game.waitlist.telling import shown_places
from persistence import nodes, waitlist
from persistence.snapshot import read_room, snapshot_for
from protocol import commands
from protocol.errors import ErrorCode, Refused
from protocol.ids import STAFF_PORTAL, UserId, player_channel
from protocol.replies import EntryReply, WaitlistAccepted, WaitlistJoined
from server.waitlist_desk import WaitlistDesk
from tests.integration.test_hydration import books_balance, compare
from tests.support.live_rooms import (
    NODE,
    Club,
    Socket,
    ask,
    attach,
    live_state,
    open_club,
    post,
    running,
)
from tests.support.rooms import HOST, SEAT_OFFER_MS, STAFF, START, comparable, principal

pytestmark = pytest.mark.fail_after(30)

ROOM = "room-1"


@pytest.fixture
async def club(database_url: str) -> AsyncIterator[Club]:
    """A full table of two, with everybody's wallets."""
    async with open_club(database_url) as made:
        await made.make_room(ROOM, max_seats=2, auto_start=False)
        await made.wallets(HOST, "ann", "kim", "leo")
        await made.wallets("poor", balance=0)
        async with running(made.actor()) as actor:
            await ask(actor, HOST, commands.Seat(seat_index=0, buy_in=1_000))
            await ask(actor, "ann", commands.Join())
            await ask(actor, "ann", commands.Seat(seat_index=1, buy_in=1_000))
        yield made


async def join(actor: Any, user_id: str, **fields: Any) -> str:
    reply = await ask(actor, user_id, commands.WaitlistJoin(**fields))
    assert isinstance(reply, WaitlistJoined)
    return reply.entry.id


async def check(club: Club, actor: Any) -> None:
    """Hold the database, its snapshot and the live state against each other."""
    live = live_state(actor)
    await compare(club, ROOM, comparable(live, seen=False))
    stored = await read_room(club.pool, ROOM, HOST)
    assert stored is not None
    seen = snapshot_for(stored, principal(HOST), wanted=None, rejoin_token=None, now=START)
    assert seen.waitlist == shown_places(live)
    queue = await waitlist.queue_of(club.pool, ROOM)
    assert queue is not None
    assert [e.position for e in queue.entries] == list(range(1, len(live.waitlist) + 1))


async def test_every_step_is_in_the_database_when_it_is_answered(club: Club) -> None:
    async with running(club.actor()) as actor:
        kim = await join(actor, "kim", seat_number=1, game_type="nlhe", min_buy_in=5, notes="a\nb")
        await check(club, actor)
        leo = await join(actor, "leo")
        joe = await join(actor, STAFF, player_name="Old Joe")
        await check(club, actor)
        for command in (
            commands.WaitlistMove(entry_id=joe, position=1),
            commands.WaitlistRemove(entry_id=joe),
            commands.LeaveSeat(),
        ):
            await ask(actor, STAFF if "Waitlist" in type(command).__name__ else "ann", command)
            await check(club, actor)
        club.now += 7
        await ask(actor, HOST, commands.WaitlistCall(entry_id=kim))
        await check(club, actor)
        await ask(actor, HOST, commands.WaitlistNoShow(entry_id=kim))
        await check(club, actor)
        reply = await ask(actor, "leo", commands.WaitlistAccept(entry_id=leo, buy_in=500))
        assert isinstance(reply, WaitlistAccepted)
        assert reply.rejoin_token == club.tokens[ROOM, "leo"]
        await check(club, actor)
        await books_balance(club)
    statuses = {e.player_id: e.status for e in await waitlist.entries_of(club.pool, "kim")}
    assert statuses == {"kim": "no_show"}
    kept = await club.one("SELECT count(*) FROM waitlist WHERE position IS NULL")
    assert kept == 3, "ended entries stay"
    audited = "SELECT array_agg(action ORDER BY id) FROM audit_log WHERE action LIKE 'waitlist%%'"
    assert await club.one(audited) == [
        *["waitlist_join"] * 3,
        *["waitlist_move", "waitlist_remove", "waitlist_call", "waitlist_call"],
        *["waitlist_no_show", "waitlist_call", "waitlist_accept"],
    ]
    assert await club.one("SELECT source FROM audit_log WHERE action = 'waitlist_accept'") == (
        "websocket"
    )
    by = "SELECT array_agg(user_id ORDER BY id) FROM audit_log WHERE subject_id = 'leo'"
    assert await club.one(by) == ["leo", "server", "leo"], "nobody called leo by hand"


async def test_who_leaves_and_joins_again_at_once_is_one_unit(club: Club) -> None:
    async with running(club.actor()) as actor:
        await join(actor, "kim")
        posted = [
            post(actor, "kim", commands.WaitlistLeave()),
            post(actor, "kim", commands.WaitlistJoin()),
            post(actor, "leo", commands.WaitlistJoin()),
            post(actor, "kim", commands.WaitlistLeave()),
            post(actor, "kim", commands.WaitlistJoin()),
        ]
        for answered in posted:
            await answered.get()
        await check(club, actor)
        assert [e.player_id for e in live_state(actor).waitlist] == ["leo", "kim"]


async def test_a_command_id_makes_each_step_happen_once_over_restarts_too(club: Club) -> None:
    joins = commands.WaitlistJoin(command_id=str(uuid4()))
    async with running(club.actor()) as actor:
        first = await ask(actor, "kim", joins)
    async with running(club.actor()) as actor:
        assert await ask(actor, "kim", joins) == first
        assert len(live_state(actor).waitlist) == 1
        leaves = commands.WaitlistLeave(command_id=str(uuid4()))
        left = await ask(actor, "kim", leaves)
        await join(actor, "kim")
    async with running(club.actor()) as actor:
        assert await ask(actor, "kim", leaves) == left
        assert len(live_state(actor).waitlist) == 1
        await check(club, actor)


async def test_an_empty_wallet_leaves_the_offer_standing(club: Club) -> None:
    async with running(club.actor()) as actor:
        entry_id = await join(actor, "poor")
        await ask(actor, "ann", commands.LeaveSeat())
        with pytest.raises(Refused) as refused:
            await ask(actor, "poor", commands.WaitlistAccept(entry_id=entry_id, buy_in=500))
        assert refused.value.code is ErrorCode.INSUFFICIENT_BALANCE
        (entry,) = live_state(actor).waitlist
        assert (entry.status, entry.seat_index) == ("called", 1)
        await check(club, actor)


async def test_players_and_staff_are_told_on_their_own_channels(club: Club) -> None:
    staff, kim, room = Socket(STAFF), Socket("kim"), Socket(HOST)
    club.hub.subscribe(STAFF_PORTAL, staff)
    club.hub.subscribe(player_channel(UserId("kim")), kim)
    async with running(club.actor()) as actor:
        (await attach(actor, HOST, room)).release(0)
        entry_id = await join(actor, "kim", notes="secret")
        await ask(actor, "ann", commands.LeaveSeat())
        assert [event["type"] for event in kim.got] == ["waitlist_position", "seat_offered"]
        assert all(event["private"] for event in kim.got)
        updates = [event for event in room.got if event["type"] == "waitlist_update"]
        assert [event["change"] for event in updates] == ["player_joined", "player_called"]
        assert [e | {"channel": "room:room-1"} for e in staff.got] == updates
        assert {event["channel"] for event in staff.got} == {"staff-portal"}
        assert "secret" not in str(room.got)
        # Whoever takes the seat is in the room from then on.
        answered = post(
            actor, "kim", commands.WaitlistAccept(entry_id=entry_id, buy_in=500), socket=kim
        )
        await answered.get()
        assert kim.got[-1]["type"] == "waitlist_ended"
        assert "room:room-1" in {event["channel"] for event in kim.got}
    kinds = "SELECT array_agg(type ORDER BY seq) FROM room_events WHERE type = 'waitlist_update'"
    assert len(await club.one(kinds)) == 3


async def test_a_table_with_nobody_but_who_waits_goes_on_after_a_restart(club: Club) -> None:
    async with running(club.actor()) as actor:
        await ask(actor, "ann", commands.LeaveRoom())
        await ask(actor, HOST, commands.LeaveSeat())
        assert await nodes.live_rooms(club.pool, NODE) == []
        await join(actor, "kim")
        assert await nodes.live_rooms(club.pool, NODE) == [ROOM]
    club.now += 10 * SEAT_OFFER_MS
    actor = club.actor()
    actor.mailbox.put_urgent_nowait(TakenOver())
    async with running(actor):
        reply = await ask(actor, "kim", commands.WaitlistJoin())
        assert isinstance(reply, EntryReply)
        assert (reply.entry.status, reply.entry.expires_at) == ("called", club.now + SEAT_OFFER_MS)
        assert actor.idle_since is None, "an offer is a deadline"
        await check(club, actor)


async def test_an_offer_ends_by_itself(club: Club) -> None:
    async with running(club.actor()) as actor:
        await join(actor, "kim")
        await join(actor, "leo")
        await ask(actor, "ann", commands.LeaveSeat())
        club.now += SEAT_OFFER_MS
        actor.mailbox.put_nowait(Tick())
        await attach(actor, HOST, Socket(HOST))
        assert [e.player_id for e in live_state(actor).waitlist] == ["leo"]
        assert live_state(actor).waitlist[0].status == "called"
        await check(club, actor)
    assert (await waitlist.entries_of(club.pool, "kim"))[0].status == "expired"


async def test_a_command_finds_its_table_and_the_name_of_whom_it_adds(club: Club) -> None:
    desk = WaitlistDesk(club.database())
    async with running(club.actor()) as actor:
        entry_id = await join(actor, "kim")
        await ask(actor, "kim", commands.WaitlistLeave())
    for command, table_id in (
        (commands.WaitlistDecline(entry_id=entry_id), ROOM),
        (commands.WaitlistLeave(entry_id=entry_id), ROOM),
        (commands.WaitlistLeave(table_id="other", entry_id=entry_id), "other"),
        (commands.WaitlistLeave(table_id="other", room_id="named"), "named"),
        (commands.WaitlistLeave(), "default"),
    ):
        assert await desk.complete(command, default="default") == command.room_id == table_id
    for command, code in (
        (commands.WaitlistDecline(entry_id="nobody"), ErrorCode.NOT_FOUND),
        (commands.WaitlistLeave(), ErrorCode.BAD_REQUEST),
    ):
        with pytest.raises(Refused) as refused:
            await desk.complete(command)
        assert refused.value.code is code
    for player_id, given, name in (("leo", None, "Leo"), ("leo", "L.", "L."), ("new", None, None)):
        adding = commands.WaitlistJoin(room_id=ROOM, player_id=player_id, player_name=given)
        await desk.complete(adding)
        assert adding.player_name == name


async def test_who_reads_a_queue_and_whose_requests(club: Club) -> None:
    desk = WaitlistDesk(club.database())
    async with running(club.actor()) as actor:
        await join(actor, "kim", notes="secret")
    for user_id, shown in (("kim", UNSET), ("ann", UNSET), (HOST, "secret"), (STAFF, "secret")):
        (entry,) = await desk.of_table(principal(user_id), ROOM)
        assert entry.notes == shown
    assert [e.position for e in await desk.of_player(principal("kim"), "kim")] == [1]
    assert [e.notes for e in await desk.of_player(principal(STAFF), "kim")] == ["secret"]
    for user_id in ("ann", HOST):
        with pytest.raises(Refused) as refused:
            await desk.of_player(principal(user_id), "kim")
        assert refused.value.code is ErrorCode.FORBIDDEN
    with pytest.raises(Refused) as missing:
        await desk.of_table(principal(STAFF), "nowhere")
    assert missing.value.code is ErrorCode.NOT_FOUND
