"""One socket of a client of Pusher's: subscriptions, signing in, events of clients."""

from typing import TYPE_CHECKING

import msgspec
import structlog
import trio

from protocol.errors import CloseCode, Refused
from protocol.ids import UserId
from protocol.principal import Principal
from server.auth.errors import Unauthenticated
from server.gateway.rate import TokenBucket
from server.pusher import messages
from server.pusher.channels import MAX_CHANNEL_CHARS, MAX_EVENT_CHARS, Found, Naming, find
from server.pusher.feed import Feed
from server.pusher.messages import (
    MAX_CLIENT_EVENT_BYTES,
    Code,
    Incoming,
    SigninData,
    SubscribeData,
    as_text,
    read,
)
from server.pusher.people import may_have, principal_of, user_data_of
from server.pusher.signing import same_auth
from server.transport import Connection

if TYPE_CHECKING:
    from server.pusher.endpoint import PusherEndpoint

log = structlog.stdlib.get_logger(__name__)

MAX_AHEAD = 64
"""Messages that may wait for the access token that they rest on."""
MAX_EARLY = 8
"""Subscriptions that are made good when somebody signs in: `pusher-js` sends them before, each time
that it connects again, and never repeats one."""
CLIENT_EVENT = "client-"


class PusherSession:
    """One open socket; the transport's session.

    Attributes:
        socket_id: What its client knows it by, and what is signed.
        user_id: Whose socket it is, empty until that is known; then it stays theirs.
        staff_id: Who of the staff got a signature for the staff's channel for this socket.
    """

    def __init__(self, endpoint: "PusherEndpoint", connection: Connection, socket_id: str) -> None:
        self.socket_id = socket_id
        self.user_id = UserId("")
        self.staff_id = UserId("")
        self._endpoint = endpoint
        self._connection = connection
        self._principal: Principal | None = None
        self._feeds: dict[str, Feed] = {}
        self._early: dict[str, Found] = {}
        self._ahead: list[Incoming] | None = None
        limits = endpoint.limits
        self._bucket = TokenBucket(limits.commands_per_s, limits.command_burst, trio.current_time())
        self._excess = 0

    def welcome(self, token: str | None) -> None:
        """Greet the client; one that gave an access token when that has been checked."""
        if token is None:
            self._establish()
            return
        self._ahead = []
        self._endpoint.start(self._check_token, token)

    # The transport's session

    def on_message(self, data: bytes | str) -> None:
        """Take one frame."""
        if not isinstance(data, str):
            self.close(CloseCode.UNSUPPORTED_DATA, "binary frames are not supported")
            return
        if not self._may_go_on():
            return
        try:
            incoming = messages.decode_incoming(data)
        except (msgspec.DecodeError, RecursionError):
            self._complain(None, "This is no message of the protocol: a JSON object with an event.")
            return
        if self._ahead is None:
            self._take(incoming)
        elif len(self._ahead) < MAX_AHEAD:
            self._ahead.append(incoming)
        else:
            self.end(Code.OVER_CAPACITY, "Too many messages before the token was checked.")

    def on_closed(self, code: int, reason: str) -> None:
        """Leave everything."""
        for name in tuple(self._feeds):
            self._leave(name)
        self._endpoint.left(self)

    # For the endpoint and its feeds

    def deliver(self, frames: bytes) -> None:
        """Send events, but those that this socket published itself."""
        if self._endpoint.publisher is not self:
            self._connection.enqueue(frames)

    def close(self, code: int, reason: str) -> None:
        """Close the socket; codes of ours become those of the protocol."""
        self._connection.close(code, reason)

    def end(self, code: int, text: str) -> None:
        """Say an error, and close with its code."""
        self._connection.dialect = messages.PARTING
        self._connection.close(code, text, after=messages.error(code, text))

    # Messages

    def _may_go_on(self) -> bool:
        if not self._bucket.take(trio.current_time()):
            self._excess = 0
            return True
        self._excess += 1
        if self._excess > self._endpoint.limits.command_burst:
            self.close(CloseCode.FLOODING, "too many messages")
        else:
            self._complain(Code.CLIENT_EVENT_REJECTED, "That is too fast.")
        return False

    def _take(self, incoming: Incoming) -> None:
        try:
            match incoming.event:
                case "pusher:ping":
                    self._send(messages.PONG)
                case "pusher:pong":
                    pass
                case "pusher:subscribe":
                    self._subscribe(read(incoming, SubscribeData))
                case "pusher:unsubscribe":
                    self._leave(read(incoming, SubscribeData).channel)
                case "pusher:signin":
                    self._sign_in(read(incoming, SigninData))
                case event if event.startswith(CLIENT_EVENT):
                    self._pass_on(incoming)
                case _:
                    self._complain(None, "There is no such event for clients to send.")
        except messages.Malformed as malformed:
            self._complain(None, str(malformed))

    # Channels

    def _subscribe(self, data: SubscribeData) -> None:
        found = find(data.channel) if len(data.channel) <= MAX_CHANNEL_CHARS else None
        if found is None:
            self._refuse(data.channel[:MAX_CHANNEL_CHARS], 403, "This channel is not for you.")
            return
        if found.naming is Naming.PRIVATE:
            user_id = self._let_in_by_signature(found, data)
        else:
            user_id = self._let_in_by_token(found)
        if user_id is not None and not self._connection.closed:
            self._enter(found, user_id)

    def _enter(self, found: Found, user_id: UserId) -> None:
        if found.name not in self._feeds:
            feed = self._feeds[found.name] = Feed(self, found, user_id)
            self._endpoint.hub.subscribe(found.channel, feed)
            self._endpoint.occupied(self, found.name)
        self._send(messages.message(messages.SUCCEEDED, None, found.name))

    def _let_in_by_token(self, found: Found) -> UserId | None:
        principal = self._principal
        if principal is None:
            if len(self._early) < MAX_EARLY:
                self._early[found.name] = found
            self._refuse(found.name, 401, "Sign in, or connect with an access token.")
            return None
        if not may_have(principal, found):
            self._refuse(found.name, 403, "This channel is not for you.")
            return None
        return principal.user_id

    def _let_in_by_signature(self, found: Found, data: SubscribeData) -> UserId | None:
        app = self._endpoint.app
        wanted = app.channel_auth(self.socket_id, found.name, data.channel_data)
        if not same_auth(data.auth, wanted):
            self._refuse(found.name, 401, "The signature of this subscription is not valid.")
            return None
        if found.owner is None:
            return self.user_id or self.staff_id
        if self.user_id not in ("", found.owner):
            self._refuse(found.name, 403, "This socket is somebody else's.")
            return None
        return found.owner if self._belongs_to(found.owner) else None

    def _leave(self, name: str) -> None:
        self._early.pop(name, None)
        feed = self._feeds.pop(name, None)
        if feed is not None:
            self._endpoint.hub.unsubscribe(feed.channel, feed)
            self._endpoint.vacated(self, name)

    # Who it is

    def _sign_in(self, data: SigninData) -> None:
        if data.token is not None:
            self._ahead = []
            self._endpoint.start(self._check_token, data.token, True)
            return
        if not same_auth(data.auth, self._endpoint.app.user_auth(self.socket_id, data.user_data)):
            self.end(Code.UNAUTHORIZED, "The signature of this sign-in is not valid.")
            return
        principal = principal_of(data.user_data)
        if principal is None:
            self.end(Code.UNAUTHORIZED, "The user_data has no id, or one that is too long.")
        elif self._is(principal):
            self._confirm(data.user_data, principal)

    async def _check_token(self, token: str, confirm: bool = False) -> None:
        """Find out whose access token it is, then go on with what waited for that."""
        try:
            principal = await self._endpoint.identify(token)
        except Unauthenticated as failed:
            self.end(Code.UNAUTHORIZED, f"Not authenticated: {failed.reason}.")
            return
        except Refused as refusal:
            self.end(Code.OVER_CAPACITY, refusal.message)
            return
        except Exception:
            log.exception("pusher_signin_failed")
            self.close(CloseCode.INTERNAL, "internal error")
            return
        if self._connection.closed or not self._is(principal):
            return
        if confirm:
            self._confirm(user_data_of(principal), principal)
        else:
            self._establish()
        ahead, self._ahead = self._ahead or [], None
        for incoming in ahead:
            if not self._connection.closed:
                self._hand_on(incoming)

    def _hand_on(self, incoming: Incoming) -> None:
        """Take a message that waited, unless one before it has made it wait again."""
        if self._ahead is None:
            self._take(incoming)
        else:
            self._ahead.append(incoming)

    def _is(self, principal: Principal) -> bool:
        if self.user_id not in ("", principal.user_id):
            self.end(Code.UNAUTHORIZED, "This socket is somebody else's.")
            return False
        if not self._belongs_to(principal.user_id):
            return False
        self._principal = principal
        return True

    def _belongs_to(self, user_id: UserId) -> bool:
        if not self.user_id:
            if not self._endpoint.per_user.enter(user_id):
                self.end(Code.OVER_QUOTA, "This user has too many sockets.")
                return False
            self.user_id = user_id
            self._endpoint.known(self)
        return True

    # Events of clients

    def _pass_on(self, incoming: Incoming) -> None:
        feed = self._feeds.get(incoming.channel)
        if feed is None or feed.coding is not Naming.PRIVATE:
            text = "Clients send events on private channels only that they have subscribed to."
        elif len(incoming.event) > MAX_EVENT_CHARS or len(incoming.data) > MAX_CLIENT_EVENT_BYTES:
            text = "The event is too long."
        else:
            self._endpoint.publish(feed.channel, incoming.event, as_text(incoming.data), self)
            return
        self._complain(Code.CLIENT_EVENT_REJECTED, text)

    # Out

    def _establish(self) -> None:
        self._send(messages.established(self.socket_id, self._endpoint.limits.activity_timeout_s))

    def _confirm(self, user_data: str, principal: Principal) -> None:
        self._send(messages.message("pusher:signin_success", {"user_data": user_data}))
        early, self._early = self._early, {}
        for found in early.values():
            if may_have(principal, found):
                self._enter(found, principal.user_id)

    def _refuse(self, channel: str, status: int, text: str) -> None:
        self._send(messages.subscription_error(channel, status, text))

    def _complain(self, code: int | None, text: str) -> None:
        self._send(messages.error(code, text))

    def _send(self, frames: bytes) -> None:
        self._connection.enqueue(frames)
