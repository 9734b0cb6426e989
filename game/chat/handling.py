"""What staff do with a chat session: take it, give it, resolve it, say how urgent it is."""

from msgspec import UNSET

from game.chat.decision import ChatContext, ChatDecision
from game.chat.state import ChatState, plain_name, session_view
from protocol.chat_events import ChatAssigned, ChatStatusChanged, ChatStatusUpdated
from protocol.commands import ChatAssign, SetChatStatus
from protocol.errors import ErrorCode, Refused, bad_field
from protocol.principal import Principal
from protocol.replies import ChatChanged, Ok
from protocol.values import AnyChatStatus, ChatStatus, OlderChatStatus

_OLDER_WORDS: dict[ChatStatus, OlderChatStatus] = {
    "waiting": "pending",
    "in_progress": "active",
    "resolved": "resolved",
}
_OUR_WORDS: dict[AnyChatStatus, ChatStatus] = {
    **{ours: ours for ours in _OLDER_WORDS},
    **{older: ours for ours, older in _OLDER_WORDS.items()},
}


def status_of(word: AnyChatStatus) -> ChatStatus:
    """Say a status, which may be in an older client's words, in ours."""
    return _OUR_WORDS[word]


def older_word(status: ChatStatus) -> OlderChatStatus:
    """Say a status as older clients do."""
    return _OLDER_WORDS[status]


def set_status(
    state: ChatState,
    command: SetChatStatus,
    principal: Principal,
    ctx: ChatContext,
    out: ChatDecision,
) -> Ok:
    """Resolve or reopen a session, or say how urgent it is.

    Raises:
        Refused: `forbidden` for a player, `bad_request` where neither is said.
    """
    _require_staff(principal)
    if command.status is None and command.urgency is None:
        raise bad_field("status", "Say a status or an urgency.")
    if command.urgency is not None and command.urgency != state.urgency:
        out.audit(principal, "chat_urgency", ctx, before=state.urgency, after=command.urgency)
        state.urgency = command.urgency
        _tell_status(state, state.status, principal.user_id, ctx, out)
    if command.status is not None:
        status = status_of(command.status)
        if status != state.status:
            out.audit(principal, "chat_status", ctx, before=state.status, after=status)
            enter_status(state, status, principal.user_id, ctx, out)
    return ChatChanged(seq=state.seq, session=session_view(state))


def assign(
    state: ChatState,
    command: ChatAssign,
    principal: Principal,
    ctx: ChatContext,
    out: ChatDecision,
) -> Ok:
    """Give a session to somebody of the staff, or to nobody; one that waits is in work then.

    Raises:
        Refused: `forbidden` for a player, `conflict` for a resolved session.
    """
    _require_staff(principal)
    if state.status == "resolved":
        raise Refused(ErrorCode.CONFLICT, "This conversation is over; reopen it first.")
    staff_id = principal.user_id if command.staff_id is UNSET else command.staff_id
    if staff_id != state.assigned_staff:
        out.audit(principal, "chat_assign", ctx, before=state.assigned_staff, after=staff_id)
        give_to(state, principal, staff_id, None if staff_id is None else ctx.staff_name, ctx, out)
    if staff_id is not None and state.status == "waiting":
        enter_status(state, "in_progress", principal.user_id, ctx, out)
    return ChatChanged(seq=state.seq, session=session_view(state))


def give_to(
    state: ChatState,
    by: Principal,
    staff_id: str | None,
    staff_name: str | None,
    ctx: ChatContext,
    out: ChatDecision,
) -> None:
    """Make somebody, or nobody, the one who sees to the session."""
    state.assigned_staff = staff_id
    state.assigned_staff_name = (
        None if staff_id is None else plain_name(staff_name or staff_id, staff_id)
    )

    def event() -> ChatAssigned:
        return ChatAssigned(
            session_id=state.session_id,
            assigned_staff=state.assigned_staff,
            assigned_staff_name=state.assigned_staff_name,
            by=by.user_id,
        )

    out.emit(event(), event(), ctx.now)


def enter_status(
    state: ChatState, status: ChatStatus, by: str, ctx: ChatContext, out: ChatDecision
) -> None:
    """Go over to another status and tell so."""
    before, state.status = state.status, status
    state.resolved_at = ctx.now if status == "resolved" else None
    if status == "waiting":
        state.waiting_since = ctx.now
    _tell_status(state, before, by, ctx, out)


def _tell_status(
    state: ChatState, before: ChatStatus, by: str, ctx: ChatContext, out: ChatDecision
) -> None:
    out.emit(
        ChatStatusChanged(
            session_id=state.session_id,
            from_=before,
            to=state.status,
            by=by,
            urgency=state.urgency,
        ),
        ChatStatusUpdated(session_id=state.session_id, status=state.status),
        ctx.now,
    )


def _require_staff(principal: Principal) -> None:
    if not principal.is_staff:
        raise Refused(ErrorCode.FORBIDDEN, "Only staff may do this.")
