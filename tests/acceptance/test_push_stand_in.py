"""The stand-in for OneSignal as a command: what it gets, an operator sees."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from uuid import uuid4

import httpx
import pytest
import trio

from bench.push_show import ANY_APP
from tests.support.patience import PATIENCE_S

pytestmark = pytest.mark.fail_after(60)

COMMAND = [sys.executable, "-m", "server.cli", "push-stand-in", "--port", "0"]


class Shown:
    """What a process has written so far."""

    def __init__(self, process: trio.Process) -> None:
        assert process.stdout is not None
        self._stdout = process.stdout
        self.text = ""

    async def until(self, pattern: str) -> re.Match[str]:
        """Read until something is written."""
        while (found := re.search(pattern, self.text)) is None:
            piece = await self._stdout.receive_some()
            assert piece, self.text
            self.text += piece.decode()
        return found


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Take interrupts: a shell's background job ignores them, and so does all that it starts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
async def test_what_it_gets_is_shown_until_it_is_interrupted() -> None:
    process = await trio.lowlevel.open_process(COMMAND, stdout=subprocess.PIPE)
    try:
        shown = Shown(process)
        url = (await shown.until(r"BASE_URL=(http\S+)"))[1]
        async with httpx.AsyncClient(base_url=url, timeout=PATIENCE_S) as http:
            refused = await http.post("/notifications", json={}, headers={"Authorization": "Key k"})
            assert refused.status_code == 400
            body = {
                "app_id": ANY_APP,
                "include_aliases": {"external_id": ["ann"]},
                "target_channel": "push",
                "headings": {"en": "[bold]Your seat[/] is ready"},
                "contents": {"en": "Seat 3"},
                "data": {"seat_index": 3},
                "idempotency_key": str(uuid4()),
            }
            taken = await http.post("/notifications", json=body, headers={"Authorization": "Key k"})
            assert taken.json()["id"]
        await shown.until("'seat_index': 3")
        assert "[bold]Your seat[/] is ready  to ann" in shown.text
        process.send_signal(signal.SIGINT)
        await shown.until("Bye")
        assert await process.wait() == 0
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


async def test_it_fails_as_it_is_told() -> None:
    process = await trio.lowlevel.open_process([*COMMAND, "--fail", "429"], stdout=subprocess.PIPE)
    try:
        url = (await Shown(process).until(r"BASE_URL=(http\S+)"))[1]
        async with httpx.AsyncClient(base_url=url, timeout=PATIENCE_S) as http:
            answer = await http.post("/notifications", json={})
        assert answer.status_code == 429
        assert answer.headers["Retry-After"] == "30"
        assert answer.json() == {"errors": ["API rate limit exceeded."]}
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
