"""A client that comes back when its connection is lost, as the project's client library does.

It tries again at once, then after random waits up to 0.2, 0.4, 0.8 … 5 s; where the server has no
time for it, after the time that it is told and a random one on top.
"""

from __future__ import annotations

import random
import time
from abc import ABC, abstractmethod
from typing import Any

import msgspec

from bench.harness.loop import Loop
from bench.light_socket import LightSocket

BACK = "back"
"""The mark of a client that has come back."""
BACKOFF_FIRST_S, BACKOFF_MAX_S = 0.2, 5.0
CONNECT_S, REPLY_S = 3.0, 10.0
decode = msgspec.msgpack.Decoder().decode


class Returning(ABC):
    """One client, over all of its connections.

    Attributes:
        loop: where it lives. `rng`: what its waits are drawn from.
        socket: the present connection, or the last one.
    """

    socket: LightSocket

    def __init__(self, loop: Loop, rng: random.Random, url: str) -> None:
        self.loop = loop
        self.rng = rng
        self._url = url
        self._failures = 0
        self._refusals = 0
        self._asked = 0
        self._step = 0

    @abstractmethod
    def __call__(self, payloads: list[bytes]) -> None:
        """Take what was received."""

    @abstractmethod
    def credentials(self) -> dict[str, Any]:
        """Return the fields of `authenticate`."""

    @abstractmethod
    def welcome(self, answer: dict[str, Any]) -> None:
        """Go on, with the answer to `authenticate`; what else came with it is handed over next."""

    @abstractmethod
    def refused(self, answer: dict[str, Any]) -> None:
        """Learn that the server did not let it in, this time."""

    @abstractmethod
    def gone(self) -> None:
        """Learn that the connection is lost; nothing more comes of what was asked on it."""

    def come(self, socket: LightSocket) -> None:
        """Begin with a connection that is made, and authenticated, already."""
        self.socket = socket
        self.loop.watch(socket, self, self.lost)

    def lost(self) -> None:
        """Begin to come back."""
        self.hang_up()
        self.gone()
        self._try_again()

    def hang_up(self) -> None:
        """Close the connection for good; `connect` makes another."""
        self._step += 1
        self.loop.forget(self.socket)

    def connect(self) -> None:
        """Make a connection and authenticate on it."""
        try:
            self.socket = LightSocket(self._url, upgrade=False, wait=False)
        except OSError:
            self._try_again()
            return
        self.loop.watch_raw(self.socket, self._connected, self, self.lost, writable=True)
        self._expect(CONNECT_S)

    def _try_again(self) -> None:
        doublings = self._failures - 1
        self._failures += 1
        ceiling_s = min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2.0**doublings) if doublings >= 0 else 0.0
        self.loop.at(time.perf_counter() + self.rng.uniform(0, ceiling_s), self.connect)

    def _expect(self, within_s: float) -> None:
        """Give the connection up unless its next step, or its last, is done within a time."""
        self._step += 1
        step = self._step

        def check() -> None:
            if step == self._step:
                self.lost()

        self.loop.at(time.perf_counter() + within_s, check)

    def _connected(self) -> list[bytes]:
        self.socket.ask_upgrade()
        self.loop.watch_raw(self.socket, self._upgrade, self, self.lost)
        return []

    def _upgrade(self) -> list[bytes]:
        if self.socket.upgraded():
            self._asked = self.socket.send("authenticate", **self.credentials())
            self.loop.watch(self.socket, self._answered, self.lost)
            self._expect(REPLY_S)
        return []

    def _answered(self, payloads: list[bytes]) -> None:
        for index, payload in enumerate(payloads):
            answer = decode(payload)
            if answer.get("re") != self._asked:
                continue
            if answer["type"] == "error":
                self.refused(answer)
                self.hang_up()
                self.gone()
                asked_s = min(BACKOFF_MAX_S, answer.get("retry_after", 0.0))
                spread_s = min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2.0**self._refusals)
                self._refusals += 1
                wait_s = asked_s + self.rng.uniform(0, max(asked_s, spread_s))
                self.loop.at(time.perf_counter() + wait_s, self.connect)
                return
            self._failures = self._refusals = 0
            self._step += 1
            self.loop.mark(BACK)
            self.loop.watch(self.socket, self, self.lost)
            self.loop.keep_alive([self.socket], self.rng)
            self.welcome(answer)
            self(payloads[index + 1 :])
            return
