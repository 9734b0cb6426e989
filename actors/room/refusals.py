"""How a room says what went wrong."""

from persistence.errors import ConstraintViolated
from persistence.journal import WALLET_MISSING
from protocol.errors import ErrorCode, Refused

COMMANDS_KEY = "commands_key"
"""The constraint that a command carried out before violates."""

_BY_CONSTRAINT = {
    "wallets_balance_check": (
        ErrorCode.INSUFFICIENT_BALANCE,
        "Your wallet does not hold that many chips.",
    ),
    WALLET_MISSING: (ErrorCode.INSUFFICIENT_BALANCE, "You have no wallet yet."),
    "room_seats_user_key": (ErrorCode.CONFLICT, "You have a seat at this table."),
}


class RoomLost(Exception):
    """The room is another process's now (or is gone); `refusal` says so to clients."""

    def __init__(self, refusal: Refused) -> None:
        super().__init__(str(refusal))
        self.refusal = refusal


def refusal_by_schema(error: Exception) -> Refused | None:
    """Say what a constraint of the schema means to a client, or None for one that means nothing."""
    if not isinstance(error, ConstraintViolated):
        return None
    found = _BY_CONSTRAINT.get(error.constraint)
    return None if found is None else Refused(*found)
