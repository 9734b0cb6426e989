"""The load of the comparison: that of `durable`, with peers' rooms where a peer is driven."""

from __future__ import annotations

import msgspec
from msgspec import Raw, Struct

from bench.harness.loop import Loop
from bench.peers.wires import SOCKETS, room_id
from bench.scenarios.rooms_load import RoomsLoad, RoomsOptions


class PeersOptions(Struct):
    """`wire`: how the contestant is spoken with; empty for ours.

    `rooms`: the tokens of those in each room; peers ask for none, and only their number counts.
    """

    url: str
    wire: str
    rooms: list[list[str]]


class PeerLoad(RoomsLoad):
    """Rooms of a peer, numbered from 1 up."""

    def __init__(self, options: PeersOptions, loop: Loop, seed: int) -> None:
        super().__init__(_closed(options), loop, seed)
        self._asked = options
        self._sockets = SOCKETS[options.wire]
        self.ERROR = self._sockets.ERROR

    def set_up(self) -> None:
        """Have everybody in their rooms."""
        for number, tokens in enumerate(self._asked.rooms, 1):
            members = [self._sockets(self._asked.url) for _ in tokens]
            for seat, member in enumerate(members):
                member.hello(room_id=room_id(number), seat=seat, user=f"r{number}u{seat}")
            self.add_room(members, self._sockets.commands(room_id(number)))


def make(options: Raw, loop: Loop, seed: int) -> RoomsLoad:
    """Make the load in a generator."""
    asked = msgspec.json.decode(options, type=PeersOptions)
    if asked.wire:
        return PeerLoad(asked, loop, seed)
    return RoomsLoad(_closed(asked), loop, seed)


def _closed(options: PeersOptions) -> RoomsOptions:
    return RoomsOptions(options.url, options.rooms, in_flight=1, rate=0.0)
