"""A live room: a mirror fed by a socket, with ways to wait for it and to act in it.

While a snapshot is on its way (at the start, and after a hole) events are kept and applied after
it, so that none is lost and none counts twice.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Protocol, TypeVar

import trio

from client.errors import ClientError, Lagged, Refused, RoomGone
from client.messages import AnyEvent
from client.mirror import Mirror, Outcome
from protocol import commands
from protocol.commands import Command
from protocol.errors import ErrorCode
from protocol.events import PlayerKicked, PlayerRejected, SpectatorLeft
from protocol.ids import RoomId, room_channel
from protocol.replies import (
    Authenticated,
    Changed,
    Hydrated,
    Ok,
    RoleTaken,
    SeatLeft,
    StackChanged,
)
from protocol.values import ActionName, LegalActions, SettingsPatch
from protocol.views import RoomSnapshot, SeatView

KEPT_EVENTS = 4096
"""Most events kept while a snapshot is on its way, and most that a reader may lag behind."""

PUTS_OUT = (PlayerKicked, PlayerRejected, SpectatorLeft)
"""The events that may end the user's own membership, and with it what the server tells them."""

CATCH_UP_S = 5.0
"""How long a command waits for the event that it caused, before it asks for a snapshot instead."""

R = TypeVar("R", bound=Ok | Authenticated | Hydrated)
C = TypeVar("C", bound=Changed)


class Asks(Protocol):
    """Sends commands for a room: the client."""

    async def ask(
        self, command: Command, reply: type[R], *, timeout_s: float | None = None
    ) -> R: ...


class LiveRoom:
    """One room, followed live. Made by `CardroomClient.enter`.

    Commands wait until the room here has caught up with what they did, so that the next look at it
    sees their effect. They raise what `CardroomClient.ask` raises, and `RoomGone`.

    Args:
        client: sends the commands.
        room_id: the room.
        staff: whether the user is staff of the club.
        need_snapshot: called when the room needs one; answered by `install` or `end`.
    """

    def __init__(
        self,
        client: Asks,
        room_id: str,
        *,
        staff: bool,
        need_snapshot: Callable[["LiveRoom"], None],
    ) -> None:
        self.room_id = room_id
        self.channel = room_channel(RoomId(room_id))
        self.snapshots = 0
        """How many snapshots it was built from so far."""
        self._client = client
        self._staff = staff
        self._need_snapshot = need_snapshot
        self._mirror: Mirror | None = None
        self._kept: list[AnyEvent] | None = []
        self._gone: RoomGone | None = None
        self._news = trio.Event()
        self._readers: set[trio.MemorySendChannel[AnyEvent]] = set()

    @property
    def state(self) -> Mirror:
        """The room as it is known now."""
        assert self._mirror is not None, "entered rooms have a state"
        return self._mirror

    @property
    def seq(self) -> int | None:
        """Up to which event the room is known; None while a snapshot is needed."""
        return None if self._mirror is None or self._kept is not None else self._mirror.seq

    @property
    def gone(self) -> RoomGone | None:
        """Why the room is not followed any more; None while it is."""
        return self._gone

    # Fed by the client

    def receive(self, event: AnyEvent) -> None:
        """Take the next event of the room's channel."""
        if self._gone is not None:
            return
        if self._kept is not None or self._mirror is None:
            self._keep(event)
            return
        match self._mirror.apply(event):
            case Outcome.NEWS:
                self._tell(event)
                if isinstance(event, PUTS_OUT) and self._mirror.role == "guest":
                    self.end(Refused(ErrorCode.NOT_APPROVED, "You are not in this room any more."))
            case Outcome.HOLE:
                self.resync(event)
            case Outcome.STALE:
                pass

    def resync(self, *events: AnyEvent) -> None:
        """Ask for a snapshot; events are kept until it is there."""
        if self._gone is None and self._kept is None:
            self._kept = list(events)
            self._need_snapshot(self)

    def install(self, snapshot: RoomSnapshot) -> None:
        """Go on from a snapshot, and from the events kept since."""
        if self._gone is not None:
            return
        if self._mirror is None:
            self._mirror = Mirror(snapshot, staff=self._staff)
        elif snapshot.seq >= self._mirror.seq:
            self._mirror.install(snapshot)
        self.snapshots += 1
        kept, self._kept = self._kept or [], None
        for index, event in enumerate(kept):
            match self._mirror.apply(event):
                case Outcome.NEWS:
                    self._tell(event)
                case Outcome.HOLE:
                    self.resync(*kept[index:])
                    break
                case Outcome.STALE:
                    pass
        self._wake()

    def end(self, why: ClientError | None = None) -> None:
        """Follow the room no longer; whoever waits for it gets `RoomGone`."""
        if self._gone is None:
            self._gone = RoomGone(self.room_id, why)
            for reader in self._readers:
                reader.close()
            self._readers.clear()
            self._wake()

    def _keep(self, event: AnyEvent) -> None:
        assert self._kept is not None
        self._kept.append(event)
        # What falls out is a hole, which the next snapshot finds.
        del self._kept[:-KEPT_EVENTS]

    def _tell(self, event: AnyEvent) -> None:
        for reader in list(self._readers):
            try:
                reader.send_nowait(event)
            except trio.WouldBlock:
                self._readers.discard(reader)
                reader.close()
            except trio.BrokenResourceError:
                self._readers.discard(reader)
        self._wake()

    def _wake(self) -> None:
        self._news.set()
        self._news = trio.Event()

    # Waiting

    async def changed(self) -> None:
        """Wait for the next change.

        Raises:
            RoomGone: the room is not followed any more.
        """
        self._check()
        await self._news.wait()
        self._check()

    async def until(self, condition: Callable[[Mirror], bool]) -> Mirror:
        """Wait until a condition holds, and return the room; at once if it holds now.

        Raises:
            RoomGone: the room is not followed any more.
        """
        while True:
            self._check()
            if self._kept is None and condition(self.state):
                return self.state
            await self._news.wait()

    async def my_turn(self) -> LegalActions:
        """Wait until it is the user's turn, and return what they may do.

        Raises:
            RoomGone: the room is not followed any more.
        """
        legal = (await self.until(lambda room: room.legal_actions is not None)).legal_actions
        assert legal is not None
        return legal

    async def reached(self, seq: int) -> Mirror:
        """Wait until the room is known up to `seq`.

        Raises:
            RoomGone: the room is not followed any more.
        """
        return await self.until(lambda room: room.seq >= seq)

    @asynccontextmanager
    async def events(self) -> AsyncIterator[AsyncIterator[AnyEvent]]:
        """Iterate, within a block, over the events that the room gets from now on.

        What a new snapshot makes up for is not among them. The iteration ends with the room.

        Raises:
            Lagged: (from the iteration) more than `KEPT_EVENTS` were waiting.
        """
        self._check()
        send, receive = trio.open_memory_channel[AnyEvent](KEPT_EVENTS)
        self._readers.add(send)

        async def read() -> AsyncGenerator[AnyEvent, None]:
            async for event in receive:
                yield event
            if self._gone is None:
                raise Lagged(self.room_id)

        reading = read()
        try:
            yield reading
        finally:
            await reading.aclose()
            self._readers.discard(send)
            send.close()
            receive.close()

    def _check(self) -> None:
        if self._gone is not None:
            raise RoomGone(self._gone.room_id, self._gone.refusal)

    # Acting

    async def act(self, action: ActionName, amount: int | None = None) -> Changed:
        """Decide at one's turn; `amount` is what a bet or raise makes of the street bet."""
        command = commands.Action(room_id=self.room_id, action=action, amount=amount)
        return await self._do(command, Changed)

    async def run_it(self, times: int) -> Changed:
        """Say how often the rest of the board is to be dealt, when asked."""
        return await self._do(commands.RunIt(room_id=self.room_id, times=times), Changed)

    async def sit(
        self, seat_index: int, buy_in: int, display_name: str | None = None
    ) -> SeatView | None:
        """Take a seat; return it (None if it was lost again at once)."""
        command = commands.Seat(
            room_id=self.room_id, seat_index=seat_index, buy_in=buy_in, display_name=display_name
        )
        await self._do(command, RoleTaken)
        return self.state.my_seat

    async def spectate(self, display_name: str | None = None) -> RoleTaken:
        """Watch."""
        command = commands.Spectate(room_id=self.room_id, display_name=display_name)
        return await self._do(command, RoleTaken)

    async def leave_seat(self) -> SeatLeft:
        """Give the seat up, after the hand if in one."""
        return await self._do(commands.LeaveSeat(room_id=self.room_id), SeatLeft)

    async def sit_out(self) -> Changed:
        """Be dealt out from the next hand on."""
        return await self._do(commands.SitOut(room_id=self.room_id), Changed)

    async def sit_in(self) -> Changed:
        """Be dealt in from the next hand on."""
        return await self._do(commands.SitIn(room_id=self.room_id), Changed)

    async def top_up(self, amount: int) -> StackChanged:
        """Add chips from the wallet, between hands."""
        command = commands.TopUp(room_id=self.room_id, amount=amount)
        return await self._do(command, StackChanged)

    async def start(self) -> Changed:
        """Start the game, or the next hand (host)."""
        return await self._do(commands.Start(room_id=self.room_id), Changed)

    async def pause(self) -> Changed:
        """Stop after the current hand (host)."""
        return await self._do(commands.Pause(room_id=self.room_id), Changed)

    async def resume(self) -> Changed:
        """Go on (host)."""
        return await self._do(commands.Resume(room_id=self.room_id), Changed)

    async def approve(self, user_id: str) -> Changed:
        """Let a pending user in (host)."""
        return await self._do(commands.Approve(room_id=self.room_id, user_id=user_id), Changed)

    async def reject(self, user_id: str) -> Changed:
        """Turn a pending user down (host)."""
        return await self._do(commands.Reject(room_id=self.room_id, user_id=user_id), Changed)

    async def kick(self, user_id: str, reason: str | None = None) -> SeatLeft:
        """Remove a user (host)."""
        command = commands.Kick(room_id=self.room_id, user_id=user_id, reason=reason)
        return await self._do(command, SeatLeft)

    async def ban(self, user_id: str, reason: str | None = None) -> SeatLeft:
        """Keep a user out from now on; who is in the room is kicked (host)."""
        command = commands.Ban(room_id=self.room_id, user_id=user_id, reason=reason)
        return await self._do(command, SeatLeft)

    async def unban(self, user_id: str) -> Changed:
        """Lift a ban (host)."""
        return await self._do(commands.Unban(room_id=self.room_id, user_id=user_id), Changed)

    async def change_settings(self, settings: SettingsPatch) -> Changed:
        """Change settings from the next hand on (host)."""
        command = commands.ChangeSettings(room_id=self.room_id, settings=settings)
        return await self._do(command, Changed)

    async def adjust_chips(self, user_id: str, delta: int, reason: str) -> StackChanged:
        """Change a stack against the house account, between hands (host)."""
        command = commands.AdjustChips(
            room_id=self.room_id, user_id=user_id, delta=delta, reason=reason
        )
        return await self._do(command, StackChanged)

    async def transfer_host(self, user_id: str) -> Changed:
        """Hand the room over (host)."""
        command = commands.TransferHost(room_id=self.room_id, user_id=user_id)
        return await self._do(command, Changed)

    async def close(self, reason: str | None = None) -> SeatLeft:
        """Close the room, after the hand if one is running (host)."""
        command = commands.CloseRoom(room_id=self.room_id, reason=reason)
        return await self._do(command, SeatLeft)

    async def _do(self, command: Command, reply: type[C]) -> C:
        self._check()
        done = await self._client.ask(command, reply)
        with trio.move_on_after(CATCH_UP_S) as scope:
            await self.reached(done.seq)
        if scope.cancelled_caught:
            self.resync()
        return done
