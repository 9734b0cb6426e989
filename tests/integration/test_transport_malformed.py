"""What breaks the rules: each case ends its own socket, with the right code, and nothing else."""

from __future__ import annotations

import pytest

from server.transport import TransportLimits
from tests.integration.transport_harness import (
    BINARY,
    CLOSE,
    CONT,
    PING,
    PONG,
    TEXT,
    connected,
    dialled,
    masked,
    serving,
    upgrade,
)
from tests.support.patience import PATIENCE_S

pytestmark = pytest.mark.fail_after(PATIENCE_S)

LIMITS = TransportLimits(max_message_bytes=1000, max_fragments=8, close_timeout_s=PATIENCE_S)

FRAMES = {
    "unmasked": (masked(BINARY, b"x", mask=False), 1002),
    "rsv1": (masked(BINARY, b"x", rsv=4), 1002),
    "rsv2": (masked(BINARY, b"x", rsv=2), 1002),
    "rsv3": (masked(BINARY, b"x", rsv=1), 1002),
    "reserved data opcode": (masked(3, b"x"), 1002),
    "reserved control opcode": (masked(11, b"x"), 1002),
    "fragmented ping": (masked(PING, b"x", fin=False), 1002),
    "fragmented close": (masked(CLOSE, b"\x03\xe8", fin=False), 1002),
    "long ping": (masked(PING, b"x" * 126), 1002),
    "long close": (masked(CLOSE, b"\x03\xe8" + b"x" * 124), 1002),
    "close of one byte": (masked(CLOSE, b"\x03"), 1002),
    "close with a code that is never sent": (masked(CLOSE, b"\x03\xee"), 1002),
    "close with a code below 1000": (masked(CLOSE, b"\x00\x01"), 1002),
    "close with a reason that is not UTF-8": (masked(CLOSE, b"\x03\xe8\xff"), 1007),
    "continuation of nothing": (masked(CONT, b"x"), 1002),
    "a message within a message": (masked(TEXT, b"x", fin=False) + masked(TEXT, b"y"), 1002),
    "close within a message": (masked(TEXT, b"x", fin=False) + masked(CLOSE, b"\x03\xe8"), 1002),
    "text that is not UTF-8": (masked(TEXT, b"\xc3\x28"), 1007),
    "text with a surrogate": (masked(TEXT, b"\xed\xa0\x80"), 1007),
    "text cut within a character": (masked(TEXT, b"\xe2\x82"), 1007),
    "fragmented text that is not UTF-8": (
        masked(TEXT, b"\xe2", fin=False) + masked(CONT, b"\x28"),
        1007,
    ),
    "one byte too long": (masked(BINARY, b"x" * 1001), 1009),
    "a mebibyte": (masked(BINARY, b"x" * 2**20), 1009),
    "only the head of a giant": (b"\x82\xff" + (2**62).to_bytes(8, "big"), 1009),
    "a length with the highest bit set": (b"\x82\xff" + b"\xff" * 8, 1009),
    "fragments that are too long together": (
        masked(BINARY, b"x" * 600, fin=False) + masked(CONT, b"x" * 600, fin=False),
        1009,
    ),
    "too many fragments": (
        masked(BINARY, b"x", fin=False) + masked(CONT, b"x", fin=False) * 7 + masked(CONT),
        1008,
    ),
    "too many empty fragments": (
        masked(BINARY, fin=False) + masked(CONT, fin=False) * 5000,
        1008,
    ),
    "a flood of pings": (masked(PING, b"x") * 100, 4029),
    "a flood of pongs": (masked(PONG) * 5000, 4029),
}


@pytest.mark.parametrize(("data", "code"), FRAMES.values(), ids=FRAMES.keys())
async def test_a_bad_frame_closes_with_its_code(data: bytes, code: int) -> None:
    async with serving(LIMITS) as served:
        async with connected(served.port) as peer, connected(served.port) as bystander:
            await peer.send(masked(BINARY, b"good") + data + masked(BINARY, b"behind"))
            assert await peer.read_frame() == (BINARY, b"good")
            told, _ = await peer.read_close()
            assert told == code
            await peer.read_end()
            await bystander.send(masked(BINARY, b"fine"))
            assert await bystander.read_frame() == (BINARY, b"fine")
        bad = served.endpoint.sessions[0]
        await bad.closing()
        assert bad.messages == [b"good"]
        assert len(bad.closes) == 1


async def test_a_message_of_exactly_the_limit_passes() -> None:
    async with serving(LIMITS) as served:
        async with connected(served.port) as peer:
            await peer.send(masked(BINARY, b"x" * 1000))
            assert await peer.read_frame() == (BINARY, b"x" * 1000)
            await peer.send(masked(BINARY, b"y", fin=False) + masked(CONT, fin=False) * 6)
            await peer.send(masked(CONT, b"z"))
            assert await peer.read_frame() == (BINARY, b"yz")


async def test_a_ping_may_come_when_a_message_has_no_bytes_left() -> None:
    async with serving(LIMITS) as served:
        async with connected(served.port) as peer:
            await peer.send(masked(BINARY, b"x" * 1000, fin=False) + masked(PING, b"p" * 125))
            assert await peer.read_frame() == (PONG, b"p" * 125)
            await peer.send(masked(CONT))
            assert await peer.read_frame() == (BINARY, b"x" * 1000)


async def test_pings_are_answered_in_order_and_unasked_pongs_ignored() -> None:
    async with serving(LIMITS) as served:
        async with connected(served.port) as peer:
            await peer.send(masked(PONG, b"unasked"))
            await peer.send(b"".join(masked(PING, bytes((number,)) * 125) for number in range(10)))
            for number in range(10):
                assert await peer.read_frame() == (PONG, bytes((number,)) * 125)


@pytest.mark.parametrize("text", ["", "κόσμε", "\x00", "\uffff", "\U0010ffff", "\ud7ff\ue000"])
async def test_text_at_the_edges_of_utf8_passes_however_it_is_cut(text: str) -> None:
    encoded = text.encode()
    pieces = [masked(CONT, encoded[at : at + 1], fin=False) for at in range(1, len(encoded))]
    limits = TransportLimits(max_fragments=len(encoded) + 2)
    async with serving(limits) as served:
        async with connected(served.port) as peer:
            await peer.send(masked(TEXT, encoded))
            assert await peer.read_frame() == (TEXT, encoded)
            await peer.send(masked(TEXT, encoded[:1], fin=False) + b"".join(pieces) + masked(CONT))
            assert await peer.read_frame() == (TEXT, encoded)
            assert served.session.messages == [text, text]


@pytest.mark.parametrize(
    "data",
    [b"\xc0\x80", b"\xe0\x80\xaf", b"\xf4\x90\x80\x80", b"\xf8\x88\x80\x80\x80", b"\x80", b"\xfe"],
)
async def test_text_beyond_utf8_closes_1007(data: bytes) -> None:
    async with serving(LIMITS) as served:
        async with connected(served.port) as peer:
            await peer.send(masked(TEXT, b"good " + data))
            assert await peer.read_close() == (1007, "invalid UTF-8")
        assert await served.session.closing() == (1007, "invalid UTF-8")
        assert served.session.messages == []


@pytest.mark.parametrize(
    ("code", "answered"),
    [
        *((code, code) for code in (1000, 1001, 1003, 1007, 1011, 3000, 3999, 4000, 4999)),
        *((code, 1002) for code in (0, 999, 1004, 1005, 1006, 1016, 2999, 5000, 65535)),
    ],
)
async def test_a_close_code_is_echoed_if_it_may_be_sent(code: int, answered: int) -> None:
    async with serving(LIMITS) as served:
        async with connected(served.port) as peer:
            await peer.send(masked(CLOSE, code.to_bytes(2, "big") + b"why"))
            assert (await peer.read_close())[0] == answered
            await peer.read_end()
        assert (await served.session.closing())[0] == answered


async def test_a_close_without_a_code_is_told_as_1005() -> None:
    async with serving(LIMITS) as served:
        async with connected(served.port) as peer:
            await peer.send(masked(CLOSE))
            assert await peer.read_frame() == (CLOSE, b"")
        assert await served.session.closing() == (1005, "")


async def test_nothing_is_delivered_or_answered_behind_a_close() -> None:
    async with serving(LIMITS) as served:
        async with connected(served.port) as peer:
            await peer.send(masked(CLOSE, b"\x03\xe8") + masked(BINARY, b"x") + masked(PING))
            assert await peer.read_close() == (1000, "")
            with pytest.raises(EOFError):
                await peer.read_frame()
        await served.session.closing()
        assert served.session.messages == []


async def test_random_bytes_end_only_their_own_socket() -> None:
    async with serving(LIMITS) as served:
        async with connected(served.port) as bystander:
            for seed in range(40):
                noise = bytes((seed * 37 + index * (seed + 11)) % 256 for index in range(400))
                async with connected(served.port) as peer:
                    await peer.send(noise)
                    await peer.stream.send_eof()
                    await peer.read_end()
            await bystander.send(masked(BINARY, b"fine"))
            assert await bystander.read_frame() == (BINARY, b"fine")


REQUESTS = {
    "an ordinary GET": (b"GET /ws HTTP/1.1\r\nHost: x\r\n\r\n", 426),
    "another method": (upgrade().replace(b"GET", b"POST", 1), 405),
    "HTTP/1.0": (upgrade().replace(b"HTTP/1.1", b"HTTP/1.0", 1), 505),
    "an unknown path": (upgrade("/nowhere"), 404),
    "a route that fails": (upgrade("/broken"), 500),
    "no key": (upgrade(Sec_WebSocket_Key=""), 400),
    "a short key": (upgrade(Sec_WebSocket_Key="c2hvcnQ="), 400),
    "an old version": (upgrade(Sec_WebSocket_Version="8"), 400),
    "a body": (upgrade(Content_Length="5") + b"12345", 400),
    "a chunked body": (upgrade(Transfer_Encoding="chunked"), 400),
    "not HTTP": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n", 400),
    "a header without a colon": (b"GET /ws HTTP/1.1\r\nHost\r\n\r\n", 400),
    "a path that is not ASCII": ("GET /é HTTP/1.1\r\n\r\n".encode(), 400),
    "a long path": (upgrade("/" + "a" * 9000), 414),
    "a long header": (upgrade(X_Long="a" * 9000), 431),
    "too many headers": (upgrade(**{f"X{number}": "1" for number in range(200)}), 431),
    "endless headers": (upgrade()[:-2] + (b"X: " + b"a" * 8000 + b"\r\n") * 3, 431),
    "too many query fields": (upgrade("/ws?" + "a=1&" * 100), 400),
    "a query that is not UTF-8": (upgrade("/ws?a=%ff"), 400),
    "a malformed extensions header": (upgrade(Sec_WebSocket_Extensions="=;,"), 101),
    "a malformed subprotocol header": (upgrade(Sec_WebSocket_Protocol="=;"), 400),
}


@pytest.mark.parametrize(("data", "status"), REQUESTS.values(), ids=REQUESTS.keys())
async def test_a_request_is_answered_with_its_status(data: bytes, status: int) -> None:
    async with serving(LIMITS) as served:
        async with dialled(served.port) as peer:
            await peer.send(data)
            head = await peer.read_head()
            assert head.startswith(f"HTTP/1.1 {status} ")
            if status != 101:
                await peer.stream.send_eof()
                await peer.read_end()
                assert served.endpoint.sessions == []
                assert served.transport.counters.handshake_failures == 1
        async with connected(served.port) as bystander:
            await bystander.send(masked(BINARY, b"fine"))
            assert await bystander.read_frame() == (BINARY, b"fine")


@pytest.mark.parametrize(
    ("origin", "status"),
    [("https://club.example", 101), ("", 101), ("https://evil.example", 403), ("null", 403)],
)
async def test_a_foreign_origin_is_refused(origin: str, status: int) -> None:
    allowed = frozenset({"https://club.example"})
    async with serving(allowed_origins=allowed) as served:
        async with dialled(served.port) as peer:
            await peer.send(upgrade(Origin=origin))
            assert (await peer.read_head()).startswith(f"HTTP/1.1 {status} ")
