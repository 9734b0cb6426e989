"""What can go wrong between the server and its database, as the callers tell it apart.

::

    PersistenceError
    ├── Unavailable            try later; nothing was committed
    │   └── OutcomeUnknown     the connection broke when a commit may have been under way
    ├── Superseded             another writer was there: drop the cache, rehydrate
    ├── ConstraintViolated     the schema refused the rows
    ├── RowsRefused            the database cannot take the rows at all: a bug of ours
    ├── SchemaTooNew           the database was migrated by a newer server
    ├── MigrationChanged       an applied migration file was edited
    └── UnsafeDurability       the database would forget what it acknowledged

`OutcomeUnknown` is an `Unavailable` so that code which only wants to say "try later" is right
without knowing the difference; whoever would *repeat* the work has to catch it first.

psycopg's own errors are translated in one place, `translate`, which the pool calls. What it does
not know (a syntax error, a wrong type) is a bug of ours and keeps its own class.
"""

from __future__ import annotations

from collections.abc import Mapping

import psycopg
from psycopg import errors as pg

RETRY_AFTER_S = 1.0
"""What a client is told to wait when nothing better is known, in seconds."""

# Class 08 is the connection, 53 a lack of resources, 57 an operator (shutdown, cancelled
# statement), 40 a transaction that was rolled back for the sake of others, 55P03 a lock timeout,
# 25P03/25P04 sessions ended by a timeout. PostgreSQL manual, appendix A.
_UNAVAILABLE_CLASSES = frozenset({"08", "40", "53", "57"})
_UNAVAILABLE_STATES = frozenset({"25P03", "25P04", "55P03"})


class PersistenceError(Exception):
    """Root of everything this package raises on purpose."""


class Unavailable(PersistenceError):
    """The database cannot be used now; nothing of what was asked has been committed.

    Attributes:
        retry_after_s: seconds after which trying again makes sense.
    """

    def __init__(self, reason: str, retry_after_s: float = RETRY_AFTER_S) -> None:
        super().__init__(f"database unavailable: {reason}")
        self.reason = reason
        self.retry_after_s = retry_after_s


class OutcomeUnknown(Unavailable):
    """The connection broke while a commit may have been under way: it happened, or it did not."""


class Superseded(PersistenceError):
    """The fence did not match: somebody else has written to, or owns, this room or chat session.

    Attributes:
        key: the id of what the refused commit was of.
    """

    def __init__(self, key: str) -> None:
        super().__init__(f"{key}: sequence or owner epoch is no longer ours")
        self.key = key


class ConstraintViolated(PersistenceError):
    """A unique key, check, foreign key or exclusion of the schema refused the statement.

    Attributes:
        constraint: the constraint's name; for NOT NULL, the column's.
        table: the table's name, `None` where PostgreSQL does not tell it.
    """

    def __init__(self, constraint: str, table: str | None = None) -> None:
        super().__init__(f"constraint {constraint} violated" + (f" on {table}" if table else ""))
        self.constraint = constraint
        self.table = table


class RowsRefused(PersistenceError):
    """The database cannot take what was to be written (a value of the wrong kind): a bug of ours.

    PostgreSQL's own words are left out, since they may quote the rows.

    Attributes:
        sqlstate: what PostgreSQL calls it (its manual, appendix A), if it said so.
    """

    def __init__(self, sqlstate: str | None) -> None:
        super().__init__(f"the rows were refused with SQLSTATE {sqlstate}")
        self.sqlstate = sqlstate


class SchemaTooNew(PersistenceError):
    """The database has migrations that this server does not know: it must not touch it.

    Attributes:
        found: version of the database.
        known: newest version this server knows.
    """

    def __init__(self, found: int, known: int) -> None:
        super().__init__(f"the database has schema version {found}, this server knows {known}")
        self.found = found
        self.known = known


class MigrationChanged(PersistenceError):
    """A migration file differs from the one that was applied to this database, or is gone.

    Attributes:
        version: number of the migration.
        name: its name.
    """

    def __init__(self, version: int, name: str) -> None:
        super().__init__(f"migration {version:04} ({name}) is not what was applied")
        self.version = version
        self.name = name


class UnsafeDurability(PersistenceError):
    """The database may lose transactions that it has acknowledged.

    Attributes:
        settings: the offending settings with their values in force.
    """

    def __init__(self, settings: Mapping[str, str]) -> None:
        listed = ", ".join(f"{name} = {value}" for name, value in sorted(settings.items()))
        super().__init__(f"acknowledged commits could be lost: {listed}")
        self.settings = dict(settings)


def translate(exc: psycopg.Error, *, commit_possible: bool = False) -> PersistenceError:
    """Say in our words what psycopg reported; raise `exc` itself where we have none.

    Args:
        exc: what psycopg raised.
        commit_possible: the connection is lost and something may have been committed.

    Returns:
        `Unavailable` or `OutcomeUnknown` for a database that is away, overloaded, shutting down
        or that rolled the transaction back for the sake of others; `ConstraintViolated` for the
        integrity family.

    Raises:
        psycopg.Error: `exc`, which is a bug of the caller then.
    """
    if isinstance(exc, pg.IntegrityError):
        name = exc.diag.constraint_name or exc.diag.column_name
        if name is not None:
            return ConstraintViolated(name, exc.diag.table_name)
        raise exc
    if _means_unavailable(exc):
        reason = exc.diag.message_primary or str(exc).strip() or type(exc).__name__
        return OutcomeUnknown(reason) if commit_possible else Unavailable(reason)
    raise exc


def _means_unavailable(exc: psycopg.Error) -> bool:
    """Tell an absent database from a wrong use of it."""
    if exc.sqlstate is not None:
        return exc.sqlstate[:2] in _UNAVAILABLE_CLASSES or exc.sqlstate in _UNAVAILABLE_STATES
    # Without a state the error is libpq's: it could not connect or lost the connection. An aborted
    # pipeline has another error before it that says why, and the other interface errors ("the
    # cursor is closed") are ours.
    return isinstance(exc, pg.OperationalError) and not isinstance(exc, pg.PipelineAborted)
