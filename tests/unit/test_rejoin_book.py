"""What is remembered of rejoin tokens that were replaced."""

from collections.abc import Sequence

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from persistence import tokens
from persistence.pool import Pool
from persistence.tokens import TokenHolder
from server.auth import rejoin_book
from server.auth.rejoin_book import RejoinBook
from tests.support.patience import PATIENCE_S

pytestmark = pytest.mark.fail_after(PATIENCE_S)

OVERLAP_MS = 10_000
HOLDER = TokenHolder("room", "alice", "player", replaced=False, display_name="Alice")


class Clock:
    """The time of the wall, as a test says."""

    def __init__(self) -> None:
        self.ms = 0

    def __call__(self) -> int:
        return self.ms


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()

    async def holders_of(_: object, asked: Sequence[object], now: int) -> list[TokenHolder]:
        return [HOLDER] * len(asked)

    async def are_good(_: object, asked: Sequence[object], now: int) -> list[bool]:
        return [False] * len(asked)

    async def rotate(_: object, asked: Sequence[object], **__: object) -> list[bool]:
        await trio.lowlevel.checkpoint()
        return [True] * len(asked)

    monkeypatch.setattr(rejoin_book, "now_ms", clock)
    monkeypatch.setattr(tokens, "holders_of", holders_of)
    monkeypatch.setattr(tokens, "are_good", are_good)
    monkeypatch.setattr(tokens, "rotate", rotate)
    return clock


async def test_a_token_has_one_successor_for_as_long_as_it_overlaps_and_is_forgotten_then(
    clock: Clock,
) -> None:
    book = RejoinBook(Pool("", size=1, timeout_s=1), life_ms=300_000, overlap_ms=OVERLAP_MS)
    first = await book.use("room", "one")
    clock.ms = OVERLAP_MS - 1
    assert (await book.use("room", "one")).token == first.token
    for number in range(20):
        await book.use("room", f"other {number}")
    assert len(book._successors) == 21
    clock.ms = 2 * OVERLAP_MS
    await book.use("room", "another")
    assert len(book._successors) == 1


async def test_sockets_of_a_user_that_come_back_together_have_one_token(clock: Clock) -> None:
    book = RejoinBook(Pool("", size=1, timeout_s=1), life_ms=300_000, overlap_ms=OVERLAP_MS)
    book.keep("room", "bob", "outlived")
    given: list[str] = []

    async def use() -> None:
        given.append((await book.use("room", "one")).token)

    async def hydrate() -> None:
        given.append(await book.current("room", "bob", "player", 0))

    for come_back in (use, hydrate):
        given.clear()
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(come_back)
        assert len(given) == 3
        assert len(set(given)) == 1


async def test_who_gives_up_waiting_for_a_token_holds_nobody_up(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered = trio.Event()

    async def rotate(_: object, asked: Sequence[object], **__: object) -> list[bool]:
        await answered.wait()
        return [True] * len(asked)

    monkeypatch.setattr(tokens, "rotate", rotate)
    book = RejoinBook(Pool("", size=1, timeout_s=1), life_ms=300_000, overlap_ms=OVERLAP_MS)
    impatient = trio.CancelScope()

    async def give_up() -> None:
        with impatient:
            await book.use("room", "one")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(give_up)
        await wait_all_tasks_blocked()
        nursery.start_soon(book.use, "room", "one")
        await wait_all_tasks_blocked()
        impatient.cancel()
        await wait_all_tasks_blocked()
        answered.set()
    assert impatient.cancelled_caught
    assert not book._rotating
