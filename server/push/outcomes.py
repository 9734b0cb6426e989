"""What the provider's answer means for a notification. Pure: no I/O, no clock, no chance.

Answers are those of OneSignal's REST API (POST /notifications):

- 200 with an `id`: it was created. `errors.invalid_aliases` beside it names some of the recipients
  who have no device; the others get it.
- 200 without an `id`, or with an empty one: nothing was created. `errors` is then a list of
  sentences, or an object with `invalid_aliases`, mostly because no recipient has a device.
- 400, 401, 403, 404 with `errors`: refused, and would be again.
- 429 with `Retry-After`: no request is to be made for so long.
- 5xx, or none at all: it may have been created all the same; the idempotency key makes trying again
  harmless.
"""

from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec
from msgspec import Struct

MAX_DETAIL_CHARS = 300
MAX_PAUSE_S = 3600.0
"""A provider that wants to be left alone for longer is asked again after this all the same."""
NOBODY_SUBSCRIBED = "nobody_subscribed"
_NOBODY = "not subscribed"
_RETRIED = frozenset({408, 425, 429})


class Sent(Struct, frozen=True):
    """The provider has it, under its own id."""

    provider_id: str


class Skipped(Struct, frozen=True):
    """There is nobody to deliver it to."""

    reason: str
    detail: str = ""


class Dead(Struct, frozen=True):
    """It was refused, and would be again. `detail` is the provider's word, not for the log."""

    reason: str
    detail: str = ""


class Retry(Struct, frozen=True):
    """It may go better later.

    `after_s` is how long the provider wants to be left alone, if it said so; with `pause`, by
    everybody.
    """

    reason: str
    detail: str = ""
    after_s: float | None = None
    pause: bool = False


Outcome = Sent | Skipped | Dead | Retry


def outcome_of(status: int, headers: Mapping[str, str], body: bytes, *, now_s: float) -> Outcome:
    """Say what an answer means.

    Args:
        status: of HTTP.
        headers: the answer's, looked up in lower case.
        body: the answer's, whole.
        now_s: UTC in seconds, for a `Retry-After` that is a date.
    """
    answer = _object(body)
    detail = _errors(answer)
    if status == 200:
        return _of_success(answer, detail)
    reason = f"http_{status}"
    if 400 <= status < 500 and status not in _RETRIED:
        return Dead(reason, detail)
    after_s = retry_after_s(headers.get("retry-after"), now_s)
    # A 503 may be this one request's bad luck, unless it says for how long it will be so.
    pause = status == 429 or (status == 503 and after_s is not None)
    return Retry(reason, detail, after_s, pause)


def retry_after_s(header: str | None, now_s: float) -> float | None:
    """Read `Retry-After` (RFC 9110, section 10.2.3), seconds or a date; None where it says nothing.

    Never negative, and `MAX_PAUSE_S` at most.
    """
    text = (header or "").strip()
    if text.isascii() and text.isdigit():
        seconds = float(text)
    else:
        try:
            seconds = parsedate_to_datetime(text).timestamp() - now_s
        except (ValueError, OverflowError):
            return None
    return min(max(0.0, seconds), MAX_PAUSE_S)


def back_off_s(attempts: int, first_s: float, most_s: float, chance: float) -> float:
    """Say how long to wait after so many attempts (1 or more).

    `first_s`, doubled with each attempt up to `most_s`; of that, `chance` (0 to 1) takes up to half
    away, so that many that failed together do not come back together.
    """
    doubled = first_s * 2.0 ** min(attempts - 1, 60)
    return min(doubled, most_s) * (1.0 - chance / 2)


def _of_success(answer: Mapping[str, Any] | None, detail: str) -> Outcome:
    provider_id = None if answer is None else answer.get("id")
    if isinstance(provider_id, str) and provider_id:
        return Sent(provider_id)
    if answer is None or "errors" not in answer:
        return Retry("garbled")
    if _NOBODY in detail or "invalid_aliases" in detail:
        return Skipped(NOBODY_SUBSCRIBED, detail)
    return Dead("refused", detail)


def _object(body: bytes) -> Mapping[str, Any] | None:
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _errors(answer: Mapping[str, Any] | None) -> str:
    """Quote what the provider complains of."""
    errors = None if answer is None else answer.get("errors")
    if not errors:
        return ""
    if isinstance(errors, list) and all(isinstance(one, str) for one in errors):
        text = " ".join(errors)
    else:
        text = msgspec.json.encode(errors).decode()
    return text[:MAX_DETAIL_CHARS]
