"""The client's times and how long it waits before it connects again."""

import random

from msgspec import Struct

from client.errors import ConnectionClosed
from protocol.errors import CloseCode


class Timing(Struct, frozen=True, kw_only=True):
    """All times of a client, in seconds.

    Attributes:
        connect_s: Longest time for a socket to open, handshake included.
        reply_s: Longest time for the answer to `authenticate`, `subscribe` and `heartbeat`; a
            connection that takes longer is given up.
        send_s: Longest time for one frame to go into the socket.
        close_s: Longest time for the closing handshake.
        heartbeat_s: Between two heartbeats.
        command_s: Longest time for a command, its retries and reconnections included.
        backoff_first_s: Upper end of the wait after the second loss in a row; it doubles with each.
        backoff_max_s: Where that ends.
        restart_spread_s: After close code 1012, a random wait up to this.
        settled_s: A connection that lasted so long counts as a good one: the next loss is a first.
        retry_after_max_s: The most of a server's `retry_after` that counts, and of the random wait
            where it names none.
    """

    connect_s: float = 3.0
    reply_s: float = 10.0
    send_s: float = 10.0
    close_s: float = 1.5
    heartbeat_s: float = 15.0
    command_s: float = 30.0
    backoff_first_s: float = 0.2
    backoff_max_s: float = 5.0
    restart_spread_s: float = 3.0
    settled_s: float = 5.0
    retry_after_max_s: float = 5.0


class Backoff:
    """Decides how long to wait before the next connection: full jitter, doubling, bounded."""

    def __init__(self, timing: Timing, rng: random.Random) -> None:
        self._timing = timing
        self._rng = rng
        self._losses = 0

    def wait_s(self, error: Exception, lasted_s: float) -> float:
        """Return the wait after a loss; nothing after the first one.

        Args:
            error: why the connection ended, or was not made.
            lasted_s: how long it had lasted, from when it was logged in; 0 if it never was.
        """
        if lasted_s >= self._timing.settled_s:
            self._losses = 0
        self._losses += 1
        if isinstance(error, ConnectionClosed) and error.code == CloseCode.RESTARTING:
            return self._rng.uniform(0, self._timing.restart_spread_s)
        crowded = isinstance(error, ConnectionClosed) and error.code == CloseCode.FLOODING
        doublings = self._losses - (1 if crowded else 2)
        if doublings < 0:
            return 0.0
        ceiling = self._timing.backoff_first_s * 2.0 ** min(doublings, 16)
        return self._rng.uniform(0, min(self._timing.backoff_max_s, ceiling))

    def retry_s(self, retry_after_s: float | None, attempt: int) -> float:
        """Return the wait before what was refused is tried again.

        Never less than the server asked for. It tells all whom it has no time for the same, so a
        random time comes on top, up to as long again; the more often it refused, the longer.

        Args:
            retry_after_s: what the server asked for, if it did.
            attempt: how many times it was refused so before.
        """
        ceiling = self._timing.retry_after_max_s
        spread = min(ceiling, self._timing.backoff_first_s * 2.0 ** min(attempt, 16))
        if retry_after_s is None:
            return self._rng.uniform(0, spread)
        asked = max(0.0, min(ceiling, retry_after_s))
        return asked + self._rng.uniform(0, max(asked, spread))
