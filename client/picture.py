"""A table drawn for the terminal, and its events told in words."""

from collections.abc import Sequence

from msgspec import UNSET
from rich.align import Align
from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from client.messages import AnyEvent
from client.mirror import Mirror
from protocol import events
from protocol.values import ShownHand
from protocol.views import SeatView

_SUITS = {"c": ("♣", "green"), "d": ("♦", "blue"), "h": ("♥", "red"), "s": ("♠", "white")}
_DONE = {
    "FOLD": "folds",
    "CHECK": "checks",
    "CALL": "calls {amount:,}",
    "BET": "bets {bet:,}",
    "RAISE": "raises to {bet:,}",
    "ALL_IN": "is all-in with {bet:,}",
}
_TIMES = {1: "once", 2: "twice", 3: "three times"}
SEAT_WIDTH = 18
"""Four seats side by side fit a terminal of 80 columns."""


def cards(texts: Sequence[str]) -> Text:
    """Draw cards, such as ``A♥ T♦``."""
    drawn = Text()
    for index, card in enumerate(texts):
        symbol, colour = _SUITS.get(card[1:], (card[1:], "white"))
        drawn.append((" " if index else "") + card[0] + symbol, style=f"bold {colour}")
    return drawn


def table(room: Mirror, *, now_ms: int, log: Sequence[str] = (), note: str = "") -> RenderableType:
    """Draw a room.

    Args:
        room: the room, as its user sees it.
        now_ms: UTC in ms, for the time that is left.
        log: the last lines of what happened, the newest last.
        note: a line below it all.
    """
    indices = range(room.room.max_seats)
    half = (len(indices) + 1) // 2
    top = Columns([_seat(room, index, now_ms) for index in indices[:half]], align="center")
    below = [_seat(room, index, now_ms) for index in reversed(indices[half:])]
    bottom = Columns(below, align="center")
    settings = room.room
    hand = f"hand {room.hand.number}" if room.hand is not None else "between hands"
    title = (
        f"{settings.name} · code {settings.code} · {settings.variant} "
        f"{settings.small_blind}/{settings.big_blind} · {hand} · seq {room.seq}"
    )
    parts: list[RenderableType] = [
        Align.center(top),
        Align.center(_middle(room)),
        Align.center(bottom),
        Text("\n".join(log), style="dim"),
    ]
    if note:
        parts.append(Text(note, style="bold yellow"))
    return Panel(Group(*parts), title=title, border_style="green")


def _middle(room: Mirror) -> RenderableType:
    grid = Table.grid(padding=(0, 3))
    hand = room.hand
    if hand is not None:
        board = _boards(hand.boards) if hand.board else Text("no board yet", style="dim")
        grid.add_row(board, Text(f"pot {hand.pot:,}", style="bold"), Text(hand.phase, "dim"))
    elif room.last_result is not None:
        result = room.last_result
        won = ", ".join(
            f"{_name(room, w.seat_index)} wins {w.amount:,}" + (f" ({w.rank})" if w.rank else "")
            for w in result.winners
        )
        grid.add_row(_boards(result.boards), Text(won, style="bold"))
    else:
        grid.add_row(Text("waiting for the first hand", style="dim"))
    return Panel(grid, border_style="dim", padding=(1, 4))


def _boards(boards: Sequence[Sequence[str]]) -> Text:
    return Text("\n").join(cards(board) for board in boards)


def _seat(room: Mirror, index: int, now_ms: int) -> RenderableType:
    seat = room.seats.get(index)
    if seat is None:
        return Panel(Text("free", style="dim"), title=f"{index}", width=SEAT_WIDTH, style="dim")
    timer, hand = room.timer, room.hand
    acts = timer is not None and timer.actor_seat == index
    button = " (D)" if hand is not None and hand.button_seat == index else ""
    lines = Text(f"{seat.chips:,}")
    if seat.bet:
        lines.append(f" → {seat.bet:,}", style="bold yellow")
    lines.append("\n")
    lines.append_text(_holding(room, seat))
    if acts and timer is not None:
        left = max(0, timer.deadline - now_ms) / 1000
        lines.append(f"  {left:.0f} s" if left else "  time bank", style="bold cyan")
    mine = seat.user_id == room.user_id
    return Panel(
        lines,
        title=f"{index} {seat.display_name}{button}"[: SEAT_WIDTH - 4],
        width=SEAT_WIDTH,
        border_style="bold cyan" if acts else "bold white" if mine else "white",
    )


def _holding(room: Mirror, seat: SeatView) -> Text:
    if not seat.connected:
        return Text("disconnected", style="red")
    if seat.shown_cards:
        return cards(seat.shown_cards)
    if seat.in_hand:
        shown = (
            cards(room.hole_cards)
            if seat.user_id == room.user_id and room.hole_cards
            else Text(" ".join(["▒▒"] * len(room.hole_cards or "??")), style="magenta")
        )
        return shown + Text(" all-in", style="bold red") if seat.all_in else shown
    if seat.status == "sitting_out":
        return Text("sits out", style="dim")
    return Text("folded" if room.hand is not None else "", style="dim")


def told(event: AnyEvent, room: Mirror) -> str | None:
    """Tell an event in words; None for one that needs none. `room` has it applied already."""
    match event:
        case events.HandStarted():
            kind = "bomb pot" if event.bomb_pot else "hand"
            begun = f"--- {kind} {event.number}: {_name(room, event.button_seat)} has the button"
            if event.straddle_seat is None:
                return begun
            return f"{begun}, {_name(room, event.straddle_seat)} straddles {event.straddle:,}"
        case events.PlayerAction():
            done = _DONE[event.action].format(amount=event.amount, bet=event.bet)
            by_clock = " (time is up)" if event.auto else ""
            return f"{_name(room, event.seat_index)} {done}{by_clock}"
        case events.StreetAdvanced():
            run = "" if event.runout is UNSET else f" (board {event.runout})"
            return f"{event.street}{run}: {cards(event.board).plain}   pot {event.pot:,}"
        case events.RunItVoted():
            return f"{_name(room, event.seat_index)} would deal the board {_TIMES[event.times]}"
        case events.RunItDecided():
            return f"the rest of the board is dealt {_TIMES[event.times]}"
        case events.Showdown():
            return "; ".join(
                f"{_name(room, hand.seat_index)} shows {cards(hand.cards).plain} ({_ranks(hand)})"
                for hand in event.hands
            )
        case events.HandComplete():
            return ", ".join(
                f"{_name(room, winner.seat_index)} wins {winner.amount:,}"
                for winner in event.winners
            )
        case events.PlayerSeated():
            return f"{event.display_name} takes seat {event.seat_index} with {event.chips:,}"
        case events.PlayerLeftSeat() | events.SeatFreed():
            return f"seat {event.seat_index} is free"
        case events.PlayerSatOut():
            return f"{_name(room, event.seat_index)} sits out ({event.reason})"
        case events.PlayerSatIn():
            return f"{_name(room, event.seat_index)} is back in"
        case events.ChipsAdded() | events.ChipsAdjusted():
            return f"{_name(room, event.seat_index)} now has {event.chips:,}"
        case events.PlayerDisconnected():
            return f"{_name(room, event.seat_index)} is disconnected"
        case events.PlayerReconnected():
            return f"{_name(room, event.seat_index)} is connected again"
        case events.GamePaused():
            return "the host pauses the game"
        case events.GameResumed():
            return "the game goes on"
        case events.RoomClosed():
            return "the room is closed"
        case _:
            return None


def _ranks(hand: ShownHand) -> str:
    return hand.rank if hand.ranks is UNSET else ", ".join(hand.ranks)


def _name(room: Mirror, seat_index: int) -> str:
    seat = room.seats.get(seat_index)
    return seat.display_name if seat is not None else f"seat {seat_index}"
