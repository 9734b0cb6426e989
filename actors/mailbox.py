"""The bounded queue in front of an actor.

A sender never waits: it hands its item over at once or learns at once why not. `MailboxFull` means
that the actor has more waiting than it should (the sender tells its client `busy`);
`MailboxClosed` means that this actor ends (the sender looks the actor up again). Only the one
actor that owns the mailbox receives, and it takes all that waits in one go, so that several
commands can become one commit unit.

A trio memory channel would do, but hands items over one by one, one task switch each, and has no
door for internal messages that must not be refused.

Errors of this package::

    ActorsError
    ├── MailboxFull
    ├── MailboxClosed
    ├── SupervisorStopped    (actors.supervisor)
    ├── Quarantined          (actors.registry)
    ├── RegistryClosed       (actors.registry)
    └── HoldOverflow         (actors.hub)
"""

from __future__ import annotations

from collections import deque
from math import inf
from typing import Generic, TypeVar

import trio

T = TypeVar("T")

DEFAULT_LIMIT = 256
"""Most items that one `Mailbox.receive` returns unless told otherwise."""


class ActorsError(Exception):
    """Root of this package's errors."""


class MailboxFull(ActorsError):
    """The mailbox holds as many ordinary items as it may. Nothing was put."""

    def __init__(self, capacity: int) -> None:
        super().__init__(f"mailbox is full ({capacity} items)")
        self.capacity = capacity


class MailboxClosed(ActorsError):
    """The mailbox takes no more items, or has none left to give. Nothing was put.

    `mailbox` is the one that is closed, so that an actor can tell its own end from another's.
    """

    def __init__(self, mailbox: object) -> None:
        super().__init__("mailbox is closed")
        self.mailbox = mailbox


class Mailbox(Generic[T]):
    """A queue with many senders that never wait and one receiver.

    `capacity` (1 or more) bounds the ordinary items; urgent ones are not counted. Urgent items are
    received before ordinary ones; within each kind the order is that of putting.
    """

    __slots__ = ("_capacity", "_closed", "_ordinary", "_receiver", "_taken", "_urgent")

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise ValueError(f"capacity must be 1 or more, not {capacity}")
        self._capacity = capacity
        self._ordinary: deque[T] = deque()
        self._urgent: deque[T] = deque()
        self._closed = False
        self._receiver: trio.lowlevel.Task | None = None
        self._taken = 0

    def __len__(self) -> int:
        return len(self._ordinary) + len(self._urgent)

    @property
    def capacity(self) -> int:
        """How many ordinary items may wait."""
        return self._capacity

    @property
    def closed(self) -> bool:
        """Whether `close` was called; items may still wait to be received."""
        return self._closed

    @property
    def taken(self) -> int:
        """How many items were ever received or drained."""
        return self._taken

    def put_nowait(self, item: T) -> None:
        """Put an item at the end.

        Raises `MailboxFull` or `MailboxClosed`; the mailbox is unchanged then.
        """
        if self._closed:
            raise MailboxClosed(self)
        if len(self._ordinary) >= self._capacity:
            raise MailboxFull(self._capacity)
        self._ordinary.append(item)
        if self._receiver is not None:
            self._wake()

    def put_urgent_nowait(self, item: T) -> None:
        """Put an internal item before the ordinary ones, whatever the capacity.

        For what the actor's own surroundings tell it (a lost lease, a completed commit): few, and
        never to be refused because clients are busy. Raises `MailboxClosed`; the mailbox is
        unchanged then.
        """
        if self._closed:
            raise MailboxClosed(self)
        self._urgent.append(item)
        if self._receiver is not None:
            self._wake()

    async def receive(self, *, deadline: float = inf, limit: int = DEFAULT_LIMIT) -> list[T]:
        """Wait for items and take all that are there, up to `limit` (1 or more).

        `deadline` is on trio's clock. Returns at least one item, or `[]` when the deadline passed
        first; items that wait already are returned even after the deadline. Raises `MailboxClosed`
        when the mailbox is closed and empty, and `trio.BusyResourceError` when another task
        receives. Cancellation takes nothing: the items stay for the next `receive`.
        """
        if limit < 1:
            raise ValueError(f"limit must be 1 or more, not {limit}")
        if self._urgent or self._ordinary:
            # Not a full checkpoint: a busy actor would pay a task switch per batch, and it waits
            # for its commit anyway before it comes back here.
            await trio.lowlevel.checkpoint_if_cancelled()
        elif self._closed:
            await trio.lowlevel.checkpoint()
            raise MailboxClosed(self)
        elif deadline == inf:
            await self._wait()
        else:
            with trio.move_on_at(deadline):
                await self._wait()
        items = self._take(limit)
        if not items and self._closed:
            raise MailboxClosed(self)
        return items

    def close(self) -> None:
        """Take no more items; those that wait can still be received. Twice is harmless."""
        self._closed = True
        if self._receiver is not None:
            self._wake()

    def drain(self) -> list[T]:
        """Take everything that waits, urgent items first, without waiting."""
        return self._take(len(self))

    async def _wait(self) -> None:
        if self._receiver is not None:
            raise trio.BusyResourceError("another task is receiving from this mailbox")
        self._receiver = trio.lowlevel.current_task()

        def abort(_: object) -> trio.lowlevel.Abort:
            self._receiver = None
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    def _wake(self) -> None:
        receiver, self._receiver = self._receiver, None
        assert receiver is not None
        trio.lowlevel.reschedule(receiver)

    def _take(self, limit: int) -> list[T]:
        items: list[T] = []
        for queue in (self._urgent, self._ordinary):
            while queue and len(items) < limit:
                items.append(queue.popleft())
        self._taken += len(items)
        return items
