"""Events as they come in: plain maps, turned into the classes of `protocol.events` and
`protocol.chat_events`.

A server may be newer than this client: an event type that is not known here is kept as it came.
"""

import msgspec
from msgspec import Struct

from protocol.chat_events import CHAT_EVENTS, PassingChatEvent
from protocol.events import PRIVATE_EVENTS, PUBLIC_EVENTS, Event

RawMessage = dict[str, object]


class OtherEvent(Struct, frozen=True):
    """An event that this client cannot read; `fields` is all of it.

    `known` says that its type is one that we know, but not its content.
    """

    type: str
    channel: str
    seq: int
    private: bool
    known: bool
    fields: RawMessage


AnyEvent = Event | OtherEvent

_CLASSES: dict[tuple[str, bool], type[Event]] = {
    **{(str(cls.__struct_config__.tag), False): cls for cls in PUBLIC_EVENTS},
    **{(str(cls.__struct_config__.tag), True): cls for cls in PRIVATE_EVENTS},
    **{
        (str(cls.__struct_config__.tag), issubclass(cls, PassingChatEvent)): cls
        for cls in CHAT_EVENTS
    },
}


def event_of(raw: RawMessage) -> AnyEvent:
    """Read an event; never raises, since what cannot be read is an `OtherEvent`."""
    kind, private = str(raw.get("type")), raw.get("private") is True
    cls = _CLASSES.get((kind, private))
    if cls is not None:
        try:
            return msgspec.convert(raw, cls)
        except msgspec.ValidationError:
            pass
    seq = raw.get("seq")
    return OtherEvent(
        kind,
        str(raw.get("channel", "")),
        seq if isinstance(seq, int) else 0,
        private,
        cls is not None,
        raw,
    )
