"""Who a verified token says somebody is. Made by the server's edge, passed down to the rules."""

from datetime import datetime

from msgspec import Struct

from protocol.ids import UserId
from protocol.values import ClubRole

MAX_USER_ID_CHARS = 64


class Principal(Struct, frozen=True):
    """A user as vouched for by the identity provider, for as long as the token lasts.

    `user_id` has 1–64 characters (a UUID, or a legacy number such as `29`), `name` is what other
    people see, `role` is the role in the club, not in a room. `expires_at` is an aware UTC instant,
    None where the credential carries no end of its own.
    """

    user_id: UserId
    name: str
    role: ClubRole = "player"
    expires_at: datetime | None = None

    def __post_init__(self) -> None:
        if not 1 <= len(self.user_id) <= MAX_USER_ID_CHARS:
            raise ValueError("a user_id has 1 to 64 characters")

    @property
    def is_staff(self) -> bool:
        """Say whether the club employs this user."""
        return self.role == "staff"
