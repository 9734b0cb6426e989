"""Prove that the whole database adds up, and name what does not.

Each file in `queries/audit/` is one check: its first line says, in a sentence about one row, what
is wrong, and the query lists the rows of which that is true. So a check more is a file more. All of
them see one snapshot, and a server may go on writing meanwhile.

No query may select a card: what is found is printed.
"""

from collections.abc import AsyncIterator, Mapping
from math import inf
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from psycopg import IsolationLevel
from psycopg.rows import dict_row

from game.poker.hand import Hand, ReplayMismatch
from game.poker.variants import VARIANTS
from persistence.hands import FinishedHand, all_finished_hands
from persistence.pool import Connection, Pool

CHECKS = Path(__file__).parent / "queries" / "audit"

MOST_TOLD = 100
"""How many findings of one check are listed; all are counted."""

REPLAYS = "replays"
"""The check that plays hands again, which no query can."""

_COMMENT = "-- "
_RESULTS = """
SELECT h.board, h.rake, p.seat_index, p.user_id, p.hole_cards, p.final_stack, p.shown
FROM hands h JOIN players p ON p.hand_id = h.id
WHERE h.id = %s
ORDER BY p.position
"""


class Check(Struct, frozen=True):
    """One thing that must not be: `sentence` has a place for each column that it tells."""

    name: str
    sentence: str
    query: str


class Finding(Struct, frozen=True):
    """One thing that is not as it should be: the check's row, and a sentence made of it."""

    check: str
    sentence: str
    row: dict[str, Any]
    """Text, whole numbers, truth values and None."""


class AuditReport(Struct, frozen=True, kw_only=True):
    """What an audit found: how many of each check, and the first of them.

    `at` is the moment of the snapshot, UTC in milliseconds.
    """

    at: int
    counts: dict[str, int]
    findings: list[Finding]

    @property
    def clean(self) -> bool:
        """Whether everything adds up."""
        return not any(self.counts.values())


def load_checks(folder: Path = CHECKS) -> list[Check]:
    """Read the checks, by name.

    Raises:
        ValueError: a file does not begin with its sentence.
    """
    checks = []
    for path in sorted(folder.glob("*.sql")):
        query = path.read_text(encoding="utf-8")
        first = query.partition("\n")[0]
        if not first.startswith(_COMMENT):
            raise ValueError(f"{path.name} does not begin with its sentence")
        checks.append(Check(path.stem, first.removeprefix(_COMMENT), query))
    return checks


async def audit(pool: Pool, *, replay_hands: bool = False) -> AuditReport:
    """Look at everything, in one snapshot.

    It reads every table once or twice, so on a large database it takes as long as that does.

    Args:
        pool: the database.
        replay_hands: play every finished hand again, which takes about a millisecond each.

    Raises:
        Unavailable: the database is away.
    """
    values = {"decks": msgspec.json.encode(_whole_decks()).decode()}
    counts: dict[str, int] = {}
    findings: list[Finding] = []
    async with pool.transaction(
        isolation=IsolationLevel.REPEATABLE_READ, read_only=True, timeout_s=inf
    ) as conn:
        row = await (await conn.execute("SELECT to_ms(now())")).fetchone()
        assert row is not None
        for check in load_checks():
            counts[check.name], found = await _run(conn, check, values)
            findings += found
        if replay_hands:
            counts[REPLAYS] = 0
            async for finding in _wrong_replays(conn):
                counts[REPLAYS] += 1
                if counts[REPLAYS] <= MOST_TOLD:
                    findings.append(finding)
    return AuditReport(at=row[0], counts=counts, findings=findings)


async def _run(
    conn: Connection, check: Check, values: Mapping[str, object]
) -> tuple[int, list[Finding]]:
    cursor = conn.cursor(row_factory=dict_row)
    query = f"SELECT q.*, count(*) OVER () AS _found FROM (\n{check.query}) q LIMIT {MOST_TOLD}"
    await cursor.execute(query.encode(), values)
    rows = await cursor.fetchall()
    count = rows[0]["_found"] if rows else 0
    for found in rows:
        del found["_found"]
    return count, [Finding(check.name, check.sentence.format_map(found), found) for found in rows]


async def _wrong_replays(conn: Connection) -> AsyncIterator[Finding]:
    async for stored in all_finished_hands(conn, room_id=None, since=None, until=None):
        try:
            wrong = _differences(stored.replay(), await _stored_results(conn, stored))
        except ReplayMismatch:
            wrong = ["its actions"]
        if wrong:
            hand_id = stored.setup.hand_id
            sentence = f"Hand {hand_id}, played again, differs in {', '.join(wrong)}."
            yield Finding(REPLAYS, sentence, {"hand_id": hand_id, "differs": wrong})


async def _stored_results(conn: Connection, stored: FinishedHand) -> list[dict[str, Any]]:
    cursor = conn.cursor(row_factory=dict_row)
    await cursor.execute(_RESULTS, (stored.setup.hand_id,))
    return await cursor.fetchall()


def _differences(hand: Hand, players: list[dict[str, Any]]) -> list[str]:
    """Name what is stored otherwise than the hand ends; names, never cards."""
    chips = hand.chips()
    wrong = []
    for row in players:
        seat, user = row["seat_index"], row["user_id"]
        pairs = {
            "the board": (row["board"], hand.board),
            "the rake": (row["rake"], hand.rake),
            f"the hole cards of {user}": (row["hole_cards"], hand.hole_cards(seat)),
            f"the final stack of {user}": (row["final_stack"], chips[seat]),
            f"whether {user} has shown": (row["shown"], hand.shown(seat) is not None),
        }
        wrong += [name for name, (there, made) in pairs.items() if there != made]
    return list(dict.fromkeys(wrong))


def _whole_decks() -> dict[str, str]:
    return {name: "".join(sorted(rules.deck)) for name, rules in VARIANTS.items()}
