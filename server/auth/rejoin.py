"""Rejoin tokens: what a client keeps, and the only form in which the server stores it."""

import hashlib
import secrets

TOKEN_BYTES = 32


def new_token() -> str:
    """Return 256 random bits as URL-safe text (43 characters)."""
    return secrets.token_urlsafe(TOKEN_BYTES)


def token_hash(token: str) -> bytes:
    """Return the SHA-256 of a token: 32 bytes, the key to look it up by.

    No salt and no slow hash: the token has all the entropy that guessing would have to cover. Any
    text is accepted, so that a client's nonsense is simply a token that is not found.
    """
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
