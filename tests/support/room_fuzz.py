"""Whatever anybody does to a room, in any order, on a real database, with restarts in between.

Every command that there is, drawn from its own type, valid and not, is sent by people in all roles;
time passes, people are seen and not, the actor is dropped (also with commands under way) or loses
its fence, and commands with an id are sent again. After each step what the database says is what
the actor holds, and the room is in order; after each run the audit finds nothing.

Run as a module it does as many runs as asked for: ``python -m tests.support.room_fuzz 1000 7``.
"""

import itertools
import sys
from collections import Counter
from contextlib import suppress
from typing import Any
from uuid import NAMESPACE_OID, uuid5

import msgspec
import trio
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from msgspec import UNSET

from actors.room import RoomActor
from game.presence import Tick
from game.roles import is_operator, role_of
from game.state import RoomState
from persistence import hydration, nodes
from persistence.audit import audit
from protocol import commands
from protocol.commands import AnyRoomCommand
from protocol.errors import ErrorCode, Refused
from tests.support.folders import temporary_folder
from tests.support.fuzz_steps import (
    FOR_OPERATORS,
    POOR,
    USERS,
    WHOEVER_WAITS,
    Again,
    Decided,
    Fenced,
    Later,
    Restart,
    Sent,
    steps,
)
from tests.support.live_rooms import (
    Answered,
    Club,
    Socket,
    ask,
    attach,
    live_state,
    open_club,
    post,
    running,
)
from tests.support.postgres import PostgresForTests
from tests.support.rooms import HOST, ROOM_ID, STAFF, comparable, principal

LIMIT_S = 120.0


class Run:
    """One room from its making to the audit."""

    def __init__(self, club: Club, done: Counter[str]) -> None:
        self.club = club
        self.done = done
        self.actor: RoomActor
        self.keyed: list[tuple[str, AnyRoomCommand, Answered]] = []
        self.waiting: list[tuple[Answered, str, ErrorCode | None]] = []
        """Answers still to come: to which command, and the code that it must be refused with."""

    async def play(self, todo: list[Any], *, approval: bool) -> None:
        """Do everything."""
        club = self.club
        await club.make_room(ROOM_ID, max_seats=5, requires_approval=approval)
        await club.wallets(*set(USERS) - {POOR}, balance=10**12)
        await club.wallets(POOR, balance=1_500)
        remaining = iter(todo)
        ended = False
        for life in itertools.count():
            async with running(club.actor(ROOM_ID)) as self.actor:
                if life == 0:
                    await self._begin()
                ended = await self._live(remaining)
            if ended:
                break
        await self._look_back()

    async def _begin(self) -> None:
        """Have three people sit, and one watch."""
        for index, user_id in enumerate((HOST, "ann", "bob")):
            if user_id != HOST:
                await ask(self.actor, user_id, commands.Join())
                if role_of(live_state(self.actor), user_id) == "pending":
                    await ask(self.actor, HOST, commands.Approve(user_id=user_id))
            await ask(self.actor, user_id, commands.Seat(seat_index=index, buy_in=1_000))
        await ask(self.actor, STAFF, commands.Spectate())

    async def _live(self, remaining: Any) -> bool:
        """Do what remains until the actor is to be dropped; return whether nothing remains."""
        await self._settled()
        for step in remaining:
            match step:
                case Restart(at_once=at_once):
                    if at_once:
                        self._send([Sent(None, commands.Action(action="CALL"), True)])
                        await trio.lowlevel.checkpoint()
                    self.waiting.clear()
                    return False
                case Fenced():
                    await nodes.claim(self.club.pool, self.club.services.node_id, [ROOM_ID])
                case Later(ms=ms):
                    self.club.now += ms
                    self.actor.mailbox.put_nowait(Tick())
                case Again(which=which):
                    await self._again(which)
                case Decided(actions=actions):
                    await self._decide(actions)
                case _:
                    self._send(step)
            await self._settled()
            if live_state(self.actor).closed:
                break
        return True

    def _send(self, batch: list[Any]) -> None:
        commanded = [one.command for one in batch if isinstance(one, Sent)]
        decisive = commands.TransferHost | commands.CloseRoom
        sure = len(batch) == 1 or (
            live_state(self.actor).closing is None
            and not any(isinstance(command, decisive) for command in commanded)
        )
        for one in batch:
            if not isinstance(one, Sent):
                self.actor.mailbox.put_nowait(one)
                continue
            state = live_state(self.actor)
            user_id = one.user_id or _to_act(state)
            command = msgspec.structs.replace(one.command, room_id=ROOM_ID)
            if getattr(command, "entry_id", None) == WHOEVER_WAITS and state.waitlist:
                waiting = state.waitlist[len(self.keyed) % len(state.waitlist)]
                command = msgspec.structs.replace(command, entry_id=waiting.entry_id)
            if one.keyed:
                command.command_id = str(uuid5(NAMESPACE_OID, f"{ROOM_ID}/{len(self.keyed)}"))
            answered = post(self.actor, user_id, command)
            if one.keyed:
                self.keyed.append((user_id, command, answered))
            # What else is sent could make somebody the host meanwhile, or close the room.
            forbidden = (
                sure
                and isinstance(command, FOR_OPERATORS)
                and not is_operator(state, principal(user_id))
            )
            kind = type(command).__name__
            self.waiting.append((answered, kind, ErrorCode.FORBIDDEN if forbidden else None))

    async def _decide(self, actions: list[commands.Action]) -> None:
        for action in actions:
            state = live_state(self.actor)
            if state.hand is None:
                self.club.now += 3_000
                self.actor.mailbox.put_nowait(Tick())
                await self._settled()
            hand = live_state(self.actor).hand
            if hand is None:
                return
            if action.action == "CALL" and hand.actor_seat is not None and hand.legal().can_check:
                action = commands.Action(action="CHECK")
            self._send([Sent(None, action, False)])
            with suppress(Refused):
                await self.waiting[-1][0].get()

    async def _again(self, which: int) -> None:
        """Send a command again: it is answered as before, and nothing happens."""
        if not self.keyed:
            return
        user_id, command, before = self.keyed[which % len(self.keyed)]
        seq = live_state(self.actor).seq
        now = post(self.actor, user_id, command)
        with suppress(Refused):
            await now.get()
        if before.values and not isinstance(before.values[0], Refused):
            assert _told(now.values[0]) == _told(before.values[0]), command
            assert live_state(self.actor).seq == seq, f"carried out twice: {command}"

    async def _settled(self) -> None:
        """Wait until all is done that was sent, and hold that all is in order."""
        # Twice: what is due by itself comes after all that waited with the first.
        for _ in range(2):
            await attach(self.actor, live_state(self.actor).host_id, Socket("watch"))
        for answered, kind, expected in self.waiting:
            (answer,) = answered.values
            code = answer.code if isinstance(answer, Refused) else None
            assert code not in (ErrorCode.INTERNAL, ErrorCode.UNAVAILABLE), answer
            assert expected in (None, code), answer
            self.done[kind if code is None else f"{kind} refused"] += 1
        self.waiting.clear()
        state = live_state(self.actor)
        in_order(state)
        stored = await hydration.load_room(self.club.pool, ROOM_ID)
        assert stored is not None
        in_order(stored)
        live, read = comparable(state, seen=False), comparable(stored, seen=False)
        # The actor learns of its lost fence with its next commit.
        live.pop("epoch"), read.pop("epoch")
        assert read == live

    async def _look_back(self) -> None:
        """Hold that every event has its seq, and let the audit look at everything."""
        club = self.club
        counted = "SELECT count(*) - coalesce(max(seq), 0) FROM room_events WHERE room_id = %s"
        assert await club.one(counted, ROOM_ID) == 0
        last = "SELECT seq FROM game_states WHERE room_id = %s"
        told = "SELECT coalesce(max(seq), 0) FROM room_events WHERE room_id = %s"
        assert await club.one(last, ROOM_ID) == await club.one(told, ROOM_ID)
        assert (await audit(club.pool, replay_hands=True)).findings == []
        self.done["hands"] += await club.one(
            "SELECT count(*) FROM hands WHERE room_id = %s AND ended_at IS NOT NULL", ROOM_ID
        )


def in_order(state: RoomState) -> None:
    """Hold what is true of a room at any time."""
    seated = [seat.user_id for seat in state.seats.values()]
    assert len(seated) == len(set(seated)), "one seat a user"
    assert not set(seated) & set(state.spectators), "nobody sits and watches"
    assert all(seat.chips >= 0 for seat in state.seats.values())
    for user_id in set(state.bans) - {STAFF}:
        seat = state.seat_of(user_id)
        out = role_of(state, user_id) == "guest" or (seat is not None and seat.leaving == "kick")
        assert out, f"{user_id} is banned and in the room"
    assert state.host_id not in state.bans
    waiting = [entry.player_id for entry in state.waitlist]
    assert len(waiting) == len(set(waiting)), "one live entry a player"
    assert not set(waiting) & (set(seated) | set(state.bans))
    if state.hand is None:
        assert state.clock is None
        assert all(seat.leaving is None for seat in state.seats.values())
        assert state.next_settings is None
        assert state.closing is None or state.closed
    else:
        dealt = {seat.seat_index: seat.user_id for seat in state.hand.setup.seats}
        for index, user_id in dealt.items():
            assert state.seats[index].user_id == user_id, "a seat in a hand is kept"


def _to_act(state: RoomState) -> str:
    seat = None if state.hand is None else state.hand.actor_seat
    return HOST if seat is None else state.seats[seat].user_id


def _told(answer: Any) -> bytes:
    """What an outcome says, but for the rejoin token, which is told only once."""
    if hasattr(answer, "rejoin_token"):
        answer = msgspec.structs.replace(answer, rejoin_token=UNSET)
    return msgspec.json.encode(answer)


def fuzz(
    postgres: PostgresForTests, runs: int, *, first_seed: int | None = None, shrink: bool = True
) -> Counter[str]:
    """Do so many runs, each on a database of its own; whatever fails comes out of it.

    Args:
        postgres: makes the databases.
        runs: how many.
        first_seed: of what is done; None for another one each time.
        shrink: look for the shortest way to a failure, which takes minutes.

    Returns:
        How often each command was carried out and refused, and how many hands ended.
    """
    done: Counter[str] = Counter()

    async def play(url: str, todo: list[Any], approval: bool) -> None:
        with trio.fail_after(LIMIT_S):
            async with open_club(url) as club:
                await Run(club, done).play(todo, approval=approval)

    @settings(
        max_examples=runs,
        phases=[phase for phase in Phase if shrink or phase is not Phase.shrink],
        deadline=None,
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )
    @given(todo=steps, approval=st.booleans())
    def run(todo: list[Any], approval: bool) -> None:
        with postgres.database() as url:
            trio.run(play, url, todo, approval)

    (run if first_seed is None else seed(first_seed)(run))()
    return done


def main() -> None:
    """Do as many runs as the first argument says, from the seed that the second one is."""
    runs, first_seed = int(sys.argv[1]), int(sys.argv[2])
    with temporary_folder() as folder:
        postgres = trio.run(PostgresForTests.start, folder / "postgres")
        try:
            done = fuzz(postgres, runs, first_seed=first_seed)
        finally:
            trio.run(postgres.stop)
    print(f"{runs} runs: what the database says is what the rooms held, and the audit is clean.")
    print(", ".join(f"{kind} {count}" for kind, count in done.most_common()))


if __name__ == "__main__":
    main()
