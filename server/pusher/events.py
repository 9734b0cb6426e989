"""Events of the hub as clients of Pusher get them: under their names, and under older ones."""

from collections.abc import Callable, Mapping

import msgspec

from protocol.chat_events import (
    ChatMessageReceived,
    NewChatRequest,
    PlayerConfirmation,
    StaffMessageReceived,
)
from protocol.events import Event, Published, WaitlistUpdate
from server.pusher.channels import Naming
from server.pusher.messages import message, text_message


def _of_a_player(event: Event) -> bool:
    assert isinstance(event, NewChatRequest | ChatMessageReceived)
    return event.message is not None and event.message.sender == "player"


def _always(event: Event) -> bool:
    return True


OLDER_NAMES: Mapping[type[Event], tuple[tuple[str, ...], Callable[[Event], bool]]] = {
    NewChatRequest: (("new-player-message",), _of_a_player),
    ChatMessageReceived: (("new-player-message",), _of_a_player),
    StaffMessageReceived: (("chat-message-received", "new-gre-message"), _always),
    PlayerConfirmation: (("message-sent",), _always),
}
"""The names under which older portals listen for an event, and when it has them."""


def frames_of(naming: Naming, event: Event) -> bytes:
    """Encode an event for all who have its channel under one name.

    That is one frame for each of the event's names. `data` holds the event's fields and, as on the
    WebSocket, `seq` and `at`. With `waitlist_update` the field `type` is what has changed, which
    our own protocol, where each message has a `type`, calls `change`. With an older name there is
    always a `session_id`.
    """
    channel = naming.value + event.channel
    if isinstance(event, Published):
        return text_message(event.name, event.data, channel)
    data = msgspec.to_builtins(event)
    assert isinstance(data, dict)
    name = data.pop("type")
    del data["channel"]
    if isinstance(event, WaitlistUpdate):
        data["type"] = event.change
    frames = [message(name, data, channel)]
    older, wanted = OLDER_NAMES.get(type(event), ((), _always))
    if older and wanted(event):
        if isinstance(event, NewChatRequest):
            data["session_id"] = event.session.id
        frames += [message(one, data, channel) for one in older]
    return b"".join(frames)
