"""The opening handshake: from the bytes of a request to an accepted or refused protocol."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from http import HTTPStatus
from typing import cast
from urllib.parse import parse_qsl, unquote

import structlog
from websockets.datastructures import Headers
from websockets.frames import Frame
from websockets.http11 import Request
from websockets.server import ServerProtocol
from websockets.typing import Origin, Subprotocol

from server.transport.endpoint import Endpoint, HandshakeRequest, Refusal, Route

MAX_HEAD_BYTES = 16 * 1024
MAX_QUERY_FIELDS = 32
MAX_CONTROL_PAYLOAD_BYTES = 125  # RFC 6455 section 5.5

BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
"""For what is not HTTP at all: the protocol core has no answer to it."""

_log = structlog.get_logger(__name__)

# The core logs every opening and closing at INFO; who wants to know that has the counters.
_core_log = logging.getLogger("server.transport.core")
_core_log.setLevel(logging.WARNING)


class ServerCore(ServerProtocol):
    """The protocol core of one connection, without compression."""

    def __init__(self, max_message_bytes: int, allowed_origins: frozenset[str] | None) -> None:
        # A client that is no browser sends no Origin. The check is against foreign pages in the
        # user's browser, and a browser always says where a page is from.
        origins = None if allowed_origins is None else [None, *map(Origin, allowed_origins)]
        max_size = max_message_bytes + MAX_CONTROL_PAYLOAD_BYTES  # see `Incoming`
        super().__init__(origins=origins, max_size=max_size, logger=_core_log)
        self.between_frames = False
        """Whether the bytes that come next begin a frame. What the core has in its buffer does not
        say so: it takes a frame's head out before the rest is there."""

    def receive_data(self, data: bytes | bytearray) -> None:
        """Take what the peer sent."""
        self.between_frames = False
        super().receive_data(data)

    def recv_frame(self, frame: Frame) -> None:
        """Take the next frame, which the core has just read whole."""
        super().recv_frame(frame)
        self.between_frames = not self.reader.buffer

    def select_subprotocol(self, subprotocols: Sequence[Subprotocol]) -> Subprotocol | None:
        """Return the best common subprotocol; none at all is a choice that a client may make."""
        return super().select_subprotocol(subprotocols) if subprotocols else None

    def let_go(self) -> None:
        """End the parser; nothing can be received from now on.

        Core and parser hold each other. Left alone, some kilobytes of each closed connection would
        stay until Python looks for cycles, which it rarely does (`server/garbage.py`).
        """
        self.parser.close()


class HeadReader:
    """Cuts the byte stream behind the request.

    The core would go on and parse frames that came with the request before it was answered, and so
    answer them in front of its own handshake.
    """

    __slots__ = ("_tail", "size")

    def __init__(self) -> None:
        self._tail = b""
        self.size = 0

    def split(self, data: bytes) -> tuple[bytes, bytes]:
        """Return what of `data` belongs to the request, and what came behind it."""
        window = self._tail + data
        end = window.find(b"\r\n\r\n")
        if end < 0:
            self._tail = window[-3:]
            self.size += len(data)
            return data, b""
        cut = end + 4 - len(self._tail)
        self.size += cut
        return data[:cut], data[cut:]


def answer(
    core: ServerCore, request: Request, route: Route, peer: str
) -> tuple[HandshakeRequest, Endpoint] | None:
    """Answer an upgrade request: the response is in the core's data to send.

    Returns:
        The request and its endpoint if the WebSocket is open now, else None.
    """
    try:
        wanted = _wanted(request, peer)
    except ValueError:
        _refuse(core, Refusal(400, "Bad request."))
        return None
    try:
        found = route(wanted)
    except Exception:
        _log.exception("websocket_route_failed", peer=peer, path=wanted.path)
        found = Refusal(500, "Internal error.")
    if isinstance(found, Refusal):
        _refuse(core, found)
        return None
    core.available_subprotocols = cast("Sequence[Subprotocol]", found.subprotocols)
    response = core.accept(request)
    core.send_response(response)
    return (wanted, found) if response.status_code == HTTPStatus.SWITCHING_PROTOCOLS else None


def refuse_head(core: ServerCore) -> None:
    """Answer a request that is longer than `MAX_HEAD_BYTES`."""
    _refuse(core, Refusal(431, "The request is too long."))


def _refuse(core: ServerCore, refusal: Refusal) -> None:
    core.send_response(core.reject(HTTPStatus(refusal.status), refusal.text + "\n"))


def _wanted(request: Request, peer: str) -> HandshakeRequest:
    """Return the request in our words.

    Raises:
        ValueError: The query has too many fields or is not UTF-8.
    """
    raw_path, _, raw_query = request.path.partition("?")
    fields = parse_qsl(
        raw_query, keep_blank_values=True, errors="strict", max_num_fields=MAX_QUERY_FIELDS
    )
    return HandshakeRequest(
        path=unquote(raw_path), query=dict(fields), headers=_by_name(request.headers), peer=peer
    )


def _by_name(headers: Headers) -> dict[str, str]:
    merged: dict[str, str] = {}
    for name, value in headers.raw_items():
        key = name.lower()
        merged[key] = f"{merged[key]}, {value}" if key in merged else value
    return merged
