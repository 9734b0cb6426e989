"""Running the room: start, pause, resume, settings, hand over, close, and rigged decks."""

from msgspec import UNSET, structs

from game.decision import Context, Decision
from game.departures import close
from game.play import open_game, schedule, start_hand
from game.poker.variants import VARIANTS
from game.roles import require_ban_lifted, require_operator, role_of
from game.room_settings import changed_settings
from game.state import Member, RoomState
from game.views import room_view
from protocol import commands
from protocol.errors import ErrorCode, Refused, bad_field
from protocol.events import GamePaused, GameResumed, HostChanged, SettingsChanged
from protocol.principal import Principal
from protocol.replies import Changed, RoomReply, SeatLeft
from protocol.values import SettingsPatch


def start(
    state: RoomState, command: commands.Start, principal: Principal, ctx: Context, out: Decision
) -> Changed:
    """Start the game, and its next hand at once.

    Raises:
        Refused: `forbidden`, `conflict` in a hand, while paused or with fewer than two ready.
    """
    require_operator(state, principal)
    if state.hand is not None:
        raise Refused(ErrorCode.CONFLICT, "A hand is running.")
    if state.status == "paused":
        raise Refused(ErrorCode.CONFLICT, "The game is paused; resume it.")
    if len(state.ready_seats()) < 2:
        raise Refused(ErrorCode.CONFLICT, "A hand needs two players who are ready.")
    out.audit(principal, "start", ctx, None)
    start_hand(state, ctx, out)
    return Changed(seq=state.seq)


def pause(
    state: RoomState, command: commands.Pause, principal: Principal, ctx: Context, out: Decision
) -> Changed:
    """Let no hand start until resumed.

    Raises:
        Refused: `forbidden`, `conflict` when paused already.
    """
    require_operator(state, principal)
    if state.status == "paused":
        raise Refused(ErrorCode.CONFLICT, "The game is paused already.")
    game = open_game(state, ctx, out)
    game.status = "paused"
    game.next_hand_at = None
    out.touch_game()
    out.touch_room()
    out.emit(GamePaused(game.id), ctx.now)
    out.audit(principal, "pause", ctx, None)
    return Changed(seq=state.seq)


def resume(
    state: RoomState, command: commands.Resume, principal: Principal, ctx: Context, out: Decision
) -> Changed:
    """Go on after a pause.

    Raises:
        Refused: `forbidden`, `conflict` when not paused.
    """
    require_operator(state, principal)
    game = state.game
    if game is None or game.status != "paused":
        raise Refused(ErrorCode.CONFLICT, "The game is not paused.")
    game.status = "playing"
    out.touch_game()
    out.touch_room()
    out.emit(GameResumed(game.id), ctx.now)
    schedule(state, ctx, out)
    out.audit(principal, "resume", ctx, None)
    return Changed(seq=state.seq)


def change_settings(
    state: RoomState,
    command: commands.ChangeSettings,
    principal: Principal,
    ctx: Context,
    out: Decision,
) -> RoomReply:
    """Change settings from the next hand on (at once while no hand is running).

    Raises:
        Refused: `forbidden`, `bad_request` with the field.
    """
    require_operator(state, principal)
    patch = SettingsPatch() if command.settings is UNSET else command.settings
    if all(getattr(patch, name) is UNSET for name in patch.__struct_fields__):
        raise bad_field("settings", "Say which settings to change.")
    settings = changed_settings(state.next_settings or state.settings, patch)
    held = [entry.seat_index for entry in state.waitlist if entry.seat_index is not None]
    highest = max([*state.seats, *held], default=-1)
    if settings.max_seats <= highest:
        raise bad_field("max_seats", f"Seat {highest} is taken or held.")
    if state.hand is None:
        state.settings, state.next_settings = settings, None
    else:
        state.next_settings = settings
    out.touch_room()
    out.emit(SettingsChanged(settings), ctx.now)
    given = {k: v for k, v in structs.asdict(patch).items() if v is not UNSET}
    out.audit(principal, "settings", ctx, None, **given)
    schedule(state, ctx, out)
    return RoomReply(seq=state.seq, room=room_view(state))


def transfer_host(
    state: RoomState,
    command: commands.TransferHost,
    principal: Principal,
    ctx: Context,
    out: Decision,
) -> Changed:
    """Hand the room over to somebody who has been let in.

    Raises:
        Refused: `forbidden` (for who is banned too), `conflict` for the host themself,
            `not_found` for an outsider.
    """
    require_operator(state, principal)
    heir, previous = command.user_id, state.host_id
    if heir == previous:
        raise Refused(ErrorCode.CONFLICT, "This user is the host already.")
    require_ban_lifted(state, heir)
    seat = state.seat_of(heir)
    kicked = seat is not None and seat.leaving == "kick"
    if kicked or role_of(state, heir) not in ("player", "spectator", "approved"):
        raise Refused(ErrorCode.NOT_FOUND, "Only somebody in the room can become its host.")
    state.host_id = heir
    if previous not in state.members:
        state.members[previous] = Member(
            previous, previous, "approved", ctx.now, ctx.now, state.seq
        )
    out.touch_member(previous)
    out.touch_room()
    out.emit(HostChanged(heir, previous), ctx.now)
    out.audit(principal, "transfer_host", ctx, heir)
    return Changed(seq=state.seq)


def close_room(
    state: RoomState,
    command: commands.CloseRoom,
    principal: Principal,
    ctx: Context,
    out: Decision,
) -> SeatLeft:
    """Close the room, after the running hand if there is one.

    Raises:
        Refused: `forbidden`, `conflict` when it is closing already.
    """
    require_operator(state, principal)
    if state.closing is not None:
        raise Refused(ErrorCode.CONFLICT, "The room closes after this hand.")
    state.closing = command.reason or ""
    out.touch_room()
    out.audit(principal, "close_room", ctx, None, reason=command.reason)
    if state.hand is None:
        close(state, ctx, out)
    return SeatLeft(seq=state.seq, pending=not state.closed, chips=0)


def rig_deck(
    state: RoomState, command: commands.RigDeck, principal: Principal, ctx: Context, out: Decision
) -> Changed:
    """Fix the next hand's deck; cards not named follow shuffled.

    Raises:
        Refused: `forbidden` unless configured and for all but staff, `bad_request` for a card
            twice or one that the variant has not.
    """
    if not ctx.rigging_enabled or principal.role != "staff":
        raise Refused(ErrorCode.FORBIDDEN, "Decks cannot be fixed here.")
    settings = state.next_settings or state.settings
    if len(set(command.cards)) != len(command.cards):
        raise bad_field("cards", "A card stands there twice.")
    if not set(command.cards) <= set(VARIANTS[settings.variant].deck):
        raise bad_field("cards", "This variant has no such card.")
    state.rigged_deck = tuple(command.cards)
    out.touch_room()
    out.audit(principal, "rig_deck", ctx, None)
    return Changed(seq=state.seq)
