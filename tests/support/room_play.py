"""A room played by the rules alone: commands in; out come each client's events, and snapshots.

It stands for server and database where only what they say matters.
"""

import random
from collections.abc import Callable, Sequence

import msgspec

from game.decide import decide, decide_internal, next_deadline
from game.decision import Context, Decision
from game.poker.variants import VARIANTS
from game.presence import TakenOver, Tick
from game.roles import is_operator
from game.room_settings import changed_settings
from game.state import Member, RoomState
from game.table import table_state
from game.views import room_view
from game.waitlist.telling import shown_places
from persistence.snapshot import StoredRoom, snapshot_for
from protocol import commands
from protocol.audience import Audience, Told
from protocol.commands import AnyRoomCommand
from protocol.events import Event, PlayerAction
from protocol.principal import Principal
from protocol.replies import Ok
from protocol.values import RoomSettings, SettingsPatch
from protocol.views import PendingRequest, RecentAction, RoomSnapshot, SpectatorView


def user(name: str, role: str = "player") -> Principal:
    """Make a principal."""
    return Principal(user_id=name, name=name.title(), role=role)  # type: ignore[arg-type]


HOST = user("host")
USERS = [HOST, *(user(name) for name in ("anna", "bert", "cleo", "dora", "emil"))]
FLOOR = user("floor", "staff")

Listener = Callable[[Event], object]


class PlayedRoom:
    """A room whose host is `HOST`; time stands still unless told to go on."""

    def __init__(self, rng: random.Random, settings: SettingsPatch | None = None) -> None:
        self.now = 1_000_000
        self._rng = rng
        self._recent: list[RecentAction] = []
        self._listeners: list[tuple[Principal, Listener]] = []
        self.state = RoomState(
            room_id="r1",
            code="ABCDEF",
            host_id=HOST.user_id,
            settings=changed_settings(RoomSettings(), settings or SettingsPatch()),
            created_at=self.now,
            seq=0,
            epoch=1,
        )
        self.state.members[HOST.user_id] = Member("host", "Host", "approved", 0, 0, 0)

    def listen(self, principal: Principal, listener: Listener) -> None:
        """Tell a principal's client all that it may see from now on."""
        self._listeners.append((principal, listener))

    def do(self, principal: Principal, command: AnyRoomCommand) -> Ok:
        """Carry a command out; `Refused` comes out of it."""
        out = Decision(self.state)
        reply = decide(self.state, command, principal, self._context(), out)
        self._told(out.told)
        return reply

    def wait(self) -> bool:
        """Let time go on to the room's next deadline; False when it has none."""
        due = next_deadline(self.state)
        if due is None:
            return False
        self.now = max(self.now, due)
        out = Decision(self.state)
        decide_internal(self.state, Tick(), self._context(), out)
        self._told(out.told)
        return True

    def take_over(self) -> None:
        """Have another life of the server go on with the room."""
        out = Decision(self.state)
        decide_internal(self.state, TakenOver(), self._context(), out)
        self._told(out.told)

    def snapshot(self, principal: Principal) -> RoomSnapshot:
        """Draw the snapshot as the database would give it now."""
        state = self.state
        me = state.seat_of(principal.user_id)
        hole = None
        if me is not None and state.hand is not None and state.in_hand(me):
            hole = state.hand.hole_cards(me.seat_index)
        member = state.members.get(principal.user_id)
        stored = {
            "seq": state.seq,
            "state": table_state(state),
            "room": room_view(state),
            "rigged": False,
            "seats": [
                msgspec.structs.asdict(seat) | {"connected": not seat.away}
                for _, seat in sorted(state.seats.items())
            ],
            "spectators": [
                SpectatorView(s.user_id, s.display_name) for s in state.spectators.values()
            ],
            "member": member,
            "hole_cards": hole,
            "pending": [
                PendingRequest(m.user_id, m.display_name, m.requested_at)
                for m in state.members.values()
                if m.status == "pending"
            ],
            "bans": list(state.bans.values()),
            "recent_actions": self._recent[-20:],
            "waitlist": shown_places(state),
        }
        read = msgspec.convert(msgspec.to_builtins(stored), StoredRoom)
        return snapshot_for(read, principal, wanted=None, rejoin_token=None, now=self.now)

    def _context(self) -> Context:
        settings = self.state.next_settings or self.state.settings
        deck = list(VARIANTS[settings.variant].deck)
        self._rng.shuffle(deck)
        return Context(
            now=self.now,
            hand_interval_ms=3_000,
            reject_cooldown_ms=60_000,
            seat_offer_ms=60_000,
            max_members=100,
            rigging_enabled=False,
            deck=tuple(deck),
        )

    def _told(self, told: Sequence[Told]) -> None:
        self.now += 7
        for event, audience in told:
            if isinstance(event, PlayerAction):
                self._recent.append(
                    RecentAction(
                        hand_id=event.hand_id,
                        seq=event.seq,
                        seat_index=event.seat_index,
                        user_id=event.user_id,
                        action=event.action,
                        amount=event.amount,
                        auto=event.auto,
                        at=event.at,
                    )
                )
            for principal, listener in list(self._listeners):
                if (
                    audience is Audience.EVERYONE
                    or audience == principal.user_id
                    or (audience is Audience.OPERATORS and is_operator(self.state, principal))
                ):
                    listener(event)


def seated_room(rng: random.Random, players: int = 3, **settings: object) -> PlayedRoom:
    """Seat the first few users in a room with a seat for each."""
    settings = {"requires_approval": False, "max_seats": len(USERS), **settings}
    room = PlayedRoom(rng, msgspec.convert(settings, SettingsPatch))
    for index, who in enumerate(USERS[:players]):
        if who is not HOST:
            room.do(who, commands.Join())
        room.do(who, commands.Seat(seat_index=index, buy_in=2_000))
    return room
