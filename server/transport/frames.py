"""Server frames (RFC 6455 section 5.2): unmasked, so the same bytes serve every receiver."""

from __future__ import annotations

_TEXT = 0x81  # FIN and opcode 1
_BINARY = 0x82  # FIN and opcode 2

# Nearly every message is short: its whole header is one look-up.
_SHORT_TEXT = tuple(bytes((_TEXT, length)) for length in range(126))
_SHORT_BINARY = tuple(bytes((_BINARY, length)) for length in range(126))

PING = b"\x89\x00"
"""A ping without payload."""

_MAX_REASON_BYTES = 123  # a control frame carries 125 bytes (section 5.5), the code takes 2


def frame(payload: bytes, *, text: bool) -> bytes:
    """Return one complete, unfragmented, unmasked frame.

    The result may be enqueued on any number of connections, and concatenated with other frames.

    Args:
        payload: The message; UTF-8 if `text`, which is not checked.
        text: Whether the frame is a text frame or a binary one.
    """
    length = len(payload)
    if length < 126:
        return (_SHORT_TEXT if text else _SHORT_BINARY)[length] + payload
    first = _TEXT if text else _BINARY
    if length < 65536:
        return bytes((first, 126, length >> 8, length & 0xFF)) + payload
    return bytes((first, 127)) + length.to_bytes(8, "big") + payload


def fitting_reason(reason: str) -> str:
    """Return `reason`, cut at a character so that it fits into a Close frame."""
    encoded = reason.encode("utf-8", "replace")
    if len(encoded) <= _MAX_REASON_BYTES:
        return encoded.decode()
    return encoded[:_MAX_REASON_BYTES].decode("utf-8", "ignore")
