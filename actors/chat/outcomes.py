"""At most once: what a command is answered that the database has carried out before."""

import msgspec

from actors.chat.messages import ChatAsk
from actors.refusals import used_otherwise
from game.chat import ChatState, SessionOver
from game.chat.messages import sent_again
from persistence import chats, events
from persistence.pool import Pool
from protocol.commands import ChatSend
from protocol.errors import ErrorCode, Refused
from protocol.replies import REPLIES, ChatChanged, Ok

COMMANDS_KEY = "commands_key"
MESSAGES_KEY = "chat_messages_key"
SESSIONS_KEY = "chat_sessions_pkey"
OPEN_SESSION_KEY = "chat_sessions_open_key"


async def known_outcome(
    pool: Pool, ask: ChatAsk, player_id: str, constraint: str
) -> Ok | Refused | None:
    """Say what a command is answered that violates a constraint of the schema.

    Returns:
        The first outcome of a command or message that is there already; `SessionOver` where the
        player has another open session meanwhile; None for a constraint that means nothing to a
        client.

    Raises:
        Unavailable: the database is away.
    """
    if constraint == OPEN_SESSION_KEY:
        if ask.opening is not None:
            return SessionOver()
        return Refused(ErrorCode.CONFLICT, "The player has another open conversation.")
    if constraint == MESSAGES_KEY and isinstance(ask.command, ChatSend):
        return await _sent_before(pool, ask, ask.command.message_id, player_id)
    if constraint == COMMANDS_KEY:
        return await _done_before(pool, ask, player_id)
    return None


async def _sent_before(
    pool: Pool, ask: ChatAsk, message_id: str, player_id: str
) -> Ok | Refused | None:
    said = await chats.find_said(pool, message_id, player_id)
    if said is None:
        return None
    stored = await chats.load_session(pool, said.message.session_id)
    if stored is None:
        return None
    state: ChatState = stored.state
    try:
        return sent_again(state, said, ask.principal)
    except Refused as refusal:
        return refusal


async def _done_before(pool: Pool, ask: ChatAsk, player_id: str) -> Ok | Refused | None:
    command = ask.command
    command_id = command.command_id
    assert command_id is not None
    found = await events.outcome_of(pool, command_id, ask.principal.user_id)
    if found is None:
        return None
    kind, _, stored = found
    if kind != ask.kind:
        return used_otherwise()
    reply = msgspec.json.decode(stored, type=REPLIES[type(command)])
    assert isinstance(reply, ChatChanged)
    # A message that is sent again may find another session of its player open.
    alike = (
        reply.session.player_id == player_id
        if isinstance(command, ChatSend)
        else reply.session.id == command.session_id
    )
    return reply if alike else used_otherwise()
