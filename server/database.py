"""Which database the settings mean, for commands that look at it from beside a server."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import psycopg

from persistence.connection import TrioConnection
from persistence.migrate import Connection, current_version, known_version
from persistence.pool import Pool
from server.embedded import EmbeddedPostgres
from server.server_file import ServerFile
from server.settings import Settings

CONNECT_TIMEOUT_S = 10.0


class NoDatabase(Exception):
    """There is no database to look at, or not one of this version; the text says which."""


@asynccontextmanager
async def database_url(settings: Settings, *, create: bool) -> AsyncIterator[str]:
    """Give the URL of the database for the block.

    That of the settings, else that of the server which runs in the data folder, else the embedded
    PostgreSQL's, which is started for the block if nobody uses it.

    Args:
        settings: those in force.
        create: make a database where the data folder has none.

    Raises:
        NoDatabase: the data folder has none, and none is to be made.
        EmbeddedFailed: PostgreSQL refuses.
        OSError: the data folder cannot be used.
    """
    url = settings.database_url or _url_of_running_server(settings.data_dir)
    if url is not None:
        yield url
        return
    if not create and not (settings.data_dir / "postgres").exists():
        raise NoDatabase(f"There is no database in the data folder {settings.data_dir}.")
    embedded = await EmbeddedPostgres.start(settings.data_dir)
    try:
        yield embedded.url()
    finally:
        await embedded.stop()


@asynccontextmanager
async def existing_database(settings: Settings) -> AsyncIterator[Pool]:
    """Open the database for the block, to look at it; its schema has to be this version's.

    Raises:
        NoDatabase: there is none, it is not reachable, or it is of another version.
        EmbeddedFailed: PostgreSQL refuses.
        OSError: the data folder cannot be used.
    """
    async with database_url(settings, create=False) as url:
        try:
            conn: Connection = await TrioConnection.connect(url, autocommit=True)
        except psycopg.Error as error:
            raise NoDatabase(f"The database is not reachable: {error}") from None
        async with conn:
            found, known = await current_version(conn), known_version()
        if found != known:
            hint = "run `cardroom migrate`" if found < known else "this version is too old for it"
            raise NoDatabase(f"The database has schema {found}, not {known}: {hint}.")
        async with Pool(url, size=1, timeout_s=CONNECT_TIMEOUT_S) as pool:
            yield pool


def _url_of_running_server(data_dir: Path) -> str | None:
    """Return what the server's own file says, if that server lives: a killed one leaves it."""
    told = ServerFile(data_dir).read()
    if told is None:
        return None
    try:
        serves = "serve" in psutil.Process(told.pid).cmdline()
    except psutil.Error:
        return None
    return told.database_url if serves else None
