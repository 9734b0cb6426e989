"""The four ways in which queues are written: sockets, HTTP, and SQL under two names."""

from __future__ import annotations

import random
from typing import Any

import httpx
import psycopg
import trio

from bench.outside import Message, Outside, Refusal
from bench.queue_field import GONE, Field, session

STEPS_A_SESSION = 25
BUY_IN = 100
HTTP_TIMEOUT_S = 30.0
_ENDS = ("declined", "cancelled", "seated", "no_show", "expired")
_LIVE = "status IN ('waiting', 'called')"


async def by_socket(field: Field, rng: random.Random) -> None:
    """Join, leave, accept and decline as a player, move and call as staff."""
    while field.left > 0:
        user_id = rng.choice(field.players)
        is_staff = rng.random() < 0.4
        async with session(
            field, "boss" if is_staff else user_id, "staff" if is_staff else "player"
        ) as client:
            for _ in range(STEPS_A_SESSION):
                if not field.take():
                    return
                step = _staff_step if is_staff else _player_step
                type, fields = step(field, rng, user_id)
                await _asked(field, client, type, fields)


async def _asked(field: Field, client: Outside, type: str, fields: dict[str, Any]) -> None:
    try:
        reply = await client.ask(type, **fields)
    except Refusal as refusal:
        field.refusals[f"socket: {refusal.code}"] += 1
        return
    except GONE:
        field.unknown += 1
        raise
    field.done[f"socket: {type}"] += 1
    if type == "waitlist_join":
        field.made.add(reply["entry"]["id"])


def _player_step(field: Field, rng: random.Random, user_id: str) -> tuple[str, dict[str, Any]]:
    table_id = rng.choice(field.tables)
    mine = next((e for e in field.queues.of(table_id) if e["player_id"] == user_id), None)
    if mine is not None and mine["status"] == "called":
        about = {"table_id": table_id, "entry_id": mine["id"]}
        if rng.random() < 0.6:
            return "waitlist_accept", {**about, "buy_in": BUY_IN}
        return "waitlist_decline", about
    roll = rng.random()
    if mine is not None and roll < 0.4:
        return "waitlist_leave", {"table_id": table_id}
    if roll < 0.55:
        return "leave_seat", {"room_id": table_id}
    return "waitlist_join", {"table_id": table_id}


def _staff_step(field: Field, rng: random.Random, user_id: str) -> tuple[str, dict[str, Any]]:
    table_id = rng.choice(field.tables)
    entry = _any_entry(field, rng, table_id)
    if entry is None or rng.random() < 0.3:
        return "waitlist_join", {"table_id": table_id, "player_id": user_id, "player_name": user_id}
    about = {"table_id": table_id, "entry_id": entry["id"]}
    roll = rng.random()
    if roll < 0.6:
        return "waitlist_move", {**about, "position": rng.randint(1, 8)}
    return rng.choice(("waitlist_call", "waitlist_remove", "waitlist_no_show")), about


def _any_entry(field: Field, rng: random.Random, table_id: str) -> Message | None:
    queue = field.queues.of(table_id)
    return rng.choice(queue) if queue else None


async def by_http(field: Field, rng: random.Random) -> None:
    """The same over the HTTP API, as the portals' backends do it."""
    async with httpx.AsyncClient(timeout=HTTP_TIMEOUT_S) as client:
        while field.take():
            await field.up.wait()
            user_id, table_id = rng.choice(field.players), rng.choice(field.tables)
            is_staff = rng.random() < 0.5
            token = (
                field.server.token("boss", role="staff")
                if is_staff
                else field.server.token(user_id)
            )
            method, path, body = _http_step(field, rng, user_id, table_id, is_staff)
            try:
                answer = await client.request(
                    method,
                    f"{field.server.http_url}{path}",
                    json=body,
                    headers={"Authorization": f"Bearer {token}"},
                )
            except httpx.HTTPError:
                field.unknown += 1
                await trio.sleep(0.01)
                continue
            told = answer.json()
            if answer.is_error:
                field.refusals[f"http: {told.get('code', answer.status_code)}"] += 1
                continue
            field.done[f"http: {method}"] += 1
            if path == "/api/seat-requests":
                field.made.add(told["entry"]["id"])


def _http_step(
    field: Field, rng: random.Random, user_id: str, table_id: str, is_staff: bool
) -> tuple[str, str, dict[str, Any] | None]:
    entry = _any_entry(field, rng, table_id)
    roll = rng.random()
    if entry is None or roll < 0.45:
        return "POST", "/api/seat-requests", {"playerId": user_id, "tableId": table_id}
    about = f"/api/waitlist/{entry['id']}"
    if not is_staff:
        return "DELETE", f"/api/seat-requests/{entry['id']}", None
    if roll < 0.7:
        return "POST", f"{about}/move", {"position": rng.randint(1, 8)}
    if roll < 0.8:
        return "DELETE", about, None
    return "POST", f"{about}/{rng.choice(('call', 'no-show', 'decline'))}", None


async def by_sql(field: Field, rng: random.Random, relation: str) -> None:
    """Write to the table, or to the view, as the legacy portals do; the server may be down."""
    conn = await trio.to_thread.run_sync(
        lambda: psycopg.connect(field.server.database_url, autocommit=True)
    )
    with conn:
        while field.take():
            steps = [_sql_step(field, rng, relation) for _ in range(rng.choice((1, 1, 1, 3)))]
            gives_up = rng.random() < 0.1
            try:
                made, deleted = await trio.to_thread.run_sync(_write, conn, steps, gives_up)
            except psycopg.Error as error:
                field.refusals[f"{relation}: {error.sqlstate}"] += 1
                continue
            field.done[f"{relation}: transactions"] += 1
            field.made |= made
            field.deleted |= deleted


def _write(
    conn: psycopg.Connection[Any], steps: list[tuple[str, bool]], gives_up: bool
) -> tuple[set[str], set[str]]:
    """Write in one transaction; return the ids of what was made and of what was deleted."""
    made: set[str] = set()
    deleted: set[str] = set()
    with conn.transaction(force_rollback=gives_up):
        for statement, makes in steps:
            ids = {row[0] for row in conn.execute(statement.encode()).fetchall()}
            if makes:
                made |= ids
            elif statement.startswith("DELETE"):
                deleted |= ids
    return (set(), set()) if gives_up else (made, deleted)


def _sql_step(field: Field, rng: random.Random, relation: str) -> tuple[str, bool]:
    table_id, user_id = rng.choice(field.tables), rng.choice(field.players)
    one = (
        f"id = (SELECT id FROM {relation} WHERE table_id = '{table_id}' AND {_LIVE}"
        " ORDER BY random() LIMIT 1) RETURNING id"
    )
    roll = rng.random()
    if roll < 0.45:
        return (
            f"INSERT INTO {relation} (table_id, player_id, player_name)"
            f" VALUES ('{table_id}', '{user_id}', '{user_id}') RETURNING id",
            True,
        )
    if roll < 0.65:
        return f"UPDATE {relation} SET position = {rng.randint(-1, 12)} WHERE {one}", False
    if roll < 0.8:
        return f"UPDATE {relation} SET status = '{rng.choice(_ENDS)}' WHERE {one}", False
    if roll < 0.85:
        return f"UPDATE {relation} SET status = 'called' WHERE {one}", False
    if roll < 0.9:
        elsewhere = rng.choice(field.tables)
        return f"UPDATE {relation} SET table_id = '{elsewhere}' WHERE {one}", False
    if roll < 0.95:
        return (
            f"UPDATE {relation} SET status = 'waiting' WHERE table_id = '{table_id}'"
            f" AND player_id = '{user_id}' AND status = 'cancelled' AND created_at ="
            f" (SELECT max(created_at) FROM {relation} WHERE table_id = '{table_id}'"
            f" AND player_id = '{user_id}') RETURNING id",
            False,
        )
    return f"DELETE FROM {relation} WHERE {one}", False
