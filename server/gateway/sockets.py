"""How many sockets each user has, whatever protocol they speak, and how one is closed."""

from collections import Counter
from typing import Protocol, runtime_checkable


class SocketsPerUser:
    """Counts sockets up to a limit for each user."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._open: Counter[str] = Counter()

    def enter(self, user_id: str) -> bool:
        """Count one more socket in, unless its user has too many."""
        if self._open[user_id] >= self._limit:
            return False
        self._open[user_id] += 1
        return True

    def leave(self, user_id: str) -> None:
        """Count a socket out that was counted in."""
        self._open[user_id] -= 1
        if not self._open[user_id]:
            del self._open[user_id]


@runtime_checkable
class Closable(Protocol):
    """A subscriber of the hub that is a socket, or part of one."""

    def close(self, code: int, reason: str) -> None:
        """Close the socket."""
