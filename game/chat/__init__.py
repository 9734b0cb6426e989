"""Support chat: one conversation between a player and the club's staff, as pure rules.

`state` is a session as its actor holds it, `decision` what deciding yields, `decide` the one way
in; `messages` is what is said and how far it got, `handling` what staff do with the session,
`outside` what SQL by others means.
"""

from game.chat.decide import decide
from game.chat.decision import ChatContext, ChatDecision, SessionOver
from game.chat.outside import reconcile
from game.chat.state import (
    ChatState,
    ChatWrite,
    Said,
    Unread,
    Unsaid,
    fresh_session,
    session_view,
)

__all__ = [
    "ChatContext",
    "ChatDecision",
    "ChatState",
    "ChatWrite",
    "Said",
    "SessionOver",
    "Unread",
    "Unsaid",
    "decide",
    "fresh_session",
    "reconcile",
    "session_view",
]
