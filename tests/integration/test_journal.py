"""What every journal promises, and what only the real one can show."""

import traceback
from collections.abc import AsyncIterator
from typing import Protocol

import msgspec
import pytest
import trio
import trio.testing

from game.changes import EventTold, LedgerEntry, PushQueued, WalletMove
from game.table import table_state
from persistence.connection import TrioConnection
from persistence.errors import (
    ConstraintViolated,
    OutcomeUnknown,
    RowsRefused,
    Superseded,
    Unavailable,
)
from persistence.journal import LOCK_TIMEOUT_MS, CommittedBatch, Journal, JournalLike
from persistence.pool import Connection, Pool
from persistence.units import Advance, CommandDone, CommitUnit, Row
from tests.support.live_rooms import Club, until_waiting_for_a_lock
from tests.support.patience import PATIENCE_S
from tests.support.postgres import PostgresForTests
from tests.support.rooms import START, FakeJournal, make_room

pytestmark = pytest.mark.fail_after(60)

EMPTY = msgspec.Raw(msgspec.json.encode(table_state(make_room())))
COMMAND = "00000000-0000-4000-8000-00000000000{}"


def unit_of(
    room_id: str = "r1", *rows: Row, seq: int = 0, epoch: int = 1, unit_id: int = 1, told: int = 1
) -> CommitUnit:
    """A unit that tells `told` events and writes `rows`."""
    events = [
        EventTold(room_id, seq + i, START, "game_paused", msgspec.Raw(b'{"game_id":"g"}'))
        for i in range(1, told + 1)
    ]
    return CommitUnit(Advance(room_id, epoch, seq, seq + told, unit_id, EMPTY, 0), [*events, *rows])


def command_done(number: int, room_id: str = "r1") -> CommandDone:
    command_id = COMMAND.format(number)
    return CommandDone(command_id, "ann", room_id, "pause", msgspec.Raw(b"{}"), START)


def nothing() -> None:
    """For when nobody is to be told."""


class Backend(Protocol):
    """A journal with rooms r1 to r9 at seq 0 in epoch 1 and a wallet of 100 for ann."""

    journal: JournalLike

    async def place(self, room_id: str) -> tuple[int, int]:
        """The room's seq and its last unit."""

    async def balance(self) -> int:
        """What is in ann's wallet."""


class FakeBackend:
    def __init__(self) -> None:
        self.fake = FakeJournal({f"r{n}": (1, 0, 0) for n in range(1, 10)}, {"ann": 100})
        self.journal: JournalLike = self.fake

    async def place(self, room_id: str) -> tuple[int, int]:
        return self.fake.rooms[room_id][1:]

    async def balance(self) -> int:
        return self.fake.wallets["ann"]


class RealBackend:
    """The real journal on a database of its own."""

    def __init__(
        self,
        url: str,
        pool: Pool,
        timeout_s: float = PATIENCE_S,
        lock_timeout_ms: int = LOCK_TIMEOUT_MS,
    ) -> None:
        self.pool = pool
        self.url = url
        self.connections: list[Connection] = []
        self.batches: list[CommittedBatch] = []
        self.pushes: list[int] = []
        self.connect_error: Exception | None = None
        self.real = Journal(
            self._connect,
            timeout_s=timeout_s,
            lock_timeout_ms=lock_timeout_ms,
            on_batch=self.batches.append,
            on_push=lambda: self.pushes.append(self.batches[-1].units),
        )
        self.journal: JournalLike = self.real

    async def _connect(self) -> Connection:
        if self.connect_error is not None:
            raise self.connect_error
        conn: Connection = await TrioConnection.connect(self.url, autocommit=True)
        self.connections.append(conn)
        return conn

    async def prepare(self) -> None:
        club = Club(self.pool, self.journal)
        for n in range(1, 10):
            await club.make_room(f"r{n}")
        await club.wallets("ann", balance=100)

    async def place(self, room_id: str) -> tuple[int, int]:
        async with self.pool.connection() as conn:
            row = await (
                await conn.execute(
                    "SELECT seq, unit_id FROM game_states WHERE room_id = %s", (room_id,)
                )
            ).fetchone()
        assert row is not None
        return (row[0], row[1])

    async def balance(self) -> int:
        async with self.pool.connection() as conn:
            row = await (await conn.execute("SELECT balance FROM wallets")).fetchone()
        assert row is not None
        return int(row[0])

    async def lock(self, room_id: str, *, task_status: trio.TaskStatus[trio.Event]) -> None:
        """Hold a room's row, so that commits to it wait, until the event is set."""
        done = trio.Event()
        async with self.pool.transaction() as conn:
            await conn.execute(
                "SELECT 1 FROM game_states WHERE room_id = %s FOR UPDATE", (room_id,)
            )
            task_status.started(done)
            await done.wait()


def pool_of(url: str) -> Pool:
    """A pool for preparing and looking."""
    return Pool(url, size=4, timeout_s=PATIENCE_S)


@pytest.fixture
async def real(database_url: str) -> AsyncIterator[RealBackend]:
    async with pool_of(database_url) as pool, trio.open_nursery() as nursery:
        # Tests that hold a lock mean to be waited for.
        backend = RealBackend(database_url, pool, lock_timeout_ms=60_000)
        await nursery.start(backend.real.run)
        await backend.prepare()
        yield backend
        nursery.cancel_scope.cancel()


@pytest.fixture(params=["fake", "real"])
async def backend(request: pytest.FixtureRequest, database_url: str) -> AsyncIterator[Backend]:
    if request.param == "fake":
        yield FakeBackend()
        return
    async with pool_of(database_url) as pool, trio.open_nursery() as nursery:
        made = RealBackend(database_url, pool)
        await nursery.start(made.real.run)
        await made.prepare()
        yield made
        nursery.cancel_scope.cancel()


async def outcome_of(journal: JournalLike, unit: CommitUnit) -> object:
    """Commit and return what came of it: the error, or None."""
    try:
        await journal.commit(unit, nothing)
    except Exception as error:
        return error
    return None


async def all_at_once(journal: JournalLike, units: list[CommitUnit]) -> list[object]:
    """Commit units at the same moment; what came of each."""
    outcomes: dict[int, object] = {}

    async def one(index: int, unit: CommitUnit) -> None:
        outcomes[index] = await outcome_of(journal, unit)

    async with trio.open_nursery() as nursery:
        for index, unit in enumerate(units):
            nursery.start_soon(one, index, unit)
    return [outcomes[index] for index in range(len(units))]


# The contract


async def test_a_committed_unit_is_there_when_its_callback_is_called(backend: Backend) -> None:
    called: list[int] = []
    await backend.journal.commit(unit_of(told=2, unit_id=7), lambda: called.append(1))
    assert called == [1]
    assert await backend.place("r1") == (2, 7)


async def test_a_unit_without_events_still_leaves_its_id(backend: Backend) -> None:
    await backend.journal.commit(unit_of(told=0, unit_id=7), nothing)
    assert await backend.place("r1") == (0, 7)


@pytest.mark.parametrize("unit", [unit_of(seq=1), unit_of(epoch=2), unit_of(epoch=0)])
async def test_another_seq_or_epoch_is_superseded(backend: Backend, unit: CommitUnit) -> None:
    called: list[int] = []
    with pytest.raises(Superseded) as caught:
        await backend.journal.commit(unit, lambda: called.append(1))
    assert caught.value.key == "r1"
    assert not called
    assert await backend.place("r1") == (0, 0)


async def test_the_same_unit_twice_is_superseded(backend: Backend) -> None:
    await backend.journal.commit(unit_of(), nothing)
    with pytest.raises(Superseded):
        await backend.journal.commit(unit_of(), nothing)


async def test_of_two_units_for_one_room_at_once_one_is_superseded(backend: Backend) -> None:
    outcomes = await all_at_once(backend.journal, [unit_of(unit_id=1), unit_of(unit_id=2)])
    assert [type(outcome) for outcome in outcomes if outcome is not None] == [Superseded]


async def test_one_refused_unit_does_not_hurt_the_others(backend: Backend) -> None:
    overdraft = WalletMove("ann", -101)
    units = [
        unit_of("r1"),
        unit_of("r2", seq=5),
        unit_of("r3", overdraft),
        unit_of("r4", WalletMove("nobody", 5)),
        unit_of("r5", WalletMove("ann", -100)),
        unit_of("r6"),
    ]
    outcomes = await all_at_once(backend.journal, units)
    assert isinstance(outcomes[1], Superseded)
    assert isinstance(outcomes[2], ConstraintViolated)
    assert outcomes[2].constraint == "wallets_balance_check"
    assert isinstance(outcomes[3], ConstraintViolated)
    assert outcomes[3].constraint == "wallets_missing"
    assert [outcomes[i] for i in (0, 4, 5)] == [None, None, None]
    assert [(await backend.place(f"r{n}"))[0] for n in range(1, 7)] == [1, 0, 0, 0, 1, 1]
    assert await backend.balance() == 0


async def test_moves_of_one_wallet_in_one_unit_are_summed(backend: Backend) -> None:
    await backend.journal.commit(
        unit_of("r1", WalletMove("ann", -100), WalletMove("ann", 40), WalletMove("ann", 5)), nothing
    )
    assert await backend.balance() == 45


async def test_a_command_id_is_used_once(backend: Backend) -> None:
    await backend.journal.commit(unit_of("r1", command_done(1)), nothing)
    with pytest.raises(ConstraintViolated) as caught:
        await backend.journal.commit(unit_of("r1", command_done(1), seq=1), nothing)
    assert caught.value.constraint == "commands_key"
    assert await backend.place("r1") == (1, 1)


async def test_a_callback_that_raises_hurts_its_own_actor_only(backend: Backend) -> None:
    raised: list[BaseException] = []

    async def bad() -> None:
        try:
            await backend.journal.commit(unit_of("r1"), lambda: 1 / 0)  # type: ignore[arg-type]
        except ZeroDivisionError as error:
            raised.append(error)

    outcomes: list[object] = []

    async def good() -> None:
        outcomes.append(await outcome_of(backend.journal, unit_of("r2")))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(bad)
        nursery.start_soon(good)
    assert raised
    assert outcomes == [None]
    assert await backend.place("r1") == (1, 1)


async def test_a_cancelled_caller_learns_the_outcome_all_the_same(backend: Backend) -> None:
    called: list[int] = []
    with trio.CancelScope() as scope:
        scope.cancel()
        await backend.journal.commit(unit_of(), lambda: called.append(1))
        assert called == [1], "commit returned before its outcome"
    assert await backend.place("r1") == (1, 1)


# The real one


async def test_units_that_wait_together_are_committed_together(real: RealBackend) -> None:
    async with trio.open_nursery() as nursery:
        done: trio.Event = await nursery.start(real.lock, "r1")
        nursery.start_soon(outcome_of, real.journal, unit_of("r1"))
        await until_waiting_for_a_lock(real.pool)
        for n in range(2, 10):
            nursery.start_soon(outcome_of, real.journal, unit_of(f"r{n}"))
        await trio.testing.wait_all_tasks_blocked()
        assert real.real.depth == 8
        done.set()
    first, rest = real.batches
    assert (first.units, rest.units) == (1, 8)
    assert min(rest.waited_s, rest.commit_s, rest.told_s) > 0
    assert [await real.place(f"r{n}") for n in range(1, 10)] == [(1, 1)] * 9


async def test_a_backend_that_ends_during_the_commit_leaves_the_outcome_unknown(
    real: RealBackend, postgres: PostgresForTests
) -> None:
    outcomes: list[object] = []
    answered = trio.Event()

    async def commit() -> None:
        outcomes.append(await outcome_of(real.journal, unit_of("r1")))
        answered.set()

    async with trio.open_nursery() as nursery:
        done: trio.Event = await nursery.start(real.lock, "r1")
        nursery.start_soon(commit)
        await until_waiting_for_a_lock(real.pool)
        pid = real.connections[-1].info.backend_pid
        await trio.to_thread.run_sync(postgres.terminate, pid)
        await answered.wait()
        done.set()
    assert isinstance(outcomes[0], OutcomeUnknown)
    assert await real.place("r1") == (0, 0)
    await real.journal.commit(unit_of("r1"), nothing)


async def test_a_connection_lost_while_idle_puts_no_outcome_in_doubt(
    real: RealBackend, postgres: PostgresForTests
) -> None:
    await real.journal.commit(unit_of("r1"), nothing)
    pid = real.connections[-1].info.backend_pid
    await trio.to_thread.run_sync(postgres.terminate, pid)
    await trio.lowlevel.wait_readable(real.connections[-1].fileno())
    await real.journal.commit(unit_of("r1", seq=1), nothing)
    assert len(real.connections) == 2


async def test_an_absent_database_is_unavailable_in_time_and_heals(
    database_url: str,
) -> None:
    async with pool_of(database_url) as pool, trio.open_nursery() as nursery:
        backend = RealBackend(database_url, pool, timeout_s=1.0)
        await nursery.start(backend.real.run)
        await backend.prepare()
        backend.connect_error = OSError("no route")
        began = trio.current_time()
        with pytest.raises(Unavailable) as caught:
            await backend.journal.commit(unit_of(), nothing)
        assert not isinstance(caught.value, OutcomeUnknown)
        assert 1.0 <= trio.current_time() - began < PATIENCE_S / 2
        assert [backend.real.away, backend.real.depth] == [True, 0]
        backend.connect_error = None
        await backend.journal.commit(unit_of(), nothing)
        assert [backend.real.away, backend.real.depth] == [False, 0]
        nursery.cancel_scope.cancel()


async def test_values_that_the_database_does_not_take_hurt_their_own_unit_only(
    real: RealBackend,
) -> None:
    nul = command_done(1)._replace(type="a\x00b")
    unencodable = LedgerEntry("t", "house", "\ud800", None, None, None, 1, "hand", None, START)
    units = [unit_of("r1"), unit_of("r2", nul), unit_of("r3", unencodable), unit_of("r4")]
    outcomes = await all_at_once(real.journal, units)
    assert [outcome is None for outcome in outcomes] == [True, False, False, True]
    assert [(await real.place(f"r{n}"))[0] for n in range(1, 5)] == [1, 0, 0, 1]


async def test_an_error_tells_nothing_of_the_rows(real: RealBackend) -> None:
    secret = command_done(1)._replace(type="AhKd\x00")
    (error,) = await all_at_once(real.journal, [unit_of("r1", secret)])
    assert isinstance(error, RowsRefused)
    assert error.sqlstate == "22P05"
    told = "".join(traceback.format_exception(error))
    assert "AhKd" not in told


class CancelAtStep(trio.abc.Instrument):
    """Cancels a scope just before the so-manyth step of one task."""

    def __init__(self, step: int, scope: trio.CancelScope) -> None:
        self.left = step
        self.scope = scope
        self.task_name = f"{Journal.__module__}.{Journal.__qualname__}._write"

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if task.name == self.task_name:
            self.left -= 1
            if self.left < 0:
                self.scope.cancel()


async def test_cancelling_the_writers_at_any_await_loses_no_outcome(real: RealBackend) -> None:
    """Its other writer rests, so the steps that are counted are those of the one that is ended."""
    seen: set[tuple[bool, ...]] = set()
    for step in range(60):
        journal = Journal(real._connect, timeout_s=PATIENCE_S)
        outcomes: dict[str, object] = {}
        places = {f"r{n}": await real.place(f"r{n}") for n in range(1, 4)}

        async def commit(
            room_id: str, journal: Journal = journal, outcomes: dict[str, object] = outcomes
        ) -> None:
            seq, _ = await real.place(room_id)
            outcomes[room_id] = await outcome_of(journal, unit_of(room_id, seq=seq))

        async with trio.open_nursery() as nursery:
            writers = trio.CancelScope()

            async def write(
                *,
                task_status: trio.TaskStatus[None],
                journal: Journal = journal,
                writers: trio.CancelScope = writers,
            ) -> None:
                with writers:
                    await journal.run(task_status=task_status)

            await nursery.start(write)
            instrument = CancelAtStep(step, writers)
            trio.lowlevel.add_instrument(instrument)
            async with trio.open_nursery() as callers:
                for room_id in places:
                    callers.start_soon(commit, room_id)
            trio.lowlevel.remove_instrument(instrument)
            writers.cancel()
        for room_id, outcome in outcomes.items():
            assert outcome is None or type(outcome) is Unavailable
            moved = (await real.place(room_id))[0] - places[room_id][0]
            assert moved == (1 if outcome is None else 0)
        assert type(await outcome_of(journal, unit_of("r9"))) is Unavailable, "it has ended"
        seen.add(tuple(outcomes[room_id] is None for room_id in places))
        if instrument.left >= 0:
            break
    else:
        pytest.fail("the commit path has no end")
    assert {(True,) * 3, (False,) * 3} <= seen


@pytest.mark.parametrize("rooms", [9, 10_000])
async def test_the_statements_find_their_rows_by_key(real: RealBackend, rooms: int) -> None:
    """The writer's session scans no table for a room's rows, be there few rooms or many."""
    await real.journal.commit(unit_of("r1"), nothing)
    conn = real.connections[-1]
    await conn.execute(
        """INSERT INTO room_seats (room_id, seat_index, user_id, display_name, chips, status,
               time_bank_ms, clock_outs, away, sitting_id, last_seen_at)
           SELECT 'r1', 0, 'ann', 'Ann', 1, 'active', 0, 0, false, 's', now()"""
    )
    await conn.execute(
        """INSERT INTO hands (id, room_id, game_id, number, variant, deck, button_seat,
               small_blind_seat, big_blind_seat, small_blind, big_blind, ante, rake_basis_points,
               rake_cap, board, pot, current_bet, phase, rake, started_at, ended_at)
           SELECT 'h' || n, 'x' || n, 'g', 1, 'nlhe', '', 0, 0, 1, 1, 2, 0, 0, 0, '{}', 0, 0,
                  'preflop', 0, now(), now() FROM generate_series(1, %s) n""",
        (rooms,),
    )
    await conn.execute(
        "INSERT INTO wallets SELECT 'w' || n, 'W', 0, now() FROM generate_series(1, %s) n", (rooms,)
    )
    await conn.execute("ANALYZE")
    for table, set_to, key in [
        ("game_states", "seq = 1", "x.room_id = r ->> 0 AND x.seq = (r ->> 2)::bigint"),
        ("room_seats", "chips = 1", "x.room_id = r ->> 0 AND x.seat_index = (r ->> 1)::smallint"),
        ("hands", "pot = 1", "x.id = r ->> 0"),
        ("players", "shown = true", "x.hand_id = r ->> 0 AND x.seat_index = (r ->> 1)::smallint"),
        ("rooms", "host_id = ''", "x.id = r ->> 0"),
        ("wallets", "balance = 1", "x.user_id = r ->> 0"),
        ("sittings", "ended_at = now()", "x.id = r ->> 0"),
        ("rejoin_tokens", "replaced = true", "x.room_id = r ->> 0 AND x.user_id = r ->> 1"),
    ]:
        query = (
            f"EXPLAIN UPDATE {table} x SET {set_to}"
            f" FROM jsonb_array_elements('[]'::jsonb) r WHERE {key}"
        )
        rows = await (await conn.execute(query.encode())).fetchall()
        plan = "\n".join(row[0] for row in rows)
        assert "Seq Scan" not in plan, plan
        assert "Nested Loop" in plan, plan


async def test_a_batch_that_queues_notifications_nudges_the_worker(
    real: RealBackend,
) -> None:
    queued = PushQueued("seat_offer", "ann", "t", "b", msgspec.Raw(b"{}"), None, START)
    await real.journal.commit(unit_of("r1"), nothing)
    assert real.pushes == []
    with pytest.raises(Superseded):
        await real.journal.commit(unit_of("r2", queued, seq=5), nothing)
    assert real.pushes == []
    await all_at_once(real.journal, [unit_of("r2", queued), unit_of("r3", queued), unit_of("r4")])
    assert 1 <= len(real.pushes) <= len(real.batches) - 1
    async with real.pool.connection(read_only=True) as conn:
        found = await (
            await conn.execute("SELECT recipients, to_ms(next_attempt_at) FROM push_notifications")
        ).fetchall()
    assert found == [(["ann"], START)] * 2
