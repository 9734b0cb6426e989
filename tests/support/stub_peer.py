"""A peer that is of no use: `python -m tests.support.stub_peer PORT FAULT`.

It connects to a port first, so that whoever listens there sees it end.

    crash   says why and ends, but a child of its own stays, connected too
    mute    does not say where it serves
    deaf    serves, takes a connection, tells the port so and never answers
"""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys


def main() -> None:
    """Be of no use."""
    port, fault = int(sys.argv[1]), sys.argv[2]
    watcher = socket.create_connection(("127.0.0.1", port))
    if fault == "child":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        sys.stdout.write("there\n")
        sys.stdout.flush()
        signal.pause()
    elif fault == "crash":
        child = subprocess.Popen(
            [sys.executable, "-m", "tests.support.stub_peer", str(port), "child"],
            stdout=subprocess.PIPE,
        )
        assert child.stdout is not None
        child.stdout.readline()
        sys.exit("no such database")
    elif fault == "mute":
        signal.pause()
    elif fault == "deaf":
        with socket.create_server(("127.0.0.1", 0)) as listener:
            sys.stdout.write(json.dumps({"port": listener.getsockname()[1]}) + "\n")
            sys.stdout.flush()
            accepted = listener.accept()
            watcher.sendall(b"taken")
            signal.pause()
            del accepted


if __name__ == "__main__":
    main()
