"""A server as a process, for acceptance tests, and its database seen from outside."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import psycopg
import trio
from psycopg import sql
from psycopg.rows import dict_row

from bench.server_process import ServerProcess
from tests.support.folders import temporary_folder
from tests.support.patience import PATIENCE_S

PATIENT = {
    "CARDROOM_AUTH_TIMEOUT_S": "60",
    "CARDROOM_DB_TIMEOUT_S": "60",
    "CARDROOM_HANDSHAKE_TIMEOUT_S": "60",
}
"""Limits that no test reaches by chance, on however busy a machine."""

FAST = {
    **PATIENT,
    "CARDROOM_HAND_INTERVAL_S": "0.05",
    "CARDROOM_COMMANDS_PER_S": "10000",
    "CARDROOM_COMMAND_BURST": "10000",
    "CARDROOM_STARTING_BALANCE": "1000000000",
}
"""Settings for bots that are faster than people."""

_SEEN = ("last_seen_at", "connected", "updated_at", "owner_node", "owner_epoch", "unit_id")
"""Columns that change by somebody's being there, or by a room's being read anew."""
_UNSEEN_TABLES = frozenset({"nodes", "rejoin_tokens", "schema_migrations"})


@asynccontextmanager
async def served(folder: Path, **settings: str) -> AsyncIterator[ServerProcess]:
    """Run a server with these settings over `PATIENT` (without their prefix, in lower case)."""
    server = ServerProcess(
        folder / "data", PATIENT | {f"CARDROOM_{k.upper()}": v for k, v in settings.items()}
    )
    await server.start()
    try:
        yield server
    finally:
        with trio.CancelScope(shield=True):
            await server.stop()


@contextmanager
def serving(settings: dict[str, str]) -> Iterator[ServerProcess]:
    """The same for a fixture that many tests share."""
    with temporary_folder() as folder:
        server = ServerProcess(folder / "data", settings)
        trio.run(server.start)
        try:
            yield server
        finally:
            trio.run(server.stop)


def web(server: ServerProcess, user_id: str, role: str = "player") -> httpx.AsyncClient:
    """Make an HTTP client that speaks for a user."""
    headers = {"Authorization": f"Bearer {server.token(user_id, role=role)}"}
    return httpx.AsyncClient(base_url=server.http_url, headers=headers, timeout=PATIENCE_S)


def rows(server: ServerProcess, query: str, *values: Any) -> list[dict[str, Any]]:
    """Ask the server's database."""
    with psycopg.connect(server.database_url, row_factory=dict_row) as conn:
        return conn.execute(query, values).fetchall()


def database_digest(conn: psycopg.Connection[Any]) -> dict[str, str]:
    """Sum up every table; two equal digests mean that nothing was changed in between.

    Left out are the servers themselves, rejoin tokens, when somebody was last seen, and which life
    of a room wrote last.
    """
    tables = conn.execute(
        "SELECT table_name FROM information_schema.tables "
        "WHERE table_schema = 'public' AND table_type = 'BASE TABLE' ORDER BY 1"
    ).fetchall()
    found: dict[str, str] = {}
    for (name,) in tables:
        if name in _UNSEEN_TABLES:
            continue
        query = sql.SQL(
            "SELECT coalesce(md5(string_agg(row, '|' ORDER BY row)), '') FROM "
            "(SELECT (to_jsonb(t) - %s::text[])::text AS row FROM {} t) r"
        ).format(sql.Identifier(name))
        found[name] = conn.execute(query, (list(_SEEN),)).fetchall()[0][0]
    return found
