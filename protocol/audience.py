"""Whom an event reaches."""

from enum import Enum
from typing import NamedTuple

from protocol.events import Event


class Audience(Enum):
    """Who among a channel's subscribers sees an event that is not for one user alone."""

    EVERYONE = "everyone"
    OPERATORS = "operators"
    """Host and staff."""


class Told(NamedTuple):
    """An event and who is told: an audience, or the one user with that id."""

    event: Event
    audience: Audience | str = Audience.EVERYONE
