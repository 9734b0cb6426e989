"""Portals write to chats with SQL: clients are told the same as ever, come what may."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest

from bench.outside import Outside, connected
from bench.server_process import ServerProcess
from tests.acceptance.playing import serving

pytestmark = pytest.mark.fail_after(120)

SAY = "INSERT INTO chat_messages (player_id, sender, message_text) VALUES (%s, %s, %s)"
LISTENERS = "SELECT pid FROM pg_stat_activity WHERE query LIKE 'LISTEN%%' AND pid <> %s"
FIRST_ID = "8c9d4d0c-0000-4000-8000-000000000001"


def write(server: ServerProcess, statement: str, *values: object) -> list[tuple[Any, ...]]:
    """Do as a portal does: connect, write, go."""
    with psycopg.connect(server.database_url, autocommit=True) as conn:
        cursor = conn.execute(statement.encode(), values or None)
        return cursor.fetchall() if cursor.description else []


@asynccontextmanager
async def staff(server: ServerProcess) -> AsyncIterator[Outside]:
    """Watch all chats, as staff do."""
    token = server.token("boss", role="staff")
    async with connected(server.ws_url, token=token) as client:
        await client.ask("subscribe", channel="staff-portal")
        yield client


async def test_a_conversation_written_by_portals_reaches_both_sides() -> None:
    async with (
        serving() as server,
        staff(server) as boss,
        connected(server.ws_url, token=server.token("ann")) as ann,
    ):
        write(server, SAY, "ann", "player", "help")
        request = await boss.event_of("new-chat-request")
        session_id = request["session"]["id"]
        assert request["message"]["message_text"] == "help"
        await ann.event_of("player-confirmation", session_id=session_id)
        write(server, SAY, "ann", "staff", "coming")
        answer = await ann.event_of("staff-message-received", session_id=session_id)
        await boss.event_of("chat-status-changed", to="in_progress")
        await ann.ask("chat_read", session_id=session_id, message_id=answer["message"]["id"])
        write(server, "UPDATE chat_requests SET status = 'resolved' WHERE player_id = 'ann'")
        await ann.event_of("chat-status-updated", status="resolved")
        reply = await ann.ask("chat_send", message_id=FIRST_ID, message_text="one more thing")
        assert reply["session"]["id"] != session_id
        seqs = [e["seq"] for e in boss.events if e.get("session_id", session_id) == session_id]
        assert seqs[:4] == [1, 2, 3, 4]


async def test_what_was_written_while_the_server_was_down_is_told_once_when_it_is_back() -> None:
    async with serving() as server:
        async with connected(server.ws_url, token=server.token("ann")) as ann:
            await ann.ask("chat_send", message_id=FIRST_ID, message_text="one")
        await server.kill()
        write(server, SAY, "ann", "player", "two")
        write(server, SAY, "bob", "player", "hello")
        for _ in range(2):
            await server.start()
            async with staff(server) as boss:
                # The round that tells them may be under way.
                await boss.ask("chat_read", message_id=FIRST_ID)
                write(server, SAY, "cat", "player", "last")
                await boss.event(lambda e: (e.get("message") or {}).get("message_text") == "last")
                history = await boss.ask("chat_history", player_id="ann")
                assert [m["message_text"] for m in history["messages"]] == ["one", "two"]
            await server.kill()
        told = write(
            server,
            "SELECT player_id, array_agg(message_text ORDER BY seq), array_agg(seq ORDER BY seq) "
            "FROM chat_messages WHERE player_id <> 'cat' GROUP BY 1 ORDER BY 1",
        )
        assert told == [("ann", ["one", "two"], [1, 2]), ("bob", ["hello"], [1])]
        assert write(server, "SELECT count(*) FROM outside_chat_writes") == [(0,)]
        pushed = "SELECT count(*) FROM push_notifications WHERE kind = 'chat_request'"
        assert write(server, f"{pushed} AND body = 'hello'") == [(1,)]


async def test_a_server_killed_between_the_write_and_the_telling_tells_it_after() -> None:
    async with serving() as server:
        async with connected(server.ws_url, token=server.token("ann")) as ann:
            await ann.ask("chat_send", message_id=FIRST_ID, message_text="one")
            server.freeze()
            write(server, SAY, "ann", "staff", "two")
            await server.kill()
        await server.start()
        async with connected(server.ws_url, token=server.token("ann")) as ann:
            write(server, SAY, "ann", "staff", "three")
            await ann.event(lambda e: (e.get("message") or {}).get("message_text") == "three")
            history = await ann.ask("chat_history")
            said = [(m["message_text"], m["sender"]) for m in history["messages"]]
            assert said == [("one", "player"), ("two", "staff"), ("three", "staff")]
            assert history["session"]["unread_by_player"] == 2
            assert history["session"]["status"] == "in_progress"


async def test_a_listener_that_lost_its_connection_makes_up_for_it() -> None:
    async with serving() as server, staff(server) as boss:
        for number in range(3):
            with psycopg.connect(server.database_url, autocommit=True) as conn:
                found = conn.execute(LISTENERS, (conn.info.backend_pid,)).fetchall()
                # Gone before the write: nobody hears of it.
                for (pid,) in found:
                    conn.execute("SELECT pg_terminate_backend(%s, 10000)", (pid,))
            assert number or found
            write(server, SAY, f"p{number}", "player", "hello")
            await boss.event(
                lambda e, n=number: (e.get("message") or {}).get("player_id") == f"p{n}"  # type: ignore[misc]
            )


async def test_who_does_not_commit_holds_up_one_conversation_only() -> None:
    async with (
        serving({"CARDROOM_DB_TIMEOUT_S": "2"}) as server,
        connected(server.ws_url, token=server.token("ann")) as ann,
        connected(server.ws_url, token=server.token("bob")) as bob,
    ):
        first = await ann.ask("chat_send", message_id=FIRST_ID, message_text="one")
        with psycopg.connect(server.database_url) as idle:
            idle.execute("UPDATE chat_requests SET urgency = 'high' WHERE player_id = 'ann'")
            second = FIRST_ID[:-1] + "2"
            refused = await ann.refused("chat_send", message_id=second, message_text="two")
            assert refused["code"] == "unavailable"
            reply = await bob.ask("chat_send", message_id=FIRST_ID, message_text="meanwhile")
            assert reply["session"]["status"] == "waiting"
            idle.commit()
        await ann.event_of("chat-status-updated", session_id=first["session"]["id"])
        reply = await ann.ask("chat_send", message_id=second, message_text="two")
        assert reply["session"]["urgency"] == "high"
