"""Somebody writes to the database past the server: clients are told the same as ever, come what
may."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import psycopg
import pytest

from bench.outside import Message, Outside, Refusal, connected
from bench.server_process import ServerProcess
from tests.acceptance.playing import TABLE, serving, table

pytestmark = pytest.mark.fail_after(120)

JOIN = "INSERT INTO waitlist (table_id, player_id, player_name) VALUES (%s, %s, %s)"
REQUEST = "INSERT INTO seat_requests (table_id, player_id, player_name) VALUES (%s, %s, %s)"
LISTENERS = "SELECT pid FROM pg_stat_activity WHERE query LIKE 'LISTEN%%' AND pid <> %s"


def write(server: ServerProcess, statement: str, *values: object) -> list[tuple[Any, ...]]:
    """Do as a legacy portal does: connect, write, go."""
    with psycopg.connect(server.database_url, autocommit=True) as conn:
        cursor = conn.execute(statement.encode(), values or None)
        return cursor.fetchall() if cursor.description else []


@asynccontextmanager
async def staff(server: ServerProcess) -> AsyncIterator[Outside]:
    """Watch all tables, as staff do."""
    token = server.token("boss", role="staff")
    async with connected(server.ws_url, token=token) as client:
        await client.ask("subscribe", channel="staff-portal")
        yield client


async def heard(client: Outside, change: str, player_id: str) -> Message:
    """Wait for word of the queue."""
    return await client.event_of("waitlist_update", change=change, player_id=player_id)


def updates(client: Outside, channel: str) -> list[tuple[str, str]]:
    """List what a client was told of queues on a channel."""
    return [
        (event["change"], event["player_id"])
        for event in client.events
        if event["type"] == "waitlist_update" and event["channel"] == channel
    ]


async def test_the_queue_written_under_either_name_reaches_everybody() -> None:
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(serving())
        host, (ann, _) = await stack.enter_async_context(
            table(server, ["ann", "bob"], max_seats=2, auto_start=False)
        )
        boss = await stack.enter_async_context(staff(server))
        cat = await stack.enter_async_context(connected(server.ws_url, token=server.token("cat")))
        channel = f"room:{ann.room_id}"

        write(server, JOIN, ann.room_id, "cat", "Cat")
        write(server, REQUEST, ann.room_id, "dan", "Dan")
        for client in (host, ann.client, boss):
            told = await heard(client, "player_joined", "dan")
            assert [(e["position"], e["player_id"]) for e in told["entries"]] == [
                (1, "cat"),
                (2, "dan"),
            ]
        place = await cat.event_of("waitlist_position")
        assert (place["position"], place["ahead"]) == (1, 0)

        write(server, "UPDATE waitlist SET position = 2 WHERE player_id = 'cat'")
        await cat.event_of("waitlist_position", position=2, ahead=1)
        write(server, "UPDATE seat_requests SET status = 'cancelled' WHERE player_id = 'dan'")
        await cat.event_of("waitlist_position", position=1, after=len(cat.events) - 1)
        write(server, "DELETE FROM room_seats WHERE user_id = 'bob'")
        offer = await cat.event_of("seat_offered")
        await cat.ask(
            "waitlist_accept", table_id=ann.room_id, entry_id=offer["entry_id"], buy_in=500
        )
        await heard(boss, "player_seated", "cat")
        expected = [
            ("player_joined", "cat"),
            ("player_joined", "dan"),
            ("moved", "cat"),
            ("player_left", "dan"),
            ("player_called", "cat"),
            ("player_seated", "cat"),
        ]
        assert updates(boss, "staff-portal") == expected
        await heard(ann.client, "player_seated", "cat")
        assert updates(ann.client, channel) == expected


async def test_an_operators_corrections_reach_the_table() -> None:
    async with serving() as server, table(server, ["ann", "bob"], auto_start=False) as (_, seated):
        ann = seated[0].client
        write(server, "UPDATE room_seats SET chips = 12345 WHERE user_id = 'ann'")
        told = await ann.event_of("chips_adjusted")
        assert (told["chips"], told["delta"], told["reason"]) == (12_345, 2_345, "correction")
        write(server, "UPDATE rooms SET name = 'Corrected', small_blind = 25")
        settings = (await ann.event_of("settings_changed"))["settings"]
        assert (settings["name"], settings["small_blind"]) == ("Corrected", 25)
        with pytest.raises(psycopg.Error) as caught:
            write(server, "UPDATE room_seats SET user_id = 'zoe' WHERE user_id = 'ann'")
        assert caught.value.sqlstate == "CR003"
        write(server, "UPDATE rooms SET status = 'closed'")
        await ann.event_of("room_closed")
        assert write(server, "SELECT count(*) FROM outside_writes") == [(0,)]


async def test_what_was_written_while_the_server_was_down_is_told_once_when_it_is_back() -> None:
    async with serving() as server:
        async with table(server, ["ann", "bob"], max_seats=2) as (_, seated):
            room_id = seated[0].room_id
            seq = (await seated[0].client.ask("hydrate", room_id=room_id))["seq"]
        await server.kill()
        write(server, JOIN, room_id, "cat", "Cat")
        write(server, REQUEST, room_id, "dan", "Dan")
        for _ in range(2):
            await server.start()
            async with connected(server.ws_url, token=server.token("ann")) as ann:
                room = await ann.ask("hydrate", room_id=room_id)
                assert [entry["player_id"] for entry in room["waitlist"]] == ["cat", "dan"]
            await server.kill()
        told = write(
            server,
            "SELECT payload ->> 'player_id' FROM room_events"
            " WHERE room_id = %s AND seq > %s AND type = 'waitlist_update' ORDER BY seq",
            room_id,
            seq,
        )
        assert told == [("cat",), ("dan",)]
        assert write(server, "SELECT count(*) FROM outside_writes") == [(0,)]


async def test_a_server_killed_between_the_write_and_the_telling_tells_it_after() -> None:
    async with serving() as server:
        async with table(server, ["ann", "bob"], max_seats=2) as (_, seated):
            room_id = seated[0].room_id
            server.freeze()
            write(server, JOIN, room_id, "cat", "Cat")
            await server.kill()
        await server.start()
        async with staff(server) as boss:
            write(server, JOIN, room_id, "dan", "Dan")
            told = await heard(boss, "player_joined", "dan")
            assert [entry["player_id"] for entry in told["entries"]] == ["cat", "dan"]
        joined = write(
            server,
            "SELECT count(*) FROM room_events WHERE payload @> %s",
            '{"change": "player_joined", "player_id": "cat"}',
        )
        assert joined == [(1,)]


async def test_a_room_that_is_not_in_memory_comes_to_life() -> None:
    async with serving() as server:
        async with connected(server.ws_url, token=server.token("host")) as host:
            made = await host.ask("create_room", settings=TABLE)
        await server.kill()
        await server.start()
        async with staff(server) as boss:
            write(server, REQUEST, made["room"]["id"], "cat", "Cat")
            await heard(boss, "player_called", "cat")


async def test_a_listener_that_lost_its_connection_makes_up_for_it() -> None:
    async with (
        serving() as server,
        table(server, ["ann", "bob"], max_seats=2) as (_, seated),
        staff(server) as boss,
    ):
        for number in range(3):
            with psycopg.connect(server.database_url, autocommit=True) as conn:
                found = conn.execute(LISTENERS, (conn.info.backend_pid,)).fetchall()
                # Gone before the write: nobody hears of it.
                for (pid,) in found:
                    conn.execute("SELECT pg_terminate_backend(%s, 10000)", (pid,))
            assert number or found
            write(server, JOIN, seated[0].room_id, f"p{number}", f"P{number}")
            await heard(boss, "player_joined", f"p{number}")


async def test_who_does_not_commit_holds_up_one_table_only() -> None:
    async with (
        serving({"CARDROOM_DB_TIMEOUT_S": "2"}) as server,
        table(server, ["ann", "bob"], auto_start=False) as (_, (ann, _)),
        table(server, ["cat", "dan"], auto_start=False) as (_, (cat, _)),
    ):
        with psycopg.connect(server.database_url) as idle:
            idle.execute("UPDATE room_seats SET chips = chips + 7 WHERE user_id = 'ann'")
            held = await ann.client.post("top_up", room_id=ann.room_id, amount=5)
            for amount in range(1, 20):
                await cat.client.ask("top_up", room_id=cat.room_id, amount=amount)
            refused = await ann.client.refused("top_up", room_id=ann.room_id, amount=5)
            assert refused["code"] == "unavailable"
            assert refused["retry_after"] > 0
            with pytest.raises(Refusal):
                await ann.client.reply_to(held)
            idle.commit()
        await ann.client.event_of("chips_adjusted", delta=7, chips=10_007)
        assert (await ann.client.ask("top_up", room_id=ann.room_id, amount=5))["chips"] == 10_012
