"""A database with history: hands that bots played, copied many times into rooms, by SQL.

One table plays for a while. While the server is away, all that is kept of its finished hands (the
events, the hands, their players and actions, the ledger) is copied into each of the measured rooms
behind what is there, again and again, with ids, numbers, seqs, times and players of its own, until
there are as many events as wanted; the rooms' seqs and games are moved on. The times lie within the
days for which events are kept. Stacks and wallets stay as they are, so such a database's books do
not balance: it is good for measuring and for nothing else.
"""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Sequence
from statistics import median
from urllib.parse import urlsplit

import psycopg
import trio
from msgspec import Struct

from bench.harness.generators import generating
from bench.harness.result import Figure
from bench.light_socket import LightSocket
from bench.scenarios.common import Watch
from bench.scenarios.rooms import LOAD as ROOMS_LOAD
from bench.scenarios.rooms import plans_for
from bench.scenarios.tables import LOAD as TABLES_LOAD
from bench.scenarios.tables import TABLE_SETTINGS
from bench.scenarios.tables import plans_for as tables_for
from bench.server_process import ServerProcess

ROOMS = 20
SOCKETS = 6
MODEL_HANDS = 8
"""About 400 events: in all rooms together as many as the first step of history is to have."""
DAYS = 20
"""How far history reaches back; events are kept for longer."""
SETTINGS = TABLE_SETTINGS | {"CARDROOM_HAND_INTERVAL_S": "0"}
READS = {
    "hydrate_ms": "a room, hydrated",
    "missed_ms": "back after 250 missed events",
    "hands_ms": "page of the newest hands",
    "oldest_ms": "page of the oldest hands",
    "phh_ms": "one hand's history",
    "ledger_ms": "page of one's ledger",
    "me_ms": "name, balance and rooms",
}
_TIMES = 40
_MISSED = 250
_PAGE = 20


class Model(Struct):
    """The table whose hands are copied: its room, how its players' ids begin, and how often they
    have been copied into each room by now."""

    room_id: str
    users: str
    copies: int = 0


async def play(server: ServerProcess, watch: Watch) -> Model:
    """Have a table of six play, then close it."""
    (plan,) = tables_for(server, 1, SOCKETS, 1)
    async with generating(TABLES_LOAD, [plan]) as generators:
        await generators.begin()

        def enough() -> bool | None:
            told = [one for second in generators.seconds.values() for one in second.values()]
            return sum(one.counts["hands"] for one in told) >= MODEL_HANDS or None

        await generators.until(enough)
    host, token = plan.tables[0][0]
    return await trio.to_thread.run_sync(_close, server, token, host)


def _close(server: ServerProcess, token: str, host: str) -> Model:
    with psycopg.connect(server.database_url) as conn:
        found = conn.execute("SELECT id FROM rooms WHERE host_id = %s", (host,)).fetchone()
    assert found is not None
    socket = LightSocket(server.ws_url)
    socket.ask("authenticate", token=token)
    socket.ask("close_room", room_id=found[0])
    socket.close()
    return Model(found[0], host.removesuffix("0"))


async def make_rooms(server: ServerProcess, watch: Watch) -> list[str]:
    """Make the rooms that history is put into, with everybody in them; return their ids."""
    watch.phase(f"making {ROOMS} rooms")
    plans = plans_for(server, [SOCKETS] * ROOMS, 0, 0.0, 1)
    async with generating(ROOMS_LOAD, plans):
        return await trio.to_thread.run_sync(_ids, server)


def _ids(server: ServerProcess) -> list[str]:
    with psycopg.connect(server.database_url) as conn:
        found = conn.execute(
            "SELECT id FROM rooms WHERE status <> 'closed' AND host_id ~ '^r[0-9]+u0$' "
            "ORDER BY substring(host_id FROM '[0-9]+')::integer"
        ).fetchall()
    return [room_id for (room_id,) in found]


_MODEL = """
CREATE TEMP TABLE model_hands AS
SELECT h.*, row_number() OVER (ORDER BY h.number) AS nth, e.seq AS first_seq
FROM hands h JOIN room_events e ON e.room_id = h.room_id AND e.type = 'hand_started'
                               AND e.payload ->> 'hand_id' = h.id
WHERE h.room_id = %(room_id)s AND h.ended_at IS NOT NULL
ORDER BY h.number LIMIT %(hands)s;
CREATE TEMP TABLE model_events AS
SELECT e.*, e.seq - (SELECT min(first_seq) FROM model_hands) + 1 AS nth
FROM room_events e
WHERE e.room_id = %(room_id)s
  AND e.seq BETWEEN (SELECT min(first_seq) FROM model_hands)
                AND (SELECT max(c.seq) FROM room_events c JOIN model_hands h
                     ON c.room_id = h.room_id AND c.type = 'hand_complete'
                        AND c.payload ->> 'hand_id' = h.id);
ANALYZE model_hands, model_events;
CREATE TEMP TABLE model AS
SELECT (SELECT count(*) FROM model_events) AS events, (SELECT count(*) FROM model_hands) AS hands,
       (SELECT min(at) FROM model_events) AS since,
       (SELECT min(seq) FROM model_events) AS first_seq, %(users)s AS users;
CREATE TEMP TABLE targets AS
SELECT r.id AS room_id, regexp_replace(r.host_id, '0$', '') AS users, g.seq,
       coalesce((SELECT max(number) FROM hands h WHERE h.room_id = r.id), 0) AS hands
FROM rooms r JOIN game_states g ON g.room_id = r.id WHERE r.id = ANY(%(targets)s);
"""
# A copy: where it goes, which one it is there, and the moment that its model's beginning becomes.
_COPIES = """
CREATE TEMP TABLE copies AS
SELECT t.room_id, t.users, t.seq + (k - 1) * m.events AS seq,
       t.hands + (k - 1) * m.hands AS hands,
       now() - interval '1 day' * %(days)s
           * (1 - (%(since)s + (%(until)s - %(since)s) * (k - 1) / %(copies)s::float8)) AS since
FROM targets t CROSS JOIN model m CROSS JOIN generate_series(1, %(copies)s) k;
CREATE FUNCTION pg_temp.new_id(room text, number bigint) RETURNS text LANGUAGE sql IMMUTABLE
    RETURN md5(room || ':' || number)::uuid::text;
"""
_FILL = (
    """
INSERT INTO room_events (room_id, seq, at, type, payload)
SELECT c.room_id, c.seq + e.nth, c.since + (e.at - m.since), e.type,
       replace(CASE WHEN h.id IS NULL THEN e.payload::text
               ELSE replace(e.payload::text, h.id, pg_temp.new_id(c.room_id, c.hands + h.nth)) END,
               '"' || m.users, '"' || c.users)::jsonb
FROM copies c CROSS JOIN model m CROSS JOIN model_events e
LEFT JOIN model_hands h ON h.id = e.payload ->> 'hand_id'
ORDER BY c.since, c.room_id, e.nth
""",
    """
INSERT INTO games (id, room_id, status, hands_played, started_at)
SELECT room_id, room_id, 'waiting', 0, now() FROM targets
ON CONFLICT (room_id) DO NOTHING
""",
    """
INSERT INTO hands ({hands})
SELECT {hands} FROM (
SELECT (jsonb_populate_record(NULL::hands, to_jsonb(h) || jsonb_build_object(
    'id', pg_temp.new_id(c.room_id, c.hands + h.nth), 'room_id', c.room_id,
    'game_id', c.room_id, 'number', c.hands + h.nth,
    'started_at', c.since + (h.started_at - m.since),
    'ended_at', c.since + (h.ended_at - m.since)))).*
FROM copies c CROSS JOIN model m CROSS JOIN model_hands h ORDER BY c.since, c.room_id, h.nth
) copied
""",
    """
INSERT INTO players ({players})
SELECT {players} FROM (
SELECT (jsonb_populate_record(NULL::players, to_jsonb(p) || jsonb_build_object(
    'hand_id', pg_temp.new_id(c.room_id, c.hands + h.nth), 'room_id', c.room_id,
    'user_id', replace(p.user_id, m.users, c.users)))).*
FROM copies c CROSS JOIN model m CROSS JOIN model_hands h JOIN players p ON p.hand_id = h.id
ORDER BY c.since, c.room_id, h.nth
) copied
""",
    """
INSERT INTO actions ({actions})
SELECT {actions} FROM (
SELECT (jsonb_populate_record(NULL::actions, to_jsonb(a) || jsonb_build_object(
    'hand_id', pg_temp.new_id(c.room_id, c.hands + h.nth), 'room_id', c.room_id,
    'seq', c.seq + a.seq - m.first_seq + 1, 'at', c.since + (a.at - m.since),
    'user_id', replace(a.user_id, m.users, c.users)))).*
FROM copies c CROSS JOIN model m CROSS JOIN model_hands h JOIN actions a ON a.hand_id = h.id
ORDER BY c.since, c.room_id, h.nth
) copied
""",
    """
INSERT INTO sittings (id, room_id, user_id, display_name, started_at, ended_at)
SELECT md5(t.room_id || s.id), t.room_id, replace(s.user_id, m.users, t.users), s.display_name,
       now() - interval '1 day' * %(days)s, now()
FROM targets t CROSS JOIN model m CROSS JOIN sittings s WHERE s.room_id = %(room_id)s
ON CONFLICT (id) DO NOTHING
""",
    """
INSERT INTO ledger_entries (transfer_id, account, user_id, room_id, hand_id, sitting_id, amount,
                            kind, reason, at)
SELECT md5(c.room_id || c.seq || l.transfer_id), l.account, replace(l.user_id, m.users, c.users),
       c.room_id, pg_temp.new_id(c.room_id, c.hands + h.nth), md5(c.room_id || l.sitting_id),
       l.amount, l.kind, l.reason, c.since + (l.at - m.since)
FROM copies c CROSS JOIN model m CROSS JOIN model_hands h JOIN ledger_entries l ON l.hand_id = h.id
ORDER BY c.since, c.room_id, h.nth
""",
    """
UPDATE games g SET hands_played = t.hands + m.hands * %(copies)s
FROM targets t CROSS JOIN model m WHERE g.room_id = t.room_id
""",
    """
UPDATE game_states g SET seq = g.seq + m.events * %(copies)s
FROM targets t CROSS JOIN model m WHERE g.room_id = t.room_id
""",
)
# Not those that PostgreSQL fills in itself.
_COLUMNS = """
SELECT table_name, string_agg(quote_ident(column_name), ', ')
FROM information_schema.columns
WHERE table_name IN ('hands', 'players', 'actions') AND table_schema = 'public'
  AND is_generated = 'NEVER'
GROUP BY table_name
"""
_SIZES = """
SELECT pg_database_size(current_database())::float8, (SELECT count(*) FROM hands)::float8,
       (SELECT count(*) FROM room_events)::float8
"""


def fill(
    database_url: str,
    model: Model,
    rooms: Sequence[str],
    events: int,
    part: tuple[float, float],
) -> dict[str, Figure]:
    """Copy the model's hands into rooms until they have so many events of them; no server runs.

    Args:
        database_url: where.
        model: what is copied.
        rooms: where to.
        events: how many events there are to be, about, those of fills before this one included:
            whole copies are made.
        part: of the days of history, where this fill's begin and end, from 0 to 1.

    Returns:
        The size of the database, and how many hands are in it.
    """
    with psycopg.connect(database_url, autocommit=True) as conn:
        # As the journal, so that nobody is told of a write from outside.
        conn.execute("SET cardroom.journal = on")
        conn.execute("SET work_mem = '256MB'")
        values = {
            "room_id": model.room_id,
            "users": model.users,
            "hands": MODEL_HANDS,
            "targets": list(rooms),
            "days": DAYS,
            "since": part[0],
            "until": part[1],
        }
        client = psycopg.ClientCursor(conn)
        client.execute(_MODEL, values)
        (length,) = client.execute("SELECT events FROM model").fetchone() or (0,)
        wanted = max(round(events / (length * len(rooms))), 1 if events else 0)
        if (copies := wanted - model.copies) > 0:
            with conn.transaction():
                names: dict[str, str] = dict(conn.execute(_COLUMNS).fetchall())
                for statement in (_COPIES, *_FILL):
                    client.execute(statement.format(**names), {**values, "copies": copies})
            model.copies += copies
        # What a database that runs for weeks does by and by; frozen, so that no vacuum of its own
        # writes to the log while commands are measured.
        conn.execute("VACUUM (FREEZE, ANALYZE)")
        conn.execute("CHECKPOINT")
        sizes = conn.execute(_SIZES).fetchone()
    assert sizes is not None
    return {
        "database_mib": Figure("database", sizes[0] / 2**20, "MiB"),
        "hands": Figure("hands in it", sizes[1]),
        "events": Figure("events in it", sizes[2]),
    }


def read(server: ServerProcess, rooms: Sequence[str]) -> dict[str, Figure]:
    """Time what people read: in each of `_TIMES` turns each kind once, in another room each time.

    Returns:
        The median of each kind of `READS`, in milliseconds; a hand only where there are any.

    Raises:
        RuntimeError: something was refused.
    """
    took: dict[str, list[float]] = {name: [] for name in READS}
    connection = http.client.HTTPConnection(urlsplit(server.http_url).netloc)

    def get(name: str, path: str, token: str) -> bytes:
        began = time.perf_counter()
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        body = answer.read()
        took[name].append((time.perf_counter() - began) * 1000)
        if answer.status != 200:
            raise RuntimeError(f"GET {path}: {answer.status}")
        return body

    for turn in range(_TIMES):
        number = turn % len(rooms)
        at, token = f"/api/rooms/{rooms[number]}", server.token(f"r{number}u0")
        room = get("hydrate_ms", f"{at}/hydrate", token)
        get("me_ms", "/api/me", token)
        get("ledger_ms", "/api/me/ledger", token)
        newest = get("hands_ms", f"{at}/hands?limit={_PAGE}", token)
        if hands := json.loads(newest)["hands"]:
            get("oldest_ms", f"{at}/hands?limit={_PAGE}&before={_PAGE + 1}", token)
            get("phh_ms", f"{at}/hands/{(hands[0]['number'] + 1) // 2}.phh", token)
        seq = json.loads(room)["seq"]
        took["missed_ms"].append(_come_back(server, rooms[number], token, max(0, seq - _MISSED)))
    connection.close()
    return {
        name: Figure(title, median(took[name]), "ms", "lower", took[name])
        for name, title in READS.items()
        if took[name]
    }


def _come_back(server: ServerProcess, room_id: str, token: str, seq: int) -> float:
    """Authenticate as somebody who was told everything up to a seq; return the milliseconds."""
    socket = LightSocket(server.ws_url)
    began = time.perf_counter()
    answer = socket.ask("authenticate", token=token, room_id=room_id, last_seq=seq)
    took = time.perf_counter() - began
    socket.close()
    if not answer["recovered"]:
        raise RuntimeError("what was missed is not there")
    return took * 1000
