"""The session's inbox: what was written past the server, told as if it had been asked.

The session's own fields are as they were last told (see `persistence.chats`), and what was written
to them since is carried out here, write by write; messages are as the database has them now.
"""

from msgspec import structs

from game.changes import ChatMessageTold, ChatOutsideTold
from game.chat import handling, messages
from game.chat.decision import ChatContext, ChatDecision
from game.chat.state import ChatState, ChatWrite, Said, Unread, plain_name, session_view
from protocol.chat_events import ChatStatusUpdated, NewChatRequest
from protocol.values import ChatSide
from protocol.views import ChatMessage

BY = "system"
"""Who changed what was changed by SQL, as clients are told it."""

WRITES_AT_ONCE = 200
"""How many writes are told in one commit at most: a bulk of them must not overflow the sockets of
those who can keep up."""

_SIDES: tuple[ChatSide, ChatSide] = ("player", "staff")
_NO_MORE = "the conversation stays resolved: the player has another one that is open"


def reconcile(state: ChatState, ctx: ChatContext, out: ChatDecision) -> list[str]:
    """Tell what was written from outside and empty the inbox.

    Of a bulk it tells a part; `state.untold` has the rest. No write that the schema lets pass
    raises.

    Returns:
        What could not be as it was written and was undone, a sentence each.
    """
    ctx = structs.replace(ctx, source="sql")
    writes = _take(state)
    undone: list[str] = []
    if any(_opens(write) for write in writes):
        _open(state, writes, ctx, out)
    read: dict[ChatSide, Unread] = {}
    for write in writes:
        if write.relation == "chat_sessions":
            undone += _correct(state, write, ctx, out)
        elif write.before is None:
            undone += _say(state, write, ctx, out)
        elif write.after is not None:
            _note_receipt(state, write, read, ctx, out)
    for last in read.values():
        messages.note_read(state, last, ctx, out)
    out.changes.append(ChatOutsideTold(state.session_id, writes[-1].id))
    return undone


def _take(state: ChatState) -> list[ChatWrite]:
    """Take out of the inbox what is told now."""
    limit = WRITES_AT_ONCE
    # Whoever opens a session is told of at once, with the message that it was opened with.
    limit = max([limit, *(n + 1 for n, write in enumerate(state.untold) if _opens(write))])
    taken, state.untold = state.untold[:limit], state.untold[limit:]
    return taken


def _opens(write: ChatWrite) -> bool:
    return write.relation == "chat_sessions" and write.before is None


def _is_new_message(write: ChatWrite, state: ChatState) -> bool:
    return (
        write.relation == "chat_messages"
        and write.before is None
        and write.after is not None
        and write.after["id"] in state.unsaid
    )


def _open(state: ChatState, writes: list[ChatWrite], ctx: ChatContext, out: ChatDecision) -> None:
    """Tell that there is a session, with its first message if that has come, too."""
    first = next((write for write in writes if _is_new_message(write, state)), None)
    if first is not None:
        opened_as = state.status
        _say(state, first, ctx, out, opens=True)
        if state.status == opened_as != "waiting":
            # Staff have it with the session; the player has only been told the message.
            handling.tell_status(state, opened_as, BY, ctx, out)
        return
    request = NewChatRequest(session=session_view(state), message=None)
    out.emit(request, ChatStatusUpdated(session_id=state.session_id, status=state.status), ctx.now)
    # The session that is told is the one that it is now.
    request.session = session_view(state)
    if state.status == "waiting":
        messages.push_request(state, None, ctx, out)


def _say(
    state: ChatState,
    write: ChatWrite,
    ctx: ChatContext,
    out: ChatDecision,
    *,
    opens: bool = False,
) -> list[str]:
    """Tell a message, unless it was told with its session, or is gone already."""
    if not _is_new_message(write, state):
        return []
    assert write.after is not None
    unsaid = state.unsaid.pop(write.after["id"])
    # What was said while a conversation was still open that somebody brings along.
    bygone = state.resolved_at is not None and unsaid.timestamp <= state.resolved_at
    message = ChatMessage(
        id=unsaid.id,
        session_id=state.session_id,
        player_id=state.player_id,
        sender=unsaid.sender,
        sender_name=plain_name(unsaid.sender_name, unsaid.sender),
        message_text=unsaid.message_text,
        # In one order with seq, by whichever clock it was written.
        timestamp=max(min(unsaid.timestamp, ctx.now), state.last_message_at or 0),
        seq=state.seq + 1,
        status=unsaid.status,
    )
    told = ChatMessageTold(message.id, state.player_id, message.seq, message.timestamp)
    out.changes.append(told)
    messages.note_said(state, Said(message, unsaid.sender_id), opens=opens, ctx=ctx, out=out)
    if bygone:
        return []
    if state.status == "resolved" and state.elsewhere:
        return [_NO_MORE] if message.sender == "staff" else []
    if message.sender == "staff":
        messages.take_into_work(state, message, BY, unsaid.sender_id, ctx, out)
    elif message.sender == "player":
        if state.status == "resolved":
            handling.enter_status(state, "waiting", BY, ctx, out)
        if opens:
            messages.push_request(state, message, ctx, out)
    return []


def _correct(state: ChatState, write: ChatWrite, ctx: ChatContext, out: ChatDecision) -> list[str]:
    """Carry out what was written to the session's row."""
    before, after = write.before, write.after
    if before is None or after is None:
        return []
    undone = []
    for name in ("player_name", "initial_message"):
        if after[name] != before[name]:
            setattr(state, name, after[name])
    if after["urgency"] != state.urgency and after["urgency"] != before["urgency"]:
        state.urgency = after["urgency"]
        handling.tell_status(state, state.status, BY, ctx, out)
    given = after["assigned_staff"] != before["assigned_staff"]
    if given and after["assigned_staff"] != state.assigned_staff:
        if state.status == after["status"] == "resolved":
            undone.append("nobody is given a conversation that is over")
        else:
            name, shown = after["assigned_staff"], after["assigned_staff_name"]
            handling.give_to(state, BY, name, shown and plain_name(shown, name), ctx, out)
    if after["status"] != before["status"]:
        if after["status"] != "resolved" and state.status == "resolved" and state.elsewhere:
            undone.append(_NO_MORE)
        elif after["status"] != state.status:
            handling.enter_status(state, after["status"], BY, ctx, out)
    elif given and state.assigned_staff is not None and state.status == "waiting":
        handling.enter_status(state, "in_progress", BY, ctx, out)
    for side in _SIDES:
        if after[f"unread_by_{side}"] == 0 and before[f"unread_by_{side}"] != 0:
            unread = [one for one in state.unread.values() if one.reader == side]
            if unread:
                messages.note_read(state, unread[-1], ctx, out)
    return undone


def _note_receipt(
    state: ChatState,
    write: ChatWrite,
    read: dict[ChatSide, Unread],
    ctx: ChatContext,
    out: ChatDecision,
) -> None:
    """Tell that a message has arrived, or remember the last one that a side has read."""
    before, after = write.before, write.after
    assert before is not None
    assert after is not None
    if before["seq"] is None or after["status"] == before["status"]:
        return
    one = Unread(after["id"], after["seq"], after["sender"], after["status"])
    if one.status == "read":
        if one.reader not in read or read[one.reader].seq < one.seq:
            read[one.reader] = one
    elif one.message_id in state.unread:
        messages.note_received(state, one, ctx, out)
