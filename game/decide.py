"""The one way in: a command on a room's state, decided."""

from typing import assert_never

from game import bans, hosting, membership, play, presence, seating, waitlist
from game.decision import Context, Decision
from game.presence import Gone, Seen, TakenOver, Tick, Unseen
from game.roles import require_open
from game.state import RoomState
from game.waitlist import by_hand, steps
from protocol import commands
from protocol.commands import AnyRoomCommand
from protocol.principal import Principal
from protocol.replies import Changed, Ok

InternalCommand = Tick | Seen | Unseen | Gone | TakenOver


def decide(
    state: RoomState, command: AnyRoomCommand, principal: Principal, ctx: Context, out: Decision
) -> Ok:
    """Decide a member's command: change `state`, add to `out`, return the reply.

    Everything is verified first.

    Raises:
        Refused: the command is not to be; neither `state` nor `out` has changed.
    """
    require_open(state)
    reply = _decided(state, command, principal, ctx, out)
    waitlist.settle(state, ctx, out)
    if isinstance(reply, Changed):
        reply.seq = state.seq
    return reply


def _decided(
    state: RoomState, command: AnyRoomCommand, principal: Principal, ctx: Context, out: Decision
) -> Ok:
    match command:
        case commands.Action():
            play.act(state, command, principal, ctx, out)
            return Changed(seq=state.seq)
        case commands.RunIt():
            play.vote_on_runouts(state, command, principal, ctx, out)
            return Changed(seq=state.seq)
        case commands.Join():
            return membership.join(state, command, principal, ctx, out)
        case commands.Approve():
            return membership.approve(state, command, principal, ctx, out)
        case commands.Reject():
            return membership.reject(state, command, principal, ctx, out)
        case commands.Spectate():
            return membership.spectate(state, command, principal, ctx, out)
        case commands.LeaveRoom():
            return membership.leave_room(state, command, principal, ctx, out)
        case commands.Kick():
            return membership.kick(state, command, principal, ctx, out)
        case commands.Ban():
            return bans.ban(state, command, principal, ctx, out)
        case commands.Unban():
            return bans.unban(state, command, principal, ctx, out)
        case commands.Seat():
            return seating.seat(state, command, principal, ctx, out)
        case commands.LeaveSeat():
            return seating.leave_seat(state, command, principal, ctx, out)
        case commands.SitOut():
            return seating.sit_out_asked(state, command, principal, ctx, out)
        case commands.SitIn():
            return seating.sit_in(state, command, principal, ctx, out)
        case commands.TopUp():
            return seating.top_up(state, command, principal, ctx, out)
        case commands.AdjustChips():
            return seating.adjust_chips(state, command, principal, ctx, out)
        case commands.Start():
            return hosting.start(state, command, principal, ctx, out)
        case commands.Pause():
            return hosting.pause(state, command, principal, ctx, out)
        case commands.Resume():
            return hosting.resume(state, command, principal, ctx, out)
        case commands.ChangeSettings():
            return hosting.change_settings(state, command, principal, ctx, out)
        case commands.TransferHost():
            return hosting.transfer_host(state, command, principal, ctx, out)
        case commands.CloseRoom():
            return hosting.close_room(state, command, principal, ctx, out)
        case commands.WaitlistJoin():
            return steps.join(state, command, principal, ctx, out)
        case commands.WaitlistLeave():
            return steps.leave(state, command, principal, ctx, out)
        case commands.WaitlistAccept():
            return steps.accept(state, command, principal, ctx, out)
        case commands.WaitlistDecline():
            return steps.decline(state, command, principal, ctx, out)
        case commands.WaitlistCall():
            return by_hand.call_out_of_turn(state, command, principal, ctx, out)
        case commands.WaitlistSeat():
            return by_hand.seat(state, command, principal, ctx, out)
        case commands.WaitlistMove():
            return by_hand.move(state, command, principal, ctx, out)
        case commands.WaitlistRemove():
            return by_hand.remove(state, command, principal, ctx, out)
        case commands.WaitlistNoShow():
            return by_hand.no_show(state, command, principal, ctx, out)
        case commands.RigDeck():
            return hosting.rig_deck(state, command, principal, ctx, out)
        case _:
            assert_never(command)


def decide_internal(
    state: RoomState, command: InternalCommand, ctx: Context, out: Decision
) -> None:
    """Decide what the server itself has to say to a room; what no longer applies does nothing."""
    if state.closed:
        return
    match command:
        case Tick():
            tick(state, ctx, out)
        case Seen():
            presence.seen(state, command, ctx, out)
        case Unseen():
            presence.unseen(state, command, ctx, out)
        case Gone():
            presence.gone(state, command, ctx, out)
        case TakenOver():
            presence.taken_over(state, ctx, out)
        case _:
            assert_never(command)
    waitlist.settle(state, ctx, out)


def tick(state: RoomState, ctx: Context, out: Decision) -> None:
    """Do what is due by now: the ends of offers, of the turn's clock or a vote, the next hand."""
    waitlist.expire(state, ctx, out)
    due = _play_deadline(state)
    if due is None or ctx.now < due:
        return
    if state.clock is not None:
        play.clock_ran_out(state, ctx, out)
    elif state.vote is not None:
        play.settle_vote(state, ctx, out)
    elif len(state.ready_seats()) >= 2:
        play.start_hand(state, ctx, out)
    else:
        play.schedule(state, ctx, out)


def next_deadline(state: RoomState) -> int | None:
    """Return when the room next has to do something by itself (UTC, ms), if ever."""
    if state.closed:
        return None
    due, offer_ends = _play_deadline(state), waitlist.next_expiry(state)
    return offer_ends if due is None else due if offer_ends is None else min(due, offer_ends)


def starts_hands(command: object) -> bool:
    """Whether a command may start a hand, and so needs a shuffled deck."""
    return isinstance(command, (Tick, commands.Start))


def _play_deadline(state: RoomState) -> int | None:
    if state.clock is not None:
        return play.turn_expires_at(state)
    if state.vote is not None:
        return state.vote.deadline
    return state.game.next_hand_at if state.game is not None else None
