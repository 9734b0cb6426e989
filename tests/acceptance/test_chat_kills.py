"""Killing the server while people talk. The long form is `cardroom bench chat-kills`."""

import random

import msgspec
import psycopg
import pytest

from bench.chat_bots import PlayerBot, StaffBot
from bench.chat_checks import ChatChecks
from bench.chat_kills import SETTINGS, kill_while_talking
from bench.chat_witness import ChatWitness, Confirmed
from bench.outside import MSGPACK, Message
from bench.serving import serving

KILLS = 6
PLAYERS = 40


@pytest.mark.fail_after(240)
async def test_six_kills_lose_nothing_that_was_said() -> None:
    async with serving(SETTINGS) as server:
        killed = await kill_while_talking(server, kills=KILLS, players=PLAYERS, seed=3)
    assert killed.lost == []
    assert killed.kills >= KILLS
    assert killed.confirmed > PLAYERS
    assert killed.acks > killed.confirmed > killed.by_http > 0
    assert killed.received > killed.events > killed.confirmed
    assert killed.sessions >= PLAYERS


MESSAGE = {
    "id": "m1",
    "session_id": "s",
    "player_id": "ann",
    "sender": "player",
    "sender_name": "Ann",
    "message_text": "Hello?",
    "timestamp": 5,
    "seq": 1,
    "status": "sent",
}
ANSWER = {
    **MESSAGE,
    "id": "m2",
    "sender": "staff",
    "message_text": "Yes.",
    "seq": 3,
    "status": "received",
}
READ = {
    "type": "chat-read",
    "channel": "staff-portal",
    "seq": 5,
    "at": 9,
    "session_id": "s",
    "message_id": "m1",
    "reader": "staff",
    "unread_by_player": 1,
    "unread_by_staff": 0,
}
STATUS = {
    "type": "chat-status-changed",
    "channel": "staff-portal",
    "seq": 4,
    "at": 8,
    "session_id": "s",
    "from": "waiting",
    "to": "in_progress",
    "by": "boss",
    "urgency": "normal",
}

AS_SERVER = "SET cardroom.journal = on"
"""What is stored here stands for what a server has written, right or wrong."""


@pytest.fixture
def chat_url(database_url: str) -> str:
    """A database with one conversation: asked, answered, taken into work, read by staff."""
    with psycopg.connect(database_url) as db:
        db.execute(AS_SERVER)
        db.execute(
            "INSERT INTO chat_sessions (id, player_id, player_name, status, seq, unread_by_player) "
            "VALUES ('s', 'ann', 'Ann', 'in_progress', 5, 1)"
        )
        db.execute(
            "INSERT INTO chat_messages (id, session_id, player_id, sender, sender_name, "
            "message_text, timestamp, seq, status) VALUES "
            "('m1', 's', 'ann', 'player', 'Ann', 'Hello?', from_ms(5), 1, 'read'), "
            "('m2', 's', 'ann', 'staff', 'Ann', 'Yes.', from_ms(5), 3, 'received')"
        )
        db.execute(
            "INSERT INTO push_notifications (kind, recipients, title, body, data) "
            """VALUES ('chat_request', '{}', '', '', '{"session_id": "s"}')"""
        )
    return database_url


def witness() -> ChatWitness:
    seen = ChatWitness()
    seen.message("ann", MESSAGE)
    seen.message("ann", ANSWER)
    seen.asked_received.add(("ann", "m2"))
    seen.asked_to_read["s", "staff"] = 1
    seen.event("boss", "staff", STATUS)
    seen.event("boss", "staff", READ)
    seen.was_read("s", "staff", ("ann", "m1"))
    seen.confirmed.append(Confirmed(("ann", "m1"), "ann", "s", 1))
    return seen


def violations(url: str, *damage: str) -> str:
    """Check before and after the damage, as around a kill; return what was found."""
    seen = witness()
    checks = ChatChecks(seen)
    checks.after_kill(url)
    assert seen.violations == []
    with psycopg.connect(url) as db:
        db.execute(AS_SERVER)
        for statement in damage:
            db.execute(statement.encode())
    checks.at_the_end(url)
    return "\n".join(seen.violations)


def test_the_checks_find_nothing_where_nothing_is_lost(chat_url: str) -> None:
    assert violations(chat_url) == ""


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        ("DELETE FROM chat_messages WHERE id = 'm2'", "was told and is not stored"),
        ("UPDATE chat_messages SET message_text = 'No.' WHERE id = 'm2'", "was told as"),
        ("UPDATE chat_messages SET seq = 2 WHERE id = 'm2'", "was told as"),
        ("UPDATE chat_messages SET status = 'received' WHERE id = 'm1'", "rank 1, not 2 to 2"),
        ("UPDATE chat_messages SET status = 'sent' WHERE id = 'm2'", "rank 0, not 1 to 1"),
        ("UPDATE chat_messages SET status = 'read' WHERE id = 'm2'", "rank 2, not 1 to 1"),
        ("UPDATE chat_sessions SET unread_by_player = 0", "says that 0 and 0 are unread"),
        ("UPDATE chat_sessions SET seq = 4", "staff saw 5 of s, which is at 4"),
        ("UPDATE chat_sessions SET seq = 2", "is at 2, its messages go from 1 to 3"),
        ("UPDATE chat_sessions SET status = 'waiting'", "told to have status in_progress at 4"),
        ("DELETE FROM chat_sessions", "m1 belongs to no session"),
        ("DELETE FROM push_notifications", "0 notifications announce that s has begun"),
        (
            "INSERT INTO push_notifications (kind, recipients, title, body, data) "
            "SELECT kind, recipients, title, body, data FROM push_notifications",
            "2 notifications announce that s has begun",
        ),
        (
            "INSERT INTO chat_messages (id, session_id, player_id, sender, sender_name, "
            "message_text, timestamp, seq) SELECT 'm3', session_id, player_id, sender, "
            "sender_name, message_text, from_ms(6), 4 FROM chat_messages WHERE id = 'm1'",
            "ann said 2 times: Hello?",
        ),
        (
            "UPDATE chat_messages SET timestamp = from_ms(4) WHERE id = 'm2'",
            "message m2 of s went back in time",
        ),
        (
            "DROP INDEX chat_sessions_open_key; INSERT INTO chat_sessions (id, player_id, "
            "player_name) VALUES ('t', 'ann', 'Ann')",
            "ann has 2 open sessions",
        ),
    ],
)
def test_the_checks_find_what_is_wrong(chat_url: str, damage: str, told: str) -> None:
    assert told in violations(chat_url, damage)


def test_a_refused_message_that_is_kept_is_found(chat_url: str) -> None:
    seen = witness()
    seen.refused.append(("ann", "m1"))
    ChatChecks(seen).at_the_end(chat_url)
    assert "was refused and is stored" in seen.violations[0]


def test_a_message_before_one_that_was_kept_earlier_is_found(chat_url: str) -> None:
    seen = witness()
    seen.confirmed.insert(0, Confirmed(("ann", "m2"), "ann", "s", 3))
    ChatChecks(seen).at_the_end(chat_url)
    assert "has 1, after 3" in seen.violations[0]


def test_a_session_that_was_told_otherwise_is_found(chat_url: str) -> None:
    seen = witness()
    seen.sessions["s", 5] = msgspec.msgpack.encode({"id": "s", "seq": 5, "status": "resolved"})
    ChatChecks(seen).at_the_end(chat_url)
    assert "was told as {'id': 's'" in seen.violations[0]


def bots(seen: ChatWitness) -> tuple[PlayerBot, StaffBot]:
    given = ("token", MSGPACK, seen, random.Random(1))
    return PlayerBot("ann", *given), StaffBot("boss", *given, number=0, of=1)


def event(seq: int, **more: object) -> Message:
    return {**READ, "seq": seq, **more}


async def test_what_clients_alone_can_see_to_be_wrong_is_found() -> None:
    seen = ChatWitness()
    seen.message("ann", MESSAGE)
    ann, boss = bots(seen)
    boss._take(event(5))
    boss._take(event(6))
    assert seen.violations == []
    boss._take(event(8))
    assert "8 of s follows 6" in seen.violations.pop()
    boss._take(event(8))
    assert "8 of s follows 8" in seen.violations.pop()
    seen.event("carl", "staff", event(8, unread_by_player=7))
    assert "carl was told" in seen.violations.pop()
    seen.message("carl", {**MESSAGE, "message_text": "Hello!"})
    assert "carl was told" in seen.violations.pop()
    ann.caught_up.set()
    ann._take(event(2))
    assert "2 of s follows None" in seen.violations.pop()
    ann._take({"type": "chat-typing", "seq": 2})
    assert "as if it were kept" in seen.violations.pop()
    assert seen.violations == []


async def test_a_session_that_went_back_is_found() -> None:
    seen = ChatWitness()
    ann, _ = bots(seen)
    ann._before["s"] = 5
    ann._hydrated({"id": "s", "seq": 4})
    assert "saw 5 of s and is now at 4" in seen.violations.pop()
    ann._begun["t"] = 6
    ann._hydrated({"id": "t", "seq": 4})
    assert "t is at 4, events from 6" in seen.violations.pop()
