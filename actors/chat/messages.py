"""What a chat session's mailbox takes."""

from collections.abc import Callable
from typing import NamedTuple

from protocol.commands import AnyChatCommand
from protocol.errors import Refused
from protocol.principal import Principal
from protocol.replies import Ok


class Opening(NamedTuple):
    """Whose session it is to be, where there is none yet."""

    player_id: str
    player_name: str


class ChatAsk(NamedTuple):
    """A principal's command; `answer` is called exactly once, and must not wait.

    With an `opening` a message makes the session. `staff_name` is how somebody is called whom the
    session is given to. A refusal that is a `SessionOver` means that the message is for another
    session.
    """

    command: AnyChatCommand
    principal: Principal
    source: str
    answer: Callable[[Ok | Refused], None]
    opening: Opening | None = None
    staff_name: str | None = None

    @property
    def kind(self) -> str:
        """The command's `type` on the wire."""
        return str(type(self.command).__struct_config__.tag)


class WrittenOutside(NamedTuple):
    """Word that somebody wrote to the session past its servers."""


ChatItem = ChatAsk | WrittenOutside
