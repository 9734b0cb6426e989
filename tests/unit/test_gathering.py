"""Reads of many callers in one, and none of them the worse for the others."""

import gc
import weakref
from collections.abc import Sequence

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from persistence.errors import OutcomeUnknown, Unavailable
from persistence.gathering import WAITED_ENOUGH_S, Gathering
from tests.support.patience import PATIENCE_S

pytestmark = pytest.mark.fail_after(PATIENCE_S)


class Library:
    """Reads on request, one permitted read after the other, and notes what it was asked."""

    def __init__(self) -> None:
        self.reads: list[list[str]] = []
        self.failing: dict[str, Exception] = {}
        self._permits = trio.Semaphore(0)

    async def read(self, keys: Sequence[str]) -> list[str]:
        self.reads.append(list(keys))
        await self._permits.acquire()
        for key in keys:
            if key in self.failing:
                raise self.failing[key]
        return [key.upper() for key in keys]

    def permit(self, reads: int = 1) -> None:
        for _ in range(reads):
            self._permits.release()


class Callers:
    """Tasks that ask for one key each."""

    def __init__(self, gathering: Gathering[str, str], nursery: trio.Nursery) -> None:
        self.got: list[str] = []
        self.errors: dict[str, Exception] = {}
        self.scopes: dict[str, trio.CancelScope] = {}
        self._gathering = gathering
        self._nursery = nursery

    async def come(self, *keys: str) -> None:
        for key in keys:
            self._nursery.start_soon(self._ask, key)
            await wait_all_tasks_blocked()

    async def _ask(self, key: str) -> None:
        with trio.CancelScope() as scope:
            self.scopes[key] = scope
            try:
                self.got.append(await self._gathering.get(key))
            except Exception as error:
                self.errors[key] = error


async def test_who_comes_while_a_read_is_under_way_goes_with_the_next() -> None:
    library = Library()
    async with trio.open_nursery() as nursery:
        callers = Callers(Gathering(library.read, most=3), nursery)
        await callers.come("a", "b", "c", "b", "d")
        assert library.reads == [["a"]]
        library.permit(3)
    assert library.reads == [["a"], ["b", "c", "b"], ["d"]]
    assert sorted(callers.got) == ["A", "B", "B", "C", "D"]


async def test_after_a_quiet_time_it_reads_again() -> None:
    library = Library()
    library.permit(2)
    gathering = Gathering(library.read)
    assert await gathering.get("a") == "A"
    await wait_all_tasks_blocked()
    assert await gathering.get("a") == "A"
    assert library.reads == [["a"], ["a"]]


async def test_a_caller_who_gave_up_is_not_read_for_and_harms_nobody() -> None:
    library = Library()
    async with trio.open_nursery() as nursery:
        callers = Callers(Gathering(library.read), nursery)
        await callers.come("a", "b", "c")
        # One is being read for, one is on the list.
        callers.scopes["a"].cancel()
        callers.scopes["b"].cancel()
        await wait_all_tasks_blocked()
        library.permit(2)
    assert library.reads == [["a"], ["c"]]
    assert callers.got == ["C"]
    assert callers.errors == {}


@pytest.mark.parametrize("away", [Unavailable("gone", 7.0), OutcomeUnknown("cut", 3.0)])
async def test_a_database_that_is_away_refuses_those_of_one_read(away: Unavailable) -> None:
    library = Library()
    library.failing["b"] = away
    async with trio.open_nursery() as nursery:
        callers = Callers(Gathering(library.read, most=2), nursery)
        await callers.come("a", "b", "c", "d")
        library.permit(3)
    assert library.reads == [["a"], ["b", "c"], ["d"]]
    assert sorted(callers.got) == ["A", "D"]
    assert sorted(callers.errors) == ["b", "c"]
    first, second = callers.errors.values()
    assert first is not second
    for error in (first, second):
        assert type(error) is type(away)
        assert isinstance(error, Unavailable)
        assert (error.reason, error.retry_after_s) == (away.reason, away.retry_after_s)


async def test_who_has_waited_long_is_refused_with_those_whose_read_found_the_database_away(
    mock_clock: MockClock,
) -> None:
    library = Library()
    library.failing["a"] = OutcomeUnknown("silent", 3.0)
    async with trio.open_nursery() as nursery:
        callers = Callers(Gathering(library.read, most=1), nursery)
        await callers.come("a", "b", "c")
        mock_clock.jump(WAITED_ENOUGH_S)
        await callers.come("d")
        library.permit(4)
    assert library.reads == [["a"], ["d"]]
    assert callers.got == ["D"]
    assert {key: type(error) for key, error in callers.errors.items()} == {
        "a": OutcomeUnknown,
        "b": Unavailable,
        "c": Unavailable,
    }


async def test_nothing_of_who_was_refused_waits_for_the_cycle_collector() -> None:
    class Asked:
        """What a caller's frames hold."""

    async def read(_: Sequence[Asked]) -> Sequence[None]:
        raise Unavailable("gone")

    async def ask() -> weakref.ref[Asked]:
        key = Asked()
        with pytest.raises(Unavailable):
            await Gathering(read).get(key)
        return weakref.ref(key)

    gc.disable()
    try:
        asked = await ask()
        await wait_all_tasks_blocked()
        assert asked() is None
    finally:
        gc.enable()


async def test_a_read_that_returns_too_little_fails_for_its_callers_and_ends_nothing() -> None:
    async def forgetful(keys: Sequence[str]) -> list[str]:
        await trio.lowlevel.checkpoint()
        return [key.upper() for key in keys if key != "b"]

    gathering = Gathering(forgetful)
    assert await gathering.get("a") == "A"
    with pytest.raises(RuntimeError, match="0 values were read for 1 keys"):
        await gathering.get("b")
    assert await gathering.get("c") == "C"


async def test_what_cannot_be_read_fails_for_who_asked_for_it_alone() -> None:
    library = Library()
    library.failing["poison"] = ValueError("unreadable")
    async with trio.open_nursery() as nursery:
        callers = Callers(Gathering(library.read), nursery)
        await callers.come("a", "b", "poison", "c")
        library.permit(5)
    assert library.reads == [["a"], ["b", "poison", "c"], ["b"], ["poison"], ["c"]]
    assert sorted(callers.got) == ["A", "B", "C"]
    assert callers.errors == {"poison": library.failing["poison"]}
