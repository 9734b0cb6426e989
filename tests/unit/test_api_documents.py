"""The documents of the API describe all of it, and nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from game.poker.variants import VARIANTS
from protocol.errors import CloseCode, ErrorCode
from protocol.schema import COMMANDS, EVENTS, asyncapi, reply_of, wire_type
from server.http.app import ALL_ROUTES
from server.http.openapi import listing_variants, openapi
from tests.support.http import FakeClub, make_app

OPENAPI = openapi(ALL_ROUTES)
ASYNCAPI = asyncapi("127.0.0.1:8001")


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            if key == "$ref":
                yield item
            else:
                yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


def patterns(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            if key == "pattern" and isinstance(item, str):
                yield item
            else:
                yield from patterns(item)
    elif isinstance(value, list):
        for item in value:
            yield from patterns(item)


@pytest.mark.parametrize("document", [OPENAPI, ASYNCAPI])
def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    found = set(references(document))
    assert found
    for reference in found:
        at: Any = document
        for step in reference.removeprefix("#/").split("/"):
            assert step in at, reference
            at = at[step]


@pytest.mark.parametrize("document", [OPENAPI, ASYNCAPI])
def test_document_is_json_and_its_patterns_are_javascripts(document: dict[str, Any]) -> None:
    json.dumps(document, allow_nan=False)
    assert not [pattern for pattern in patterns(document) if r"\Z" in pattern]


def test_every_route_of_the_application_is_in_the_document_and_no_other() -> None:
    app = make_app(FakeClub())
    served = {
        (method, re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule))
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    described = {
        (method.upper(), re.sub(r"([A-Z])", lambda m: "_" + m[1].lower(), path))
        for path, methods in OPENAPI["paths"].items()
        for method in methods
    }
    assert described == served


def test_operations_have_names_of_their_own_and_summaries() -> None:
    assert len({route.name for route in ALL_ROUTES}) == len(ALL_ROUTES)
    assert all(route.summary for route in ALL_ROUTES)


def test_bodies_and_answers_are_in_camel_case_and_the_hydrated_room_is_not() -> None:
    schemas = OPENAPI["components"]["schemas"]
    assert {"seatIndex", "buyIn", "userId", "displayName"} == set(schemas["SeatBody"]["properties"])
    assert set(schemas["SeatBody"]["required"]) == {"seatIndex", "buyIn"}
    assert "bigBlind" in schemas["RoomBody"]["properties"]
    assert "bigBlind" in schemas["SettingsPatch"]["properties"]
    assert "loose" not in schemas["RoomBody"]["properties"]
    assert "everyNHands" in schemas["HttpBombPot"]["properties"]
    assert "every_n_hands" in schemas["BombPot"]["properties"]
    assert "HttpBombPot" in str(schemas["RoomBody"]["properties"]["bombPot"])
    assert "HttpBombPot" in str(schemas["SettingsPatch"]["properties"]["bombPot"])
    assert "HttpBombPot" in str(schemas["HttpRoomView"]["properties"]["bombPot"])
    assert "HttpBombPot" not in str(schemas["RoomView"]["properties"]["bomb_pot"])
    assert set(schemas["HttpJoined"]["properties"]) == {
        "seq",
        "roomId",
        "status",
        "waitingForApproval",
        "rejoinToken",
    }
    assert "hand_id" in schemas["RecentAction"]["properties"]


def test_documents_list_the_variants_that_the_rules_know() -> None:
    listed = listing_variants(ASYNCAPI)["components"]["schemas"]
    for schema in (listed["RoomSettings"], listed["SettingsPatch"], listed["RoomView"]):
        assert schema["properties"]["variant"]["enum"] == list(VARIANTS)
    body = OPENAPI["components"]["schemas"]["RoomBody"]
    assert body["properties"]["variant"]["enum"] == list(VARIANTS)
    pattern = re.compile(body["properties"]["variant"]["pattern"])
    assert all(pattern.search(name) for name in VARIANTS)


def test_every_code_is_in_the_document() -> None:
    assert set(OPENAPI["components"]["schemas"]["ErrorCode"]["enum"]) == set(ErrorCode)
    join = OPENAPI["paths"]["/api/rooms/{roomId}/join"]["post"]
    told = " ".join(response["description"] for response in join["responses"].values())
    assert all(f"`{code}`" in told for code in ErrorCode)


def test_every_command_is_described_with_its_reply() -> None:
    for command in COMMANDS:
        operation = ASYNCAPI["operations"][f"receive{command.__name__}"]
        assert operation["action"] == "receive"
        [reply, refusal] = operation["reply"]["messages"]
        assert reply["$ref"].endswith("/" + reply_of(command).__name__)
        assert refusal["$ref"].endswith("/ErrorReply")
        message = ASYNCAPI["components"]["messages"][command.__name__]
        assert message["name"] == wire_type(command)
        schema = ASYNCAPI["components"]["schemas"][command.__name__]
        assert schema["properties"]["type"]["enum"] == [wire_type(command)]


def test_every_event_is_described() -> None:
    sent = {
        item["$ref"].rpartition("/")[2] for item in ASYNCAPI["operations"]["sendEvents"]["messages"]
    }
    assert sent == {event.__name__ for event in EVENTS}
    names = [message["name"] for message in ASYNCAPI["components"]["messages"].values()]
    assert {wire_type(event) for event in EVENTS} <= set(names)
    assert ASYNCAPI["components"]["schemas"]["CardsDealt"]["properties"]["private"]


def test_socket_and_close_codes_are_told() -> None:
    document = asyncapi("play.example", "/ws", "wss")
    assert document["servers"]["socket"] == {
        "host": "play.example",
        "protocol": "wss",
        "pathname": "/ws",
    }
    told = document["channels"]["socket"]["description"]
    assert str(CloseCode.TOO_SLOW) in told
    assert str(CloseCode.RESTARTING) in told
