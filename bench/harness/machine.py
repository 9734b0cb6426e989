"""What a measurement ran on: machine, versions, commit."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

import psutil
import psycopg
from msgspec import Struct

_ROOT = Path(__file__).resolve().parent.parent.parent
_LIBRARIES = ("trio", "websockets", "msgspec", "psycopg", "pokerkit")


class Machine(Struct):
    """The machine, and what it had to do just before: `load` over a minute, `busy` of all cores."""

    cpu: str
    cores: int
    memory_gib: float
    kernel: str
    load: float
    busy: float


class Software(Struct):
    """What ran. `commit` ends in ``+`` where files differed from it; empty outside a checkout."""

    cardroom: str
    commit: str
    python: str
    postgres: str
    libraries: dict[str, str]


def machine() -> Machine:
    """Look at the machine; takes half a second, in which it sees what else runs."""
    return Machine(
        cpu=_cpu(),
        cores=os.cpu_count() or 1,
        memory_gib=round(psutil.virtual_memory().total / 2**30, 1),
        kernel=platform.release(),
        load=round(os.getloadavg()[0], 2),
        busy=round(psutil.cpu_percent(interval=0.5) / 100, 2),
    )


def software(database_url: str) -> Software:
    """Ask for the versions of everything that takes part.

    Raises:
        psycopg.Error: the database is away.
    """
    with psycopg.connect(database_url, autocommit=True) as conn:
        (postgres,) = conn.execute("SHOW server_version").fetchone() or ("",)
    return Software(
        cardroom=metadata.version("cardroom"),
        commit=_commit(),
        python=platform.python_version(),
        postgres=str(postgres),
        libraries={name: metadata.version(name) for name in _LIBRARIES},
    )


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _commit() -> str:
    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=_ROOT, capture_output=True, text=True)
        return done.stdout.strip()

    try:
        return git("rev-parse", "--short=12", "HEAD") + (
            "+" if git("status", "--porcelain") else ""
        )
    except OSError:
        return ""
