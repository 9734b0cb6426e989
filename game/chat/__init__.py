"""Support chat: one conversation between a player and the club's staff, as pure rules.

`state` is a session as its actor holds it, `decision` what deciding yields, `decide` the one way
in; `messages` is what is said and how far it got, `handling` what staff do with the session.
"""

from game.chat.decide import decide
from game.chat.decision import ChatContext, ChatDecision, SessionOver
from game.chat.state import ChatState, Said, Unread, fresh_session, session_view

__all__ = [
    "ChatContext",
    "ChatDecision",
    "ChatState",
    "Said",
    "SessionOver",
    "Unread",
    "decide",
    "fresh_session",
    "session_view",
]
