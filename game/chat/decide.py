"""The one way into the rules of a chat session: a command on a state, decided or refused."""

from typing import assert_never

from game.chat import handling, messages
from game.chat.decision import ChatContext, ChatDecision
from game.chat.state import ChatState
from protocol.commands import (
    AnyChatCommand,
    ChatAssign,
    ChatRead,
    ChatReceived,
    ChatSend,
    ChatTyping,
    SetChatStatus,
)
from protocol.errors import ErrorCode, Refused
from protocol.principal import Principal
from protocol.replies import Ok


def decide(
    state: ChatState,
    command: AnyChatCommand,
    principal: Principal,
    ctx: ChatContext,
    out: ChatDecision,
) -> Ok:
    """Decide a command; the state is changed then, `out` grows, and the reply is returned.

    Raises:
        Refused: the command is not to be; nothing has changed. `not_found` for anybody but the
            session's player and staff, who need not know that there is one.
        SessionOver: a player's message needs another session.
    """
    if not principal.is_staff and principal.user_id != state.player_id:
        raise no_session()
    if not state.opened and not isinstance(command, ChatSend):
        raise no_session()
    match command:
        case ChatSend():
            if command.player_id not in (None, state.player_id):
                # Staff named a session and a player who do not belong together.
                raise no_session()
            return messages.send(state, command, principal, ctx, out)
        case ChatReceived():
            return messages.receive(state, command, principal, ctx, out)
        case ChatRead():
            return messages.read(state, command, principal, ctx, out)
        case ChatTyping():
            return messages.typing(state, command, principal, ctx, out)
        case SetChatStatus():
            return handling.set_status(state, command, principal, ctx, out)
        case ChatAssign():
            return handling.assign(state, command, principal, ctx, out)
        case _:
            assert_never(command)


def no_session() -> Refused:
    """Make the refusal for a session that is not there, or not the asker's."""
    return Refused(ErrorCode.NOT_FOUND, "There is no such conversation.")
