"""The WebSocket protocol as an AsyncAPI 3 document, made from the message types themselves."""

from collections.abc import Sequence
from typing import Any, get_args

import msgspec
from msgspec import Struct

from protocol import commands
from protocol.chat_events import CHAT_EVENTS
from protocol.codec import JSON_SUBPROTOCOL, MSGPACK_SUBPROTOCOL
from protocol.commands import AnyCommand
from protocol.errors import CloseCode, ErrorReply
from protocol.events import PRIVATE_EVENTS, PUBLIC_EVENTS, Event
from protocol.replies import REPLIES

Document = dict[str, Any]
"""JSON as plain values: objects of any depth."""

COMMANDS: tuple[type[commands.Command], ...] = get_args(AnyCommand)
EVENTS: tuple[type[Event], ...] = PUBLIC_EVENTS + PRIVATE_EVENTS + CHAT_EVENTS

_SCHEMAS = "#/components/schemas/"
_MESSAGES = "#/components/messages/"
_CHANNEL = {"$ref": "#/channels/socket"}


def reply_of(command: type[commands.Command]) -> type[Struct]:
    """Return the type of a command's reply where it succeeds."""
    return REPLIES[command]


def wire_type(message: type[Struct]) -> str:
    """Return the `type` that a message has on the wire."""
    return str(message.__struct_config__.tag)


def schemas(types: list[type[Struct]]) -> dict[str, Document]:
    """Return the JSON schemas of types and of all that they refer to, by name."""
    _, components = msgspec.json.schema_components(
        types, schema_hook=_of_anything, ref_template=_SCHEMAS + "{name}"
    )
    plain: dict[str, Document] = _in_ecma_262(components)
    return plain


def asyncapi(host: str, path: str = "/ws", protocol: str = "ws") -> Document:
    """Describe the socket: every command with its reply, and every event.

    Args:
        host: where it is, with the port.
        path: its path.
        protocol: ``ws`` or ``wss``.
    """
    answers = list(dict.fromkeys(reply_of(command) for command in COMMANDS))
    messages: list[type[Struct]] = [*COMMANDS, *answers, ErrorReply, *EVENTS]
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Cardroom",
            "version": "1",
            "description": (
                f"One protocol message per frame. The subprotocol `{MSGPACK_SUBPROTOCOL}` (binary"
                f" frames, the default) or `{JSON_SUBPROTOCOL}` (text frames) chooses the coding;"
                " the messages are the same. `authenticate` comes first."
            ),
        },
        "defaultContentType": "application/json",
        "servers": {"socket": {"host": host, "protocol": protocol, "pathname": path}},
        "channels": {
            "socket": {
                "address": "/",
                "description": f"Close codes: {_close_codes()}.",
                "messages": {
                    kind.__name__: {"$ref": _MESSAGES + kind.__name__} for kind in messages
                },
            }
        },
        "operations": {
            **{f"receive{kind.__name__}": _command(kind) for kind in COMMANDS},
            "sendEvents": {
                "action": "send",
                "channel": _CHANNEL,
                "summary": "Events come unasked.",
                "messages": [_on_channel(kind) for kind in EVENTS],
            },
        },
        "components": {
            "messages": {kind.__name__: _message(kind) for kind in messages},
            "schemas": schemas(messages),
        },
    }


def with_values(value: Any, title: str, values: Sequence[str]) -> Any:  # any part of a document
    """Return a document in which the type of this title lists the values that it may have."""
    if isinstance(value, list):
        return [with_values(item, title, values) for item in value]
    if not isinstance(value, dict):
        return value
    listed = {key: with_values(item, title, values) for key, item in value.items()}
    return listed | {"enum": list(values)} if value.get("title") == title else listed


def _in_ecma_262(value: Any) -> Any:  # any part of a document
    """Write the ends of patterns as JSON Schema does, which has no ``\\Z``."""
    if isinstance(value, dict):
        return {
            key: item.removesuffix(r"\Z") + "$"
            if key == "pattern" and isinstance(item, str) and item.endswith(r"\Z")
            else _in_ecma_262(item)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_in_ecma_262(item) for item in value]
    return value


def _of_anything(kind: type) -> Document:
    """Describe values of any kind, which the particulars of an error may be."""
    if kind is not object:
        raise TypeError(f"{kind} has no place on the wire")
    return {"description": "Any value."}


def _message(kind: type[Struct]) -> Document:
    return {
        "name": wire_type(kind),
        "summary": (kind.__doc__ or "").strip().partition("\n")[0],
        "payload": {"$ref": _SCHEMAS + kind.__name__},
    }


def _command(kind: type[commands.Command]) -> Document:
    return {
        "action": "receive",
        "channel": _CHANNEL,
        "summary": (kind.__doc__ or "").strip().partition("\n")[0],
        "messages": [_on_channel(kind)],
        "reply": {
            "channel": _CHANNEL,
            "messages": [_on_channel(reply_of(kind)), _on_channel(ErrorReply)],
        },
    }


def _on_channel(kind: type[Struct]) -> Document:
    return {"$ref": f"#/channels/socket/messages/{kind.__name__}"}


def _close_codes() -> str:
    codes = {name: code for name, code in vars(CloseCode).items() if name.isupper()}
    return ", ".join(f"{code} {name.lower().replace('_', ' ')}" for name, code in codes.items())
