"""What all rooms of a server process share."""

from collections.abc import Callable

import msgspec

from actors.hub import Hub
from persistence.journal import JournalLike
from persistence.pool import Pool


class RoomServices(msgspec.Struct, frozen=True):
    """What all rooms of a server process share. Times are milliseconds.

    Attributes:
        new_deck: shuffles a deck of a variant.
        new_token: makes a rejoin token and its SHA-256 in hex.
        keep_token: is told the rejoin token that a user now has for a room, or None.
        known_token: returns it again, while it is known.
        room_lost: is told that another process has the room now.
        decided: is told how long a commit unit took to decide, in seconds.
    """

    pool: Pool
    journal: JournalLike
    hub: Hub
    node_id: str
    now: Callable[[], int]
    new_deck: Callable[[str], tuple[str, ...]]
    new_token: Callable[[], tuple[str, str]]
    keep_token: Callable[[str, str, str | None], None]
    known_token: Callable[[str, str], str | None]
    room_lost: Callable[[str], None]
    decided: Callable[[float], None]
    mailbox_capacity: int
    hand_interval_ms: int
    reject_cooldown_ms: int
    seat_offer_ms: int
    max_members: int
    token_life_ms: int
    old_token_life_ms: int
    rigging_enabled: bool
