"""Coming in and going out: join, approve, reject, spectate, leave, kick."""

from game import pushes, waitlist
from game.decision import Context, Decision, TokenGrant
from game.departures import add_spectator, drop_member, drop_spectator, leave
from game.play import schedule, settle_turn
from game.roles import (
    name_in,
    require_ban_lifted,
    require_let_in,
    require_not_banned,
    require_operator,
    role_of,
)
from game.state import Leaving, Member, RoomState
from protocol.audience import Audience
from protocol.commands import Approve, Join, Kick, LeaveRoom, Reject, Spectate
from protocol.errors import ErrorCode, Refused, bad_field
from protocol.events import (
    MembershipApproved,
    MembershipRejected,
    PlayerApproved,
    PlayerJoinRequested,
    PlayerJoinWithdrawn,
    PlayerKicked,
    PlayerRejected,
)
from protocol.principal import Principal
from protocol.replies import Changed, Joined, RoleTaken, SeatLeft


def join(
    state: RoomState, command: Join, principal: Principal, ctx: Context, out: Decision
) -> Joined:
    """Ask to be let in; where no approval is needed (and for staff) that is granted at once.

    A host without a socket gets the request as a push notification. That staff came in is audited,
    since nobody else could keep them out.

    Raises:
        Refused: `forbidden` for who is banned and within the cool-down after a rejection,
            `already_joined`, `room_full`.
    """
    require_not_banned(state, principal)
    user_id = principal.user_id
    role = role_of(state, user_id)
    if role != "guest":
        raise Refused(ErrorCode.ALREADY_JOINED, "You are in this room already.", {"role": role})
    rejected = state.members.get(user_id)
    if rejected is not None and rejected.decided_at is not None:
        wait_ms = rejected.decided_at + ctx.reject_cooldown_ms - ctx.now
        if wait_ms > 0:
            raise Refused(
                ErrorCode.FORBIDDEN,
                "You were turned down a moment ago; ask again later.",
                {"retry_at": ctx.now + wait_ms},
                retry_after_s=wait_ms / 1000,
            )
    require_room(state, user_id, ctx)
    name = command.display_name or principal.name
    waits = state.settings.requires_approval and principal.role != "staff"
    member = Member(user_id, name, "pending", ctx.now, None, state.seq)
    state.members[user_id] = member
    out.touch_member(user_id)
    if waits:
        out.whisper(PlayerJoinRequested(user_id, name, ctx.now), ctx.now, Audience.OPERATORS)
        if not ctx.host_connected:
            out.write(pushes.join_request(state, member))
    else:
        _approve(member, state, ctx, out)
    if principal.is_staff:
        out.audit(principal, "join", ctx, None)
    return Joined(
        seq=state.seq,
        room_id=state.room_id,
        status="pending" if waits else "approved",
        waiting_for_approval=waits,
    )


def approve(
    state: RoomState, command: Approve, principal: Principal, ctx: Context, out: Decision
) -> Changed:
    """Let a pending user in; they are told on their own channel, with their token.

    Raises:
        Refused: `forbidden` (for who is banned too), `not_found` without a pending request.
    """
    require_operator(state, principal)
    require_ban_lifted(state, command.user_id)
    member = _pending(state, command.user_id)
    _approve(member, state, ctx, out)
    told = MembershipApproved(state.room_id, member.user_id, member.display_name, "")
    out.tell_user(member.user_id, told, ctx.now)
    out.audit(principal, "approve", ctx, member.user_id)
    return Changed(seq=state.seq)


def reject(
    state: RoomState, command: Reject, principal: Principal, ctx: Context, out: Decision
) -> Changed:
    """Turn a pending user down; they may ask again after the cool-down.

    Raises:
        Refused: `forbidden`, `not_found` without a pending request.
    """
    require_operator(state, principal)
    member = _pending(state, command.user_id)
    member.status = "rejected"
    member.decided_at = ctx.now
    out.touch_member(member.user_id)
    out.emit(PlayerRejected(member.user_id), ctx.now)
    retry_at = ctx.now + ctx.reject_cooldown_ms
    told = MembershipRejected(state.room_id, member.user_id, retry_at)
    out.tell_user(member.user_id, told, ctx.now)
    out.audit(principal, "reject", ctx, member.user_id)
    return Changed(seq=state.seq)


def spectate(
    state: RoomState, command: Spectate, principal: Principal, ctx: Context, out: Decision
) -> RoleTaken:
    """Watch.

    Raises:
        Refused: `not_approved`, `already_joined` with a seat or already watching, `forbidden`
            for who is banned and where the room has no spectators.
    """
    require_not_banned(state, principal)
    require_let_in(state, principal)
    user_id = principal.user_id
    if state.seat_of(user_id) is not None:
        raise Refused(ErrorCode.ALREADY_JOINED, "You have a seat; leave it to watch.")
    if user_id in state.spectators:
        raise Refused(ErrorCode.ALREADY_JOINED, "You are watching already.")
    if not state.settings.spectators_allowed and principal.role != "staff":
        raise Refused(ErrorCode.FORBIDDEN, "This room has no spectators.")
    name = command.display_name or name_in(state, principal)
    add_spectator(state, user_id, name, ctx, out)
    if principal.is_staff:
        out.audit(principal, "spectate", ctx, None)
    role = role_of(state, user_id)
    out.grants.append(TokenGrant(user_id, role, None))
    return RoleTaken(seq=state.seq, role=role)


def leave_room(
    state: RoomState, command: LeaveRoom, principal: Principal, ctx: Context, out: Decision
) -> SeatLeft:
    """Leave altogether: a request is withdrawn, a seat is given up first.

    Raises:
        Refused: `not_found` outside the room, `conflict` for the host.
    """
    user_id = principal.user_id
    if user_id == state.host_id:
        raise Refused(ErrorCode.CONFLICT, "Hand the room over or close it first.")
    seat = state.seat_of(user_id)
    if seat is not None:
        chips = seat.chips
        kicked = seat.leaving == "kick"
        how: Leaving = "kick" if kicked else "room"
        gone = leave(state, seat, how, seat.leaving_reason if kicked else None, ctx, out)
        settle_turn(state, seat, ctx, out)
        schedule(state, ctx, out)
        return SeatLeft(seq=state.seq, pending=not gone, chips=chips)
    role = role_of(state, user_id)
    if role == "guest":
        raise Refused(ErrorCode.NOT_FOUND, "You are not in this room.")
    drop_spectator(state, user_id, "left", ctx, out)
    drop_member(state, user_id, out)
    if role == "pending":
        out.emit(PlayerJoinWithdrawn(user_id), ctx.now)
    return SeatLeft(seq=state.seq, pending=False, chips=0)


def kick(
    state: RoomState, command: Kick, principal: Principal, ctx: Context, out: Decision
) -> SeatLeft:
    """Remove a user: seat (after the hand), token and approval.

    Raises:
        Refused: `forbidden`, `bad_request` for the host, `not_found` for who is not in the room.
    """
    require_operator(state, principal)
    user_id = command.user_id
    if user_id == state.host_id:
        raise bad_field("user_id", "The host cannot be kicked.")
    if role_of(state, user_id) == "guest":
        raise Refused(ErrorCode.NOT_FOUND, "This user is not in the room.")
    out.audit(principal, "kick", ctx, user_id, reason=command.reason)
    return put_out(state, user_id, command.reason, ctx, out)


def put_out(
    state: RoomState, user_id: str, reason: str | None, ctx: Context, out: Decision
) -> SeatLeft:
    """Remove somebody who is in the room, telling it `reason`; a seat goes after the hand."""
    seat = state.seat_of(user_id)
    if seat is not None:
        chips = seat.chips
        gone = leave(state, seat, "kick", reason, ctx, out)
        settle_turn(state, seat, ctx, out)
        schedule(state, ctx, out)
        return SeatLeft(seq=state.seq, pending=not gone, chips=chips)
    entry = waitlist.entry_of(state, user_id)
    if entry is not None:
        waitlist.end(state, entry, "cancelled", ctx, out)
    drop_spectator(state, user_id, "kicked", ctx, out)
    drop_member(state, user_id, out)
    out.emit(PlayerKicked(user_id, None, 0, reason), ctx.now)
    return SeatLeft(seq=state.seq, pending=False, chips=0)


def require_room(state: RoomState, user_id: str, ctx: Context) -> None:
    """Refuse one more where the room takes no more people.

    Raises:
        Refused: `room_full`.
    """
    if user_id not in state.members and len(state.members) >= ctx.max_members:
        raise Refused(ErrorCode.ROOM_FULL, "This room takes no more people.")


def admit(state: RoomState, member: Member, ctx: Context, out: Decision) -> None:
    """Let somebody in, and tell so."""
    member.status = "approved"
    member.decided_at = ctx.now
    state.members[member.user_id] = member
    out.touch_member(member.user_id)
    out.emit(PlayerApproved(member.user_id, member.display_name), ctx.now)


def _pending(state: RoomState, user_id: str) -> Member:
    member = state.members.get(user_id)
    if member is None or member.status != "pending":
        raise Refused(ErrorCode.NOT_FOUND, "There is no pending request of this user.")
    return member


def _approve(member: Member, state: RoomState, ctx: Context, out: Decision) -> None:
    admit(state, member, ctx, out)
    out.grants.append(TokenGrant(member.user_id, "approved", None))
