"""What one transport allows, and what it counts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TransportLimits:
    """Limits of every connection of one transport. Times are seconds, sizes are bytes.

    Attributes:
        max_message_bytes: Longest message of a client, all fragments together; else 1009.
        queue_messages: Most `enqueue` calls that may wait for a socket; one more closes 4008.
        queue_bytes: Most bytes that may wait for a socket; one more closes 4008.
        handshake_timeout_s: From accepting a socket to the end of its upgrade request.
        max_half_open: Most sockets without a finished handshake; the oldest makes way.
        max_sockets: Most sockets in all; others wait to be accepted until one of them has gone.
        idle_s: Time without any message before a close. Pings and pongs do not count.
        idle_code: The close code of that.
        ping_interval_s: Silence (no bytes from the peer) after which it is pinged.
        send_timeout_s: A queue that does not get shorter for so long ends the connection.
        close_timeout_s: From our or the peer's Close to the socket being dropped, come what may.
        max_fragments: Most frames that one message may be split into; one more closes 1008.
        max_control_frames_per_s: Most pings and pongs of a peer in a second; one more closes 4029.
    """

    max_message_bytes: int = 16 * 1024
    queue_messages: int = 512
    queue_bytes: int = 1024 * 1024
    handshake_timeout_s: float = 3.0
    max_half_open: int = 4096
    max_sockets: int = 1_000_000
    idle_s: float = 45.0
    idle_code: int = 4000
    ping_interval_s: float = 20.0
    send_timeout_s: float = 10.0
    close_timeout_s: float = 1.5
    max_fragments: int = 256
    max_control_frames_per_s: int = 64

    @property
    def sweep_interval_s(self) -> float:
        """How often deadlines are looked at: a fifth of the shortest time, within 10 and 500 ms."""
        shortest = min(
            self.handshake_timeout_s,
            self.idle_s,
            self.ping_interval_s,
            self.send_timeout_s,
            self.close_timeout_s,
        )
        return min(0.5, max(0.01, shortest / 5))


class Counters:
    """Totals since the transport was made, as plain numbers that only grow.

    `accept_pauses` counts how often accepting had to wait, for want of descriptors above all.
    `frames_out` counts `enqueue` calls, each of which may carry several frames. `receive_s` is what
    receiving took: parsing and decoding frames, and handing their commands on, in seconds.
    """

    __slots__ = (
        "accept_pauses",
        "bytes_in",
        "bytes_out",
        "frames_in",
        "frames_out",
        "handshake_failures",
        "receive_s",
        "slow_closes",
    )

    def __init__(self) -> None:
        self.accept_pauses = 0
        self.bytes_in = 0
        self.bytes_out = 0
        self.frames_in = 0
        self.frames_out = 0
        self.handshake_failures = 0
        self.receive_s = 0.0
        self.slow_closes = 0
