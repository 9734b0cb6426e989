"""How often Python looks for unreachable cycles.

Reference counts free nearly all that this server drops; what is left for the collector is a cycle
now and then (a traceback, a task that was cancelled, an HTTP connection). Its full collections go
over every object that lives, a thousand or so a room, and find next to nothing, while every table
waits. With Python's own thresholds that comes about once a second under load; with these the young
objects are looked through once in thousands of commands, and all of them practically never.

So what dies old and in a cycle would stay for as long as the process lives. Sockets and actors
break their own; for what libraries leave, what is new is looked through once an hour
(`collector.py`). docs/performance.md has the figures, and `/metrics` has a running server's.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

YOUNG, MIDDLE, OLD = 10_000, 20, 100
"""New objects until the young ones are looked through; how many such looks until the middle ones
are, and of these until all are."""


def collect_rarely() -> None:
    """Have the process look for cycles rarely."""
    gc.set_threshold(YOUNG, MIDDLE, OLD)


@contextmanager
def left_alone() -> Iterator[None]:
    """Look for no cycles within the block, which makes a great many objects that stay.

    What lives at its end is never looked at again, unless the block was left by an error.
    """
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        gc.enable()
