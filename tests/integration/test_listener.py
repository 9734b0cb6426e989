"""The listener: prompt, in order, and back after its session was ended."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from persistence.connection import TrioConnection
from persistence.listener import CHECK_EVERY_S, Listener
from tests.support.postgres import PostgresForTests

Connection = TrioConnection[tuple[Any, ...]]

pytestmark = pytest.mark.fail_after(60)


class Heard:
    """What a listener hears, to be waited for."""

    def __init__(self) -> None:
        self._send, self._receive = trio.open_memory_channel[tuple[str, str]](100)

    def notify(self, channel: str, payload: str) -> None:
        self._send.send_nowait((channel, payload))

    def reconnect(self) -> None:
        self._send.send_nowait(("", "reconnected"))

    async def next(self) -> tuple[str, str]:
        return await self._receive.receive()


@asynccontextmanager
async def listening(url: str, *channels: str) -> AsyncIterator[Heard]:
    heard = Heard()
    listener = Listener(url, channels, heard.notify, heard.reconnect)
    async with trio.open_nursery() as nursery:
        await nursery.start(listener.run)
        yield heard
        nursery.cancel_scope.cancel()


async def listener_pid(conn: Connection) -> int:
    cursor = await conn.execute(
        "SELECT pid FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def test_notifications_arrive_promptly_and_in_order(
    connection: Connection, database_url: str
) -> None:
    async with listening(database_url, "one", "Two") as heard:
        with trio.fail_after(CHECK_EVERY_S / 2):
            for number in range(3):
                await connection.execute("SELECT pg_notify('one', %s)", [str(number)])
            await connection.execute("SELECT pg_notify('Two', 'x')")
            await connection.execute("SELECT pg_notify('unheard', 'x')")
            got = [await heard.next() for _ in range(4)]
    assert got == [("one", "0"), ("one", "1"), ("one", "2"), ("Two", "x")]


async def test_listens_again_after_its_session_was_ended(
    connection: Connection, database_url: str, postgres: PostgresForTests
) -> None:
    async with listening(database_url, "one") as heard:
        for number in range(2):
            pid = await listener_pid(connection)
            await trio.to_thread.run_sync(postgres.terminate, pid)
            assert await heard.next() == ("", "reconnected")
            await connection.execute("SELECT pg_notify('one', %s)", [str(number)])
            assert await heard.next() == ("one", str(number))


async def test_silent_connection_is_checked_and_kept(
    connection: Connection, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("persistence.listener.CHECK_EVERY_S", 0.02)
    async with listening(database_url, "one") as heard:
        pid = await listener_pid(connection)
        query = ""
        while query != "SELECT 1":
            cursor = await connection.execute(
                "SELECT query FROM pg_stat_activity WHERE pid = %s", [pid]
            )
            ((query,),) = await cursor.fetchall()
        await connection.execute("SELECT pg_notify('one', 'x')")
        assert await heard.next() == ("one", "x")
        assert await listener_pid(connection) == pid
