"""The actor of a chat session: takes commands, lets `game.chat` decide, commits, tells, replies.

What waits in its mailbox is decided one after another and committed as one unit; what was written
to it past its servers is told before that. A state whose unit did not commit is dropped and read
back from the database; nothing of it was told to anyone. Nobody owns a session: any server process
may write to it, and whoever finds that another one was there first reads it back and decides again.
The fence of a commit finds that out; what changes nothing, and so passes no fence, is answered only
once the session was seen to be where it is believed.
"""

import time
from collections.abc import Callable

import structlog
import trio

from actors.chat.batch import ChatBatch
from actors.chat.messages import ChatAsk, ChatItem, WrittenOutside
from actors.chat.outcomes import OPEN_SESSION_KEY, SESSIONS_KEY, known_outcome
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
        self.mailbox: Mailbox[ChatItem] = Mailbox(services.mailbox_capacity)
        self._services = services
        self._state: ChatState | None = None
        self._unit_id = 0
        self._stale = True
        self._doubt: tuple[int, ChatBatch] | None = None
        self._active_at = trio.current_time()
        self._open: dict[int, ChatAsk] = {}
        self._told_of_writes = False

    @property
    def name(self) -> str:
        """The name among the supervisor's children."""
        return f"chat:{self.session_id}"

    @property
    def idle_since(self) -> float | None:
        """When the session last had something to do."""
        return self._active_at

    def written_outside(self) -> None:
        """Learn that somebody wrote to the session past its servers.

        However often that is said before the actor comes to it, it looks once.
        """
        if not self._told_of_writes:
            self._told_of_writes = True
            self.mailbox.put_urgent_nowait(WrittenOutside())

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
            if self._untold:
                await self._serve([])
            while True:
                items = await self.mailbox.receive(limit=MAX_BATCH_ASKS)
                self._active_at = trio.current_time()
                if any(isinstance(item, WrittenOutside) for item in items):
                    await self._look_outside()
                await self._serve([item for item in items if isinstance(item, ChatAsk)])
                if self._state is None and not self._stale:
                    return
        finally:
            self._state, self._stale = None, True

    @property
    def _untold(self) -> bool:
        return self._state is not None and bool(self._state.untold)

    @property
    def _writes_seen(self) -> int:
        return 0 if self._state is None else self._state.outside

    async def _look_outside(self) -> None:
        """See whether somebody wrote to the session since it was read, and read it back if so."""
        self._told_of_writes = False
        if self._stale:
            return
        try:
            found = await chats.place_of(self._services.pool, self.session_id)
        except Unavailable:
            # Whoever wrote has fenced the next commit off, and servers look again and again.
            return
        state = self._state
        self._stale = found != (None if state is None else (state.seq, state.outside))

    async def _load(self) -> None:
        stored = await chats.load_session(self._services.pool, self.session_id)
        self._state, self._unit_id = (None, 0) if stored is None else stored
        self._stale = False

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
        fruitless = 0
        while fruitless < MAX_ATTEMPTS:
            seen = self._writes_seen
            asks = await self._attempt(asks)
            if not asks:
                return
            # Whoever keeps writing from outside holds the session up, and breaks nothing.
            fruitless = fruitless + 1 if self._writes_seen == seen else 0
        raise RuntimeError("the chat session is superseded again and again")

    async def _attempt(self, asks: list[ChatAsk]) -> list[ChatAsk]:
        """Decide asks on the state and commit them as one unit; return those to decide again."""
        fresh = self._stale
        if self._stale or self._untold:
            await self._catch_up()
            # Without those that were answered or turned away meanwhile.
            asks = [ask for ask in asks if id(ask) in self._open]
        began = time.perf_counter()
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
                self._state, self._stale = None, True
                self._answer(ask, internal(error))
                raise
        if batch is None:
            return []
        if batch.out.kept:
            return await self._commit(batch, began)
        if not fresh and batch.doubtful:
            try:
                place = await chats.place_of(self._services.pool, self.session_id)
            except Unavailable as away:
                self._turn_away(batch.asks, away)
                return []
            if place != (batch.state.seq, batch.state.outside):
                self._stale = True
                return batch.asks
        self._applied(batch)
        return []

    async def _catch_up(self) -> None:
        """Read the session back if need be, and tell what was written to it from outside.

        Where the database is away, whoever waits is turned away, and the state stays stale.
        """
        fruitless, seen = 0, -1
        while fruitless < MAX_ATTEMPTS:
            try:
                if self._stale:
                    await self._load()
                    self._resolve_doubt()
                if self._state is None or not self._state.untold:
                    return
                told = await self._tell_outside(self._state)
            except Unavailable as away:
                self._turn_away(list(self._open.values()), away)
                return
            fruitless = 0 if told or self._writes_seen != seen else fruitless + 1
            seen = self._writes_seen
        raise RuntimeError("the chat session is superseded again and again")

    async def _tell_outside(self, state: ChatState) -> bool:
        """Tell what stands in the inbox, or a part of it.

        Returns:
            Whether that was done; another server may be quicker.

        Raises:
            Unavailable: nothing was told.
        """
        began = time.perf_counter()
        batch = ChatBatch(state, self._services)
        # Whatever becomes of it, the state is what the database has, or nothing.
        self._stale = True
        undone = batch.decide_outside()
        unit_id = self._services.new_unit_id()
        try:
            unit = batch.unit(unit_id)
            self._services.decided(time.perf_counter() - began)
            await self._services.journal.commit(unit, lambda: self._applied(batch))
        except Superseded:
            pass
        except ConstraintViolated as violated:
            # The player has another session open by now, which the next look shows.
            if violated.constraint != OPEN_SESSION_KEY:
                raise
        except OutcomeUnknown:
            await self._find_out(batch, unit_id)
        if batch.applied:
            for what in undone:
                log.warning("outside_write_undone", session_id=self.session_id, what=what)
        return batch.applied

    def _fresh(self, ask: ChatAsk) -> ChatState | None:
        if ask.opening is None:
            return None
        return fresh_session(self.session_id, *ask.opening, self._services.now())

    async def _commit(self, batch: ChatBatch, began: float) -> list[ChatAsk]:
        """Commit a batch; return the asks that are to be decided again.

        `began`: when deciding it began, by `time.perf_counter`.
        """
        unit_id = self._services.new_unit_id()
        # Whatever becomes of it, the state is what the database has, or nothing.
        self._state, self._stale = None, True
        try:
            unit = batch.unit(unit_id)
            self._services.decided(time.perf_counter() - began)
            await self._services.journal.commit(unit, lambda: self._applied(batch))
        except Superseded:
            return batch.asks
        except ConstraintViolated as violated:
            if violated.constraint == SESSIONS_KEY:
                # It has been made meanwhile, by a unit of ours that was in doubt.
                return batch.asks
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
        # What violates may have come from outside, and is to be told first.
        await self._catch_up()
        if id(ask) not in self._open:
            return []
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

        Whatever was under way is over then. A unit that the database has not begun with by then may
        still come: it is refused if the asks, decided again, are there first, and if not they find
        it when they are refused.
        """
        while True:
            try:
                await chats.settle(self._services.pool, self.session_id, batch.state.player_id)
                await self._load()
                break
            except Unavailable as away:
                in_doubt = {id(ask) for ask in batch.asks}
                self._turn_away(
                    [ask for key, ask in self._open.items() if key not in in_doubt], away
                )
                await trio.sleep(AWAY_PAUSE_S)
        self._doubt = (unit_id, batch)
        self._resolve_doubt()
        return [ask for ask in batch.asks if id(ask) in self._open]

    def _resolve_doubt(self) -> None:
        """Tell the unit that is in doubt, and answer its asks, if the database has it."""
        if self._doubt is not None and self._doubt[0] == self._unit_id:
            self._applied(self._doubt[1])

    def _applied(self, batch: ChatBatch) -> None:
        """Tell and answer what has been committed. Called before any other task runs."""
        self._state = batch.state if batch.state.opened else None
        self._stale = False
        self._doubt = None
        for ask in batch.asks:
            self._open.pop(id(ask), None)
        batch.apply()

    # Failure

    def _answer(self, ask: ChatAsk, answer: Ok | Refused) -> None:
        self._open.pop(id(ask), None)
        ask.answer(answer)

    def _turn_away(self, asks: list[ChatAsk], away: Unavailable) -> None:
        """Tell asks, and those behind them, who have waited as long, that nothing was changed."""
        self._doubt = None
        self._told_of_writes = False
        behind = [item for item in self.mailbox.drain() if isinstance(item, ChatAsk)]
        for ask in (*asks, *behind):
            self._answer(ask, unavailable(away))

    def _hand_on(self, asks: list[ChatAsk]) -> None:
        """Let the next life have asks, in their order."""
        if self.mailbox.closed:
            for ask in asks:
                ask.answer(unavailable(Unavailable("the server is stopping")))
            return
        for ask in asks:
            self.mailbox.put_urgent_nowait(ask)
