"""A person plays from the terminal: what `cardroom play` runs."""

import sys
import time
from collections import deque

import trio
from rich.console import Console

from client.bots import Move, free_seats, room_by_code
from client.club import CardroomClient, open_club
from client.errors import ClientError, OutcomeUnknown, Refused, RoomGone
from client.mirror import Mirror
from client.picture import table, told
from client.room import LiveRoom
from protocol.errors import ErrorCode
from protocol.values import LegalActions
from protocol.views import LobbyRoom, RunItView

LOG_LINES = 8
HELP = (
    "f fold · k check · c call · b 300 bet · r 900 raise to 900 · a all-in · "
    "o sit out · i sit in · t 1000 top up · q leave"
)
RUN_IT = "All-in. How often is the rest of the board to be dealt? "


async def play(
    ws_url: str,
    token: str,
    name: str,
    code: str | None = None,
    seat_index: int | None = None,
    buy_in: int | None = None,
) -> None:
    """Sit down and play until the person types q.

    Args:
        ws_url: the server's socket.
        token: the person's access token.
        name: what others see.
        code: the room's join code; None for the first room of the lobby with a free seat.
        seat_index: the seat; None for the first that is free.
        buy_in: chips to sit down with; None for the most that room and wallet allow.
    """
    console = Console()
    try:
        async with open_club(ws_url, token) as client:
            code = code or _pick(await client.list_rooms()).code
            console.print(f"Asking to be let into room {code} …")
            room_id = await room_by_code(client, code, name)
            room = await client.enter_when_approved(room_id)
            if room.state.my_seat is None:
                await _sit(room, seat_index, buy_in, name)
            await _Session(console, client, room).run()
    except* KeyboardInterrupt:
        console.print("You keep your seat for a while; the same command brings you back to it.")
    except* RoomGone as group:
        console.print(f"{group.exceptions[0]}")
    except* ClientError as group:
        console.print(f"That did not work: {group.exceptions[0]}")


def _pick(rooms: list[LobbyRoom]) -> LobbyRoom:
    for room in rooms:
        if room.status != "closed" and room.seats_taken < room.max_seats:
            return room
    raise Refused(ErrorCode.NOT_FOUND, "No room in the lobby has a free seat; try `cardroom demo`.")


async def _sit(room: LiveRoom, seat_index: int | None, buy_in: int | None, name: str) -> None:
    settings = room.state.room
    amount = buy_in or settings.max_buy_in
    while True:
        free = free_seats(room.state)
        if seat_index is None and not free:
            raise Refused(ErrorCode.ROOM_FULL, "There is no free seat.")
        try:
            await room.sit(free[0] if seat_index is None else seat_index, amount, name)
            return
        except Refused as refused:
            taken = refused.code == ErrorCode.SEAT_TAKEN and seat_index is None
            poor = refused.code == ErrorCode.INSUFFICIENT_BALANCE and buy_in is None
            if poor and amount > settings.min_buy_in:
                amount = max(settings.min_buy_in, amount // 2)
            elif not taken:
                raise


def parse(line: str, room: Mirror) -> Move | str:
    """Read what a person typed at their turn.

    Returns:
        The move, or a sentence that says what is wrong with it.
    """
    word, _, rest = line.strip().lower().partition(" ")
    digits = rest.strip().replace(",", "")
    amount = int(digits) if digits.isascii() and digits.isdigit() else None
    bet_already = room.hand is not None and room.hand.current_bet > 0
    if amount is None and (legal := room.legal_actions) and _one_size(legal):
        amount = legal.min_raise_to
    match word:
        case "f":
            return Move("FOLD")
        case "k":
            return Move("CHECK")
        case "c":
            return Move("CALL")
        case "a":
            return Move("ALL_IN")
        case "b" | "r" if amount:
            return Move("RAISE" if bet_already else "BET", amount)
        case "b" | "r":
            return "Say how much, such as b 300: what your bet of this street is to become."
        case _:
            return HELP


def choices(legal: LegalActions, *, all_in: bool = True) -> str:
    """Say what a player may do now, as they would type it; `all_in` if that is among it."""
    offered = []
    if legal.can_check:
        offered.append("k check")
    if legal.call_amount is not None:
        offered.append(f"c call {legal.call_amount:,}")
    if legal.min_raise_to is not None and legal.max_raise_to is not None:
        verb = "b" if legal.can_check else "r"
        if _one_size(legal):
            offered.append(f"{verb} bet or raise to {legal.min_raise_to:,}")
        else:
            sizes = f"{legal.min_raise_to:,} to {legal.max_raise_to:,}"
            offered.append(f"{verb} N bet or raise to {sizes}")
    if all_in and (legal.max_raise_to is not None or legal.call_amount is not None):
        offered.append("a all-in")
    if legal.can_fold:
        offered.append("f fold")
    return "Your turn:  " + " · ".join(offered)


def times_offered(vote: RunItView) -> list[str]:
    """List what a player who is asked may type."""
    return [str(times) for times in range(1, vote.times + 1)]


def _one_size(legal: LegalActions) -> bool:
    """Whether a bet or raise can only be of one size, as in fixed-limit games."""
    return legal.min_raise_to is not None and legal.min_raise_to == legal.max_raise_to


class _Session:
    """One person at one table."""

    def __init__(self, console: Console, client: CardroomClient, room: LiveRoom) -> None:
        self._console = console
        self._client = client
        self._room = room
        self._log: deque[str] = deque(maxlen=LOG_LINES)
        self._answer = ""

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._listen)
            nursery.start_soon(self._watch_connection)
            self._show()
            while True:
                # A thread that waits for a line cannot be stopped; it ends with the process.
                line = await trio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True)
                if not line or line.strip().lower() == "q":
                    break
                await self._take(line)
                self._show()
            nursery.cancel_scope.cancel()
        try:
            await self._client.leave(self._room)
            self._console.print("You left; your chips are in your wallet once the hand is over.")
        except Refused as refused:
            self._console.print(f"You are gone from the terminal, but: {refused.message}")

    async def _listen(self) -> None:
        async with self._room.events() as events:
            async for event in events:
                line = told(event, self._room.state)
                if line is not None:
                    self._log.append(line)
                self._show()
        self._console.print("The room is gone. Press Enter.")

    async def _watch_connection(self) -> None:
        while True:
            await self._client.connection_changed()
            self._show()

    async def _take(self, line: str) -> None:
        room, self._answer = self._room, ""
        word, _, rest = line.strip().lower().partition(" ")
        try:
            if not word:
                return
            if word == "o":
                await room.sit_out()
            elif word == "i":
                await room.sit_in()
            elif word == "t" and rest.strip().isdigit():
                await room.top_up(int(rest))
            elif room.state.run_it is not None and word in times_offered(room.state.run_it):
                await room.run_it(int(word))
            elif room.state.legal_actions is None:
                self._answer = "It is not your turn."
            else:
                move = parse(line, room.state)
                if isinstance(move, str):
                    self._answer = move
                else:
                    await room.act(move.action, move.amount)
        except Refused as refused:
            self._answer = refused.message
        except OutcomeUnknown as unknown:
            self._answer = str(unknown)

    def _show(self) -> None:
        room = self._room
        if room.gone is not None:
            return
        legal, run_it = room.state.legal_actions, room.state.run_it
        if not self._client.connected:
            note = "reconnecting…"
        elif legal is not None:
            note = choices(legal, all_in=room.state.may_go_all_in)
        elif run_it is not None:
            note = RUN_IT + " · ".join(times_offered(run_it))
        else:
            note = HELP
        if self._answer:
            note = f"{self._answer}\n{note}"
        if self._console.is_terminal:
            self._console.clear()
        now_ms = time.time_ns() // 1_000_000
        self._console.print(table(room.state, now_ms=now_ms, log=list(self._log), note=note))
        if self._console.is_terminal:
            self._console.print("> ", end="")
