"""What an operator's corrections of seats and of the room's own row mean."""

from collections.abc import Callable

import msgspec

from game import hosting, play
from game.decision import Context, Decision
from game.state import Member, OutsideWrite, RoomState
from protocol import commands
from protocol.errors import Refused
from protocol.events import ChipsAdjusted, PlayerSatIn, PlayerSatOut, SeatFreed, TurnStarted
from protocol.ids import UserId
from protocol.principal import Principal
from protocol.values import RoomSettings, SettingsPatch, UserKey

CORRECTION = "correction"
"""The reason of what follows from a correction, as clients are told it."""

_SETTINGS = RoomSettings.__struct_fields__


def tell_seat(state: RoomState, write: OutsideWrite, ctx: Context, out: Decision) -> None:
    """Tell what was done to a seat. A name has no event of its own: the next snapshot shows it."""
    before, after = write.before, write.after
    assert before is not None, "nobody sits down from outside"
    index, user_id = before["seat_index"], before["user_id"]
    if after is None:
        out.emit(SeatFreed(index, user_id, before["chips"]), ctx.now)
        return
    delta = after["chips"] - before["chips"]
    if delta:
        out.emit(ChipsAdjusted(index, user_id, delta, after["chips"], CORRECTION), ctx.now)
    if after["status"] != before["status"]:
        if after["status"] == "active":
            out.emit(PlayerSatIn(index, user_id), ctx.now)
            seat = state.seats.get(index)
            if seat is not None and seat.user_id == user_id:
                seat.clock_outs = 0
                out.touch_seat(index)
        else:
            out.emit(PlayerSatOut(index, user_id, CORRECTION), ctx.now)
    clock = state.clock
    if after["time_bank_ms"] != before["time_bank_ms"] and clock and clock.seat_index == index:
        bank = after["time_bank_ms"]
        out.emit(TurnStarted(index, user_id, clock.deadline, bank, clock.legal), ctx.now)


def settle_table(state: RoomState, ctx: Context, out: Decision) -> None:
    """Go on with the hand where it waits for somebody who sits out now."""
    clock = state.clock
    if clock is None:
        play.settle_vote(state, ctx, out)
    elif state.seats[clock.seat_index].status == "sitting_out":
        play.settle_turn(state, state.seats[clock.seat_index], ctx, out)


def correct_room(state: RoomState, write: OutsideWrite, ctx: Context, out: Decision) -> list[str]:
    """Carry out what was written to the room's row as the commands that say the same.

    Whatever they refuse is undone: the row is written back as it is in truth.

    Returns:
        What was refused, a sentence each.
    """
    before, after = write.before, write.after
    assert before is not None
    assert after is not None
    out.touch_room()
    operator = Principal(UserId(write.written_by[:64]), write.written_by[:64], "staff")
    undone: list[str] = []

    def attempt(what: str, step: Callable[[], object]) -> None:
        try:
            step()
        except (Refused, msgspec.ValidationError) as refusal:
            undone.append(f"{what}: {refusal}")

    changed = {name: after[name] for name in _SETTINGS if after[name] != before[name]}
    if state.closed:
        return ["the room is closed for good"]
    if changed:
        attempt("settings", lambda: _set(state, changed, operator, ctx, out))
    if after["host_id"] != before["host_id"]:
        attempt("host", lambda: _hand_over(state, after["host_id"], operator, ctx, out))
    if after["status"] != before["status"]:
        attempt("status", lambda: _bring_to(state, after["status"], operator, ctx, out))
    return undone


def _set(
    state: RoomState,
    changed: dict[str, object],
    operator: Principal,
    ctx: Context,
    out: Decision,
) -> None:
    patch = msgspec.convert(changed, SettingsPatch)
    hosting.change_settings(state, commands.ChangeSettings(settings=patch), operator, ctx, out)


def _hand_over(
    state: RoomState, host_id: str, operator: Principal, ctx: Context, out: Decision
) -> None:
    """Make somebody the host; who is not in the room is let in."""
    heir = msgspec.convert(host_id, UserKey)
    member = state.members.get(heir)
    if heir not in state.bans and (member is None or member.status != "approved"):
        state.members[heir] = Member(heir, heir, "approved", ctx.now, ctx.now, state.seq)
        out.touch_member(heir)
    hosting.transfer_host(state, commands.TransferHost(user_id=heir), operator, ctx, out)


def _bring_to(
    state: RoomState, status: str, operator: Principal, ctx: Context, out: Decision
) -> None:
    match status:
        case "closed":
            close = commands.CloseRoom(reason=CORRECTION)
            hosting.close_room(state, close, operator, ctx, out)
        case "paused":
            hosting.pause(state, commands.Pause(), operator, ctx, out)
        case _:
            # Whether the game waits or plays is for who is there; a pause can be ended.
            hosting.resume(state, commands.Resume(), operator, ctx, out)
