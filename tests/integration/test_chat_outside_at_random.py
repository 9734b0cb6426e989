"""People talk over sockets while somebody writes any SQL: everybody ends with the same picture."""

import random
import uuid
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import psycopg
import pytest

from protocol import commands
from protocol.errors import Refused
from tests.support.live_chats import STAFF, ChatScene, Event, chat_scene
from tests.support.rooms import principal

pytestmark = pytest.mark.fail_after(120)

PLAYERS = ["ann", "bob", "cat"]
STEPS = 120

_TEXTS = ["''", "' '", "'x'", "'ann'", "'bob'", r"E'a\nb'", "repeat('x', 5000)", "null"]
_INTEGERS = ["-1", "0", "1", "7", "2147483647", "9223372036854775807", "null"]
_TIMES = ["now()", "'infinity'", "'2001-01-01Z'", "'2999-01-01Z'", "'0044-03-15 BC'", "null"]
_STATUSES = [
    f"'{word}'" for word in ("waiting", "pending", "in_progress", "active", "resolved", "x")
]
_SOME_ID = ["'8c9d4d0c-0000-4000-8000-000000000001'", "'8c9d4d0c-0000-4000-8000-000000000002'"]
_REQUESTS = {
    "id": [*_SOME_ID, *_TEXTS],
    "player_id": [f"'{player}'" for player in PLAYERS] * 3 + _TEXTS,
    "player_name": _TEXTS,
    "initial_message": _TEXTS,
    "status": _STATUSES * 3,
    "assigned_staff": ["'s1'", "'s2'", *_TEXTS],
    "urgency": ["'low'", "'normal'", "'high'", "'x'", "null"],
    "unread_by_player": _INTEGERS,
    "unread_by_staff": _INTEGERS,
    **dict.fromkeys(
        (
            *("created_at", "updated_at", "waiting_since"),
            *("first_reply_at", "last_message_at", "resolved_at"),
        ),
        _TIMES,
    ),
}
_COLUMNS: dict[str, dict[str, list[str]]] = {
    "chat_requests": _REQUESTS,
    "chat_sessions": _REQUESTS
    | dict.fromkeys(("seq", "unit_id", "outside"), _INTEGERS)
    | {"assigned_staff_name": _TEXTS},
    "chat_messages": {
        "id": [*_SOME_ID, *_TEXTS],
        "session_id": ["'s'", *_SOME_ID, "(SELECT min(id) FROM chat_sessions)", "null"],
        "player_id": [f"'{player}'" for player in PLAYERS] * 3 + _TEXTS,
        "sender": ["'player'", "'staff'", "'system'", "'x'"],
        "sender_id": _TEXTS,
        "sender_name": _TEXTS,
        "message_text": _TEXTS,
        '"timestamp"': _TIMES,
        "seq": _INTEGERS,
        "status": ["'sent'", "'received'", "'read'", "'x'"] * 2,
        "received_at": _TIMES[:3],
        "read_at": _TIMES[:3],
        "source": _TEXTS,
    },
}


def statement(rng: random.Random) -> str:
    """Write something anywhere."""
    relation = rng.choices(list(_COLUMNS), (3, 2, 6))[0]
    values = _COLUMNS[relation]
    columns = rng.sample(sorted(values), rng.choice((1, 1, 2, 3)))
    given = {name: rng.choice(values[name]) for name in columns}
    roll = rng.random()
    if roll < 0.5:
        if rng.random() < 0.9:
            given["player_id"] = f"'{rng.choice(PLAYERS)}'"
        if relation == "chat_messages" and rng.random() < 0.9:
            given |= {
                "sender": rng.choice(("'player'", "'staff'", "'system'")),
                "message_text": "'m'",
            }
            given.setdefault("session_id", "null")
        return f"INSERT INTO {relation} ({', '.join(given)}) VALUES ({', '.join(given.values())})"
    if roll > 0.95:
        return f"DELETE FROM {relation} WHERE random() < 0.3"
    pairs = ", ".join(f"{name} = {value}" for name, value in given.items())
    return f"UPDATE {relation} SET {pairs} WHERE random() < 0.5"


class Picture:
    """What a client knows who only listened, beginning with nothing."""

    def __init__(self) -> None:
        self.seqs: dict[str, int] = {}
        self.statuses: dict[str, str] = {}
        self.messages: dict[str, dict[int, Event]] = {}

    def take(self, event: Event) -> None:
        """Take an event, which must be the session's next."""
        session = event.get("session") or {}
        key = event.get("session_id") or session["id"]
        assert event["seq"] == self.seqs.get(key, 0) + 1, event
        self.seqs[key] = event["seq"]
        said = self.messages.setdefault(key, {})
        if event.get("message") is not None:
            said[event["message"]["seq"]] = event["message"]
        self.statuses.setdefault(key, "waiting")
        match event["type"]:
            case "new-chat-request":
                self.statuses[key] = session["status"]
            case "chat-status-changed":
                assert event["from"] == self.statuses[key]
                self.statuses[key] = event["to"]
            case "chat-status-updated":
                self.statuses[key] = event["status"]
            case "chat-received":
                # Of a deleted message the id may be another one's by now.
                one = [m for m in said.values() if m["id"] == event["message_id"]][-1]
                one["status"] = "received"
            case "chat-read":
                last = max(m["seq"] for m in said.values() if m["id"] == event["message_id"])
                for one in said.values():
                    if one["seq"] <= last and (one["sender"] == "player") == (
                        event["reader"] == "staff"
                    ):
                        one["status"] = "read"


@pytest.fixture
async def scene(database_url: str) -> AsyncIterator[ChatScene]:
    async with chat_scene(database_url) as made:
        await made.club.wallets(*PLAYERS)
        for player in PLAYERS:
            made.player(player)
        yield made


async def talk(scene: ChatScene, rng: random.Random) -> None:
    """Do what clients do meanwhile, allowed or not."""
    who = rng.choice([*PLAYERS, STAFF, STAFF])
    sessions = await scene.club.one("SELECT coalesce(array_agg(id), '{none}') FROM chat_sessions")
    messages = await scene.club.one(
        "SELECT coalesce(array_agg(session_id || '/' || id), '{none/none}') FROM chat_messages"
    )
    session_id, _, message_id = rng.choice(messages).partition("/")
    new_id, of_staff = rng.choice([str(uuid.uuid4()), _SOME_ID[0][1:-1]]), who == STAFF
    choices: list[commands.AnyChatCommand] = [
        commands.ChatSend(
            session_id=rng.choice(sessions) if of_staff else "",
            message_id=new_id,
            message_text="hi",
        ),
        commands.ChatSend(
            player_id=rng.choice(PLAYERS) if of_staff else who,
            message_id=new_id,
            message_text="hi",
        ),
        commands.ChatReceived(session_id=session_id, message_id=message_id),
        commands.ChatRead(session_id=session_id, message_id=message_id),
        commands.SetChatStatus(
            session_id=rng.choice(sessions), status=rng.choice(["resolved", "pending"])
        ),
        commands.ChatAssign(session_id=rng.choice(sessions)),
    ]
    with suppress(Refused):
        await scene.run(who, rng.choice(choices), "staff" if who == STAFF else "player")


async def assert_as_stored(scene: ChatScene, pictures: dict[str, Picture]) -> None:
    """Hold every client's picture against what a client reads who comes in now."""
    boss = principal(STAFF, "staff")
    inbox = await scene.desk.inbox(boss, commands.ChatInbox(limit=200))
    for session in inbox.sessions:
        query = commands.ChatHistory(session_id=session.id, limit=200)
        history = await scene.desk.history(boss, query)
        assert [m.seq for m in history.messages] == sorted(m.seq for m in history.messages)
        of_player = pictures.get(session.player_id)
        for picture in (pictures[STAFF], *([] if of_player is None else [of_player])):
            assert picture.seqs.get(session.id, 0) == session.seq
            assert picture.statuses[session.id] == session.status
            for message in history.messages:
                told: dict[str, Any] = picture.messages[session.id][message.seq]
                assert (told["id"], told["sender"]) == (message.id, message.sender)
                assert (told["status"], told["timestamp"]) == (message.status, message.timestamp)
    for player, picture in pictures.items():
        if player != STAFF:
            own = {s.id for s in inbox.sessions if s.player_id == player}
            assert set(picture.seqs) <= own


@pytest.mark.parametrize("seed", range(4))
async def test_everybody_ends_with_the_same_picture(scene: ChatScene, seed: int) -> None:
    rng = random.Random(seed)
    pictures = {who: Picture() for who in (*PLAYERS, STAFF)}
    accepted = 0
    for _ in range(STEPS):
        with suppress(psycopg.Error):
            async with scene.sql.transaction():
                for _ in range(rng.choice((1, 1, 1, 2, 4))):
                    await scene.write(statement(rng))
            accepted += 1
        for _ in range(rng.choice((0, 1, 1, 3))):
            scene.club.now += 1_000
            await talk(scene, rng)
        if rng.random() < 0.5:
            continue
        staff, own = await scene.told()
        for who, events in {STAFF: staff, **own}.items():
            for event in events:
                pictures[who].take(event)
        await assert_as_stored(scene, pictures)
        await scene.assert_sound()
    assert accepted > 20
