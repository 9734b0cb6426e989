"""The actor of a room.

`messages` says what its mailbox takes, `actor` how it lives; the rest is what it does with a
message: `deciding`, `batch`, `outcomes`, `telling`, `refusals`. `services` is what all rooms share.
"""

from actors.room.actor import RoomActor
from actors.room.messages import Ask, Attach, Message, WrittenOutside
from actors.room.services import RoomServices

__all__ = [
    "Ask",
    "Attach",
    "Message",
    "RoomActor",
    "RoomServices",
    "WrittenOutside",
]
