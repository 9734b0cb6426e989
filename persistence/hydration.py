"""Rooms as their actors hold them, read back from the database: one, or all live ones set-wise.

However many rooms are asked for, the number of queries is the same. All of them run in one
repeatable-read transaction, so that they see one snapshot.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from math import inf
from typing import Any

import msgspec
from psycopg import IsolationLevel
from psycopg.rows import dict_row

from game.poker.hand import Hand, HandSetup, TakenAction
from game.state import (
    Ban,
    Game,
    Member,
    OutsideWrite,
    RoomState,
    RunItVote,
    Seat,
    Spectator,
    TurnClock,
    Waiting,
)
from persistence.pool import Connection, Pool
from protocol.values import DealtIn, RoomSettings

_SETTINGS = RoomSettings.__struct_fields__

_ROOMS = f"""
SELECT r.id, r.code, r.host_id, {", ".join(f"r.{name}" for name in _SETTINGS)},
       r.next_settings, r.closing, r.rigged_deck,
       to_ms(r.created_at) AS created_at, to_ms(r.closed_at) AS closed_at, g.seq, g.owner_epoch,
       g.outside
FROM rooms r JOIN game_states g ON g.room_id = r.id WHERE r.id = ANY(%b)
"""
_MEMBERS = """
SELECT room_id, user_id, display_name, status, to_ms(requested_at) AS requested_at,
       to_ms(decided_at) AS decided_at, told_seq
FROM room_players WHERE room_id = ANY(%b)
"""
_SEATS = """
SELECT room_id, seat_index, user_id, display_name, chips, status, time_bank_ms, clock_outs, away,
       leaving, leaving_reason, sitting_id, to_ms(last_seen_at) AS last_seen_at
FROM room_seats WHERE room_id = ANY(%b) ORDER BY room_id, seat_index
"""
_SPECTATORS = """
SELECT room_id, user_id, display_name, to_ms(last_seen_at) AS last_seen_at
FROM room_spectators WHERE room_id = ANY(%b)
"""
_BANS = """
SELECT room_id, user_id, reason, banned_by, to_ms(banned_at) AS banned_at
FROM room_bans WHERE room_id = ANY(%b)
"""
_WAITLIST = """
SELECT table_id AS room_id, id AS entry_id, player_id, player_name, has_client, seat_number,
       game_type, min_buy_in, max_buy_in, status, source, notes, seat_index,
       to_ms(called_at) AS called_at, to_ms(expires_at) AS expires_at,
       to_ms(created_at) AS created_at, to_ms(updated_at) AS updated_at
FROM waitlist WHERE table_id = ANY(%b) AND status IN ('waiting', 'called')
ORDER BY table_id, position, created_at, id
"""
_OUTSIDE = """
SELECT room_id, id, relation, before, after, written_by, to_ms(written_at) AS written_at
FROM outside_writes WHERE room_id = ANY(%b) ORDER BY room_id, id
"""
_GAMES = """
SELECT room_id, id, status, hands_played, button_seat, big_blind_seat,
       to_ms(hand_ended_at) AS hand_ended_at, to_ms(next_hand_at) AS next_hand_at,
       to_ms(started_at) AS started_at, to_ms(ended_at) AS ended_at
FROM games WHERE room_id = ANY(%b)
"""
SETUP_COLUMNS = """h.id AS hand_id, h.number, h.variant, h.deck, h.button_seat, h.small_blind,
       h.big_blind, h.ante, h.ante_kind, h.straddle, h.bomb_pot, h.run_it_times,
       h.rake_basis_points, h.rake_cap"""
"""What `setup_of` needs of ``hands h``."""

_HANDS = f"""
SELECT {SETUP_COLUMNS}, h.room_id, to_ms(h.turn_started_at) AS turn_started_at,
       to_ms(h.turn_deadline) AS turn_deadline, to_ms(h.run_it_deadline) AS run_it_deadline,
       h.run_it_votes
FROM hands h WHERE h.room_id = ANY(%b) AND h.ended_at IS NULL
"""
PLAYERS = """
SELECT hand_id, seat_index, user_id, starting_stack AS chips
FROM players WHERE hand_id = ANY(%b) ORDER BY hand_id, position
"""
ACTIONS = """
SELECT hand_id, seat_index, action, amount, raise_to, auto
FROM actions WHERE hand_id = ANY(%b) ORDER BY hand_id, ordinal
"""

_BY_ROOM = (
    _ROOMS,
    _MEMBERS,
    _SEATS,
    _SPECTATORS,
    _BANS,
    _WAITLIST,
    _OUTSIDE,
    _GAMES,
    _HANDS,
)
QUERIES = 11
"""How many queries a hydration makes, for any number of rooms."""

Record = dict[str, Any]


async def load_room(pool: Pool, room_id: str) -> RoomState | None:
    """Read one room, or None if there is none with this id."""
    return (await load_rooms(pool, [room_id])).get(room_id)


async def load_rooms(
    pool: Pool, room_ids: Sequence[str], unreadable: dict[str, Exception] | None = None
) -> dict[str, RoomState]:
    """Read rooms by id; ids without a room are not in the answer.

    Running hands are replayed on their stored decks.

    Args:
        pool: the database.
        room_ids: which rooms.
        unreadable: where given, takes the errors of rooms whose rows contradict each other, so
            that one of them does not keep the others from being read.

    Raises:
        Unavailable: the database is away.
        Exception: the rows of a room contradict each other, and `unreadable` was not given.
    """
    async with pool.transaction(
        isolation=IsolationLevel.REPEATABLE_READ,
        read_only=True,
        timeout_s=None if len(room_ids) == 1 else inf,
    ) as conn:
        rooms, *by_room, running = await _rows_together(conn, _BY_ROOM, room_ids)
        members, seats, spectators, bans, waitlists, outside, games = map(_by_room, by_room)
        hands = {row.pop("room_id"): row for row in running}
        hand_ids = [row["hand_id"] for row in running]
        players, actions = map(by_hand, await _rows_together(conn, (PLAYERS, ACTIONS), hand_ids))
    loaded: dict[str, RoomState] = {}
    for row in rooms:
        room_id = row["id"]
        try:
            untold = [OutsideWrite(**write) for write in outside[room_id]]
            state = _room(_as_last_told(row, untold))
            state.members = {m["user_id"]: Member(**m) for m in members[room_id]}
            state.seats = {s["seat_index"]: Seat(**s) for s in seats[room_id]}
            state.spectators = {s["user_id"]: Spectator(**s) for s in spectators[room_id]}
            state.bans = {b["user_id"]: Ban(**b) for b in bans[room_id]}
            state.waitlist = [Waiting(**entry) for entry in waitlists[room_id]]
            state.untold = untold
            state.game = next((Game(**g) for g in games[room_id]), None)
            if (hand := hands.get(room_id)) is not None:
                _add_hand(state, hand, players, actions)
        except Exception as error:
            if unreadable is None:
                raise
            unreadable[room_id] = error
        else:
            loaded[room_id] = state
    return loaded


def _add_hand(
    state: RoomState,
    hand: Record,
    players: Mapping[str, list[Record]],
    actions: Mapping[str, list[Record]],
) -> None:
    started_at, deadline = hand.pop("turn_started_at"), hand.pop("turn_deadline")
    vote_ends_at, votes = hand.pop("run_it_deadline"), hand.pop("run_it_votes")
    hand_id = hand["hand_id"]
    state.hand = _hand(hand, players[hand_id], actions[hand_id])
    if state.hand.actor_seat is not None:
        state.clock = TurnClock(state.hand.actor_seat, started_at, deadline, state.hand.legal())
    if vote_ends_at is not None:
        state.vote = RunItVote(vote_ends_at, {int(seat): times for seat, times in votes.items()})


async def _rows_together(
    conn: Connection, queries: Sequence[str], keys: Sequence[str]
) -> list[list[Record]]:
    """Run queries that take the same keys, on one way to the database and back."""
    cursors = [conn.cursor(row_factory=dict_row) for _ in queries]
    async with conn.pipeline():
        for cursor, query in zip(cursors, queries, strict=True):
            await cursor.execute(query, (list(keys),))
    return [await cursor.fetchall() for cursor in cursors]


async def rows(conn: Connection, query: str, keys: Sequence[str]) -> list[Record]:
    """Run a query that takes one array of keys."""
    cursor = conn.cursor(row_factory=dict_row)
    await cursor.execute(query, (list(keys),))
    return await cursor.fetchall()


def _by_room(rows: list[Record]) -> defaultdict[str, list[Record]]:
    grouped: defaultdict[str, list[Record]] = defaultdict(list)
    for row in rows:
        grouped[row.pop("room_id")].append(row)
    return grouped


def by_hand(rows: list[Record]) -> defaultdict[str, list[Record]]:
    """Group rows by their `hand_id`, which they lose."""
    grouped: defaultdict[str, list[Record]] = defaultdict(list)
    for row in rows:
        grouped[row.pop("hand_id")].append(row)
    return grouped


def _as_last_told(row: Record, untold: list[OutsideWrite]) -> Record:
    """Return a room's row as its server last wrote it.

    What was written to it from outside may be nonsense; the actor tries it as it would a command.
    """
    for write in untold:
        if write.relation == "rooms" and write.before is not None:
            return {**row, **{name: write.before[name] for name in (*_SETTINGS, "host_id")}}
    return row


def _room(row: Record) -> RoomState:
    following = row["next_settings"]
    rigged = row["rigged_deck"]
    return RoomState(
        room_id=row["id"],
        code=row["code"],
        host_id=row["host_id"],
        settings=msgspec.convert({name: row[name] for name in _SETTINGS}, RoomSettings),
        created_at=row["created_at"],
        seq=row["seq"],
        epoch=row["owner_epoch"],
        outside=row["outside"],
        next_settings=None if following is None else msgspec.convert(following, RoomSettings),
        closing=row["closing"],
        rigged_deck=None if rigged is None else _cards(rigged),
        closed_at=row["closed_at"],
    )


def setup_of(hand: Record, players: list[Record]) -> HandSetup:
    """Build what a hand started from: `SETUP_COLUMNS` and its rows of `PLAYERS`."""
    return HandSetup(
        **{**hand, "deck": _cards(hand["deck"])},
        seats=tuple(DealtIn(**player) for player in players),
    )


def _hand(hand: Record, players: list[Record], actions: list[Record]) -> Hand:
    return Hand.replay(setup_of(hand, players), [TakenAction(**action) for action in actions])


def _cards(run: str) -> tuple[str, ...]:
    return tuple(run[i : i + 2] for i in range(0, len(run), 2))
