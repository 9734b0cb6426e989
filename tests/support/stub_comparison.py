"""A comparison whose first contestant never answers: `… -m tests.support.stub_comparison PORT OUT`.

`PORT` is where its stub connects to, `OUT` where the result would go.
"""

from __future__ import annotations

import sys
from pathlib import Path

import trio

from bench.peers.contestants import CONTESTANTS, PEERS_DONE, Contestant
from bench.peers.run import Asked, report
from bench.peers.turns import Plan


def stub(port: int, fault: str) -> Contestant:
    """Return a contestant that is of no use."""
    command = [sys.executable, "-m", "tests.support.stub_peer", str(port), fault]
    return Contestant("stub", "Stub", "plain", PEERS_DONE, lambda: command)


def main() -> None:
    """Compare, and exit with the comparison's code."""
    port, out = int(sys.argv[1]), Path(sys.argv[2])
    plan = Plan(rooms=1, seconds=1, warm_up_s=1, connections=1, spectators=1)
    asked = Asked(plan, 1, [0.0], ["stub"])
    sys.exit(trio.run(report, asked, out, None, [stub(port, "deaf"), CONTESTANTS[0]]))


if __name__ == "__main__":
    main()
