"""What all tests share: how they log, no limits of time in properties, folders, a real PostgreSQL.

`postgres` is one server for the whole run (one for each worker of pytest-xdist), `database_url` a
freshly migrated database for one test, `connection` and `pool` lead to it.
"""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import structlog
import trio

from persistence.connection import TrioConnection
from persistence.pool import Pool
from tests.support.folders import temporary_folder
from tests.support.patience import PATIENCE_S
from tests.support.postgres import PostgresForTests

AsyncTest = Callable[..., Awaitable[None]]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "fail_after(seconds): an async test that lasts longer fails (real clock)"
    )
    # structlog's own default draws each traceback with the locals of all frames: that takes half a
    # second, and shows decks and tokens.
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            structlog.processors.KeyValueRenderer(key_order=["level", "event"]),
        ]
    )


# How long an example takes says how busy the machine is.
hypothesis.settings.register_profile(
    "cardroom", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("cardroom")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # Not a fixture: pytest-trio runs those in tasks of their own, whose scopes hold no test.
    for item in items:
        mark = item.get_closest_marker("fail_after")
        if mark is not None and isinstance(item, pytest.Function):
            assert inspect.iscoroutinefunction(item.obj)
            item.obj = _bounded(item.obj, mark.args[0])


def _bounded(test: AsyncTest, seconds: float) -> AsyncTest:
    @functools.wraps(test)
    async def bounded(**fixtures: Any) -> None:
        # Not trio's clock: in some tests that stands still.
        with trio.CancelScope() as scope:
            token = trio.lowlevel.current_trio_token()
            timer = threading.Timer(seconds, token.run_sync_soon, [scope.cancel])
            timer.daemon = True
            timer.start()
            try:
                await test(**fixtures)
            finally:
                timer.cancel()
        if scope.cancelled_caught:
            raise trio.TooSlowError

    return bounded


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A folder for one test.

    pytest's own lie in one that each run of pytest closes to other users, and so to the system user
    of a PostgreSQL that another run has there.
    """
    with temporary_folder() as folder:
        yield folder


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresForTests]:
    with temporary_folder() as folder:
        server = trio.run(PostgresForTests.start, folder)
        yield server
        trio.run(server.stop)


@pytest.fixture
def database_url(postgres: PostgresForTests) -> Iterator[str]:
    with postgres.database() as url:
        yield url


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[TrioConnection[tuple[Any, ...]]]:
    """A connection in autocommit mode."""
    conn: TrioConnection[tuple[Any, ...]]
    conn = await TrioConnection.connect(database_url, autocommit=True)
    yield conn
    await conn.close()


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[Pool]:
    async with Pool(database_url, size=4, timeout_s=PATIENCE_S) as made:
        yield made
