"""What is asked of OneSignal, held against what it takes; and what its stand-in refuses."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec
import pytest

from bench.push_requests import PushRequest, Refused, checked
from persistence.push import Notification
from server.push.onesignal import MAX_ALIASES, requests_for

APP = "11111111-1111-4111-8111-111111111111"
KEY = UUID("22222222-2222-4222-8222-222222222222")
HEADERS = {"authorization": "Key secret", "content-type": "application/json"}
NOW = 1_763_632_800_000


def row(**changes: Any) -> Notification:
    given: dict[str, Any] = {
        "id": KEY,
        "kind": "seat_offer",
        "recipients": ["ann"],
        "title": "Your seat is ready",
        "body": "Seat 3 is held for you.",
        "data": {"seat_index": 3},
        "attempts": 1,
        "expires_at": None,
    }
    return Notification(**given | changes)


def read(
    body: object, *, method: str = "POST", target: str = "/notifications", **headers: str
) -> PushRequest:
    data = body if isinstance(body, bytes) else msgspec.json.encode(body)
    given = HEADERS | {name.replace("_", "-"): value for name, value in headers.items()}
    return checked(method, target, given, data, app_id=APP, api_key="secret")


def test_a_notification_is_a_request_that_is_taken() -> None:
    (body,) = requests_for(row(), APP, NOW)
    assert body == {
        "app_id": APP,
        "include_aliases": {"external_id": ["ann"]},
        "target_channel": "push",
        "headings": {"en": "Your seat is ready"},
        "contents": {"en": "Seat 3 is held for you."},
        "data": {"kind": "seat_offer", "seat_index": 3},
        "idempotency_key": str(KEY),
    }
    assert read(body).idempotency_key == str(KEY)


def test_a_notification_with_an_end_is_not_kept_beyond_it() -> None:
    (body,) = requests_for(row(expires_at=NOW + 45_900), APP, NOW)
    assert read(body).ttl == 45
    (late,) = requests_for(row(expires_at=NOW - 1), APP, NOW)
    assert read(late).ttl == 0


def test_many_recipients_are_several_requests_whose_keys_stay_the_same() -> None:
    many = row(recipients=[f"u{n}" for n in range(2 * MAX_ALIASES + 1)])
    asked = [read(body) for body in requests_for(many, APP, NOW)]
    found = [user for one in asked for user in one.include_aliases["external_id"]]
    assert found == many.recipients
    keys = [one.idempotency_key for one in asked]
    assert len(set(keys)) == 3
    assert keys == [str(body["idempotency_key"]) for body in requests_for(many, APP, NOW + 5)]


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"app_id": "33333333-3333-4333-8333-333333333333"}, 400),
        ({"app_id": "cardroom"}, 400),
        ({"included_segments": ["All"]}, 400),
        ({"include_aliases": {}}, 400),
        ({"include_aliases": {"external_id": []}}, 400),
        ({"include_aliases": {"external_id": ["ann", ""]}}, 400),
        ({"include_aliases": {"ExternalIds": ["ann"]}}, 400),
        ({"include_aliases": {"external_id": ["u"] * (MAX_ALIASES + 1)}}, 400),
        ({"target_channel": "email"}, 400),
        ({"contents": {}}, 400),
        ({"contents": {"de": "Platz frei"}}, 400),
        ({"headings": {"de": "Platz frei"}}, 400),
        ({"idempotency_key": "again"}, 400),
        ({"data": {"text": "x" * 2048}}, 400),
        ({"data": "text"}, 400),
        ({"ttl": -1}, 400),
        ({"surprise": 1}, 400),
    ],
)
def test_the_stand_in_refuses_what_onesignal_would(changed: dict[str, Any], status: int) -> None:
    (body,) = requests_for(row(), APP, NOW)
    with pytest.raises(Refused) as caught:
        read(body | changed)
    assert caught.value.status == status


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"authorization": "Key wrong"}, 403),
        ({"authorization": "Basic secret"}, 403),
        ({"authorization": ""}, 403),
        ({"content_type": "text/plain"}, 400),
        ({"method": "GET"}, 405),
        ({"target": "/players"}, 404),
    ],
)
def test_the_stand_in_looks_at_path_and_headers(changed: dict[str, Any], status: int) -> None:
    (body,) = requests_for(row(), APP, NOW)
    with pytest.raises(Refused) as caught:
        read(body, **changed)
    assert caught.value.status == status


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff"])
def test_the_stand_in_wants_a_json_object(body: bytes) -> None:
    with pytest.raises(Refused) as caught:
        read(body)
    assert caught.value.status == 400
