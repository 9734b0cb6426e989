"""The server's own audit of a database, run as an operator runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

AUDIT_TIMEOUT_S = 600.0
_ROOT = Path(__file__).resolve().parent.parent


def findings(database_url: str) -> list[str]:
    """Run `cardroom audit --hands`; return a sentence for each thing that does not add up."""
    done = subprocess.run(
        [sys.executable, "-m", "server.cli", "audit", "--json", "--hands"],
        cwd=_ROOT,
        env={**os.environ, "DATABASE_URL": database_url},
        capture_output=True,
        text=True,
        timeout=AUDIT_TIMEOUT_S,
        check=False,
    )
    if done.returncode not in (0, 1):
        return [f"the audit could not look: {done.stderr.strip()}"]
    told = [finding["sentence"] for finding in json.loads(done.stdout)["findings"]]
    return told or ([] if done.returncode == 0 else ["the audit found something unnamed"])
