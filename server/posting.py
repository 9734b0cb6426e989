"""Handing messages to actors, and what can keep one from its actor as the refusal of it."""

from typing import Any, Generic, TypeVar

import trio

from actors.mailbox import MailboxClosed, MailboxFull
from actors.registry import Quarantined, Registry, RegistryClosed
from actors.supervisor import SupervisorStopped
from persistence.errors import Unavailable
from protocol.errors import ErrorCode, Refused

T = TypeVar("T")


class Answer(Generic[T]):
    """A place where an actor leaves its answer and a task waits for it."""

    __slots__ = ("_come", "_value")

    def __init__(self) -> None:
        self._come = trio.Event()
        self._value: T | Refused | None = None

    def put(self, value: T | Refused) -> None:
        """Leave the answer."""
        self._value = value
        self._come.set()

    async def get(self) -> T:
        """Wait for the answer.

        Raises:
            Refused: that was the answer.

        Cancellation: the command may be carried out without anybody learning of it.
        """
        await self._come.wait()
        value = self._value
        if isinstance(value, Refused):
            raise value
        assert value is not None
        return value


def post(
    registry: Registry[str, Any],  # whichever actors
    key: str,
    message: object,
    *,
    what: str,
) -> bool:
    """Hand a message to an actor that is live, without waiting.

    Args:
        registry, key, message, what: as for `send`.

    Returns:
        False if the actor is not live; the message is nowhere then.

    Raises:
        Refused: `busy`; the message is nowhere then.
    """
    actor = registry.get(key)
    if actor is None:
        return False
    try:
        actor.mailbox.put_nowait(message)
    except MailboxFull:
        raise busy(what) from None
    except MailboxClosed:
        return False
    return True


async def send(
    registry: Registry[str, Any],  # whichever actors
    key: str,
    message: object,
    *,
    what: str,
    timeout_s: float,
) -> None:
    """Hand a message to an actor, bringing it to life if need be.

    Args:
        registry: whose actor it is.
        key: which actor.
        message: what its mailbox takes.
        what: what the actor is, in sentences for people.
        timeout_s: how long to wait for one that starts or restarts, in seconds.

    Raises:
        Refused: what starting the actor raised, `busy`, `unavailable`, `room_unavailable`; the
            message is nowhere then.
    """
    try:
        with trio.fail_after(timeout_s):
            await registry.send(key, message)
    except MailboxFull:
        raise busy(what) from None
    except Quarantined as quarantined:
        raise Refused(
            ErrorCode.ROOM_UNAVAILABLE,
            f"This {what} is out of order; staff has been told.",
            {"id": quarantined.crash_id},
        ) from None
    except Unavailable as away:
        raise unavailable(away.retry_after_s) from None
    except (trio.TooSlowError, RegistryClosed, SupervisorStopped):
        raise unavailable(1.0) from None


def unavailable(retry_after_s: float) -> Refused:
    """Make the refusal for a database, or a server, that is away."""
    return Refused(
        ErrorCode.UNAVAILABLE,
        "The server cannot do this now; try again.",
        retry_after_s=retry_after_s,
    )


def busy(what: str) -> Refused:
    """Make the refusal for an actor that has more waiting than it should."""
    return Refused(
        ErrorCode.BUSY, f"This {what} has more to do than it can take.", retry_after_s=0.5
    )
