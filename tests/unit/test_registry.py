"""The registry: one start for many askers, no message lost, every sender answered."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock, Sequencer, wait_all_tasks_blocked

from actors.mailbox import Mailbox, MailboxClosed, MailboxFull
from actors.registry import Quarantined, Registry, RegistryClosed, State
from actors.supervisor import Backoff, Intensity, Supervisor, SupervisorStopped

CRASH = "crash"
WAIT = "wait"


class NotFound(Exception):
    """Stands for a hydrate that finds nothing."""


class Echo:
    """An actor that notes what it handles; what goes wrong is set from outside."""

    def __init__(self, world: World, key: str) -> None:
        self.world = world
        self.key = key
        self.name = f"echo:{key}"
        self.mailbox: Mailbox[str] = Mailbox(4)
        self.idle_since: float | None = None
        self.lives = 0

    async def run(self, *, started: Callable[[], None]) -> None:
        self.lives += 1
        await self.world.hydrate()
        started()
        while True:
            self.idle_since = trio.current_time()
            for message in await self.mailbox.receive(limit=1):
                self.idle_since = None
                if message == CRASH:
                    raise ValueError(message)
                if message == WAIT:
                    await self.world.released.wait()
                self.world.handled.append(message)
            if self.world.leaves_when_idle and not len(self.mailbox):
                await self.world.last_steps()
                return


class World:
    """One registry of `Echo` actors and what it was seen to do."""

    def __init__(self, supervisor: Supervisor) -> None:
        self.supervisor = supervisor
        self.made: list[Echo] = []
        self.handled: list[str] = []
        self.undelivered: list[str] = []
        self.quarantined: list[str] = []
        self.released = trio.Event()
        self.hydrate_error: Exception | None = None
        self.hydrate_gate: trio.Event | None = None
        self.factory_error: Exception | None = None
        self.leaves_when_idle = False
        self.last_steps: Callable[[], Any] = trio.lowlevel.checkpoint
        self.registry: Registry[str, Echo] = Registry(
            supervisor=supervisor,
            factory=self.make,
            intensity=Intensity(restarts=2),
            backoff=Backoff(first_s=1, max_s=1),
            on_crash=lambda actor, error, life: not isinstance(error, ConnectionError),
            on_quarantine=lambda actor: self.quarantined.append(actor.key),
            undelivered=lambda actor, messages: self.undelivered.extend(messages),
        )

    def make(self, key: str) -> Echo:
        if self.factory_error is not None:
            raise self.factory_error
        self.made.append(Echo(self, key))
        return self.made[-1]

    async def hydrate(self) -> None:
        if self.hydrate_gate is not None:
            await self.hydrate_gate.wait()
        if self.hydrate_error is not None:
            raise self.hydrate_error


@pytest.fixture(autouse=True)
def logs() -> Iterator[object]:
    with capture_logs() as captured:
        yield captured


@pytest.fixture
async def world(nursery: trio.Nursery) -> World:
    supervisor = Supervisor()
    await nursery.start(supervisor.run)
    return World(supervisor)


async def test_get_finds_only_what_is_live(world: World) -> None:
    registry = world.registry
    assert registry.get("a") is None
    actor = await registry.ensure("a")
    assert registry.get("a") is actor
    assert await registry.ensure("a") is actor
    assert (list(registry), len(registry)) == ([actor], 1)


async def test_many_who_ask_at_once_get_one_actor(world: World) -> None:
    world.hydrate_gate = trio.Event()
    got: list[Echo] = []

    async def ask() -> None:
        got.append(await world.registry.ensure("a"))

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        assert got == []
        assert world.registry.get("a") is None
        assert world.registry.state("a") is State.STARTING
        world.hydrate_gate.set()
    assert len(world.made) == 1
    assert got == world.made * 5


async def test_failure_to_hydrate_goes_to_all_who_wait_and_the_next_one_tries_again(
    world: World,
) -> None:
    world.hydrate_error = NotFound()
    caught: list[Exception] = []

    async def ask() -> None:
        with pytest.raises(NotFound) as error:
            await world.registry.ensure("a")
        caught.append(error.value)

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(ask)
    assert caught == [world.hydrate_error] * 3
    assert len(world.made) == 1
    assert world.registry.state("a") is None
    world.hydrate_error = None
    assert await world.registry.ensure("a") is world.made[1]


async def test_failure_to_start_that_nobody_waits_for_is_logged(
    world: World, logs: list[dict[str, object]]
) -> None:
    world.hydrate_gate = trio.Event()
    world.hydrate_error = NotFound()
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.registry.ensure, "a")
            await wait_all_tasks_blocked()
            scope.cancel()
    world.hydrate_gate.set()
    await wait_all_tasks_blocked()
    assert [entry["event"] for entry in logs] == ["actor_did_not_start"]


async def test_failure_of_the_factory_is_raised_and_leaves_nothing(world: World) -> None:
    world.factory_error = NotFound()
    with pytest.raises(NotFound):
        await world.registry.ensure("a")
    assert world.registry.state("a") is None


async def test_cancelled_asker_leaves_the_start_to_the_others(world: World) -> None:
    world.hydrate_gate = trio.Event()
    scope = trio.CancelScope()
    got: list[Echo] = []

    async def gives_up() -> None:
        with scope:
            await world.registry.ensure("a")

    async def stays() -> None:
        got.append(await world.registry.ensure("a"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(gives_up)
        await wait_all_tasks_blocked()
        nursery.start_soon(stays)
        await wait_all_tasks_blocked()
        scope.cancel()
        await wait_all_tasks_blocked()
        world.hydrate_gate.set()
    assert got == world.made
    assert world.made[0].lives == 1


async def test_adopted_actors_are_live_at_once(world: World) -> None:
    actor = Echo(world, "a")
    world.registry.adopt("a", actor)
    assert world.registry.get("a") is actor
    actor.mailbox.put_nowait("hello")
    await wait_all_tasks_blocked()
    assert world.handled == ["hello"]
    with pytest.raises(ValueError, match="already"):
        world.registry.adopt("a", Echo(world, "a"))


async def test_crash_restarts_the_actor_with_its_messages(world: World) -> None:
    actor = await world.registry.ensure("a")
    for message in ("1", CRASH, "2"):
        actor.mailbox.put_nowait(message)
    await wait_all_tasks_blocked()
    assert world.handled == ["1", "2"]
    assert actor.lives == 2
    assert world.registry.get("a") is actor


async def test_restarting_actor_is_not_got_and_ensure_waits_for_it(world: World) -> None:
    actor = await world.registry.ensure("a")
    world.hydrate_gate = trio.Event()
    actor.mailbox.put_nowait(CRASH)
    await wait_all_tasks_blocked()
    assert world.registry.state("a") is State.RESTARTING
    assert world.registry.get("a") is None
    got: list[Echo] = []

    async def ask() -> None:
        got.append(await world.registry.ensure("a"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        assert got == []
        world.hydrate_gate.set()
    assert got == [actor]


async def test_database_away_during_a_restart_uses_up_no_restarts(
    world: World, autojump_clock: MockClock
) -> None:
    actor = await world.registry.ensure("a")
    world.hydrate_error = ConnectionError()
    actor.mailbox.put_nowait(CRASH)
    await trio.sleep(30)
    assert world.registry.state("a") is State.RESTARTING
    world.hydrate_error = None
    assert await world.registry.ensure("a") is actor


async def test_quarantine_answers_what_waits_and_refuses_the_rest(world: World) -> None:
    actor = await world.registry.ensure("a")
    for message in (CRASH, CRASH, CRASH, "left"):
        actor.mailbox.put_nowait(message)
    await wait_all_tasks_blocked()
    assert world.quarantined == ["a"]
    assert world.undelivered == ["left"]
    assert world.registry.state("a") is State.QUARANTINED
    assert world.registry.get("a") is None
    with pytest.raises(Quarantined) as caught:
        await world.registry.ensure("a")
    assert caught.value.key == "a"
    assert caught.value.crash_id == world.supervisor.quarantined["echo:a"].crash_id
    with pytest.raises(MailboxClosed):
        actor.mailbox.put_nowait("late")


async def test_who_waits_for_a_restart_learns_of_the_quarantine(world: World) -> None:
    actor = await world.registry.ensure("a")
    world.hydrate_gate = trio.Event()
    actor.mailbox.put_nowait(CRASH)
    await wait_all_tasks_blocked()
    async with trio.open_nursery() as nursery:

        async def ask() -> None:
            with pytest.raises(Quarantined):
                await world.registry.ensure("a")

        nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        world.hydrate_error = ValueError()
        world.hydrate_gate.set()


async def test_lifted_actor_is_a_fresh_one_and_ensure_waits_for_it(world: World) -> None:
    first = await world.registry.ensure("a")
    for _ in range(3):
        first.mailbox.put_nowait(CRASH)
    await wait_all_tasks_blocked()
    world.supervisor.lift("echo:a")
    second = await world.registry.ensure("a")
    assert second is not first
    await world.registry.send("a", "hello")
    await wait_all_tasks_blocked()
    assert world.handled == ["hello"]


async def test_lifted_actor_that_still_fails_goes_back_into_quarantine(world: World) -> None:
    first = await world.registry.ensure("a")
    for _ in range(3):
        first.mailbox.put_nowait(CRASH)
    await wait_all_tasks_blocked()
    world.factory_error = ValueError()
    world.supervisor.lift("echo:a")
    with pytest.raises(Quarantined):
        await world.registry.ensure("a")


async def test_lifted_actor_stopped_at_once_is_gone_and_can_be_had_again(world: World) -> None:
    first = await world.registry.ensure("a")
    for _ in range(3):
        first.mailbox.put_nowait(CRASH)
    await wait_all_tasks_blocked()
    world.supervisor.lift("echo:a")
    await world.supervisor.stop("echo:a")
    assert world.registry.state("a") is None
    assert await world.registry.ensure("a") is not first


async def test_passivated_actor_handles_what_waits_and_comes_back_on_demand(world: World) -> None:
    first = await world.registry.ensure("a")
    first.mailbox.put_nowait("1")
    assert world.registry.passivate("a")
    assert not world.registry.passivate("a")
    assert world.registry.get("a") is None
    second = await world.registry.ensure("a")
    assert second is not first
    assert world.handled == ["1"]
    assert world.undelivered == []


async def test_a_passivated_actor_does_not_wait_for_the_cycle_collector(world: World) -> None:
    gc.disable()
    try:
        await world.registry.ensure("a")
        passive = weakref.ref(world.made.pop())
        await wait_all_tasks_blocked()
        assert world.registry.passivate("a")
        await wait_all_tasks_blocked()
        assert passive() is None
    finally:
        gc.enable()


async def test_only_idle_actors_are_passivated(world: World, autojump_clock: MockClock) -> None:
    for key in ("idle", "busy", "recent"):
        await world.registry.ensure(key)
    await world.registry.send("busy", WAIT)
    await trio.sleep(100)
    await world.registry.send("recent", "hello")
    await wait_all_tasks_blocked()
    assert world.registry.passivate_idle(60) == 1
    await wait_all_tasks_blocked()
    assert {key: world.registry.state(key) for key in ("idle", "busy", "recent")} == {
        "idle": None,
        "busy": State.LIVE,
        "recent": State.LIVE,
    }
    world.released.set()


async def test_actor_with_a_message_not_yet_received_is_not_idle(
    world: World, autojump_clock: MockClock
) -> None:
    actor = await world.registry.ensure("a")
    await wait_all_tasks_blocked()
    await trio.sleep(100)
    actor.mailbox.put_nowait("just now")
    assert world.registry.passivate_idle(60) == 0


async def test_message_sent_while_an_actor_is_passivated_reaches_the_next_one(
    world: World,
) -> None:
    sequencer = Sequencer()
    first = await world.registry.ensure("a")
    first.mailbox.put_nowait(WAIT)
    await wait_all_tasks_blocked()

    async def sender() -> None:
        async with sequencer(0):
            # Looked up before the passivation, used after it.
            held = world.registry.get("a")
            assert held is first
        async with sequencer(2):
            with pytest.raises(MailboxClosed):
                held.mailbox.put_nowait("lost?")
        assert await world.registry.send("a", "not lost") is not first

    async def passivator() -> None:
        async with sequencer(1):
            assert world.registry.passivate("a")
        async with sequencer(3):
            # The sender waits for the end of the old one now.
            await wait_all_tasks_blocked()
            assert world.registry.state("a") is State.STOPPING
            world.released.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(sender)
        nursery.start_soon(passivator)
    await wait_all_tasks_blocked()
    assert world.handled == [WAIT, "not lost"]
    assert world.undelivered == []


async def test_message_that_arrives_while_the_actor_ends_by_itself_gets_another_life(
    world: World,
) -> None:
    sequencer = Sequencer()
    world.leaves_when_idle = True

    async def last_steps() -> None:
        async with sequencer(0):
            pass
        # The actor has decided to end; the message comes before it does.
        async with sequencer(2):
            world.last_steps = trio.lowlevel.checkpoint

    world.last_steps = last_steps
    actor = await world.registry.ensure("a")
    actor.mailbox.put_nowait("1")
    async with sequencer(1):
        assert world.registry.get("a") is actor
        actor.mailbox.put_nowait("2")
    await wait_all_tasks_blocked()
    assert world.handled == ["1", "2"]
    assert actor.lives == 2
    assert world.registry.state("a") is None
    assert world.undelivered == []


async def test_no_message_is_lost_or_handled_twice_whenever_actors_passivate(
    world: World,
) -> None:
    world.leaves_when_idle = True
    sent = [f"{task}.{n}" for task in range(4) for n in range(25)]

    async def sender(task: int) -> None:
        for n in range(25):
            while True:
                try:
                    await world.registry.send("a", f"{task}.{n}")
                    break
                except MailboxFull:
                    await trio.lowlevel.checkpoint()
            world.registry.passivate_idle(0)
            if n % 3 == task % 3:
                world.registry.passivate("a")
            if n % 5:
                await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        for task in range(4):
            nursery.start_soon(sender, task)
    await wait_all_tasks_blocked()
    assert sorted(world.handled) == sorted(sent)
    assert len(world.made) > 1


async def test_actor_that_never_takes_its_messages_is_quarantined_and_they_are_answered(
    world: World,
) -> None:
    class Deaf(Echo):
        async def run(self, *, started: Callable[[], None]) -> None:
            started()

    actor = Deaf(world, "a")
    actor.mailbox.put_nowait("anybody?")
    world.registry.adopt("a", actor)
    await wait_all_tasks_blocked()
    assert world.registry.state("a") is State.QUARANTINED
    assert world.undelivered == ["anybody?"]


async def test_another_mailbox_that_is_closed_is_a_crash_of_the_sender(world: World) -> None:
    other: Mailbox[str] = Mailbox(1)
    other.close()

    class Sends(Echo):
        async def run(self, *, started: Callable[[], None]) -> None:
            started()
            self.lives += 1
            if self.lives == 1:
                other.put_nowait("hello")
            await self.mailbox.receive()

    actor = Sends(world, "a")
    world.registry.adopt("a", actor)
    await wait_all_tasks_blocked()
    assert actor.lives == 2


async def test_own_mailbox_closing_inside_an_inner_nursery_is_a_normal_end(
    world: World, logs: list[dict[str, object]]
) -> None:
    class Inner(Echo):
        async def run(self, *, started: Callable[[], None]) -> None:
            started()
            self.lives += 1
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)
                nursery.start_soon(self.mailbox.receive)

    actor = Inner(world, "a")
    world.registry.adopt("a", actor)
    await wait_all_tasks_blocked()
    world.registry.passivate("a")
    await wait_all_tasks_blocked()
    assert (actor.lives, world.registry.state("a"), logs) == (1, None, [])


async def test_actor_that_closes_its_own_mailbox_is_not_got_and_its_successor_is(
    world: World,
) -> None:
    first = await world.registry.ensure("a")
    first.mailbox.put_nowait(WAIT)
    await wait_all_tasks_blocked()
    first.mailbox.close()
    assert world.registry.get("a") is None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.registry.send, "a", "for the next")
        await wait_all_tasks_blocked()
        assert world.made == [first]
        world.released.set()
    await wait_all_tasks_blocked()
    assert world.handled == [WAIT, "for the next"]
    assert len(world.made) == 2


async def test_cancelled_actor_hands_its_messages_back(world: World) -> None:
    actor = await world.registry.ensure("a")
    for message in (WAIT, "1", "2"):
        actor.mailbox.put_nowait(message)
    await wait_all_tasks_blocked()
    await world.supervisor.stop(actor.name)
    assert world.undelivered == ["1", "2"]
    assert world.registry.state("a") is None


async def test_stop_all_lets_actors_finish(world: World) -> None:
    for key in ("a", "b"):
        await world.registry.send(key, key)
    assert await world.registry.stop_all(within_s=5) == 0
    assert sorted(world.handled) == ["a", "b"]
    assert len(world.registry) == 0
    with pytest.raises(RegistryClosed):
        await world.registry.ensure("a")
    with pytest.raises(RegistryClosed):
        world.registry.adopt("a", Echo(world, "a"))


async def test_stop_all_cancels_who_is_late_and_waits_for_shielded_commits(
    world: World, autojump_clock: MockClock
) -> None:
    committed: list[str] = []

    class Commits(Echo):
        async def run(self, *, started: Callable[[], None]) -> None:
            started()
            with trio.CancelScope(shield=True):
                await trio.sleep(7)
                committed.append(self.key)
            await trio.sleep_forever()

    for key in ("a", "b"):
        world.registry.adopt(key, Commits(world, key))
    begun = trio.current_time()
    assert await world.registry.stop_all(within_s=5) == 2
    assert trio.current_time() == begun + 7
    assert sorted(committed) == ["a", "b"]


async def test_who_waits_for_a_start_during_stop_all_is_told(world: World) -> None:
    world.hydrate_gate = trio.Event()
    async with trio.open_nursery() as nursery:

        async def ask() -> None:
            with pytest.raises(RegistryClosed):
                await world.registry.ensure("a")

        nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        nursery.start_soon(world.registry.stop_all, 5)
        await wait_all_tasks_blocked()
        world.hydrate_gate.set()
    assert len(world.registry) == 0


async def test_stop_all_passes_over_what_is_in_quarantine(world: World) -> None:
    actor = await world.registry.ensure("a")
    for _ in range(3):
        actor.mailbox.put_nowait(CRASH)
    await wait_all_tasks_blocked()
    assert await world.registry.stop_all(within_s=5) == 0
    # Lifted too late: it does not come back.
    world.supervisor.lift("echo:a")
    await wait_all_tasks_blocked()
    assert len(world.made) == 1


async def test_nobody_waits_forever_when_the_supervisor_ends() -> None:
    supervisor = Supervisor()
    world = World(supervisor)
    world.hydrate_gate = trio.Event()
    async with trio.open_nursery() as askers:

        async def ask() -> None:
            with pytest.raises(SupervisorStopped):
                await world.registry.ensure("a")

        async with trio.open_nursery() as nursery:
            await nursery.start(supervisor.run)
            askers.start_soon(ask)
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
