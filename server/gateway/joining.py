"""How a socket comes in: the replies that bring it into a room, with what closes the gap before its
live events, and how long one that was not let in may take to try again."""

import trio
from msgspec import UNSET

from protocol.commands import Authenticate, Subscribe
from protocol.errors import CloseCode, Refused
from protocol.replies import Authenticated, Subscribed
from server.club import Joint


def subscribed(command: Subscribe, joint: Joint) -> Subscribed:
    """Answer a subscription; the room comes with it where the client had an older one."""
    had_one = command.last_seq is not None
    return Subscribed(
        re=command.id,
        channel=command.channel,
        seq=joint.seq,
        recovered=joint.missed is not None if had_one else UNSET,
        missed=UNSET if joint.missed is None else joint.missed,
        room=joint.snapshot if had_one and joint.snapshot is not None else UNSET,
    )


def authenticated(reply: Authenticated, command: Authenticate, joint: Joint) -> Authenticated:
    """Add to the answer to an authentication what it says of the room."""
    if command.last_seq is not None:
        reply.recovered = joint.missed is not None
    if joint.missed is not None:
        reply.missed = joint.missed
    if joint.snapshot is not None:
        reply.room = joint.snapshot
        if reply.rejoin_token is UNSET and joint.snapshot.me.rejoin_token is not None:
            reply.rejoin_token = joint.snapshot.me.rejoin_token
    return reply


def next_try(refusal: Refused, opened_at: float, limit_s: float) -> tuple[float, int]:
    """Say by when a client whose authentication was refused has to try again, and how it is closed
    if it does not; times are on trio's clock."""
    if refusal.retry_after_s is None:
        return opened_at + limit_s, CloseCode.NOT_AUTHENTICATED
    # It was told to try again; one that does not may still come back.
    return trio.current_time() + refusal.retry_after_s + limit_s, CloseCode.IDLE
