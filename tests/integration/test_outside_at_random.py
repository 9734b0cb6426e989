"""An outsider who writes anything: what the database accepts, no room falls over."""

import random
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

import psycopg
import pytest

from persistence.connection import TrioConnection
from persistence.pool import Connection
from protocol import commands
from protocol.errors import Refused
from tests.support.live_rooms import Club, ask, live_state, open_club
from tests.support.outsider import Watched, watched
from tests.support.rooms import HOST

pytestmark = pytest.mark.fail_after(120)

PLAYERS = ["ann", "bob", "cat", "dan", "eve"]
STATEMENTS = 150

_INTEGERS = [
    "-1",
    "0",
    "1",
    "2",
    "3",
    "5",
    "100",
    "32767",
    "86400000",
    "2147483647",
    "1000000000000000",
    "9223372036854775807",
    "null",
]
_TEXTS = [
    "''",
    "' '",
    "'x'",
    "'ann'",
    "'dan'",
    "'room-1'",
    "'room-2'",
    "'nlhe'",
    "'snap'",
    r"E'a\nb'",
    r"E'\u202e'",
    "repeat('x', 61)",
    "repeat('x', 100000)",
    "null",
]
_STATUSES = [
    f"'{status}'"
    for status in (
        *("waiting", "called", "seated", "declined", "expired", "no_show", "cancelled"),
        *("active", "sitting_out", "playing", "paused"),
    )
]
_TIMES = ["now()", "'infinity'", "'-infinity'", "'0044-03-15 BC'", "'294275-01-01'", "null"]
_DOCUMENTS = ["'{}'", "'7'", "'null'", "'[]'", '\'{"every_n_hands": 2, "amount": 5}\'', "null"]
_FLAGS = ["true", "false", "null"]

_COLUMNS: dict[str, dict[str, list[str]]] = {
    "waitlist": {
        "status": _STATUSES,
        "position": _INTEGERS,
        "seat_index": _INTEGERS,
        "seat_number": _INTEGERS,
        "min_buy_in": _INTEGERS,
        "max_buy_in": _INTEGERS,
        "player_id": _TEXTS,
        "player_name": _TEXTS,
        "table_id": _TEXTS,
        "game_type": _TEXTS,
        "notes": _TEXTS,
        "source": ["'external'", "'socket'", "'x'"],
        "has_client": _FLAGS,
        "called_at": _TIMES,
        "expires_at": _TIMES,
        "created_at": _TIMES,
        "updated_at": _TIMES,
        "id": _TEXTS,
    },
    "room_seats": {
        "chips": _INTEGERS,
        "time_bank_ms": _INTEGERS,
        "seat_index": _INTEGERS,
        "clock_outs": _INTEGERS,
        "status": _STATUSES,
        "user_id": _TEXTS,
        "display_name": _TEXTS,
        "leaving": ["'kick'", "'seat'", "null"],
        "away": _FLAGS,
        "connected": _FLAGS,
        "last_seen_at": _TIMES,
    },
    "rooms": {
        "status": [*_STATUSES, "'closed'"],
        "name": _TEXTS,
        "host_id": _TEXTS,
        "code": _TEXTS,
        "variant": _TEXTS,
        "closing": _TEXTS,
        "rigged_deck": _TEXTS,
        "owner_node": _TEXTS,
        "ante_kind": ["'all'", "'button'", "'x'"],
        "bomb_pot": _DOCUMENTS,
        "next_settings": _DOCUMENTS,
        "auto_start": _FLAGS,
        "spectators_allowed": _FLAGS,
        "created_at": _TIMES,
        "closed_at": _TIMES,
        **dict.fromkeys(
            (
                *("small_blind", "big_blind", "ante", "min_buy_in", "max_buy_in", "max_seats"),
                *("turn_seconds", "time_bank_seconds", "rake_basis_points", "rake_cap"),
                *("straddle", "run_it_times", "owner_epoch"),
            ),
            _INTEGERS,
        ),
    },
}
_COLUMNS["seat_requests"] = {
    name: values
    for name, values in _COLUMNS["waitlist"].items()
    if name not in ("seat_index", "has_client", "called_at", "expires_at")
}


@pytest.fixture
async def club(database_url: str) -> AsyncIterator[Club]:
    async with open_club(database_url) as made:
        for room_id in ("room-1", "room-2"):
            await made.make_room(room_id, max_seats=3)
        await made.wallets(*PLAYERS)
        yield made


@pytest.fixture
async def sql(database_url: str) -> AsyncIterator[Connection]:
    """A connection of somebody else, in autocommit mode."""
    conn: Connection = await TrioConnection.connect(database_url, autocommit=True)
    yield conn
    await conn.close()


def statement(rng: random.Random) -> str:
    """Write something anywhere."""
    relation = rng.choices(list(_COLUMNS), (4, 3, 3, 4))[0]
    columns = rng.sample(sorted(_COLUMNS[relation]), rng.choice((1, 1, 1, 2, 3)))
    values = [rng.choice(_COLUMNS[relation][name]) for name in columns]
    roll = rng.random()
    if relation in ("waitlist", "seat_requests") and roll < 0.4:
        given = dict(zip(columns, values, strict=True))
        if rng.random() < 0.9:
            given |= {"table_id": "'room-1'", "player_id": f"'{rng.choice(PLAYERS)}'"}
        return f"INSERT INTO {relation} ({', '.join(given)}) VALUES ({', '.join(given.values())})"
    key = {"rooms": "id", "room_seats": "room_id"}.get(relation, "table_id")
    where = f"{key} = 'room-1'"
    if relation != "rooms" and roll < 0.8:
        where += " AND random() < 0.5"
    if relation != "rooms" and roll > 0.9:
        return f"DELETE FROM {relation} WHERE {where}"
    pairs = ", ".join(f"{name} = {value}" for name, value in zip(columns, values, strict=True))
    return f"UPDATE {relation} SET {pairs} WHERE {where}"


async def go_on(room: Watched, rng: random.Random) -> None:
    """Do what clients do meanwhile, allowed or not."""
    clock = live_state(room.actor).clock
    user_id = rng.choice(PLAYERS)
    choices: list[Callable[[], tuple[str, commands.AnyRoomCommand]]] = [
        lambda: (user_id, commands.Join()),
        lambda: (user_id, commands.Seat(seat_index=rng.randrange(3), buy_in=200)),
        lambda: (HOST, commands.Start()),
        lambda: (HOST, commands.Resume()),
        lambda: (user_id, commands.SitIn()),
        lambda: (user_id, commands.WaitlistJoin()),
        lambda: (user_id, commands.LeaveSeat()),
    ]
    if clock is not None:
        actor = live_state(room.actor).seats[clock.seat_index].user_id
        choices += [lambda: (actor, commands.Action(action="FOLD"))] * 2
    who, command = rng.choice(choices)()
    with suppress(Refused):
        await ask(room.actor, who, command)


@pytest.mark.parametrize("seed", range(4))
async def test_no_write_that_is_accepted_breaks_a_room(
    club: Club, sql: Connection, seed: int
) -> None:
    rng = random.Random(seed)
    accepted = 0
    async with watched(club) as room:
        for _ in range(STATEMENTS):
            try:
                async with sql.transaction():
                    for _ in range(rng.choice((1, 1, 1, 2, 4))):
                        await sql.execute(statement(rng).encode())
            except psycopg.Error:
                continue
            finally:
                if rng.random() < 0.5:
                    await go_on(room, rng)
            accepted += 1
            await room.told()
            await room.assert_as_stored()
            wrong = (
                "SELECT count(*) FROM (SELECT position, row_number() OVER (PARTITION BY table_id"
                " ORDER BY position) AS place FROM waitlist WHERE status IN ('waiting', 'called'))"
                " w WHERE position IS DISTINCT FROM place"
            )
            assert await club.one(wrong) == 0
            if live_state(room.actor).closed:
                break
    assert accepted > 10
    off = (
        "SELECT count(*) FROM (SELECT sum(amount) AS s FROM ledger_entries GROUP BY transfer_id) t"
    )
    assert await club.one(f"{off} WHERE s <> 0") == 0
