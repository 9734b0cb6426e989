"""One entry of a waitlist: found, drawn, ended, noted in the audit log."""

from game.decision import Context, Decision
from game.roles import is_operator
from game.state import RoomState, Waiting
from game.waitlist.queue import end, settle
from game.waitlist.telling import entry_view
from protocol.errors import ErrorCode, Refused
from protocol.principal import Principal
from protocol.replies import EntryReply
from protocol.values import WaitlistStatus
from protocol.views import WaitlistEntry


def found(state: RoomState, entry_id: str) -> Waiting:
    """Return a live entry.

    Raises:
        Refused: `not_found`.
    """
    for entry in state.waitlist:
        if entry.entry_id == entry_id:
            return entry
    raise Refused(ErrorCode.NOT_FOUND, "Nobody waits at this table under this id.")


def require_own_or_operator(state: RoomState, entry: Waiting, principal: Principal) -> None:
    """Refuse whoever neither waits under an entry nor runs the room.

    Raises:
        Refused: `forbidden`.
    """
    if entry.player_id != principal.user_id and not is_operator(state, principal):
        raise Refused(ErrorCode.FORBIDDEN, "This entry is somebody else's.")


def require_called(entry: Waiting) -> None:
    """Refuse an entry that still waits.

    Raises:
        Refused: `conflict`.
    """
    if entry.status != "called":
        raise Refused(ErrorCode.CONFLICT, "This player has not been called.")


def view(state: RoomState, entry: Waiting, principal: Principal) -> WaitlistEntry:
    """Draw an entry as a principal may see it."""
    return entry_view(state, entry, notes=is_operator(state, principal))


def settled(
    state: RoomState, entry: Waiting, principal: Principal, ctx: Context, out: Decision
) -> EntryReply:
    """Bring the queue to rest and answer an entry as it is then."""
    settle(state, ctx, out)
    return EntryReply(seq=state.seq, entry=view(state, entry, principal))


def ended(
    state: RoomState,
    entry: Waiting,
    status: WaitlistStatus,
    step: str,
    principal: Principal,
    ctx: Context,
    out: Decision,
) -> EntryReply:
    """End an entry by somebody's step, and answer it."""
    audit(entry, step, principal, ctx, out)
    end(state, entry, status, ctx, out)
    return settled(state, entry, principal, ctx, out)


def take_off(
    state: RoomState,
    entry: Waiting,
    step: str,
    principal: Principal,
    ctx: Context,
    out: Decision,
) -> EntryReply:
    """End an entry before it came to a seat: who is called and says so has declined.

    Raises:
        Refused: `forbidden` for somebody else's entry, except to host and staff.
    """
    require_own_or_operator(state, entry, principal)
    declines = entry.status == "called" and entry.player_id == principal.user_id
    status: WaitlistStatus = "declined" if declines else "cancelled"
    return ended(state, entry, status, step, principal, ctx, out)


def audit(
    entry: Waiting,
    step: str,
    principal: Principal,
    ctx: Context,
    out: Decision,
    **details: object,
) -> None:
    """Note a step in the audit log; `step` is the command's name."""
    out.audit(principal, step, ctx, entry.player_id, entry_id=entry.entry_id, **details)
