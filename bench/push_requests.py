"""What OneSignal's REST API takes and what it refuses, in its own words, as far as it documents it.

https://documentation.onesignal.com/reference/push-notification
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import msgspec
from msgspec import Struct

MAX_ALIASES = 2000
MAX_DATA_BYTES = 2048
MAX_BODY_BYTES = 1024 * 1024
_HOW_TO_AUTHORIZE = (
    "Access denied.  Please include an 'Authorization: ...' header with a valid API key "
    "(https://documentation.onesignal.com/docs/accounts-and-keys)."
)
_OTHER_TARGETS = (
    "included_segments",
    "filters",
    "include_subscription_ids",
    "include_player_ids",
    "include_external_user_ids",
)


class Refused(Exception):
    """A request is answered with `status` and these words."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status
        self.words = words


class PushRequest(Struct, forbid_unknown_fields=True, kw_only=True):
    """The body of a request, those fields that Cardroom has a use for."""

    app_id: str
    include_aliases: dict[str, list[str]]
    target_channel: str
    contents: dict[str, str]
    headings: dict[str, str] = {}
    data: dict[str, Any] = {}
    """Whatever the sender says."""
    idempotency_key: str
    ttl: int = 259_200


def checked(
    method: str,
    target: str,
    headers: Mapping[str, str],
    body: bytes,
    *,
    app_id: str | None,
    api_key: str | None,
) -> PushRequest:
    """Read a request.

    Args:
        method: of HTTP.
        target: the path.
        headers: with names in lower case.
        body: JSON.
        app_id: the one that is known; None: any.
        api_key: the one that is good; None: any.

    Raises:
        Refused: OneSignal would not take it, or nobody means to send such a thing.
    """
    if target.partition("?")[0] != "/notifications":
        raise Refused(404, "Not Found")
    if method != "POST":
        raise Refused(405, "Method Not Allowed")
    scheme, _, key = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "key" or not key or (api_key is not None and key != api_key):
        raise Refused(403, _HOW_TO_AUTHORIZE)
    if headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise Refused(400, "Content-Type must be application/json")
    return _checked_body(body, app_id)


def _checked_body(body: bytes, app_id: str | None) -> PushRequest:
    if len(body) > MAX_BODY_BYTES:
        raise Refused(413, "Payload Too Large")
    try:
        given = msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Refused(400, "Bad Request: the body is no JSON object") from None
    if not _is_uuid(given.get("app_id")) or app_id not in (None, given["app_id"]):
        raise Refused(
            400,
            "app_id not found. You may be missing a Content-Type: application/json header.",
        )
    if any(given.get(name) for name in _OTHER_TARGETS):
        raise Refused(400, "You may only use one method of targeting users")
    if not given.get("include_aliases"):
        raise Refused(400, "You must include which players, segments, or tags you wish to send to.")
    if not (isinstance(given.get("contents"), dict) and given["contents"].get("en")):
        raise Refused(400, "Message Notifications must have English language content")
    try:
        request = msgspec.convert(given, PushRequest)
    except msgspec.ValidationError as error:
        raise Refused(400, str(error)) from None
    aliases = request.include_aliases.get("external_id", [])
    if list(request.include_aliases) != ["external_id"] or not all(aliases):
        raise Refused(400, "include_aliases must be external_id with ids")
    if not 1 <= len(aliases) <= MAX_ALIASES:
        raise Refused(400, f"include_aliases has a limit of {MAX_ALIASES} entries")
    if request.target_channel != "push":
        raise Refused(400, "target_channel must be push")
    if not _is_uuid(request.idempotency_key):
        raise Refused(400, "idempotency_key must be a valid UUID")
    if "en" not in request.headings:
        raise Refused(400, "headings must have English language content")
    if len(msgspec.json.encode(request.data)) > MAX_DATA_BYTES:
        raise Refused(400, f"data has a limit of {MAX_DATA_BYTES} bytes")
    if request.ttl < 0:
        raise Refused(400, "ttl must not be negative")
    return request


def _is_uuid(value: object) -> bool:
    try:
        return isinstance(value, str) and bool(UUID(value))
    except ValueError:
        return False
