"""Whatever anybody sends a room, in any order: a refusal changes nothing, no chip is lost, every
public event takes the next seq and none shows a hidden card (`Table` checks all four)."""

from contextlib import suppress
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from game.decide import next_deadline
from game.poker.variants import VARIANTS
from game.presence import Gone, Seen, TakenOver, Unseen
from game.roles import role_of
from protocol import commands
from protocol.errors import Refused
from protocol.values import BombPot, SettingsPatch
from tests.support.rooms import HOST, STAFF, START, Table

USERS = [HOST, STAFF, "ann", "bob", "cat", "dan"]
users = st.sampled_from(USERS)
amounts = st.integers(1, 2_500)
variants = st.sampled_from(list(VARIANTS))
kinds = st.fixed_dictionaries(
    {
        "ante": st.sampled_from([0, 3, 900]),
        "ante_kind": st.sampled_from(["all", "big_blind", "button"]),
        "straddle": st.sampled_from([0, 700]),
        "bomb_pot": st.none()
        | st.builds(BombPot, every_n_hands=st.integers(1, 3), amount=st.sampled_from([20, 1_100])),
        "run_it_times": st.sampled_from([1, 2, 3, 3]),
    }
)


class Room(RuleBasedStateMachine):
    """A room and the people who use it."""

    @initialize(
        approval=st.booleans(),
        auto_start=st.booleans(),
        rake=st.sampled_from([0, 500]),
        kind=kinds,
        variant=variants,
    )
    def open(
        self, approval: bool, auto_start: bool, rake: int, kind: dict[str, Any], variant: str
    ) -> None:
        self.table = Table(
            variant=variant,
            requires_approval=approval,
            auto_start=auto_start,
            rake_basis_points=rake,
            max_seats=4,
            **kind,
        )
        self.table.sit((HOST, 0), (STAFF, 1))

    def send(self, user_id: str, command: commands.AnyRoomCommand) -> None:
        with suppress(Refused):
            self.table.do(user_id, command)

    @rule(user_id=users, other=users)
    def come_in(self, user_id: str, other: str) -> None:
        self.send(user_id, commands.Join())
        self.send(other, commands.Approve(user_id=user_id))

    @rule(user_id=users, index=st.integers(0, 4), buy_in=amounts)
    def sit(self, user_id: str, index: int, buy_in: int) -> None:
        self.send(user_id, commands.Seat(seat_index=index, buy_in=buy_in))

    @rule(
        user_id=users,
        kind=st.sampled_from(
            [
                commands.Join,
                commands.Spectate,
                commands.LeaveSeat,
                commands.LeaveRoom,
                commands.SitOut,
                commands.SitIn,
                commands.Start,
                commands.Pause,
                commands.Resume,
            ]
        ),
    )
    def plain(self, user_id: str, kind: Any) -> None:
        self.send(user_id, kind())

    @rule(
        user_id=users,
        other=users,
        kind=st.sampled_from(
            [
                commands.Reject,
                commands.Kick,
                commands.Ban,
                commands.Unban,
                commands.Unban,
                commands.TransferHost,
            ]
        ),
    )
    def about_another(self, user_id: str, other: str, kind: Any) -> None:
        self.send(user_id, kind(user_id=other))

    @rule(user_id=users, amount=amounts)
    def top_up(self, user_id: str, amount: int) -> None:
        self.send(user_id, commands.TopUp(amount=amount))

    @rule(user_id=users, other=users, delta=st.integers(-1_500, 1_500))
    def adjust(self, user_id: str, other: str, delta: int) -> None:
        self.send(user_id, commands.AdjustChips(user_id=other, delta=delta, reason="test"))

    @rule(user_id=users, blind=st.integers(1, 300), seats=st.integers(2, 6))
    def change(self, user_id: str, blind: int, seats: int) -> None:
        patch = SettingsPatch(big_blind=blind, small_blind=(blind + 1) // 2, max_seats=seats)
        self.send(user_id, commands.ChangeSettings(settings=patch))

    @rule(user_id=users, kind=kinds)
    def change_kind(self, user_id: str, kind: dict[str, Any]) -> None:
        self.send(user_id, commands.ChangeSettings(settings=SettingsPatch(**kind)))

    @rule(user_id=st.none() | users, times=st.sampled_from([1, 2, 2, 3, 3]))
    def say_how_often(self, user_id: str | None, times: int) -> None:
        state = self.table.state
        if user_id is None and state.vote is not None and state.hand is not None:
            missing = [seat for seat in state.hand.run_it_seats if seat not in state.vote.votes]
            user_id = state.seats[missing[0]].user_id
        self.send(user_id or HOST, commands.RunIt(times=times))

    @rule()
    def go_all_in(self) -> None:
        if self.table.state.hand is None:
            self.deadline_comes()
        while self.table.state.clock is not None:
            legal, user_id = self.table.state.clock.legal, self.table.actor.user_id
            if legal.max_raise_to is not None:
                kind = "RAISE" if self.table.hand.current_bet else "BET"
                self.send(user_id, commands.Action(action=kind, amount=legal.max_raise_to))  # type: ignore[arg-type]
            else:
                kind = "CHECK" if legal.can_check else "CALL"
                self.send(user_id, commands.Action(action=kind))  # type: ignore[arg-type]

    @rule(times=st.sampled_from([1, 2, 3, 3]))
    def agree(self, times: int) -> None:
        state = self.table.state
        for seat_index in self.table.hand.run_it_seats if state.vote is not None else ():
            self.send(state.seats[seat_index].user_id, commands.RunIt(times=times))

    @rule(user_id=users, variant=variants)
    def change_variant(self, user_id: str, variant: str) -> None:
        self.send(user_id, commands.ChangeSettings(settings=SettingsPatch(variant=variant)))

    @rule(user_id=users, chance=st.integers(0, 99))
    def close(self, user_id: str, chance: int) -> None:
        if chance == 0:
            self.send(user_id, commands.CloseRoom())

    @rule(
        action=st.sampled_from(["FOLD", "CHECK", "CALL", "CALL", "BET", "RAISE", "ALL_IN"]),
        amount=amounts,
        user_id=st.none() | users,
    )
    def act(self, action: Any, amount: int, user_id: str | None) -> None:
        state = self.table.state
        if user_id is None and state.clock is not None:
            user_id = self.table.actor.user_id
        self.send(user_id or HOST, commands.Action(action=action, amount=amount))

    @rule()
    def deadline_comes(self) -> None:
        due = next_deadline(self.table.state)
        if due is not None:
            self.table.wait(max(0, due - self.table.now))
            after = next_deadline(self.table.state)
            assert after is None or after > due, "what is due is done"

    @rule(ms=st.integers(0, 30_000))
    def time_passes(self, ms: int) -> None:
        self.table.wait(ms)

    @rule(user_id=users, kind=st.sampled_from(["seen", "unseen", "gone", "restart"]))
    def presence(self, user_id: str, kind: str) -> None:
        match kind:
            case "seen":
                self.table.internal(Seen(user_id))
            case "unseen":
                self.table.internal(Unseen(user_id, START))
            case "gone":
                self.table.internal(Gone(user_id))
            case _:
                self.table.internal(TakenOver())

    @invariant()
    def roles_and_clock_fit(self) -> None:
        if not hasattr(self, "table"):
            return
        state = self.table.state
        seated = [seat.user_id for seat in state.seats.values()]
        assert len(seated) == len(set(seated)), "one seat a user"
        assert not set(seated) & set(state.spectators)
        assert (state.clock is None) == (state.hand is None or state.vote is not None)
        if state.vote is not None:
            seats = self.table.hand.run_it_seats
            assert set(state.vote.votes) < set(seats), "the last vote settles it"
        if state.clock is not None:
            assert state.clock.seat_index == self.table.hand.actor_seat
        assert all(seat.chips >= 0 for seat in state.seats.values())
        if state.hand is None:
            assert all(seat.leaving is None for seat in state.seats.values())
        for user_id in set(state.bans) - {STAFF}:
            seat = state.seat_of(user_id)
            assert role_of(state, user_id) == "guest" or (seat and seat.leaving == "kick")


Room.TestCase.settings = settings(max_examples=40, stateful_step_count=60)
TestRoom = Room.TestCase
