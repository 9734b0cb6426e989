"""The identity provider's public keys (JWKS, RFC 7517), fetched when needed and kept."""

import json
from collections.abc import Mapping

import httpx
import jwt
import structlog
import trio

from server.auth.errors import KeysUnavailable, Unauthenticated
from server.settings import JwtAlgorithm

MIN_REFETCH_S = 30.0
"""An unknown key id may be anybody's invention: it causes one fetch in this time at most."""
EMPTY_RETRY_S = 2.0
"""While no key is held at all, nobody can get in: try again sooner."""
MAX_AGE_S = 600.0
"""Older keys are fetched again, so that a key that the provider withdrew stops being good."""
FETCH_TIMEOUT_S = 5.0

_ALGORITHMS = {"RSA": "RS256", "EC": "ES256"}
"""The one algorithm that a type of key is good for: a token has no say in it."""
_log = structlog.get_logger(__name__)


class Jwks:
    """The keys of one URL that fit one algorithm (or, with `JWKS`, any of those here), by key id.

    While the provider cannot be reached, or answers nonsense, the keys already held stay good.
    """

    def __init__(self, url: str, algorithm: JwtAlgorithm, client: httpx.AsyncClient) -> None:
        """Remember where the keys are; nothing is fetched yet. The client stays the caller's."""
        self._url = url
        self._algorithm = algorithm
        self._client = client
        self._keys: dict[str | None, jwt.PyJWK] = {}
        self._fetched_at = float("-inf")
        self._tried_at = float("-inf")
        self._fetching = trio.Lock()

    async def key(self, kid: str | None) -> jwt.PyJWK:
        """Return the key with this id; None means the only key there is.

        Raises:
            Unauthenticated: the provider has no such key, as far as is known.
            KeysUnavailable: no key was ever fetched and the provider does not answer.

        Cancellation leaves the keys as they were.
        """
        key = self._find(kid)
        stale = trio.current_time() - self._fetched_at > MAX_AGE_S
        if key is not None and (not stale or self._fetching.locked()):
            return key
        async with self._fetching:
            # Whoever held the lock may have fetched what is wanted.
            if self._find(kid) is None or trio.current_time() - self._fetched_at > MAX_AGE_S:
                await self._refetch()
        key = self._find(kid)
        if key is None and not self._keys:
            raise KeysUnavailable
        if key is None:
            raise Unauthenticated("unknown key")
        return key

    def _find(self, kid: str | None) -> jwt.PyJWK | None:
        if kid is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        return self._keys.get(kid)

    async def _refetch(self) -> None:
        pause_s = MIN_REFETCH_S if self._keys else EMPTY_RETRY_S
        if trio.current_time() - self._tried_at < pause_s:
            return
        self._tried_at = trio.current_time()
        try:
            response = await self._client.get(self._url, timeout=FETCH_TIMEOUT_S)
            response.raise_for_status()
            keys = self._parse(response.json())
        except (httpx.HTTPError, json.JSONDecodeError, UnicodeDecodeError) as error:
            _log.warning("jwks.unreachable", url=self._url, error=type(error).__name__)
            return
        if keys:
            self._keys = keys
            self._fetched_at = trio.current_time()
        else:
            _log.warning("jwks.no_usable_key", url=self._url, algorithm=self._algorithm)

    def _parse(self, document: object) -> dict[str | None, jwt.PyJWK]:
        """Take the signature keys of our algorithm; a key that we cannot read harms no other."""
        entries = document.get("keys") if isinstance(document, Mapping) else None
        keys: dict[str | None, jwt.PyJWK] = {}
        for entry in entries if isinstance(entries, list) else ():
            if not isinstance(entry, dict) or entry.get("use", "sig") != "sig":
                continue
            kind = entry.get("kty")
            algorithm = _ALGORITHMS.get(kind) if isinstance(kind, str) else None
            if (
                algorithm is None
                or self._algorithm not in (algorithm, "JWKS")
                or entry.get("alg", algorithm) != algorithm
            ):
                continue
            kid = entry.get("kid")
            try:
                keys[kid if isinstance(kid, str) else None] = jwt.PyJWK(entry, algorithm)
            except (jwt.PyJWTError, ValueError, TypeError) as error:
                _log.warning("jwks.key_refused", kid=kid, error=type(error).__name__)
        return keys
