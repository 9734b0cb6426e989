"""Packages of npm in a Node process, for tests with what existing portals really run."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.support.patience import PATIENCE_S

Report = dict[str, Any]

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "tests" / "acceptance" / "node"
CACHE = ROOT / "build"
INSTALL_TIMEOUT_S = 120


def node_modules() -> Path:
    """Install the packages of the lock, once for all test runs, and return where they are.

    Without npm, or where it gets no packages, the test is skipped.
    """
    found = _installed()
    if isinstance(found, str):
        pytest.skip(f"NOT TESTED with the npm packages pusher-js and pusher: {found}")
    return found


@cache
def _installed() -> Path | str:
    """Return where the packages are, or why they are not there."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        return "node or npm is missing"
    lock = (SOURCE / "package-lock.json").read_bytes()
    home = CACHE / f"node-{hashlib.sha256(lock).hexdigest()[:12]}"
    CACHE.mkdir(exist_ok=True)
    # Other workers of this run want the same.
    with (CACHE / "node.lock").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        if not home.exists() and (reason := _install(home)):
            return reason
    return home / "node_modules"


def _install(home: Path) -> str:
    """Install the packages in a folder; return why that failed, if it did."""
    scratch = home.with_suffix(".new")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    for name in ("package.json", "package-lock.json"):
        shutil.copy(SOURCE / name, scratch)
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    try:
        done = subprocess.run(command, cwd=scratch, capture_output=True, timeout=INSTALL_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return f"npm ci did not end within {INSTALL_TIMEOUT_S} s"
    if done.returncode:
        return f"npm ci failed: {done.stderr.decode(errors='replace').strip()[:300]}"
    scratch.rename(home)
    return ""


class Node:
    """A Node process that runs `driver.cjs`; everything that it reports is kept in order."""

    def __init__(self, process: trio.Process) -> None:
        self.reports: list[Report] = []
        self._process = process
        self._more = trio.Event()

    async def do(self, command: str, **fields: Any) -> None:
        """Send a command."""
        assert self._process.stdin is not None
        line = json.dumps({"command": command, **fields}) + "\n"
        await self._process.stdin.send_all(line.encode())

    async def told(self, told: str, *, after: int = 0, **fields: Any) -> Report:
        """Wait for the first report, from a place in them on, that has these fields."""
        with trio.move_on_after(PATIENCE_S):
            place = after
            while True:
                for report in self.reports[place:]:
                    if report.items() >= {"told": told, **fields}.items():
                        return report
                place = len(self.reports)
                await self._more.wait()
        raise AssertionError(f"no {told} with {fields} in {self.reports[-20:]}")

    def events(self, client: str, channel: str) -> list[tuple[str, Any]]:
        """Return name and data of the events that a client has got on a channel so far."""
        return [
            (report["event"], report["data"])
            for report in self.reports
            if report["told"] == "event"
            and (report["client"], report["channel"]) == (client, channel)
        ]

    async def read(self) -> None:
        """Take reports until the process ends."""
        assert self._process.stdout is not None
        pending = b""
        async for piece in self._process.stdout:
            *lines, pending = (pending + piece).split(b"\n")
            # pusher-js writes warnings between the reports.
            self.reports += [json.loads(line) for line in lines if line.startswith(b"{")]
            self._more.set()
            self._more = trio.Event()


@asynccontextmanager
async def running(modules: Path) -> AsyncIterator[Node]:
    """Run a Node process with the packages of `node_modules`."""
    environment = {**os.environ, "NODE_PATH": str(modules)}
    async with trio.open_nursery() as nursery:
        process = await trio.lowlevel.open_process(
            ["node", str(SOURCE / "driver.cjs")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
        )
        node = Node(process)
        nursery.start_soon(node.read)
        try:
            yield node
        finally:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()
            nursery.cancel_scope.cancel()
