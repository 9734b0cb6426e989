"""The actor of a chat session.

`messages` says what its mailbox takes, `actor` how it lives, `batch` what it decides together,
`outcomes` what a command is answered that the database knows already.
"""

from actors.chat.actor import ChatSessionActor
from actors.chat.messages import ChatAsk, Opening, WrittenOutside
from actors.chat.services import ChatServices

__all__ = [
    "ChatAsk",
    "ChatServices",
    "ChatSessionActor",
    "Opening",
    "WrittenOutside",
]
