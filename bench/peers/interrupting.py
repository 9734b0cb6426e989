"""Being told to stop (Ctrl-C, SIGTERM), so that everything that was started is stopped first.

Whoever is measured has a session of its own and hears neither.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import trio

EXIT_CODE = 130
"""A shell's own for a program that Ctrl-C ended."""


class Interruption:
    """Whether it came."""

    def __init__(self) -> None:
        self.came = False


@contextmanager
def interrupting(scope: trio.CancelScope) -> Iterator[Interruption]:
    """Cancel a scope, instead of ending at once, when this process is told to stop.

    What is known of it is known before anything else of what the signal brings about, such as a
    child process in this session that ends by it too. In the main thread only.
    """
    found = Interruption()
    token = trio.lowlevel.current_trio_token()

    def come(_number: int, _frame: FrameType | None) -> None:
        found.came = True
        token.run_sync_soon(scope.cancel, idempotent=True)

    before = {each: signal.signal(each, come) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield found
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
