"""The two codings of the wire: MessagePack in binary frames, JSON in text frames.

A frame is decoded once, straight into its typed command. What does not fit is refused with the path
of the field at fault.
"""

import re
from collections.abc import Callable
from enum import Enum

import msgspec
from msgspec import UNSET

from protocol.commands import AnyCommand, ChangeSettings
from protocol.errors import ErrorCode, Refused
from protocol.values import LooseSettings, SettingsPatch

MSGPACK_SUBPROTOCOL = "cardroom.v1.msgpack"
JSON_SUBPROTOCOL = "cardroom.v1.json"


class Coding(Enum):
    """How messages of one socket are written."""

    MSGPACK = MSGPACK_SUBPROTOCOL
    JSON = JSON_SUBPROTOCOL

    # Looked up for each event and socket; an enum's own hash is a call in Python.
    __hash__ = object.__hash__


class BadMessage(Refused):
    """A frame that is no valid command; `re` is its id where that much was readable."""

    def __init__(self, message: str, field: str | None, re: int | None) -> None:
        super().__init__(
            ErrorCode.BAD_REQUEST, message, None if field is None else {"field": field}
        )
        self.re = re


_json_encoder = msgspec.json.Encoder()
_msgpack_encoder = msgspec.msgpack.Encoder()

encode_json: Callable[[object], bytes] = _json_encoder.encode

_COMMANDS: dict[Coding, Callable[[bytes | str], AnyCommand]] = {
    Coding.MSGPACK: msgspec.msgpack.Decoder(AnyCommand).decode,  # type: ignore[dict-item]
    Coding.JSON: msgspec.json.Decoder(AnyCommand).decode,
}
_LOOSE_SETTINGS: dict[Coding, Callable[[bytes | str], LooseSettings]] = {
    Coding.MSGPACK: msgspec.msgpack.Decoder(LooseSettings).decode,  # type: ignore[dict-item]
    Coding.JSON: msgspec.json.Decoder(LooseSettings).decode,
}
_ANYTHING: dict[Coding, Callable[[bytes | str], object]] = {
    Coding.MSGPACK: msgspec.msgpack.Decoder().decode,  # type: ignore[dict-item]
    Coding.JSON: msgspec.json.Decoder().decode,
}

_MISSING = re.compile(r"missing required field `(?P<field>[^`]+)`")
_UNKNOWN = re.compile(r"contains unknown field `(?P<field>[^`]+)`")
_PATH = re.compile(r" - at `\$\.?(?P<path>[^`]*)`$")


def encode(coding: Coding, message: object) -> bytes:
    """Encode a message; the caller frames it (binary for MessagePack, text for JSON)."""
    return (
        _msgpack_encoder.encode(message)
        if coding is Coding.MSGPACK
        else _json_encoder.encode(message)
    )


def decode_command(coding: Coding, data: bytes | str) -> AnyCommand:
    """Decode a frame into its command.

    Raises:
        BadMessage: it is no valid command; the error names the field where there is one.
    """
    try:
        command = _COMMANDS[coding](data)
        if type(command) is ChangeSettings and command.settings is UNSET:
            command.settings = patch_of(_LOOSE_SETTINGS[coding](data))
        return command
    except msgspec.ValidationError as error:
        message, field = explain(error)
        raise BadMessage(message, field, _reply_id(coding, data)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadMessage(f"The frame is not valid {coding.name}.", None, None) from None


def decode_anything(coding: Coding, data: bytes | str) -> object:
    """Decode a frame into plain values, for clients.

    Raises:
        msgspec.DecodeError: it is not valid in this coding.
    """
    return _ANYTHING[coding](data)


def patch_of(settings: LooseSettings) -> SettingsPatch:
    """Take the settings out of a message in which they stand flat."""
    return SettingsPatch(
        **{name: getattr(settings, name) for name in LooseSettings.__struct_fields__}
    )


def explain(error: msgspec.ValidationError) -> tuple[str, str | None]:
    """Turn a validation error into a sentence and the dotted path of the field at fault."""
    text = str(error)
    path = match["path"] if (match := _PATH.search(text)) else ""
    sentence = text[: match.start()] if match else text
    named = _MISSING.search(sentence) or _UNKNOWN.search(sentence)
    if named:
        path = f"{path}.{named['field']}" if path else named["field"]
    elif "Invalid value" in sentence and not path:
        path = "type"
    return sentence.rstrip(".") + ".", path or None


def _reply_id(coding: Coding, data: bytes | str) -> int | None:
    try:
        plain = _ANYTHING[coding](data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    found = plain.get("id") if isinstance(plain, dict) else None
    return found if type(found) is int and found >= 1 else None
