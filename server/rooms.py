"""All rooms of this process: found on demand, continued at start, handed messages.

What can keep a message from its room is turned into the refusal that a client is told.
"""

from collections.abc import Callable, Sequence
from typing import Any

import structlog
import trio

from actors.hub import Hub, Subscriber, Subscription
from actors.registry import Registry, State
from actors.room import (
    Ask,
    Attach,
    Message,
    RoomActor,
    RoomServices,
    WrittenOutside,
)
from actors.supervisor import (
    Intensity,
    Quarantine,
    Supervisor,
    crash_id,
)
from game.decide import InternalCommand
from game.presence import TakenOver
from persistence import hydration, nodes
from persistence.errors import Unavailable
from protocol.commands import AnyRoomCommand
from protocol.errors import Refused
from protocol.ids import RoomId, room_channel
from protocol.principal import Principal
from protocol.replies import Ok
from server.posting import Answer, post, send, unavailable

log = structlog.stdlib.get_logger(__name__)


class Rooms:
    """The rooms that this process runs.

    Args:
        supervisor: keeps the actors running.
        services: what all of them share.
        intensity: how many restarts a room has before it is quarantined.
        timeout_s: how long a command waits for a room that starts or restarts, in seconds.
        on_crash: told of each crash and each quarantine, for the metrics.
    """

    def __init__(
        self,
        *,
        supervisor: Supervisor,
        services: RoomServices,
        intensity: Intensity,
        timeout_s: float,
        on_crash: Callable[[], None],
        on_quarantine: Callable[[str], None],
    ) -> None:
        self._services = services
        self._timeout_s = timeout_s
        self._on_crash = on_crash
        self._registry: Registry[str, RoomActor] = Registry(
            supervisor=supervisor,
            factory=lambda room_id: RoomActor(room_id, services),
            intensity=intensity,
            on_crash=self._crashed,
            on_quarantine=lambda actor: on_quarantine(actor.room_id),
            undelivered=_undelivered,
        )

    @property
    def hub(self) -> Hub:
        """Where the rooms publish."""
        return self._services.hub

    def __len__(self) -> int:
        return len(self._registry)

    def live_ids(self) -> list[str]:
        """List the rooms that are in memory."""
        return [actor.room_id for actor in self._registry]

    def post(self, room_id: str, message: Message) -> bool:
        """Hand a message to a room that is live, without waiting.

        Returns:
            False if the room is not live; the message is nowhere then.

        Raises:
            Refused: `busy`; the message is nowhere then.
        """
        return post(self._registry, room_id, message, what="room")

    async def send(self, room_id: str, message: Message) -> None:
        """Hand a message to a room, bringing it to life if need be.

        Raises:
            Refused: `not_found`, `moved`, `busy`, `unavailable`, `room_unavailable`; the message
                is nowhere then.
        """
        await send(self._registry, room_id, message, what="room", timeout_s=self._timeout_s)

    async def ask(
        self, room_id: str, command: AnyRoomCommand, principal: Principal, source: str
    ) -> Ok:
        """Have a command carried out and wait for its reply.

        Raises:
            Refused: any code; nothing was changed.
        """
        answer: Answer[Ok] = Answer()
        await self.send(room_id, Ask(command, principal, source, answer.put))
        return await answer.get()

    async def attach(
        self, room_id: str, principal: Principal, subscriber: Subscriber
    ) -> Subscription:
        """Subscribe to a room's events, held until the subscriber has its snapshot.

        Raises:
            Refused: `not_approved`, or as `send`.

        Cancellation leaves nothing subscribed, even if the room gets to it only afterwards.
        """
        answer: Answer[Subscription] = Answer()
        given_up = False

        def put(value: Subscription | Refused) -> None:
            if given_up and not isinstance(value, Refused):
                self.hub.unsubscribe(value.channel, subscriber)
            answer.put(value)

        try:
            await self.send(room_id, Attach(principal, subscriber, put))
            return await answer.get()
        except trio.Cancelled:
            given_up = True
            self.hub.unsubscribe(room_channel(RoomId(room_id)), subscriber)
            raise

    async def tell(self, room_id: str, command: InternalCommand | WrittenOutside) -> None:
        """Tell a room something of the server's own; a room that cannot be reached is let be."""
        try:
            await self.send(room_id, command)
        except Refused as refusal:
            log.info("room_not_told", room_id=room_id, code=refusal.code.value)
        except Exception as error:
            # The room cannot be brought to life; whoever tells many rooms goes on with the next.
            log.exception("room_not_told", room_id=room_id, crash_id=crash_id(error))

    async def take_over(self, room_ids: Sequence[str], *, restarted: bool) -> int:
        """Claim rooms and go on with them, with a fixed number of queries; return how many.

        A room that cannot be read, or that somebody has locked, keeps nobody else waiting: it
        begins without a state and tries on its own; what cannot be read ends up in quarantine,
        where staff see it.
        """
        services = self._services
        missing = [room_id for room_id in room_ids if self._registry.state(room_id) is None]
        if not missing:
            return 0
        locked: list[str] = []
        try:
            claims = await nodes.claim(
                services.pool, services.node_id, missing, restarted=restarted
            )
        except Unavailable:
            claims = await nodes.claim(
                services.pool, services.node_id, missing, restarted=restarted, skip_locked=True
            )
            locked = [room_id for room_id in missing if room_id not in claims]
        unreadable: dict[str, Exception] = {}
        states = await hydration.load_rooms(services.pool, list(claims), unreadable)
        taken = 0
        for room_id in (*states, *unreadable, *locked):
            if self._registry.state(room_id) is not None:
                continue
            unit_id = claims[room_id].unit_id if room_id in claims else 0
            actor = RoomActor(room_id, services, states.get(room_id), unit_id)
            actor.mailbox.put_urgent_nowait(TakenOver())
            self._registry.adopt(room_id, actor)
            taken += 1
        return taken

    def written_outside(self, room_id: str) -> bool:
        """Tell a live room that somebody wrote to it past its server, without waiting.

        Returns:
            False if the room is not live; nobody was told then.
        """
        actor = self._registry.get(room_id)
        if actor is not None:
            actor.written_outside()
        return actor is not None

    async def take_up_writes(self, room_ids: Sequence[str]) -> None:
        """Tell rooms so that may not be live; those that are not are brought to life.

        Raises:
            Unavailable: the database is away.
        """
        absent = [room_id for room_id in room_ids if not self.written_outside(room_id)]
        await self.take_over(absent, restarted=False)
        for room_id in absent:
            # One that starts or ends just now may have been read before it was written to.
            state = self._registry.state(room_id)
            if state not in (None, State.LIVE, State.QUARANTINED):
                await self.tell(room_id, WrittenOutside())

    def quarantined(self) -> dict[str, Quarantine]:
        """Tell which rooms crashed too often, and why."""
        return self._registry.quarantined()

    def lift(self, room_id: str) -> bool:
        """Let a quarantined room go on; False if it is not in quarantine."""
        return self._registry.lift(room_id)

    def lost(self, room_id: str) -> None:
        """Let go of a room that another process has taken over."""
        actor = self._registry.get(room_id)
        if actor is not None:
            actor.disown()

    def passivate_idle(self, idle_s: float) -> int:
        """Let rooms leave memory that had nothing to do for so many seconds; return how many."""
        return self._registry.passivate_idle(idle_s)

    async def stop(self, within_s: float) -> None:
        """Let every room finish what it has, for at most so many seconds."""
        await self._registry.stop_all(within_s)

    def _crashed(self, actor: RoomActor, error: Exception, life: int) -> bool:
        if isinstance(error, Unavailable):
            return False
        self._on_crash()
        return True


def _undelivered(actor: RoomActor, messages: list[Any]) -> None:
    for message in messages:
        if isinstance(message, Ask | Attach):
            message.answer(unavailable(1.0))
