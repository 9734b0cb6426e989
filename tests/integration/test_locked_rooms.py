"""Somebody has a row of one room locked and takes their time: the others go on, and so does it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from game.changes import SeatPlay
from persistence import nodes, seen
from persistence.connection import TrioConnection
from persistence.errors import Unavailable
from persistence.pool import Connection, Pool
from protocol import commands
from tests.integration.test_journal import RealBackend, nothing, outcome_of, unit_of
from tests.support.live_rooms import AS_JOURNAL, NODE, Club, ask, live_state, open_club, post
from tests.support.outsider import names, watched

pytestmark = pytest.mark.fail_after(60)

SEATS = (
    "INSERT INTO room_seats (room_id, seat_index, user_id, display_name, chips, status,"
    " time_bank_ms, clock_outs, away, sitting_id, last_seen_at)"
    " SELECT id, 0, 'ann', 'Ann', 1, 'active', 0, 0, false, 's', now() FROM rooms"
)


@asynccontextmanager
async def journal_of(url: str, timeout_s: float) -> AsyncIterator[RealBackend]:
    """Run a journal over rooms r1 to r9, each with one seat."""
    async with Pool(url, size=4, timeout_s=2.0) as pool, trio.open_nursery() as nursery:
        backend = RealBackend(url, pool, timeout_s)
        await nursery.start(backend.real.run)
        await backend.prepare()
        async with pool.connection() as conn:
            await conn.execute((AS_JOURNAL + SEATS).encode())
        yield backend
        nursery.cancel_scope.cancel()


@pytest.fixture
async def sql(database_url: str) -> AsyncIterator[Connection]:
    """A connection of somebody else, who begins and ends transactions by hand."""
    conn: Connection = await TrioConnection.connect(database_url, autocommit=True)
    yield conn
    await conn.close()


def played(room_id: str, seq: int = 0) -> Any:
    """A unit that writes the room's seat."""
    return unit_of(room_id, SeatPlay(room_id, 0, 7, 0, 0), seq=seq, unit_id=seq + 1)


async def test_one_locked_room_holds_up_no_other(database_url: str, sql: Connection) -> None:
    outcomes: list[object] = []

    async def locked() -> None:
        outcomes.append(await outcome_of(backend.journal, played("r1")))

    async def play(room_id: str) -> None:
        for seq in range(20):
            await backend.journal.commit(played(room_id, seq), nothing)

    async with journal_of(database_url, timeout_s=30.0) as backend:
        await sql.execute("BEGIN")
        await sql.execute("UPDATE room_seats SET chips = 2 WHERE room_id = 'r1'")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(locked)
            async with trio.open_nursery() as others:
                for n in range(2, 10):
                    others.start_soon(play, f"r{n}")
            assert outcomes == []
            await sql.execute("ROLLBACK")
        assert outcomes == [None]
        assert await backend.place("r1") == (1, 1)
        assert await backend.place("r9") == (20, 20)


async def test_who_is_locked_out_for_too_long_is_told_and_may_try_again(
    database_url: str, sql: Connection
) -> None:
    async with journal_of(database_url, timeout_s=0.5) as backend:
        await sql.execute("BEGIN")
        await sql.execute("UPDATE room_seats SET chips = 2 WHERE room_id = 'r1'")
        for _ in range(2):
            away = await outcome_of(backend.journal, played("r1"))
            assert isinstance(away, Unavailable)
            assert away.retry_after_s > 0
            await backend.journal.commit(played("r2", (await backend.place("r2"))[0]), nothing)
        await sql.execute("ROLLBACK")
        for seq in range(2):
            await backend.journal.commit(played("r1", seq), nothing)
        assert await backend.place("r1") == (2, 2)
        assert await backend.place("r2") == (2, 2)


@pytest.fixture
async def club(database_url: str) -> AsyncIterator[Club]:
    async with open_club(database_url, timeout_s=30.0) as made:
        await made.make_room(max_seats=2)
        await made.wallets("ann", "bob")
        yield made


async def test_a_write_under_way_is_let_through_and_then_told(club: Club, sql: Connection) -> None:
    """The writer wants the room's lock when it commits, while the room wants the writer's row."""
    async with watched(club) as room:
        for user_id, seat_index in (("ann", 0), ("bob", 1)):
            await ask(room.actor, user_id, commands.Join())
            await ask(room.actor, user_id, commands.Seat(seat_index=seat_index, buy_in=1_000))
        await room.told()
        await sql.execute("BEGIN")
        await sql.execute("UPDATE room_seats SET chips = 1200 WHERE user_id = 'ann'")
        answered = post(room.actor, "ann", commands.TopUp(amount=5))
        while not club.journal.depth:  # type: ignore[attr-defined]  # noqa: ASYNC110 - another lane
            await trio.sleep(0.01)
        await sql.execute("COMMIT")
        reply = await answered.get()
        assert reply.chips == 1_205
        assert names(await room.told()) == ["chips_adjusted", "chips_added"]
        assert live_state(room.actor).seats[0].chips == 1_205


async def test_a_claim_leaves_a_locked_room_to_itself(club: Club, sql: Connection) -> None:
    await club.make_room("room-2")
    await sql.execute("BEGIN")
    await sql.execute("UPDATE rooms SET name = 'Held' WHERE id = 'room-1'")
    with pytest.raises(Unavailable):
        await nodes.claim(club.pool, NODE, ["room-1", "room-2"])
    claims = await nodes.claim(club.pool, NODE, ["room-1", "room-2"], skip_locked=True)
    assert list(claims) == ["room-2"]
    await sql.execute("COMMIT")
    assert set(await nodes.claim(club.pool, NODE, ["room-1"])) == {"room-1"}


async def test_an_entry_not_yet_committed_holds_no_claim_up(club: Club, sql: Connection) -> None:
    """Its foreign key locks the room's row, a little."""
    await sql.execute("BEGIN")
    await sql.execute("INSERT INTO waitlist (table_id, player_id) VALUES ('room-1', 'zoe')")
    assert set(await nodes.claim(club.pool, NODE, ["room-1"])) == {"room-1"}
    await sql.execute("ROLLBACK")


async def test_a_pause_is_forgiven_to_all_but_whose_row_is_locked(
    club: Club, sql: Connection
) -> None:
    await club.make_room("room-2")
    async with club.pool.connection() as conn:
        await conn.execute((AS_JOURNAL + SEATS).encode())
    await sql.execute("BEGIN")
    await sql.execute("UPDATE room_seats SET chips = 2 WHERE room_id = 'room-1'")
    now = int(await club.one("SELECT to_ms(now())")) + 3_600_000
    await seen.forgive(club.pool, NODE, ms=60_000, now=now)
    await sql.execute("ROLLBACK")
    ahead = "SELECT room_id FROM room_seats WHERE last_seen_at > now() + interval '30 seconds'"
    assert await club.one(ahead) == "room-2"
    assert await club.one(f"SELECT count(*) FROM ({ahead}) a") == 1
