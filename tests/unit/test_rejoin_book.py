"""What is remembered of rejoin tokens that were replaced."""

from collections.abc import Sequence

import pytest

from persistence import tokens
from persistence.pool import Pool
from persistence.tokens import TokenHolder
from server.auth import rejoin_book
from server.auth.rejoin_book import RejoinBook

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

    async def rotate(_: object, asked: Sequence[object], **__: object) -> list[bool]:
        return [True] * len(asked)

    monkeypatch.setattr(rejoin_book, "now_ms", clock)
    monkeypatch.setattr(tokens, "holders_of", holders_of)
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
