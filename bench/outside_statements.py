"""What older portals write with SQL, and how clients know that they were told of it."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

WAITLIST = ("waitlist", "seat_requests")
SESSIONS = ("chat_sessions", "chat_requests")
PLAYER = "chatter"
"""The player whose chats are written."""


class Write(NamedTuple):
    """A statement, and whether a message from the server is what it makes known."""

    statement: str
    tells: Callable[[dict[str, Any]], bool]


def queue_writes(room_id: str) -> Iterator[Write]:
    """Have players join, move up, give up and be removed, under the two names in turn."""
    relations = itertools.cycle(WAITLIST)
    for number in itertools.count():
        who = [f"p{number}-{n}" for n in range(3)]
        for player_id in who:
            statement = (
                f"INSERT INTO {next(relations)} (table_id, player_id, player_name)"
                f" VALUES ('{room_id}', '{player_id}', 'P')"
            )
            yield Write(statement, _queue_told(player_id, "player_joined"))
        statement = f"UPDATE {next(relations)} SET position = 1 WHERE player_id = '{who[2]}'"
        yield Write(statement, _queue_told(who[2], "moved"))
        statement = f"UPDATE {next(relations)} SET status = 'no_show' WHERE player_id = '{who[0]}'"
        yield Write(statement, _queue_told(who[0], "player_left"))
        for player_id in who[1:]:
            statement = f"DELETE FROM {next(relations)} WHERE player_id = '{player_id}'"
            yield Write(statement, _queue_told(player_id, "player_left"))


def chat_writes() -> Iterator[Write]:
    """Have conversations opened, talked in, read and resolved, in both vocabularies in turn."""
    relations = itertools.cycle(SESSIONS)
    words = itertools.cycle((("pending", "active"), ("waiting", "in_progress")))
    while True:
        session_id, asked, answered = (str(uuid.uuid4()) for _ in range(3))
        waiting, in_progress = next(words)
        yield Write(
            f"INSERT INTO {next(relations)} (id, player_id, initial_message, status)"
            f" VALUES ('{session_id}', '{PLAYER}', 'help', '{waiting}')",
            _chat_told(session_id, "new-chat-request", "chat-status-updated"),
        )
        yield Write(
            "INSERT INTO chat_messages (id, session_id, sender, message_text)"
            f" VALUES ('{asked}', '{session_id}', 'player', 'help')",
            _chat_told(asked, "chat-message-received", "player-confirmation"),
        )
        yield Write(
            f"UPDATE {next(relations)} SET status = '{in_progress}' WHERE id = '{session_id}'",
            _chat_told(session_id, "chat-status-changed", "chat-status-updated"),
        )
        yield Write(
            "INSERT INTO chat_messages (id, player_id, sender, message_text)"
            f" VALUES ('{answered}', '{PLAYER}', 'staff', 'coming')",
            _chat_told(answered, "chat-message-received", "staff-message-received"),
        )
        yield Write(
            f"UPDATE chat_messages SET status = 'read' WHERE id = '{answered}'",
            _chat_told(answered, "chat-read"),
        )
        yield Write(
            f"UPDATE {next(relations)} SET status = 'resolved' WHERE id = '{session_id}'",
            _chat_told(session_id, "chat-status-changed", "chat-status-updated"),
        )


def _queue_told(player_id: str, change: str) -> Callable[[dict[str, Any]], bool]:
    return lambda event: event.get("player_id") == player_id and event.get("change") == change


def _chat_told(key: str, *types: str) -> Callable[[dict[str, Any]], bool]:
    """Make what knows an event of one of these types about a session, or about a message."""

    def tells(event: dict[str, Any]) -> bool:
        about = event.get("message") or event.get("session") or {}
        keys = (about.get("id"), event.get("message_id"), event.get("session_id"))
        return event["type"] in types and key in keys

    return tells
