"""The waitlist written by SQL, under both of its names: told as if it had been asked."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest

from persistence.connection import TrioConnection
from persistence.outside import mend_waitlists
from persistence.pool import Connection
from protocol import commands
from tests.support.live_rooms import Club, ask, live_state, open_club
from tests.support.outsider import Event, Watched, watched
from tests.support.rooms import HOST

pytestmark = pytest.mark.fail_after(30)

WAITING = ("cat", "dan", "eve")


@pytest.fixture
async def club(database_url: str) -> AsyncIterator[Club]:
    async with open_club(database_url) as made:
        await made.make_room(max_seats=2)
        await made.wallets("ann", "bob", *WAITING, "zoe")
        yield made


@pytest.fixture
async def sql(database_url: str) -> AsyncIterator[Connection]:
    """A connection of somebody else, in autocommit mode."""
    conn: Connection = await TrioConnection.connect(database_url, autocommit=True)
    yield conn
    await conn.close()


@asynccontextmanager
async def full_table(club: Club) -> AsyncIterator[Watched]:
    """A table without a free seat, and three in line for one."""
    async with watched(club, *WAITING, "zoe") as room:
        for user_id, seat_index in (("ann", 0), ("bob", 1)):
            await ask(room.actor, user_id, commands.Join())
            await ask(room.actor, user_id, commands.Seat(seat_index=seat_index, buy_in=1_000))
        for user_id in WAITING:
            await ask(room.actor, user_id, commands.WaitlistJoin())
        await room.told()
        room.staff.got = []
        for user_id in room.own:
            room.of(user_id)
        yield room


def line(room: Watched) -> list[str]:
    """Who waits, first in line first."""
    return [entry.player_id for entry in live_state(room.actor).waitlist]


def drawn(events: list[Event]) -> list[tuple[str, str]]:
    """What was told of the queue: what happened, and to whom."""
    return [(e["change"], e["player_id"]) for e in events if e["type"] == "waitlist_update"]


async def told(room: Watched) -> list[tuple[str, str]]:
    """Let the room look; what was told of the queue, to staff the same as to the room."""
    events = drawn(await room.told())
    staff, room.staff.got = drawn(room.staff.got), []
    assert staff == events
    return events


async def test_an_insert_under_either_name_joins_the_line(club: Club, sql: Connection) -> None:
    async with full_table(club) as room:
        await sql.execute("INSERT INTO waitlist (table_id, player_id) VALUES ('room-1', 'zoe')")
        assert await told(room) == [("player_joined", "zoe")]
        await sql.execute(
            "INSERT INTO seat_requests (table_id, player_id, player_name, notes)"
            " VALUES ('room-1', 'yan', 'Yan', 'likes seat 3')"
        )
        assert await told(room) == [("player_joined", "yan")]
        assert line(room) == [*WAITING, "zoe", "yan"]
        (place,) = room.of("zoe")
        assert (place["type"], place["position"], place["ahead"]) == ("waitlist_position", 4, 3)
        assert room.of("cat") == [], "whose place is what it was"
    sources = "SELECT string_agg(source, ',' ORDER BY position) FROM waitlist WHERE position > 3"
    assert await club.one(sources) == "staff_portal,player_portal"
    name = "SELECT player_name FROM waitlist WHERE player_id = 'zoe'"
    assert await club.one(name) == "Zoe", "the wallet's"


async def test_a_second_live_entry_is_not_made(club: Club, sql: Connection) -> None:
    async with full_table(club) as room:
        done = await sql.execute(
            "INSERT INTO waitlist (table_id, player_id) VALUES ('room-1', 'cat')"
        )
        assert done.rowcount == 0
        assert await told(room) == []


@pytest.mark.parametrize(
    ("who", "position", "line_after", "heard"),
    [
        ("eve", 1, ["eve", "cat", "dan"], {"eve": 1, "cat": 2, "dan": 3}),
        ("cat", 2, ["dan", "cat", "eve"], {"dan": 1, "cat": 2}),
        ("cat", 99, ["dan", "eve", "cat"], {"dan": 1, "eve": 2, "cat": 3}),
        ("dan", -5, ["dan", "cat", "eve"], {"dan": 1, "cat": 2}),
    ],
)
async def test_a_new_position_moves_the_others(
    club: Club,
    sql: Connection,
    who: str,
    position: int,
    line_after: list[str],
    heard: dict[str, int],
) -> None:
    async with full_table(club) as room:
        await sql.execute("UPDATE waitlist SET position = %s WHERE player_id = %s", (position, who))
        assert await told(room) == [("moved", who)]
        assert line(room) == line_after
        for user_id, place in heard.items():
            assert [event["position"] for event in room.of(user_id)] == [place]


@pytest.mark.parametrize(
    ("status", "change"),
    [
        ("seated", "player_seated"),
        ("declined", "player_left"),
        ("cancelled", "player_left"),
        ("expired", "player_expired"),
        ("no_show", "player_left"),
    ],
)
async def test_an_end_by_sql_is_told_to_all_it_concerns(
    club: Club, sql: Connection, status: str, change: str
) -> None:
    async with full_table(club) as room:
        await sql.execute("UPDATE seat_requests SET status = %s WHERE player_id = 'cat'", (status,))
        assert await told(room) == [(change, "cat")]
        assert line(room) == ["dan", "eve"]
        (ended,) = room.of("cat")
        assert (ended["type"], ended["status"]) == ("waitlist_ended", status)
        assert [event["position"] for event in room.of("dan")] == [1]


async def test_a_deleted_entry_left(club: Club, sql: Connection) -> None:
    async with full_table(club) as room:
        await sql.execute("DELETE FROM waitlist WHERE player_id = 'dan'")
        assert await told(room) == [("player_left", "dan")]
        assert line(room) == ["cat", "eve"]


async def test_who_ended_may_be_put_back(club: Club, sql: Connection) -> None:
    async with full_table(club) as room:
        await sql.execute("UPDATE waitlist SET status = 'seated' WHERE player_id = 'cat'")
        await sql.execute("UPDATE waitlist SET status = 'waiting' WHERE player_id = 'cat'")
        assert await told(room) == [("player_seated", "cat"), ("player_joined", "cat")]
        assert line(room) == ["dan", "eve", "cat"]


async def test_who_is_called_without_a_free_seat_waits_on(club: Club, sql: Connection) -> None:
    async with full_table(club) as room:
        await sql.execute("UPDATE waitlist SET status = 'called' WHERE player_id = 'dan'")
        assert await told(room) == [("moved", "dan")]
        assert [entry.status for entry in live_state(room.actor).waitlist] == ["waiting"] * 3


async def test_who_is_called_is_offered_a_seat_that_is_held(club: Club, sql: Connection) -> None:
    async with full_table(club) as room:
        # In one transaction, for a seat that comes free calls the first in line by itself.
        await sql.execute(
            "DO $$ BEGIN DELETE FROM room_seats WHERE user_id = 'bob';"
            " UPDATE waitlist SET status = 'called' WHERE player_id = 'dan'; END $$"
        )
        assert await told(room) == [("player_called", "dan")]
        offer = next(e for e in room.of("dan") if e["type"] == "seat_offered")
        assert offer["seat_index"] == 1
        assert offer["expires_at"] == club.now + club.services.seat_offer_ms
        entry = live_state(room.actor).waitlist[1]
        reply: Any = await ask(
            room.actor, "dan", commands.WaitlistAccept(entry_id=entry.entry_id, buy_in=500)
        )
        assert reply.seat_index == 1


async def test_who_is_called_takes_the_place_of_who_had_the_longest_to_answer(
    club: Club, sql: Connection
) -> None:
    async with full_table(club) as room:
        await sql.execute("DELETE FROM room_seats WHERE user_id = 'bob'")
        assert await told(room) == [("player_called", "cat")]
        await sql.execute("UPDATE waitlist SET status = 'called' WHERE player_id = 'eve'")
        assert await told(room) == [("moved", "cat"), ("player_called", "eve")]
        assert line(room) == ["cat", "dan", "eve"]


async def test_a_freed_seat_calls_the_next(club: Club, sql: Connection) -> None:
    async with full_table(club) as room:
        await sql.execute("DELETE FROM room_seats WHERE user_id = 'ann'")
        assert await told(room) == [("player_called", "cat")]
        await sql.execute("UPDATE waitlist SET status = 'waiting', position = 3 WHERE position = 1")
        assert ("player_called", "dan") in await told(room)
        assert line(room) == ["dan", "eve", "cat"]


async def test_a_change_of_table_leaves_one_and_joins_the_other(
    club: Club, sql: Connection
) -> None:
    await club.make_room("room-2", max_seats=2)
    async with full_table(club) as room:
        await sql.execute("UPDATE waitlist SET table_id = 'room-2' WHERE player_id = 'cat'")
        assert await told(room) == [("player_left", "cat")]
    assert await club.one("SELECT room_id FROM outside_writes") == "room-2"
    assert await club.one("SELECT position FROM waitlist WHERE table_id = 'room-2'") == 1


async def test_another_player_in_an_entry_is_one_gone_and_one_come(
    club: Club, sql: Connection
) -> None:
    async with full_table(club) as room:
        await sql.execute("UPDATE waitlist SET player_id = 'zoe' WHERE player_id = 'dan'")
        assert await told(room) == [("player_left", "dan"), ("player_joined", "zoe")]
        assert line(room) == ["cat", "zoe", "eve"]
        assert [event["type"] for event in room.of("dan")] == ["waitlist_ended"]


async def test_one_transaction_is_told_write_by_write(club: Club, sql: Connection) -> None:
    async with full_table(club) as room:
        async with sql.transaction():
            await sql.execute("INSERT INTO waitlist (table_id, player_id) VALUES ('room-1', 'zoe')")
            await sql.execute("UPDATE waitlist SET position = 1 WHERE player_id = 'zoe'")
            await sql.execute("DELETE FROM waitlist WHERE player_id = 'cat'")
        assert await told(room) == [
            ("player_joined", "zoe"),
            ("moved", "zoe"),
            ("player_left", "cat"),
        ]
        assert line(room) == ["zoe", "dan", "eve"]
        assert [event["position"] for event in room.of("zoe")] == [1]


async def test_a_rolled_back_transaction_was_none(club: Club, sql: Connection) -> None:
    async with full_table(club) as room:
        await sql.execute("BEGIN")
        await sql.execute("DELETE FROM waitlist")
        await sql.execute("ROLLBACK")
        assert await told(room) == []


async def test_who_has_a_seat_or_is_banned_does_not_wait(club: Club, sql: Connection) -> None:
    async with full_table(club) as room:
        await sql.execute("INSERT INTO waitlist (table_id, player_id) VALUES ('room-1', 'ann')")
        assert await told(room) == [("player_joined", "ann"), ("player_seated", "ann")]
        assert line(room) == list(WAITING)


async def test_nobody_waits_for_a_closed_table(club: Club, sql: Connection) -> None:
    async with full_table(club) as room:
        await ask(room.actor, HOST, commands.CloseRoom())
        await room.told()
        room.staff.got = []
        await sql.execute("INSERT INTO waitlist (table_id, player_id) VALUES ('room-1', 'zoe')")
        assert await told(room) == [("player_left", "zoe")]
    assert await club.one("SELECT status FROM waitlist WHERE player_id = 'zoe'") == "cancelled"


async def test_a_bulk_is_told_whole_in_parts(club: Club, sql: Connection) -> None:
    """No part may be so large that it overflows a socket; nothing of it is lost or told twice."""
    async with full_table(club) as room:
        await sql.execute(
            "INSERT INTO waitlist (table_id, player_id)"
            " SELECT 'room-1', 'p' || n FROM generate_series(1, 120) n"
        )
        expected = [("player_joined", f"p{n}") for n in range(1, 121)]
        assert await told(room) == expected
        assert len(line(room)) == 123
    assert await club.one("SELECT count(*) FROM outside_writes") == 0


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE waitlist SET id = 'x' WHERE player_id = 'cat'",
        "UPDATE waitlist SET called_at = 'infinity'",
        "UPDATE waitlist SET created_at = '-infinity'",
        "UPDATE waitlist SET player_name = E'a\\nb'",
        "UPDATE waitlist SET player_name = ''",
        "UPDATE waitlist SET notes = repeat('x', 2001)",
        "UPDATE waitlist SET status = 'lost'",
        "UPDATE waitlist SET player_id = 'cat'",
        "INSERT INTO waitlist (table_id, player_id) VALUES ('nowhere', 'cat')",
    ],
)
async def test_what_no_room_could_read_is_refused(
    club: Club, sql: Connection, statement: str
) -> None:
    async with full_table(club) as room:
        with pytest.raises(psycopg.Error):
            await sql.execute(statement.encode())
        assert await told(room) == []


async def test_two_who_write_at_once_never_wait_for_each_other(
    club: Club, sql: Connection, database_url: str
) -> None:
    """One is still at it, on a row that the other commit would move up; then he gives up."""
    async with full_table(club) as room, await TrioConnection.connect(database_url) as idle:
        await idle.execute("UPDATE waitlist SET notes = 'late' WHERE player_id = 'dan'")
        await sql.execute("DELETE FROM waitlist WHERE player_id = 'cat'")
        assert await told(room) == [("player_left", "cat")]
        assert line(room) == ["dan", "eve"]
        await idle.rollback()
        await mend_waitlists(club.pool)
    places = "SELECT string_agg(player_id || position, ',' ORDER BY position) FROM waitlist"
    assert await club.one(places) == "dan1,eve2"
