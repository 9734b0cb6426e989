"""What the database says of a room is what its actor holds, after whatever was done to it."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgspec
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from game.poker.variants import VARIANTS
from game.presence import Gone, Seen, TakenOver, Tick, Unseen
from game.state import RoomState
from persistence import hydration
from persistence.audit import audit
from persistence.pool import Pool
from protocol import commands
from protocol.values import BombPot, SettingsPatch
from tests.support.live_rooms import (
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
from tests.support.rooms import HOST, STAFF, comparable

USERS = [HOST, STAFF, "ann", "bob"]
users = st.sampled_from(USERS)
amounts = st.integers(50, 2_200)
variants = st.sampled_from(list(VARIANTS))
AT_ONCE = settings(max_examples=25, print_blob=True)

asks = st.one_of(
    st.tuples(users, st.builds(commands.Join)),
    st.tuples(users, st.builds(commands.Approve, user_id=users)),
    st.tuples(users, st.builds(commands.Seat, seat_index=st.integers(0, 3), buy_in=st.just(1_000))),
    st.tuples(users, st.builds(commands.LeaveSeat)),
    st.tuples(users, st.builds(commands.LeaveRoom)),
    st.tuples(users, st.builds(commands.Spectate)),
    st.tuples(users, st.builds(commands.SitOut)),
    st.tuples(users, st.builds(commands.SitIn)),
    st.tuples(users, st.builds(commands.TopUp, amount=amounts)),
    st.tuples(st.just(HOST), st.builds(commands.Kick, user_id=users, reason=st.just("rude"))),
    st.tuples(st.just(HOST), st.builds(commands.Ban, user_id=users, reason=st.just("rude"))),
    st.tuples(st.just(HOST), st.builds(commands.Unban, user_id=users)),
    st.tuples(st.just(HOST), st.builds(commands.Start)),
    st.tuples(st.just(HOST), st.builds(commands.Pause)),
    st.tuples(st.just(HOST), st.builds(commands.Resume)),
    st.tuples(users, st.builds(commands.WaitlistJoin, seat_number=st.none() | st.integers(0, 4))),
    st.tuples(st.just(STAFF), st.builds(commands.WaitlistJoin, player_name=st.just("Old Joe"))),
    st.tuples(users, st.builds(commands.WaitlistLeave)),
    st.tuples(users, st.builds(commands.TransferHost, user_id=users)),
    st.tuples(st.just(STAFF), st.builds(commands.RigDeck, cards=st.just(["Ah", "2c"]))),
    st.tuples(
        st.just(STAFF),
        st.builds(
            commands.AdjustChips,
            user_id=users,
            delta=st.integers(-900, 900),
            reason=st.just("test"),
        ),
    ),
    st.tuples(
        users,
        st.builds(
            commands.ChangeSettings,
            settings=st.builds(
                SettingsPatch,
                variant=variants,
                ante=st.integers(0, 9),
                ante_kind=st.sampled_from(["all", "big_blind", "button"]),
                straddle=st.sampled_from([0, 20, 500]),
                bomb_pot=st.sampled_from([None, BombPot(every_n_hands=2, amount=30)]),
                run_it_times=st.integers(1, 3),
                auto_start=st.booleans(),
            ),
        ),
    ),
)
plays = st.tuples(
    st.none(),
    st.builds(
        commands.Action,
        action=st.sampled_from(["FOLD", "CHECK", "CALL", "CALL", "RAISE", "BET", "ALL_IN"]),
        amount=amounts,
    ),
)
all_in = st.tuples(st.none(), st.builds(commands.Action, action=st.just("ALL_IN")))
votes = st.tuples(
    st.none() | users, st.builds(commands.RunIt, times=st.sampled_from([1, 2, 2, 3, 3]))
)
internal = st.one_of(
    st.builds(Tick),
    st.builds(Seen, users),
    st.builds(Unseen, users, st.just(5)),
    st.builds(Gone, users),
    st.builds(TakenOver),
)
steps = st.lists(
    st.lists(asks | plays | plays | internal | all_in | all_in | votes, min_size=1, max_size=3),
    min_size=5,
    max_size=30,
)


@pytest.fixture(scope="module")
def shared_url(postgres: PostgresForTests) -> Iterator[str]:
    with postgres.database() as url:
        yield url


@pytest.fixture
async def club(database_url: str) -> AsyncIterator[Club]:
    async with open_club(database_url) as made:
        yield made


class Numbers:
    """Numbers the examples, so that each has a room of its own."""

    last = 0


@AT_ONCE
@given(variant=variants, rounds=steps)
def test_what_is_read_back_is_what_the_actor_holds(
    shared_url: str, variant: str, rounds: list[list[Any]]
) -> None:
    Numbers.last += 1
    trio.run(play_and_compare, shared_url, f"room-{Numbers.last}", variant, rounds)


async def play_and_compare(url: str, room_id: str, variant: str, rounds: list[list[Any]]) -> None:
    with trio.fail_after(60):
        async with open_club(url) as club:
            await club.make_room(room_id, max_seats=4, variant=variant, run_it_times=3)
            await club.wallets(HOST, STAFF, "ann", balance=10**9)
            await club.wallets("bob", balance=1_500)
            async with running(club.actor(room_id)) as actor:
                for user_id, seat_index in ((HOST, 0), ("ann", 1)):
                    if user_id != HOST:
                        await ask(actor, user_id, commands.Join())
                    await ask(actor, user_id, commands.Seat(seat_index=seat_index, buy_in=1_000))
                for batch in rounds:
                    for one in batch:
                        if not isinstance(one, tuple):
                            club.now += 25_000
                            actor.mailbox.put_nowait(one)
                            continue
                        state = live_state(actor)
                        post(actor, one[0] or whose_turn(state), one[1])
                    # Twice: what is due by itself comes after all that waited with the first.
                    for _ in range(2):
                        # Staff may always watch; the host may have handed over just before.
                        await attach(actor, STAFF, Socket(STAFF))
                    await compare(club, room_id, comparable(live_state(actor), seen=False))
                    if live_state(actor).closed:
                        break
            await books_balance(club)


def whose_turn(state: RoomState) -> str:
    """Whoever is to act, or to say how often the board is run out; the host if nobody is."""
    if state.hand is None:
        return HOST
    voted = state.vote.votes if state.vote is not None else {}
    missing = [seat for seat in state.hand.run_it_seats if seat not in voted]
    if state.hand.actor_seat is not None:
        missing = [state.hand.actor_seat]
    return state.seats[missing[0]].user_id


async def compare(club: Club, room_id: str, live: dict[str, Any]) -> None:
    """Compare what the database says of a room with its live state."""
    stored = (await hydration.load_rooms(club.pool, [room_id]))[room_id]
    assert comparable(stored, seen=False) == live


async def books_balance(club: Club) -> None:
    """Nothing is lost over the whole database, and its audit finds nothing."""
    odd = "SELECT 1 FROM ledger_entries GROUP BY transfer_id HAVING count(*) <> 2"
    assert await club.one(f"SELECT count(*) FROM ({odd}) x") == 0
    assert (await audit(club.pool, replay_hands=True)).findings == []


@pytest.mark.fail_after(60)
async def test_a_vote_on_runouts_is_read_back_and_so_are_the_boards(club: Club) -> None:
    await club.make_room(run_it_times=2, ante=4, ante_kind="button")
    await club.wallets(HOST, "ann")
    async with running(club.actor()) as actor:
        await ask(actor, "ann", commands.Join())
        await ask(actor, HOST, commands.Seat(seat_index=0, buy_in=1_000))
        await ask(actor, "ann", commands.Seat(seat_index=1, buy_in=400))
        await ask(actor, HOST, commands.Start())
        for _ in range(2):
            await ask(actor, whose_turn(live_state(actor)), commands.Action(action="ALL_IN"))
        await ask(actor, "ann", commands.RunIt(times=2))
        live = live_state(actor)
        assert live.vote is not None
        assert live.vote.votes == {1: 2}
        await compare(club, "room-1", comparable(live, seen=False))
        await books_balance(club)
        await ask(actor, HOST, commands.RunIt(times=2))
        await compare(club, "room-1", comparable(live_state(actor), seen=False))
    boards = [
        payload["board"]
        for payload in await club.one(
            "SELECT array_agg(payload ORDER BY seq) FROM room_events"
            " WHERE type = 'street_advanced' AND payload ->> 'street' = 'river'"
        )
    ]
    stored = await club.one(
        "SELECT array[array_to_string(board, ''), other_boards[1], runouts::text,"
        " run_it_deadline::text, ante_kind] FROM hands"
    )
    assert stored == [*("".join(board) for board in boards), "2", None, "button"]
    await books_balance(club)


@pytest.mark.fail_after(60)
async def test_the_number_of_queries_does_not_grow_with_the_rooms(club: Club) -> None:
    names = [f"room-{n}" for n in range(50)]
    for name in names:
        await club.make_room(name)
    counted = []
    for wanted in (names[:1], names):
        queries = CountingPool(club.pool)
        loaded = await hydration.load_rooms(queries, wanted)  # type: ignore[arg-type]
        assert sorted(loaded) == sorted(wanted)
        counted.append(queries.count)
    assert counted == [hydration.QUERIES, hydration.QUERIES]


@pytest.mark.fail_after(60)
async def test_an_unknown_room_is_not_there(club: Club) -> None:
    assert await hydration.load_room(club.pool, "nowhere") is None


class CountingPool:
    """A pool whose connections count what their cursors execute."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.count = 0

    def transaction(self, **options: Any) -> Any:
        """Lend a counting connection in a transaction."""
        return _CountingTransaction(self, self._pool.transaction(**options))


class _CountingTransaction:
    def __init__(self, counter: CountingPool, inner: Any) -> None:
        self._counter = counter
        self._inner = inner

    async def __aenter__(self) -> Any:
        self._conn = await self._inner.__aenter__()
        return self

    async def __aexit__(self, *exc: Any) -> Any:
        return await self._inner.__aexit__(*exc)

    def cursor(self, **options: Any) -> Any:
        self._counter.count += 1
        return self._conn.cursor(**options)

    def pipeline(self) -> Any:
        return self._conn.pipeline()


@pytest.mark.fail_after(60)
@pytest.mark.parametrize("ms", [0, 1, 999, 1_763_632_800_123, 1_763_632_800_999, 4_102_444_800_001])
async def test_times_come_back_to_the_millisecond(club: Club, ms: int) -> None:
    assert await club.one("SELECT to_ms(from_ms(%s))", ms) == ms


@pytest.mark.fail_after(60)
async def test_events_are_stored_field_for_field_as_they_are_told(club: Club) -> None:
    await club.make_room()
    await club.wallets("ann")
    socket = Socket("host")
    async with running(club.actor()) as actor:
        (await attach(actor, HOST, socket)).release(0)
        await ask(actor, "ann", commands.Join(display_name="Änn 🂡"))
        await ask(actor, "ann", commands.Seat(seat_index=0, buy_in=500))
        await ask(actor, HOST, commands.ChangeSettings(settings=SettingsPatch(ante=1)))
    async with club.pool.connection() as conn:
        rows = await (
            await conn.execute("SELECT seq, to_ms(at), type, payload::text FROM room_events")
        ).fetchall()
    stored = [
        {
            "type": kind,
            "channel": "room:room-1",
            "seq": seq,
            "at": at,
            **msgspec.json.decode(payload),
        }
        for seq, at, kind, payload in rows
    ]
    assert socket.got == stored
