"""What can go wrong with a comparison.

`PeersError`
    `Missing`        a peer cannot run here: something is not installed, or cannot be reached
    `PeerFailed`     a contestant ended, refused, hung or lost what it had acknowledged
"""

from __future__ import annotations

_SAID_CHARS = 4000


class PeersError(Exception):
    """A contestant cannot be measured; the text says who and why."""


class Missing(PeersError):
    """A peer cannot run here; the text says what is missing."""


class PeerFailed(PeersError):
    """Something went wrong that should not.

    Args:
        title: of the contestant or program.
        why: what happened, as the rest of a sentence that begins with the title.
        said: its output; the end of it goes into the text.
    """

    def __init__(self, title: str, why: str, said: str = "") -> None:
        self.title = title
        self.said = said.strip()[-_SAID_CHARS:]
        super().__init__(f"{title} {why}" + (f":\n{self.said}" if self.said else ""))
