"""Waits for all sockets of a transport at once, in one task."""

from __future__ import annotations

import selectors
import socket
from collections import deque
from typing import Protocol

import trio

# So many sockets are read before everybody else has a turn.
_SOCKETS_PER_ROUND = 64


class Reading(Protocol):
    """A connection, as its reader knows it."""

    @property
    def dropped(self) -> bool:
        """Whether its socket is gone."""

    def readable(self) -> None:
        """Read what is there, once; never raises."""

    def settle(self) -> None:
        """Do what follows from having been closed or dropped; never raises."""


class Reader:
    """All sockets of one transport.

    A socket stays registered as long as it lives: that is what this is for. Waiting for each in a
    task of its own (`trio.lowlevel.wait_readable`) costs a system call and a task switch for every
    message, and the memory of a task for every idle socket.
    """

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._ended: deque[Reading] = deque()
        self._arrival = trio.lowlevel.ParkingLot()

    def add(self, sock: socket.socket, connection: Reading) -> None:
        """Have a connection read whenever its socket has something.

        Raises:
            OSError: the kernel watches no more sockets.
        """
        self._selector.register(sock, selectors.EVENT_READ, connection)

    def forget(self, sock: socket.socket) -> None:
        """Watch a socket no more that was added; to be called before it is closed."""
        self._selector.unregister(sock)

    def ended(self, connection: Reading) -> None:
        """Have a connection settled soon, by another task than the caller's."""
        self._ended.append(connection)
        self._arrival.unpark()

    async def read(self) -> None:
        """Let connections read until cancelled."""
        while True:
            await trio.lowlevel.wait_readable(self._selector.fileno())
            await self._read_ready()

    async def _read_ready(self) -> None:
        for number, (key, _) in enumerate(self._selector.select(0), 1):
            connection: Reading = key.data
            # It may have gone since the look, within a turn of somebody else.
            if not connection.dropped:
                connection.readable()
            if number % _SOCKETS_PER_ROUND == 0:
                await trio.lowlevel.checkpoint()

    async def settle(self) -> None:
        """Settle what has ended until cancelled."""
        while True:
            if not self._ended:
                await self._arrival.park()
            while self._ended:
                self._ended.popleft().settle()

    def close(self) -> None:
        """Free what the waiting takes; all sockets have been forgotten."""
        self._selector.close()
