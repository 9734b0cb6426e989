"""All sockets of Pusher's clients, what they share, and what a back end may publish to them."""

import secrets
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import trio
from msgspec import Struct

from actors.hub import Hub
from protocol.audience import Told
from protocol.events import Published
from protocol.ids import Channel
from protocol.principal import Principal
from server.clock import now_ms
from server.gateway.sockets import SocketsPerUser
from server.pusher.channels import find
from server.pusher.messages import DIALECT, PROTOCOLS, Code
from server.pusher.people import may_have
from server.pusher.session import PusherSession
from server.pusher.signing import App, same_auth
from server.transport import Connection, HandshakeRequest

PATH = "/app/"
MAX_UNKNOWN = 1024
"""Sockets of nobody in particular: one more makes the oldest go and come back."""
_SOCKET_ID_NUMBERS = 10**10


class PusherLimits(Struct, frozen=True):
    """What one client may do, as on the club's own endpoint."""

    commands_per_s: float
    command_burst: int
    activity_timeout_s: int
    """After so many seconds of silence a client is to ping."""
    max_unknown: int = MAX_UNKNOWN


class PusherEndpoint:
    """The endpoint `/app/{key}`, and the desk of what may be asked about it over HTTP.

    Args:
        app: whose key, and whose signatures, are good.
        hub: where events come from.
        identify: makes somebody of an access token; raises `Unauthenticated` or `Refused`.
        per_user: counts sockets, together with those of other endpoints.
        limits: what one client may do.
        nursery: where tokens are checked.
    """

    subprotocols: Sequence[str] = ()

    def __init__(
        self,
        *,
        app: App,
        hub: Hub,
        identify: Callable[[str], Awaitable[Principal]],
        per_user: SocketsPerUser,
        limits: PusherLimits,
        nursery: trio.Nursery,
    ) -> None:
        self.app = app
        self.hub = hub
        self.identify = identify
        self.per_user = per_user
        self.limits = limits
        self.publisher: PusherSession | None = None
        """While an event is published: the socket that is not to get it."""
        self._nursery = nursery
        self._sessions: dict[str, PusherSession] = {}
        self._unknown: dict[PusherSession, None] = {}
        self._occupied: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._sessions)

    # For the transport

    def serves(self, path: str) -> bool:
        """Say whether a path is this endpoint's, with whatever key."""
        return path.startswith(PATH) and "/" not in path[len(PATH) :]

    def open(self, connection: Connection) -> "PusherSession":
        """Begin a session, which is over at once where key or version are wrong."""
        connection.dialect = DIALECT
        session = PusherSession(self, connection, self._new_socket_id())
        refused = self._refusal(connection.request)
        if refused is not None:
            session.end(*refused)
            return session
        self._sessions[session.socket_id] = session
        self._unknown[session] = None
        if len(self._unknown) > self.limits.max_unknown:
            oldest = next(iter(self._unknown))
            del self._unknown[oldest]
            oldest.end(Code.OVER_CAPACITY, "Too many sockets of nobody in particular.")
        session.welcome(connection.request.query.get("token") or None)
        return session

    def _refusal(self, request: HandshakeRequest) -> tuple[int, str] | None:
        if not same_auth(request.path[len(PATH) :], self.app.key):
            return Code.NO_APP, "There is no app with this key."
        version = request.query.get("protocol")
        if version is None:
            return Code.NO_PROTOCOL, "No protocol version supplied."
        if not (version.isascii() and version.isdigit()):
            return Code.BAD_VERSION, "Invalid protocol version."
        if version not in PROTOCOLS:
            return Code.UNSUPPORTED_PROTOCOL, "Unsupported protocol version: speak 7."
        return None

    def _new_socket_id(self) -> str:
        while True:
            first, second = (secrets.randbelow(_SOCKET_ID_NUMBERS) for _ in range(2))
            socket_id = f"{first}.{second}"
            if socket_id not in self._sessions:
                return socket_id

    # For its sessions

    def start(self, run: Callable[..., Awaitable[None]], *args: Any) -> None:
        """Run something beside the reading of sockets."""
        self._nursery.start_soon(run, *args)

    def known(self, session: PusherSession) -> None:
        """Note that it has turned out whose socket this is."""
        self._unknown.pop(session, None)

    def occupied(self, session: PusherSession, name: str) -> None:
        """Note a subscription, which makes a socket somebody's in particular."""
        self._unknown.pop(session, None)
        self._occupied[name] += 1

    def vacated(self, session: PusherSession, name: str) -> None:
        """Note the end of a subscription."""
        self._occupied[name] -= 1
        if not self._occupied[name]:
            del self._occupied[name]

    def left(self, session: PusherSession) -> None:
        """Forget a socket."""
        self._sessions.pop(session.socket_id, None)
        self._unknown.pop(session, None)
        if session.user_id:
            self.per_user.leave(session.user_id)

    def publish(
        self, channel: Channel, name: str, data: str, publisher: PusherSession | None = None
    ) -> None:
        """Tell an event to all who have a channel, under whatever name, but its publisher."""
        event = Published(channel=channel, at=now_ms(), name=name, data=data)
        self.publisher = publisher
        try:
            self.hub.publish(channel, [Told(event)])
        finally:
            self.publisher = None

    # For the HTTP API

    def authorize(self, principal: Principal, socket_id: str, name: str) -> str | None:
        """Sign that a socket may have a private channel; None where it is not the asker's own."""
        found = find(name)
        if found is None or not found.naming.value or not may_have(principal, found):
            return None
        session = self._sessions.get(socket_id)
        if session is not None and found.owner is None:
            session.staff_id = principal.user_id
        return self.app.channel_auth(socket_id, name)

    def publish_to(self, names: Sequence[str], name: str, data: str, socket_id: str | None) -> None:
        """Publish an event of a back end, once to each channel, but not to the socket named.

        A channel that nobody can have is like one that nobody has: nothing happens.
        """
        publisher = None if socket_id is None else self._sessions.get(socket_id)
        found = [one for one in map(find, names) if one is not None]
        for channel in dict.fromkeys(one.channel for one in found):
            self.publish(channel, name, data, publisher)

    def channels(self) -> Mapping[str, int]:
        """Return how many sockets of Pusher's clients have each channel, by its name there."""
        return self._occupied
