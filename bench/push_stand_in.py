"""A small server that stands in for OneSignal's REST API, on this machine.

It checks requests as OneSignal documents them (`push_requests`) and answers in OneSignal's words.
What it takes it keeps, once for each idempotency key, as OneSignal does. It can also fail in every
way that a provider can: see `Fault`.
"""

from __future__ import annotations

import time
import uuid
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import h11
import msgspec
import trio
from msgspec import Struct

from bench.push_requests import Refused, checked

FOR_EVER_S = 3600.0
TRICKLE_EVERY_S = 0.02
_JSON = "application/json"


class Fault(Struct, frozen=True):
    """How a request fails.

    Attributes:
        status: what is answered; None: nothing, ever.
        body: of that answer; None: what OneSignal says with this status.
        headers: of that answer, beside the usual ones.
        delay_s: how long the answer takes.
        taken: whether the notification is taken all the same, so that only the answer fails.
        trickles: whether the answer comes byte by byte and never ends.
    """

    status: int | None = None
    body: bytes | None = None
    headers: Mapping[str, str] = {}
    delay_s: float = 0.0
    taken: bool = False
    trickles: bool = False


HANG = Fault()
LOST_ANSWER = Fault(taken=True)
BROKEN = Fault(500)
GARBAGE = Fault(200, b"<html>Welcome to the wireless network of Hotel Astoria</html>")
BAD_KEY = Fault(401)
TRICKLE = Fault(200, trickles=True)
_WORDS = {
    401: "Access denied.  Please include an 'Authorization: ...' header with a valid API key",
    429: "API rate limit exceeded.",
    500: "Internal Server Error",
}


def slow(seconds: float) -> Fault:
    """Take everything, but take one's time with the answer."""
    return Fault(200, delay_s=seconds, taken=True)


def limited(retry_after: str) -> Fault:
    """Want to be left alone: for so many seconds, or until a date."""
    return Fault(429, headers={"Retry-After": retry_after})


class Push(Struct, frozen=True):
    """A notification as it was taken; `at` is UTC in seconds."""

    id: str
    key: str
    to: list[str]
    title: str
    text: str
    data: dict[str, Any]
    """Whatever the sender says."""
    at: float


class Request(Struct, frozen=True):
    """A request as it came: its key (if it could be read), and what was answered (None: nothing).

    `at` is on trio's clock.
    """

    key: str | None
    status: int | None
    at: float


class PushStandIn:
    """The provider.

    Args:
        app_id, api_key: whom it serves; None: anybody.
        on_push: is told each notification that is taken.

    Attributes:
        pushes: what was taken, each once.
        requests: every request.
        faults: how the next requests fail, first come first; None for one that does not.
        fault: how all the others fail.
        unsubscribed: users without a device.
    """

    def __init__(
        self,
        *,
        app_id: str | None = None,
        api_key: str | None = None,
        on_push: Callable[[Push], None] | None = None,
    ) -> None:
        self.pushes: list[Push] = []
        self.requests: list[Request] = []
        self.faults: deque[Fault | None] = deque()
        self.fault: Fault | None = None
        self.unsubscribed: set[str] = set()
        self.port = 0
        self._app_id = app_id
        self._api_key = api_key
        self._on_push = on_push
        self._answers: dict[str, bytes] = {}
        self._news = trio.Condition()

    @property
    def url(self) -> str:
        """What `CARDROOM_ONESIGNAL_BASE_URL` is to be."""
        return f"http://127.0.0.1:{self.port}"

    async def run(
        self, port: int = 0, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Serve on a port (0: a free one, reported as started) until cancelled."""
        listeners = await trio.open_tcp_listeners(port, host="127.0.0.1")
        self.port = listeners[0].socket.getsockname()[1]
        task_status.started(self.port)
        await trio.serve_listeners(self._serve, listeners)

    async def push(self, matches: Callable[[Push], bool] = lambda _: True) -> Push:
        """Wait for a notification that fits."""
        async with self._news:
            while (found := next(filter(matches, self.pushes), None)) is None:
                await self._news.wait()
            return found

    async def asked(self, times: int) -> None:
        """Wait until so many requests have come."""
        async with self._news:
            while len(self.requests) < times:
                await self._news.wait()

    async def _serve(self, stream: trio.SocketStream) -> None:
        connection = h11.Connection(h11.SERVER)
        try:
            while await self._exchange(stream, connection):
                connection.start_next_cycle()
        except (h11.ProtocolError, trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            await trio.aclose_forcefully(stream)

    async def _exchange(self, stream: trio.SocketStream, connection: h11.Connection) -> bool:
        """Answer one request; return whether another may follow."""
        head: h11.Request | None = None
        body = b""
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                connection.receive_data(await stream.receive_some())
            elif isinstance(event, h11.Request):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                break
            else:
                return False
        assert head is not None
        fault = self.faults.popleft() if self.faults else self.fault
        status, answer, headers = self._decide(head, body, fault)
        async with self._news:
            self.requests.append(Request(_key(body), status, trio.current_time()))
            self._news.notify_all()
        if fault is not None and fault.delay_s:
            await _gone_within(stream, fault.delay_s)
        if status is None:
            await _gone_within(stream, FOR_EVER_S)
            return False
        if fault is not None and fault.trickles:
            await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
            while True:
                await stream.send_all(b" ")
                await trio.sleep(TRICKLE_EVERY_S)
        sent = connection.send(
            h11.Response(
                status_code=status,
                headers=[("Content-Type", _JSON), ("Content-Length", str(len(answer))), *headers],
            )
        )
        await stream.send_all(
            (sent or b"")
            + (connection.send(h11.Data(data=answer)) or b"")
            + (connection.send(h11.EndOfMessage()) or b"")
        )
        return connection.our_state is h11.DONE

    def _decide(
        self, head: h11.Request, body: bytes, fault: Fault | None
    ) -> tuple[int | None, bytes, list[tuple[str, str]]]:
        """Say what is answered: status, body, headers beside the usual ones."""
        if fault is None or fault.taken:
            status, answer = self._take(head, body)
            if fault is None or fault.status == 200:
                return status, answer, []
        if fault.status is None:
            return None, b"", []
        words = {"errors": [_WORDS.get(fault.status, "Something went wrong.")]}
        answer = msgspec.json.encode(words) if fault.body is None else fault.body
        return fault.status, answer, list(fault.headers.items())

    def _take(self, head: h11.Request, body: bytes) -> tuple[int, bytes]:
        """Do what OneSignal does."""
        try:
            found = checked(
                head.method.decode(),
                head.target.decode(),
                {name.decode(): value.decode() for name, value in head.headers},
                body,
                app_id=self._app_id,
                api_key=self._api_key,
            )
        except Refused as refused:
            return refused.status, msgspec.json.encode({"errors": [refused.words]})
        known = self._answers.get(found.idempotency_key)
        if known is not None:
            return 200, known
        aliases = found.include_aliases["external_id"]
        without = [one for one in aliases if one in self.unsubscribed]
        if len(without) == len(aliases):
            # Nothing was created, so there is nothing to be recognized the next time.
            words = ["All included players are not subscribed"]
            return 200, msgspec.json.encode({"id": "", "errors": words})
        push = Push(
            id=str(uuid.uuid4()),
            key=found.idempotency_key,
            to=[one for one in aliases if one not in self.unsubscribed],
            title=found.headings["en"],
            text=found.contents["en"],
            data=found.data,
            at=time.time(),
        )
        self.pushes.append(push)
        answer: dict[str, object] = {"id": push.id, "external_id": None}
        if without:
            answer["errors"] = {"invalid_aliases": {"external_id": without}}
        self._answers[push.key] = msgspec.json.encode(answer)
        if self._on_push is not None:
            self._on_push(push)
        return 200, self._answers[push.key]


async def _gone_within(stream: trio.SocketStream, seconds: float) -> None:
    """Wait so long, or until the client goes away."""
    with trio.move_on_after(seconds):
        if not await stream.receive_some(1):
            raise trio.ClosedResourceError


def _key(body: bytes) -> str | None:
    try:
        found = msgspec.json.decode(body, type=dict[str, Any]).get("idempotency_key")
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return found if isinstance(found, str) else None
