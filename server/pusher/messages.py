"""The protocol's own messages and its codes (Pusher's docs, "Channels WebSocket protocol")."""

from collections.abc import Callable
from typing import TypeVar

import msgspec
from msgspec import Struct

from protocol.codec import encode_json
from protocol.errors import CloseCode
from server.transport import Dialect, frame

PROTOCOLS = frozenset({"5", "6", "7"})
"""Versions that this server speaks: what it sends is the same in all of them."""

MAX_CLIENT_EVENT_BYTES = 10 * 1024


class Code:
    """Codes of errors and closes: 4000–4099 do not come back, 4100–4199 come back after a while,
    4200–4299 come back at once, 4300–4399 close nothing."""

    NO_APP = 4001
    OVER_QUOTA = 4004
    BAD_VERSION = 4006
    UNSUPPORTED_PROTOCOL = 4007
    NO_PROTOCOL = 4008
    UNAUTHORIZED = 4009
    OVER_CAPACITY = 4100
    RECONNECT = 4200
    NO_PONG = 4201
    CLIENT_EVENT_REJECTED = 4301


class Incoming(Struct, frozen=True):
    """A message of a client. `data` is an object, or for some libraries its JSON text."""

    event: str
    channel: str = ""
    data: msgspec.Raw = msgspec.Raw(b"{}")


class SubscribeData(Struct, frozen=True):
    """What is to be subscribed to or left, and the signature that lets one."""

    channel: str
    auth: str = ""
    channel_data: str | None = None


class SigninData(Struct, frozen=True):
    """Who it is: `user_data` and its signature, as `pusher-js` sends them, or an access token."""

    auth: str = ""
    user_data: str = ""
    token: str | None = None


D = TypeVar("D", SubscribeData, SigninData)


class UserData(Struct, frozen=True):
    """What of a signed-in user is signed. `role` is ours: who signs may say that it is staff."""

    id: str
    role: str = "player"


class Malformed(Exception):
    """A message that is none of the protocol's; the text is a sentence for its sender."""


decode_incoming: Callable[[str], Incoming] = msgspec.json.Decoder(Incoming).decode


def read(incoming: Incoming, kind: type[D]) -> D:
    """Read what a message is about, which some libraries write as JSON text.

    Raises:
        Malformed: it has not what belongs to it.
    """
    try:
        return msgspec.json.decode(as_text(incoming.data), type=kind)
    except (msgspec.DecodeError, RecursionError):
        raise Malformed(f"The data is not that of a {incoming.event[:40]}.") from None


def as_text(data: msgspec.Raw) -> str:
    """Return JSON text; where the JSON is a string, that string."""
    text = bytes(data).decode()
    return msgspec.json.decode(text, type=str) if text.startswith('"') else text


def message(event: str, data: object = None, channel: str | None = None) -> bytes:
    """Make the frame of a message; its data is sent as JSON text, as Pusher does."""
    text = encode_json({} if data is None else data).decode()
    return text_message(event, text, channel)


def text_message(event: str, data: str, channel: str | None = None) -> bytes:
    """Make the frame of a message whose data is text already."""
    named = {} if channel is None else {"channel": channel}
    return frame(encode_json({"event": event, **named, "data": data}), text=True)


def error(code: int | None, text: str) -> bytes:
    """Make the frame of an error; without a code where Pusher has none."""
    body = {"event": "pusher:error", "data": {"code": code, "message": text}}
    return frame(encode_json(body), text=True)


def subscription_error(channel: str, status: int, text: str) -> bytes:
    """Make the frame that refuses a subscription, with the HTTP status that fits."""
    data = {"type": "AuthError", "error": text, "status": status}
    return message("pusher:subscription_error", data, channel)


def established(socket_id: str, activity_timeout_s: int) -> bytes:
    """Make the first frame of a connection."""
    data = {"socket_id": socket_id, "activity_timeout": activity_timeout_s}
    return message("pusher:connection_established", data)


SUCCEEDED = "pusher_internal:subscription_succeeded"
PONG = message("pusher:pong")
PING = message("pusher:ping")

DIALECT = Dialect(
    ping=PING,
    close_codes={
        CloseCode.IDLE: Code.NO_PONG,
        CloseCode.TOO_SLOW: Code.OVER_CAPACITY,
        CloseCode.FLOODING: Code.OVER_CAPACITY,
        CloseCode.GOING_AWAY: Code.RECONNECT,
        CloseCode.RESTARTING: Code.RECONNECT,
        CloseCode.INTERNAL: Code.RECONNECT,
    },
)
"""Clients of Pusher know neither pings of the WebSocket nor our close codes: from 4000 to 4099, in
which ours for a slow or a silent client are, they would never come back."""

PARTING = Dialect(PING, {})
"""For a close whose code is the protocol's already: some of those are ours for something else."""
