"""Sockets that are there and say nothing but heartbeats."""

from __future__ import annotations

import random

import msgspec
from msgspec import Raw, Struct

from bench.harness.loop import Loop
from bench.scenarios.clients import connect


class IdleOptions(Struct):
    """The tokens of as many sockets."""

    url: str
    tokens: list[str]


class IdleLoad:
    """The load of `connections`."""

    def __init__(self, options: IdleOptions, loop: Loop, seed: int) -> None:
        self.counts: dict[str, int] = {}
        self._options = options
        self._loop = loop
        self._rng = random.Random(seed)

    def set_up(self) -> None:
        """Connect everybody."""
        sockets = connect(self._options.url, self._options.tokens)
        for socket in sockets:
            self._loop.watch(socket, _ignored)
        self._loop.keep_alive(sockets, self._rng)

    def begin(self, now: float) -> None:
        """Nothing changes."""


def _ignored(_: list[bytes]) -> None:
    pass


def make(options: Raw, loop: Loop, seed: int) -> IdleLoad:
    """Make the load in a generator."""
    return IdleLoad(msgspec.json.decode(options, type=IdleOptions), loop, seed)
