"""All sockets of this process, and what they share."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any

import trio
from msgspec import Struct

from actors.hub import Hub
from actors.hub import Subscriber as HubSubscriber
from protocol.codec import JSON_SUBPROTOCOL, MSGPACK_SUBPROTOCOL, Coding
from protocol.commands import AnyCommand, Authenticate
from protocol.errors import CloseCode, Refused, bad_field
from protocol.ids import RoomId, room_channel
from protocol.principal import Principal
from protocol.replies import Ok
from server.auth.errors import KeysUnavailable
from server.auth.tokens import AccessTokens
from server.club import Club
from server.gateway.session import Session
from server.gateway.sockets import Closable, SocketsPerUser
from server.posting import unavailable
from server.transport import Connection, HandshakeRequest, Refusal

WEBSOCKET_PATH = "/ws"


class GatewayLimits(Struct, frozen=True):
    """What one client may do; see SPEC's limits."""

    commands_per_s: float
    command_burst: int
    sockets_per_user: int
    auth_timeout_s: float


class Gateway:
    """The endpoint of the club's own protocol.

    Args:
        club: what commands are carried out by.
        access_tokens: verifies access tokens.
        limits: what one client may do.
        nursery: where commands run that take their time.
        count: told of each command's type and outcome, for the metrics.
    """

    subprotocols: Sequence[str] = (MSGPACK_SUBPROTOCOL, JSON_SUBPROTOCOL)

    def __init__(
        self,
        *,
        club: Club,
        access_tokens: AccessTokens,
        limits: GatewayLimits,
        nursery: trio.Nursery,
        count: Callable[[str, str, float], None],
    ) -> None:
        self.club = club
        self.limits = limits
        self._access_tokens = access_tokens
        self._nursery = nursery
        self._count = count
        self.leaving_since: int | None = None
        """While a socket leaves that was silent: when it last spoke (UTC, ms)."""
        self.per_user = SocketsPerUser(limits.sockets_per_user)
        """Counts the sockets of other endpoints too."""
        self._sessions: dict[Session, None] = {}

    @property
    def hub(self) -> Hub:
        """Where sockets subscribe."""
        return self.club.rooms.hub

    def __iter__(self) -> Iterator[Session]:
        """Go over the sockets that have authenticated."""
        return iter(self._sessions)

    def __len__(self) -> int:
        return len(self._sessions)

    def route(self, request: HandshakeRequest) -> "Gateway | Refusal":
        """Find the endpoint of an upgrade request."""
        return self if request.path == WEBSOCKET_PATH else Refusal(404, "There is nothing here.")

    def open(self, connection: Connection) -> Session:
        """Begin a session; it has to authenticate in time."""
        coding = Coding(connection.subprotocol or MSGPACK_SUBPROTOCOL)
        connection.expect_before(
            trio.current_time() + self.limits.auth_timeout_s,
            CloseCode.NOT_AUTHENTICATED,
            "not authenticated in time",
        )
        return Session(self, connection, coding)

    def start(self, run: Callable[..., Awaitable[None]], *args: Any) -> None:
        """Run something beside the reading of sockets."""
        self._nursery.start_soon(run, *args)

    def count(self, command: AnyCommand, answer: Ok | Refused, began: float) -> None:
        """Count a command's outcome; `began` is when it was decoded, on trio's clock."""
        kind = str(type(command).__struct_config__.tag)
        outcome = answer.code.value if isinstance(answer, Refused) else "ok"
        self._count(kind, outcome, trio.current_time() - began)

    async def identify(self, command: Authenticate) -> tuple[Principal, str | None]:
        """Find out who a socket speaks for; with a rejoin token, the new one that replaces it.

        A rejoin token says which room it is for: the command has that room afterwards.

        Raises:
            Unauthenticated: nobody can be made of it.
            Refused: `bad_request` for neither or both tokens, `unavailable`.
        """
        if (command.token is None) == (command.rejoin_token is None):
            raise bad_field("token", "Give one of token and rejoin_token.")
        try:
            if command.token is not None:
                principal, successor = await self._access_tokens.verify(command.token), None
            else:
                assert command.rejoin_token is not None
                principal, command.room_id, successor = await self.club.rejoin_with(
                    command.room_id, command.rejoin_token
                )
        except KeysUnavailable:
            raise unavailable(2.0) from None
        await self.club.accounts.welcome(principal)
        return principal, successor

    def entered(self, session: Session, principal: Principal) -> bool:
        """Let an authenticated socket in, unless its user has too many."""
        if session in self._sessions:
            self.left(session)
        if not self.per_user.enter(principal.user_id):
            return False
        session.user_id = principal.user_id
        session.is_staff = principal.is_staff
        self._sessions[session] = None
        return True

    def left(self, session: Session, silent_since: int | None = None) -> None:
        """Forget a socket, which was silent since then (UTC, ms) if that is why it leaves."""
        self.leaving_since = silent_since
        self.hub.drop(session)
        self.leaving_since = None
        if session in self._sessions:
            del self._sessions[session]
            self.per_user.leave(session.user_id)

    def dropped(self, subscriber: HubSubscriber, error: Exception) -> None:
        """Close a socket that the hub could not serve: its client has a hole."""
        assert isinstance(subscriber, Closable)
        subscriber.close(CloseCode.TOO_SLOW, "events were lost")

    def room_lost(self, room_id: str) -> None:
        """Have everybody in a room that moved away look for it anew."""
        for session in list(self._sessions):
            if self.hub.subscription(room_channel(RoomId(room_id)), session) is not None:
                session.close(CloseCode.RESTARTING, "the room has moved")
