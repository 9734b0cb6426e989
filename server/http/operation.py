"""Operation: configuration for clients, health, metrics, and the documents of the API."""

from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

from msgspec import Struct
from quart import Response

from protocol.codec import JSON_SUBPROTOCOL, MSGPACK_SUBPROTOCOL, encode_json
from protocol.schema import asyncapi
from server.http.answers import ConfigAnswer, HealthAnswer, LimitsView, ReadyAnswer, write_answer
from server.http.bodies import NoBody
from server.http.calls import Call, Routes, plain_response
from server.http.openapi import JSON, listing_variants

ROUTES = Routes("operation")

HTML = "text/html; charset=utf-8"
METRICS = "text/plain; version=0.0.4; charset=utf-8"
_DOCS_PAGE = Path(__file__).parent / "static" / "docs.html"


@ROUTES("GET", "/api/config", takes=NoBody, answers=ConfigAnswer, access="anybody")
async def config(call: Call, _: NoBody) -> Struct:
    """Tell where the WebSocket is, and the limits."""
    settings = call.edge.settings
    return ConfigAnswer(
        ws_url=call.edge.ws_url(),
        subprotocols=[MSGPACK_SUBPROTOCOL, JSON_SUBPROTOCOL],
        limits=LimitsView(
            max_message_bytes=settings.max_message_bytes,
            commands_per_second=settings.commands_per_s,
            command_burst=settings.command_burst,
            sockets_per_user=settings.sockets_per_user,
            missed_events_limit=settings.missed_events_limit,
            idle_socket_seconds=settings.idle_socket_s,
            auth_timeout_seconds=settings.auth_timeout_s,
        ),
    )


@ROUTES("GET", "/healthz", takes=NoBody, answers=HealthAnswer, access="anybody")
async def healthz(_call: Call, _: NoBody) -> Struct:
    """Say that the process answers."""
    return HealthAnswer()


@ROUTES("GET", "/readyz", takes=NoBody, answers=ReadyAnswer, access="anybody")
async def readyz(call: Call, _: NoBody) -> Struct | Response:
    """Say whether the club can be used; 503 while it cannot."""
    ready, details = call.club.ready()
    answer = ReadyAnswer(ready=ready, details=dict(details))
    if ready:
        return answer
    body = write_answer(answer, ReadyAnswer, success=False)
    return Response(body, 503, content_type=JSON)


@ROUTES("GET", "/metrics", takes=NoBody, answers=METRICS, access="anybody")
async def metrics(call: Call, _: NoBody) -> Response:
    """Get the server's metrics in Prometheus' text format."""
    return plain_response(call.edge.metrics.exposition(), METRICS)


@ROUTES("GET", "/openapi.json", takes=NoBody, answers=JSON, access="anybody")
async def openapi_document(call: Call, _: NoBody) -> Response:
    """Get the description of this API."""
    return plain_response(call.edge.openapi_document(), JSON)


@ROUTES("GET", "/asyncapi.json", takes=NoBody, answers=JSON, access="anybody")
async def asyncapi_document(call: Call, _: NoBody) -> Response:
    """Get the description of the WebSocket protocol."""
    socket = urlsplit(call.edge.ws_url())
    document = asyncapi(socket.netloc, socket.path or "/", socket.scheme)
    return plain_response(encode_json(listing_variants(document)), JSON)


@ROUTES("GET", "/docs", takes=NoBody, answers=HTML, access="anybody")
async def docs(_call: Call, _: NoBody) -> Response:
    """Show both descriptions to people."""
    return plain_response(_docs_page(), HTML)


@cache
def _docs_page() -> bytes:
    return _DOCS_PAGE.read_bytes()
