"""After the commit: publish, tell tokens, and see who may go on listening."""

from actors.hub import Subscription
from actors.room.batch import Batch
from actors.room.messages import Attach
from actors.room.services import RoomServices
from game.roles import is_operator, may_watch, role_of
from game.state import RoomState
from protocol.audience import Told
from protocol.errors import ErrorCode, Refused
from protocol.ids import STAFF_PORTAL, RoomId, UserId, player_channel, room_channel
from protocol.replies import Joined, RoleTaken


def publish(batch: Batch, services: RoomServices) -> None:
    """Tell everybody what a batch changed; those who just came in hear it too."""
    hub, state = services.hub, batch.state
    channel = room_channel(RoomId(state.room_id))
    for ask, reply in batch.answers:
        if (
            ask.subscriber is not None
            and isinstance(reply, Joined | RoleTaken)
            and may_watch(state, ask.principal)
            and hub.subscription(channel, ask.subscriber) is None
        ):
            hub.subscribe(channel, ask.subscriber, operator=is_operator(state, ask.principal))
    hub.publish(channel, batch.out.told)
    for user_id, event in batch.out.personal:
        hub.publish(player_channel(UserId(user_id)), [Told(event, user_id)])
    if batch.out.for_staff:
        hub.publish(STAFF_PORTAL, [Told(event) for event in batch.out.for_staff])
    for user_id, token in batch.tokens.items():
        services.keep_token(state.room_id, user_id, token)


def settle_subscriptions(batch: Batch, services: RoomServices) -> None:
    """Let the hub see who lost or gained a right to the room's events."""
    hub, state = services.hub, batch.state
    channel = room_channel(RoomId(state.room_id))
    for user_id in batch.out.touched_members:
        if role_of(state, user_id) in ("guest", "pending"):
            hub.unsubscribe_user(channel, user_id)
            services.keep_token(state.room_id, user_id, None)
    if batch.out.room_touched:
        for user_id in list(hub.users(channel)):
            hub.set_operator(channel, user_id, user_id == state.host_id)


def attach(message: Attach, state: RoomState, services: RoomServices) -> Subscription | Refused:
    """Subscribe somebody, held until they have their snapshot, if they may watch."""
    if not may_watch(state, message.principal):
        return Refused(ErrorCode.NOT_APPROVED, "You have not been let into this room.")
    return services.hub.subscribe(
        room_channel(RoomId(state.room_id)),
        message.subscriber,
        operator=is_operator(state, message.principal),
        hold=True,
    )
