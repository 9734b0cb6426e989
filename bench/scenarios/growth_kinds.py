"""What `growth` can grow, with the values and the pace that it takes where nothing else is said."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple, get_args

Of = Literal["tables", "players", "spectators", "history"]
OF: tuple[Of, ...] = get_args(Of)
TABLES_OF_PLAYERS = 40
QUICK_THINK_S = (0.1, 0.5)
"""How long bots think while players grow: often enough to measure, seldom enough to wait."""
SOCKETS_OF_A_TABLE = 2


class Kind(NamedTuple):
    """What grows: its name in the plural, values, and the commands a second that are due."""

    axis: str
    values: tuple[int, ...]
    rate: float
    log: bool
    about: str


KINDS: Mapping[Of, Kind] = {
    "tables": Kind(
        "tables",
        (100, 500, 1_000, 2_000, 5_000),
        500.0,
        False,
        f"Rooms of {SOCKETS_OF_A_TABLE} sockets, commands due at the same rate over all of them "
        "whatever their number, then none at all. A server of its own for each number.",
    ),
    "players": Kind(
        "players at a table",
        (2, 4, 6, 8, 10),
        0.0,
        False,
        f"{TABLES_OF_PLAYERS} tables of bots that think for {QUICK_THINK_S[0]} to "
        f"{QUICK_THINK_S[1]} s. A server of its own for each number.",
    ),
    "spectators": Kind(
        "spectators",
        (0, 100, 500, 1_000, 2_000),
        20.0,
        False,
        "One room, commands due at the same rate, each told to all of its spectators. A server of "
        "its own for each number.",
    ),
    "history": Kind(
        "events in the database",
        (0, 10_000, 100_000, 1_000_000),
        300.0,
        True,
        "The same rooms each time, with more and more behind them: hands that bots played are "
        "copied into them by SQL while the server is away. Then it is started again, and its "
        "clients come back.",
    ),
}
