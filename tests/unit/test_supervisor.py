"""The supervisor: one test per way a child can die, and that its siblings never notice."""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping
from datetime import UTC, datetime
from typing import Any

import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.supervisor import (
    Backoff,
    ChildSpec,
    Intensity,
    Restart,
    Supervisor,
    SupervisorStopped,
    crash_id,
)

Logs = list[MutableMapping[str, Any]]
NOW = datetime(2030, 1, 1, tzinfo=UTC)


class Unavailable(Exception):
    """Stands for an error that is nobody's fault."""


class Script:
    """A child whose lives are given in order; the last one repeats."""

    def __init__(self, *lives: Callable[[], object]) -> None:
        self._lives = lives
        self.begun_at: list[float] = []
        self.exits = 0

    async def run(self) -> None:
        self.begun_at.append(trio.current_time())
        life = self._lives[min(len(self.begun_at), len(self._lives)) - 1]
        result = life()
        if result is not None:
            await result  # type: ignore[misc]

    def exited(self) -> None:
        self.exits += 1

    @property
    def lives(self) -> int:
        return len(self.begun_at)


def fails(error: BaseException) -> Callable[[], None]:
    def life() -> None:
        raise error

    return life


def returns() -> None:
    """A life that ends at once."""


forever = trio.sleep_forever


@pytest.fixture(autouse=True)
def logs() -> Iterator[Logs]:
    """What was logged; without it, each crash would be rendered for a terminal."""
    with capture_logs() as captured:
        yield captured


@pytest.fixture
async def supervisor(nursery: trio.Nursery) -> Supervisor:
    made = Supervisor(now=lambda: NOW)
    await nursery.start(made.run)
    return made


def start(supervisor: Supervisor, script: Script, name: str = "a", **options: object) -> None:
    spec = ChildSpec(name, script.run, on_exit=script.exited, **options)  # type: ignore[arg-type]
    supervisor.start(spec)


@pytest.mark.parametrize(
    ("restart", "lives"),
    [(Restart.PERMANENT, 2), (Restart.TRANSIENT, 1), (Restart.TEMPORARY, 1)],
)
async def test_child_that_returns(supervisor: Supervisor, restart: Restart, lives: int) -> None:
    script = Script(returns, forever)
    start(supervisor, script, restart=restart)
    await wait_all_tasks_blocked()
    assert script.lives == lives
    assert supervisor.is_running("a") is (lives == 2)
    assert script.exits == (0 if lives == 2 else 1)


@pytest.mark.parametrize(
    ("restart", "lives"),
    [(Restart.PERMANENT, 2), (Restart.TRANSIENT, 2), (Restart.TEMPORARY, 1)],
)
async def test_child_that_raises(
    supervisor: Supervisor, restart: Restart, lives: int, logs: Logs
) -> None:
    error = ValueError("boom")
    script = Script(fails(error), forever)
    crashes: list[tuple[Exception, int]] = []
    start(
        supervisor,
        script,
        restart=restart,
        on_crash=lambda error, life: crashes.append((error, life)),
    )
    await wait_all_tasks_blocked()
    assert script.lives == lives
    assert crashes == [(error, 1)]
    assert [entry["crash_id"] for entry in logs] == [crash_id(error)]


async def test_child_whose_inner_nursery_raises_a_group(supervisor: Supervisor) -> None:
    async def life() -> None:
        async with trio.open_nursery() as inner:
            inner.start_soon(fail_after_a_turn)
            inner.start_soon(fail_after_a_turn)

    async def fail_after_a_turn() -> None:
        await trio.lowlevel.cancel_shielded_checkpoint()
        raise ValueError("boom")

    script = Script(life, forever)
    crashes: list[Exception] = []
    start(supervisor, script, on_crash=lambda error, _: crashes.append(error))
    await wait_all_tasks_blocked()
    assert script.lives == 2
    assert len(crashes) == 1
    assert isinstance(crashes[0], ExceptionGroup)
    assert len(crashes[0].exceptions) == 2


async def test_group_of_one_is_told_as_its_one_exception(supervisor: Supervisor) -> None:
    error = Unavailable()
    group = ExceptionGroup("outer", [ExceptionGroup("inner", [error])])
    crashes: list[Exception] = []
    script = Script(fails(group), forever)
    start(supervisor, script, on_crash=lambda error, _: crashes.append(error))
    await wait_all_tasks_blocked()
    assert crashes == [error]


async def test_stopped_child_is_cancelled_and_not_restarted(supervisor: Supervisor) -> None:
    saw_cancelled = False

    async def life() -> None:
        nonlocal saw_cancelled
        try:
            await forever()
        except trio.Cancelled:
            saw_cancelled = True
            raise

    script = Script(life)
    start(supervisor, script)
    await wait_all_tasks_blocked()
    await supervisor.stop("a")
    assert saw_cancelled
    assert (script.lives, script.exits) == (1, 1)
    assert not supervisor.is_running("a")
    await supervisor.stop("a")


async def test_stop_waits_for_what_the_child_shields(
    supervisor: Supervisor, autojump_clock: MockClock
) -> None:
    async def life() -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(3)
        await trio.lowlevel.checkpoint()

    script = Script(life)
    start(supervisor, script)
    await wait_all_tasks_blocked()
    begun = trio.current_time()
    await supervisor.stop("a")
    assert trio.current_time() == begun + 3


async def test_child_that_stops_itself_ends(supervisor: Supervisor) -> None:
    script = Script(lambda: supervisor.stop("a"))
    start(supervisor, script)
    await wait_all_tasks_blocked()
    assert (script.lives, script.exits) == (1, 1)


async def test_child_stopped_before_its_first_turn_ends(supervisor: Supervisor) -> None:
    script = Script(forever)
    start(supervisor, script)
    await supervisor.stop("a")
    assert script.exits == 1


async def test_child_that_fails_while_it_is_cancelled_harms_nobody(
    supervisor: Supervisor, logs: Logs
) -> None:
    async def fails_in_clean_up() -> None:
        try:
            await forever()
        finally:
            raise ValueError("in clean-up")

    async def life() -> None:
        async with trio.open_nursery() as inner:
            inner.start_soon(fails_in_clean_up)
            inner.start_soon(forever)

    script, sibling = Script(life), Script(forever)
    start(supervisor, script)
    start(supervisor, sibling, "sibling")
    await wait_all_tasks_blocked()
    await supervisor.stop("a")
    await wait_all_tasks_blocked()
    assert (script.lives, script.exits) == (1, 1)
    assert [entry["event"] for entry in logs] == ["actor_crashed"]
    assert supervisor.is_running("sibling")


async def test_failure_during_shutdown_does_not_leave_run() -> None:
    async def life() -> None:
        async with trio.open_nursery() as inner:
            inner.start_soon(fails_in_clean_up)
            inner.start_soon(forever)

    async def fails_in_clean_up() -> None:
        try:
            await forever()
        finally:
            raise ValueError("in clean-up")

    supervisor = Supervisor()
    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run)
        start(supervisor, Script(life))
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert not supervisor.is_running("a")


async def test_child_that_raises_during_start_is_restarted(supervisor: Supervisor) -> None:
    ready: list[int] = []

    async def hydrates() -> None:
        ready.append(1)
        await forever()

    # Fails before its first checkpoint.
    script = Script(fails(ValueError("hydrate")), hydrates)
    start(supervisor, script)
    await wait_all_tasks_blocked()
    assert (script.lives, ready) == (2, [1])


async def test_base_exception_ends_the_supervisor_and_leaves_run() -> None:
    class Stop(BaseException):
        pass

    supervisor = Supervisor()
    sibling = Script(forever)
    with pytest.raises(BaseExceptionGroup) as caught:  # noqa: PT012
        async with trio.open_nursery() as nursery:
            await nursery.start(supervisor.run)
            start(supervisor, sibling, "sibling")
            start(supervisor, Script(fails(Stop())))
    assert caught.group_contains(Stop)
    assert sibling.exits == 1


async def test_base_exception_in_a_group_leaves_run_and_the_crash_beside_it_is_told() -> None:
    class Stop(BaseException):
        pass

    supervisor = Supervisor()
    crashes: list[Exception] = []
    group = BaseExceptionGroup("mixed", [Stop(), ValueError()])
    with pytest.raises(BaseExceptionGroup) as caught:  # noqa: PT012
        async with trio.open_nursery() as nursery:
            await nursery.start(supervisor.run)
            start(
                supervisor,
                Script(fails(group)),
                on_crash=lambda error, _: crashes.append(error),
            )
    assert caught.group_contains(Stop)
    assert not caught.group_contains(ValueError)
    assert [type(error) for error in crashes] == [ValueError]


async def test_siblings_are_untouched_by_crash_and_quarantine(supervisor: Supervisor) -> None:
    sibling = Script(forever)
    start(supervisor, sibling, "sibling")
    start(supervisor, Script(fails(ValueError())))
    await wait_all_tasks_blocked()
    assert set(supervisor.quarantined) == {"a"}
    assert (sibling.lives, sibling.exits) == (1, 0)
    assert supervisor.is_running("sibling")


async def test_one_restart_more_than_the_intensity_is_the_quarantine(
    supervisor: Supervisor,
) -> None:
    entered: list[bool] = []
    error = ValueError("the text stays in the log")
    script = Script(fails(error))
    start(
        supervisor,
        script,
        intensity=Intensity(restarts=2),
        on_quarantine=lambda: entered.append("a" in supervisor.quarantined),
    )
    await wait_all_tasks_blocked()
    assert (script.lives, script.exits, entered) == (3, 1, [True])
    quarantine = supervisor.quarantined["a"]
    assert quarantine.since == NOW
    assert quarantine.reason == "ValueError"
    assert quarantine.crash_id == crash_id(error)
    assert not supervisor.is_running("a")


async def test_permanent_child_that_only_returns_ends_in_quarantine(
    supervisor: Supervisor,
) -> None:
    script = Script(returns)
    start(supervisor, script)
    await wait_all_tasks_blocked()
    assert script.lives == 6
    assert supervisor.quarantined["a"].reason == "ended again and again"


@pytest.mark.parametrize(("pause_s", "quarantined"), [(31.0, False), (30.0, True)])
async def test_restarts_count_within_a_sliding_window(
    supervisor: Supervisor, autojump_clock: MockClock, pause_s: float, quarantined: bool
) -> None:
    async def life() -> None:
        await trio.sleep(pause_s)
        raise ValueError

    script = Script(life)
    start(supervisor, script, intensity=Intensity(restarts=2, window_s=60))
    await trio.sleep(pause_s * 10 + 1)
    assert ("a" in supervisor.quarantined) is quarantined
    assert script.lives == (3 if quarantined else 11)


async def test_crashes_that_do_not_count_never_lead_to_quarantine_and_back_off(
    supervisor: Supervisor, autojump_clock: MockClock
) -> None:
    script = Script(*[fails(Unavailable())] * 7, forever)
    begun = trio.current_time()
    start(
        supervisor,
        script,
        intensity=Intensity(restarts=0),
        backoff=Backoff(first_s=0.5, max_s=4),
        on_crash=lambda error, _: not isinstance(error, Unavailable),
    )
    await trio.sleep(60)
    assert [at - begun for at in script.begun_at] == [0, 0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5]
    assert not supervisor.quarantined


async def test_back_off_begins_anew_after_a_long_life(
    supervisor: Supervisor, autojump_clock: MockClock
) -> None:
    async def long_life() -> None:
        await trio.sleep(10)
        raise Unavailable

    script = Script(fails(Unavailable()), fails(Unavailable()), long_life, forever)
    begun = trio.current_time()
    start(supervisor, script, backoff=Backoff(first_s=0.5, max_s=4), on_crash=lambda *_: False)
    await trio.sleep(60)
    assert [at - begun for at in script.begun_at] == [0, 0.5, 1.5, 12.0]


async def test_stop_during_the_back_off_ends_the_child_at_once(
    supervisor: Supervisor, autojump_clock: MockClock
) -> None:
    script = Script(fails(Unavailable()))
    start(supervisor, script, backoff=Backoff(first_s=100, max_s=100), on_crash=lambda *_: False)
    await wait_all_tasks_blocked()
    assert supervisor.is_running("a")
    await supervisor.stop("a")
    assert (script.lives, script.exits) == (1, 1)
    assert trio.current_time() < 100


async def test_lifted_child_has_all_its_restarts_again(supervisor: Supervisor) -> None:
    script = Script(*[fails(ValueError())] * 3, fails(ValueError()), forever)
    start(supervisor, script, intensity=Intensity(restarts=2))
    await wait_all_tasks_blocked()
    assert set(supervisor.quarantined) == {"a"}
    supervisor.lift("a")
    assert not supervisor.quarantined
    await wait_all_tasks_blocked()
    assert supervisor.is_running("a")
    assert script.lives == 5


async def test_lifting_what_is_not_in_quarantine_is_an_error(supervisor: Supervisor) -> None:
    with pytest.raises(KeyError):
        supervisor.lift("a")


async def test_raising_hooks_are_logged_and_change_nothing(
    supervisor: Supervisor, logs: Logs
) -> None:
    def hook(*_: object) -> None:
        raise RuntimeError("hook")

    script = Script(fails(ValueError()))
    with capture_logs() as logs:
        supervisor.start(
            ChildSpec("a", script.run, on_crash=hook, on_quarantine=hook, on_exit=hook)
        )
        await wait_all_tasks_blocked()
    assert script.lives == 6
    assert "a" in supervisor.quarantined
    assert sum(entry["event"] == "actor_hook_failed" for entry in logs) == 6 + 1 + 1


async def test_names_are_unique_among_running_and_quarantined(supervisor: Supervisor) -> None:
    start(supervisor, Script(forever))
    with pytest.raises(ValueError, match="running"):
        start(supervisor, Script(forever))
    start(supervisor, Script(fails(ValueError())), "b")
    await wait_all_tasks_blocked()
    with pytest.raises(ValueError, match="quarantine"):
        start(supervisor, Script(forever), "b")


async def test_nothing_starts_before_or_after_the_run() -> None:
    supervisor = Supervisor()
    with pytest.raises(SupervisorStopped):
        start(supervisor, Script(forever))
    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run)
        start(supervisor, Script(fails(ValueError())))
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    with pytest.raises(SupervisorStopped):
        start(supervisor, Script(forever), "b")
    with pytest.raises(SupervisorStopped):
        supervisor.lift("a")
    assert "a" in supervisor.quarantined


def test_crash_id_stays_with_its_error() -> None:
    error = ValueError()
    assert crash_id(error) == crash_id(error)
    assert crash_id(error) != crash_id(ValueError())
