"""How an actor says what went wrong."""

from actors.supervisor import crash_id
from persistence.errors import Unavailable
from protocol.errors import ErrorCode, Refused


def unavailable(away: Unavailable) -> Refused:
    """Say that the database is away and nothing was changed."""
    return Refused(
        ErrorCode.UNAVAILABLE,
        "The database cannot be reached; nothing was changed.",
        retry_after_s=away.retry_after_s,
    )


def internal(error: Exception) -> Refused:
    """Say that something is broken here, and under which id it is in the log."""
    return Refused(
        ErrorCode.INTERNAL,
        "Something went wrong here; it was noted under this id.",
        {"id": crash_id(error)},
    )


def used_otherwise() -> Refused:
    """Say that a command's id is another command's."""
    return Refused(
        ErrorCode.CONFLICT,
        "This command_id was used for another command.",
        {"field": "command_id"},
    )
