"""Wrong input of every kind gets its code, names its field, and changes nothing."""

from __future__ import annotations

import json
import types
import typing
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import msgspec
import psycopg
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.outside import JSON, MSGPACK, Message, Outside, connected
from bench.server_process import ServerProcess
from protocol.commands import AnyCommand
from protocol.errors import ErrorCode
from server.http.bodies import camel
from tests.support.patience import PATIENCE_S
from tests.support.served import FAST, database_digest, rows, serving, web

CODES = {code.value for code in ErrorCode} - {ErrorCode.INTERNAL.value}
COMMANDS: dict[str, Any] = {
    str(kind.__struct_config__.tag): kind for kind in typing.get_args(AnyCommand)
}
PEOPLE = ("host", "p0", "p1", "p2", "watcher", "approved", "pending", "guest", "floor")
OPERATORS = {"host", "floor"}
SEATED = {"p0", "p1", "p2"}
THEIRS = {
    *("create_room", "join", "leave_room", "authenticate"),
    *("waitlist_join", "waitlist_leave", "chat_send"),
}
"""What an outsider may do for themselves."""
LOOKING = {
    *("heartbeat", "subscribe", "unsubscribe", "hydrate", "list_rooms", "authenticate"),
    *("chat_history", "chat_inbox", "chat_typing"),
}
MESSAGE = "00000000-0000-4000-8000-000000000001"
"""The id of what p0 has said to staff."""

REQUIRED: dict[str, Message] = {
    "subscribe": {"channel": "room:x"},
    "unsubscribe": {"channel": "room:x"},
    "approve": {"user_id": "pending"},
    "reject": {"user_id": "pending"},
    "seat": {"seat_index": 4, "buy_in": 1_000},
    "action": {"action": "FOLD"},
    "run_it": {"times": 2},
    "top_up": {"amount": 1},
    "kick": {"user_id": "watcher"},
    "ban": {"user_id": "watcher"},
    "unban": {"user_id": "watcher"},
    "settings": {"settings": {"ante": 1}},
    "adjust_chips": {"user_id": "p0", "delta": 1, "reason": "test"},
    "transfer_host": {"user_id": "watcher"},
    "rig_deck": {"cards": ["Ah"]},
    "waitlist_accept": {"entry_id": "nobody", "buy_in": 500},
    "waitlist_decline": {"entry_id": "nobody"},
    "waitlist_call": {"entry_id": "nobody"},
    "waitlist_seat": {"entry_id": "nobody"},
    "waitlist_move": {"entry_id": "nobody", "position": 1},
    "waitlist_remove": {"entry_id": "nobody"},
    "waitlist_no_show": {"entry_id": "nobody"},
    "chat_send": {"message_id": str(uuid.uuid4()), "message_text": "hello"},
    "chat_received": {"message_id": MESSAGE},
}
"""What each command cannot do without, beyond the room; the others need nothing."""

WRONG: list[Any] = [
    *[None, True, 1.5, 3.0, -1, 0, 10**15 + 1, 2**63, 2**64 - 1, "", "\x00", "a\x00b", "\n"],
    *["\U0001f0a1" * 61, "x" * 9_000, [], {}, [[]], {"a": {"b": []}}, "-1", "1e3", "null"],
]


class Scene:
    """A running server with a hand in the midst of play, and a closed room beside it."""

    def __init__(self, server: ServerProcess) -> None:
        self.server = server
        self.room_id = ""
        self.closed_id = ""
        self.session_id = ""
        self.game_id = ""
        self.turn = ""
        self.count: Counter[str] = Counter()

    def token(self, name: str) -> str:
        """Sign somebody's token."""
        return self.server.token(name, role="staff" if name == "floor" else "player")

    def digest(self) -> dict[str, str]:
        """Sum up the database."""
        with psycopg.connect(self.server.database_url) as conn:
            return database_digest(conn)

    async def build(self) -> None:
        """Bring everybody into their role."""
        for name in PEOPLE:
            async with connected(self.server.ws_url, token=self.token(name)):
                pass
        async with connected(self.server.ws_url, token=self.token("p0")) as player:
            said = {"message_id": MESSAGE, "message_text": "hello"}
            self.session_id = (await player.ask("chat_send", **said))["session"]["id"]
        async with connected(self.server.ws_url, token=self.token("host")) as host:
            options = {"big_blind": 10, "auto_start": False, "turn_seconds": 120, "max_seats": 6}
            made = await host.ask("create_room", settings=options | {"time_bank_seconds": 300})
            self.room_id = made["room"]["id"]
            other = await host.ask("create_room")
            self.closed_id = other["room"]["id"]
            await host.ask("close_room", room_id=self.closed_id)
            for name in (*sorted(SEATED), "watcher", "approved", "pending"):
                async with connected(self.server.ws_url, token=self.token(name)) as one:
                    await one.ask("join", room_id=self.room_id)
                    if name == "pending":
                        continue
                    await host.ask("approve", room_id=self.room_id, user_id=name)
                    if name in SEATED:
                        index = int(name[1])
                        await one.ask("seat", room_id=self.room_id, seat_index=index, buy_in=1_000)
                    if name == "watcher":
                        await one.ask("spectate", room_id=self.room_id)
            await host.ask("start", room_id=self.room_id)
            room = await host.ask("hydrate", room_id=self.room_id)
            self.turn = f"p{room['hand']['actor_seat']}"
            self.game_id = room["game"]["id"]


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    limits = {"CARDROOM_MAX_MESSAGE_BYTES": "65536", "CARDROOM_SOCKETS_PER_USER": "1000"}
    with serving(FAST | limits) as server:
        scene = Scene(server)
        trio.run(scene.build)
        yield scene
        print(dict(scene.count))
        errors = [line for line in server.log().splitlines() if '"level":"error"' in line]
        assert not errors, errors


def valid(kind: str, room_id: str) -> Message:
    """Make a command that lacks nothing."""
    fields = dict(REQUIRED.get(kind, {}))
    if "room_id" in COMMANDS[kind].__struct_fields__:
        fields["room_id"] = room_id
    return fields


async def refusal(socket: Outside, message: Any) -> Message:
    """Send something and return the error that comes; `re` must be the id where it is readable."""
    socket.frames.clear()
    if socket._coding == JSON:
        await socket.send_raw(message if isinstance(message, str) else json.dumps(message))
    else:
        await socket.send_raw(
            message if isinstance(message, bytes) else msgspec.msgpack.encode(message)
        )
    with trio.fail_after(PATIENCE_S):
        while True:
            for frame in socket.frames:
                reply: Message = (
                    json.loads(frame) if isinstance(frame, str) else msgspec.msgpack.decode(frame)
                )
                if reply["type"] in ("ok", "error", "authenticated"):
                    return reply
            if socket.closed is not None:
                raise socket.closed
            async with socket._news:
                if not socket.frames:
                    await socket._news.wait()


def check(scene: Scene, reply: Message, what: object) -> None:
    """Check that an error is one that clients know how to read."""
    scene.count["inputs"] += 1
    assert reply["type"] == "error", (what, reply)
    assert reply["code"] in CODES, (what, reply)
    assert reply["message"].endswith("."), (what, reply)
    if reply["code"] == "bad_request":
        assert reply["details"]["field"], (what, reply)


# Each role


EVERYBODY = frozenset(PEOPLE)
TALKS_NOT = EVERYBODY - {"p0", "floor"}
"""Whom p0's conversation is none of the business of."""
ROLE_CODES: list[tuple[str, Message, str, frozenset[str] | set[str]]] = [
    ("join", {}, "already_joined", EVERYBODY - {"guest", "floor"}),
    ("approve", {}, "forbidden", EVERYBODY - OPERATORS),
    ("approve", {"user_id": "nobody"}, "not_found", OPERATORS),
    ("approve", {"user_id": "watcher"}, "not_found", OPERATORS),
    ("reject", {}, "forbidden", EVERYBODY - OPERATORS),
    ("reject", {"user_id": "nobody"}, "not_found", OPERATORS),
    ("seat", {}, "already_joined", SEATED),
    ("seat", {}, "not_approved", {"pending", "guest"}),
    ("seat", {"seat_index": 0}, "seat_taken", {"watcher", "approved", "host", "floor"}),
    ("seat", {"seat_index": 6}, "bad_request", {"watcher", "approved", "host", "floor"}),
    ("seat", {"buy_in": 199}, "bad_request", {"watcher", "approved", "host", "floor"}),
    ("seat", {"buy_in": 1_001}, "bad_request", {"watcher", "approved", "host", "floor"}),
    ("spectate", {}, "already_joined", SEATED | {"watcher"}),
    ("spectate", {}, "not_approved", {"pending", "guest"}),
    ("leave_seat", {}, "not_found", EVERYBODY - SEATED),
    ("leave_room", {}, "conflict", {"host"}),
    ("leave_room", {}, "not_found", {"guest", "floor"}),
    ("action", {}, "forbidden", EVERYBODY - SEATED),
    ("run_it", {}, "forbidden", EVERYBODY - SEATED),
    ("run_it", {}, "conflict", SEATED),
    ("run_it", {"times": 0}, "bad_request", EVERYBODY),
    ("run_it", {"times": 4}, "bad_request", EVERYBODY),
    ("sit_out", {}, "not_found", EVERYBODY - SEATED),
    ("sit_in", {}, "not_found", EVERYBODY - SEATED),
    ("sit_in", {}, "conflict", SEATED),
    ("top_up", {}, "not_found", EVERYBODY - SEATED),
    ("top_up", {}, "conflict", SEATED),
    ("start", {}, "forbidden", EVERYBODY - OPERATORS),
    ("start", {}, "conflict", OPERATORS),
    ("pause", {}, "forbidden", EVERYBODY - OPERATORS),
    ("resume", {}, "forbidden", EVERYBODY - OPERATORS),
    ("resume", {}, "conflict", OPERATORS),
    ("kick", {}, "forbidden", EVERYBODY - OPERATORS),
    ("kick", {"user_id": "host"}, "bad_request", OPERATORS),
    ("kick", {"user_id": "guest"}, "not_found", OPERATORS),
    ("ban", {}, "forbidden", EVERYBODY - OPERATORS),
    ("ban", {"user_id": "host"}, "bad_request", OPERATORS),
    ("ban", {"user_id": "floor"}, "bad_request", {"floor"}),
    ("unban", {}, "forbidden", EVERYBODY - OPERATORS),
    ("unban", {}, "not_found", OPERATORS),
    ("settings", {}, "forbidden", EVERYBODY - OPERATORS),
    ("settings", {"settings": {}}, "bad_request", OPERATORS),
    ("settings", {"settings": {"small_blind": 11}}, "bad_request", OPERATORS),
    ("settings", {"settings": {"max_seats": 2}}, "bad_request", OPERATORS),
    ("settings", {"settings": {"straddle": 11}}, "bad_request", OPERATORS),
    ("settings", {"settings": {"run_it_times": 4}}, "bad_request", OPERATORS),
    ("settings", {"settings": {"bomb_pot": {"amount": 5}}}, "bad_request", OPERATORS),
    ("settings", {"settings": {"nonsense": 2}}, "bad_request", OPERATORS),
    ("adjust_chips", {}, "forbidden", EVERYBODY - OPERATORS),
    ("adjust_chips", {}, "conflict", OPERATORS),
    ("adjust_chips", {"user_id": "guest"}, "not_found", OPERATORS),
    ("transfer_host", {}, "forbidden", EVERYBODY - OPERATORS),
    ("transfer_host", {"user_id": "host"}, "conflict", OPERATORS),
    ("transfer_host", {"user_id": "guest"}, "not_found", OPERATORS),
    ("transfer_host", {"user_id": "pending"}, "not_found", OPERATORS),
    ("close_room", {}, "forbidden", EVERYBODY - OPERATORS),
    ("rig_deck", {}, "forbidden", EVERYBODY),
    ("waitlist_join", {}, "already_joined", SEATED),
    ("waitlist_join", {"player_id": "p0"}, "already_joined", OPERATORS),
    ("waitlist_join", {"player_id": "nobody"}, "forbidden", EVERYBODY - OPERATORS),
    ("waitlist_join", {"min_buy_in": 2, "max_buy_in": 1}, "bad_request", EVERYBODY - SEATED),
    ("waitlist_leave", {}, "not_found", EVERYBODY),
    ("waitlist_accept", {}, "not_found", EVERYBODY),
    ("waitlist_decline", {}, "not_found", EVERYBODY),
    ("waitlist_call", {}, "forbidden", EVERYBODY - OPERATORS),
    ("waitlist_call", {}, "not_found", OPERATORS),
    ("waitlist_seat", {}, "forbidden", EVERYBODY - OPERATORS),
    ("waitlist_seat", {}, "not_found", OPERATORS),
    ("waitlist_move", {}, "forbidden", EVERYBODY - OPERATORS),
    ("waitlist_move", {}, "not_found", OPERATORS),
    ("waitlist_remove", {}, "not_found", EVERYBODY),
    ("waitlist_no_show", {}, "forbidden", EVERYBODY - OPERATORS),
    ("waitlist_no_show", {}, "not_found", OPERATORS),
    ("hydrate", {}, "forbidden", {"pending", "guest"}),
    ("hydrate", {"role": "host"}, "forbidden", EVERYBODY - {"host"}),
    ("hydrate", {"role": "player"}, "forbidden", EVERYBODY - SEATED - {"host"}),
    ("subscribe", {"channel": "player-p0"}, "forbidden", EVERYBODY - {"p0"}),
    ("subscribe", {"channel": "staff-portal"}, "forbidden", EVERYBODY - {"floor"}),
    ("subscribe", {"channel": "room:nowhere"}, "not_found", EVERYBODY),
    ("subscribe", {"channel": "nonsense"}, "bad_request", EVERYBODY),
    ("create_room", {"settings": {"big_blind": 0}}, "bad_request", EVERYBODY),
    ("create_room", {"settings": {"small_blind": 9, "big_blind": 3}}, "bad_request", EVERYBODY),
    ("create_room", {"settings": {"name": "  "}}, "bad_request", EVERYBODY),
    ("chat_send", {}, "bad_request", {"floor"}),
    ("chat_send", {"session_id": "SESSION"}, "not_found", TALKS_NOT),
    ("chat_send", {"session_id": "nowhere"}, "not_found", EVERYBODY),
    ("chat_send", {"player_id": "p0"}, "forbidden", TALKS_NOT),
    ("chat_send", {"session_id": "SESSION", "message_id": MESSAGE}, "conflict", {"floor"}),
    ("chat_received", {}, "not_found", TALKS_NOT),
    ("chat_received", {"session_id": "SESSION"}, "not_found", TALKS_NOT),
    ("chat_read", {"message_id": MESSAGE}, "not_found", TALKS_NOT),
    ("chat_read", {"session_id": "SESSION", "message_id": MESSAGE}, "not_found", TALKS_NOT),
    ("chat_typing", {}, "bad_request", {"floor"}),
    ("chat_typing", {"session_id": "SESSION"}, "not_found", TALKS_NOT),
    ("chat_status", {"session_id": "SESSION", "status": "resolved"}, "not_found", TALKS_NOT),
    ("chat_status", {"session_id": "SESSION", "status": "resolved"}, "forbidden", {"p0"}),
    ("chat_status", {"session_id": "SESSION", "status": "nonsense"}, "bad_request", EVERYBODY),
    ("chat_status", {"session_id": "SESSION"}, "bad_request", {"floor"}),
    ("chat_assign", {"session_id": "SESSION"}, "not_found", TALKS_NOT),
    ("chat_assign", {"session_id": "SESSION"}, "forbidden", {"p0"}),
    ("chat_history", {"session_id": "SESSION"}, "not_found", TALKS_NOT),
    ("chat_history", {"player_id": "p0"}, "forbidden", TALKS_NOT),
    ("chat_history", {"before": MESSAGE}, "not_found", TALKS_NOT),
    ("chat_history", {"limit": 201}, "bad_request", EVERYBODY),
    ("chat_inbox", {"player_id": "p0"}, "forbidden", TALKS_NOT),
    ("chat_inbox", {"status": "nonsense"}, "bad_request", EVERYBODY),
]
"""Command, fields beside the valid ones, code, and for whom."""


@pytest.mark.parametrize("coding", [MSGPACK, JSON])
@pytest.mark.fail_after(120)
async def test_each_role_is_told_why_not(scene: Scene, coding: str) -> None:
    before = scene.digest()
    for who in PEOPLE:
        async with connected(scene.server.ws_url, coding=coding, token=scene.token(who)) as socket:
            for kind, extra, code, whom in ROLE_CODES:
                if who not in whom:
                    continue
                message = {"type": kind, "id": 7, **valid(kind, scene.room_id), **extra}
                if message.get("session_id") == "SESSION":
                    message["session_id"] = scene.session_id
                reply = await refusal(socket, message)
                check(scene, reply, (who, message))
                assert (reply["code"], reply["re"]) == (code, 7), (who, message, reply)
    assert scene.digest() == before


@pytest.mark.fail_after(120)
async def test_the_wrong_decision_is_told_what_would_be_legal(scene: Scene) -> None:
    before = scene.digest()
    for who in sorted(SEATED):
        async with connected(scene.server.ws_url, token=scene.token(who)) as socket:
            for action, amount, code in [
                ("CHECK", None, "illegal_action"),
                ("BET", 50, "illegal_action"),
                ("RAISE", 11, "illegal_action"),
                ("RAISE", 1_001, "illegal_action"),
                ("RAISE", 10**15, "illegal_action"),
                ("RAISE", None, "bad_request"),
                ("RAISE", 0, "bad_request"),
            ]:
                message = {"type": "action", "id": 1, "room_id": scene.room_id, "action": action}
                if amount is not None:
                    message["amount"] = amount
                reply = await refusal(socket, message)
                check(scene, reply, (who, message))
                if who == scene.turn or amount == 0:
                    assert reply["code"] == code, (message, reply)
                else:
                    assert reply["code"] == "not_your_turn"
                if reply["code"] == "illegal_action":
                    assert "can_fold" in json.dumps(reply["details"])
    assert scene.digest() == before


@pytest.mark.fail_after(120)
async def test_rooms_that_are_closed_or_nowhere(scene: Scene) -> None:
    before = scene.digest()
    for who in PEOPLE:
        async with connected(scene.server.ws_url, token=scene.token(who)) as socket:
            for kind in COMMANDS:
                if "room_id" not in COMMANDS[kind].__struct_fields__ or kind == "authenticate":
                    continue
                nowhere = {"type": kind, "id": 3, **valid(kind, str(uuid.uuid4()))}
                reply = await refusal(socket, nowhere)
                check(scene, reply, (who, nowhere))
                assert reply["code"] == "not_found", (who, nowhere, reply)
                if kind == "hydrate":
                    continue
                closed = {"type": kind, "id": 4, **valid(kind, scene.closed_id)}
                reply = await refusal(socket, closed)
                check(scene, reply, (who, closed))
                assert reply["code"] == "room_closed", (who, closed, reply)
                if kind == "join":
                    continue
                unnamed = {"type": kind, "id": 5, **REQUIRED.get(kind, {})}
                reply = await refusal(socket, unnamed)
                if "entry_id" in unnamed:
                    # The entry's table is looked for, so none has to be named.
                    assert reply["code"] == "not_found"
                    continue
                assert (reply["code"], reply["details"]["field"]) == ("bad_request", "room_id")
    assert scene.digest() == before


# Each field


@pytest.mark.parametrize("coding", [MSGPACK, JSON])
@pytest.mark.fail_after(240)
async def test_each_field_holds_its_type(scene: Scene, coding: str) -> None:
    """A value that the field's type does not take is refused with the field's name."""
    before = scene.digest()
    # The guest may do nothing in the room, so what is well-formed is refused all the same.
    async with connected(scene.server.ws_url, coding=coding, token=scene.token("guest")) as socket:
        for kind, command in COMMANDS.items():
            good = {"type": kind, "id": 11, **valid(kind, scene.room_id)}
            for name in REQUIRED.get(kind, {}):
                if kind == "settings":
                    continue
                without = {k: v for k, v in good.items() if k != name}
                reply = await refusal(socket, without)
                check(scene, reply, without)
                assert (reply["re"], reply["details"]["field"]) == (11, name), without
            for field in msgspec.structs.fields(command):
                values = [*WRONG, 2**64, -(2**70), 1e300] if coding == JSON else WRONG
                for value in values:
                    if _fits(value, field.type):
                        continue
                    message = good | {field.encode_name: value}
                    reply = await refusal(socket, message)
                    check(scene, reply, message)
                    named = reply["details"]["field"]
                    assert named.split(".")[0].split("[")[0] == field.encode_name, (message, reply)
                    assert reply["re"] == (None if field.name == "id" else 11), (message, reply)
    assert scene.digest() == before


def _fits(value: Any, kind: Any) -> bool:
    """Whether a field takes a value, by its declaration."""
    options = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    for option in options:
        if option is not msgspec.UnsetType:
            with suppress(msgspec.ValidationError):
                msgspec.convert(value, option)
                return True
    return False


@pytest.mark.parametrize(
    ("frame", "field", "re"),
    [
        ("{", None, None),
        ("", None, None),
        ("nonsense", None, None),
        ("[]", None, None),
        ("7", None, None),
        ('{"id": 5}', "type", 5),
        ('{"type": 7, "id": 5}', "type", 5),
        ('{"type": null, "id": 5}', "type", 5),
        ('{"type": "nonsense", "id": 5}', "type", 5),
        ('{"type": "ok", "id": 5}', "type", 5),
        ('{"type": "hydrate", "id": "5"}', "id", None),
        ('{"type": "hydrate", "id": 0}', "id", None),
        ('{"type": "hydrate", "id": -1}', "id", None),
        ('{"type": "hydrate", "id": 1.5}', "id", None),
        ('{"type": "hydrate", "id": 5, "room_id": "\\ud800"}', None, None),
        ('{"type": "hydrate", "id": 5, "room_id": "\\u0000"}', "room_id", 5),
        ('{"type": "hydrate", "id": 5, "id": 6, "room_id": 1}', "room_id", 6),
        ('{"type": "hydrate", "id": 5, "command_id": "nonsense"}', "command_id", 5),
        ("[" * 50_000, None, None),
        ('{"type":"hydrate","id":5,"x":' + "[" * 20_000 + "]" * 20_000 + "}", None, None),
        ('{"type": "hydrate", "id": 1' + "0" * 5_000 + "}", "id", None),
        ('{"type": "hydrate", "id": 1' + "0" * 30 + "}", "room_id", 10**30),
    ],
)
@pytest.mark.fail_after(120)
async def test_frames_that_are_no_command(
    scene: Scene, frame: str, field: str | None, re: int | None
) -> None:
    async with connected(scene.server.ws_url, coding=JSON, token=scene.token("guest")) as socket:
        reply = await refusal(socket, frame)
        assert (reply["type"], reply["code"], reply["re"]) == ("error", "bad_request", re), reply
        assert reply.get("details", {}).get("field") == field, reply
        assert (await socket.ask("heartbeat"))["at"] > 0


@pytest.mark.fail_after(120)
async def test_the_largest_id_comes_back(scene: Scene) -> None:
    for coding in (JSON, MSGPACK):
        async with connected(
            scene.server.ws_url, coding=coding, token=scene.token("guest")
        ) as socket:
            message = {"type": "heartbeat", "id": 2**63 - 1}
            assert (await refusal(socket, message))["re"] == 2**63 - 1


@pytest.mark.fail_after(120)
async def test_names_may_be_in_any_script(scene: Scene) -> None:
    async with connected(scene.server.ws_url, token=scene.token("host")) as host:
        for name in ("\U0001f0a1\U0001f0b1", "Ægir Þórsson", "مرحبا", "‮right to left"):
            made = await host.ask("create_room", settings={"name": name}, display_name=name)
            assert made["room"]["name"] == name
            await host.ask("close_room", room_id=made["room"]["id"])


# At most once


@pytest.mark.fail_after(120)
async def test_a_command_id_stands_for_one_command_of_one_user(scene: Scene) -> None:
    url, key = scene.server.ws_url, str(uuid.uuid4())
    async with (
        connected(url, token=scene.token("host")) as host,
        connected(url, token=scene.token("floor")) as floor,
    ):
        made = await host.ask("create_room", command_id=key)
        before = scene.digest()
        room_id = made["room"]["id"]
        for same in (key, key.upper(), key.replace("-", "")):
            again = await host.ask("create_room", command_id=same)
            assert again["room"]["id"] == room_id
            other = await host.refused("pause", room_id=room_id, command_id=same)
            assert other["code"] == "conflict"
        assert scene.digest() == before
        # Another user's id is another id.
        paused = await floor.ask("pause", room_id=room_id, command_id=key)
        after = scene.digest()
        for same in (key, key.upper(), key.replace("-", "")):
            assert (await floor.ask("pause", room_id=room_id, command_id=same))["seq"] == paused[
                "seq"
            ]
            wrong = await floor.refused("resume", room_id=room_id, command_id=same)
            assert wrong["code"] == "conflict"
            elsewhere = await floor.refused("pause", room_id=scene.room_id, command_id=same)
            assert elsewhere["code"] == "conflict"
        async with web(scene.server, "floor", "staff") as http:
            headers = {"Idempotency-Key": key}
            answer = await http.post(f"/api/rooms/{room_id}/pause", json={}, headers=headers)
            assert (answer.status_code, answer.json()["seq"]) == (200, paused["seq"])
            wrong_one = await http.post(f"/api/rooms/{room_id}/resume", json={}, headers=headers)
            assert (wrong_one.status_code, wrong_one.json()["code"]) == (409, "conflict")
        assert scene.digest() == after


# HTTP


HTTP_CASES: list[tuple[str, str, str, Any, int, str, str | None]] = [
    ("guest", "POST", "/api/rooms", {"bigBlind": "x"}, 400, "bad_request", "bigBlind"),
    ("guest", "POST", "/api/rooms", {"settings": {"bigBlind": 0}}, 400, "bad_request", None),
    ("guest", "POST", "/api/rooms", {"settings": {"nonsense": 0}}, 400, "bad_request", None),
    ("guest", "POST", "/api/rooms/R/join", {"userId": "host"}, 403, "forbidden", "userId"),
    ("guest", "POST", "/api/rooms/R/join", {"displayName": ""}, 400, "bad_request", "displayName"),
    ("guest", "POST", "/api/rooms/R/approve", {"userId": "pending"}, 403, "forbidden", None),
    ("host", "POST", "/api/rooms/R/approve", {}, 400, "bad_request", "userId"),
    ("host", "POST", "/api/rooms/R/approve", {"userId": "nobody"}, 404, "not_found", None),
    ("watcher", "POST", "/api/rooms/R/seat", {"buyIn": 500}, 400, "bad_request", "seatIndex"),
    (
        *("watcher", "POST", "/api/rooms/R/seat"),
        *({"seatIndex": 9, "buyIn": 500}, 400, "bad_request", "seatIndex"),
    ),
    (
        *("watcher", "POST", "/api/rooms/R/seat"),
        *({"seatIndex": 0, "buyIn": 500}, 409, "seat_taken", None),
    ),
    (
        *("watcher", "POST", "/api/rooms/R/seat"),
        *({"seatIndex": 5, "buyIn": 1.5}, 400, "bad_request", "buyIn"),
    ),
    ("guest", "GET", "/api/rooms/R/hydrate", None, 403, "forbidden", None),
    ("guest", "GET", "/api/rooms/R/hydrate?role=king", None, 400, "bad_request", "role"),
    ("watcher", "GET", "/api/rooms/R/hydrate?role=host", None, 403, "forbidden", None),
    ("watcher", "GET", "/api/rooms/R/hydrate?userId=p0", None, 403, "forbidden", "userId"),
    ("watcher", "GET", "/api/rooms/nowhere/hydrate", None, 404, "not_found", None),
    ("watcher", "GET", "/api/rooms/%00/hydrate", None, 400, "bad_request", "roomId"),
    ("guest", "GET", "/api/rooms/R/hands", None, 403, "forbidden", None),
    ("guest", "GET", "/api/rooms/R/hands/1.phh", None, 403, "forbidden", None),
    ("watcher", "GET", "/api/rooms/R/hands/one.phh", None, 400, "bad_request", "number"),
    ("watcher", "GET", "/api/rooms/R/hands/999.phh", None, 404, "not_found", None),
    ("watcher", "GET", "/api/rooms/R/hands?limit=1000", None, 400, "bad_request", "limit"),
    ("watcher", "GET", "/api/rooms/nowhere/hands", None, 404, "not_found", None),
    ("p0", "GET", "/api/rooms/R/ledger.csv", None, 403, "forbidden", None),
    ("floor", "GET", "/api/rooms/nowhere/ledger.csv", None, 404, "not_found", None),
    ("guest", "POST", "/api/games/G/actions", {"action": "FOLD"}, 403, "forbidden", None),
    ("guest", "POST", "/api/games/G/actions", {"action": "fold"}, 400, "bad_request", "action"),
    ("guest", "POST", "/api/games/nowhere/actions", {"action": "FOLD"}, 404, "not_found", None),
    ("p0", "POST", "/api/rooms/R/topup", {"amount": 2**70}, 400, "bad_request", "amount"),
    ("p0", "POST", "/api/rooms/R/topup", {"amount": 5}, 409, "conflict", None),
    ("p0", "POST", "/api/rooms/R/run-it", {"times": 2}, 409, "conflict", None),
    ("p0", "POST", "/api/rooms/R/run-it", {"times": 4}, 400, "bad_request", "times"),
    ("watcher", "POST", "/api/rooms/R/run-it", {"times": 2}, 403, "forbidden", None),
    ("p0", "POST", "/api/rooms/R/kick", {"userId": "p1"}, 403, "forbidden", None),
    ("p0", "POST", "/api/rooms/R/bans", {"userId": "p1"}, 403, "forbidden", None),
    ("p0", "GET", "/api/rooms/R/bans", None, 403, "forbidden", None),
    ("host", "DELETE", "/api/rooms/R/bans/nobody", None, 404, "not_found", None),
    ("p0", "POST", "/api/rooms/R/start", "not a map", 400, "bad_request", None),
    ("p0", "PATCH", "/api/rooms/R/settings", {"ante": 1}, 403, "forbidden", None),
    ("host", "PATCH", "/api/rooms/R/settings", {}, 400, "bad_request", "settings"),
    ("p0", "DELETE", "/api/rooms/R", None, 403, "forbidden", None),
    ("host", "POST", "/api/rooms/C/pause", {}, 410, "room_closed", None),
    ("p0", "POST", "/api/staff/wallets/p0/credit", {"amount": 5}, 403, "forbidden", None),
    ("floor", "POST", "/api/staff/wallets/p0/credit", {"amount": 5}, 400, "bad_request", "reason"),
    ("p0", "GET", "/api/staff/audit", None, 403, "forbidden", None),
    ("floor", "GET", "/api/staff/audit?limit=0", None, 400, "bad_request", "limit"),
    ("p0", "GET", "/api/me/ledger?before=99999999999999999999", None, 400, "bad_request", "before"),
    (
        *("guest", "POST", "/api/seat-requests"),
        *({"playerId": "p0", "tableId": "R"}, 403, "forbidden", None),
    ),
    ("guest", "POST", "/api/seat-requests", {"tableId": "R"}, 400, "bad_request", "playerId"),
    ("guest", "POST", "/api/seat-requests", {"playerId": 1}, 400, "bad_request", "tableId"),
    (
        *("guest", "POST", "/api/seat-requests"),
        *({"playerId": "guest", "tableId": "nowhere"}, 404, "not_found", None),
    ),
    ("guest", "GET", "/api/seat-requests/p0", None, 403, "forbidden", None),
    ("guest", "DELETE", "/api/seat-requests/nobody", None, 404, "not_found", None),
    ("guest", "GET", "/api/waitlist/table/nowhere", None, 404, "not_found", None),
    ("p0", "POST", "/api/waitlist/table/R", {"playerId": "guest"}, 403, "forbidden", None),
    ("floor", "POST", "/api/waitlist/nobody/call", {}, 404, "not_found", None),
    ("floor", "POST", "/api/waitlist/nobody/move", {}, 400, "bad_request", "position"),
    ("p0", "POST", "/api/waitlist/nobody/accept", {}, 400, "bad_request", "buyIn"),
    ("p0", "GET", "/api/nothing", None, 404, "not_found", None),
    ("p0", "POST", "/api/me", {}, 405, "bad_request", None),
    ("", "GET", "/api/me", None, 401, "unauthenticated", None),
]


OVER_HTTP: dict[str, tuple[str, str]] = {
    "join": ("POST", "/join"),
    "approve": ("POST", "/approve"),
    "reject": ("POST", "/reject"),
    "seat": ("POST", "/seat"),
    "leave_seat": ("DELETE", "/seat"),
    "spectate": ("POST", "/spectate"),
    "leave_room": ("DELETE", "/spectate"),
    "action": ("POST", "/api/games/G/actions"),
    "run_it": ("POST", "/run-it"),
    "sit_out": ("POST", "/sit-out"),
    "sit_in": ("POST", "/sit-in"),
    "top_up": ("POST", "/topup"),
    "start": ("POST", "/start"),
    "pause": ("POST", "/pause"),
    "resume": ("POST", "/resume"),
    "kick": ("POST", "/kick"),
    "ban": ("POST", "/bans"),
    "unban": ("DELETE", "/bans/"),
    "settings": ("PATCH", "/settings"),
    "adjust_chips": ("POST", "/chips"),
    "transfer_host": ("POST", "/transfer-host"),
    "close_room": ("DELETE", ""),
    "hydrate": ("GET", "/hydrate"),
    "create_room": ("POST", "/api/rooms"),
}
"""Where each command is on HTTP, from its room's path on unless it begins with ``/api``."""
ONLY_ON_SOCKETS = {"subscribe", "rig_deck"}
BY_ENTRY = {kind for kind in COMMANDS if kind.startswith("waitlist_")}
"""Over HTTP these find their table by the entry, and nobody's entry has none."""
CHATS = {kind for kind in COMMANDS if kind.startswith("chat_")}
"""Over HTTP these are spoken of in the portals' own words."""


@pytest.mark.fail_after(120)
async def test_each_role_is_told_the_same_over_http(scene: Scene) -> None:
    assert {kind for kind, *_ in ROLE_CODES} == (
        OVER_HTTP.keys() | ONLY_ON_SOCKETS | BY_ENTRY | CHATS
    )
    before = scene.digest()
    for who in PEOPLE:
        async with web(scene.server, who, "staff" if who == "floor" else "player") as http:
            for kind, extra, code, whom in ROLE_CODES:
                if who not in whom or kind not in OVER_HTTP:
                    continue
                method, path = OVER_HTTP[kind]
                fields = REQUIRED.get(kind, {}) | extra
                if path.endswith("/"):
                    path += fields.pop("user_id")
                if not path.startswith("/api"):
                    path = f"/api/rooms/{scene.room_id}{path}"
                path = path.replace("/G/", f"/{scene.game_id}/")
                body = {camel(name): value for name, value in fields.items()}
                if method == "GET":
                    answer = await http.get(path, params=body)
                else:
                    answer = await http.request(method, path, json=body)
                scene.count["inputs"] += 1
                assert answer.json().get("code") == code, (who, method, path, body, answer.json())
    assert scene.digest() == before


@pytest.mark.fail_after(120)
async def test_http_says_the_same(scene: Scene) -> None:
    before = scene.digest()
    for who, method, path, body, status, code, field in HTTP_CASES:
        path = path.replace("/R", f"/{scene.room_id}").replace("/C/", f"/{scene.closed_id}/")
        path = path.replace("/G/", f"/{scene.game_id}/")
        if isinstance(body, dict) and body.get("tableId") == "R":
            body = body | {"tableId": scene.room_id}
        async with web(scene.server, who or "p0", "staff" if who == "floor" else "player") as http:
            if not who:
                del http.headers["Authorization"]
            answer = await http.request(method, path, json=body)
            told = answer.json()
            assert (answer.status_code, told["code"]) == (status, code), (path, body, told)
            assert answer.headers["content-type"] == "application/problem+json"
            if field is not None:
                assert told["details"]["field"] == field, (path, body, told)
            elif code == "bad_request" and status == 400 and isinstance(body, dict):
                assert told["details"]["field"], (path, body, told)
            scene.count["inputs"] += 1
    async with web(scene.server, "p0") as http:
        bodies = [b"{", b"\xff", b"[" * 9_000, b'{"a":"\\ud800"}', b"1", b"null"]
        for raw in bodies:
            answer = await http.post(f"/api/rooms/{scene.room_id}/sit-in", content=raw)
            assert (answer.status_code, answer.json()["code"]) == (400, "bad_request"), raw
        headers = {"Idempotency-Key": "nonsense"}
        answer = await http.post(f"/api/rooms/{scene.room_id}/sit-in", json={}, headers=headers)
        assert answer.json()["details"]["field"] == "Idempotency-Key"
        answer = await http.post(f"/api/rooms/{scene.room_id}/join", content=b"x" * 2**20)
        assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
        doubled = await http.post(
            f"/api/rooms/{scene.room_id}/join", content=b'{"userId":"p0","userId":"host"}'
        )
        assert doubled.json()["code"] == "forbidden"
    assert scene.digest() == before


# Whatever comes


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=80)
    | st.sampled_from(["p0", "host", "guest", "Ah", "FOLD", "room:x", "player-p1", "host"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3)
    ),
    max_leaves=6,
)


@st.composite
def commands_of_all_kinds(draw: st.DrawFn) -> Message:
    kind = draw(st.sampled_from(sorted(COMMANDS)))
    message: Message = {"type": kind, "id": 9, **valid(kind, "ROOM")}
    names = [*COMMANDS[kind].__struct_fields__, "nonsense"]
    for name in draw(st.lists(st.sampled_from(names), max_size=3)):
        if name != "id":
            message[name] = draw(anything)
    return message


@settings(max_examples=60)
@given(
    who=st.sampled_from(["guest", "pending"]),
    coding=st.sampled_from([MSGPACK, JSON]),
    messages=st.lists(commands_of_all_kinds(), min_size=5, max_size=25),
)
def test_whatever_outsiders_send_changes_nothing_of_others(
    scene: Scene, who: str, coding: str, messages: list[Message]
) -> None:
    trio.run(_send_all, scene, who, coding, messages)


async def _send_all(scene: Scene, who: str, coding: str, messages: list[Message]) -> None:
    async with connected(scene.server.ws_url, coding=coding, token=scene.token(who)) as socket:
        before = scene.digest()
        for message in messages:
            if message["type"] in THEIRS:
                continue
            if message.get("room_id") == "ROOM":
                message = message | {"room_id": scene.room_id}
            reply = await refusal(socket, message)
            scene.count["inputs"] += 1
            assert reply["type"] == "ok" or reply["code"] in CODES, (message, reply)
            if reply["type"] == "error" and reply["code"] == "bad_request":
                assert reply["details"]["field"], (message, reply)
            if reply["type"] == "ok":
                assert message["type"] in LOOKING, (message, reply)
        assert scene.digest() == before


@pytest.mark.fail_after(120)
async def test_nothing_of_this_moved_the_room(scene: Scene) -> None:
    """The hand still waits for the one whose turn it was, who can go on."""
    (told,) = rows(
        scene.server, "SELECT count(*) AS n FROM actions WHERE room_id = %s", scene.room_id
    )
    assert told["n"] == 0
    async with connected(scene.server.ws_url, token=scene.token(scene.turn)) as socket:
        assert await socket.ask("action", room_id=scene.room_id, action="CALL")


def test_every_command_is_tried() -> None:
    tried = {kind for kind, *_ in ROLE_CODES}
    assert set(COMMANDS) - tried <= {"authenticate", "heartbeat", "unsubscribe", "list_rooms"}
