"""Signatures, held against the worked examples of Pusher's documentation."""

from __future__ import annotations

import pytest

from server.pusher.signing import MAX_AGE_S, App, BadSignature
from server.settings import Settings

DOCS = App("3", "278d425bdf160c739803", "7ad3773142a6692b25b8")
"""The app of the worked examples."""
BODY = b'{"name":"foo","channels":["project-3"],"data":"{\\"some\\":\\"data\\"}"}'
AT = 1353088179
QUERY = {
    "auth_key": DOCS.key,
    "auth_timestamp": str(AT),
    "auth_version": "1.0",
    "body_md5": "ec365a775a4cd0599faeb73354201b6f",
    "auth_signature": "da454824c97ba181a32ccc17a72625ba02771f50b50e1e7430e47a1f3f457e6c",
}
PATH = "/apps/3/events"


def check(
    method: str = "POST",
    path: str = PATH,
    body: bytes = BODY,
    at: float = AT,
    **changed: str | None,
) -> None:
    query = {name: value for name, value in {**QUERY, **changed}.items() if value is not None}
    DOCS.check_request(method, path, query.items(), body, at)


def test_private_channel_is_signed_as_in_the_documentation() -> None:
    signed = "278d425bdf160c739803:58df8b0c36d6982b82c3ecf6b4662e34fe8c25bba48f5369f135bf843651c3a4"
    assert DOCS.channel_auth("1234.1234", "private-foobar") == signed


def test_channel_with_data_is_signed_as_in_the_documentation() -> None:
    data = '{"user_id":10,"user_info":{"name":"Mr. Channels"}}'
    signed = "278d425bdf160c739803:31935e7d86dba64c2a90aed31fdc61869f9b22ba9d8863bba239c03ca481bc80"
    assert DOCS.channel_auth("1234.1234", "presence-foobar", data) == signed


def test_user_is_signed_as_in_the_documentation() -> None:
    signed = "278d425bdf160c739803:4708d583dada6a56435fb8bc611c77c359a31eebde13337c16ab43aa6de336ba"
    assert DOCS.user_auth("1234.1234", '{"id":"12345"}') == signed


def test_request_is_signed_as_in_the_documentation() -> None:
    check()
    assert DOCS.request_signature("POST", PATH, QUERY.items()) == QUERY["auth_signature"]


def test_query_is_signed_in_the_order_of_its_names_in_lower_case() -> None:
    query = [("Prefix", "b c"), ("auth_key", "a")]
    assert DOCS.request_signature("GET", "/", query) == DOCS.request_signature(
        "GET", "/", [("auth_key", "a"), ("prefix", "b c")]
    )


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"auth_key": "another"}, "auth_key"),
        ({"auth_key": None}, "auth_key"),
        ({"auth_key": "schlüssel"}, "auth_key"),
        ({"auth_version": "2.0"}, "auth_version"),
        ({"auth_version": None}, "auth_version"),
        ({"auth_timestamp": None}, "auth_timestamp"),
        ({"auth_timestamp": "soon"}, "auth_timestamp"),
        ({"auth_timestamp": "-5"}, "auth_timestamp"),
        ({"auth_timestamp": "9" * 5000}, "auth_timestamp"),
        ({"at": AT + MAX_AGE_S + 1.0}, "Timestamp expired"),
        ({"at": AT - MAX_AGE_S - 1.0}, "Timestamp expired"),
        ({"body": BODY + b" "}, "body_md5"),
        ({"body_md5": None}, "body_md5"),
        ({"body": b""}, "body_md5"),
        ({"auth_signature": None}, "Invalid signature"),
        ({"auth_signature": "0" * 64}, "Invalid signature"),
        ({"method": "GET"}, "Invalid signature"),
        ({"path": "/apps/4/events"}, "Invalid signature"),
        ({"more": "than was signed"}, "Invalid signature"),
        ({"auth_timestamp": str(AT + 1)}, "Invalid signature"),
    ],
)
def test_request_that_is_not_signed_is_refused_with_the_reason(
    changed: dict[str, str | bytes | float], reason: str
) -> None:
    with pytest.raises(BadSignature, match=reason):
        check(**changed)  # type: ignore[arg-type]


def test_request_is_good_for_as_long_as_clocks_may_differ() -> None:
    check(at=AT + MAX_AGE_S)
    check(at=AT - MAX_AGE_S)


def test_there_is_no_app_without_id_key_and_secret() -> None:
    whole = {"pusher_app_id": "3", "pusher_key": "k", "pusher_secret": "s"}
    assert App.of(Settings(**whole)) == App("3", "k", "s")  # type: ignore[arg-type]
    for left_out in whole:
        rest = {name: value for name, value in whole.items() if name != left_out}
        assert App.of(Settings(**rest)) is None  # type: ignore[arg-type]


def test_secret_is_not_shown() -> None:
    assert DOCS.secret not in repr(DOCS)
