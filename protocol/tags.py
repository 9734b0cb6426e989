"""How a message's class name becomes its `type` on the wire."""

import re

_BOUNDARY = re.compile(r"(?<!^)(?=[A-Z])")


def snake(name: str) -> str:
    """Turn ``HandStarted`` into ``hand_started``."""
    return _BOUNDARY.sub("_", name).lower()
