"""Asking OneSignal (or what stands in for it) to deliver a notification.

What a request holds: https://documentation.onesignal.com/reference/push-notification; what its key
does (the same key is the same notification, for 30 days):
https://documentation.onesignal.com/reference/idempotent-notification-requests.
"""

import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import trio

from persistence.push import Notification
from server.clock import now_ms
from server.push.outcomes import Outcome, Retry, Sent, outcome_of

MAX_ALIASES = 2000
"""Recipients of one request, at most."""
MAX_ANSWER_BYTES = 64 * 1024


class OneSignal:
    """The provider's REST API.

    Args:
        http: makes the requests; it stays the caller's.
        base_url: what `/notifications` is under.
        app_id, api_key: of the club's app.
        timeout_s: how long a request may take, the answer's last byte included.
    """

    def __init__(
        self, http: httpx.AsyncClient, *, base_url: str, app_id: str, api_key: str, timeout_s: float
    ) -> None:
        self._http = http
        self._url = f"{base_url.rstrip('/')}/notifications"
        self._app_id = app_id
        self._headers = {"Authorization": f"Key {api_key}", "Accept": "application/json"}
        self._timeout_s = timeout_s

    async def send(self, row: Notification) -> Outcome:
        """Have a notification delivered; say what came of it, whatever the provider does.

        Of several requests (see `requests_for`) the first that is to be tried again decides: those
        before it are recognized by their keys then.

        Cancellation: it may have been created.
        """
        found: Outcome = Retry("no_request")
        for body in requests_for(row, self._app_id, now_ms()):
            outcome = await self._request(body)
            if isinstance(outcome, Retry):
                return outcome
            if not isinstance(found, Sent):
                found = outcome
        return found

    async def _request(self, body: dict[str, Any]) -> Outcome:
        answer = bytearray()
        outcome: Outcome = Retry("timeout")
        # httpx bounds each wait, not their sum: an answer that trickles in would take for ever.
        with trio.move_on_after(self._timeout_s):
            try:
                async with self._http.stream(
                    "POST", self._url, json=body, headers=self._headers, timeout=self._timeout_s
                ) as response:
                    async for piece in response.aiter_bytes():
                        # Read to its end, as httpx needs it; too long, it makes no sense anyhow.
                        answer += piece[: MAX_ANSWER_BYTES - len(answer)]
                    outcome = outcome_of(
                        response.status_code,
                        response.headers,
                        bytes(answer),
                        now_s=now_ms() / 1000,
                    )
            except httpx.TimeoutException:
                outcome = Retry("timeout")
            except httpx.DecodingError:
                outcome = Retry("garbled")
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                # Its text may quote what was sent.
                outcome = Retry("unreachable", type(error).__name__)
        return outcome


def requests_for(row: Notification, app_id: str, now: int) -> Iterator[dict[str, Any]]:
    """Write a notification as the bodies of as many requests as its recipients need.

    The row's id is the idempotency key; where one request is not enough, the others' keys follow
    from it. `data` has the kind beside what the row has. `now` is UTC in ms.
    """
    for number, first in enumerate(range(0, len(row.recipients), MAX_ALIASES)):
        key = row.id if number == 0 else uuid.uuid3(row.id, str(number))
        body: dict[str, Any] = {
            "app_id": app_id,
            "include_aliases": {"external_id": row.recipients[first : first + MAX_ALIASES]},
            "target_channel": "push",
            "headings": {"en": row.title},
            "contents": {"en": row.body},
            "data": {"kind": row.kind, **row.data},
            "idempotency_key": str(key),
        }
        if row.expires_at is not None:
            # Seconds for which it is kept for a device that is switched off.
            body["ttl"] = max(0, (row.expires_at - now) // 1000)
        yield body
