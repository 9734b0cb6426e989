"""PokerKit's tables of hands: not built at a start, and whole when they are looked into."""

import subprocess
import sys

import pytest

BUILT = """
from pokerkit import hands
kinds = [kind for kind in vars(hands).values() if hasattr(kind, "lookup")]
assert len(kinds) > 10
print(*sorted({kind.__name__ for kind in kinds if vars(kind.lookup)}))
"""


def printed(script: str) -> str:
    """Run a script in a Python of its own; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.mark.parametrize("module", ["server.cli, server.app", "game.poker.history"])
def test_a_start_builds_no_tables(module: str) -> None:
    assert printed(f"import {module}\n{BUILT}") == ""


def test_a_table_is_built_when_it_is_looked_into() -> None:
    look = 'from pokerkit import BadugiHand\nassert BadugiHand("2s3h4d5c").entry'
    assert printed(f"import game.poker\n{look}\n{BUILT}") == "BadugiHand"


def test_a_table_built_when_it_is_asked_is_the_same_as_one_built_at_once() -> None:
    table = """
from pokerkit import ShortDeckHoldemLookup
table = ShortDeckHoldemLookup()
assert table.has_entry("6s7s8s9sTs")
print(vars(table))
"""
    assert printed(f"import game.poker\n{table}") == printed(table)
