"""The room actor: takes messages, lets `game` decide, commits, then applies, replies, publishes.

It is the one writer of its room. What waits in its mailbox is decided one after another on its
state and committed as one unit. A state whose unit did not commit is dropped and read back from the
database; nothing of it was told to anyone.
"""

import time
from collections.abc import Callable
from math import inf

import structlog
import trio

from actors.mailbox import Mailbox
from actors.refusals import internal, unavailable
from actors.room import telling
from actors.room.batch import Batch
from actors.room.deciding import decide_ask, decide_outside, decide_own
from actors.room.messages import Ask, Attach, Disowned, Message, WrittenOutside
from actors.room.outcomes import Outcomes
from actors.room.refusals import COMMANDS_KEY, RoomLost, refusal_by_schema
from actors.room.services import RoomServices
from game.decide import next_deadline
from game.presence import TakenOver, Tick
from game.state import RoomState
from persistence import hydration, nodes, outside
from persistence.errors import (
    ConstraintViolated,
    OutcomeUnknown,
    Superseded,
    Unavailable,
)
from protocol.errors import ErrorCode, Refused
from protocol.ids import RoomId, room_channel
from protocol.replies import Ok

log = structlog.stdlib.get_logger(__name__)

MAX_BATCH_MESSAGES = 64
AWAY_PAUSE_S = 0.1
MAX_ATTEMPTS = 4


class RoomActor:
    """One room.

    Args:
        room_id: the room.
        services: what it shares with others.
        state: the room as just hydrated and claimed, where that was done for many at once.
        unit_id: the commit unit that wrote that state.
    """

    def __init__(
        self,
        room_id: str,
        services: RoomServices,
        state: RoomState | None = None,
        unit_id: int = 0,
    ) -> None:
        self.room_id = room_id
        self.mailbox: Mailbox[Message] = Mailbox(services.mailbox_capacity)
        self._services = services
        self._state = state
        self._unit_id = unit_id
        self._channel = room_channel(RoomId(room_id))
        self._active_at = trio.current_time()
        self._open: dict[int, Message] = {}
        self._told_of_writes = False
        self._outcomes = Outcomes(room_id, services)

    @property
    def name(self) -> str:
        """The name among the supervisor's children."""
        return f"room:{self.room_id}"

    @property
    def idle_since(self) -> float | None:
        """When the room last had something to do; None while it is watched or has a deadline."""
        state = self._state
        if state is None or self._due_at() is not None or state.hand is not None:
            return None
        return None if self._services.hub.subscribers(self._channel) else self._active_at

    def disown(self) -> None:
        """Learn that another process has the room; the actor ends and its clients are told."""
        self.mailbox.put_urgent_nowait(Disowned())

    def written_outside(self) -> None:
        """Learn that somebody wrote to the room past its server.

        However often that is said before the actor comes to it, it looks once.
        """
        if not self._told_of_writes:
            self._told_of_writes = True
            self.mailbox.put_urgent_nowait(WrittenOutside())

    async def run(self, *, started: Callable[[], None]) -> None:
        """Live one life.

        Raises:
            Refused: `not_found` or `moved`, before `started`: there is no such room here.
            Unavailable: the database is away, before `started`.
        """
        try:
            taken_over = False
            if self._state is None:
                try:
                    taken_over = await self._load()
                except RoomLost as lost:
                    raise lost.refusal from None
                except Unavailable:
                    raise
                except Exception:
                    # The room is there and cannot be read. That is its crash, whoever asked for it:
                    # it is tried again, and then set aside where staff see it.
                    started()
                    raise
            started()
            if taken_over:
                await self._serve([TakenOver()])
            while True:
                due_at = self._due_at()
                messages = await self.mailbox.receive(
                    deadline=self._deadline(due_at), limit=MAX_BATCH_MESSAGES
                )
                self._active_at = trio.current_time()
                if not messages or (due_at is not None and due_at <= self._services.now()):
                    # After what came in time, and however much else keeps the room busy.
                    messages.append(Tick())
                await self._serve(messages)
        except RoomLost as lost:
            self.mailbox.close()
            self._turn_away([*self._open.values(), *self.mailbox.drain()], lost.refusal)
            self._services.room_lost(self.room_id)
        finally:
            self._state = None

    def _deadline(self, due_at: int | None) -> float:
        """Return a moment (UTC, ms) on trio's clock."""
        if due_at is None:
            return inf
        return trio.current_time() + max(0, due_at - self._services.now()) / 1000

    def _due_at(self) -> int | None:
        """Return when the room has to do something by itself; what is left to tell is overdue."""
        assert self._state is not None
        return 0 if self._state.untold else next_deadline(self._state)

    async def _serve(self, messages: list[Message]) -> None:
        """Handle messages; if that ends this life, the next one has those not yet dealt with."""
        self._open = {id(message): message for message in messages}
        try:
            await self._handle(messages)
        except RoomLost:
            raise
        except Exception:
            self._hand_on(list(self._open.values()))
            raise
        self._open = {}

    async def _handle(self, messages: list[Message]) -> None:
        """Decide and commit messages; each ask among them gets its one answer."""
        fruitless = 0
        while fruitless < MAX_ATTEMPTS:
            seen = self._writes_seen
            left = await self._attempt(messages)
            # Without those that were turned away meanwhile.
            left = [message for message in left if id(message) in self._open]
            if not left:
                return
            # Whoever keeps writing from outside holds the room up, and breaks nothing.
            stuck = len(left) == len(messages) and self._writes_seen == seen
            fruitless = fruitless + 1 if stuck else 0
            messages = left
        raise RuntimeError("the room is superseded again and again")

    async def _attempt(self, messages: list[Message]) -> list[Message]:
        """Decide messages on the state and commit them as one unit; return those left undone."""
        kinds = {type(message) for message in messages}
        if Disowned in kinds:
            await self._reload()
        elif WrittenOutside in kinds:
            await self._look_outside()
        if self._state is not None and self._state.untold:
            await self._tell_outside()
            messages = [message for message in messages if id(message) in self._open]
        assert self._state is not None
        began = time.perf_counter()
        batch = Batch(self._state, self._services.now())
        doubtful: list[tuple[Ask, Refused]] = []
        undone: list[Message] = []
        for index, message in enumerate(messages):
            if isinstance(message, Attach) and not batch.empty:
                # Who may watch is for the committed state to say.
                undone.append(message)
                continue
            if isinstance(message, Ask) and message.key is not None:
                if message.key in batch.keys:
                    undone.append(message)
                    continue
                known = self._outcomes.again(message)
                if known is not None:
                    self._answer(message, known)
                    continue
            try:
                if not self._decide(message, batch, doubtful):
                    undone.extend(messages[index:])
                    break
            except Exception as error:
                self._poisoned(message, error)
                raise
        for ask, refusal in doubtful:
            self._answer(ask, await self._outcomes.of_refused(ask, refusal))
        if batch.empty:
            self._close(batch.messages)
            batch.answer_all()
            return undone
        return await self._commit(batch, began) + undone

    def _decide(self, message: Message, batch: Batch, doubtful: list[tuple[Ask, Refused]]) -> bool:
        """Decide a message, or return False: it is for the committed state to decide.

        A refusal may stand on what the batch has not committed yet; then it is told when that is.
        """
        if isinstance(message, Attach):
            self._close([message])
            message.answer(telling.attach(message, batch.state, self._services))
        elif isinstance(message, Ask):
            try:
                decide_ask(message, batch, self._services)
            except Refused as refusal:
                if message.key is None and batch.empty:
                    self._answer(message, refusal)
                elif message.key is None:
                    batch.refuse(message, refusal)
                elif batch.empty:
                    doubtful.append((message, refusal))
                    batch.keys.add(message.key)
                else:
                    return False
        elif not isinstance(message, Disowned | WrittenOutside):
            decide_own(message, batch, self._services)
        return True

    async def _look_outside(self) -> None:
        """See whether somebody wrote to the room since it was read, and read it back if so."""
        assert self._state is not None
        self._told_of_writes = False
        try:
            found = await outside.standing(self._services.pool, self.room_id)
        except Unavailable:
            # Whoever wrote so much as one row has fenced the next commit off.
            return
        if found != (self._state.epoch, self._state.outside):
            await self._read_back()

    async def _tell_outside(self) -> None:
        """Tell what was written from outside, before anything else is decided.

        Whoever waits meanwhile may be turned away, if the database does not take it now.

        Raises:
            Unavailable: the server is stopping.
        """
        while self._state is not None and self._state.untold:
            batch = Batch(self._state, self._services.now())
            began = time.perf_counter()
            undone = decide_outside(batch, self._services)
            await self._commit(batch, began)
            if batch.applied:
                for what in undone:
                    log.warning("outside_write_undone", room_id=self.room_id, what=what)
            elif self.mailbox.closed:
                raise Unavailable("the server is stopping")

    async def _commit(self, batch: Batch, began: float) -> list[Message]:
        """Commit a batch; return the messages that are to be decided again.

        `began`: when deciding it began, by `time.perf_counter`.
        """
        self._unit_id += 1
        unit = batch.unit(self._unit_id)
        self._services.decided(time.perf_counter() - began)
        try:
            await self._services.journal.commit(unit, lambda: self._applied(batch))
        except Superseded:
            await self._read_back()
            return batch.messages
        except ConstraintViolated as violated:
            await self._reload()
            return await self._refused_by_schema(batch, violated)
        except OutcomeUnknown:
            await self._find_out(batch)
        except Unavailable as away:
            # Those behind it have waited as long as it has.
            waiting = [*self._open.values(), *self.mailbox.drain()]
            self._turn_away(waiting, unavailable(away))
            await self._reload()
        except Exception as error:
            if batch.applied:
                raise
            await self._reload()
            return await self._refused_by_schema(batch, error)
        return []

    async def _refused_by_schema(self, batch: Batch, error: Exception) -> list[Message]:
        """Find out which of a batch's messages the database does not take, and answer it."""
        if not batch.messages:
            raise error
        if len(batch.messages) > 1:
            for message in batch.messages:
                await self._handle([message])
            return []
        ask = batch.messages[0]
        refusal = refusal_by_schema(error)
        if not isinstance(ask, Ask):
            self._poisoned(ask, error)
            raise error
        if isinstance(error, ConstraintViolated) and error.constraint == COMMANDS_KEY:
            before = Refused(ErrorCode.CONFLICT, "This command was carried out before.")
            self._answer(ask, await self._outcomes.of_refused(ask, before))
        elif refusal is None:
            self._poisoned(ask, error)
            raise error
        else:
            self._outcomes.remember(ask, refusal)
            self._answer(ask, refusal)
        return []

    async def _find_out(self, batch: Batch) -> None:
        """Learn whether a unit committed whose connection broke, and tell the true outcome.

        Claiming the room anew waits for a transaction that is still under way on the server and
        fences one that has not begun, so what is there then is final.
        """
        while True:
            try:
                claims = await nodes.claim(
                    self._services.pool, self._services.node_id, [self.room_id]
                )
                break
            except Unavailable as away:
                in_doubt = {id(message) for message in batch.messages}
                behind = [m for key, m in self._open.items() if key not in in_doubt]
                self._turn_away(behind, unavailable(away))
                await self._wait_for_database(away)
        claim = claims.get(self.room_id)
        if claim is not None and claim.unit_id == self._unit_id:
            batch.state.epoch = claim.epoch
            self._applied(batch)
            return
        if claim is not None:
            self._turn_away(batch.messages, unavailable(Unavailable("not committed")))
        # Another process has the room if there was no claim: `moved` sends the clients to where the
        # truth is.
        await self._reload()

    def _applied(self, batch: Batch) -> None:
        """Publish and reply what has been committed. Called before any other task runs."""
        batch.applied = True
        self._close(batch.messages)
        # A socket whose command it was has the event and its answer by one send.
        senders = [ask.subscriber for ask, _ in batch.answers if ask.subscriber is not None]
        for sender in senders:
            sender.cork()
        try:
            telling.publish(batch, self._services)
            for ask, reply in batch.answers:
                self._outcomes.remember(ask, reply)
            batch.answer_all()
        finally:
            for sender in senders:
                sender.uncork()
        telling.settle_subscriptions(batch, self._services)

    # Failure

    def _answer(self, message: Ask, outcome: Ok | Refused) -> None:
        self._close([message])
        message.answer(outcome)

    def _close(self, messages: list[Message]) -> None:
        """Note messages as dealt with: whatever happens now, no later life sees them."""
        for message in messages:
            self._open.pop(id(message), None)

    def _turn_away(self, messages: list[Message], refusal: Refused) -> None:
        self._close(messages)
        for message in messages:
            if isinstance(message, Ask | Attach):
                message.answer(refusal)

    def _poisoned(self, message: Message, error: Exception) -> None:
        """Answer the message that made the rules, or the database, raise."""
        self._close([message])
        if isinstance(message, Ask | Attach):
            message.answer(internal(error))

    def _hand_on(self, messages: list[Message]) -> None:
        """Let the next life have messages, in their order."""
        if self.mailbox.closed:
            self._turn_away(messages, unavailable(Unavailable("the server is stopping")))
            return
        for message in messages:
            self.mailbox.put_urgent_nowait(message)

    async def _load(self) -> bool:
        """Claim the room and read it; return whether another process (or life) had it before.

        Raises:
            RoomLost: there is no such room, or a living process owns it.
            Unavailable: the database is away.
        """
        services = self._services
        claims = await nodes.claim(services.pool, services.node_id, [self.room_id])
        claim = claims.get(self.room_id)
        if claim is None:
            address = await nodes.owner_address(services.pool, self.room_id)
            if address is None:
                raise RoomLost(Refused(ErrorCode.NOT_FOUND, "There is no such room."))
            raise RoomLost(
                Refused(ErrorCode.MOVED, "Another server runs this room.", {"address": address})
            )
        self._state = await hydration.load_room(services.pool, self.room_id)
        assert self._state is not None
        self._unit_id = claim.unit_id
        return claim.taken_over

    @property
    def _writes_seen(self) -> int:
        assert self._state is not None
        return self._state.outside

    async def _read_back(self) -> None:
        """Drop the state and read it back; claim the room only if somebody else has done so.

        No outcome may be in doubt.
        """
        assert self._state is not None
        epoch, self._state = self._state.epoch, None
        while True:
            try:
                self._state = await hydration.load_room(self._services.pool, self.room_id)
                if self._state is None or self._state.epoch != epoch:
                    await self._load()
                return
            except Unavailable as away:
                await self._wait_for_database(away)

    async def _reload(self) -> None:
        """Drop the state and read it back, for as long as it takes."""
        self._state = None
        while True:
            try:
                await self._load()
                return
            except Unavailable as away:
                await self._wait_for_database(away)

    async def _wait_for_database(self, away: Unavailable) -> None:
        """Turn away what came meanwhile, and give the database a moment."""
        self._turn_away(self.mailbox.drain(), unavailable(away))
        if self.mailbox.closed:
            raise away
        await trio.sleep(AWAY_PAUSE_S)
