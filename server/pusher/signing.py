"""Signatures of an app's secret (Pusher's docs, "Authentication and authorization signatures").

All of them are HMAC-SHA256 in hexadecimal and compared in constant time. What is signed for a
channel begins with the socket's id and one colon, what is signed for a user with the id and two: a
channel whose name begins with a colon would make one out of the other, and no such name is signed.
"""

import hashlib
import hmac
from collections.abc import Iterable

from msgspec import Struct

from server.settings import Settings

REQUEST_VERSION = "1.0"
MAX_AGE_S = 600
"""How far a signed request's time may be from ours, either way."""

_UNSIGNED = "auth_signature"


class BadSignature(Exception):
    """A signed request that is not to be trusted; `reason` is a sentence for its sender."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class App(Struct, frozen=True):
    """The one app of this server, and what it signs. The secret stays out of its `repr`."""

    id: str
    key: str
    secret: str

    @classmethod
    def of(cls, settings: Settings) -> "App | None":
        """Return the app of the settings; None unless id, key and secret are all there."""
        if settings.pusher_app_id and settings.pusher_key and settings.pusher_secret:
            return cls(settings.pusher_app_id, settings.pusher_key, settings.pusher_secret)
        return None

    def __repr__(self) -> str:
        return f"App(id={self.id!r}, key={self.key!r})"

    def channel_auth(self, socket_id: str, channel: str, channel_data: str | None = None) -> str:
        """Sign that a socket may have a private channel."""
        data = "" if channel_data is None else f":{channel_data}"
        return f"{self.key}:{self._sign(f'{socket_id}:{channel}{data}')}"

    def user_auth(self, socket_id: str, user_data: str) -> str:
        """Sign whose socket it is; `user_data` is a JSON object with at least an `id`."""
        return f"{self.key}:{self._sign(f'{socket_id}::user::{user_data}')}"

    def request_signature(self, method: str, path: str, query: Iterable[tuple[str, str]]) -> str:
        """Sign a request by its query, values unescaped; its signature itself is left out."""
        fields = sorted((name.lower(), value) for name, value in query)
        joined = "&".join(f"{name}={value}" for name, value in fields if name != _UNSIGNED)
        return self._sign(f"{method}\n{path}\n{joined}")

    def check_request(
        self, method: str, path: str, query: Iterable[tuple[str, str]], body: bytes, now_s: float
    ) -> None:
        """Check a request of a server library ("HTTP API reference", authentication).

        Args:
            method: in capitals.
            path: without the query.
            query: all its fields, unescaped.
            body: as it came; its MD5 is part of what is signed.
            now_s: seconds since 1970.

        Raises:
            BadSignature: it is not signed by this app, or not now, or not with this body.
        """
        fields = list(query)
        given = dict(fields)
        if not _same(given.get("auth_key", ""), self.key):
            raise BadSignature("Unknown auth_key.")
        if given.get("auth_version") != REQUEST_VERSION:
            raise BadSignature(f"Unknown auth_version: it is {REQUEST_VERSION}.")
        timestamp = given.get("auth_timestamp", "")
        if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
            raise BadSignature("The auth_timestamp is missing or is no number of seconds.")
        if abs(int(timestamp) - now_s) > MAX_AGE_S:
            raise BadSignature(
                f"Timestamp expired: the auth_timestamp is not within {MAX_AGE_S} s of the "
                "server's time."
            )
        digest = hashlib.md5(body, usedforsecurity=False).hexdigest()
        if (body or "body_md5" in given) and not _same(given.get("body_md5", "").lower(), digest):
            raise BadSignature("The body_md5 is not that of the body.")
        if not _same(given.get(_UNSIGNED, ""), self.request_signature(method, path, fields)):
            raise BadSignature("Invalid signature.")

    def _sign(self, text: str) -> str:
        return hmac.new(self.secret.encode(), text.encode(), hashlib.sha256).hexdigest()


def same_auth(given: str, wanted: str) -> bool:
    """Compare two signatures (or other secrets) in a time that tells nothing."""
    return _same(given, wanted)


def _same(given: str, wanted: str) -> bool:
    # As bytes: `compare_digest` refuses text beyond ASCII.
    return hmac.compare_digest(given.encode("utf-8", "replace"), wanted.encode())
