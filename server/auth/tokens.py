"""Access tokens: JWTs of the identity provider, or of the server itself, become principals.

The algorithm is the configured one and never the token's choice: a token that names another is
refused before any key is looked at, which closes `none` and HS256 keyed with a public key. Where
the keys of a provider say it, it is the key's, by its type, and no choice of the token's either.

Errors: `server.auth.errors`.
"""

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Self

import httpx
import jwt

from protocol.ids import UserId
from protocol.principal import MAX_USER_ID_CHARS, Principal
from protocol.values import ClubRole
from server.auth.errors import Unauthenticated
from server.auth.jwks import Jwks
from server.settings import JwtAlgorithm, Settings

MAX_TOKEN_CHARS = 8 * 1024
MAX_NAME_CHARS = 60


class AccessTokens:
    """Verify access tokens, all with one source of keys, each of which has one algorithm."""

    def __init__(
        self,
        algorithm: JwtAlgorithm,
        keys: str | Jwks,
        *,
        audience: str | None = None,
        issuer: str | None = None,
    ) -> None:
        """Pin the algorithm: `keys` is the secret for HS256, else the provider's keys."""
        if (algorithm == "HS256") != isinstance(keys, str):
            raise ValueError("HS256 takes a secret, everything else a JWKS")
        self._algorithm = algorithm
        self._allowed = ("RS256", "ES256") if algorithm == "JWKS" else (algorithm,)
        self._keys = keys
        self._audience = audience
        self._issuer = issuer

    @classmethod
    def from_settings(
        cls, settings: Settings, secret: str, client: httpx.AsyncClient | None
    ) -> Self:
        """Build the verifier that the settings ask for.

        `secret` is used with HS256 only, `client` with the keys of a JWKS URL only.
        """
        algorithm = settings.jwt_algorithm
        if algorithm == "HS256":
            keys: str | Jwks = secret
        elif settings.jwks_url is not None:
            assert client is not None
            keys = Jwks(settings.jwks_url, algorithm, client)
        else:
            raise AssertionError("settings hold no asymmetric algorithm without a JWKS URL")
        return cls(algorithm, keys, audience=settings.jwt_audience, issuer=settings.jwt_issuer)

    async def verify(self, token: str) -> Principal:
        """Return whom the token vouches for.

        The signature, `exp` and `sub` are always required, `aud` and `iss` where configured. The
        name is `user_metadata.name`, else `name`, else the user id; the role is
        `app_metadata.role`, else `role`, and anything but `staff` is a player.

        Raises:
            Unauthenticated: the token proves nothing. Its text holds nothing of the token.
            KeysUnavailable: it could not be checked now.

        Fetches keys when the token names an unknown one; cancellation has no effect but that.
        """
        kid = self._vetted_kid(token)
        key = self._keys if isinstance(self._keys, str) else await self._keys.key(kid)
        claims = self._claims(token, key)
        return _principal(claims)

    def _vetted_kid(self, token: str) -> str | None:
        if len(token) > MAX_TOKEN_CHARS:
            raise Unauthenticated("the token is too long")
        try:
            header = jwt.get_unverified_header(token)
        except (jwt.PyJWTError, ValueError, TypeError):
            raise Unauthenticated("the token is malformed") from None
        if header.get("alg") not in self._allowed:
            raise Unauthenticated("the token's algorithm is not the configured one")
        kid = header.get("kid")
        return kid if isinstance(kid, str) else None

    def _claims(self, token: str, key: str | jwt.PyJWK) -> dict[str, Any]:
        algorithm = self._algorithm if isinstance(key, str) else key.algorithm_name
        try:
            return jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                audience=self._audience,
                issuer=self._issuer,
                options={
                    "require": ["exp", "sub"],
                    "verify_aud": self._audience is not None,
                    "verify_iss": self._issuer is not None,
                    # RFC 7519 section 4.1.6: it tells the age and forbids nothing. The provider's
                    # clock may well be a second ahead of ours.
                    "verify_iat": False,
                    # A provider's weak key is refused; our own secret was judged with the settings.
                    "enforce_minimum_key_length": self._algorithm != "HS256",
                },
            )
        except jwt.PyJWTError as error:
            raise Unauthenticated(_reason(error)) from None
        except (ValueError, TypeError, OverflowError):
            # PyJWT lets these through for claims of absurd types and sizes.
            raise Unauthenticated("the token is malformed") from None


def mint(
    secret: str,
    user_id: str,
    name: str,
    role: ClubRole = "player",
    ttl_s: int = 24 * 60 * 60,
    *,
    audience: str | None = None,
    issuer: str | None = None,
) -> str:
    """Sign an HS256 access token that is good for `ttl_s` seconds from now.

    Raises:
        ValueError: `user_id` has not 1–64 printable characters.
    """
    if not _is_user_id(user_id):
        raise ValueError(f"a user id has 1 to {MAX_USER_ID_CHARS} printable characters")
    now = int(time.time())
    claims: dict[str, Any] = {
        "sub": user_id,
        "name": name,
        "role": role,
        "iat": now,
        "exp": now + ttl_s,
    }
    if audience is not None:
        claims["aud"] = audience
    if issuer is not None:
        claims["iss"] = issuer
    return jwt.encode(claims, secret, algorithm="HS256")


def _reason(error: jwt.PyJWTError) -> str:
    match error:
        case jwt.ExpiredSignatureError():
            return "the token has expired"
        case jwt.ImmatureSignatureError():
            return "the token is not valid yet"
        case jwt.InvalidAudienceError():
            return "the token is for another audience"
        case jwt.InvalidIssuerError():
            return "the token is from another issuer"
        case jwt.MissingRequiredClaimError():
            return "the token lacks a required claim"
        case jwt.InvalidAlgorithmError():
            return "the token's algorithm is not that of its key"
        case jwt.InvalidSignatureError():
            return "the token's signature is wrong"
        case jwt.InvalidKeyError():
            return "the token's key is not strong enough"
        case _:
            return "the token is malformed"


def _principal(claims: Mapping[str, Any]) -> Principal:
    user_id = claims["sub"]
    if not isinstance(user_id, str) or not _is_user_id(user_id):
        raise Unauthenticated("the token's subject is no user id")
    try:
        expires_at = datetime.fromtimestamp(int(claims["exp"]), UTC)
    except (ValueError, OverflowError, OSError):
        raise Unauthenticated("the token's expiry is out of range") from None
    name = _text(claims, "user_metadata", "name") or _text(claims, "name") or user_id
    # What a user may write about themselves (`user_metadata`) never makes them staff.
    role = _text(claims, "app_metadata", "role") or _text(claims, "role")
    return Principal(
        user_id=UserId(user_id),
        name=name[:MAX_NAME_CHARS],
        role="staff" if role == "staff" else "player",
        expires_at=expires_at,
    )


def _is_user_id(text: str) -> bool:
    # Printable: no NUL, which PostgreSQL refuses in text, and no lone surrogate.
    return 1 <= len(text) <= MAX_USER_ID_CHARS and text.isprintable()


def _text(claims: Mapping[str, Any], *path: str) -> str:
    """Return the printable text at a path of the claims, empty if there is none."""
    value: object = claims
    for step in path:
        value = value.get(step) if isinstance(value, Mapping) else None
    if not isinstance(value, str):
        return ""
    return "".join(character for character in value if character.isprintable()).strip()
