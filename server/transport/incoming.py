"""From a peer's frames to messages (RFC 6455 section 5.4), within what one peer may ask of us."""

from __future__ import annotations

from websockets.frames import Frame, Opcode

from server.transport.limits import TransportLimits

try:
    from websockets.speedups import apply_mask
except ImportError:  # where the library came without its compiled part
    from websockets.utils import apply_mask

INVALID_DATA = 1007
POLICY_VIOLATION = 1008
TOO_BIG = 1009
FLOODING = 4029


# First byte of a frame that is a whole message: FIN and the opcode.
_WHOLE_TEXT = 0x81
_WHOLE_BINARY = 0x82
_MASKED = 0x80
_HEAD_BYTES = 6  # two and the mask, of a frame with less than 126 bytes of payload


class MessageRefused(Exception):
    """A frame that ends its connection.

    Attributes:
        code: Close code.
        reason: Text beside it.
    """

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code} {reason}")
        self.code = code
        self.reason = reason


class Incoming:
    """Puts messages together and counts what is no message.

    The order of frames is checked by the protocol core before. So is the size of each, but with
    room for a control frame: the core would refuse a ping that comes within a message for having
    more bytes than the message has left.
    """

    __slots__ = ("_control_frames", "_control_since", "_parts", "_size", "_text")

    def __init__(self) -> None:
        self._parts: list[bytes] | None = None
        self._size = 0
        self._text = False
        self._control_frames = 0
        self._control_since = 0.0

    def take_short(self, data: bytes, limits: TransportLimits) -> bytes | str | None:
        """Return the message if `data`, which begins with a frame, is one short whole message.

        Nearly every command is one, and the protocol core takes three times as long for it. None
        means that `data` is for the core, whatever it is.

        Raises:
            MessageRefused: 1007 text that is not UTF-8.
        """
        length = len(data) - _HEAD_BYTES
        if (
            self._parts is not None
            or not 0 <= length < 126
            or data[1] != _MASKED | length
            or length > limits.max_message_bytes
        ):
            return None
        if data[0] == _WHOLE_BINARY:
            return apply_mask(data[6:], data[2:6])
        if data[0] == _WHOLE_TEXT:
            return _decoded(apply_mask(data[6:], data[2:6]))
        return None

    def take(self, frame: Frame, now: float, limits: TransportLimits) -> bytes | str | None:
        """Take the next frame; return the message if it completes one.

        Args:
            frame: Any but a Close frame.
            now: On trio's clock.
            limits: For the size of a message, its fragments, and control frames.

        Raises:
            MessageRefused: 1007 text that is not UTF-8, 1008 too many fragments (an empty one
                counts too), 1009 too long a message, 4029 too many control frames.
        """
        opcode = frame.opcode
        if opcode is Opcode.PING or opcode is Opcode.PONG:
            self._count_control_frame(now, limits)
            return None
        data = bytes(frame.data)
        parts = self._parts
        self._size = len(data) if parts is None else self._size + len(data)
        if self._size > limits.max_message_bytes:
            raise MessageRefused(TOO_BIG, f"over {limits.max_message_bytes} bytes")
        if parts is None:
            text = opcode is Opcode.TEXT
            if frame.fin:
                return _decoded(data) if text else data
            self._parts, self._text = [data], text
            return None
        parts.append(data)
        if len(parts) > limits.max_fragments:
            raise MessageRefused(POLICY_VIOLATION, "too many fragments")
        if not frame.fin:
            return None
        self._parts = None
        data = b"".join(parts)
        return _decoded(data) if self._text else data

    def _count_control_frame(self, now: float, limits: TransportLimits) -> None:
        if now - self._control_since >= 1.0:
            self._control_since = now
            self._control_frames = 0
        self._control_frames += 1
        if self._control_frames > limits.max_control_frames_per_s:
            raise MessageRefused(FLOODING, "flooding")


def _decoded(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise MessageRefused(INVALID_DATA, "invalid UTF-8") from None
