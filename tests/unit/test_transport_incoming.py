"""The short way that most messages take past the protocol core leads where the core's does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.protocol import SERVER, Protocol, State

from server.transport.incoming import Incoming, MessageRefused
from server.transport.limits import TransportLimits
from tests.integration.transport_harness import masked

LIMITS = TransportLimits()
OPCODES = st.sampled_from([Opcode.TEXT, Opcode.BINARY, Opcode.PING, Opcode.CONT, Opcode.CLOSE])


def by_the_core(data: bytes) -> list[Frame]:
    """What the protocol core makes of bytes on an open connection."""
    core = Protocol(SERVER, state=State.OPEN, max_size=LIMITS.max_message_bytes)
    core.receive_data(data)
    return [frame for frame in core.events_received() if isinstance(frame, Frame)]


def is_utf8(data: bytes) -> bool:
    """Whether bytes are text."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


@given(st.binary(max_size=130), st.sampled_from([Opcode.TEXT, Opcode.BINARY]))
def test_a_short_message_is_what_the_core_would_have_made_of_it(
    payload: bytes, opcode: Opcode
) -> None:
    data = masked(opcode, payload)
    (frame,) = by_the_core(data)
    if len(payload) > 125:
        assert Incoming().take_short(data, LIMITS) is None
    elif opcode is Opcode.BINARY:
        assert Incoming().take_short(data, LIMITS) == bytes(frame.data)
    elif is_utf8(payload):
        assert Incoming().take_short(data, LIMITS) == bytes(frame.data).decode()
    else:
        with pytest.raises(MessageRefused, match="1007 invalid UTF-8"):
            Incoming().take_short(data, LIMITS)


@given(st.binary(max_size=20), OPCODES, st.booleans(), st.binary(max_size=8), st.integers(0, 30))
def test_what_is_not_exactly_one_message_is_left_to_the_core(
    payload: bytes, opcode: Opcode, fin: bool, more: bytes, cut: int
) -> None:
    whole = masked(opcode, payload, fin=fin)
    data = (whole + more)[: max(1, len(whole + more) - cut)]
    is_one_message = data == whole and fin and opcode in (Opcode.TEXT, Opcode.BINARY)
    if is_one_message and opcode is Opcode.TEXT and not is_utf8(payload):
        return
    assert (Incoming().take_short(data, LIMITS) is not None) == is_one_message


def test_within_a_fragmented_message_all_is_left_to_the_core() -> None:
    incoming = Incoming()
    (begun,) = by_the_core(masked(Opcode.BINARY, b"begun", fin=False))
    assert incoming.take(begun, 0.0, LIMITS) is None
    assert incoming.take_short(masked(Opcode.BINARY, b"another"), LIMITS) is None


def test_a_message_over_the_limit_is_left_to_the_core() -> None:
    limits = TransportLimits(max_message_bytes=3)
    assert Incoming().take_short(masked(Opcode.BINARY, b"abc"), limits) == b"abc"
    assert Incoming().take_short(masked(Opcode.BINARY, b"abcd"), limits) is None


@pytest.mark.parametrize("bits", [0x40, 0x20, 0x10])
def test_reserved_bits_and_missing_masks_are_left_to_the_core(bits: int) -> None:
    data = bytearray(masked(Opcode.BINARY, b"x"))
    data[0] |= bits
    assert Incoming().take_short(bytes(data), LIMITS) is None
    unmasked = masked(Opcode.BINARY, b"1234x", mask=False)
    assert Incoming().take_short(unmasked, LIMITS) is None
