"""Fixtures for tests that need a real PostgreSQL.

`postgres` is one server for the whole run (one for each worker of pytest-xdist), `database_url` a
freshly migrated database for one test, `connection` and `pool` lead to it.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
import trio

from persistence.connection import TrioConnection
from persistence.pool import Pool
from tests.support.postgres import PostgresForTests

AsyncTest = Callable[..., Awaitable[None]]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "fail_after(seconds): an async test that lasts longer fails (real clock)"
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # Not a fixture: pytest-trio runs those in tasks of their own, whose scopes hold no test.
    for item in items:
        mark = item.get_closest_marker("fail_after")
        if mark is not None and isinstance(item, pytest.Function):
            assert inspect.iscoroutinefunction(item.obj)
            item.obj = _bounded(item.obj, mark.args[0])


def _bounded(
    test: Callable[..., Awaitable[None]], seconds: float
) -> Callable[..., Awaitable[None]]:
    @functools.wraps(test)
    async def bounded(**fixtures: Any) -> None:
        with trio.fail_after(seconds):
            await test(**fixtures)

    return bounded


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresForTests]:
    server = trio.run(PostgresForTests.start, tmp_path_factory.mktemp("postgres"))
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
    async with Pool(database_url, size=4, timeout_s=2.0) as made:
        yield made
