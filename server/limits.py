"""The settings as the limits of the parts that hold them."""

from protocol.errors import CloseCode
from server.gateway.gateway import GatewayLimits
from server.settings import Settings
from server.transport import TransportLimits

HALF_OPEN_SHARE = 4
"""No more than one in so many sockets may be one that has not finished its handshake."""


def gateway_limits(settings: Settings) -> GatewayLimits:
    """Say what one client may do."""
    return GatewayLimits(
        settings.commands_per_s,
        settings.command_burst,
        settings.sockets_per_user,
        settings.auth_timeout_s,
    )


def transport_limits(settings: Settings, max_sockets: int) -> TransportLimits:
    """Say what one socket may do, and how many there may be."""
    return TransportLimits(
        max_message_bytes=settings.max_message_bytes,
        queue_messages=settings.queue_messages,
        queue_bytes=settings.queue_bytes,
        handshake_timeout_s=settings.handshake_timeout_s,
        max_half_open=min(settings.half_open_handshakes, max(1, max_sockets // HALF_OPEN_SHARE)),
        max_sockets=max_sockets,
        idle_s=settings.idle_socket_s,
        idle_code=CloseCode.IDLE,
        ping_interval_s=settings.ping_interval_s,
        send_timeout_s=settings.send_timeout_s,
        close_timeout_s=settings.close_timeout_s,
    )
