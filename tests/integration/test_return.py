"""Many who come back at once, on a database that has time for few."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import trio

from persistence.events import Absence
from persistence.pool import Connection, Pool
from protocol.ids import UserId
from protocol.principal import Principal
from server.account_desk import AccountDesk
from server.auth.rejoin_book import RejoinBook
from server.club_database import ClubDatabase
from server.readiness import Readiness
from tests.support.live_rooms import Club, open_club
from tests.support.patience import PATIENCE_S
from tests.support.rooms import HOST

pytestmark = pytest.mark.fail_after(PATIENCE_S)

MANY = 200
FEW = 10
"""Callers for whom one read each would be far more than this."""


class CountingPool(Pool):
    """A pool of one connection that counts how often it was asked for it."""

    def __init__(self, url: str) -> None:
        super().__init__(url, size=1, timeout_s=PATIENCE_S)
        self.uses = 0

    async def _acquire(self) -> Connection:
        self.uses += 1
        return await super()._acquire()


@pytest.fixture
async def club(database_url: str) -> AsyncIterator[Club]:
    async with open_club(database_url) as made:
        await made.make_room()
        yield made


@pytest.fixture
async def counting(database_url: str) -> AsyncIterator[CountingPool]:
    async with CountingPool(database_url) as pool:
        yield pool


def database(pool: Pool) -> ClubDatabase:
    readiness = Readiness()
    readiness.started = True
    return ClubDatabase(pool, readiness)


async def all_at_once(ask: Callable[[int], Awaitable[object]]) -> list[object]:
    """Ask for many in tasks of their own; return what each got, in order."""
    got: dict[int, object] = {}

    async def one(number: int) -> None:
        got[number] = await ask(number)

    async with trio.open_nursery() as nursery:
        for number in range(MANY):
            nursery.start_soon(one, number)
    return [got[number] for number in range(MANY)]


async def test_many_subscriptions_at_once_are_read_with_few_statements(
    club: Club, counting: CountingPool
) -> None:
    desk = database(counting)
    missed = await all_at_once(lambda n: desk.missed(Absence("room-1", 0, f"user-{n}", False)))
    assert missed == [missed[0]] * MANY
    assert missed[0] is not None
    assert counting.uses <= FEW
    rooms = await all_at_once(lambda n: desk.read_room("room-1", f"user-{n}"))
    assert rooms == [rooms[0]] * MANY
    assert counting.uses <= 2 * FEW


async def test_many_known_users_are_recognised_with_few_statements(
    club: Club, counting: CountingPool
) -> None:
    users = [f"user-{n}" for n in range(MANY)]
    await club.wallets(*users)
    desk = AccountDesk(database(counting), 100)

    async def welcome(number: int) -> None:
        user_id = users[number]
        await desk.welcome(Principal(UserId(user_id), user_id.title()))

    await all_at_once(welcome)
    assert counting.uses <= FEW
    await desk.welcome(Principal(UserId("newcomer"), "Newcomer"))
    assert await club.one("SELECT balance FROM wallets WHERE user_id = 'newcomer'") == 100


async def test_many_rejoin_tokens_are_used_with_few_statements(
    club: Club, counting: CountingPool
) -> None:
    book = RejoinBook(counting, life_ms=300_000, overlap_ms=10_000)
    tokens = await all_at_once(lambda n: book.current("room-1", f"user-{n}", "spectator", None))
    assert len(set(tokens)) == MANY
    assert counting.uses <= FEW
    # A server that was started again remembers nothing.
    book = RejoinBook(counting, life_ms=300_000, overlap_ms=10_000)
    back = await all_at_once(lambda n: book.use(None, str(tokens[n])))
    assert [one.principal.user_id for one in back] == [f"user-{n}" for n in range(MANY)]  # type: ignore[attr-defined]
    assert counting.uses <= 3 * FEW
    assert await club.one("SELECT count(*) FROM rejoin_tokens WHERE NOT replaced") == MANY


async def test_two_sockets_of_one_user_that_ask_together_have_one_token_that_is_the_newest(
    club: Club, counting: CountingPool
) -> None:
    book = RejoinBook(counting, life_ms=300_000, overlap_ms=10_000)
    tokens = await all_at_once(lambda n: book.current("room-1", HOST, "host", None))
    assert len(set(tokens)) == 1
    assert await club.one("SELECT count(*) FROM rejoin_tokens WHERE NOT replaced") == 1
    assert await book.current("room-1", HOST, "host", None) == book.known("room-1", HOST)
