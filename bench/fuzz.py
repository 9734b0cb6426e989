"""Do whatever can be done to rooms, in any order, and hold the database against what they held."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def report(runs: int, seed: int) -> int:
    """Do so many runs, each in a room of its own; print what was tried.

    Returns:
        1 if the database and a room disagreed, or the audit found something; the shortest way
        there is on the error output.
    """
    # A process of its own: what it plays with belongs to the tests.
    fuzz = [sys.executable, "-m", "tests.support.room_fuzz", str(runs), str(seed)]
    return subprocess.run(fuzz, cwd=ROOT, check=False).returncode
