"""What all connections of one transport have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from server.transport.endpoint import Route
from server.transport.limits import Counters, TransportLimits
from server.transport.reading import Reader

if TYPE_CHECKING:
    from server.transport.connection import Connection


class Shared:
    """Configuration, counters and the set of live connections.

    Attributes:
        nursery: Runs a writing task for each socket that is full.
        reader: Waits for all sockets.
        all: Every socket that is not dropped yet, half-open ones included.
        emptied: Set, and replaced, when the last connection has left.
        half_open: Those without a finished handshake, oldest first.
    """

    __slots__ = (
        "_next_id",
        "all",
        "allowed_origins",
        "counters",
        "emptied",
        "half_open",
        "limits",
        "nursery",
        "reader",
        "route",
    )

    def __init__(
        self,
        nursery: trio.Nursery,
        reader: Reader,
        route: Route,
        limits: TransportLimits,
        allowed_origins: frozenset[str] | None,
    ) -> None:
        self.nursery = nursery
        self.reader = reader
        self.route = route
        self.limits = limits
        self.allowed_origins = allowed_origins
        self.counters = Counters()
        self.all: set[Connection] = set()
        self.half_open: dict[Connection, None] = {}
        self.emptied = trio.Event()
        self._next_id = 0

    def next_id(self) -> int:
        """Return a number that no other connection of this transport has."""
        self._next_id += 1
        return self._next_id

    def entered(self, connection: Connection) -> None:
        """Count a new socket in; drop the oldest half-open one if there are too many."""
        if len(self.half_open) >= self.limits.max_half_open:
            oldest = next(iter(self.half_open))
            oldest.drop()
            self.half_open.pop(oldest, None)
        self.all.add(connection)
        self.half_open[connection] = None

    def opened(self, connection: Connection) -> None:
        """Note that the handshake of a connection succeeded."""
        self.half_open.pop(connection, None)

    def left(self, connection: Connection) -> None:
        """Forget a connection whose socket is gone."""
        self.half_open.pop(connection, None)
        self.all.discard(connection)
        if not self.all:
            self.emptied.set()
            self.emptied = trio.Event()
