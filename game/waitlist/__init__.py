"""A table's waitlist: one queue, first in line first.

`queue` is the queue itself and what becomes of it by itself, `telling` what is told of it, `steps`
what people ask for. A place in line is never stored on its own: it is derived from the order.
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
