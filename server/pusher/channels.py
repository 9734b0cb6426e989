"""The channels that there are, by the names that Pusher's clients call them.

`private-staff-portal` is the channel `staff-portal` of the hub under another name, to which a
signature lets in instead of an access token; the same holds for a player's.
"""

import re
from enum import Enum
from typing import NamedTuple

from protocol.ids import STAFF_PORTAL, Channel, UserId, player_of

PRIVATE = "private-"
SERVER_TO_USER = "#server-to-user-"
"""What `pusher-js` subscribes to by itself after a sign-in, and `sendToUser` publishes to."""

MAX_CHANNEL_CHARS = 200
MAX_EVENT_CHARS = 200
CHANNEL_PATTERN = r"^#?[-a-zA-Z0-9_=@,.;]+\Z"
"""Pusher's own; so no event can be published into a room, whose name has a colon."""

_SOCKET_ID = re.compile(r"\d{1,20}\.\d{1,20}\Z", re.ASCII)


class Naming(Enum):
    """Under which of its names a subscriber has a channel: a coding of the hub."""

    PLAIN = ""
    PRIVATE = PRIVATE


class Found(NamedTuple):
    """A channel that there is.

    `owner` is the user who alone may have it, None for the staff's. `channel` is its name in the
    hub.
    """

    name: str
    naming: Naming
    channel: Channel
    owner: UserId | None


def find(name: str) -> Found | None:
    """Find the channel of a name; None where nobody may subscribe to anything by that name."""
    if name.startswith(SERVER_TO_USER) and len(name) > len(SERVER_TO_USER):
        return Found(name, Naming.PLAIN, Channel(name), UserId(name[len(SERVER_TO_USER) :]))
    naming = Naming.PRIVATE if name.startswith(PRIVATE) else Naming.PLAIN
    channel = Channel(name[len(naming.value) :])
    if channel == STAFF_PORTAL:
        return Found(name, naming, channel, None)
    owner = player_of(channel)
    return None if owner is None else Found(name, naming, channel, owner)


def is_socket_id(text: str) -> bool:
    """Say whether this could be the id of a socket, two numbers with a point between them."""
    return _SOCKET_ID.match(text) is not None
