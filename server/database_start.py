"""The database as a starting server meets it: away as yet, of an older version, or unsafe."""

from math import inf

import psycopg
import structlog
import trio

from persistence.durability import check_durability
from persistence.errors import Unavailable
from persistence.migrate import migrate
from persistence.pool import Pool

log = structlog.stdlib.get_logger(__name__)

RETRY_S = 0.5


class CannotServe(Exception):
    """The database cannot be asked what has to be asked at the start; the text is psycopg's."""


async def await_database(pool: Pool, *, allow_unsafe_durability: bool) -> None:
    """Wait for the database for as long as it takes, then bring it up to date.

    Raises:
        CannotServe, SchemaTooNew, UnsafeDurability: the database cannot be served from.
    """
    said = False
    while True:
        try:
            async with pool.connection(timeout_s=inf) as conn:
                applied = await migrate(conn)
                await check_durability(conn, allow_unsafe=allow_unsafe_durability)
            break
        except Unavailable as away:
            if not said:
                log.warning("waiting_for_database", reason=away.reason)
            said = True
            await trio.sleep(RETRY_S)
        except psycopg.Error as error:
            raise CannotServe(f"the database: {str(error).strip()}") from error
    for migration in applied:
        log.info("migrated", version=migration.version, name=migration.name)
