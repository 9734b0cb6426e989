"""Many clients set up at once: commands are sent on all sockets before any answer is waited for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.light_socket import LightSocket

AT_ONCE = 200
"""Handshakes at a time; a server bounds those that are half open."""


def connect(url: str, tokens: Sequence[str], **fields: Any) -> list[LightSocket]:
    """Connect and authenticate a socket for each token.

    `fields` go into each `authenticate`.
    """
    sockets: list[LightSocket] = []
    for first in range(0, len(tokens), AT_ONCE):
        some = tokens[first : first + AT_ONCE]
        opened = [LightSocket(url, upgrade=False) for _ in some]
        for socket in opened:
            while not socket.upgraded():
                pass
        asked = [
            (socket, socket.send("authenticate", token=token, **fields))
            for socket, token in zip(opened, some, strict=True)
        ]
        for socket, wanted in asked:
            socket.answer(wanted)
        sockets += opened
    return sockets


def ask_all(sockets: Sequence[LightSocket], type: str, **fields: Any) -> list[dict[str, Any]]:
    """Ask the same of all sockets, many at a time; return the answers in order.

    Raises:
        RuntimeError: one was refused.
    """
    answers = []
    for first in range(0, len(sockets), AT_ONCE):
        asked = [(one, one.send(type, **fields)) for one in sockets[first : first + AT_ONCE]]
        answers += [socket.answer(wanted) for socket, wanted in asked]
    return answers
