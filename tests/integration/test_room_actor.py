"""The room actor over a real database: replies, replays, refusals, failures, timers."""

from collections.abc import AsyncIterator, Callable
from typing import Any
from unittest import mock
from uuid import uuid4

import msgspec
import pytest
import trio
import trio.testing

from actors.room import Ask, RoomActor
from game import membership
from game.presence import Tick
from persistence import hydration, nodes
from persistence.errors import OutcomeUnknown, Unavailable
from persistence.journal import JournalLike
from persistence.units import CommitUnit
from protocol import commands
from protocol.errors import ErrorCode, Refused
from protocol.replies import Joined, Ok, RoleTaken
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
from tests.support.rooms import AWAY, HOST, comparable, principal

pytestmark = pytest.mark.fail_after(60)

FIRST = "11111111-1111-4111-8111-111111111111"
SECOND = "22222222-2222-4222-8222-222222222222"


@pytest.fixture
async def club(database_url: str) -> AsyncIterator[Club]:
    async with open_club(database_url) as made:
        await made.make_room()
        await made.wallets("ann", "bob", "cat")
        yield made


class Saboteur:
    """A journal that does what it is told in place of the next commits."""

    def __init__(self, inner: JournalLike) -> None:
        self.inner = inner
        self.units: list[CommitUnit] = []
        self.next: list[Callable[[CommitUnit], Any] | Exception] = []
        self.commit_first = False

    async def commit(self, unit: CommitUnit, on_committed: Callable[[], None]) -> None:
        """Commit, or fail as told."""
        self.units.append(unit)
        if not self.next:
            await self.inner.commit(unit, on_committed)
            return
        failure = self.next.pop(0)
        if not isinstance(failure, Exception):
            await failure(unit)
            await self.inner.commit(unit, on_committed)
            return
        if self.commit_first:
            await self.inner.commit(unit, lambda: None)
        raise failure


@pytest.fixture
def saboteur(club: Club) -> Saboteur:
    made = Saboteur(club.journal)
    club.services = _with_journal(club, made)
    return made


def _with_journal(club: Club, journal: JournalLike) -> Any:
    return msgspec.structs.replace(club.services, journal=journal)


async def seat_two(actor: RoomActor) -> None:
    for user_id, seat_index in (("ann", 0), ("bob", 1)):
        await ask(actor, user_id, commands.Join())
        await ask(actor, user_id, commands.Seat(seat_index=seat_index, buy_in=1_000))


async def refusal_of(answered: Answered) -> Refused:
    with pytest.raises(Refused) as caught:
        await answered.get()
    return caught.value


async def seq_of(club: Club) -> int:
    return int(await club.one("SELECT seq FROM game_states WHERE room_id = 'room-1'"))


# At most once


async def test_a_command_sent_again_answers_with_the_first_outcome(club: Club) -> None:
    async with running(club.actor()) as actor:
        await ask(actor, "ann", commands.Join())
        sit = commands.Seat(seat_index=0, buy_in=1_000, command_id=FIRST)
        first = await ask(actor, "ann", sit)
        seq = await seq_of(club)
        again = await ask(actor, "ann", sit)
        assert again == first
        assert await seq_of(club) == seq


async def test_a_command_sent_again_to_a_fresh_actor_changes_nothing(club: Club) -> None:
    sit = commands.Seat(seat_index=0, buy_in=1_000, command_id=FIRST)
    top_up = commands.TopUp(amount=300, command_id=SECOND)
    async with running(club.actor()) as actor:
        await ask(actor, "ann", commands.Join())
        await ask(actor, "ann", sit)
        first = await ask(actor, "ann", top_up)
    club.tokens.clear()
    async with running(club.actor()) as actor:
        seq = await seq_of(club)
        reply = await ask(actor, "ann", sit)
        assert isinstance(reply, RoleTaken)
        assert (reply.seat_index, reply.chips) == (0, 1_000)
        assert await ask(actor, "ann", top_up) == first
        assert await seq_of(club) == seq
        assert live_state(actor).seats[0].chips == 1_300


async def test_two_of_one_id_at_once_are_carried_out_once(club: Club) -> None:
    async with running(club.actor()) as actor:
        await ask(actor, "ann", commands.Join())
        await ask(actor, "ann", commands.Seat(seat_index=0, buy_in=1_000))
        top_up = commands.TopUp(amount=300, command_id=FIRST)
        answers = [post(actor, "ann", top_up) for _ in range(5)]
        replies = [await answer.get() for answer in answers]
        assert len({reply.seq for reply in replies}) == 1
        assert live_state(actor).seats[0].chips == 1_300


@pytest.mark.parametrize("fresh", [False, True])
async def test_one_id_for_two_commands_is_a_conflict(club: Club, fresh: bool) -> None:
    async with running(club.actor()) as actor:
        await ask(actor, "ann", commands.Join(command_id=FIRST))
        if not fresh:
            refused = await refusal_of(post(actor, "ann", commands.Spectate(command_id=FIRST)))
            assert refused.code is ErrorCode.CONFLICT
            return
    async with running(club.actor()) as actor:
        refused = await refusal_of(post(actor, "ann", commands.Spectate(command_id=FIRST)))
        assert (refused.code, refused.details) == (ErrorCode.CONFLICT, {"field": "command_id"})
        assert not live_state(actor).spectators


async def test_a_refused_command_sent_again_is_refused_again(club: Club) -> None:
    async with running(club.actor()) as actor:
        await ask(actor, "ann", commands.Join())
        await ask(actor, "bob", commands.Join())
        await ask(actor, "bob", commands.Seat(seat_index=0, buy_in=1_000))
        sit = commands.Seat(seat_index=0, buy_in=1_000, command_id=FIRST)
        refused = await refusal_of(post(actor, "ann", sit))
        assert refused.code is ErrorCode.SEAT_TAKEN
        await ask(actor, "bob", commands.LeaveSeat())
        assert (await refusal_of(post(actor, "ann", sit))).code is ErrorCode.SEAT_TAKEN
        assert not live_state(actor).seats


async def test_another_users_command_may_have_the_same_id(club: Club) -> None:
    async with running(club.actor()) as actor:
        await ask(actor, "ann", commands.Join(command_id=FIRST))
        reply = await ask(actor, "bob", commands.Join(command_id=FIRST))
        assert isinstance(reply, Joined)


# Wallets and batches


async def test_a_buy_in_beyond_the_wallet_is_refused_and_the_others_go_on(club: Club) -> None:
    await club.wallets("poor", balance=500)
    async with running(club.actor()) as actor:
        for user_id in ("ann", "poor", "new"):
            await ask(actor, user_id, commands.Join())
        answers = [
            post(actor, user_id, commands.Seat(seat_index=index, buy_in=1_000))
            for index, user_id in enumerate(("ann", "poor", "new"))
        ]
        assert isinstance(await answers[0].get(), RoleTaken)
        for answer in answers[1:]:
            assert (await refusal_of(answer)).code is ErrorCode.INSUFFICIENT_BALANCE
        assert set(live_state(actor).seats) == {0}
    assert await club.one("SELECT balance FROM wallets WHERE user_id = 'poor'") == 500


async def test_what_waits_is_committed_as_one_unit(club: Club, saboteur: Saboteur) -> None:
    async with running(club.actor()) as actor:
        answers = [post(actor, user_id, commands.Join()) for user_id in ("ann", "bob", "cat")]
        replies = [await answer.get() for answer in answers]
    assert [reply.seq for reply in replies] == [1, 2, 3]
    assert len(saboteur.units) == 1


async def test_an_event_and_the_answer_to_its_command_are_one_send(club: Club) -> None:
    socket, answered = Socket("ann"), trio.Event()

    def answer(reply: Ok | Refused) -> None:
        socket.enqueue(msgspec.json.encode(reply) + b"\n")
        answered.set()

    async with running(club.actor()) as actor:
        await ask(actor, "ann", commands.Join())
        (await attach(actor, "ann", socket)).release(0)
        actor.mailbox.put_nowait(
            Ask(commands.Seat(seat_index=0, buy_in=1_000), principal("ann"), "test", answer, socket)
        )
        await answered.wait()
        assert [message["type"] for message in socket.got][-1] == "ok"
        assert len(socket.got) > 1
        assert socket.sends == 1


async def test_a_hand_may_end_and_the_next_begin_in_one_unit(
    club: Club, saboteur: Saboteur
) -> None:
    async with running(club.actor()) as actor:
        await seat_two(actor)
        await ask(actor, HOST, commands.Start())
        before = len(saboteur.units)
        fold = post(actor, "ann", commands.Action(action="FOLD"))
        start = post(actor, HOST, commands.Start())
        await fold.get()
        await start.get()
        hand = live_state(actor).hand
        assert hand is not None
        assert hand.setup.number == 2
        assert len(saboteur.units) == before + 1


# Failure


@pytest.mark.parametrize("happened", [True, False])
async def test_an_unknown_outcome_ends_in_the_true_answer(
    club: Club, saboteur: Saboteur, happened: bool
) -> None:
    socket = Socket(HOST)
    async with running(club.actor()) as actor:
        (await attach(actor, HOST, socket)).release(0)
        saboteur.commit_first = happened
        saboteur.next = [OutcomeUnknown("gone")]
        answered = post(actor, "ann", commands.Join())
        if happened:
            reply = await answered.get()
            assert reply.seq == 1
        else:
            assert (await refusal_of(answered)).code is ErrorCode.UNAVAILABLE
        assert [event["seq"] for event in socket.got] == ([1] if happened else [])
        assert await seq_of(club) == (1 if happened else 0)
        await ask(actor, "bob", commands.Join())
        assert [event["seq"] for event in socket.got][-1] == (2 if happened else 1)


async def test_an_unknown_outcome_of_an_adopted_room_is_told_by_its_own_unit(
    club: Club, saboteur: Saboteur
) -> None:
    """The unit that wrote the room last must not pass for the one in doubt."""
    async with running(club.actor()) as actor:
        await ask(actor, "ann", commands.Join())
    claim = (await nodes.claim(club.pool, club.services.node_id, ["room-1"]))["room-1"]
    state = await hydration.load_room(club.pool, "room-1")
    adopted = RoomActor("room-1", club.services, state, claim.unit_id)
    async with running(adopted) as actor:
        saboteur.next = [OutcomeUnknown("gone")]
        assert (await refusal_of(post(actor, "bob", commands.Join()))).code is (
            ErrorCode.UNAVAILABLE
        )
        await attach(actor, HOST, Socket(HOST))
        assert "bob" not in live_state(actor).members


async def test_a_superseded_room_that_is_still_ours_decides_again(
    club: Club, saboteur: Saboteur
) -> None:
    async def supersede(_: CommitUnit) -> None:
        await nodes.claim(club.pool, club.services.node_id, ["room-1"])

    async with running(club.actor()) as actor:
        saboteur.next = [supersede]
        reply = await ask(actor, "ann", commands.Join())
        assert isinstance(reply, Joined)
        assert reply.seq == 1
        assert len(saboteur.units) == 2


async def test_a_room_that_another_process_took_says_moved_to_everybody(
    club: Club, saboteur: Saboteur
) -> None:
    async def take_over(_: CommitUnit) -> None:
        await nodes.register(club.pool, "node-b", "node-b.test", 60.0)
        await nodes.resign(club.pool, club.services.node_id)
        await nodes.claim(club.pool, "node-b", ["room-1"])
        answers.append(post(actor, "cat", commands.Join()))

    answers: list[Answered] = []
    actor = club.actor()
    async with running(actor):
        saboteur.next = [take_over]
        answers += [post(actor, "ann", commands.Join()), post(actor, "bob", commands.Join())]
        for answered in (answers[0], answers[1]):
            refused = await refusal_of(answered)
            assert (refused.code, refused.details) == (
                ErrorCode.MOVED,
                {"address": "node-b.test"},
            )
        assert (await refusal_of(answers[2])).code is ErrorCode.MOVED
    assert club.lost == ["room-1"]
    assert actor.mailbox.closed
    assert await seq_of(club) == 0


async def test_a_poisonous_command_hurts_its_sender_only(club: Club) -> None:
    actor = club.actor()
    lives = 0

    async def keep_alive() -> None:
        nonlocal lives
        while True:
            lives += 1
            try:
                await actor.run(started=lambda: None)
            except ZeroDivisionError:
                continue

    def poison(*_: object) -> None:
        raise ZeroDivisionError

    with mock.patch.object(membership, "spectate", poison):
        async with trio.open_nursery() as nursery:
            answers = [
                post(actor, "ann", commands.Join(command_id=FIRST)),
                post(actor, "bob", commands.Spectate()),
                post(actor, "cat", commands.Join()),
            ]
            nursery.start_soon(keep_alive)
            assert isinstance(await answers[0].get(), Ok)
            refused = await refusal_of(answers[1])
            assert isinstance(await answers[2].get(), Ok)
            nursery.cancel_scope.cancel()
    assert refused.code is ErrorCode.INTERNAL
    assert refused.details is not None
    assert set(refused.details) == {"id"}
    assert lives == 2
    assert await seq_of(club) == 2
    assert all(len(answered.values) == 1 for answered in answers)


async def test_values_that_the_database_does_not_take_hurt_their_sender_only(club: Club) -> None:
    actor = club.actor()
    crashes: list[Exception] = []

    async def keep_alive() -> None:
        while True:
            try:
                await actor.run(started=lambda: None)
            except Exception as error:
                crashes.append(error)

    async with trio.open_nursery() as nursery:
        answers = [
            post(actor, "ann", commands.Join()),
            post(actor, "bob", commands.Join(display_name="b\x00b")),
            post(actor, "cat", commands.Join()),
        ]
        nursery.start_soon(keep_alive)
        assert isinstance(await answers[0].get(), Ok)
        assert (await refusal_of(answers[1])).code is ErrorCode.INTERNAL
        assert isinstance(await answers[2].get(), Ok)
        nursery.cancel_scope.cancel()
    assert len(crashes) == 1
    assert await seq_of(club) == 2


async def test_an_absent_database_is_unavailable_and_heals(club: Club, saboteur: Saboteur) -> None:
    async with running(club.actor()) as actor:
        saboteur.next = [AWAY]
        refused = await refusal_of(post(actor, "ann", commands.Join()))
        assert refused.code is ErrorCode.UNAVAILABLE
        assert refused.retry_after_s
        reply = await ask(actor, "ann", commands.Join())
        assert isinstance(reply, Joined)


async def test_while_the_database_is_away_everybody_is_turned_away_and_told_nothing(
    club: Club, saboteur: Saboteur
) -> None:
    socket = Socket(HOST)
    async with running(club.actor()) as actor:
        (await attach(actor, HOST, socket)).release(0)
        with mock.patch.object(nodes, "claim", side_effect=Unavailable("away")):
            saboteur.next = [AWAY]
            for user_id in ("ann", "bob", "cat"):
                refused = await refusal_of(post(actor, user_id, commands.Join()))
                assert refused.code is ErrorCode.UNAVAILABLE
        assert not socket.got
        assert isinstance(await ask(actor, "ann", commands.Join()), Joined)
        assert [event["seq"] for event in socket.got] == [1]


# Timers


async def test_the_clock_runs_by_itself(club: Club) -> None:
    began = trio.current_time()
    start = club.now

    def now() -> int:
        return start + int((trio.current_time() - began) * 1000)

    club.services = msgspec.structs.replace(club.services, now=now, hand_interval_ms=30)
    async with running(club.actor()) as actor:
        socket = Socket(HOST)
        (await attach(actor, HOST, socket)).release(0)
        await seat_two(actor)
        while not any(event["type"] == "turn_started" for event in socket.got):
            await trio.testing.wait_all_tasks_blocked(0.01)
        clock = live_state(actor).clock
        assert clock is not None
        clock.deadline = now() + 30
        live_state(actor).seats[clock.seat_index].time_bank_ms = 20
        post(actor, "zoe", commands.LeaveRoom())
        while not any(event["type"] == "hand_complete" for event in socket.got):
            await trio.testing.wait_all_tasks_blocked(0.01)
        (action,) = [event for event in socket.got if event["type"] == "player_action"]
        assert action["auto"]


async def test_a_busy_mailbox_does_not_hold_the_clock_up(club: Club) -> None:
    async with running(club.actor()) as actor:
        await seat_two(actor)
        club.now += 3_000
        answered = post(actor, "zoe", commands.LeaveRoom())
        assert (await refusal_of(answered)).code is ErrorCode.NOT_FOUND
        await attach(actor, HOST, Socket(HOST))
        assert live_state(actor).hand is not None


async def test_an_action_that_came_in_time_is_before_the_clock(club: Club) -> None:
    async with running(club.actor()) as actor:
        await seat_two(actor)
        await ask(actor, HOST, commands.Start())
        club.now += 80_000
        assert isinstance(await ask(actor, "ann", commands.Action(action="CALL")), Ok)


async def test_a_refusal_that_stands_on_what_did_not_commit_is_not_told(
    club: Club, saboteur: Saboteur
) -> None:
    async with running(club.actor()) as actor:
        await seat_two(actor)
        saboteur.next = [AWAY]
        leaving = post(actor, "ann", commands.LeaveSeat())
        without_seat = post(actor, "ann", commands.SitOut())
        with_id = post(actor, "ann", commands.SitIn(command_id=str(uuid4())))
        for answered in (leaving, without_seat, with_id):
            assert (await refusal_of(answered)).code is ErrorCode.UNAVAILABLE
        await ask(actor, "ann", commands.SitOut())


async def test_attaching_asks_the_committed_state(club: Club, saboteur: Saboteur) -> None:
    async with running(club.actor()) as actor:
        saboteur.next = [OutcomeUnknown("gone")]
        joining = post(actor, "ann", commands.Join())
        with pytest.raises(Refused) as caught:
            await attach(actor, "ann", Socket("ann"))
        assert caught.value.code is ErrorCode.NOT_APPROVED
        assert (await refusal_of(joining)).code is ErrorCode.UNAVAILABLE


async def test_who_joins_on_a_socket_hears_of_it_there(club: Club) -> None:
    socket = Socket("ann")
    async with running(club.actor()) as actor:
        reply = await post(actor, "ann", commands.Join(), socket=socket).get()
        assert [event["type"] for event in socket.got] == ["player_approved"]
        assert reply.rejoin_token == club.tokens["room-1", "ann"]
        await ask(actor, HOST, commands.Kick(user_id="ann"))
        assert [event["type"] for event in socket.got] == ["player_approved", "player_kicked"]
        await ask(actor, "bob", commands.Join())
        assert len(socket.got) == 2
        assert club.tokens["room-1", "ann"] is None


async def test_a_life_begins_from_the_database(club: Club) -> None:
    async with running(club.actor()) as actor:
        await seat_two(actor)
        await ask(actor, HOST, commands.Start())
        before = comparable(live_state(actor), seen=False)
    async with running(club.actor()) as actor:
        after = comparable(live_state(actor), seen=False)
        assert after.pop("epoch") == before.pop("epoch") + 1
        assert after == before
        actor.mailbox.put_nowait(Tick())
        await ask(actor, "ann", commands.Action(action="CALL"))
