"""The WebSocket transport: the sans-I/O core of `websockets` on our own non-blocking sockets.

Everything else in the server knows a `Connection` with `enqueue(frames)` and the messages that it
hands to a `Session`; how bytes get in and out stays in here. `docs/decisions/0001` says why it is
built this way and what guards it.

No error leaves this package while it serves: what goes wrong with one socket ends that socket, with
a close code where the peer can still be told one.
"""

from server.transport.connection import Connection
from server.transport.endpoint import Dialect, Endpoint, HandshakeRequest, Refusal, Route, Session
from server.transport.frames import frame
from server.transport.limits import Counters, TransportLimits
from server.transport.listener import Transport, serve

__all__ = [
    "Connection",
    "Counters",
    "Dialect",
    "Endpoint",
    "HandshakeRequest",
    "Refusal",
    "Route",
    "Session",
    "Transport",
    "TransportLimits",
    "frame",
    "serve",
]
