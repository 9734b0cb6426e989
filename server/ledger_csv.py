"""A room's ledger as CSV, with the columns that club book-keeping tools read."""

import csv
import io
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from persistence.room_ledger import SittingLine

COLUMNS = (
    "player_nickname",
    "player_id",
    "session_start_at",
    "session_end_at",
    "buy_in",
    "buy_out",
    "stack",
    "net",
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FORMULA_STARTS = tuple("=+-@＝＋－＠")
"""A spreadsheet takes a cell that begins so for a formula, and runs it."""


def ledger_csv(lines: Iterable[SittingLine]) -> str:
    """Write sittings as CSV (RFC 4180): a header, then one row each.

    A name or id that a spreadsheet would run as a formula gets an apostrophe in front, which
    spreadsheets take for "this is text"; any other stays as it is.
    """
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for line in lines:
        writer.writerow(
            (
                _as_text(line.display_name),
                _as_text(line.user_id),
                _iso(line.started_at),
                "" if line.ended_at is None else _iso(line.ended_at),
                line.buy_in,
                line.buy_out,
                line.stack,
                line.net,
            )
        )
    return text.getvalue()


def _as_text(value: str) -> str:
    return f"'{value}" if value.lstrip().startswith(_FORMULA_STARTS) else value


def _iso(at: int) -> str:
    moment = _EPOCH + timedelta(milliseconds=at)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
