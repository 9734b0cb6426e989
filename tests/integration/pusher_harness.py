"""A served Pusher-compatible endpoint, and a client that speaks to it frame by frame."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import msgspec
import trio

from actors.hub import Hub
from protocol.audience import Told
from protocol.errors import CloseCode, ErrorCode, Refused
from protocol.events import SeatOffered
from protocol.ids import UserId
from protocol.principal import Principal
from server.auth.errors import Unauthenticated
from server.framing import framed_event
from server.gateway.sockets import Closable, SocketsPerUser
from server.pusher.endpoint import PusherEndpoint, PusherLimits
from server.pusher.wiring import beside
from server.transport import HandshakeRequest, Refusal, Transport, TransportLimits, serve
from tests.integration.transport_harness import TEXT, Peer, dialled, masked, upgrade
from tests.support.patience import PATIENCE_S
from tests.support.pusher import APP, OWN, PLAYER

PEOPLE = {
    "paul": Principal(PLAYER, "Paul"),
    "other": Principal(UserId("30"), "Otto"),
    "sue": Principal(UserId("sue"), "Sue", "staff"),
}
"""Who has which access token."""
PATIENT = TransportLimits(
    handshake_timeout_s=PATIENCE_S, idle_s=PATIENCE_S, idle_code=CloseCode.IDLE
)


class Client:
    """A client that has connected."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.socket_id = ""
        self.activity_timeout_s = 0

    async def send(self, event: str, data: object = None, **fields: Any) -> None:
        """Send a message."""
        body = {"event": event, "data": {} if data is None else data, **fields}
        await self.peer.send(masked(TEXT, json.dumps(body).encode()))

    async def told(self) -> dict[str, Any]:
        """Return the next message, its data decoded."""
        opcode, payload = await self.peer.read_frame()
        assert opcode == TEXT, (opcode, payload)
        found: dict[str, Any] = json.loads(payload)
        if isinstance(found.get("data"), str):
            found["data"] = json.loads(found["data"])
        return found

    async def greeted(self) -> Client:
        """Wait until the connection is established."""
        first = await self.told()
        assert first["event"] == "pusher:connection_established", first
        self.socket_id = first["data"]["socket_id"]
        self.activity_timeout_s = first["data"]["activity_timeout"]
        return self

    async def subscribe(self, channel: str, auth: str = "", **data: Any) -> dict[str, Any]:
        """Ask for a channel and return the answer."""
        await self.send("pusher:subscribe", {"channel": channel, "auth": auth, **data})
        return await self.told()

    async def subscribed(self, channel: str, auth: str = "", **data: Any) -> None:
        """Ask for a channel and get it."""
        answer = await self.subscribe(channel, auth, **data)
        assert answer["event"] == "pusher_internal:subscription_succeeded", answer
        assert answer["channel"] == channel

    async def refused(self, channel: str, auth: str = "", **data: Any) -> int:
        """Ask for a channel and be refused; return the status."""
        answer = await self.subscribe(channel, auth, **data)
        assert (answer["event"], answer["channel"]) == ("pusher:subscription_error", channel)
        assert answer["data"]["type"] == "AuthError"
        return int(answer["data"]["status"])

    async def private(self, channel: str) -> None:
        """Have a private channel by a good signature."""
        await self.subscribed(channel, APP.channel_auth(self.socket_id, channel))

    async def nothing_else(self) -> None:
        """Show that nothing waits: the next message is the answer to a ping."""
        await self.send("pusher:ping")
        assert (await self.told())["event"] == "pusher:pong"

    async def ended(self) -> tuple[int, int]:
        """Be told an error and closed; return both codes."""
        error = await self.told()
        assert error["event"] == "pusher:error"
        return error["data"]["code"], (await self.peer.read_close())[0]


class World:
    """A running endpoint, its hub, and clients."""

    def __init__(self, endpoint: PusherEndpoint, stack: AsyncExitStack) -> None:
        self.endpoint = endpoint
        self.hub = endpoint.hub
        self.per_user = endpoint.per_user
        self.port = 0
        self.transport: Transport
        self._stack = stack

    async def dial(
        self, path: str = "", query: str = "protocol=7&client=js", **more: str
    ) -> Client:
        """Connect, without having been greeted."""
        query += "".join(f"&{name}={value}" for name, value in more.items())
        peer = await self._stack.enter_async_context(dialled(self.port))
        await peer.send(upgrade(f"{path or f'/app/{APP.key}'}?{query}"))
        head = await peer.read_head()
        assert head.startswith("HTTP/1.1 101 "), head
        return Client(peer)

    async def come(self, who: str | None = None) -> Client:
        """Connect, with the access token of somebody."""
        client = await self.dial(**({} if who is None else {"token": who}))
        return await client.greeted()

    def offer_seat(self, seat_index: int = 3) -> None:
        """Tell the player something."""
        event = SeatOffered(
            channel=OWN, table_id="r1", entry_id="e1", seat_index=seat_index, expires_at=9
        )
        self.hub.publish(OWN, [Told(event)])


@asynccontextmanager
async def world(
    limits: TransportLimits = PATIENT, per_user: int = 20, **changed: Any
) -> AsyncIterator[World]:
    """Serve an endpoint on a free port."""

    async def identify(token: str) -> Principal:
        await trio.lowlevel.checkpoint()
        if token == "away":
            raise Refused(ErrorCode.UNAVAILABLE, "The database is away.")
        if token == "broken":
            raise RuntimeError("a bug")
        if token not in PEOPLE:
            raise Unauthenticated("the token is malformed")
        return PEOPLE[token]

    def lost(subscriber: object, error: Exception) -> None:
        assert isinstance(subscriber, Closable)
        subscriber.close(CloseCode.TOO_SLOW, "events were lost")

    def elsewhere(request: HandshakeRequest) -> Refusal:
        return Refusal(404, "There is nothing here.")

    async with AsyncExitStack() as stack, trio.open_nursery() as nursery:
        endpoint = PusherEndpoint(
            app=APP,
            hub=Hub(encode=framed_event, on_drop=lost),
            identify=identify,
            per_user=SocketsPerUser(per_user),
            limits=msgspec.structs.replace(PusherLimits(1000, 1000, 30), **changed),
            nursery=nursery,
        )
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        found = World(endpoint, stack)
        found.port = listener.getsockname()[1]

        async def run(
            task_status: trio.TaskStatus[Transport] = trio.TASK_STATUS_IGNORED,
        ) -> None:
            await serve([listener], beside(elsewhere, endpoint), limits, task_status=task_status)

        found.transport = await nursery.start(run)
        yield found
        nursery.cancel_scope.cancel()
