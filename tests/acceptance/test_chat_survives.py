"""Conversations whose server is killed: nothing confirmed is lost, nothing seen is not stored.

And what is said is never in the log, whatever happens to it.
"""

from __future__ import annotations

import random
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
import trio

from bench.outside import JSON, Closed, Message, Refusal, connected
from bench.server_process import ServerProcess
from client.chats import Chats
from client.club import open_club
from client.timing import Timing
from tests.support.patience import PATIENCE_S
from tests.support.served import FAST, rows, served

pytestmark = pytest.mark.fail_after(120)

PLAYERS = 12
KILLS = 2
CONFIRMED_BETWEEN = 60
"""Messages that are confirmed before the next kill, and after the last."""
ANSWER_S = 3.0
"""How long somebody holds on to a socket: trio-websocket waits for ever where one is reset in its
handshake, as by a server that is killed."""
GONE = (Closed, OSError, trio.BrokenResourceError, ExceptionGroup)
ANSWERED = {"busy", "unavailable", "rate_limited"}


class Talkers:
    """Players and staff who talk over bare sockets, through every kill, and what they were told."""

    def __init__(self, server: ServerProcess) -> None:
        self.server = server
        self.confirmed: dict[str, Message] = {}
        """The messages that were confirmed, by id, as the reply had them."""
        self.seen: dict[tuple[str, int], dict[str, Message]] = {}
        """The events that anybody saw, by conversation and seq, by channel kind."""
        self.statuses: dict[str, tuple[int, str]] = {}
        """The last status confirmed to staff, with its seq, by conversation."""
        self.refused: Counter[str] = Counter()
        """The codes that nobody should have got."""
        self.told_twice: list[tuple[Message, Message]] = []
        """Events of one seq and channel that differ."""
        self.over = False

    def note(self, event: Message) -> None:
        """Keep an event; one seq is one event on its channel."""
        if event.get("private"):
            return
        session_id = event.get("session_id") or event["session"]["id"]
        side = "staff" if event["channel"] == "staff-portal" else "player"
        plain = {key: value for key, value in event.items() if key not in ("channel", "session")}
        before = self.seen.setdefault((session_id, event["seq"]), {}).setdefault(side, plain)
        if before != plain:
            self.told_twice.append((before, plain))

    async def player(self, number: int) -> None:
        """Say one thing after another; each again until it is confirmed."""
        rng = random.Random(number)
        token = self.server.token(f"player-{number}")
        while not self.over:
            message_id = str(uuid.uuid4())
            text = f"{number} says {message_id}"
            confirmed = None
            while confirmed is None:
                confirmed = await self._say(token, message_id, text)
            self.confirmed[message_id] = confirmed
            await trio.sleep(rng.random() * 0.02)

    async def _say(self, token: str, message_id: str, text: str) -> Message | None:
        with trio.move_on_after(ANSWER_S), suppress(*GONE):
            async with connected(self.server.ws_url, coding=JSON, token=token) as socket:
                socket.on_event = self.note
                said = {"message_id": message_id, "message_text": text}
                with self._allowed():
                    reply: Message = (await socket.ask("chat_send", **said))["message"]
                    return reply
        await trio.sleep(0.02)
        return None

    async def staff(self, name: str) -> None:
        """Answer whoever speaks, and resolve now and then."""
        rng = random.Random(name)
        token = self.server.token(name, role="staff")
        while not self.over:
            with trio.move_on_after(ANSWER_S), suppress(*GONE):
                async with connected(self.server.ws_url, coding=JSON, token=token) as socket:
                    socket.on_event = self.note
                    await socket.ask("subscribe", channel="staff-portal")
                    while not self.over:
                        await self._answer(socket, rng)
            await trio.sleep(0.02)

    async def _answer(self, socket: Any, rng: random.Random) -> None:
        # Reopening what the player has another conversation beside is a conflict.
        with self._allowed("conflict"):
            sessions = (await socket.ask("chat_inbox", status="waiting"))["sessions"]
            for session in sessions[:3]:
                message_id = str(uuid.uuid4())
                said = {"message_id": message_id, "message_text": f"answer {message_id}"}
                reply = await socket.ask("chat_send", session_id=session["id"], **said)
                self.confirmed[message_id] = reply["message"]
                if rng.random() < 0.5:
                    done = await socket.ask(
                        "chat_status", session_id=session["id"], status="resolved"
                    )
                    found = (done["seq"], done["session"]["status"])
                    self.statuses[session["id"]] = max(
                        found, self.statuses.get(session["id"], found)
                    )
        await trio.sleep(0.01)

    @contextmanager
    def _allowed(self, *more: str) -> Iterator[None]:
        try:
            yield
        except Refusal as refusal:
            self.refused[refusal.code] += refusal.code not in ANSWERED | {*more}


async def test_kills_lose_nothing_that_was_confirmed(tmp_path: Path) -> None:
    settings = {**FAST, "CARDROOM_SOCKETS_PER_USER": "1000"}
    server = ServerProcess(tmp_path / "data", settings)
    await server.start()
    talkers = Talkers(server)
    try:
        async with trio.open_nursery() as nursery:
            for number in range(PLAYERS):
                nursery.start_soon(talkers.player, number)
            for name in ("anna", "bert"):
                nursery.start_soon(talkers.staff, name)
            for _ in range(KILLS):
                await _confirmed(talkers, len(talkers.confirmed) + CONFIRMED_BETWEEN)
                await server.kill()
                await server.start()
            await _confirmed(talkers, len(talkers.confirmed) + CONFIRMED_BETWEEN)
            talkers.over = True
        _compare(server, talkers)
        assert not +talkers.refused
        assert not talkers.told_twice
        assert '"level":"error"' not in server.log()
    finally:
        await server.stop()


async def _confirmed(talkers: Talkers, number: int) -> None:
    while len(talkers.confirmed) < number:  # noqa: ASYNC110 - many talkers
        await trio.sleep(0.01)


def _compare(server: ServerProcess, talkers: Talkers) -> None:
    stored: dict[str, Any] = {
        row["id"]: row
        for row in rows(
            server, "SELECT id, session_id, player_id, sender, message_text, seq FROM chat_messages"
        )
    }
    sessions = {
        row["id"]: row
        for row in rows(server, "SELECT id, seq, status, player_id FROM chat_sessions")
    }
    for message_id, confirmed in talkers.confirmed.items():
        row = stored[message_id]
        for name in ("session_id", "player_id", "sender", "message_text", "seq"):
            assert row[name] == confirmed[name], (row, confirmed)
    for (session_id, seq), sides in talkers.seen.items():
        assert seq <= sessions[session_id]["seq"]
        for event in sides.values():
            message = event.get("message")
            if message is not None:
                row = stored[message["id"]]
                assert (row["session_id"], row["seq"]) == (session_id, seq)
                assert row["message_text"] == message["message_text"]
        messages = {(side.get("message") or {}).get("id") for side in sides.values()}
        assert len(messages) == 1, "both sides are told the same at one seq"
    for player_id in {session["player_id"] for session in sessions.values()}:
        open_ones = [
            one
            for one in sessions.values()
            if one["player_id"] == player_id and one["status"] != "resolved"
        ]
        assert len(open_ones) <= 1
    for session_id, (seq, status) in talkers.statuses.items():
        # A conversation that staff answer in afterwards is open again.
        assert sessions[session_id]["seq"] >= seq
        if sessions[session_id]["seq"] == seq:
            assert sessions[session_id]["status"] == status
    for counted in rows(
        server,
        "SELECT s.unread_by_staff, s.unread_by_player, "
        "count(*) FILTER (WHERE m.sender = 'player' AND m.status <> 'read') AS by_staff, "
        "count(*) FILTER (WHERE m.sender = 'staff' AND m.status <> 'read') AS by_player "
        "FROM chat_sessions s JOIN chat_messages m ON m.session_id = s.id GROUP BY s.id",
    ):
        assert (counted["unread_by_staff"], counted["unread_by_player"]) == (
            counted["by_staff"],
            counted["by_player"],
        )


async def test_the_client_goes_on_talking_when_connections_are_lost(tmp_path: Path) -> None:
    async with served(tmp_path, commands_per_s="10000", command_burst="10000") as server:
        url = server.ws_url
        timing = Timing(
            connect_s=PATIENCE_S, reply_s=PATIENCE_S, command_s=PATIENCE_S, backoff_max_s=0.1
        )
        staff_token = server.token("anna", role="staff")
        async with (
            open_club(url, server.token("alice"), timing=timing) as alice,
            open_club(url, staff_token, timing=timing) as anna,
        ):
            await anna.chats.open_inbox()
            await alice.chats.open()
            first = await alice.chats.say("one")
            await anna.chats.until(lambda c: c.session(first.session_id) is not None)
            await anna.chats.follow(first.session_id)
            for client in (alice, anna):
                assert client._connection is not None
                client._connection.abandon("cut")
            await alice.chats.say("two")
            await anna.chats.say("three", session_id=first.session_id)

            def complete(chats: Chats) -> bool:
                said = chats.messages(first.session_id)
                # Each side has acknowledged what the other said, by itself.
                return [(m.message_text, m.status) for m in said] == [
                    (text, "received") for text in ("one", "two", "three")
                ]

            await alice.chats.until(complete)
            await anna.chats.until(complete)
            assert alice.chats.messages() == anna.chats.messages(first.session_id)
            await alice.chats.read(alice.chats.messages()[-1])
            await anna.chats.until(lambda c: c.messages(first.session_id)[-1].status == "read")
            await anna.chats.set_status(first.session_id, "resolved")
            await alice.chats.until(
                lambda c: c.current is not None and c.current.status == "resolved"
            )
            fresh = await alice.chats.say("four")
            await anna.chats.until(lambda c: c.session(fresh.session_id) is not None)
            assert [s.status for s in anna.chats.sessions] == ["waiting", "resolved"]
            await alice.chats.until(lambda c: len(c.messages()) == 4)
            assert alice.chats.staff_online
            assert anna.chats.online("alice")


async def test_what_is_said_is_never_in_the_log(tmp_path: Path) -> None:
    """Crashes, constraints and refusals included."""
    secret = "SECRET" + uuid.uuid4().hex
    async with served(tmp_path, log_level="debug") as server:
        token, staff_token = server.token("alice"), server.token("anna", role="staff")
        async with (
            connected(server.ws_url, coding=JSON, token=token) as alice,
            connected(server.ws_url, coding=JSON, token=staff_token) as anna,
        ):

            async def say(socket: Any, text: str, **fields: Any) -> Message:
                said = {"message_id": str(uuid.uuid4()), "message_text": text, **fields}
                try:
                    reply: Message = await socket.ask("chat_send", **said)
                except Refusal as refusal:
                    return refusal.message
                return reply

            session_id = (await say(alice, f"{secret} first"))["session"]["id"]
            message_id = str(uuid.uuid4())
            await say(alice, f"{secret} once", message_id=message_id)
            # An id that is another's, in memory and by its constraint.
            taken = await say(anna, f"{secret} again", message_id=message_id, session_id=session_id)
            assert taken["code"] == "conflict"
            for text in (f"{secret}\x00", secret + "x" * 4000):
                assert (await say(alice, text))["code"] == "bad_request"
            await alice.send_raw('{"type": "chat_send", "message_text": "' + secret)
            # A database that refuses the row, and one that fails at it.
            for check in (
                "message_text !~ 'poison'",
                "length(message_text) / (strpos(message_text, 'x') - 1) > 0",
            ):
                with psycopg.connect(server.database_url, autocommit=True) as conn:
                    conn.execute("ALTER TABLE chat_messages DROP CONSTRAINT IF EXISTS test_check")
                    conn.execute(
                        "ALTER TABLE chat_messages ADD CONSTRAINT test_check "
                        f"CHECK ({check}) NOT VALID".encode()
                    )
                for socket, text in ((alice, f"x{secret} poison"), (anna, f"x{secret} poison")):
                    told = await say(socket, text, session_id=session_id)
                    assert secret not in str(told)
                    assert told["code"] == "internal", told
                    with trio.fail_after(PATIENCE_S):
                        while told["details"]["id"] not in server.log():  # noqa: ASYNC110 - a file
                            await trio.sleep(0.01)
    log = server.log()
    assert "test_check" in log, "the constraint was named"
    assert secret not in log
