"""A table's waitlist: one queue, first in line first.

`queue` is the queue and what becomes of it by itself, `telling` what is told of it; `steps` is what
players ask of it, `by_hand` what host and staff do with it, on single `entries`. A place in line
follows from the order, always.
"""

from game.waitlist.queue import (
    cancel_all,
    end,
    entry_of,
    expire,
    holder,
    next_expiry,
    renew_offers,
    settle,
)
from game.waitlist.telling import tell

__all__ = [
    "cancel_all",
    "end",
    "entry_of",
    "expire",
    "holder",
    "next_expiry",
    "renew_offers",
    "settle",
    "tell",
]
