"""Whatever is asked of a waitlist, in any order: places are 1…n, one live entry a player, a seat is
held for one and is nobody's, and rows and events tell what the state says (`WaitlistBooks` checks
all of it after every decision, `Table` that no chip is lost)."""

from contextlib import suppress
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from game.decide import next_deadline
from game.presence import Gone, TakenOver
from protocol import commands
from protocol.errors import Refused
from protocol.values import SettingsPatch
from tests.support.rooms import HOST, STAFF, Table

PLAYERS = ["ann", "bob", "cat", "dan", "eve"]
users = st.sampled_from([HOST, STAFF, *PLAYERS])
players = st.sampled_from(PLAYERS)
places = st.integers(0, 5)
seats = st.integers(0, 4)
BY_HAND = [commands.WaitlistCall, commands.WaitlistRemove, commands.WaitlistNoShow]


class Queue(RuleBasedStateMachine):
    """A small table that more people want to sit at than can."""

    @initialize(approval=st.booleans(), auto_start=st.booleans())
    def open(self, approval: bool, auto_start: bool) -> None:
        self.table = Table(requires_approval=approval, auto_start=auto_start, max_seats=2)
        self.table.sit((HOST, 0))

    def send(self, user_id: str, command: commands.AnyRoomCommand) -> None:
        with suppress(Refused):
            self.table.do(user_id, command)

    def entry(self, place: int) -> str:
        waitlist = self.table.state.waitlist
        return waitlist[place].entry_id if place < len(waitlist) else "none"

    @rule(user_id=users, seat=st.none() | seats)
    def join(self, user_id: str, seat: int | None) -> None:
        self.send(user_id, commands.WaitlistJoin(seat_number=seat))

    @rule(user_id=users, other=players, by_name=st.booleans())
    def add(self, user_id: str, other: str, by_name: bool) -> None:
        command = commands.WaitlistJoin()
        if by_name:
            command.player_name = other
        else:
            command.player_id = other
        self.send(user_id, command)

    @rule(user_id=users)
    def leave(self, user_id: str) -> None:
        self.send(user_id, commands.WaitlistLeave())

    @rule(place=places, user_id=st.none() | users, buy_in=st.integers(50, 2_050))
    def accept(self, place: int, user_id: str | None, buy_in: int) -> None:
        waitlist = self.table.state.waitlist
        if user_id is None and place < len(waitlist):
            user_id = waitlist[place].player_id
        command = commands.WaitlistAccept(entry_id=self.entry(place), buy_in=buy_in)
        self.send(user_id or HOST, command)

    @rule(place=places, user_id=users)
    def decline(self, place: int, user_id: str) -> None:
        self.send(user_id, commands.WaitlistDecline(entry_id=self.entry(place)))

    @rule(place=places, user_id=users, kind=st.sampled_from(BY_HAND))
    def by_hand(self, place: int, user_id: str, kind: Any) -> None:
        self.send(user_id, kind(entry_id=self.entry(place)))

    @rule(place=places, user_id=users, to=st.integers(1, 7))
    def move(self, place: int, user_id: str, to: int) -> None:
        self.send(user_id, commands.WaitlistMove(entry_id=self.entry(place), position=to))

    @rule(place=places, user_id=users, seat=st.none() | seats, buy_in=st.none() | st.just(500))
    def seat_by_hand(self, place: int, user_id: str, seat: int | None, buy_in: int | None) -> None:
        command = commands.WaitlistSeat(entry_id=self.entry(place), seat_index=seat, buy_in=buy_in)
        self.send(user_id, command)

    @rule(user_id=users, seat=seats)
    def sit(self, user_id: str, seat: int) -> None:
        self.send(user_id, commands.Join())
        self.send(user_id, commands.Seat(seat_index=seat, buy_in=500))

    @rule(user_id=users, kind=st.sampled_from([commands.LeaveSeat, commands.LeaveRoom]))
    def go(self, user_id: str, kind: Any) -> None:
        self.send(user_id, kind())

    @rule(user_id=users)
    def kick(self, user_id: str) -> None:
        self.send(HOST, commands.Kick(user_id=user_id))

    @rule(max_seats=st.integers(2, 4))
    def resize(self, max_seats: int) -> None:
        self.send(HOST, commands.ChangeSettings(settings=SettingsPatch(max_seats=max_seats)))

    @rule()
    def play(self) -> None:
        if self.table.state.hand is not None:
            self.table.act("FOLD")
        else:
            self.send(HOST, commands.Start())

    @rule()
    def deadline_comes(self) -> None:
        due = next_deadline(self.table.state)
        if due is not None:
            self.table.wait(max(0, due - self.table.now))
            after = next_deadline(self.table.state)
            assert after is None or after > due, "what is due is done"

    @rule(ms=st.integers(0, 90_000))
    def time_passes(self, ms: int) -> None:
        self.table.wait(ms)

    @rule(user_id=users)
    def gone(self, user_id: str) -> None:
        self.table.internal(Gone(user_id))

    @rule()
    def restart(self) -> None:
        self.table.internal(TakenOver())

    @rule(chance=st.integers(0, 40))
    def close(self, chance: int) -> None:
        if chance == 0:
            self.send(HOST, commands.CloseRoom())


Queue.TestCase.settings = settings(max_examples=60, stateful_step_count=50, deadline=None)
TestQueue = Queue.TestCase
