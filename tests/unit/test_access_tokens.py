"""Access tokens: who is let in, and every known way of forging one."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import jwt
import pytest
import trio
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from server.auth import jwks as jwks_module
from server.auth.errors import KeysUnavailable, Unauthenticated
from server.auth.jwks import Jwks
from server.auth.rejoin import new_token, token_hash
from server.auth.tokens import AccessTokens, mint
from server.settings import load

SECRET = "a secret of the tests, with more than 32 bytes"
FAR_FUTURE = 4_102_444_800  # the year 2100: parameters are made long before their test runs
OTHER_SECRET = "another secret of the tests, just as long"
URL = "https://id.example/jwks"

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


def claims(**changes: Any) -> dict[str, Any]:
    """Make good claims, with changes; a change to None leaves the claim out."""
    merged = {"sub": "alice", "name": "Alice", "exp": int(time.time()) + 3600, **changes}
    return {name: value for name, value in merged.items() if value is not None}


def signed(key: Any, algorithm: str = "HS256", kid: str | None = None, **changes: Any) -> str:
    headers = None if kid is None else {"kid": kid}
    return jwt.encode(claims(**changes), key, algorithm=algorithm, headers=headers)


def raw_token(header: dict[str, Any], payload: bytes, secret: bytes) -> str:
    """Sign with HMAC by hand, since PyJWT refuses to make such tokens."""
    parts = [base64.urlsafe_b64encode(part) for part in (json.dumps(header).encode(), payload)]
    body = b".".join(part.rstrip(b"=") for part in parts)
    signature = hmac.digest(secret, body, hashlib.sha256)
    return (body + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")).decode()


@pytest.fixture(scope="module")
def rsa_keys() -> tuple[rsa.RSAPrivateKey, rsa.RSAPrivateKey]:
    return rsa.generate_private_key(65537, 2048), rsa.generate_private_key(65537, 2048)


@pytest.fixture(scope="module")
def ec_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def public_jwk(key: PrivateKey, kid: str | None, **changes: Any) -> dict[str, Any]:
    algorithm: Any = jwt.algorithms.RSAAlgorithm
    if isinstance(key, ec.EllipticCurvePrivateKey):
        algorithm = jwt.algorithms.ECAlgorithm
    entry: dict[str, Any] = {**algorithm.to_jwk(key.public_key(), as_dict=True), "use": "sig"}
    return {**entry, **({} if kid is None else {"kid": kid}), **changes}


class Provider:
    """An identity provider: its keys can be changed, and it can be down."""

    def __init__(self) -> None:
        self.keys: list[dict[str, Any]] = []
        self.status = 200
        self.body: bytes | None = None
        self.fetches = 0
        self.gate: trio.Event | None = None
        self.client = httpx.AsyncClient(transport=httpx.MockTransport(self._answer))

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        assert str(request.url) == URL
        self.fetches += 1
        if self.gate is not None:
            await self.gate.wait()
        if self.status == 0:
            raise httpx.ConnectError("refused", request=request)
        content = json.dumps({"keys": self.keys}).encode() if self.body is None else self.body
        return httpx.Response(self.status, content=content)

    def tokens(self, algorithm: Any = "RS256", **expected: str) -> AccessTokens:
        return AccessTokens(algorithm, Jwks(URL, algorithm, self.client), **expected)


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    made = Provider()
    yield made
    await made.client.aclose()


def hs256(**expected: str) -> AccessTokens:
    return AccessTokens("HS256", SECRET, **expected)


async def refused(tokens: AccessTokens, token: str) -> str:
    """Expect a refusal that repeats nothing of the token; return its reason."""
    with pytest.raises(Unauthenticated) as caught:
        await tokens.verify(token)
    assert caught.value.__cause__ is None
    for part in token.split("."):
        assert len(part) < 8 or part not in str(caught.value)
    return caught.value.reason


async def test_what_was_minted_is_verified() -> None:
    before = int(time.time())
    principal = await hs256().verify(mint(SECRET, "29", "Bob", "staff", ttl_s=60))
    assert (principal.user_id, principal.name, principal.role) == ("29", "Bob", "staff")
    assert principal.expires_at is not None
    assert principal.expires_at >= datetime.fromtimestamp(before + 60, UTC)


async def test_minted_audience_and_issuer_are_those_demanded() -> None:
    token = mint(SECRET, "a", "A", audience="club", issuer="us")
    assert (await hs256(audience="club", issuer="us").verify(token)).user_id == "a"
    assert (await hs256().verify(token)).user_id == "a"


@pytest.mark.parametrize("user_id", ["", "x" * 65, "a\nb"])
def test_mint_refuses_what_is_no_user_id(user_id: str) -> None:
    with pytest.raises(ValueError, match="user id"):
        mint(SECRET, user_id, "A")


@pytest.mark.parametrize(
    ("changes", "name", "role"),
    [
        ({}, "Alice", "player"),
        ({"user_metadata": {"name": "Ally"}}, "Ally", "player"),
        ({"name": None}, "alice", "player"),
        ({"name": 7, "user_metadata": ["x"]}, "alice", "player"),
        ({"name": "\x00 A\nB "}, "AB", "player"),
        ({"name": "n" * 100}, "n" * 60, "player"),
        ({"role": "staff"}, "Alice", "staff"),
        ({"app_metadata": {"role": "staff"}, "role": "authenticated"}, "Alice", "staff"),
        ({"app_metadata": {"provider": "email"}, "role": "staff"}, "Alice", "staff"),
        ({"app_metadata": {"role": "player"}, "role": "staff"}, "Alice", "player"),
        ({"user_metadata": {"role": "staff"}}, "Alice", "player"),
        ({"role": "Staff"}, "Alice", "player"),
        ({"role": ["staff"]}, "Alice", "player"),
        ({"role": "admin"}, "Alice", "player"),
    ],
)
async def test_claims_become_name_and_role(changes: dict[str, Any], name: str, role: str) -> None:
    principal = await hs256().verify(signed(SECRET, **changes))
    assert (principal.user_id, principal.name, principal.role) == ("alice", name, role)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"exp": None}, "lacks a required claim"),
        ({"sub": None}, "lacks a required claim"),
        ({"exp": 1}, "expired"),
        ({"nbf": FAR_FUTURE}, "not valid yet"),
        ({"sub": ""}, "no user id"),
        ({"sub": "x" * 65}, "no user id"),
        ({"sub": "a\x00"}, "no user id"),
        ({"exp": 10**18}, "out of range"),
    ],
)
async def test_bad_claims_are_refused(changes: dict[str, Any], reason: str) -> None:
    assert reason in await refused(hs256(), signed(SECRET, **changes))


async def test_a_provider_whose_clock_is_ahead_is_believed() -> None:
    token = signed(SECRET, iat=int(time.time()) + 30)
    assert (await hs256().verify(token)).user_id == "alice"


@pytest.mark.parametrize(
    "payload",
    [
        b'{"sub": "alice", "exp": 1e999}',
        b'{"sub": "alice", "exp": NaN}',
        b'{"sub": "alice", "exp": "soon"}',
        b'{"sub": "alice", "exp": [9999999999]}',
        b'{"sub": 29, "exp": 9999999999}',
        b'{"sub": "\\ud800", "exp": 9999999999}',
        b"[]",
        b"\xff",
        b"",
    ],
)
async def test_signed_nonsense_is_refused(payload: bytes) -> None:
    token = raw_token({"alg": "HS256", "typ": "JWT"}, payload, SECRET.encode())
    await refused(hs256(), token)


@pytest.mark.parametrize(
    "token", ["", ".", "..", "a.b.c", "é.é.é", "\ud800", "x" * 9000, "e30.e30.e30", "W10.W10.W10"]
)
async def test_what_is_no_token_is_refused(token: str) -> None:
    with pytest.raises(Unauthenticated):
        await hs256().verify(token)


@pytest.mark.parametrize(
    ("expected", "changes", "good"),
    [
        ({"audience": "club"}, {"aud": "club"}, True),
        ({"audience": "club"}, {"aud": ["x", "club"]}, True),
        ({"audience": "club"}, {"aud": "other"}, False),
        ({"audience": "club"}, {}, False),
        ({}, {"aud": "anybody"}, True),
        ({"issuer": "https://id"}, {"iss": "https://id"}, True),
        ({"issuer": "https://id"}, {"iss": "https://evil"}, False),
        ({"issuer": "https://id"}, {}, False),
        ({}, {"iss": "anybody"}, True),
    ],
)
async def test_audience_and_issuer_count_where_configured(
    expected: dict[str, str], changes: dict[str, Any], good: bool
) -> None:
    token = signed(SECRET, **changes)
    if good:
        assert (await hs256(**expected).verify(token)).user_id == "alice"
    else:
        await refused(hs256(**expected), token)


async def test_another_secret_and_a_changed_payload_are_refused() -> None:
    assert "signature" in await refused(hs256(), signed(OTHER_SECRET))
    header, _, signature = signed(SECRET).split(".")
    _, payload, _ = signed(SECRET, role="staff").split(".")
    assert "signature" in await refused(hs256(), f"{header}.{payload}.{signature}")


@pytest.mark.parametrize("name", ["none", "None", "NONE", "hs256", "", None, "HS512", "RS256"])
async def test_the_token_does_not_choose_the_algorithm(name: str | None) -> None:
    payload = json.dumps(claims()).encode()
    token = raw_token({"alg": name, "typ": "JWT"}, payload, SECRET.encode())
    await refused(hs256(), token)
    await refused(hs256(), token.rpartition(".")[0] + ".")


async def test_trailing_padding_does_not_make_another_person() -> None:
    token = signed(SECRET, sub="alice")
    assert len(token.rpartition(".")[2]) == 43  # one `=` short of a full group
    assert (await hs256().verify(token + "=")).user_id == "alice"


async def test_a_public_key_is_no_hmac_secret(
    provider: Provider, rsa_keys: tuple[rsa.RSAPrivateKey, rsa.RSAPrivateKey]
) -> None:
    provider.keys = [public_jwk(rsa_keys[0], "k1")]
    pem = rsa_keys[0].public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    header = {"alg": "HS256", "typ": "JWT", "kid": "k1"}
    forged = raw_token(header, json.dumps(claims(role="staff")).encode(), pem)
    assert "algorithm" in await refused(provider.tokens(), forged)
    assert provider.fetches == 0
    # With the right name on it, the signature is not one of that key's.
    renamed = raw_token({**header, "alg": "RS256"}, json.dumps(claims()).encode(), pem)
    assert "signature" in await refused(provider.tokens(), renamed)


async def test_rs256_and_es256_are_verified_with_the_providers_keys(
    provider: Provider,
    rsa_keys: tuple[rsa.RSAPrivateKey, rsa.RSAPrivateKey],
    ec_key: ec.EllipticCurvePrivateKey,
) -> None:
    provider.keys = [public_jwk(rsa_keys[0], "r"), public_jwk(ec_key, "e")]
    by_rsa, by_ec = provider.tokens("RS256"), provider.tokens("ES256")
    rsa_token, ec_token = signed(rsa_keys[0], "RS256", "r"), signed(ec_key, "ES256", "e")
    assert (await by_rsa.verify(rsa_token)).user_id == "alice"
    assert (await by_ec.verify(ec_token)).user_id == "alice"
    await refused(by_rsa, ec_token)
    await refused(by_ec, rsa_token)
    assert "signature" in await refused(by_rsa, signed(rsa_keys[1], "RS256", "r"))
    assert "expired" in await refused(by_rsa, signed(rsa_keys[0], "RS256", "r", exp=1))


async def test_where_the_keys_say_the_algorithm_a_token_has_no_choice(
    provider: Provider,
    rsa_keys: tuple[rsa.RSAPrivateKey, rsa.RSAPrivateKey],
    ec_key: ec.EllipticCurvePrivateKey,
) -> None:
    provider.keys = [public_jwk(rsa_keys[0], "r", alg="RS256"), public_jwk(ec_key, "e")]
    tokens = provider.tokens("JWKS")
    for token in (signed(rsa_keys[0], "RS256", "r"), signed(ec_key, "ES256", "e")):
        assert (await tokens.verify(token)).user_id == "alice"
    assert "not that of its key" in await refused(tokens, signed(ec_key, "ES256", "r"))
    assert "not that of its key" in await refused(tokens, signed(rsa_keys[0], "RS256", "e"))
    assert "not the configured" in await refused(tokens, signed(rsa_keys[0], "RS512", "r"))
    assert "not the configured" in await refused(tokens, signed(SECRET, "HS256", "r"))


async def test_a_token_without_key_id_is_good_while_there_is_one_key(
    provider: Provider, rsa_keys: tuple[rsa.RSAPrivateKey, rsa.RSAPrivateKey]
) -> None:
    provider.keys = [public_jwk(rsa_keys[0], "k1")]
    token = signed(rsa_keys[0], "RS256")
    assert (await provider.tokens().verify(token)).user_id == "alice"
    provider.keys.append(public_jwk(rsa_keys[1], "k2"))
    assert "unknown key" in await refused(provider.tokens(), token)


async def test_keys_of_other_kinds_and_broken_ones_are_passed_over(
    provider: Provider, rsa_keys: tuple[rsa.RSAPrivateKey, rsa.RSAPrivateKey]
) -> None:
    usable = public_jwk(rsa_keys[0], "good")
    provider.keys = [
        {"kty": "oct", "kid": "secret", "k": "c2VjcmV0"},
        {"kty": "RSA", "kid": "broken", "n": "!", "e": "AQAB"},
        {**usable, "kid": "for-encryption", "use": "enc"},
        {**usable, "kid": "for-others", "alg": "RS512"},
        usable,
    ]
    tokens = provider.tokens()
    assert (await tokens.verify(signed(rsa_keys[0], "RS256", "good"))).user_id == "alice"
    for kid in ("secret", "broken", "for-encryption", "for-others"):
        assert "unknown key" in await refused(tokens, signed(rsa_keys[0], "RS256", kid))


async def test_a_rotated_key_is_fetched_once_in_thirty_seconds_at_most(
    provider: Provider,
    rsa_keys: tuple[rsa.RSAPrivateKey, rsa.RSAPrivateKey],
    autojump_clock: trio.testing.MockClock,
) -> None:
    tokens = provider.tokens()
    provider.keys = [public_jwk(rsa_keys[0], "k1")]
    old, new = signed(rsa_keys[0], "RS256", "k1"), signed(rsa_keys[1], "RS256", "k2")
    await tokens.verify(old)
    await tokens.verify(old)
    assert provider.fetches == 1

    provider.keys = [public_jwk(rsa_keys[1], "k2")]
    assert "unknown key" in await refused(tokens, new)
    assert provider.fetches == 1
    await trio.sleep(jwks_module.MIN_REFETCH_S)
    assert (await tokens.verify(new)).user_id == "alice"
    assert provider.fetches == 2
    # The provider withdrew the old key with the same step.
    assert "unknown key" in await refused(tokens, old)
    assert provider.fetches == 2


@pytest.mark.parametrize("fault", ["refused", "status", "nonsense", "no keys"])
async def test_old_keys_stay_good_while_the_provider_is_down(
    provider: Provider,
    rsa_keys: tuple[rsa.RSAPrivateKey, rsa.RSAPrivateKey],
    autojump_clock: trio.testing.MockClock,
    fault: str,
) -> None:
    tokens = provider.tokens()
    provider.keys = [public_jwk(rsa_keys[0], "k1")]
    token = signed(rsa_keys[0], "RS256", "k1", exp=int(time.time()) + 3600)
    await tokens.verify(token)
    _break(provider, fault)
    await trio.sleep(jwks_module.MAX_AGE_S + 1)
    assert (await tokens.verify(token)).user_id == "alice"
    assert (await tokens.verify(token)).user_id == "alice"
    assert provider.fetches == 2
    assert "unknown key" in await refused(tokens, signed(rsa_keys[1], "RS256", "k2"))


@pytest.mark.parametrize("fault", ["refused", "status", "nonsense", "no keys"])
async def test_without_any_key_the_fault_is_not_the_tokens(
    provider: Provider,
    rsa_keys: tuple[rsa.RSAPrivateKey, rsa.RSAPrivateKey],
    autojump_clock: trio.testing.MockClock,
    fault: str,
) -> None:
    tokens = provider.tokens()
    token = signed(rsa_keys[0], "RS256", "k1")
    _break(provider, fault)
    with pytest.raises(KeysUnavailable):
        await tokens.verify(token)
    provider.status, provider.body = 200, None
    provider.keys = [public_jwk(rsa_keys[0], "k1")]
    await trio.sleep(jwks_module.EMPTY_RETRY_S)
    assert (await tokens.verify(token)).user_id == "alice"


async def test_a_withdrawn_key_ends_with_the_age_of_the_cache(
    provider: Provider,
    rsa_keys: tuple[rsa.RSAPrivateKey, rsa.RSAPrivateKey],
    autojump_clock: trio.testing.MockClock,
) -> None:
    tokens = provider.tokens()
    provider.keys = [public_jwk(key, f"k{n}") for n, key in enumerate(rsa_keys)]
    token = signed(rsa_keys[0], "RS256", "k0", exp=int(time.time()) + 3600)
    await tokens.verify(token)
    provider.keys = provider.keys[1:]
    await trio.sleep(jwks_module.MAX_AGE_S + 1)
    assert "unknown key" in await refused(tokens, token)


async def test_many_who_wait_for_the_first_key_cause_one_fetch(
    provider: Provider, rsa_keys: tuple[rsa.RSAPrivateKey, rsa.RSAPrivateKey]
) -> None:
    tokens = provider.tokens()
    provider.keys = [public_jwk(rsa_keys[0], "k1")]
    provider.gate = trio.Event()
    token = signed(rsa_keys[0], "RS256", "k1")
    names: list[str] = []

    async def one() -> None:
        names.append((await tokens.verify(token)).user_id)

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(one)
        await trio.testing.wait_all_tasks_blocked()
        provider.gate.set()
    assert names == ["alice"] * 5
    assert provider.fetches == 1


async def test_a_cancelled_fetch_leaves_the_next_one_free(
    provider: Provider,
    rsa_keys: tuple[rsa.RSAPrivateKey, rsa.RSAPrivateKey],
    autojump_clock: trio.testing.MockClock,
) -> None:
    tokens = provider.tokens()
    provider.keys = [public_jwk(rsa_keys[0], "k1")]
    provider.gate = trio.Event()
    token = signed(rsa_keys[0], "RS256", "k1")
    with trio.move_on_after(1) as scope:
        await tokens.verify(token)
    assert scope.cancelled_caught
    provider.gate = None
    await trio.sleep(jwks_module.EMPTY_RETRY_S)
    assert (await tokens.verify(token)).user_id == "alice"


async def test_the_settings_choose_the_verifier(
    provider: Provider, rsa_keys: tuple[rsa.RSAPrivateKey, rsa.RSAPrivateKey]
) -> None:
    by_secret = AccessTokens.from_settings(load({}), SECRET, provider.client)
    assert (await by_secret.verify(signed(SECRET))).user_id == "alice"
    provider.keys = [public_jwk(rsa_keys[0], "k1")]
    settings = load({"CARDROOM_JWKS_URL": URL, "CARDROOM_JWT_AUDIENCE": "club"})
    by_url = AccessTokens.from_settings(settings, SECRET, provider.client)
    assert (await by_url.verify(signed(rsa_keys[0], "RS256", "k1", aud="club"))).name == "Alice"
    await refused(by_url, signed(rsa_keys[0], "RS256", "k1"))
    await refused(by_url, signed(SECRET, aud="club"))


@pytest.mark.parametrize(
    "build",
    [
        lambda jwks: AccessTokens("HS256", jwks),
        lambda jwks: AccessTokens("RS256", SECRET),
    ],
)
async def test_a_secret_and_a_jwks_do_not_stand_in_for_each_other(
    provider: Provider, build: Callable[[Jwks], AccessTokens]
) -> None:
    with pytest.raises(ValueError, match="HS256 takes a secret"):
        build(Jwks(URL, "RS256", provider.client))


def test_rejoin_tokens_are_random_and_stored_as_their_hash() -> None:
    tokens = {new_token() for _ in range(100)}
    assert len(tokens) == 100
    for token in tokens:
        assert len(base64.urlsafe_b64decode(token + "=")) == 32
        assert token_hash(token) == hashlib.sha256(token.encode()).digest()
    assert len(token_hash("\ud800")) == 32


def _break(provider: Provider, fault: str) -> None:
    match fault:
        case "refused":
            provider.status = 0
        case "status":
            provider.status = 503
        case "nonsense":
            provider.body = b"<html>"
        case "no keys":
            provider.body = b'{"keys": [{"kty": "oct"}, 7]}'
        case _:
            raise AssertionError(fault)
