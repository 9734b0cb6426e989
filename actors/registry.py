"""Finds the live actor for a key, and brings it to life when there is none.

An actor's states, as the registry sees them::

    ensure ──> STARTING ──> LIVE ──> STOPPING ──> gone (stopped, passivated)
                  │  adopt ──^ │ ^
                  v            v │
                gone       RESTARTING ──> QUARANTINED ──(lifted)──> RESTARTING

No message is lost on the way. The one rule behind it: an actor leaves only through its mailbox.
Passivation closes the mailbox first; what waits in it is still handled, and a later sender gets
`MailboxClosed`, looks again and waits for the next life (`Registry.send` does this). An actor that
returns by itself while a message arrives is given another life for it. Messages that nobody will
handle any more (cancelled, quarantined) go to the `undelivered` hook, so that each sender gets an
answer.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Generic, Protocol, TypeVar

import structlog
import trio

from actors.mailbox import ActorsError, Mailbox, MailboxClosed
from actors.supervisor import (
    Backoff,
    ChildSpec,
    Intensity,
    Quarantine,
    Restart,
    Supervisor,
    crash_id,
    sole_error,
)

log = structlog.stdlib.get_logger(__name__)


class Quarantined(ActorsError):
    """The actor crashed too often and waits for an operator. `crash_id` finds its last error in
    the log."""

    def __init__(self, key: Hashable, crash_id: str) -> None:
        super().__init__(f"{key!r} is in quarantine after crash {crash_id}")
        self.key = key
        self.crash_id = crash_id


class RegistryClosed(ActorsError):
    """The registry stops, and brings no more actors to life."""


class Actor(Protocol):
    """What the registry and the supervisor need of an actor."""

    @property
    def name(self) -> str:
        """Unique among the supervisor's children, and the same for the same key: `room:<id>`."""

    # Any: the registry carries messages and never looks into them.
    @property
    def mailbox(self) -> Mailbox[Any]:
        """The actor's one mailbox, the same in all its lives."""

    @property
    def idle_since(self) -> float | None:
        """When (trio's clock) the actor last had something to do; None while it must stay."""

    async def run(self, *, started: Callable[[], None]) -> None:
        """Live one life: hydrate, call `started`, then handle messages until the mailbox is closed
        and empty.

        Called again after a crash, with the messages still there that were not received; it begins
        from nothing then. The `MailboxClosed` of its own mailbox may simply leave it. An error
        before `started` is what those who wait for the actor get. A commit in flight is to be
        shielded from cancellation.
        """


K = TypeVar("K", bound=Hashable)
A = TypeVar("A", bound=Actor)


class State(Enum):
    """Where an actor stands, see the module's drawing."""

    STARTING = "starting"
    LIVE = "live"
    RESTARTING = "restarting"
    STOPPING = "stopping"
    QUARANTINED = "quarantined"


@dataclass(slots=True, eq=False)
class _Entry(Generic[A]):
    actor: A
    state: State
    changed: trio.Event = field(default_factory=trio.Event)
    error: Exception | None = None
    """Why the actor did not start, for those who wait for it."""

    def enter(self, state: State) -> None:
        self.state = state
        self.notify()

    def notify(self) -> None:
        self.changed.set()
        self.changed = trio.Event()


class Registry(Generic[K, A]):
    """The live actors of one kind, by key.

    `factory` makes an actor that has not hydrated yet; it must not wait. Actors are transient
    children; `intensity` and `backoff` are as in `ChildSpec`, and so are the hooks, which get the
    actor first: `on_crash(actor, error, life)`, where False means "does not count";
    `on_quarantine(actor)`. `undelivered(actor, messages)` gets what was left in the mailbox of an
    actor that is gone.
    """

    def __init__(
        self,
        *,
        supervisor: Supervisor,
        factory: Callable[[K], A],
        intensity: Intensity = Intensity(),  # noqa: B008 - frozen
        backoff: Backoff = Backoff(),  # noqa: B008 - frozen
        on_crash: Callable[[A, Exception, int], bool | None] | None = None,
        on_quarantine: Callable[[A], None] | None = None,
        undelivered: Callable[[A, list[Any]], None] | None = None,
    ) -> None:
        self._supervisor = supervisor
        self._factory = factory
        self._intensity = intensity
        self._backoff = backoff
        self._on_crash = on_crash
        self._on_quarantine = on_quarantine
        self._undelivered = undelivered
        self._entries: dict[K, _Entry[A]] = {}
        self._closed = False

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[A]:
        """Go over the live actors, as they are at this moment."""
        return iter([entry.actor for entry in self._entries.values() if entry.state is State.LIVE])

    def state(self, key: K) -> State | None:
        """Return where the actor stands; None when there is none in memory."""
        entry = self._entries.get(key)
        return None if entry is None else entry.state

    def get(self, key: K) -> A | None:
        """Return the actor when it is live and takes messages, else None. Never waits."""
        entry = self._entries.get(key)
        if entry is None or entry.state is not State.LIVE or entry.actor.mailbox.closed:
            return None
        return entry.actor

    async def ensure(self, key: K) -> A:
        """Return the live actor, waiting for its start or restart.

        However many ask at once, it is started once; an error of the factory or before `started`
        goes to all of them, and the next one who asks tries again. Raises `Quarantined`,
        `RegistryClosed` or `SupervisorStopped` too. The wait for a restart has no bound of its
        own: the caller sets one. Cancelling a wait leaves the start going on.
        """
        await trio.lowlevel.checkpoint()
        while True:
            actor = self.get(key)
            if actor is not None:
                return actor
            if self._closed:
                raise RegistryClosed("the registry is stopping")
            entry = self._entries.get(key)
            if entry is None:
                entry = self._begin(key, self._factory(key), State.STARTING)
            elif entry.state is State.QUARANTINED:
                self._refuse_quarantined(key, entry)
            await entry.changed.wait()
            if entry.error is not None:
                raise entry.error

    async def send(self, key: K, message: object) -> A:
        """Put a message into the mailbox of the actor, bringing it to life if need be.

        Returns the actor that has the message. Raises what `ensure` does and `MailboxFull`; the
        message is nowhere then. Cancellation: the message was not put.
        """
        while True:
            actor = self.get(key) or await self.ensure(key)
            try:
                actor.mailbox.put_nowait(message)
            except MailboxClosed:
                continue
            return actor

    def adopt(self, key: K, actor: A) -> None:
        """Take over an actor that has hydrated already: it is live at once.

        Its first `run` begins from the state that it has. Raises `ValueError` when there is an
        actor for the key, `RegistryClosed` or `SupervisorStopped`.
        """
        if self._closed:
            raise RegistryClosed("the registry is stopping")
        if key in self._entries:
            raise ValueError(f"there is an actor for {key!r} already")
        self._begin(key, actor, State.LIVE)

    def passivate(self, key: K) -> bool:
        """Let a live actor finish what waits in its mailbox and leave memory, without waiting for
        it.

        The next `ensure` waits for its end and brings it back. False when there is no live actor.
        """
        entry = self._entries.get(key)
        if entry is None or entry.state is not State.LIVE:
            return False
        entry.enter(State.STOPPING)
        entry.actor.mailbox.close()
        return True

    def passivate_idle(self, idle_s: float) -> int:
        """Passivate the live actors that have been idle for `idle_s` seconds; return how many."""
        limit = trio.current_time() - idle_s
        idle = [
            key
            for key, entry in self._entries.items()
            if entry.state is State.LIVE
            and entry.actor.idle_since is not None
            and entry.actor.idle_since <= limit
            and not len(entry.actor.mailbox)
        ]
        return sum(self.passivate(key) for key in idle)

    def quarantined(self) -> dict[K, Quarantine]:
        """Tell which actors crashed too often, and why."""
        quarantined = self._supervisor.quarantined
        found = {}
        for key, entry in self._entries.items():
            if entry.state is State.QUARANTINED:
                quarantine = quarantined.get(entry.actor.name)
                if quarantine is not None:
                    found[key] = quarantine
        return found

    def lift(self, key: K) -> bool:
        """Let a quarantined actor go on, with all its restarts to use up again.

        False when it is not in quarantine. Raises `SupervisorStopped`.
        """
        if key not in self.quarantined():
            return False
        self._supervisor.lift(self._entries[key].actor.name)
        return True

    async def stop_all(self, within_s: float) -> int:
        """End all actors for good: close their mailboxes, let them finish, cancel who is late.

        After `within_s` seconds those still there are cancelled and waited for, so commits that
        they shield finish too. Returns how many had to be cancelled. `ensure` raises
        `RegistryClosed` from the beginning on. When this is cancelled, actors that are not done go
        on ending.
        """
        self._closed = True
        going = [e for e in self._entries.values() if e.state is not State.QUARANTINED]
        for entry in going:
            if entry.state is not State.STARTING:
                # Who waits for a starting actor is to learn of its start, or why there was none.
                entry.enter(State.STOPPING)
            entry.actor.mailbox.close()
        with trio.move_on_after(within_s):
            for entry in going:
                while self._supervisor.is_running(entry.actor.name):
                    await entry.changed.wait()
        late = [e for e in going if self._supervisor.is_running(e.actor.name)]
        async with trio.open_nursery() as nursery:
            for entry in late:
                nursery.start_soon(self._supervisor.stop, entry.actor.name)
        return len(late)

    def _refuse_quarantined(self, key: K, entry: _Entry[A]) -> None:
        quarantine = self._supervisor.quarantined.get(entry.actor.name)
        # None: it was lifted a moment ago and its life is about to begin.
        if quarantine is not None:
            raise Quarantined(key, quarantine.crash_id)

    def _begin(self, key: K, actor: A, state: State) -> _Entry[A]:
        entry = _Entry(actor, state)
        self._supervisor.start(
            ChildSpec(
                name=actor.name,
                run=lambda: self._live(key, entry),
                restart=Restart.TRANSIENT,
                intensity=self._intensity,
                backoff=self._backoff,
                on_crash=lambda error, life: self._crashed(entry, error, life),
                on_quarantine=lambda: self._quarantined(entry),
                on_exit=lambda: self._gone(key, entry),
            )
        )
        self._entries[key] = entry
        return entry

    async def _live(self, key: K, entry: _Entry[A]) -> None:
        if entry.state is State.QUARANTINED:
            if self._closed:
                return
            # Lifted. The mailbox of the old one is closed, so this is another actor.
            entry.actor = self._factory(key)
            entry.enter(State.RESTARTING)
        try:
            await self._run(entry)
        except Exception as error:
            if entry.state is not State.STARTING:
                raise
            # Not a crash: whoever asked decides what it means (no such room, database away).
            entry.error = sole_error(error)
            if not entry.changed.statistics().tasks_waiting:
                log.exception(
                    "actor_did_not_start", actor=entry.actor.name, crash_id=crash_id(entry.error)
                )

    async def _run(self, entry: _Entry[A]) -> None:
        """Run one life, and another when a message came between the actor's decision to end and
        its end."""
        actor, mailbox = entry.actor, entry.actor.mailbox
        idle_lives = 0
        while True:
            taken = mailbox.taken
            try:
                await actor.run(started=lambda: self._started(entry))
            except* MailboxClosed as closed:
                # No name for the other half: an error that a local of its own traceback's frame
                # holds, and all that the frame holds, is left to the cycle collector.
                others = closed.split(lambda e: getattr(e, "mailbox", None) is mailbox)[1]
                if others is not None:
                    raise others from None
            if not len(mailbox):
                # No checkpoint since the look: nothing can have been put in between.
                mailbox.close()
                return
            idle_lives = idle_lives + 1 if mailbox.taken == taken else 0
            if idle_lives > 1:
                raise RuntimeError(f"{actor.name} ends and leaves its messages")
            await trio.lowlevel.checkpoint()

    def _started(self, entry: _Entry[A]) -> None:
        if entry.state in (State.STARTING, State.RESTARTING):
            entry.enter(State.STOPPING if entry.actor.mailbox.closed else State.LIVE)

    def _crashed(self, entry: _Entry[A], error: Exception, life: int) -> bool | None:
        if entry.state is State.LIVE:
            entry.enter(State.RESTARTING)
        return None if self._on_crash is None else self._on_crash(entry.actor, error, life)

    def _quarantined(self, entry: _Entry[A]) -> None:
        entry.enter(State.QUARANTINED)
        self._close_and_hand_back(entry)
        if self._on_quarantine is not None:
            self._on_quarantine(entry.actor)

    def _gone(self, key: K, entry: _Entry[A]) -> None:
        if entry.actor.name not in self._supervisor.quarantined:
            del self._entries[key]
        entry.notify()
        self._close_and_hand_back(entry)

    def _close_and_hand_back(self, entry: _Entry[A]) -> None:
        entry.actor.mailbox.close()
        messages = entry.actor.mailbox.drain()
        if messages and self._undelivered is not None:
            self._undelivered(entry.actor, messages)
