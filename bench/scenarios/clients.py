"""Many clients set up at once: commands are sent on all sockets before any answer is waited for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from bench.light_socket import LightSocket, Turned

AT_ONCE = 100
"""Sockets at a time; a server bounds those whose handshake is half done."""
AGAIN = 10
REFUSED = "refused as "
"""Before an error's code, where refusals are counted."""


def connect(url: str, tokens: Sequence[str]) -> list[LightSocket]:
    """Connect and authenticate a socket for each token."""
    sockets: list[LightSocket] = []
    for first in range(0, len(tokens), AT_ONCE):
        some = tokens[first : first + AT_ONCE]
        opened = [LightSocket(url, upgrade=False) for _ in some]
        for socket in opened:
            while not socket.upgraded():
                pass
        ask_each(
            "authenticate",
            [(socket, {"token": token}) for socket, token in zip(opened, some, strict=True)],
        )
        sockets += opened
    return sockets


def ask_each(
    type: str, asks: Sequence[tuple[LightSocket, Mapping[str, Any]]]
) -> list[dict[str, Any]]:
    """Ask sockets, each once and with fields of its own; return the answers in order.

    What the server cannot do now, with so many at once, is asked again one by one.

    Raises:
        Turned: one was refused.
    """
    answers = []
    for first in range(0, len(asks), AT_ONCE):
        some = asks[first : first + AT_ONCE]
        asked = [(*ask, ask[0].send(type, **ask[1])) for ask in some]
        answers += [_answer(type, *one) for one in asked]
    return answers


def beginning(type: str) -> bytes:
    """Return what a message of a type has behind its first byte, which says how many fields it has:
    to be looked for with `startswith`, which is cheaper than decoding."""
    return msgspec.msgpack.encode("type") + msgspec.msgpack.encode(type)


def count_refusal(counts: dict[str, int], payload: bytes) -> None:
    """Count an `error`, by its code."""
    name = REFUSED + str(msgspec.msgpack.decode(payload)["code"])
    counts[name] = counts.get(name, 0) + 1


def _answer(
    type: str, socket: LightSocket, fields: Mapping[str, Any], wanted: int
) -> dict[str, Any]:
    for _ in range(AGAIN):
        try:
            return socket.answer(wanted)
        except Turned as turned:
            if not turned.passing:
                raise
        wanted = socket.send(type, **fields)
    return socket.answer(wanted)
