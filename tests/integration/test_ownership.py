"""Who may write a room, and what grace times see of a change of hands."""

from collections.abc import AsyncIterator

import pytest
import trio

from game.state import RoomState
from persistence import hydration, nodes, seen
from persistence.errors import Superseded
from persistence.pool import Pool
from persistence.seen import SeenAt
from persistence.units import Advance, CommitUnit
from protocol import commands
from tests.integration.test_journal import EMPTY, nothing
from tests.support.live_rooms import (
    AS_JOURNAL,
    NODE,
    Club,
    ask,
    open_club,
    running,
    until_waiting_for_a_lock,
)
from tests.support.rooms import START

pytestmark = pytest.mark.fail_after(60)

ROOM = "room-1"
OTHER = "node-b"
LEASE_S = 60.0


@pytest.fixture
async def club(database_url: str) -> AsyncIterator[Club]:
    """A room of this club's node, with ann seated and bob watching, and another node."""
    async with open_club(database_url) as made:
        await made.make_room()
        await made.wallets("ann")
        async with running(made.actor()) as actor:
            await ask(actor, "ann", commands.Join())
            await ask(actor, "ann", commands.Seat(seat_index=0, buy_in=1_000))
            await ask(actor, "bob", commands.Join())
            await ask(actor, "bob", commands.Spectate())
        await nodes.register(made.pool, OTHER, "node-b.test", LEASE_S)
        yield made


async def loaded(pool: Pool) -> RoomState:
    state = await hydration.load_room(pool, ROOM)
    assert state is not None
    return state


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have claims wait for locks however busy the machine is."""
    monkeypatch.setattr(nodes, "PATIENCE_MS", 60_000)


async def execute(club: Club, statement: str) -> None:
    async with club.pool.connection() as conn:
        await conn.execute(statement.encode())


async def test_a_living_owner_keeps_its_rooms(club: Club) -> None:
    assert await nodes.claim(club.pool, OTHER, [ROOM]) == {}
    assert await nodes.owner_address(club.pool, ROOM) == "node-a.test"
    assert await nodes.live_rooms(club.pool, OTHER) == []
    assert await nodes.live_rooms(club.pool, NODE) == [ROOM]


async def test_an_expired_lease_gives_the_room_away_in_a_new_epoch(club: Club) -> None:
    before = (await loaded(club.pool)).epoch
    await nodes.resign(club.pool, NODE)
    assert await nodes.live_rooms(club.pool, OTHER) == [ROOM]
    claim = (await nodes.claim(club.pool, OTHER, [ROOM]))[ROOM]
    assert (claim.epoch, claim.taken_over) == (before + 1, True)
    state = await loaded(club.pool)
    assert (state.epoch, state.seq) == (claim.epoch, claim.seq)
    assert await nodes.lost_rooms(club.pool, NODE, [ROOM]) == [ROOM]
    assert await nodes.lost_rooms(club.pool, OTHER, [ROOM]) == []


async def test_a_renewed_lease_lives_on(club: Club) -> None:
    await nodes.resign(club.pool, NODE)
    await nodes.renew(club.pool, NODE, LEASE_S)
    assert await nodes.claim(club.pool, OTHER, [ROOM]) == {}


async def test_claiming_ones_own_room_raises_the_epoch_and_takes_nothing_over(club: Club) -> None:
    first = (await nodes.claim(club.pool, NODE, [ROOM]))[ROOM]
    second = (await nodes.claim(club.pool, NODE, [ROOM]))[ROOM]
    assert second.epoch == first.epoch + 1
    assert not second.taken_over


async def test_the_frozen_owner_commits_nothing_more(club: Club) -> None:
    frozen = await loaded(club.pool)
    await nodes.resign(club.pool, NODE)
    await nodes.claim(club.pool, OTHER, [ROOM])
    unit = CommitUnit(
        Advance(ROOM, frozen.epoch, frozen.seq, frozen.seq, 99, EMPTY, 0),
        [],
    )
    with pytest.raises(Superseded):
        await club.journal.commit(unit, nothing)


async def test_of_two_who_claim_at_once_one_wins(club: Club) -> None:
    await nodes.resign(club.pool, NODE)
    await nodes.register(club.pool, "node-c", "node-c.test", LEASE_S)
    won: list[str] = []

    async def claim(node_id: str) -> None:
        if ROOM in await nodes.claim(club.pool, node_id, [ROOM]):
            won.append(node_id)

    for _ in range(10):
        won.clear()
        await execute(club, "UPDATE rooms SET owner_node = NULL")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(claim, OTHER)
            nursery.start_soon(claim, "node-c")
        assert len(won) == 1
        assert await club.one("SELECT owner_node FROM rooms") == won[0]


@pytest.mark.usefixtures("patient")
async def test_a_claim_waits_for_a_commit_under_way_and_sees_it(club: Club) -> None:
    await nodes.resign(club.pool, NODE)
    claims: list[nodes.Claim] = []

    async def claim() -> None:
        claims.append((await nodes.claim(club.pool, OTHER, [ROOM]))[ROOM])

    async with trio.open_nursery() as nursery:
        async with club.pool.transaction() as conn:
            await conn.execute("UPDATE game_states SET seq = seq + 1, unit_id = 77")
            nursery.start_soon(claim)
            await until_waiting_for_a_lock(club.pool)
            assert not claims
    assert claims[0].unit_id == 77
    assert claims[0].seq == (await loaded(club.pool)).seq


@pytest.mark.usefixtures("patient")
async def test_a_claim_and_a_commit_never_wait_for_each_other(club: Club) -> None:
    """A commit locks the fence, then the room; were a claim the other way, both would hang."""
    await nodes.resign(club.pool, NODE)
    async with trio.open_nursery() as nursery:
        async with club.pool.transaction() as conn:
            await conn.execute("UPDATE game_states SET unit_id = 78")
            nursery.start_soon(nodes.claim, club.pool, OTHER, [ROOM])
            await until_waiting_for_a_lock(club.pool)
            await conn.execute("SET lock_timeout = '500ms'; UPDATE rooms SET closing = NULL")
    assert await club.one("SELECT owner_node FROM rooms") == OTHER


async def test_the_time_without_an_owner_counts_against_nobody(club: Club) -> None:
    before = await loaded(club.pool)
    await execute(club, "UPDATE nodes SET renewed_at = now() - interval '1 hour'")
    await execute(club, "UPDATE nodes SET lease_until = now() - interval '59 minutes'")
    await execute(club, "UPDATE room_seats SET connected = true")
    await nodes.claim(club.pool, OTHER, [ROOM])
    after = await loaded(club.pool)
    hour = 3_600_000
    assert 0 <= after.seats[0].last_seen_at - before.seats[0].last_seen_at - hour < 20_000
    shift = after.spectators["bob"].last_seen_at - before.spectators["bob"].last_seen_at
    assert 0 <= shift - hour < 20_000
    assert await club.one("SELECT connected FROM room_seats") is False


async def test_a_restarted_node_reckons_with_its_own_absence(club: Club) -> None:
    before = await loaded(club.pool)
    await execute(club, "UPDATE nodes SET renewed_at = now() - interval '1 hour'")
    await nodes.register(club.pool, NODE, "node-a.test", LEASE_S)
    claim = (await nodes.claim(club.pool, NODE, [ROOM], restarted=True))[ROOM]
    assert claim.taken_over
    after = await loaded(club.pool)
    assert after.seats[0].last_seen_at - before.seats[0].last_seen_at >= 3_600_000


# Being seen


async def test_seen_moves_forward_only_and_says_who_is_connected(club: Club) -> None:
    await seen.flush(club.pool, [SeenAt(ROOM, "ann", START + 500, True)], 300_000)
    await seen.flush(club.pool, [SeenAt(ROOM, "ann", START + 400, False)], 300_000)
    await seen.flush(club.pool, [SeenAt(ROOM, "bob", START + 900, True)], 300_000)
    state = await loaded(club.pool)
    assert state.seats[0].last_seen_at == START + 500
    assert state.spectators["bob"].last_seen_at == START + 900
    assert await club.one("SELECT connected FROM room_seats") is False
    assert await club.one("SELECT connected FROM room_spectators") is True
    assert await club.one("SHOW synchronous_commit") == "on"


async def test_a_token_lives_past_the_last_sign_of_life(club: Club) -> None:
    await seen.flush(club.pool, [SeenAt(ROOM, "ann", START + 50_000, True)], 300_000)
    query = (
        "SELECT to_ms(max(expires_at)) FROM rejoin_tokens WHERE user_id = 'ann' AND NOT replaced"
    )
    assert await club.one(query) == START + 350_000


async def test_who_is_overdue_is_listed_by_grace(club: Club) -> None:
    async def graces(
        away: int, free: int, drop: int, *, silent: int = START, node_id: str = NODE
    ) -> set[tuple[str, str]]:
        found = await seen.overdue(
            club.pool,
            node_id,
            away_before=away,
            free_before=free,
            drop_before=drop,
            silent_before=silent,
        )
        return {(one.user_id, one.grace) for one in found}

    late = START + 1
    assert await graces(late, late, late) == set(), "who sits down is there"
    await execute(club, "UPDATE room_seats SET connected = false")
    await execute(club, "UPDATE room_spectators SET connected = false")
    assert await graces(START, START, START) == set()
    assert await graces(late, START, START) == {("ann", "unseen")}
    assert await graces(late, late, late) == {("ann", "gone"), ("bob", "unseen")}
    assert await graces(late, late, late, node_id=OTHER) == set()
    await seen.flush(club.pool, [SeenAt(ROOM, "ann", START, True)], 300_000)
    assert await graces(late, late, START) == set(), "connected"
    assert await graces(late, late, START, silent=late) == {("ann", "gone")}
    await execute(club, AS_JOURNAL + "UPDATE room_seats SET away = true")
    assert await graces(late, START, START) == {("ann", "back")}


async def test_a_flush_waits_for_no_lock(club: Club) -> None:
    """Neither for a commit nor for somebody at a prompt; what it leaves out, it says."""
    for name in ("t1", "t2", "t3"):
        await club.make_room(name)
    await execute(
        club,
        AS_JOURNAL
        + "INSERT INTO room_seats (room_id, seat_index, user_id, display_name, chips, status,"
        " time_bank_ms, clock_outs, away, sitting_id, last_seen_at)"
        " SELECT id, 0, 'ann', 'Ann', 1, 'active', 0, 0, false, 's', from_ms(0) FROM rooms"
        " WHERE id LIKE 't%'",
    )
    later = START + 10**9
    rows = [SeenAt(name, "ann", later, True) for name in ("t1", "t2", "t3")]
    rows.append(SeenAt("t3", "nobody", later, True))
    async with club.pool.transaction() as conn:
        await conn.execute(AS_JOURNAL)
        await conn.execute("UPDATE game_states SET unit_id = 1 WHERE room_id = 't1'")
        await conn.execute("UPDATE room_seats SET chips = 2 WHERE room_id = 't2'")
        assert await seen.flush(club.pool, rows, 1) == rows[:2]
    query = "SELECT count(*) FROM room_seats WHERE last_seen_at = from_ms(%s)"
    assert await club.one(query, later) == 1
    assert await seen.flush(club.pool, rows[:2], 1) == []
    assert await club.one(query, later) == 3


async def test_a_flush_of_many_holds_no_room_for_long(club: Club) -> None:
    """It is made of short transactions; all are written, or told to be left."""
    many = 2 * seen.AT_ONCE + 1
    await execute(
        club,
        AS_JOURNAL + "INSERT INTO room_spectators (room_id, user_id, display_name, last_seen_at)"
        f" SELECT '{ROOM}', 'w' || n, 'W', from_ms(0) FROM generate_series(1, {many}) n",
    )
    later = START + 10**9
    rows = [SeenAt(ROOM, f"w{number}", later, True) for number in range(1, many + 1)]
    async with club.pool.transaction() as conn:
        await conn.execute("SELECT FROM game_states WHERE room_id = %s FOR UPDATE", (ROOM,))
        assert sorted(await seen.flush(club.pool, rows, 1)) == sorted(rows)
    assert await seen.flush(club.pool, rows, 1) == []
    written = "FROM room_spectators WHERE last_seen_at = from_ms(%s)"
    assert await club.one(f"SELECT count(*) {written}", later) == many
    assert await club.one(f"SELECT count(DISTINCT xmin::text) {written}", later) == 3
