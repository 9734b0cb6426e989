"""A server as a process of its own: started, killed, frozen and stopped from outside."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jwt
import trio

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 60.0
TOKEN_LIFE_S = 7 * 24 * 3600
_ROOT = Path(__file__).resolve().parent.parent


def sign(secret: str, user_id: str, name: str | None = None, role: str = "player") -> str:
    """Sign an access token; it lives longer than any run."""
    claims = {
        "sub": user_id,
        "name": name or user_id,
        "role": role,
        "exp": int(time.time()) + TOKEN_LIFE_S,
    }
    return jwt.encode(claims, secret, algorithm="HS256")


class ServerProcess:
    """One `cardroom serve`, with its data folder.

    Its log is `log_path`, appended to over restarts. Free ports are taken at each start, so ask for
    `ws_url` and `http_url` after it.

    Args:
        data_dir: the data folder; the embedded PostgreSQL lives there unless `settings` name a
            `DATABASE_URL`.
        settings: environment variables for the server.
    """

    def __init__(self, data_dir: Path, settings: Mapping[str, str] | None = None) -> None:
        self.data_dir = data_dir
        self.settings = dict(settings or {})
        self.log_path = data_dir.parent / f"{data_dir.name}.log"
        self.starts = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._told: dict[str, Any] = {}

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    @property
    def ws_url(self) -> str:
        """Where game clients connect."""
        return f"ws://127.0.0.1:{self._told['ws_port']}/ws"

    @property
    def http_url(self) -> str:
        """The base of the HTTP API."""
        return f"http://127.0.0.1:{self._told['http_port']}"

    @property
    def database_url(self) -> str:
        """The database that the server uses."""
        return str(self._told["database_url"])

    def launch(self) -> None:
        """Start the process without waiting for it to be ready."""
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("CARDROOM_") and name != "DATABASE_URL"
        }
        environment |= {
            "CARDROOM_DATA_DIR": str(self.data_dir),
            "CARDROOM_HTTP_PORT": "0",
            "CARDROOM_WS_PORT": "0",
            "CARDROOM_LOG_FORMAT": "json",
            **self.settings,
        }
        (self.data_dir / "server.json").unlink(missing_ok=True)
        self.data_dir.parent.mkdir(parents=True, exist_ok=True)
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "server.cli", "serve"],
                cwd=_ROOT,
                env=environment,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        self.starts += 1

    async def start(self) -> float:
        """Start and wait until `/readyz` says yes; return the seconds that it took."""
        began = time.perf_counter()
        self.launch()
        with trio.fail_after(START_TIMEOUT_S):
            while not await trio.to_thread.run_sync(self._is_ready):  # noqa: ASYNC110 - another process
                await trio.sleep(0.02)
        return time.perf_counter() - began

    def _is_ready(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise RuntimeError(f"the server ended:\n{self.log()[-4000:]}")
        try:
            told = json.loads((self.data_dir / "server.json").read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return False
        if told["pid"] != self._process.pid:
            return False
        self._told = told
        try:
            with urllib.request.urlopen(f"{self.http_url}/readyz", timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    async def kill(self) -> None:
        """Kill it with -9 and wait until it is gone."""
        self._signal(signal.SIGKILL)
        await self._gone()

    async def stop(self) -> float:
        """End it with SIGTERM; return the seconds that it took."""
        if self._process is None or self._process.poll() is not None:
            return 0.0
        began = time.perf_counter()
        self._signal(signal.SIGTERM)
        await self._gone()
        return time.perf_counter() - began

    def freeze(self) -> None:
        """Stop it in its tracks (SIGSTOP)."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on (SIGCONT)."""
        self._signal(signal.SIGCONT)

    @property
    def secret(self) -> str:
        """What the server's access tokens are signed with."""
        return self.settings.get("CARDROOM_JWT_SECRET") or (
            (self.data_dir / "jwt_secret").read_text().strip()
        )

    def token(self, user_id: str, name: str | None = None, role: str = "player") -> str:
        """Sign an access token with the server's own secret."""
        return sign(self.secret, user_id, name, role)

    def log(self) -> str:
        """Return all that the server has logged."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def _signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    async def _gone(self) -> None:
        assert self._process is not None
        process = self._process
        with trio.fail_after(STOP_TIMEOUT_S):
            await trio.to_thread.run_sync(process.wait, abandon_on_cancel=True)
