"""A route: method, path, what it takes and answers, and its handler. The app and the OpenAPI
document are both made from these, so they cannot drift.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

import msgspec
from msgspec import Meta, Struct
from quart import Response

from persistence.errors import Unavailable
from protocol.commands import (
    AnyChatCommand,
    AnyRoomCommand,
    CommandKey,
    CreateRoom,
    ListRooms,
)
from protocol.errors import ErrorCode, Refused, bad_field
from protocol.principal import Principal
from protocol.replies import Ok
from protocol.values import EntryKey, RoomKey, SessionKey, UserKey
from server.http.bodies import Body, NoBody, UserRef, camel
from server.http.facade import Club
from server.metrics import Metrics
from server.pusher.endpoint import PusherEndpoint
from server.settings import Settings

SOURCE = "http"
IDEMPOTENCY_KEY = "Idempotency-Key"

Access = Literal["anybody", "user", "staff", "signed"]
"""`signed`: a back end that signs its requests with the secret of Pusher's app."""
Method = Literal["GET", "POST", "PATCH", "DELETE"]

_PATH_KINDS: Mapping[str, Any] = {
    "room_id": RoomKey,
    "game_id": RoomKey,
    "user_id": UserKey,
    "number": Annotated[str, Meta(pattern=r"^(0|[1-9][0-9]{0,8})\Z")],
    "table_id": RoomKey,
    "entry_id": EntryKey,
    "id": EntryKey,
    "player_id": UserKey,
    "session_id": SessionKey,
    "request_id": SessionKey,
    "shortcut": Annotated[str, Meta(pattern=r"^[^\s/\x00-\x1f\x7f]{1,39}\Z")],
    "app_id": Annotated[str, Meta(min_length=1, max_length=64)],
    "channel_name": Annotated[str, Meta(min_length=1, max_length=200)],
}
"""Bounds of each parameter that paths have; what msgspec takes for a type."""
_PARAMETER = re.compile(r"{(\w+)}")


class Edge(Struct, frozen=True, kw_only=True):
    """What handlers work with.

    `ws_url` tells where the WebSocket is, once it is known; `openapi_document` is the description
    of all routes, encoded; `pusher` is None where there is no Pusher-compatible endpoint.
    """

    club: Club
    settings: Settings
    metrics: Metrics
    ws_url: Callable[[], str]
    openapi_document: Callable[[], bytes]
    pusher: PusherEndpoint | None = None


class Call(NamedTuple):
    """One request on its way through a handler.

    `path` holds the path's parameters, checked. `command_id` is the request's `Idempotency-Key`.
    """

    edge: Edge
    asker: Principal | None
    path: Mapping[str, str]
    command_id: str | None

    @property
    def club(self) -> Club:
        """The club."""
        return self.edge.club

    @property
    def principal(self) -> Principal:
        """Who asks; only on routes that are not for anybody."""
        if self.asker is None:
            raise AssertionError("the route is for anybody")
        return self.asker

    @property
    def pusher(self) -> PusherEndpoint:
        """The Pusher-compatible endpoint.

        Raises:
            Refused: `not_found` where there is none.
        """
        if self.edge.pusher is None:
            raise Refused(ErrorCode.NOT_FOUND, "There is no Pusher-compatible endpoint here.")
        return self.edge.pusher

    @property
    def room_id(self) -> str:
        """The room of the path."""
        return self.path["room_id"]

    async def run(
        self, command: AnyRoomCommand | CreateRoom | ListRooms, *, source: str = SOURCE
    ) -> Ok:
        """Run a command as the asker, at most once where the request has an idempotency key."""
        command.command_id = self.command_id
        return await self.club.run(self.principal, command, source=source)

    async def chat(self, command: AnyChatCommand, *, source: str) -> Ok:
        """Run a command about a conversation, like `run`."""
        command.command_id = self.command_id
        await self.club.accounts.welcome(self.principal)
        return await self.club.chats.run(self.principal, command, source=source)


Handler = Callable[[Call, Any], Awaitable[object]]
"""Takes the call and what the route takes; returns what has the fields of what it answers."""


class Route(NamedTuple):
    """One method of one path.

    Attributes:
        path: With its parameters in braces, in snake_case.
        takes: Type of the query (GET) or of the body; DELETE takes it from either.
        answers: Type whose fields the answer has; or the media type of a `Response`.
        status: Of success.
        access: For whom.
        about_asker: A `userId` in query or body means the asker.
        form: The body may be a form, too.
        plain_errors: Errors are a sentence of plain text instead of a problem document.
        tag: What it is about.
        summary: One line.
        handler: Does it.
    """

    method: Method
    path: str
    takes: type[Body]
    answers: type[Struct] | str
    status: int
    access: Access
    about_asker: bool
    form: bool
    plain_errors: bool
    tag: str
    summary: str
    handler: Handler

    @property
    def name(self) -> str:
        """Name of the operation, unique in the API."""
        return camel(self.handler.__name__)

    @property
    def parameters(self) -> list[str]:
        """The path's parameters, in snake_case."""
        return _PARAMETER.findall(self.path)

    @property
    def has_body(self) -> bool:
        """Whether a body is read."""
        return self.method != "GET" and self.takes is not NoBody


B = TypeVar("B", bound=Body)
R = TypeVar("R")


class Routes:
    """Collects the routes of one subject; its instances decorate handlers."""

    def __init__(self, tag: str, *, plain_errors: bool = False) -> None:
        self.tag = tag
        self.plain_errors = plain_errors
        self.all: list[Route] = []

    def __call__(
        self,
        method: Method,
        path: str,
        *,
        takes: type[B],
        answers: type[Struct] | str,
        status: int = 200,
        access: Access = "user",
        about_asker: bool = True,
        form: bool = False,
    ) -> Callable[
        [Callable[[Call, B], Awaitable[R]]],
        Callable[[Call, B], Awaitable[R]],
    ]:
        """Make a handler the route's; the first line of its docstring is the summary."""

        def decorate(handler: Callable[[Call, B], Awaitable[R]]) -> Any:  # as it came
            summary = (handler.__doc__ or "").strip().partition("\n")[0]
            self.all.append(
                Route(
                    method,
                    path,
                    takes,
                    answers,
                    status,
                    access,
                    about_asker,
                    form,
                    self.plain_errors,
                    self.tag,
                    summary,
                    handler,
                )
            )
            return handler

        return decorate


def checked_path(values: Mapping[str, str]) -> dict[str, str]:
    """Check the parameters of a path.

    Raises:
        Refused: `bad_request`.
    """
    for name, value in values.items():
        try:
            msgspec.convert(value, _PATH_KINDS[name])
        except msgspec.ValidationError:
            raise bad_field(name, "The path holds no such id.") from None
    return dict(values)


def command_key(header: str | None) -> str | None:
    """Read the `Idempotency-Key` header.

    Raises:
        Refused: `bad_request` where it is no UUID.
    """
    if header is None:
        return None
    try:
        return msgspec.convert(header.strip(), CommandKey)
    except msgspec.ValidationError:
        raise Refused(
            ErrorCode.BAD_REQUEST,
            f"The header {IDEMPOTENCY_KEY} is no UUID.",
            {"field": IDEMPOTENCY_KEY},
        ) from None


def require_me(principal: Principal, named: UserRef | None) -> None:
    """Refuse a user id that means the asker and is somebody else's.

    Raises:
        Refused: `forbidden`.
    """
    if named is not None and str(named) != principal.user_id:
        raise Refused(
            ErrorCode.FORBIDDEN, "The userId is not the one of your token.", {"field": "userId"}
        )


def refusal_of(error: Unavailable) -> Refused:
    """Say on the wire that the database is away."""
    return Refused(
        ErrorCode.UNAVAILABLE,
        "The database is unavailable; try again.",
        retry_after_s=error.retry_after_s,
    )


def plain_response(body: bytes | str, media_type: str) -> Response:
    """Answer something that is no API answer: a document, a page, metrics."""
    return Response(body, 200, content_type=media_type)
