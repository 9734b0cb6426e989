"""Bots: they take a seat and play, sensibly enough to look like people and to reach every rule."""

import random
from collections.abc import Callable
from typing import NamedTuple

import trio
from msgspec import Struct

from client.club import CardroomClient, Token, open_club
from client.errors import OutcomeUnknown, Refused, RoomGone
from client.messages import RawMessage
from client.mirror import Mirror
from client.room import LiveRoom
from client.timing import Timing
from protocol.codec import Coding
from protocol.errors import ErrorCode
from protocol.values import ActionName, LegalActions

_RANKS = "23456789TJQKA"
_NO_SUCH_THING_NOW = frozenset(
    {
        ErrorCode.NOT_YOUR_TURN,
        ErrorCode.ILLEGAL_ACTION,
        ErrorCode.CONFLICT,
        ErrorCode.FORBIDDEN,
        ErrorCode.NOT_FOUND,
        ErrorCode.BAD_REQUEST,
    }
)
"""Refusals that mean that the table went on meanwhile: look again."""


class Move(NamedTuple):
    """A decision; `amount` is what a bet or raise makes of the street bet."""

    action: ActionName
    amount: int | None = None


class BotPolicy(Struct, frozen=True, kw_only=True):
    """How a bot behaves.

    Attributes:
        think_s: The shortest and longest time that it takes over a decision, in seconds.
        buy_in: Chips to sit down with, and to fill the stack up to when broke; None for the most.
        rebuys: Whether it buys in again when broke; else it gives its seat up.
        looseness: From 0 to 1: how readily it puts chips in.
    """

    think_s: tuple[float, float] = (0.0, 0.0)
    buy_in: int | None = None
    rebuys: bool = True
    looseness: float = 0.5


def choose(rng: random.Random, room: Mirror, legal: LegalActions, looseness: float = 0.5) -> Move:
    """Choose a legal move: by the bot's cards a little, by chance for the rest."""
    hand = room.hand
    pot = hand.pot if hand is not None else 0
    bet_already = hand is not None and hand.current_bet > 0
    strength = _strength(room.hole_cards or [], hand.board if hand is not None else [])
    nerve = strength * 0.6 + rng.random() * 0.4 + (looseness - 0.5) * 0.4
    low, high = legal.min_raise_to, legal.max_raise_to
    if low is not None and high is not None and nerve > 0.62 and rng.random() < 0.6:
        if nerve > 0.9 and rng.random() < 0.15 and room.may_go_all_in:
            return Move("ALL_IN")
        wish = int(low + pot * rng.uniform(0.0, 0.9))
        return Move("RAISE" if bet_already else "BET", max(low, min(high, wish)))
    if legal.can_check:
        return Move("CHECK")
    price = legal.call_amount or 0
    odds = price / (pot + price) if pot + price else 0.0
    if legal.call_amount is not None and nerve > 0.18 + odds * 0.8:
        return Move("CALL")
    return Move("FOLD")


class Bot:
    """One player without a person. `run` keeps it in the club until cancelled.

    Args:
        url: the server's socket.
        token: its access token.
        name: what others see.
        rng: all its chance.
        policy: how it behaves.
        on_event: called with each event as it came in, missed ones included.
    """

    def __init__(
        self,
        url: str,
        token: Token,
        name: str,
        rng: random.Random,
        policy: BotPolicy | None = None,
        *,
        on_event: Callable[[RawMessage], None] | None = None,
        coding: Coding = Coding.MSGPACK,
        timing: Timing | None = None,
    ) -> None:
        self.name = name
        self.decisions = 0
        """How many decisions it has made."""
        self.client: CardroomClient | None = None
        self.room: LiveRoom | None = None
        self._url = url
        self._token = token
        self._rng = rng
        self._policy = policy or BotPolicy()
        self._on_event = on_event
        self._coding = coding
        self._timing = timing

    async def run(
        self,
        code: str,
        seat_index: int | None = None,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Join a room, wait to be let in, sit down, and play until cancelled or put out.

        Says `started` once it is in the room.

        Args:
            code: the room's join code.
            seat_index: the seat; None for any that is free.

        Raises:
            ClientError: it could not get into the room.
        """
        async with open_club(
            self._url,
            self._token,
            coding=self._coding,
            timing=self._timing,
            on_event=self._on_event,
            rng=self._rng,
        ) as client:
            self.client = client
            room_id = await room_by_code(client, code, self.name)
            room = await client.enter_when_approved(room_id)
            self.room = room
            task_status.started()
            try:
                await self.play(room, seat_index)
            except RoomGone:
                return

    async def play(self, room: LiveRoom, seat_index: int | None = None) -> None:
        """Sit down and play, until the room is gone or closed.

        Raises:
            RoomGone: the room is not followed any more.
        """
        while room.state.room.status != "closed":
            before = room.state.seq
            try:
                await self._step(room, seat_index)
            except OutcomeUnknown:
                continue
            except Refused as refused:
                if refused.code == ErrorCode.ROOM_CLOSED:
                    return
                if refused.code == ErrorCode.INSUFFICIENT_BALANCE:
                    await self._broke(room)
                elif refused.code not in (*_NO_SUCH_THING_NOW, ErrorCode.SEAT_TAKEN):
                    raise
                seq = before
                await room.until(lambda state, seq=seq: state.seq > seq)  # type: ignore[misc]

    async def _step(self, room: LiveRoom, seat_index: int | None) -> None:
        """Do what is to be done now, or wait until something changes."""
        state = room.state
        seat = state.my_seat
        if seat is None:
            free = free_seats(state)
            wanted = seat_index if seat_index in free else None
            if free:
                await room.sit(wanted if wanted is not None else free[0], self._buy_in(state))
            else:
                await room.changed()
        elif state.legal_actions is not None:
            await self._decide(room, state.legal_actions)
        elif state.run_it is not None:
            await self._vote(room)
        elif seat.chips == 0 and not seat.in_hand and state.hand is None and self._policy.rebuys:
            await room.top_up(self._buy_in(state))
        elif seat.chips == 0 and not seat.in_hand and not self._policy.rebuys:
            await self._broke(room)
        elif seat.status == "sitting_out" and seat.chips > 0:
            await room.sit_in()
        else:
            await room.changed()

    async def _decide(self, room: LiveRoom, legal: LegalActions) -> None:
        turn = room.state.timer
        await self._think()
        if room.gone is not None or room.state.timer != turn:
            return
        move = choose(self._rng, room.state, legal, self._policy.looseness)
        await room.act(move.action, move.amount)
        self.decisions += 1

    async def _vote(self, room: LiveRoom) -> None:
        """Say how often the rest of the board is to be dealt, by chance."""
        await self._think()
        asked = None if room.gone is not None else room.state.run_it
        if asked is not None:
            await room.run_it(self._rng.randint(1, asked.times))

    async def _think(self) -> None:
        shortest, longest = self._policy.think_s
        if longest > 0:
            await trio.sleep(self._rng.uniform(shortest, longest))

    async def _broke(self, room: LiveRoom) -> None:
        """Wait for somebody's chips: the host's, or a wallet's."""
        if room.state.my_seat is not None and not self._policy.rebuys:
            await room.leave_seat()
            await room.until(lambda state: state.room.status == "closed")
            return
        await room.until(lambda state: state.my_seat is None or state.my_seat.chips > 0)

    def _buy_in(self, state: Mirror) -> int:
        room = state.room
        wanted = self._policy.buy_in or room.max_buy_in
        return max(room.min_buy_in, min(room.max_buy_in, wanted))


async def room_by_code(client: CardroomClient, code: str, display_name: str) -> str:
    """Ask to be let into the room with this code, unless one is in already; return its id.

    Raises:
        Refused: there is no such room, or it does not take the user.
    """
    try:
        return (await client.join(code=code, display_name=display_name)).room_id
    except Refused as refused:
        if refused.code != ErrorCode.ALREADY_JOINED:
            raise
    for room in await client.list_rooms():
        if room.code == code.upper():
            return room.id
    raise Refused(ErrorCode.NOT_FOUND, f"You are in room {code}, but it is not listed.")


def free_seats(room: Mirror) -> list[int]:
    """List the seats that nobody has."""
    return [index for index in range(room.room.max_seats) if index not in room.seats]


def _strength(cards: list[str], board: list[str]) -> float:
    """Guess from 0 to 1 how good cards are: high ones, pairs, and what the board adds."""
    if not cards:
        return 0.3
    ranks = [_RANKS.index(card[0]) for card in cards]
    on_board = [_RANKS.index(card[0]) for card in board]
    value = sum(ranks) / (len(ranks) * 12) * 0.5
    if len(set(ranks)) < len(ranks):
        value += 0.3
    value += 0.25 * sum(rank in on_board for rank in ranks)
    if len({card[1] for card in cards}) == 1:
        value += 0.05
    return min(1.0, value)
