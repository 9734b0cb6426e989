"""How many sockets a process has descriptors for."""

import subprocess
import sys

import pytest

from tests.support.patience import PATIENCE_S

SCRIPT = """
import resource
from server.process import room_for_sockets
print(room_for_sockets(), *resource.getrlimit(resource.RLIMIT_NOFILE))
"""


@pytest.mark.parametrize(
    ("soft", "hard", "sockets", "says"),
    [(64, 8_000, 8_000 - 256, "descriptors"), (64, 200, 150, "few_descriptors")],
)
def test_as_many_descriptors_are_taken_as_there_may_be_and_some_kept_for_others(
    soft: int, hard: int, sockets: int, says: str
) -> None:
    limited = f'ulimit -Sn {soft} && ulimit -Hn {hard} && exec "$0" "$@"'
    ran = subprocess.run(
        ["sh", "-c", limited, sys.executable, "-c", SCRIPT],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=True,
    )
    lines = ran.stdout.splitlines()
    assert lines[-1].split() == [str(sockets), str(hard), str(hard)]
    assert says in lines[0].split()
    assert f"sockets={sockets}" in lines[0]
