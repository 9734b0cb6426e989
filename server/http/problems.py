"""Errors as `application/problem+json` (RFC 9457), one HTTP status for each wire code.

`illegal_action` is 422: the request is well-formed and about a hand that runs, but the rules do not
have that action now; `details` says what they have. Whatever loses against the state of a room
(a seat that is taken, a turn that is over, chips that are not there) is 409.
"""

from collections.abc import Mapping
from http import HTTPStatus

import msgspec
from msgspec import UNSET, Struct, UnsetType
from quart import Response

from protocol.errors import ErrorCode, Refused
from server.http.bodies import camel

PROBLEM_TYPE = "application/problem+json"
PLAIN = "text/plain; charset=utf-8"

STATUS: Mapping[ErrorCode, int] = {
    ErrorCode.BAD_REQUEST: 400,
    ErrorCode.UNAUTHENTICATED: 401,
    ErrorCode.FORBIDDEN: 403,
    ErrorCode.NOT_APPROVED: 403,
    ErrorCode.NOT_FOUND: 404,
    ErrorCode.CONFLICT: 409,
    ErrorCode.ALREADY_JOINED: 409,
    ErrorCode.SEAT_TAKEN: 409,
    ErrorCode.NOT_YOUR_TURN: 409,
    ErrorCode.ROOM_FULL: 409,
    ErrorCode.INSUFFICIENT_BALANCE: 409,
    ErrorCode.ROOM_CLOSED: 410,
    ErrorCode.TOO_LARGE: 413,
    ErrorCode.MOVED: 421,
    ErrorCode.ILLEGAL_ACTION: 422,
    ErrorCode.RATE_LIMITED: 429,
    ErrorCode.INTERNAL: 500,
    ErrorCode.BUSY: 503,
    ErrorCode.UNAVAILABLE: 503,
    ErrorCode.ROOM_UNAVAILABLE: 503,
}
"""The HTTP status of each wire code."""


class Problem(Struct, frozen=True, kw_only=True):
    """A problem document.

    `detail` is a sentence for people, `details` names the field or what would be legal,
    `retry_after` is in seconds, `request_id` is what the server's log calls this request.
    """

    type: str
    title: str
    status: int
    detail: str
    code: ErrorCode
    request_id: str
    details: dict[str, object] | UnsetType = UNSET
    retry_after: float | UnsetType = UNSET


def problem(refused: Refused, request_id: str, status: int | None = None) -> Response:
    """Compose the answer to a request that was refused.

    Args:
        refused: why.
        request_id: the request's.
        status: in place of the code's own, for what only HTTP knows (405, 408).
    """
    chosen = STATUS[refused.code] if status is None else status
    document = Problem(
        type=f"/docs#{refused.code}",
        title=HTTPStatus(chosen).phrase,
        status=chosen,
        detail=refused.message,
        code=refused.code,
        request_id=request_id,
        details=UNSET if refused.details is None else _on_http(refused.details),
        retry_after=UNSET if refused.retry_after_s is None else refused.retry_after_s,
    )
    response = Response(msgspec.json.encode(document), chosen, content_type=PROBLEM_TYPE)
    if refused.retry_after_s is not None:
        # RFC 9110 section 10.2.3: whole seconds. Rounded up: not too early.
        response.headers["Retry-After"] = str(max(1, -int(-refused.retry_after_s // 1)))
    if chosen == HTTPStatus.UNAUTHORIZED:
        response.headers["WWW-Authenticate"] = 'Bearer realm="cardroom"'
    return response


def plainly(refused: Refused, status: int | None = None) -> Response:
    """Compose the answer to a request that was refused as Pusher does: its sentence, no more."""
    chosen = STATUS[refused.code] if status is None else status
    return Response(refused.message, chosen, content_type=PLAIN)


def internal(request_id: str) -> Refused:
    """Make the refusal that tells an id to find in the log, and nothing else."""
    return Refused(ErrorCode.INTERNAL, "Something went wrong on the server.", {"id": request_id})


def _on_http(details: Mapping[str, object]) -> dict[str, object]:
    """Name the field at fault as HTTP clients write it."""
    field = details.get("field")
    return {**details, "field": camel(field)} if isinstance(field, str) else dict(details)
