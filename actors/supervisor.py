"""Keeps actors running: restarts, restart intensity, quarantine.

Elixir's supervision, one_for_one, inside one trio nursery. A child is a function that lives one
life per call; what happens when a life ends is the child's `Restart`. Too many restarts within the
sliding window of its `Intensity` put that one child into quarantine, where an operator sees it and
can lift it; its siblings never notice.

What counts as what:

- a return is a normal end (a restart only for a permanent child);
- an `Exception`, or a group of them from a nursery inside the child, is a crash;
- `trio.Cancelled` is never swallowed: it ends the child, through `Supervisor.stop` or with the
supervisor;
- any other `BaseException` is not the child's own matter: it ends the supervisor and leaves `run`.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from types import MappingProxyType

import structlog
import trio

from actors.mailbox import ActorsError

log = structlog.stdlib.get_logger(__name__)


class SupervisorStopped(ActorsError):
    """The supervisor is not running, or ends: it starts no more children."""


class Restart(Enum):
    """When a child gets another life."""

    PERMANENT = "permanent"
    """Always, after a return too."""
    TRANSIENT = "transient"
    """After a crash only."""
    TEMPORARY = "temporary"
    """Never."""


@dataclass(frozen=True, slots=True)
class Intensity:
    """How many restarts within `window_s` seconds a child may use up; one more is the
    quarantine."""

    restarts: int = 5
    window_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Backoff:
    """Pause before a restart that does not count: `first_s`, doubled each time up to `max_s`
    seconds.

    A restart that counts is immediate and starts the row anew, and so does a life of more than
    `max_s`.
    """

    first_s: float = 0.1
    max_s: float = 2.0


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """One child: what it is called, how it lives, what is to happen when it dies.

    `run` is one life: each call is a fresh one. The hooks are called in the child's task and must
    not wait; a hook that raises is logged and otherwise ignored:

    - `on_crash(error, life)` after each crash, `life` counting from 1. A group of one is given as
    its one
      exception. Returning False says that this crash uses up no restart (the database is away); the
      next life then begins after a pause of `backoff`.
    - `on_quarantine()` when the child enters quarantine; `Supervisor.quarantined` has it by then.
    - `on_exit()` last of all, once per start, whatever ended the child.
    """

    name: str
    run: Callable[[], Awaitable[None]]
    restart: Restart = Restart.PERMANENT
    intensity: Intensity = Intensity()
    backoff: Backoff = Backoff()
    on_crash: Callable[[Exception, int], bool | None] | None = None
    on_quarantine: Callable[[], None] | None = None
    on_exit: Callable[[], None] | None = None


@dataclass(frozen=True, slots=True)
class Quarantine:
    """Why a child is not running: `since` in UTC, the kind of the last error, its id in the log.

    `reason` is the error's type only: its text may carry what nobody but a player may see.
    """

    since: datetime
    reason: str
    crash_id: str


@dataclass(slots=True)
class _Child:
    spec: ChildSpec
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    finished: trio.Event = field(default_factory=trio.Event)
    life: int = 0
    restarts: deque[float] = field(default_factory=deque)
    """When (trio's clock) the restarts within the window that count took place."""
    pause_s: float = 0.0
    """The last pause of the back-off; 0 when none is running."""


def crash_id(error: BaseException) -> str:
    """Return the id under which an error is found in the log, the same one for each call.

    An actor that answers the client of a poisonous command before it lets the error out gives this
    id.
    """
    found = getattr(error, "_crash_id", None)
    if not isinstance(found, str):
        found = secrets.token_hex(6)
        error._crash_id = found  # type: ignore[attr-defined]
    return found


def sole_error(error: Exception) -> Exception:
    """Return the one exception inside nested groups of one; anything else as it is."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


class Supervisor:
    """Runs children, each in a task of its own, in one nursery that lives in `run`.

    `now` gives the UTC time for `Quarantine.since`.
    """

    def __init__(self, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._now = now
        self._nursery: trio.Nursery | None = None
        self._children: dict[str, _Child] = {}
        self._quarantined: dict[str, Quarantine] = {}
        self._set_aside: dict[str, ChildSpec] = {}

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run the children until cancelled; `started` says that `start` may be called.

        Cancellation cancels all children and waits for them (commits that they shield are
        finished). An error that is no `Exception` of a child leaves as a group, after all children
        were cancelled.
        """
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            try:
                await trio.sleep_forever()
            finally:
                # From here on a new child would only be cancelled at once, and whoever asked for
                # it would ask again.
                self._nursery = None

    @property
    def quarantined(self) -> Mapping[str, Quarantine]:
        """The children in quarantine by name, as a live read-only view."""
        return MappingProxyType(self._quarantined)

    def is_running(self, name: str) -> bool:
        """Whether the child has a task: it lives, or waits for its next life."""
        return name in self._children

    def start(self, spec: ChildSpec) -> None:
        """Start a child; its first life begins with the next turn of the scheduler.

        Raises `SupervisorStopped`, or `ValueError` when a child of that name runs or is in
        quarantine.
        """
        if self._nursery is None:
            raise SupervisorStopped("the supervisor is not running")
        if spec.name in self._children:
            raise ValueError(f"child {spec.name!r} is running already")
        if spec.name in self._quarantined:
            raise ValueError(f"child {spec.name!r} is in quarantine: lift it")
        child = _Child(spec)
        self._children[spec.name] = child
        self._nursery.start_soon(self._supervise, child, name=spec.name)

    async def stop(self, name: str) -> None:
        """Cancel a child and wait until it is gone; nothing when it is not running.

        It is not restarted. A child that stops itself is cancelled right there. When the wait
        is cancelled the child ends all the same.
        """
        child = self._children.get(name)
        if child is None:
            await trio.lowlevel.checkpoint()
            return
        child.scope.cancel()
        await child.finished.wait()

    def lift(self, name: str) -> None:
        """Start a child in quarantine again, with all its restarts to use up.

        Raises `KeyError` when it is not in quarantine, `SupervisorStopped` as `start` does.
        """
        spec, quarantine = self._set_aside.pop(name), self._quarantined.pop(name)
        try:
            self.start(spec)
        except SupervisorStopped:
            self._set_aside[name], self._quarantined[name] = spec, quarantine
            raise

    async def _supervise(self, child: _Child) -> None:
        try:
            with child.scope:
                await self._live_and_restart(child)
        finally:
            del self._children[child.spec.name]
            child.finished.set()
            self._call_hook(child, child.spec.on_exit)

    async def _live_and_restart(self, child: _Child) -> None:
        spec = child.spec
        while True:
            child.life += 1
            begun = trio.current_time()
            crash: Exception | None = None
            counts = True
            try:
                await spec.run()
            except* Exception as group:
                # What is not an `Exception` in the group goes on from here by itself.
                crash = sole_error(group)
                counts = self._crashed(child, crash)
            if spec.restart is Restart.TEMPORARY:
                return
            if spec.restart is Restart.TRANSIENT and crash is None:
                return
            if trio.current_time() - begun > spec.backoff.max_s:
                child.pause_s = 0.0
            if counts:
                if self._used_up(child):
                    self._put_into_quarantine(child, crash)
                    return
                child.pause_s = 0.0
            else:
                child.pause_s = min(child.pause_s * 2 or spec.backoff.first_s, spec.backoff.max_s)
            await trio.sleep(child.pause_s)

    def _used_up(self, child: _Child) -> bool:
        now = trio.current_time()
        restarts, intensity = child.restarts, child.spec.intensity
        restarts.append(now)
        while restarts[0] < now - intensity.window_s:
            restarts.popleft()
        return len(restarts) > intensity.restarts

    def _crashed(self, child: _Child, error: Exception) -> bool:
        spec = child.spec
        counts = True
        if spec.on_crash is not None:
            try:
                counts = spec.on_crash(error, child.life) is not False
            except Exception:
                log.exception("actor_hook_failed", actor=spec.name)
        if counts:
            log.error(
                "actor_crashed",
                actor=spec.name,
                life=child.life,
                crash_id=crash_id(error),
                exc_info=error,
            )
        else:
            # Expected, and the same for a thousand actors at once: no traceback.
            log.warning("actor_set_back", actor=spec.name, life=child.life, error=repr(error))
        return counts

    def _put_into_quarantine(self, child: _Child, error: Exception | None) -> None:
        name = child.spec.name
        quarantine = Quarantine(
            since=self._now(),
            reason="ended again and again" if error is None else type(error).__name__,
            crash_id=secrets.token_hex(6) if error is None else crash_id(error),
        )
        self._quarantined[name] = quarantine
        self._set_aside[name] = child.spec
        log.error(
            "actor_quarantined", actor=name, reason=quarantine.reason, crash_id=quarantine.crash_id
        )
        self._call_hook(child, child.spec.on_quarantine)

    def _call_hook(self, child: _Child, hook: Callable[[], None] | None) -> None:
        if hook is None:
            return
        try:
            hook()
        except Exception:
            log.exception("actor_hook_failed", actor=child.spec.name)
