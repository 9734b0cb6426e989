"""Whether something grows is said of long runs, and only where it is so."""

import random
from pathlib import Path

import pytest

from bench.harness.generator import Second
from bench.harness.stretches import MOST, put_together, stretch_s
from bench.harness.trends import FEWEST, trend
from bench.harness.vitals import HELD, SERVER_MEMORY, Vital, Vitals
from bench.server_process import ServerProcess


def measured(
    slope: float, seed: int, *, count: int = 200, level: float = 90.0, first: int = 0
) -> list[tuple[float, float]]:
    """A measurement every 5 s of something that grows by `slope` an hour, with noise of 1."""
    rng = random.Random(seed)
    times = [(first + n) * 5.0 for n in range(count)]
    return [(at, level + slope * at / 3600 + rng.gauss(0, 1)) for at in times]


@pytest.mark.parametrize("slope", [40.0, -40.0])
def test_what_grows_or_shrinks_is_said_to(slope: float) -> None:
    found = trend([measured(slope, 1)])
    assert found is not None
    assert found.low < slope < found.high
    assert not found.low <= 0 <= found.high


def test_noise_does_not_grow() -> None:
    found = [trend([measured(0.0, seed)]) for seed in range(20)]
    flat = [one for one in found if one is not None and one.low <= 0 <= one.high]
    # One in twenty may look as if, by what 95 % means.
    assert len(flat) >= 16


def test_a_server_that_begins_anew_is_not_taken_for_one_that_grows() -> None:
    """Each life has its own level; together they have one slope."""
    lives = [measured(0.0, n, count=40, level=90.0 + 20 * n, first=40 * n) for n in range(5)]
    apart = trend(lives)
    as_one = trend([[each for life in lives for each in life]])
    assert apart is not None
    assert as_one is not None
    assert apart.low <= 0 <= apart.high
    assert as_one.low > 0


def test_of_too_little_nothing_is_said() -> None:
    assert trend([]) is None
    assert trend([measured(40.0, 1, count=FEWEST - 1)]) is None
    assert trend([[(0.0, float(n))] for n in range(100)]) is None


def test_a_run_of_hours_has_few_moments() -> None:
    assert stretch_s(60) == 1
    assert stretch_s(MOST + 1) == 2
    day_s = 24 * 3600
    assert day_s / stretch_s(day_s) <= MOST


def test_seconds_are_put_together_with_all_that_was_told_of_them() -> None:
    one = Second(7, 1.0, 10, 1, 5, 30, 0.25, {100: 2, 200: 1}, {"hands": 1}, {"back": [1.0]})
    other = Second(8, 1.5, 20, 0, 4, 10, 0.5, {200: 3}, {"hands": 2, "refused": 1}, {})
    together = put_together([one, other])
    assert together == Second(
        number=7,
        seconds=2.5,
        events=30,
        errors=1,
        connected=4,
        late_us=30,
        cpu_s=0.75,
        latencies={100: 2, 200: 4},
        counts={"hands": 3, "refused": 1},
        marks={},
    )


def looks(*told: tuple[float, int, float, float], at: Path) -> Vitals:
    """Looks at a server, each a second, the server's life, its memory and what it has counted."""
    vitals = Vitals(ServerProcess(at))
    for at_s, life, memory, count in told:
        held = dict.fromkeys(HELD, 0.0) | {SERVER_MEMORY: memory}
        vitals.taken.append(Vital(at_s, life, held, {"cardroom_gc_seconds_count": count}))
    return vitals


def test_what_a_server_counts_goes_on_in_its_next_life(tmp_path: Path) -> None:
    vitals = looks((0, 1, 90, 10), (5, 1, 90, 15), (10, 2, 90, 2), (15, 2, 90, 4), at=tmp_path)
    assert vitals.counted(lambda name: name == "cardroom_gc_seconds_count") == 5 + 2 + 2
    assert vitals.counted(lambda name: name == "another") == 0


def test_the_beginning_of_each_life_is_not_asked_whether_it_grows(tmp_path: Path) -> None:
    # A server fills its caches in ten seconds, and is killed after twenty.
    told = [(n * 1.0, n // 20, 80.0 + min(n % 20, 10), 0.0) for n in range(100)]
    vitals = looks(*told, at=tmp_path)
    settled = {one.title: one for one in vitals.growth(10.0)}[SERVER_MEMORY]
    at_once = {one.title: one for one in vitals.growth(0.0)}[SERVER_MEMORY]
    assert settled.per_hour == pytest.approx(0)
    assert at_once.per_hour is not None
    assert at_once.per_hour > 100
