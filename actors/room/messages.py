"""What a room's mailbox takes."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

from actors.hub import Subscriber, Subscription
from game.decide import InternalCommand
from protocol.commands import AnyRoomCommand
from protocol.errors import Refused
from protocol.principal import Principal
from protocol.replies import Ok


class Sender(Subscriber, Protocol):
    """The socket that a command came by."""

    def cork(self) -> None:
        """Gather what is enqueued until `uncork`; called again before that, it does nothing."""

    def uncork(self) -> None:
        """Send what was gathered, in one go; without `cork` it does nothing."""


class Ask(NamedTuple):
    """A principal's command; `answer` is called exactly once, and must not wait.

    With a `subscriber`, a command that makes its user a member also subscribes it to the room.
    """

    command: AnyRoomCommand
    principal: Principal
    source: str
    answer: Callable[[Ok | Refused], None]
    subscriber: Sender | None = None

    @property
    def key(self) -> tuple[str, str] | None:
        """What the command happens at most once by: its user and its id, if it has one."""
        command_id = self.command.command_id
        return None if command_id is None else (self.principal.user_id, command_id)

    @property
    def kind(self) -> str:
        """The command's `type` on the wire."""
        return str(type(self.command).__struct_config__.tag)


class Attach(NamedTuple):
    """A wish to have the room's events; answered with a held subscription, or refused."""

    principal: Principal
    subscriber: Subscriber
    answer: Callable[[Subscription | Refused], None]


class Disowned(NamedTuple):
    """Word that another process has taken the room over."""


class WrittenOutside(NamedTuple):
    """Word that somebody wrote to the room past its server."""


Message = Ask | Attach | Disowned | WrittenOutside | InternalCommand
