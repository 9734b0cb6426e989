"""Cross-origin requests (Fetch standard, section 3.2): for the configured origins and no others.

Credentials in the sense of CORS (cookies) are never allowed: there are none, a token is a header.
"""

from collections.abc import Iterable

from quart import Request, Response

MAX_AGE_S = 600
_METHODS = "GET, POST, PATCH, DELETE"
_REQUEST_HEADERS = "Authorization, Content-Type, Idempotency-Key, X-Request-Id"
_RESPONSE_HEADERS = "Retry-After, X-Request-Id"


class Cors:
    """Says to browsers which origins may read answers."""

    def __init__(self, origins: Iterable[str]) -> None:
        self._origins = frozenset(origins)

    def is_preflight(self, request: Request) -> bool:
        """Whether a request only asks what would be allowed."""
        return (
            request.method == "OPTIONS"
            and "Origin" in request.headers
            and "Access-Control-Request-Method" in request.headers
        )

    def allow(self, request: Request, response: Response) -> None:
        """Add the headers that let an allowed origin read this answer."""
        if not self._origins:
            return
        # A cache must not give one origin the answer that was made for another.
        response.headers["Vary"] = "Origin"
        origin = request.headers.get("Origin")
        if origin not in self._origins:
            return
        response.headers["Access-Control-Allow-Origin"] = origin
        response.headers["Access-Control-Expose-Headers"] = _RESPONSE_HEADERS
        if self.is_preflight(request):
            response.headers["Access-Control-Allow-Methods"] = _METHODS
            response.headers["Access-Control-Allow-Headers"] = _REQUEST_HEADERS
            response.headers["Access-Control-Max-Age"] = str(MAX_AGE_S)
