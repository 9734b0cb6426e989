"""The application: every route behind one gate that authenticates, decodes, answers and logs."""

import contextlib
import re
import time
from collections.abc import Awaitable, Callable
from functools import cache
from typing import Any, Protocol
from urllib.parse import urlsplit

import structlog
import trio
from quart import Response, g, request
from quart.ctx import RequestContext
from quart_trio import QuartTrio
from quart_trio.wrappers import TrioRequest
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as WerkzeugResponse

from persistence.errors import Unavailable
from protocol.codec import encode_json
from protocol.errors import ErrorCode, Refused
from protocol.principal import Principal
from server.auth.errors import KeysUnavailable, Unauthenticated
from server.auth.tokens import AccessTokens
from server.http import (
    chat,
    games,
    me,
    older_chat,
    operation,
    pusher,
    records,
    rooms,
    staff,
    staff_chats,
    waitlist,
)
from server.http.answers import write_answer
from server.http.bodies import FORM, Body, NoBody, UserRef, read_body, read_form, read_query
from server.http.calls import (
    IDEMPOTENCY_KEY,
    Call,
    Edge,
    Route,
    checked_path,
    command_key,
    refusal_of,
    require_me,
)
from server.http.cors import Cors
from server.http.facade import Club
from server.http.openapi import JSON, openapi
from server.http.problems import internal, plainly, problem
from server.http.rates import Rates
from server.logs import request_scope
from server.metrics import Metrics
from server.pusher.endpoint import PusherEndpoint
from server.pusher.signing import BadSignature
from server.settings import Settings

MAX_BODY_BYTES = 64 * 1024
"""Room for the longest chat message, however much of it a client escapes: 12 bytes a character."""
MAX_SIGNED_BODY_BYTES = 256 * 1024
"""Ten events of 10 KiB, in JSON within JSON."""
SIGNED_PATHS = "/apps/"
BODY_TIMEOUT_S = 10
KEYS_RETRY_S = 2.0
WEBSOCKET_PATH = "/ws"
REQUEST_ID = "X-Request-Id"

ALL_ROUTES: tuple[Route, ...] = (
    *rooms.ROUTES.all,
    *games.ROUTES.all,
    *waitlist.ROUTES.all,
    *me.ROUTES.all,
    *records.ROUTES.all,
    *staff.ROUTES.all,
    *chat.ROUTES.all,
    *older_chat.ROUTES.all,
    *staff_chats.ROUTES.all,
    *pusher.ROUTES.all,
    *operation.ROUTES.all,
)

_EVERY_ADDRESS = frozenset({"0.0.0.0", "::"})
_SANE_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}\Z")
_log = structlog.stdlib.get_logger(__name__)


class Addresses(Protocol):
    """Where the server's other port is."""

    @property
    def ws_port(self) -> int: ...


class HttpRequest(TrioRequest):
    """A request, which may be longer where back ends publish."""

    def __init__(self, method: str, scheme: str, path: str, *args: Any, **options: Any) -> None:
        if path.startswith(SIGNED_PATHS):
            options["max_content_length"] = MAX_SIGNED_BODY_BYTES
        super().__init__(method, scheme, path, *args, **options)


class HttpApp(QuartTrio):
    """The application, with what its server counts in, and an id for every request."""

    request_class = HttpRequest
    metrics: Metrics

    async def full_dispatch_request(
        self, request_context: RequestContext | None = None
    ) -> Response | WerkzeugResponse:
        """Handle one request, with its id on every line that is logged meanwhile."""
        named = request.headers.get(REQUEST_ID, "")
        g.started = time.perf_counter()
        with request_scope(named if _SANE_ID.match(named) else None) as g.request_id:
            return await super().full_dispatch_request(request_context)


def create_app(
    club: Club,
    access_tokens: AccessTokens,
    settings: Settings,
    metrics: Metrics,
    addresses: Addresses,
    pusher_endpoint: PusherEndpoint | None = None,
) -> HttpApp:
    """Make the HTTP API of a club.

    Args:
        club: decides and reads everything.
        access_tokens: says who a bearer is.
        settings: limits, allowed origins, and the address that clients are told.
        metrics: counts requests, and is served.
        addresses: where the WebSocket is.
        pusher_endpoint: what clients of Pusher's talk to, where there is one.
    """
    app = HttpApp("server.http", static_folder=None)
    app.metrics = metrics
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    app.config["BODY_TIMEOUT"] = BODY_TIMEOUT_S
    # A path with a slash too many is no route, rather than a redirect that loses the body.
    app.url_map.strict_slashes = True
    app.url_map.redirect_defaults = False
    app.url_map.merge_slashes = False
    edge = Edge(
        club=club,
        settings=settings,
        metrics=metrics,
        ws_url=lambda: (
            settings.advertised_ws_address
            or f"ws://{_reached_at(settings.host)}:{addresses.ws_port}{WEBSOCKET_PATH}"
        ),
        openapi_document=cache(lambda: encode_json(openapi(ALL_ROUTES))),
        pusher=pusher_endpoint,
    )
    gate = _Gate(edge, access_tokens)
    for route in ALL_ROUTES:
        app.add_url_rule(
            re.sub(r"{(\w+)}", r"<\1>", route.path),
            endpoint=f"{route.method} {route.path}",
            view_func=gate.view(route),
            methods=[route.method],
        )
    _frame(app, Cors(settings.allowed_origins))
    return app


class _Gate:
    """Brings requests to handlers and answers back."""

    def __init__(self, edge: Edge, access_tokens: AccessTokens) -> None:
        self._edge = edge
        self._tokens = access_tokens
        # As much as a user may send over all the sockets that they may have.
        sockets = edge.settings.sockets_per_user
        self._rates = Rates(
            edge.settings.commands_per_s * sockets, edge.settings.command_burst * sockets
        )

    def view(self, route: Route) -> Callable[..., Awaitable[Response]]:
        """Make the function that Quart calls for a route, with the path's parameters."""

        async def view(**path: str) -> Response:
            asker = None
            g.plain_errors = route.plain_errors
            if route.access == "signed":
                await self._signed(path["app_id"])
            elif route.access != "anybody":
                asker = await self._authenticated()
                self._within_rate(asker)
                if route.access == "staff" and not asker.is_staff:
                    raise Refused(ErrorCode.FORBIDDEN, "Only staff may do this.")
                if asker.is_staff:
                    # So that push notifications reach them. What they ask for may well be had
                    # without a database; if not, it says so itself.
                    with contextlib.suppress(Refused):
                        await self._edge.club.accounts.welcome(asker)
            takes = await _taken(route)
            if asker is not None and route.about_asker:
                _require_asker(asker, takes)
            header = None if route.method == "GET" else request.headers.get(IDEMPOTENCY_KEY)
            call = Call(self._edge, asker, checked_path(path), command_key(header))
            answer = await route.handler(call, takes)
            if isinstance(answer, Response):
                return answer
            if isinstance(route.answers, str):
                raise AssertionError(f"{route.name} answers {route.answers}: no response made")
            body = write_answer(answer, route.answers)
            return Response(body, route.status, content_type=JSON)

        return view

    async def _authenticated(self) -> Principal:
        """Return whom the bearer token vouches for.

        Raises:
            Refused: `unauthenticated`, or `unavailable` while tokens cannot be checked.
        """
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise Refused(ErrorCode.UNAUTHENTICATED, "An access token is required as Bearer.")
        try:
            principal = await self._tokens.verify(token.strip())
        except KeysUnavailable as error:
            raise Refused(
                ErrorCode.UNAVAILABLE, _sentence(error), retry_after_s=KEYS_RETRY_S
            ) from None
        except Unauthenticated as error:
            raise Refused(ErrorCode.UNAUTHENTICATED, _sentence(error)) from None
        g.user_id = principal.user_id
        return principal

    async def _signed(self, app_id: str) -> None:
        """Check that a back end has signed this request with the secret of the app.

        Raises:
            Refused: `not_found` for another app, `unauthenticated`.
        """
        endpoint = self._edge.pusher
        if endpoint is None or endpoint.app.id != app_id:
            raise Refused(ErrorCode.NOT_FOUND, "There is no such app here.")
        body = await request.get_data(as_text=False)
        assert isinstance(body, bytes)
        query = request.args.items(multi=True)
        try:
            endpoint.app.check_request(request.method, request.path, query, body, time.time())
        except BadSignature as bad:
            raise Refused(ErrorCode.UNAUTHENTICATED, bad.reason) from None

    def _within_rate(self, principal: Principal) -> None:
        wait_s = self._rates.take(principal.user_id, trio.current_time())
        if wait_s:
            raise Refused(ErrorCode.RATE_LIMITED, "Too many requests.", retry_after_s=wait_s)


async def _taken(route: Route) -> Body:
    """Read what a route takes, from the query, the body, or for DELETE from either."""
    if route.takes is NoBody:
        return NoBody()
    if route.method == "GET":
        return read_query(request.args, route.takes)
    data = await request.get_data(as_text=False)
    assert isinstance(data, bytes)
    if route.method == "DELETE" and not data:
        return read_query(request.args, route.takes)
    if route.form and request.mimetype == FORM:
        return read_form(data, route.takes)
    return read_body(data, route.takes)


def _require_asker(asker: Principal, takes: Body) -> None:
    """Refuse a `userId` that is not the asker's, in what was taken or in the query."""
    named: UserRef | None = getattr(takes, "user_id", None)
    require_me(asker, named)
    require_me(asker, request.args.get("userId") or None)
    require_me(asker, request.args.get("user_id") or None)


def _frame(app: QuartTrio, cors: Cors) -> None:
    """Put around every request, found or not: CORS, a log line, problem documents."""

    async def before() -> Response | None:
        return Response("", 204) if cors.is_preflight(request) else None

    async def after(response: Response) -> Response:
        cors.allow(request, response)
        response.headers[REQUEST_ID] = g.request_id
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers.setdefault("Cache-Control", "no-store")
        _account(app, response.status_code)
        return response

    async def refused(error: Refused) -> Response:
        return _told(error)

    async def unavailable(error: Unavailable) -> Response:
        return _told(refusal_of(error))

    async def http_error(error: HTTPException) -> Response:
        return _http_problem(error)

    async def crashed(error: Exception) -> Response:
        _log.error("http_request_crashed", exc_info=error)
        return _told(internal(g.request_id))

    app.before_request(before)
    app.after_request(after)
    app.register_error_handler(Refused, refused)
    app.register_error_handler(Unavailable, unavailable)
    app.register_error_handler(HTTPException, http_error)
    app.register_error_handler(Exception, crashed)


def _told(refused: Refused, status: int | None = None) -> Response:
    """Tell an error in the form that the route has."""
    if g.get("plain_errors"):
        return plainly(refused, status)
    return problem(refused, g.request_id, status)


def _http_problem(error: HTTPException) -> Response:
    """Say what only HTTP knows (no such path, wrong method, a slow or long body) our way."""
    status = error.code or 500
    codes = {404: ErrorCode.NOT_FOUND, 413: ErrorCode.TOO_LARGE}
    refused = Refused(codes.get(status, ErrorCode.BAD_REQUEST), error.description or error.name)
    response = _told(refused, status)
    for name, value in error.get_headers():
        if name == "Allow":
            response.headers[name] = value
    return response


def _account(app: QuartTrio, status: int) -> None:
    """Count the request and write its line in the access log: no query, which may hold tokens."""
    seconds = time.perf_counter() - g.started
    rule = "none" if request.url_rule is None else request.url_rule.rule
    if isinstance(app, HttpApp):
        app.metrics.http_request(request.method, rule, status, seconds)
    _log.info(
        "http_request",
        method=request.method,
        path=request.path,
        status=status,
        ms=round(seconds * 1000, 1),
        user_id=g.get("user_id"),
    )


def _sentence(error: Unauthenticated) -> str:
    return f"{error.reason[:1].upper()}{error.reason[1:]}."


def _reached_at(host: str) -> str:
    """Write, as it stands in a URL, the host where the asker reaches the server.

    A server that listens on every address has none that it could tell: then it is the one that the
    asker has just used.
    """
    if host in _EVERY_ADDRESS:
        with contextlib.suppress(ValueError):
            host = urlsplit(f"//{request.host}").hostname or host
    return f"[{host}]" if ":" in host else host
