"""What looking for cycles cost, as `/metrics` tells it."""

import gc
import weakref
from collections.abc import Iterator
from itertools import count

import pytest
import trio
from trio.testing import MockClock

from server.collector import FULL_EVERY_S, Collections, collect_now_and_then
from server.metrics import Metrics


class Knot:
    """Something that holds itself."""

    def __init__(self) -> None:
        self.me = self


@pytest.fixture(autouse=True)
def only_when_asked() -> Iterator[None]:
    """Collect garbage only where a test says so."""
    gc.disable()
    yield
    gc.unfreeze()
    gc.enable()


def told(collections: Collections) -> dict[str, float]:
    metrics = Metrics()
    metrics.registry.register(collections)
    lines = metrics.exposition().decode().splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if line.startswith("cardroom_gc_"))
    return {name.removeprefix("cardroom_gc_"): float(value) for name, value in pairs}


def test_pauses_are_counted_by_generation() -> None:
    # Each reading of the clock is a second longer after the one before: 1, 2, 3 s.
    ticks = (n * (n + 1) / 2 for n in count())
    collections = Collections(clock=lambda: next(ticks))
    with collections.watched():
        gc.collect(0)
        gc.collect(2)
        gc.collect(2)
    pauses = told(collections)
    assert [pauses[f'seconds_count{{generation="{n}"}}'] for n in range(3)] == [1, 0, 2]
    assert [pauses[f'seconds_sum{{generation="{n}"}}'] for n in range(3)] == [1, 0, 3 + 5]
    assert pauses['longest_seconds{generation="2"}'] == 5


def test_what_only_the_collector_can_free_is_counted() -> None:
    gc.collect()
    collections = Collections()
    with collections.watched():
        for _ in range(100):
            Knot()
        gc.collect()
    assert told(collections)['found_total{generation="2"}'] >= 100


async def test_what_is_new_is_looked_through_once_an_hour(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    collections, old = Collections(), Knot()
    with collections.watched():
        nursery.start_soon(collect_now_and_then)
        await trio.sleep(FULL_EVERY_S * 2.5)
        before, seen = told(collections), weakref.ref(Knot())
        unseen = weakref.ref(old)
        del old
        await trio.sleep(FULL_EVERY_S)
    after = told(collections)
    assert after['seconds_count{generation="2"}'] == 3
    assert after['found_total{generation="2"}'] > before['found_total{generation="2"}']
    assert seen() is None
    assert unseen() is not None


def test_nothing_is_counted_before_and_afterwards() -> None:
    collections = Collections()
    gc.collect()
    with collections.watched():
        pass
    gc.collect()
    assert told(collections)['seconds_count{generation="2"}'] == 0
