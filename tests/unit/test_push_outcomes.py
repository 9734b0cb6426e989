"""What a push provider's answer means, and when a notification is tried again."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import msgspec
import pytest

from server.push.outcomes import (
    MAX_DETAIL_CHARS,
    MAX_PAUSE_S,
    NOBODY_SUBSCRIBED,
    Dead,
    Outcome,
    Retry,
    Sent,
    Skipped,
    back_off_s,
    outcome_of,
    retry_after_s,
)

NOW_S = 1_763_632_800.0


def answer(status: int, body: object = None, **headers: str) -> Outcome:
    data = body if isinstance(body, bytes) else msgspec.json.encode(body)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return outcome_of(status, named, data, now_s=NOW_S)


@pytest.mark.parametrize(
    "body",
    [
        {"id": "n1", "external_id": None},
        {"id": "n1", "errors": {"invalid_aliases": {"external_id": ["bob"]}}},
    ],
)
def test_an_id_means_sent_even_if_some_have_no_device(body: object) -> None:
    assert answer(200, body) == Sent("n1")


@pytest.mark.parametrize(
    "body",
    [
        {"id": "", "errors": ["All included players are not subscribed"]},
        {"id": "", "recipients": 0, "errors": ["All included players are not subscribed"]},
        {"errors": {"invalid_aliases": {"external_id": ["bob"]}}},
    ],
)
def test_without_an_id_nobody_has_a_device(body: object) -> None:
    outcome = answer(200, body)
    assert isinstance(outcome, Skipped)
    assert outcome.reason == NOBODY_SUBSCRIBED
    assert "players" in outcome.detail or "bob" in outcome.detail


def test_without_an_id_other_complaints_are_a_refusal() -> None:
    assert answer(200, {"id": "", "errors": ["Your app is disabled"]}) == Dead(
        "refused", "Your app is disabled"
    )


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[1]", b"{}", b'{"id": 7}', b"\xff\xfe", b"null"]
)
def test_a_success_that_says_nothing_is_tried_again(body: bytes) -> None:
    assert answer(200, body) == Retry("garbled")


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 413, 422])
def test_a_refusal_is_final(status: int) -> None:
    assert answer(status, {"errors": ["No."]}) == Dead(f"http_{status}", "No.")


@pytest.mark.parametrize("status", [301, 302, 408, 425, 500, 502, 503, 504, 599])
def test_what_may_pass_is_tried_again_and_stops_nobody_else(status: int) -> None:
    outcome = answer(status, b"<html>")
    assert outcome == Retry(f"http_{status}", "", None, pause=False)


def test_429_stops_everybody_for_as_long_as_it_says() -> None:
    errors = {"errors": ["API rate limit exceeded."]}
    assert answer(429, errors, retry_after="17") == Retry(
        "http_429", "API rate limit exceeded.", 17.0, pause=True
    )
    assert answer(429, errors) == Retry("http_429", "API rate limit exceeded.", None, pause=True)


def test_503_stops_everybody_if_it_says_for_how_long() -> None:
    assert answer(503, b"", retry_after="3") == Retry("http_503", "", 3.0, pause=True)


@pytest.mark.parametrize(
    ("errors", "words"),
    [
        (["One.", "Two."], "One. Two."),
        ([{"code": "x", "title": "Y"}], '[{"code":"x","title":"Y"}]'),
        ("plain", '"plain"'),
        ([], ""),
        (None, ""),
    ],
)
def test_complaints_are_quoted_whatever_their_shape(errors: Any, words: str) -> None:
    assert answer(400, {"errors": errors}) == Dead("http_400", words)


def test_a_long_complaint_is_cut() -> None:
    outcome = answer(400, {"errors": ["x" * 10_000]})
    assert outcome == Dead("http_400", "x" * MAX_DETAIL_CHARS)


def date(seconds: float) -> str:
    return format_datetime(datetime.fromtimestamp(NOW_S + seconds, UTC), usegmt=True)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("0", 0.0),
        ("120", 120.0),
        (" 5 ", 5.0),
        ("99999999999999999999", MAX_PAUSE_S),
        (date(90), 90.0),
        (date(-90), 0.0),
        (date(10 * MAX_PAUSE_S), MAX_PAUSE_S),
        (None, None),
        ("", None),
        ("-3", None),
        ("soon", None),
        ("1.5", None),
        ("٣", None),
        ("Fri, 99 Nov 2025 99:99:99 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str | None, seconds: float | None) -> None:
    assert retry_after_s(header, NOW_S) == seconds


def test_the_back_off_doubles_up_to_its_most() -> None:
    waits = [back_off_s(attempts, 2.0, 300.0, 0.0) for attempts in range(1, 11)]
    assert waits == [2, 4, 8, 16, 32, 64, 128, 256, 300, 300]
    assert back_off_s(10_000, 2.0, 300.0, 0.0) == 300


def test_chance_takes_up_to_half_of_the_back_off() -> None:
    assert back_off_s(3, 2.0, 300.0, 1.0) == 4
    assert back_off_s(3, 2.0, 300.0, 0.5) == 6
