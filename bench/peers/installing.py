"""What the peers are built from, installed when it is first needed into a folder that git ignores.

Nothing of it belongs into Cardroom's own environment: a peer is not a dependency. Versions are
pinned by lock files with hashes; a changed lock is installed into a folder of its own.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.peers.errors import Missing, PeerFailed

SOURCES = Path(__file__).resolve().parent
CACHE = SOURCES.parent.parent / ".peers"
INSTALL_TIMEOUT_S = 300.0
NODE_MAJOR = 18
_UNREACHABLE = (
    "EAI_AGAIN",
    "ECONNREFUSED",
    "ENOTFOUND",
    "ETIMEDOUT",
    "Failed to establish a new connection",
    "Temporary failure in name resolution",
)
_PYTHON_LOCK = SOURCES / "asgi" / "requirements.lock"


def node() -> str:
    """Return the path of Node.

    Raises:
        Missing: there is none, or too old a one.
        PeerFailed: it does not even say its version.
    """
    program = _program("node", f"Node {NODE_MAJOR} or later")
    version = _node_version(program)
    if int(version.split(".")[0]) < NODE_MAJOR:
        raise Missing(f"Node {NODE_MAJOR} or later is missing: {program} is {version}")
    return program


def node_versions(*packages: str) -> dict[str, str]:
    """Return the versions of Node and of packages of the peers for it, by name."""
    wanted = json.loads((SOURCES / "node" / "package.json").read_text())["dependencies"]
    return {"node": _node_version(node()), **{name: wanted[name] for name in packages}}


def python_versions() -> dict[str, str]:
    """Return the versions of Python and of all packages of the Python peer, by name."""
    pins = re.findall(r"^([a-z0-9-]+)==(\S+)", _PYTHON_LOCK.read_text(), re.MULTILINE)
    return {"python": platform.python_version(), **dict(pins)}


def node_packages() -> Path:
    """Return the folder with the peers for Node and their packages.

    Raises:
        Missing: no npm, or its registry cannot be reached.
        PeerFailed: the installation failed; the text ends with what npm said.
    """
    node()
    npm = _program("npm", "npm")

    def fill(folder: Path) -> None:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(SOURCES / "node" / name, folder)
        # None of the packages needs a script of its own to be installed.
        arguments = ["ci", "--ignore-scripts", "--omit=dev", "--no-audit", "--no-fund"]
        _run([npm, *arguments], folder)

    return _cached("node", SOURCES / "node" / "package-lock.json", fill)


def python() -> str:
    """Return the interpreter of the environment with the Python peer's packages.

    Raises:
        Missing: the package index cannot be reached.
        PeerFailed: the installation failed; the text ends with what pip said.
    """

    def fill(folder: Path) -> None:
        _run([sys.executable, "-m", "venv", str(folder)], folder)
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        _run(
            [*pip, "--disable-pip-version-check", "--require-hashes", "-r", str(_PYTHON_LOCK)],
            folder,
        )

    return str(_cached("asgi", _PYTHON_LOCK, fill) / "bin" / "python")


def slow_flush(folder: Path) -> Path:
    """Build the library that makes PostgreSQL's flush slow in `folder`, and return it.

    Raises:
        Missing: no C compiler.
        PeerFailed: it failed; the text ends with what it said.
    """
    library = folder / "slow_flush.so"
    compiler = _program(os.environ.get("CC", "cc"), "a C compiler, for a slow flush,")
    source = str(SOURCES / "slow_flush.c")
    _run([compiler, "-shared", "-fPIC", "-O2", "-o", str(library), source, "-ldl"], folder)
    return library


def _program(name: str, what: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise Missing(f"{what} is missing: `{name}` is not on the PATH")
    return found


def _node_version(program: str) -> str:
    said = subprocess.run(
        [program, "--version"], stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    found = re.fullmatch(r"v(\d+\.\S+)", said.stdout.strip())
    if found is None:
        raise PeerFailed(program, "does not say its version", said.stdout + said.stderr)
    return found[1]


def _cached(kind: str, lock: Path, fill: Callable[[Path], None]) -> Path:
    # The interpreter is part of the key: an environment is of no use to another one.
    key = hashlib.sha256(lock.read_bytes() + sys.version.encode()).hexdigest()[:16]
    folder = CACHE / f"{kind}-{key}"
    done = folder / ".installed"
    if not done.exists():
        CACHE.mkdir(exist_ok=True)
        # An environment knows its own path, so it is filled in place; two that do it at once are
        # kept apart, and one that was killed is done again.
        with _lock(kind):
            if not done.exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                fill(folder)
                done.touch()
    return folder


@contextmanager
def _lock(kind: str) -> Iterator[None]:
    with (CACHE / f"{kind}.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _run(command: Sequence[str], folder: Path) -> None:
    with tempfile.TemporaryFile() as output:
        status = subprocess.run(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            timeout=INSTALL_TIMEOUT_S,
            check=False,
        ).returncode
        output.seek(0)
        said = output.read().decode(errors="replace").strip()
    if status != 0:
        name = Path(command[0]).name
        if any(sign in said for sign in _UNREACHABLE):
            raise Missing(f"the packages are missing: {name} cannot reach its registry")
        raise PeerFailed(name, "failed", said)
