"""An audit's report as people read it, and checks as they are read from files."""

from pathlib import Path

import pytest

from persistence.audit import AuditReport, Finding, load_checks
from server.audit_text import audit_text


def test_a_clean_report_names_what_was_looked_at() -> None:
    report = AuditReport(at=1, counts={"decks": 0, "wallets": 0}, findings=[])
    assert audit_text(report).splitlines() == [
        "ok    decks",
        "ok    wallets",
        "Everything adds up: 2 checks found nothing.",
    ]


def test_findings_stand_under_their_check_and_the_rest_is_counted() -> None:
    findings = [
        Finding("wallets", "The wallet of ann is wrong.", {}),
        Finding("decks", "A deck is wrong.", {}),
    ]
    report = AuditReport(at=1, counts={"decks": 1, "rakes": 0, "wallets": 120}, findings=findings)
    assert not report.clean
    assert audit_text(report).splitlines() == [
        "WRONG decks: 1",
        "        A deck is wrong.",
        "ok    rakes",
        "WRONG wallets: 120",
        "        The wallet of ann is wrong.",
        "        … and 119 more",
        "121 findings.",
    ]


def test_a_check_without_its_sentence_is_refused(tmp_path: Path) -> None:
    (tmp_path / "good.sql").write_text("-- Room {room_id} is odd.\nSELECT 1 AS room_id\n")
    (check,) = load_checks(tmp_path)
    assert (check.name, check.sentence) == ("good", "Room {room_id} is odd.")
    (tmp_path / "worse.sql").write_text("SELECT 1\n")
    with pytest.raises(ValueError, match=r"worse\.sql"):
        load_checks(tmp_path)
