"""Signatures for clients of Pusher's, and Pusher's own API for back ends that publish.

These answer as Pusher does, so that its libraries need no change: bodies without `success`, errors
as one sentence of plain text.
"""

from typing import Annotated

from msgspec import Meta
from quart import Response

from protocol.codec import encode_json
from protocol.errors import ErrorCode, Refused, bad_field
from server.http.bodies import Body
from server.http.calls import Call, Routes, plain_response
from server.http.openapi import JSON
from server.pusher.channels import (
    CHANNEL_PATTERN,
    MAX_CHANNEL_CHARS,
    MAX_EVENT_CHARS,
    is_socket_id,
)
from server.pusher.people import user_data_of

ROUTES = Routes("pusher", plain_errors=True)

MAX_DATA_BYTES = 10 * 1024
MAX_CHANNELS = 100
MAX_BATCH = 10
SUBSCRIPTION_COUNT = "subscription_count"

ChannelName = Annotated[str, Meta(max_length=MAX_CHANNEL_CHARS, pattern=CHANNEL_PATTERN)]
AnyChannelName = Annotated[str, Meta(min_length=1, max_length=MAX_CHANNEL_CHARS)]
EventName = Annotated[str, Meta(min_length=1, max_length=MAX_EVENT_CHARS)]


class SocketBody(Body, frozen=True, kw_only=True):
    """The socket that asks, as a form or as JSON."""

    socket_id: str


class ChannelAuthBody(SocketBody, frozen=True, kw_only=True):
    """The socket, and the private channel that it wants."""

    channel_name: AnyChannelName


class EventBody(Body, frozen=True, kw_only=True):
    """An event: `data` is text, usually JSON; `info` asks for `subscription_count`."""

    name: EventName
    data: str
    channel: ChannelName | None = None
    socket_id: str | None = None
    info: str | None = None


class PublishBody(EventBody, frozen=True, kw_only=True):
    """An event for one or more channels."""

    channels: Annotated[tuple[ChannelName, ...], Meta(max_length=MAX_CHANNELS)] = ()


class BatchBody(Body, frozen=True, kw_only=True):
    """Several events."""

    batch: Annotated[list[EventBody], Meta(max_length=MAX_BATCH)]


class ChannelsQuery(Body, frozen=True, kw_only=True):
    """Which channels, and with `subscription_count` in `info` how many have each."""

    filter_by_prefix: str = ""
    info: str = ""


class ChannelQuery(Body, frozen=True, kw_only=True):
    """With `subscription_count` in `info`, how many have the channel."""

    info: str = ""


@ROUTES("POST", "/pusher/auth", takes=ChannelAuthBody, answers=JSON, form=True)
async def pusher_auth(call: Call, body: ChannelAuthBody) -> Response:
    """Sign that a socket may subscribe to a private channel of the asker's own."""
    _check_socket_id(body.socket_id)
    await call.club.accounts.welcome(call.principal)
    auth = call.pusher.authorize(call.principal, body.socket_id, body.channel_name)
    if auth is None:
        raise Refused(ErrorCode.FORBIDDEN, "This channel is not for you.")
    return _json({"auth": auth})


@ROUTES("POST", "/pusher/user-auth", takes=SocketBody, answers=JSON, form=True)
async def pusher_user_auth(call: Call, body: SocketBody) -> Response:
    """Sign that a socket is the asker's, for signing in on it."""
    _check_socket_id(body.socket_id)
    await call.club.accounts.welcome(call.principal)
    data = user_data_of(call.principal)
    return _json({"auth": call.pusher.app.user_auth(body.socket_id, data), "user_data": data})


@ROUTES("POST", "/apps/{app_id}/events", takes=PublishBody, answers=JSON, access="signed")
async def pusher_publish(call: Call, body: PublishBody) -> Response:
    """Publish an event to channels."""
    names = [*body.channels, *([] if body.channel is None else [body.channel])]
    if not names:
        raise bad_field("channels", "Say which channels.")
    _check_event(body)
    call.pusher.publish_to(names, body.name, body.data, body.socket_id)
    if body.info is None:
        return _json({})
    return _json({"channels": {name: _told(call, name, body.info) for name in names}})


@ROUTES("POST", "/apps/{app_id}/batch_events", takes=BatchBody, answers=JSON, access="signed")
async def pusher_publish_batch(call: Call, body: BatchBody) -> Response:
    """Publish several events, all or none."""
    targets = []
    for event in body.batch:
        if event.channel is None:
            raise bad_field("channel", "Say which channel.")
        _check_event(event)
        targets.append((event.channel, event))
    for channel, event in targets:
        call.pusher.publish_to([channel], event.name, event.data, event.socket_id)
    if all(event.info is None for event in body.batch):
        return _json({})
    told = [_told(call, channel, event.info or "") for channel, event in targets]
    return _json({"batch": told})


@ROUTES("GET", "/apps/{app_id}/channels", takes=ChannelsQuery, answers=JSON, access="signed")
async def pusher_channels(call: Call, query: ChannelsQuery) -> Response:
    """List the channels that clients of Pusher's have."""
    _check_info(query.info)
    names = sorted(call.pusher.channels())
    wanted = [name for name in names if name.startswith(query.filter_by_prefix)]
    return _json({"channels": {name: _told(call, name, query.info) for name in wanted}})


@ROUTES(
    "GET",
    "/apps/{app_id}/channels/{channel_name}",
    takes=ChannelQuery,
    answers=JSON,
    access="signed",
)
async def pusher_channel(call: Call, query: ChannelQuery) -> Response:
    """Say whether clients of Pusher's have a channel."""
    _check_info(query.info)
    name = call.path["channel_name"]
    occupied = name in call.pusher.channels()
    return _json({"occupied": occupied, **_told(call, name, query.info)})


def _told(call: Call, name: str, info: str) -> dict[str, int]:
    """Tell what was asked for about a channel."""
    return {SUBSCRIPTION_COUNT: call.pusher.channels().get(name, 0)} if info else {}


def _check_info(info: str) -> None:
    if info not in ("", SUBSCRIPTION_COUNT):
        raise bad_field("info", f"There is {SUBSCRIPTION_COUNT} only.")


def _check_event(event: EventBody) -> None:
    if event.name.startswith(("pusher:", "pusher_internal:")):
        raise Refused(ErrorCode.BAD_REQUEST, "Names with this prefix are the protocol's own.")
    if len(event.data.encode()) > MAX_DATA_BYTES:
        raise Refused(ErrorCode.TOO_LARGE, f"The data is over {MAX_DATA_BYTES} bytes.")
    _check_info(event.info or "")
    if event.socket_id is not None:
        _check_socket_id(event.socket_id)


def _check_socket_id(text: str) -> None:
    if not is_socket_id(text):
        raise bad_field("socket_id", "This is no socket_id.")


def _json(body: object) -> Response:
    return plain_response(encode_json(body), JSON)
