"""How a socket is let in, when the server is slow to find out who it is."""

from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from typing import Any, cast

import msgspec
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.hub import Hub, Subscriber
from protocol.codec import JSON_SUBPROTOCOL
from protocol.errors import CloseCode, ErrorCode, Refused
from protocol.events import Event
from protocol.ids import RoomId, room_channel
from protocol.principal import Principal
from server.auth.tokens import AccessTokens, mint
from server.club import Club, Joint
from server.gateway.gateway import Gateway, GatewayLimits
from server.gateway.session import Session
from server.posting import unavailable
from server.transport import Connection

SECRET = "a secret that is long enough for anybody"
ROOM = "room-1"
AUTH_S = 5.0


class Wire:
    """What a session has of its connection, written down."""

    def __init__(self) -> None:
        self.subprotocol = JSON_SUBPROTOCOL
        self.opened_at = self.last_message_at = trio.current_time()
        self.closed = False
        self.codes: list[int] = []
        self.told: list[dict[str, Any]] = []
        self.deadlines: list[tuple[float, int] | None] = []

    def enqueue(self, frames: bytes) -> None:
        self.told.append(msgspec.json.decode(frames[frames.index(b"{") :]))

    def cork(self) -> None:
        """Nothing here looks at how many sends it takes."""

    def uncork(self) -> None:
        """As above."""

    def expect_before(self, deadline: float | None, code: int = 0, reason: str = "") -> None:
        self.deadlines.append(None if deadline is None else (deadline, code))

    def close(self, code: int, reason: str = "", *, after: bytes = b"") -> None:
        self.closed = True
        self.codes.append(code)


class SlowClub:
    """A club that finds out who somebody is, and lets them into a room, when a test says so."""

    def __init__(self, hub: Hub) -> None:
        self.accounts = self.rooms = self
        self.hub = hub
        self.welcomes = trio.Semaphore(0)
        self.refusal: Exception | None = None
        self.joins = trio.Semaphore(0)
        self.seen: list[str] = []

    async def welcome(self, principal: Principal) -> None:
        self.seen.append(principal.user_id)
        await self.welcomes.acquire()
        refusal, self.refusal = self.refusal, None
        if refusal is not None:
            raise refusal

    async def join_events(
        self, principal: Principal, room_id: str, subscriber: Subscriber, last_seq: int | None
    ) -> Joint:
        await self.joins.acquire()
        channel = room_channel(RoomId(room_id))
        return Joint(self.hub.subscribe(channel, subscriber, hold=True), 3, [], None)


class Scene:
    """One socket of a gateway."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.hub = Hub(encode=_encoded)
        self.club = SlowClub(self.hub)
        self.gateway = Gateway(
            club=cast("Club", self.club),
            access_tokens=AccessTokens("HS256", SECRET),
            limits=GatewayLimits(30, 60, 20, AUTH_S),
            nursery=nursery,
            count=lambda kind, outcome, seconds: None,
        )
        self.wire = Wire()
        self.session: Session = self.gateway.open(cast("Connection", self.wire))

    def say(self, number: int, kind: str, **fields: object) -> None:
        """Let a message come in."""
        message = {"type": kind, "id": number, **fields}
        self.session.on_message(msgspec.json.encode(message).decode())

    def authenticate(self, number: int = 1, **fields: object) -> None:
        self.say(number, "authenticate", token=mint(SECRET, "amy", "Amy"), **fields)

    def go(self) -> None:
        """Let the client hang up."""
        self.wire.closed = True
        self.session.on_closed(1006, "")


@asynccontextmanager
async def scene() -> AsyncIterator[Scene]:
    async with trio.open_nursery() as nursery:
        yield Scene(nursery)
        nursery.cancel_scope.cancel()


def _encoded(_: Hashable, event: Event) -> bytes:
    return msgspec.json.encode(event)


async def test_the_time_to_authenticate_is_the_clients_and_not_the_servers(
    autojump_clock: MockClock,
) -> None:
    async with scene() as now:
        opened_at = now.wire.opened_at
        assert now.wire.deadlines == [(opened_at + AUTH_S, CloseCode.NOT_AUTHENTICATED)]
        now.authenticate()
        # However long it takes from here on.
        assert now.wire.deadlines[1:] == [None]
        await trio.sleep(AUTH_S * 2)
        now.club.welcomes.release()
        await wait_all_tasks_blocked()
        assert now.wire.told[0]["type"] == "authenticated"
        assert now.wire.deadlines[2:] == []


async def test_who_was_told_to_try_again_has_time_for_it_and_may_come_back(
    autojump_clock: MockClock,
) -> None:
    async with scene() as now:
        now.authenticate()
        await trio.sleep(AUTH_S * 2)
        now.club.refusal = unavailable(3.0)
        now.club.welcomes.release()
        await wait_all_tasks_blocked()
        assert (now.wire.told[0]["code"], now.wire.told[0]["retry_after"]) == ("unavailable", 3.0)
        assert now.wire.deadlines[-1] == (trio.current_time() + 3.0 + AUTH_S, CloseCode.IDLE)
        assert CloseCode.IDLE < 4500
        now.authenticate(2)
        now.club.welcomes.release()
        await wait_all_tasks_blocked()
        assert now.wire.told[1]["type"] == "authenticated"
        assert now.wire.deadlines[-1:] == [None]
        assert not now.wire.closed


async def test_a_wrong_authentication_buys_no_time(autojump_clock: MockClock) -> None:
    async with scene() as now:
        for number in (1, 2):
            await trio.sleep(AUTH_S / 4)
            now.say(number, "authenticate")
            await wait_all_tasks_blocked()
            assert now.wire.told[-1]["code"] == "bad_request"
            opened_at = now.wire.opened_at
            assert now.wire.deadlines[-1] == (opened_at + AUTH_S, CloseCode.NOT_AUTHENTICATED)


@pytest.mark.parametrize("error", [unavailable(3.0), RuntimeError("a bug")])
async def test_what_followed_an_authentication_that_failed_is_answered(error: Exception) -> None:
    async with scene() as now:
        now.club.refusal = error
        now.authenticate(1)
        now.say(2, "subscribe", channel=f"room:{ROOM}")
        now.say(3, "heartbeat")
        now.club.welcomes.release()
        await wait_all_tasks_blocked()
        own = "unavailable" if isinstance(error, Refused) else ErrorCode.INTERNAL
        codes = {told["re"]: told["code"] for told in now.wire.told}
        assert codes == {1: own, 2: "unavailable", 3: "unavailable"}
        assert now.wire.deadlines[-1] is not None
        assert not now.wire.closed


async def test_nobody_is_let_in_who_has_gone_meanwhile() -> None:
    async with scene() as now:
        now.authenticate(room_id=ROOM)
        await wait_all_tasks_blocked()
        assert now.club.seen == ["amy"]
        now.go()
        now.club.welcomes.release()
        now.club.joins.release()
        await wait_all_tasks_blocked()
        assert len(now.gateway) == 0
        assert now.hub.channels_of(now.session) == ()
        assert now.wire.told == []


@pytest.mark.parametrize("at_once", [False, True])
async def test_who_goes_while_entering_a_room_is_not_left_behind_in_it(at_once: bool) -> None:
    async with scene() as now:
        now.club.welcomes.release()
        now.authenticate(room_id=ROOM)
        now.say(2, "subscribe", channel="room:another")
        await wait_all_tasks_blocked()
        if at_once:
            # The room has let the socket in when it closes, and its task has not noticed yet.
            now.club.joins.release()
            now.club.joins.release()
        now.go()
        await wait_all_tasks_blocked()
        now.club.joins.release()
        await wait_all_tasks_blocked()
        assert now.hub.channels_of(now.session) == ()
        assert now.hub.subscribers(room_channel(RoomId(ROOM))) == 0
        assert len(now.gateway) == 0
