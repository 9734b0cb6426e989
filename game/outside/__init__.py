"""Writes from outside: SQL by others than the room's own server, told as if it had been asked.

`inbox` goes through what was written, `queue` says what writes to the waitlist mean, `corrections`
what those to seats and rooms mean.
"""

from game.outside.inbox import reconcile

__all__ = ["reconcile"]
