"""What a start loads when, and that it is left alone by the garbage collector."""

import gc
import subprocess
import sys

import pytest
from click.testing import CliRunner

from server.cli import main
from server.garbage import left_alone


def loaded(by: str, *modules: str) -> set[str]:
    """Import a module in a Python of its own; return which of the others that has loaded."""
    script = f"import sys, {by}\nprint(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return set(modules) & set(done.stdout.split())


def test_postgres_comes_up_before_the_rules_and_http_are_loaded() -> None:
    assert loaded("server.serve", "trio", "pokerkit", "quart", "httpx") == {"trio"}


def test_settings_are_read_before_anything_is_loaded() -> None:
    assert loaded("server.cli", "click", "trio", "psycopg") == {"click"}


def test_tables_are_read_before_http_is_loaded() -> None:
    assert loaded("server.app", "pokerkit", "quart", "server.http.app") == {"pokerkit"}


def test_every_command_is_found() -> None:
    shown = CliRunner().invoke(main, ["--help"])
    assert shown.exit_code == 0
    for name in ("serve", "migrate", "audit", "export-hands", "bench", "push-stand-in", "token"):
        assert f"  {name} " in shown.output
        assert CliRunner().invoke(main, [name, "--help"]).exit_code == 0


def test_what_a_block_left_alone_has_made_is_not_looked_at_again() -> None:
    gc.collect()
    try:
        with left_alone():
            assert not gc.isenabled()
            made = [[number] for number in range(1000)]
        assert gc.isenabled()
        assert not any(one is made for one in gc.get_objects())
    finally:
        gc.unfreeze()


def test_what_a_failed_block_has_left_is_looked_at() -> None:
    made: list[list[int]] = []

    def fail() -> None:
        with left_alone():
            made.append([1])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert gc.isenabled()
    assert any(one is made for one in gc.get_objects())
