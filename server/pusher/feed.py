"""A socket's place in one channel."""

from typing import Protocol

from protocol.ids import UserId
from server.pusher.channels import Found


class Socket(Protocol):
    """What a feed leads to."""

    def deliver(self, frames: bytes) -> None:
        """Send events."""

    def close(self, code: int, reason: str) -> None:
        """Close the socket."""


class Feed:
    """A subscriber of the hub: not the socket itself, since that may have one channel under two
    names, and be known by a signature for one channel only.
    """

    __slots__ = ("_socket", "channel", "coding", "is_staff", "user_id")

    def __init__(self, socket: Socket, found: Found, user_id: UserId) -> None:
        self._socket = socket
        self.channel = found.channel
        self.coding = found.naming
        self.is_staff = found.owner is None
        self.user_id = user_id

    def enqueue(self, frames: bytes) -> None:
        """Send ready frames."""
        self._socket.deliver(frames)

    def close(self, code: int, reason: str) -> None:
        """Close the socket."""
        self._socket.close(code, reason)
