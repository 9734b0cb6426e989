"""Corrections of seats and rooms by SQL: told as if they had been asked, or undone, or refused."""

from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest

from game.presence import Tick
from persistence import nodes, seen
from persistence.connection import TrioConnection
from persistence.pool import Connection
from persistence.seen import SeenAt
from protocol import commands
from protocol.values import SettingsPatch
from tests.support.live_rooms import NODE, Club, ask, live_state, open_club
from tests.support.outsider import ROOM, Watched, names, watched
from tests.support.rooms import HOST

pytestmark = pytest.mark.fail_after(30)


@pytest.fixture
async def club(database_url: str) -> AsyncIterator[Club]:
    async with open_club(database_url) as made:
        await made.make_room(max_seats=3, max_buy_in=5_000)
        await made.wallets("ann", "bob", "cat")
        yield made


@pytest.fixture
async def sql(database_url: str) -> AsyncIterator[Connection]:
    """A connection of somebody else, in autocommit mode."""
    conn: Connection = await TrioConnection.connect(database_url, autocommit=True)
    yield conn
    await conn.close()


async def seat_two(room: Watched) -> None:
    for user_id, seat_index in (("ann", 0), ("bob", 1)):
        await ask(room.actor, user_id, commands.Join())
        await ask(room.actor, user_id, commands.Seat(seat_index=seat_index, buy_in=1_000))
    await room.told()


async def deal(room: Watched) -> str:
    """Start a hand; return who is to act."""
    await ask(room.actor, HOST, commands.Start())
    await room.told()
    clock = live_state(room.actor).clock
    assert clock is not None
    return live_state(room.actor).seats[clock.seat_index].user_id


async def refused(sql: Connection, statement: str) -> str:
    """Hold that the database refuses a write by itself; return its words."""
    with pytest.raises(psycopg.Error) as caught:
        await sql.execute(statement.encode())
    assert caught.value.sqlstate == "CR003", caught.value
    return str(caught.value)


# Seats


async def test_a_corrected_stack_is_told_and_the_books_balance(club: Club, sql: Connection) -> None:
    async with watched(club) as room:
        await seat_two(room)
        await sql.execute("UPDATE room_seats SET chips = 1250 WHERE user_id = 'ann'")
        (told,) = await room.told()
        assert told["type"] == "chips_adjusted"
        assert (told["user_id"], told["delta"], told["chips"]) == ("ann", 250, 1_250)
        assert told["reason"] == "correction"
    assert await club.one("SELECT sum(amount) FROM ledger_entries WHERE kind = 'adjustment'") == 0
    house = "SELECT sum(amount) FROM ledger_entries WHERE account = 'house'"
    assert await club.one(house) == -250
    audit = "SELECT details ->> 'by' FROM audit_log WHERE action = 'room_seats.update'"
    assert await club.one(audit)


async def test_a_seat_sat_out_and_in_is_told_so(club: Club, sql: Connection) -> None:
    async with watched(club) as room:
        await seat_two(room)
        for status, event in (("sitting_out", "player_sat_out"), ("active", "player_sat_in")):
            await sql.execute("UPDATE room_seats SET status = %s WHERE user_id = 'bob'", (status,))
            (told,) = await room.told()
            assert (told["type"], told["user_id"]) == (event, "bob")


async def test_who_is_sat_out_at_their_turn_folds(club: Club, sql: Connection) -> None:
    async with watched(club) as room:
        await seat_two(room)
        actor = await deal(room)
        await sql.execute(
            "UPDATE room_seats SET status = 'sitting_out' WHERE user_id = %s", (actor,)
        )
        told = await room.told()
        assert names(told)[:2] == ["player_sat_out", "player_action"]
        assert told[1]["action"] == "FOLD"
        assert "hand_complete" in names(told)


async def test_a_deleted_seat_is_told_as_freed_and_its_chips_go_home(
    club: Club, sql: Connection
) -> None:
    async with watched(club) as room:
        await seat_two(room)
        await sql.execute("DELETE FROM room_seats WHERE user_id = 'ann'")
        (told,) = await room.told()
        assert (told["type"], told["user_id"], told["chips"]) == ("seat_freed", "ann", 1_000)
        await ask(room.actor, "ann", commands.Seat(seat_index=2, buy_in=1_000))
    assert await club.one("SELECT balance FROM wallets WHERE user_id = 'ann'") == 9_000
    assert await club.one("SELECT sum(amount) FROM ledger_entries WHERE account = 'stack'") == 2_000


async def test_a_name_has_no_event_and_shows_in_the_next_snapshot(
    club: Club, sql: Connection
) -> None:
    async with watched(club) as room:
        await seat_two(room)
        await sql.execute("UPDATE room_seats SET display_name = 'Annie' WHERE user_id = 'ann'")
        assert await room.told() == []
        assert live_state(room.actor).seats[0].display_name == "Annie"


async def test_the_time_bank_of_who_is_to_act_is_told_with_the_turn(
    club: Club, sql: Connection
) -> None:
    async with watched(club) as room:
        await seat_two(room)
        actor = await deal(room)
        deadline = live_state(room.actor).clock.deadline  # type: ignore[union-attr]
        await sql.execute("UPDATE room_seats SET time_bank_ms = 7000 WHERE user_id = %s", (actor,))
        (told,) = await room.told()
        assert (told["type"], told["user_id"]) == ("turn_started", actor)
        assert (told["timebank_remaining"], told["deadline"]) == (7_000, deadline)


async def test_chips_at_play_are_not_corrected(club: Club, sql: Connection) -> None:
    async with watched(club) as room:
        await seat_two(room)
        await deal(room)
        words = await refused(sql, "UPDATE room_seats SET chips = 5 WHERE user_id = 'ann'")
        assert "between hands" in words
        await refused(sql, "DELETE FROM room_seats WHERE user_id = 'ann'")
        assert await room.told() == []
    assert await club.one("SELECT count(*) FROM ledger_entries WHERE reason = 'correction'") == 0


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO room_seats SELECT room_id, 2, 'cat', display_name, chips, status,"
        " time_bank_ms, 0, false, null, null, 's', true, now() FROM room_seats LIMIT 1",
        "UPDATE room_seats SET seat_index = 2 WHERE user_id = 'ann'",
        "UPDATE room_seats SET user_id = 'cat' WHERE user_id = 'ann'",
        "UPDATE room_seats SET leaving = 'kick'",
        "UPDATE room_seats SET away = true",
        "UPDATE room_seats SET display_name = ''",
        "UPDATE room_seats SET chips = 1000000000000001",
        "UPDATE room_seats SET time_bank_ms = 9223372036854775807",
        "TRUNCATE room_seats",
        "TRUNCATE waitlist",
        "UPDATE rooms SET next_settings = '{}'",
        "UPDATE rooms SET closing = 'now'",
        "UPDATE rooms SET rigged_deck = 'AhAh'",
        "UPDATE rooms SET closed_at = now()",
        "UPDATE rooms SET code = 'X'",
        "UPDATE rooms SET owner_epoch = 9223372036854775807",
    ],
)
async def test_what_no_room_could_be_told_of_is_refused(
    club: Club, sql: Connection, statement: str
) -> None:
    async with watched(club) as room:
        await seat_two(room)
        await refused(sql, statement)
        assert await room.told() == []


# The room


async def test_corrected_settings_are_told_and_in_force(club: Club, sql: Connection) -> None:
    async with watched(club) as room:
        await sql.execute("UPDATE rooms SET big_blind = 20, name = 'Late'")
        (told,) = await room.told()
        assert told["type"] == "settings_changed"
        assert (told["settings"]["big_blind"], told["settings"]["name"]) == (20, "Late")
        assert live_state(room.actor).settings.big_blind == 20


async def test_settings_corrected_in_a_hand_wait_for_the_next(club: Club, sql: Connection) -> None:
    async with watched(club) as room:
        await seat_two(room)
        await deal(room)
        await ask(room.actor, HOST, commands.ChangeSettings(settings=SettingsPatch(name="Mine")))
        await sql.execute("UPDATE rooms SET turn_seconds = 7")
        told = (await room.told())[-1]
        assert told["type"] == "settings_changed"
        following = live_state(room.actor).next_settings
        assert following is not None
        assert (following.turn_seconds, following.name) == (7, "Mine")
        assert live_state(room.actor).settings.turn_seconds == 20
    assert await club.one("SELECT turn_seconds FROM rooms") == 20


@pytest.mark.parametrize(
    "columns",
    [
        "max_seats = 2",
        "variant = 'snap'",
        "bomb_pot = '{\"every\": 1}'",
        "bomb_pot = '7'",
        "name = ' '",
        "name = E'a\\nb'",
        "small_blind = 4000000000000000000, big_blind = 4000000000000000000",
        "host_id = ''",
        "host_id = repeat('x', 65)",
        "status = 'playing'",
    ],
)
async def test_what_the_rules_do_not_allow_is_undone(
    club: Club, sql: Connection, columns: str
) -> None:
    async with watched(club) as room:
        await ask(room.actor, "ann", commands.Join())
        await ask(room.actor, "ann", commands.Seat(seat_index=2, buy_in=1_000))
        await room.told()
        row = "SELECT to_jsonb(r) - ARRAY['owner_epoch'] FROM rooms r"
        before = await club.one(row)
        await sql.execute(f"UPDATE rooms SET {columns}".encode())
        assert await room.told() == []
        assert await club.one(row) == before


async def test_a_new_host_is_let_in_and_told(club: Club, sql: Connection) -> None:
    async with watched(club) as room:
        await sql.execute("UPDATE rooms SET host_id = 'cat'")
        (told,) = await room.told()
        assert (told["type"], told["host_id"]) == ("host_changed", "cat")
        await ask(room.actor, "cat", commands.Pause())


async def test_a_status_is_carried_out_as_the_command_would(club: Club, sql: Connection) -> None:
    async with watched(club) as room:
        await seat_two(room)
        await sql.execute("UPDATE rooms SET status = 'paused'")
        assert names(await room.told()) == ["game_paused"]
        await sql.execute("UPDATE rooms SET status = 'playing'")
        assert names(await room.told()) == ["game_resumed"]
        await sql.execute("UPDATE rooms SET status = 'closed'")
        told = names(await room.told())
        assert told == ["player_left_seat", "player_left_seat", "room_closed"]
        await sql.execute("UPDATE rooms SET status = 'waiting'")
        assert await room.told() == [], "closed is closed"
    assert await club.one("SELECT status FROM rooms") == "closed"
    assert await club.one("SELECT sum(balance) FROM wallets") == 30_000


async def test_a_room_closed_in_a_hand_closes_after_it(club: Club, sql: Connection) -> None:
    async with watched(club) as room:
        await seat_two(room)
        actor = await deal(room)
        await sql.execute("UPDATE rooms SET status = 'closed'")
        assert await room.told() == []
        assert await club.one("SELECT status FROM rooms") == "playing"
        await ask(room.actor, actor, commands.Action(action="FOLD"))
        assert names(await room.told())[-1] == "room_closed"


# Once each, and never lost


async def test_what_was_written_while_no_actor_lived_is_told_by_the_next(
    club: Club, sql: Connection
) -> None:
    async with watched(club) as room:
        await seat_two(room)
    await sql.execute("UPDATE room_seats SET chips = 900 WHERE user_id = 'ann'")
    seq = await club.one("SELECT seq FROM game_states")
    for _ in range(2):
        async with watched(club) as room:
            await room.told()
    assert await club.one("SELECT seq FROM game_states") == seq + 1, "told once"
    assert await club.one("SELECT type FROM room_events ORDER BY seq DESC LIMIT 1") == (
        "chips_adjusted"
    )


async def test_a_command_that_knows_nothing_of_a_write_is_decided_after_it(
    club: Club, sql: Connection
) -> None:
    async with watched(club) as room:
        await seat_two(room)
        await sql.execute("UPDATE room_seats SET chips = 900 WHERE user_id = 'ann'")
        reply: Any = await ask(room.actor, "ann", commands.TopUp(amount=50))
        assert reply.chips == 950
        assert names(await room.told()) == ["chips_adjusted", "chips_added"]


async def test_a_room_written_to_again_and_again_goes_on(club: Club, sql: Connection) -> None:
    """More often in a row than a room may be superseded without it being a fault."""
    left = 8

    class Hasty:
        async def commit(self, unit: Any, on_committed: Any) -> None:
            nonlocal left
            if left:
                left -= 1
                await sql.execute("UPDATE room_seats SET chips = chips + 1 WHERE user_id = 'ann'")
            await journal.commit(unit, on_committed)

    async with watched(club) as room:
        await seat_two(room)
    journal = club.journal
    club.services = type(club.services)(
        **{
            name: getattr(club.services, name)
            for name in club.services.__struct_fields__
            if name != "journal"
        },
        journal=Hasty(),
    )
    async with watched(club) as room:
        reply: Any = await ask(room.actor, "ann", commands.TopUp(amount=50))
        assert reply.chips == 1_058
        assert len(await room.told()) == 9


async def test_our_own_writes_are_none_from_outside(club: Club) -> None:
    async with watched(club) as room:
        await seat_two(room)
        await deal(room)
        room.actor.mailbox.put_nowait(Tick())
        await room.told()
    await seen.flush(club.pool, [SeenAt(ROOM, "ann", club.now + 1, False)], 1_000)
    await nodes.claim(club.pool, NODE, [ROOM], restarted=True)
    await nodes.resign(club.pool, NODE)
    await nodes.register(club.pool, "node-b", "b.test", 60.0)
    await nodes.claim(club.pool, "node-b", [ROOM])
    await club.make_room("room-2")
    assert await club.one("SELECT count(*) FROM outside_writes") == 0
    assert await club.one("SELECT sum(outside) FROM game_states") == 0
    assert await club.one("SELECT count(*) FROM audit_log WHERE source = 'sql'") == 0
