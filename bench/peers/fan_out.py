"""Bare sockets: one process sends the same frame to many, as plainly as Python can; another reads.

Run as a program, this is the one that reads: its arguments are the port and how many sockets.
"""

from __future__ import annotations

import resource
import select
import socket
import subprocess
import sys
import time
from pathlib import Path

from bench.peers.errors import PeerFailed

FRAME = b"\x82\x7a" + bytes(122)
"""As long as Cardroom's events on average: 130 bytes for a player who sits out, 113 for one in."""

PATIENCE_S = 30.0
_ROOT = Path(__file__).resolve().parents[2]


def fan_out(count: int, seconds: float) -> tuple[float, float]:
    """Send frame after frame to `count` sockets, each when all have read the one before.

    Returns:
        Frames a second, and milliseconds from the first of a frame's sends until all have it.

    Raises:
        PeerFailed: the reading process failed.
    """
    _allow_files(count)
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        listener.settimeout(PATIENCE_S)
        port = listener.getsockname()[1]
        reader = subprocess.Popen(
            [sys.executable, "-m", "bench.peers.fan_out", str(port), str(count)], cwd=_ROOT
        )
        try:
            control, *members = [listener.accept()[0] for _ in range(count + 1)]
            control.settimeout(PATIENCE_S)
            rounds = 0
            began = time.perf_counter()
            while time.perf_counter() - began < seconds:
                for member in members:
                    member.send(FRAME)
                if not control.recv(1):
                    raise PeerFailed("the reader of the bare sockets", "ended; it said why above")
                rounds += 1
            took_s = time.perf_counter() - began
            for each in (control, *members):
                each.close()
            reader.wait(PATIENCE_S)
        finally:
            reader.kill()
            reader.wait()
    return round(rounds * count / took_s, 1), round(took_s / rounds * 1000, 3)


def _read(port: int, count: int) -> None:
    _allow_files(count)
    control, *members = [socket.create_connection(("127.0.0.1", port)) for _ in range(count + 1)]
    epoll = select.epoll()
    receive = {}
    for member in members:
        epoll.register(member, select.EPOLLIN)
        receive[member.fileno()] = member.recv
    size, wanted = len(FRAME), count * len(FRAME)
    while True:
        got = 0
        while got < wanted:
            for number, _ in epoll.poll():
                data = receive[number](size)
                if not data:
                    return
                got += len(data)
        control.send(b".")


def _allow_files(count: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count + 100:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, count + 100), hard))


if __name__ == "__main__":
    _read(int(sys.argv[1]), int(sys.argv[2]))
