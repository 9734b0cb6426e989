"""The Pusher-compatible endpoint beside the club's own."""

import trio

from protocol.commands import Authenticate
from protocol.principal import Principal
from server.gateway.gateway import Gateway
from server.pusher.endpoint import PusherEndpoint, PusherLimits
from server.pusher.signing import App
from server.settings import Settings
from server.transport import Endpoint, HandshakeRequest, Refusal, Route

_SILENCE = 2 / 3
"""A client is to ping before the server would take it for gone."""


def open_pusher(
    settings: Settings, gateway: Gateway, nursery: trio.Nursery
) -> PusherEndpoint | None:
    """Make the endpoint; None where the settings name no app."""
    app = App.of(settings)
    if app is None:
        return None

    async def identify(token: str) -> Principal:
        principal, _ = await gateway.identify(Authenticate(token=token))
        return principal

    return PusherEndpoint(
        app=app,
        hub=gateway.hub,
        identify=identify,
        per_user=gateway.per_user,
        limits=PusherLimits(
            settings.commands_per_s,
            settings.command_burst,
            max(1, int(settings.idle_socket_s * _SILENCE)),
        ),
        nursery=nursery,
    )


def beside(route: Route, pusher: PusherEndpoint | None) -> Route:
    """Find the endpoint of a request where there may be two."""
    if pusher is None:
        return route

    def found(request: HandshakeRequest) -> Endpoint | Refusal:
        return pusher if pusher.serves(request.path) else route(request)

    return found
