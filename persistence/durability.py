"""What "acknowledged means durable" rests on in the database itself."""

from __future__ import annotations

from typing import Any

from persistence.connection import TrioConnection
from persistence.errors import UnsafeDurability

# `synchronous_commit`: `local`, `remote_write` and `remote_apply` also wait for our own disk, but
# only `on` and `remote_apply` wait for a standby's too where there is one.
_SAFE = {
    "fsync": {"on"},
    "full_page_writes": {"on"},
    "synchronous_commit": {"on", "remote_apply"},
}


async def check_durability(
    conn: TrioConnection[tuple[Any, ...]], *, allow_unsafe: bool
) -> dict[str, str]:
    """Check that the database keeps what it acknowledges, as this session sees its settings.

    Args:
        conn: a connection configured like those that commit.
        allow_unsafe: the operator wants it so; report instead of refusing.

    Returns:
        The settings in force, by name; all of them, safe ones too.

    Raises:
        UnsafeDurability: some could lose an acknowledged commit, and that is not allowed.

    Source: PostgreSQL manual, 19.5 Write Ahead Log.
    """
    cursor = await conn.execute(
        "SELECT name, setting FROM pg_settings WHERE name = ANY(%s)", [list(_SAFE)]
    )
    settings: dict[str, str] = dict(await cursor.fetchall())
    unsafe = {name: settings[name] for name, safe in _SAFE.items() if settings[name] not in safe}
    if unsafe and not allow_unsafe:
        raise UnsafeDurability(unsafe)
    return settings
