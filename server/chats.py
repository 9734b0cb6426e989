"""All live chat sessions of this process: found on demand, handed commands."""

from collections.abc import Callable, Sequence
from typing import Any

import structlog
import trio

from actors.chat import ChatAsk, ChatServices, ChatSessionActor, WrittenOutside
from actors.registry import Registry
from actors.supervisor import Intensity, Quarantine, Supervisor, crash_id
from persistence.errors import Unavailable
from protocol.errors import Refused
from protocol.replies import Ok
from server.posting import Answer, post, send, unavailable

STARTED_AT_ONCE = 8
MakeAsk = Callable[[Callable[[Ok | Refused], None]], ChatAsk]

log = structlog.stdlib.get_logger(__name__)


class Chats:
    """The chat sessions that this process has in memory.

    Args:
        supervisor: keeps the actors running.
        services: what all of them share.
        intensity: how many restarts a session has before it is quarantined.
        timeout_s: how long a command waits for a session that starts or restarts, in seconds.
        on_crash: told of each crash, for the metrics.
    """

    def __init__(
        self,
        *,
        supervisor: Supervisor,
        services: ChatServices,
        intensity: Intensity,
        timeout_s: float,
        on_crash: Callable[[], None],
    ) -> None:
        self.hub = services.hub
        self._timeout_s = timeout_s
        self._on_crash = on_crash
        self._registry: Registry[str, ChatSessionActor] = Registry(
            supervisor=supervisor,
            factory=lambda session_id: ChatSessionActor(session_id, services),
            intensity=intensity,
            on_crash=self._crashed,
            on_quarantine=lambda actor: log.error("chat_quarantined", session_id=actor.session_id),
            undelivered=_undelivered,
        )

    def __len__(self) -> int:
        return len(self._registry)

    def post(self, session_id: str, ask: ChatAsk) -> bool:
        """Hand a command to a session that is live, without waiting.

        Returns:
            False if the session is not live; the command is nowhere then.

        Raises:
            Refused: `busy`; the command is nowhere then.
        """
        return post(self._registry, session_id, ask, what="conversation")

    async def ask(self, session_id: str, make_ask: MakeAsk) -> Ok:
        """Have a command carried out and wait for its reply.

        Args:
            session_id: whose command it is.
            make_ask: makes the ask with the way for its answer.

        Raises:
            Refused: any code; nothing was changed.

        Cancellation: the command may be carried out all the same.
        """
        answer: Answer[Ok] = Answer()
        await send(
            self._registry,
            session_id,
            make_ask(answer.put),
            what="conversation",
            timeout_s=self._timeout_s,
        )
        return await answer.get()

    def written_outside(self, session_id: str) -> bool:
        """Tell a live session that somebody wrote to it past its servers, without waiting.

        Returns:
            False if the session is not live; nobody was told then.
        """
        actor = self._registry.get(session_id)
        if actor is not None:
            actor.written_outside()
        return actor is not None

    async def take_up_writes(self, session_ids: Sequence[str]) -> None:
        """Tell sessions so that may not be live; those that are not are brought to life."""
        limiter = trio.CapacityLimiter(STARTED_AT_ONCE)
        async with trio.open_nursery() as nursery:
            for session_id in session_ids:
                if not self.written_outside(session_id):
                    nursery.start_soon(self._take_up, session_id, limiter)

    async def _take_up(self, session_id: str, limiter: trio.CapacityLimiter) -> None:
        async with limiter:
            try:
                await send(
                    self._registry,
                    session_id,
                    WrittenOutside(),
                    what="conversation",
                    timeout_s=self._timeout_s,
                )
            except Refused as refusal:
                log.info("chat_not_told", session_id=session_id, code=refusal.code.value)
            except Exception as error:
                log.exception("chat_not_told", session_id=session_id, crash_id=crash_id(error))

    def quarantined(self) -> dict[str, Quarantine]:
        """Tell which sessions crashed too often, and why."""
        return self._registry.quarantined()

    def lift(self, session_id: str) -> bool:
        """Let a quarantined session go on; False if it is not in quarantine."""
        return self._registry.lift(session_id)

    def passivate_idle(self, idle_s: float) -> int:
        """Let sessions leave memory that had nothing to do for so many seconds; return how many."""
        return self._registry.passivate_idle(idle_s)

    async def stop(self, within_s: float) -> None:
        """Let every session finish what it has, for at most so many seconds."""
        await self._registry.stop_all(within_s)

    def _crashed(self, actor: ChatSessionActor, error: Exception, life: int) -> bool:
        if isinstance(error, Unavailable):
            return False
        self._on_crash()
        return True


def _undelivered(actor: ChatSessionActor, asks: list[Any]) -> None:
    for ask in asks:
        if isinstance(ask, ChatAsk):
            ask.answer(unavailable(1.0))
