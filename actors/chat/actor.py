"""The actor of a chat session: takes commands, lets `game.chat` decide, commits, tells, replies.

What waits in its mailbox is decided one after another and committed as one unit. A state whose unit
did not commit is dropped and read back from the database; nothing of it was told to anyone. Nobody
owns a session: any server process may write to it, and whoever finds that another one was there
first reads it back and decides again.
"""

from collections.abc import Callable

import structlog
import trio

from actors.chat.batch import ChatBatch
from actors.chat.messages import ChatAsk
from actors.chat.outcomes import known_outcome
from actors.chat.services import ChatServices
from actors.mailbox import Mailbox
from actors.refusals import internal, unavailable
from game.chat import ChatState, fresh_session
from game.chat.decide import no_session
from persistence import chats
from persistence.errors import ConstraintViolated, OutcomeUnknown, Superseded, Unavailable
from protocol.errors import Refused
from protocol.replies import Ok

log = structlog.stdlib.get_logger(__name__)

ACTOR_PREFIX = "chat:"
"""Before the session's id in the actor's name among the supervisor's children."""

MAX_BATCH_ASKS = 64
MAX_ATTEMPTS = 16
AWAY_PAUSE_S = 0.1


class ChatSessionActor:
    """One session.

    Args:
        session_id: the session, which a first message may make.
        services: what it shares with others.
    """

    def __init__(self, session_id: str, services: ChatServices) -> None:
        self.session_id = session_id
        self.mailbox: Mailbox[ChatAsk] = Mailbox(services.mailbox_capacity)
        self._services = services
        self._state: ChatState | None = None
        self._stale = True
        self._active_at = trio.current_time()
        self._open: dict[int, ChatAsk] = {}

    @property
    def name(self) -> str:
        """The name among the supervisor's children."""
        return f"{ACTOR_PREFIX}{self.session_id}"

    @property
    def idle_since(self) -> float | None:
        """When the session last had something to do."""
        return self._active_at

    async def run(self, *, started: Callable[[], None]) -> None:
        """Live one life, which ends at once where there is no session and nobody opens one.

        Raises:
            Unavailable: the database is away, before `started`.
        """
        try:
            try:
                await self._load()
            except Unavailable:
                raise
            except Exception:
                # It is there and cannot be read: its crash, whoever asked for it.
                started()
                raise
            started()
            while True:
                asks = await self.mailbox.receive(limit=MAX_BATCH_ASKS)
                self._active_at = trio.current_time()
                await self._serve(asks)
                if self._state is None and not self._stale:
                    return
        finally:
            self._state, self._stale = None, True

    async def _load(self) -> None:
        stored = await chats.load_session(self._services.pool, self.session_id)
        self._state, self._stale = None if stored is None else stored.state, False

    async def _serve(self, asks: list[ChatAsk]) -> None:
        """Handle asks; if that ends this life, the next one has those not yet answered."""
        self._open = {id(ask): ask for ask in asks}
        try:
            await self._handle(asks)
        except Exception:
            self._hand_on(list(self._open.values()))
            raise
        self._open = {}

    async def _handle(self, asks: list[ChatAsk]) -> None:
        for _ in range(MAX_ATTEMPTS):
            asks = await self._attempt(asks)
            if not asks:
                return
        raise RuntimeError("the chat session is superseded again and again")

    async def _attempt(self, asks: list[ChatAsk]) -> list[ChatAsk]:
        """Decide asks on the state and commit them as one unit; return those to decide again."""
        if self._stale:
            try:
                await self._load()
            except Unavailable as away:
                self._turn_away(asks, away)
                return []
        batch: ChatBatch | None = None
        for ask in asks:
            if batch is None:
                state = self._state or self._fresh(ask)
                if state is None:
                    self._answer(ask, no_session())
                    continue
                batch = ChatBatch(state, self._services)
            try:
                batch.decide(ask)
            except Exception as error:
                self._stale = True
                self._answer(ask, internal(error))
                raise
        if batch is None:
            return []
        if not batch.out.kept:
            self._applied(batch)
            return []
        return await self._commit(batch)

    def _fresh(self, ask: ChatAsk) -> ChatState | None:
        if ask.opening is None:
            return None
        return fresh_session(self.session_id, *ask.opening, self._services.now())

    async def _commit(self, batch: ChatBatch) -> list[ChatAsk]:
        """Commit a batch; return the asks that are to be decided again."""
        unit_id = self._services.new_unit_id()
        # Whatever becomes of it, the state is what the database has, or nothing.
        self._stale = True
        try:
            await self._services.journal.commit(batch.unit(unit_id), lambda: self._applied(batch))
        except Superseded:
            return batch.asks
        except ConstraintViolated as violated:
            return await self._refused_by_schema(batch, violated)
        except OutcomeUnknown:
            return await self._find_out(batch, unit_id)
        except Unavailable as away:
            self._turn_away(batch.asks, away)
        except Exception as error:
            if batch.applied:
                raise
            if len(batch.asks) > 1:
                return await self._one_by_one(batch.asks)
            self._answer(batch.asks[0], internal(error))
            raise
        return []

    async def _refused_by_schema(
        self, batch: ChatBatch, violated: ConstraintViolated
    ) -> list[ChatAsk]:
        """Find out which of a batch's asks the database does not take, and answer it."""
        if len(batch.asks) > 1:
            return await self._one_by_one(batch.asks)
        [ask] = batch.asks
        try:
            outcome = await known_outcome(
                self._services.pool, ask, batch.state.player_id, violated.constraint
            )
        except Unavailable as away:
            self._turn_away([ask], away)
            return []
        if outcome is None:
            self._answer(ask, internal(violated))
            raise violated
        self._answer(ask, outcome)
        return []

    async def _one_by_one(self, asks: list[ChatAsk]) -> list[ChatAsk]:
        for ask in asks:
            await self._handle([ask])
        return []

    async def _find_out(self, batch: ChatBatch, unit_id: int) -> list[ChatAsk]:
        """Learn whether a unit committed whose connection broke, and tell the true outcome.

        What is there once nothing is under way any more is final.
        """
        pool = self._services.pool
        while True:
            try:
                await chats.settle(pool, self.session_id, batch.state.player_id)
                stored = await chats.load_session(pool, self.session_id)
                break
            except Unavailable as away:
                in_doubt = {id(ask) for ask in batch.asks}
                self._turn_away(
                    [ask for key, ask in self._open.items() if key not in in_doubt], away
                )
                await trio.sleep(AWAY_PAUSE_S)
        if stored is None or stored.unit_id != unit_id:
            return batch.asks
        self._applied(batch)
        return []

    def _applied(self, batch: ChatBatch) -> None:
        """Tell and answer what has been committed. Called before any other task runs."""
        self._state = batch.state if batch.state.opened else None
        self._stale = False
        for ask in batch.asks:
            self._open.pop(id(ask), None)
        batch.apply()

    # Failure

    def _answer(self, ask: ChatAsk, answer: Ok | Refused) -> None:
        self._open.pop(id(ask), None)
        ask.answer(answer)

    def _turn_away(self, asks: list[ChatAsk], away: Unavailable) -> None:
        """Tell asks, and those behind them, who have waited as long, that nothing was changed."""
        for ask in (*asks, *self.mailbox.drain()):
            self._answer(ask, unavailable(away))

    def _hand_on(self, asks: list[ChatAsk]) -> None:
        """Let the next life have asks, in their order."""
        if self.mailbox.closed:
            for ask in asks:
                ask.answer(unavailable(Unavailable("the server is stopping")))
            return
        for ask in asks:
            self.mailbox.put_urgent_nowait(ask)
