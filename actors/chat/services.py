"""What all chat sessions of a server process share."""

from collections.abc import Callable

import msgspec

from actors.hub import Hub
from persistence.journal import JournalLike
from persistence.pool import Pool


class ChatServices(msgspec.Struct, frozen=True):
    """What all chat sessions of a server process share.

    Attributes:
        now: UTC in milliseconds.
        new_unit_id: makes the id of a commit unit, at random from 63 bits.
        decided: is told how long a commit unit took to decide, in seconds.
    """

    pool: Pool
    journal: JournalLike
    hub: Hub
    now: Callable[[], int]
    new_unit_id: Callable[[], int]
    decided: Callable[[float], None]
    mailbox_capacity: int
