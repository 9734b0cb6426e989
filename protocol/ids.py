"""Opaque identifiers, and the only place where channel names are made or taken apart."""

from typing import NewType

RoomId = NewType("RoomId", str)
UserId = NewType("UserId", str)
GameId = NewType("GameId", str)
HandId = NewType("HandId", str)
SessionId = NewType("SessionId", str)
CommandId = NewType("CommandId", str)
Channel = NewType("Channel", str)

STAFF_PORTAL = Channel("staff-portal")

_ROOM_PREFIX = "room:"
_PLAYER_PREFIX = "player-"


def room_channel(room_id: RoomId) -> Channel:
    """Name the channel of a room's events."""
    return Channel(f"{_ROOM_PREFIX}{room_id}")


def player_channel(user_id: UserId) -> Channel:
    """Name the channel that reaches one user and nobody else."""
    return Channel(f"{_PLAYER_PREFIX}{user_id}")


def room_of(channel: str) -> RoomId | None:
    """Return the room whose channel this is, or None for any other channel."""
    return (
        RoomId(channel[len(_ROOM_PREFIX) :])
        if channel.startswith(_ROOM_PREFIX) and len(channel) > len(_ROOM_PREFIX)
        else None
    )


def player_of(channel: str) -> UserId | None:
    """Return the user whose own channel this is, or None for any other channel."""
    return (
        UserId(channel[len(_PLAYER_PREFIX) :])
        if channel.startswith(_PLAYER_PREFIX) and len(channel) > len(_PLAYER_PREFIX)
        else None
    )
