"""How a connection says who it is, with which token."""

import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

import msgspec

from client.errors import ConnectionClosed, Refused
from client.messages import RawMessage
from protocol.commands import Authenticate
from protocol.errors import ErrorCode
from protocol.replies import Authenticated

if TYPE_CHECKING:
    from client.connection import Connection
    from client.room import LiveRoom

_TOKEN_IS_BAD = frozenset({ErrorCode.UNAUTHENTICATED, ErrorCode.FORBIDDEN, ErrorCode.NOT_FOUND})


class RejoinRefused(Exception):
    """A rejoin token was not accepted and is forgotten; the access token may be."""


class Login:
    """A user's tokens.

    Args:
        token: the access token, or what gives one; None for a user with rejoin tokens only.
        rejoin_tokens: rejoin tokens by room.
    """

    def __init__(
        self,
        token: str | Callable[[], str] | Callable[[], Awaitable[str]] | None,
        rejoin_tokens: dict[str, str],
    ) -> None:
        self.me: Authenticated | None = None
        self.rejoin_tokens = dict(rejoin_tokens)
        self._token = token

    def remember(self, room_id: str, token: str | None, *, keep: bool = False) -> None:
        """Note a room's newest rejoin token; None forgets it, unless it is to `keep`."""
        if token is not None:
            self.rejoin_tokens[room_id] = token
        elif not keep:
            self.rejoin_tokens.pop(room_id, None)

    async def run(
        self,
        connection: "Connection",
        rooms: Sequence["LiveRoom"],
        take_up: Callable[["LiveRoom", RawMessage], None],
    ) -> "LiveRoom | None":
        """Authenticate a connection.

        With one room and its rejoin token, that; else the access token. A user without an access
        token speaks for the room of a rejoin token only.

        Args:
            connection: the connection.
            rooms: the rooms to follow on it.
            take_up: called, in the order of the stream, with the reply that a room goes on from.

        Returns:
            The room that the reply took up, if any.

        Raises:
            RejoinRefused: connect again, the rejoin token was no good.
            Refused: the access token was no good (or the server cannot tell now).
            ConnectionClosed: the connection ended.
        """
        room = rooms[0] if len(rooms) == 1 else None
        room_id = room.room_id if room is not None else self._only_room()
        rejoin = self.rejoin_tokens.get(room_id) if room_id is not None else None
        if room_id is None or rejoin is None:
            command = Authenticate(token=await self._access_token())
            self._read(await connection.request_soon(command))
            return None

        def arrived(reply: RawMessage) -> None:
            self._read(reply, room_id)
            if room is not None:
                take_up(room, reply)

        last_seq = None if room is None else room.seq
        command = Authenticate(rejoin_token=rejoin, room_id=room_id, last_seq=last_seq)
        try:
            await connection.request_soon(command, arrived)
        except Refused as refused:
            if refused.code not in _TOKEN_IS_BAD or self._token is None:
                raise
            self._forget(room_id, rejoin)
        except ConnectionClosed as closed:
            if not closed.permanent or self._token is None:
                raise
            self._forget(room_id, rejoin)
        return room

    def _forget(self, room_id: str, token: str) -> None:
        if self.rejoin_tokens.get(room_id) == token:
            del self.rejoin_tokens[room_id]
        raise RejoinRefused

    def _only_room(self) -> str | None:
        """The room to speak for without an access token."""
        return next(iter(self.rejoin_tokens), None) if self._token is None else None

    async def _access_token(self) -> str:
        token = self._token
        if token is None:
            raise Refused(ErrorCode.UNAUTHENTICATED, "There is no token to show.")
        if isinstance(token, str):
            return token
        given = token()
        return await given if inspect.isawaitable(given) else given

    def _read(self, reply: RawMessage, room_id: str | None = None) -> None:
        # Rooms and missed events are read by whom they are for.
        plain = {key: reply[key] for key in reply if key not in ("room", "missed")}
        self.me = msgspec.convert(plain, Authenticated)
        if room_id is not None:
            self.remember(room_id, self.me.rejoin_token or None, keep=True)
