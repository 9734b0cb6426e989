"""Events of the hub as ready frames, for every coding that its subscribers have."""

from protocol.codec import Coding, encode
from protocol.events import Event
from server.pusher.channels import Naming
from server.pusher.events import frames_of
from server.transport import frame


def framed_event(coding: object, event: Event) -> bytes:
    """Encode an event for all subscribers of one coding, whichever endpoint they came by."""
    if isinstance(coding, Naming):
        return frames_of(coding, event)
    assert isinstance(coding, Coding)
    return frame(encode(coding, event), text=coding is Coding.JSON)
