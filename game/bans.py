"""The ban list of a room: who may not come in, whatever its host approves later.

A ban keeps no member of staff out: they may enter any room.
"""

from game.decision import Context, Decision
from game.membership import put_out
from game.roles import require_operator, role_of
from game.state import Ban, RoomState
from protocol import commands
from protocol.audience import Audience
from protocol.errors import ErrorCode, Refused, bad_field
from protocol.events import BanLifted, BanTold, PlayerBanned, PlayerUnbanned
from protocol.principal import Principal
from protocol.replies import Changed, SeatLeft


def ban(
    state: RoomState, command: commands.Ban, principal: Principal, ctx: Context, out: Decision
) -> SeatLeft:
    """Ban a user; who is in the room is kicked by it.

    The room is told who is banned; why, only its operators and the user are.

    Raises:
        Refused: `forbidden`, `bad_request` for the host and for oneself, `conflict` for who is
            banned already, and where the list is as long as a room's members may be.
    """
    require_operator(state, principal)
    user_id = command.user_id
    if user_id == state.host_id:
        raise bad_field("user_id", "The host cannot be banned.")
    if user_id == principal.user_id:
        raise bad_field("user_id", "You cannot ban yourself.")
    if user_id in state.bans:
        raise Refused(ErrorCode.CONFLICT, "This user is banned already.")
    if len(state.bans) >= ctx.max_members:
        raise Refused(ErrorCode.CONFLICT, "This room's ban list is full.")
    made = Ban(user_id, command.reason, principal.user_id, ctx.now)
    state.bans[user_id] = made
    out.touch_ban(user_id)
    out.emit(PlayerBanned(user_id), ctx.now)
    told = BanTold(state.room_id, user_id, made.reason, made.banned_by, made.banned_at)
    out.whisper(told, ctx.now, Audience.OPERATORS)
    out.tell_user(
        user_id, BanTold(state.room_id, user_id, made.reason, None, made.banned_at), ctx.now
    )
    out.audit(principal, "ban", ctx, user_id, reason=made.reason)
    if role_of(state, user_id) == "guest":
        return SeatLeft(seq=state.seq, pending=False, chips=0)
    return put_out(state, user_id, None, ctx, out)


def unban(
    state: RoomState, command: commands.Unban, principal: Principal, ctx: Context, out: Decision
) -> Changed:
    """Lift a ban: the user may ask to be let in again.

    Raises:
        Refused: `forbidden`, `not_found` for who is not banned.
    """
    require_operator(state, principal)
    user_id = command.user_id
    if state.bans.pop(user_id, None) is None:
        raise Refused(ErrorCode.NOT_FOUND, "This user is not banned.")
    out.touch_ban(user_id)
    out.emit(PlayerUnbanned(user_id), ctx.now)
    out.tell_user(user_id, BanLifted(state.room_id, user_id), ctx.now)
    out.audit(principal, "unban", ctx, user_id)
    return Changed(seq=state.seq)
