"""Signatures for clients of Pusher's, and Pusher's API for back ends, over HTTP."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlencode

import pytest
import trio
from quart.wrappers import Response

from actors.hub import Hub
from protocol.events import Published
from protocol.ids import STAFF_PORTAL
from protocol.principal import Principal
from server.framing import framed_event
from server.gateway.sockets import SocketsPerUser
from server.http.app import ALL_ROUTES
from server.pusher.channels import Naming
from server.pusher.endpoint import PusherEndpoint, PusherLimits
from server.pusher.events import frames_of
from tests.support.http import FakeClub, bearer, make_app
from tests.support.pusher import APP, OWN

SOCKET = "1234.5678"
EVENTS, BATCH = f"/apps/{APP.id}/events", f"/apps/{APP.id}/batch_events"
CHANNELS = f"/apps/{APP.id}/channels"
PLAIN = "text/plain; charset=utf-8"


class Listener:
    """A subscriber who has a channel under one name."""

    def __init__(self, coding: Naming) -> None:
        self.user_id, self.is_staff, self.coding = "29", False, coding
        self.got: list[bytes] = []

    def enqueue(self, frames: bytes) -> None:
        self.got.append(frames)


class Caller:
    """A client of an application with a Pusher-compatible endpoint."""

    def __init__(self, endpoint: PusherEndpoint | None) -> None:
        self.club = FakeClub()
        self._client = make_app(self.club, pusher=endpoint).test_client()

    async def send(self, method: str, path: str, **given: Any) -> Response:
        response = await self._client.open(path, method=method, **given)
        assert isinstance(response, Response)
        return response

    async def signed(
        self, method: str, path: str, body: object = None, query: dict[str, str] | None = None
    ) -> Response:
        """Send a request as Pusher's server libraries do."""
        data = b"" if body is None else json.dumps(body).encode()
        fields = {
            **(query or {}),
            "auth_key": APP.key,
            "auth_timestamp": str(int(time.time())),
            "auth_version": "1.0",
        }
        if data:
            fields["body_md5"] = hashlib.md5(data).hexdigest()
        fields["auth_signature"] = APP.request_signature(method, path, fields.items())
        return await self.send(method, f"{path}?{urlencode(fields)}", data=data)

    async def done(self, *request: Any) -> Any:
        response = await self.signed(*request)
        assert response.status_code == 200, await response.get_data(as_text=True)
        return json.loads(await response.get_data())

    async def failed(self, response: Response) -> tuple[int, str]:
        """Return the status and the sentence of an error."""
        assert response.content_type == PLAIN
        return response.status_code, await response.get_data(as_text=True)


@asynccontextmanager
async def calling() -> AsyncIterator[tuple[Caller, PusherEndpoint]]:
    async def nobody(token: str) -> Principal:
        raise AssertionError("no socket signs in here")

    async with trio.open_nursery() as nursery:
        endpoint = PusherEndpoint(
            app=APP,
            hub=Hub(encode=framed_event),
            identify=nobody,
            per_user=SocketsPerUser(20),
            limits=PusherLimits(30, 60, 30),
            nursery=nursery,
        )
        yield Caller(endpoint), endpoint


def listening(endpoint: PusherEndpoint, channel: str, naming: Naming = Naming.PLAIN) -> Listener:
    listener = Listener(naming)
    endpoint.hub.subscribe(channel, listener)
    return listener


def told(channel: str, name: str, data: str, naming: Naming = Naming.PLAIN) -> bytes:
    return frames_of(naming, Published(channel=channel, name=name, data=data))


# Signatures for sockets

OWN_CHANNEL = {"socket_id": SOCKET, "channel_name": "private-player-29"}


@pytest.mark.parametrize("as_form", [True, False])
async def test_ones_own_private_channel_is_signed(as_form: bool) -> None:
    async with calling() as (caller, _):
        body = {**OWN_CHANNEL, "more": "that portals send"}
        given: dict[str, Any] = {"form": body} if as_form else {"data": json.dumps(body)}
        response = await caller.send("POST", "/pusher/auth", headers=bearer("29"), **given)
        assert response.status_code == 200
        assert json.loads(await response.get_data()) == {
            "auth": APP.channel_auth(SOCKET, "private-player-29")
        }


async def test_staff_get_the_staff_channel_signed() -> None:
    async with calling() as (caller, _):
        body = {"socket_id": SOCKET, "channel_name": "private-staff-portal"}
        headers = bearer("sue", "staff")
        response = await caller.send("POST", "/pusher/auth", headers=headers, form=body)
        assert json.loads(await response.get_data()) == {
            "auth": APP.channel_auth(SOCKET, "private-staff-portal")
        }


@pytest.mark.parametrize(
    "channel",
    [
        "private-player-30",
        "private-player-2",
        "private-staff-portal",
        "private-staff-portal:x",
        "player-29",
        "staff-portal",
        "presence-player-29",
        "private-encrypted-player-29",
        "private-room:r1",
        ':user::{"id":"30"}',
        "#server-to-user-29",
    ],
)
async def test_no_other_channel_is_signed(channel: str) -> None:
    async with calling() as (caller, _):
        body = {"socket_id": SOCKET, "channel_name": channel}
        response = await caller.send("POST", "/pusher/auth", headers=bearer("29"), form=body)
        assert (await caller.failed(response))[0] == 403


@pytest.mark.parametrize("path", ["/pusher/auth", "/pusher/user-auth"])
@pytest.mark.parametrize(
    "socket_id", ["", "1", "1.", "a.b", "1.2:private-player-30", "1.2::user::{}", "1.2\n", "١.٢"]
)
async def test_only_the_id_of_a_socket_is_signed(path: str, socket_id: str) -> None:
    async with calling() as (caller, _):
        body = {**OWN_CHANNEL, "socket_id": socket_id}
        response = await caller.send("POST", path, headers=bearer("29"), form=body)
        assert (await caller.failed(response))[0] == 400


async def test_user_is_signed_with_id_name_and_role() -> None:
    async with calling() as (caller, _):
        response = await caller.send(
            "POST", "/pusher/user-auth", headers=bearer("sue", "staff"), form={"socket_id": SOCKET}
        )
        answer = json.loads(await response.get_data())
        data = {"id": "sue", "user_info": {"name": "Sue"}, "role": "staff"}
        assert json.loads(answer["user_data"]) == data
        assert answer["auth"] == APP.user_auth(SOCKET, answer["user_data"])


@pytest.mark.parametrize("path", ["/pusher/auth", "/pusher/user-auth"])
@pytest.mark.parametrize("authorization", [None, "Bearer nonsense", "Basic YTpi"])
async def test_signatures_want_an_access_token(path: str, authorization: str | None) -> None:
    async with calling() as (caller, _):
        headers = {} if authorization is None else {"Authorization": authorization}
        response = await caller.send("POST", path, headers=headers, form=OWN_CHANNEL)
        assert (await caller.failed(response))[0] == 401


async def test_body_that_is_no_form_is_refused() -> None:
    async with calling() as (caller, _):
        headers = bearer("29") | {"Content-Type": "application/x-www-form-urlencoded"}
        response = await caller.send("POST", "/pusher/auth", headers=headers, data=b"\xff=\xff&a")
        assert (await caller.failed(response))[0] == 400


# Publishing


async def test_back_end_publishes_an_event_to_channels() -> None:
    async with calling() as (caller, endpoint):
        player, private = listening(endpoint, OWN), listening(endpoint, OWN, Naming.PRIVATE)
        staff = listening(endpoint, STAFF_PORTAL)
        body = {
            "name": "welcome",
            "data": '{"a":1}',
            "channels": [OWN, "private-staff-portal", "x"],
        }
        assert await caller.done("POST", EVENTS, body) == {}
        assert player.got == [told(OWN, "welcome", '{"a":1}')]
        assert private.got == [told(OWN, "welcome", '{"a":1}', Naming.PRIVATE)]
        assert staff.got == [told(STAFF_PORTAL, "welcome", '{"a":1}')]


async def test_single_channel_may_be_named_alone_and_its_count_asked_for() -> None:
    async with calling() as (caller, endpoint):
        player = listening(endpoint, OWN)
        body = {"name": "welcome", "data": "hi", "channel": OWN, "info": "subscription_count"}
        assert await caller.done("POST", EVENTS, body) == {
            "channels": {OWN: {"subscription_count": 0}}  # no socket of the endpoint's
        }
        assert player.got == [told(OWN, "welcome", "hi")]


async def test_batch_is_published_in_order() -> None:
    async with calling() as (caller, endpoint):
        player, staff = listening(endpoint, OWN), listening(endpoint, STAFF_PORTAL)
        batch = [
            {"name": "one", "data": "1", "channel": OWN},
            {"name": "two", "data": "2", "channel": STAFF_PORTAL},
            {"name": "three", "data": "3", "channel": OWN, "socket_id": SOCKET},
        ]
        assert await caller.done("POST", BATCH, {"batch": batch}) == {}
        assert player.got == [told(OWN, "one", "1"), told(OWN, "three", "3")]
        assert staff.got == [told(STAFF_PORTAL, "two", "2")]


async def test_ten_long_events_fit_into_a_batch() -> None:
    async with calling() as (caller, endpoint):
        player = listening(endpoint, OWN)
        event = {"name": "long", "data": '"' * 10_240, "channel": OWN}
        assert await caller.done("POST", BATCH, {"batch": [event] * 10}) == {}
        assert len(player.got) == 10


E1 = {"name": "e", "data": "{}", "channel": OWN}


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        (EVENTS, {**E1, "data": "x" * 10_241}, 413),
        (EVENTS, {**E1, "data": "x" * 300_000}, 413),
        (EVENTS, {**E1, "data": {"not": "text"}}, 400),
        (EVENTS, {**E1, "name": "x" * 201}, 400),
        (EVENTS, {**E1, "name": ""}, 400),
        (EVENTS, {**E1, "name": "pusher:error"}, 400),
        (EVENTS, {**E1, "name": "pusher_internal:subscription_succeeded"}, 400),
        (EVENTS, {**E1, "channel": "room:r1"}, 400),
        (EVENTS, {**E1, "channel": "x" * 201}, 400),
        (EVENTS, {**E1, "socket_id": "nonsense"}, 400),
        (EVENTS, {**E1, "info": "user_count"}, 400),
        (EVENTS, {"name": "e", "data": "{}"}, 400),
        (EVENTS, {"name": "e", "data": "{}", "channels": []}, 400),
        (EVENTS, {"name": "e", "data": "{}", "channels": [OWN] * 101}, 400),
        (EVENTS, {"data": "{}", "channel": OWN}, 400),
        (BATCH, {"batch": [E1] * 11}, 400),
        (BATCH, {"batch": [E1, {"name": "e", "data": "{}"}]}, 400),
        (BATCH, {"batch": [E1, {**E1, "name": "pusher:error"}]}, 400),
        (BATCH, {}, 400),
    ],
)
async def test_what_cannot_be_published_is_refused_whole(
    path: str, body: dict[str, Any], status: int
) -> None:
    async with calling() as (caller, endpoint):
        player = listening(endpoint, OWN)
        assert (await caller.failed(await caller.signed("POST", path, body)))[0] == status
        assert player.got == []


# Looking


async def test_back_end_sees_which_channels_are_occupied() -> None:
    async with calling() as (caller, endpoint):
        endpoint._occupied.update({OWN: 2, STAFF_PORTAL: 1})
        assert await caller.done("GET", CHANNELS) == {"channels": {OWN: {}, STAFF_PORTAL: {}}}
        query = {"filter_by_prefix": "player-", "info": "subscription_count"}
        assert await caller.done("GET", CHANNELS, None, query) == {
            "channels": {OWN: {"subscription_count": 2}}
        }
        query = {"info": "subscription_count"}
        assert await caller.done("GET", f"{CHANNELS}/{OWN}", None, query) == {
            "occupied": True,
            "subscription_count": 2,
        }
        assert await caller.done("GET", f"{CHANNELS}/player-30") == {"occupied": False}
        response = await caller.signed("GET", CHANNELS, None, {"info": "user_count"})
        assert (await caller.failed(response))[0] == 400


# Who may

SIGNED = [route for route in ALL_ROUTES if route.access == "signed"]


@pytest.mark.parametrize("route", SIGNED, ids=lambda route: route.name)
async def test_unsigned_requests_are_refused_even_with_a_token_of_staff(route: Any) -> None:
    async with calling() as (caller, endpoint):
        staff = listening(endpoint, STAFF_PORTAL)
        path = route.path.format(app_id=APP.id, channel_name=OWN)
        headers = bearer("sue", "staff")
        response = await caller.send(route.method, path, headers=headers, data=json.dumps(E1))
        assert await caller.failed(response) == (401, "Unknown auth_key.")
        assert staff.got == []


async def test_stale_request_is_refused_with_the_reason() -> None:
    async with calling() as (caller, _):
        fields = {"auth_key": APP.key, "auth_timestamp": "1353088179", "auth_version": "1.0"}
        fields["auth_signature"] = APP.request_signature("GET", CHANNELS, fields.items())
        response = await caller.send("GET", f"{CHANNELS}?{urlencode(fields)}")
        status, reason = await caller.failed(response)
        assert (status, reason.startswith("Timestamp expired")) == (401, True)


async def test_another_app_is_not_there() -> None:
    async with calling() as (caller, _):
        response = await caller.signed("POST", "/apps/1/events", E1)
        assert (await caller.failed(response))[0] == 404


@pytest.mark.parametrize("path", ["/pusher/auth", "/pusher/user-auth", EVENTS])
async def test_without_an_app_there_is_no_such_endpoint(path: str) -> None:
    caller = Caller(None)
    response = await caller.send(
        "POST", path, headers=bearer("29"), data=json.dumps(E1 | OWN_CHANNEL)
    )
    assert (await caller.failed(response))[0] == 404
