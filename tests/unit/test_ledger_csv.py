"""The ledger as book-keeping tools read it."""

import csv
import io

import pytest

from persistence.room_ledger import SittingLine
from server.ledger_csv import ledger_csv


def line(name: str = "Amy", *, ended_at: int | None = None, user_id: str = "amy") -> SittingLine:
    return SittingLine(
        display_name=name,
        user_id=user_id,
        started_at=1_763_632_800_123,
        ended_at=ended_at,
        buy_in=1_500,
        buy_out=0 if ended_at is None else 1_100,
        stack=1_700 if ended_at is None else 0,
    )


def test_a_room_without_sittings_has_a_header_only() -> None:
    assert ledger_csv([]) == (
        "player_nickname,player_id,session_start_at,session_end_at,buy_in,buy_out,stack,net\r\n"
    )


def test_open_and_ended_sittings() -> None:
    text = ledger_csv([line(), line("Ben", user_id="29", ended_at=1_763_640_000_000)])
    assert text.splitlines()[1:] == [
        "Amy,amy,2025-11-20T10:00:00.123Z,,1500,0,1700,200",
        "Ben,29,2025-11-20T10:00:00.123Z,2025-11-20T12:00:00.000Z,1500,1100,0,-400",
    ]


@pytest.mark.parametrize(
    "name", ["O'Hara", 'Amy "Ace"', "a,b", "J. = K.", "50%", "Zoë 👩‍👩‍👧", "1+1", "Jean-Luc"]
)
def test_ordinary_names_come_back_as_they_are(name: str) -> None:
    (_, row) = csv.reader(io.StringIO(ledger_csv([line(name)])))
    assert row[0] == name


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", "  =1", "＝1", "\u00a0@x"])
def test_names_that_a_spreadsheet_would_run_become_text(name: str) -> None:
    (_, row) = csv.reader(io.StringIO(ledger_csv([line(name, user_id=name)])))
    assert row[:2] == [f"'{name}"] * 2
