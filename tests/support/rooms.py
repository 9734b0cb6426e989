"""Rooms to test with: a table under the pure rules that keeps the books, and a fake journal."""

from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec
import trio

from game.changes import Change, EventTold, LedgerEntry, WalletMove
from game.decide import InternalCommand, decide, decide_internal
from game.decision import Context, Decision
from game.poker.hand import Hand
from game.presence import Tick
from game.state import Member, RoomState, Seat
from persistence.errors import ConstraintViolated, OutcomeUnknown, Superseded, Unavailable
from persistence.journal import WALLET_MISSING
from persistence.units import Advance, CommandDone, CommitUnit
from protocol import commands
from protocol.audience import Audience, Told
from protocol.commands import AnyRoomCommand
from protocol.errors import Refused
from protocol.events import Event
from protocol.ids import UserId
from protocol.principal import Principal
from protocol.replies import Ok
from protocol.values import ClubRole, RoomSettings
from tests.support.books import WaitlistBooks
from tests.support.hands import DECK, public_state, shuffled_deck

HOST = "host"
STAFF = "staff"
ROOM_ID = "room-1"
START = 1_763_632_800_123
"""When rooms begin, UTC in ms; an odd millisecond, so that rounding would show."""
HAND_INTERVAL_MS = 3_000
COOLDOWN_MS = 60_000
SEAT_OFFER_MS = 60_000


def principal(user_id: str, role: ClubRole | None = None) -> Principal:
    """A principal; the user ``staff`` is staff unless a role is given."""
    given = role or ("staff" if user_id == STAFF else "player")
    return Principal(UserId(user_id), user_id.title(), given)


def make_room(room_id: str = ROOM_ID, **settings: Any) -> RoomState:
    """A room just made by ``host``, in epoch 1."""
    return RoomState(
        room_id=room_id,
        code=room_id.upper(),
        host_id=HOST,
        settings=RoomSettings(**settings),
        created_at=START,
        seq=0,
        epoch=1,
        members={HOST: Member(HOST, "Host", "approved", START, START, 0)},
    )


def make_context(
    now: int = START,
    *,
    deck: tuple[str, ...] | None = None,
    rigging: bool = False,
    max_members: int = 100,
    hand_interval_ms: int = HAND_INTERVAL_MS,
    source: str = "websocket",
    host_connected: bool = True,
) -> Context:
    """What deciding may know, with a whole deck (that of seed 1 unless given)."""
    return Context(
        now=now,
        hand_interval_ms=hand_interval_ms,
        reject_cooldown_ms=COOLDOWN_MS,
        seat_offer_ms=SEAT_OFFER_MS,
        max_members=max_members,
        rigging_enabled=rigging,
        deck=shuffled_deck(1) if deck is None else deck,
        source=source,
        host_connected=host_connected,
    )


def comparable(state: RoomState, *, seen: bool = True) -> dict[str, Any]:
    """A room as values that compare deeply; without `seen`, nobody's `last_seen_at` counts."""
    drawn: dict[str, Any] = {
        name: getattr(state, name) for name in state.__struct_fields__ if name != "hand"
    }
    drawn = msgspec.convert(msgspec.to_builtins(drawn, str_keys=True), dict[str, Any])
    drawn["hand"] = None if state.hand is None else (state.hand.setup, public_state(state.hand))
    if not seen:
        for group in ("seats", "spectators"):
            for one in drawn[group].values():
                del one["last_seen_at"]
    return drawn


class Table:
    """A room under the pure rules, with the time in its hands and the books kept and checked.

    Attributes:
        now: UTC in ms.
        told: everything told by the last decision.
        wrote: the rows of the last decision.
        wallets: what each wallet gained (negative: lost) so far.
    """

    def __init__(self, **settings: Any) -> None:
        settings = {"requires_approval": False, "small_blind": 5, "big_blind": 10, **settings}
        settings = {"min_buy_in": 100, "max_buy_in": 2_000, **settings}
        self.state = make_room(**settings)
        self.now = START
        self.rigging = False
        self.max_members = 100
        self.source = "websocket"
        self.host_connected = True
        self.told: list[Told] = []
        self.wrote: list[Change] = []
        self.last = Decision(self.state)
        self.wallets: Counter[str] = Counter()
        self.accounts: Counter[str] = Counter()
        self.stacks: Counter[str] = Counter()
        self.waitlist = WaitlistBooks()
        self._transfers: set[str] = set()
        self._decks = 0

    # Doing

    def do(self, user_id: str, command: AnyRoomCommand, *, role: ClubRole | None = None) -> Ok:
        """Have a user's command decided; a refusal must have changed nothing."""
        out = Decision(self.state)
        before = comparable(self.state)
        hand = self.state.hand
        try:
            reply = decide(self.state, command, principal(user_id, role), self._context(), out)
        except Refused:
            assert comparable(self.state) == before, "a refusal changed the room"
            assert out.empty, "a refusal left something to write"
            assert not out.grants
            assert not out.personal
            assert not out.for_staff
            raise
        self._settle(out, hand)
        return reply

    def internal(self, command: InternalCommand) -> None:
        """Have the server's own word decided."""
        out, hand = Decision(self.state), self.state.hand
        decide_internal(self.state, command, self._context(), out)
        self._settle(out, hand)

    def wait(self, ms: int) -> None:
        """Let time pass, and the deadline come that it brings, if any."""
        self.now += ms
        self.internal(Tick())

    # Ways to common places

    def sit(self, *seats: tuple[str, int] | tuple[str, int, int]) -> None:
        """Bring users in and seat them: (user, seat index[, buy-in of 1000])."""
        for user_id, index, *chips in seats:
            if user_id not in self.state.members:
                self.do(user_id, commands.Join())
            buy_in = chips[0] if chips else 1_000
            self.do(user_id, commands.Seat(seat_index=index, buy_in=buy_in))

    def deal(self) -> Hand:
        """Let the next hand begin by itself."""
        assert self.state.hand is None
        self.wait(HAND_INTERVAL_MS)
        return self.hand

    def act(self, action: Any, amount: int | None = None) -> None:
        """Have the player to act do something."""
        self.do(self.actor.user_id, commands.Action(action=action, amount=amount))

    def fold_out(self) -> None:
        """Fold until the hand is over."""
        while self.state.hand is not None:
            self.act("FOLD")

    # Seeing

    @property
    def hand(self) -> Hand:
        """The running hand."""
        assert self.state.hand is not None
        return self.state.hand

    @property
    def actor(self) -> Seat:
        """The seat to act."""
        seat_index = self.hand.actor_seat
        assert seat_index is not None
        return self.state.seats[seat_index]

    def events(self) -> list[Event]:
        """The public events of the last decision."""
        return [told.event for told in self.told if told.audience is Audience.EVERYONE]

    def names(self) -> list[str]:
        """Their names."""
        return [str(type(event).__struct_config__.tag) for event in self.events()]

    def event(self, kind: type[Any]) -> Any:
        """The one event of a class in the last decision."""
        (found,) = [told.event for told in self.told if isinstance(told.event, kind)]
        return found

    def rows(self, kind: type[Any]) -> list[Any]:
        """The last decision's rows of a kind."""
        return [row for row in self.wrote if isinstance(row, kind)]

    # The books

    def _context(self) -> Context:
        state = self.state
        self._decks += 1
        return make_context(
            self.now,
            deck=shuffled_deck(self._decks, (state.next_settings or state.settings).variant),
            rigging=self.rigging,
            max_members=self.max_members,
            source=self.source,
            host_connected=self.host_connected,
        )

    def _settle(self, out: Decision, hand: Hand | None) -> None:
        first_seq = out.first_seq
        self.last, self.told, self.wrote = out, list(out.told), out.writes()
        public = [told.event.seq for told in self.told if told.audience is Audience.EVERYONE]
        assert public == list(range(first_seq + 1, self.state.seq + 1)), "seq is +1 an event"
        assert [row.seq for row in self.rows(EventTold)] == public
        self._keep_books()
        self.waitlist.keep(self.state, out)
        hidden = {card for one in (hand, self.state.hand) if one for card in hidden_cards(one)}
        for event in self.events():
            shown = hidden.intersection(_strings(msgspec.to_builtins(event)))
            assert not shown, f"{type(event).__name__} shows hidden cards"

    def _keep_books(self) -> None:
        sums: Counter[str] = Counter()
        for row in self.rows(LedgerEntry):
            assert row.transfer_id not in self._transfers, "a transfer's id is its own"
            sums[row.transfer_id] += row.amount
            self.accounts[row.account] += row.amount
            if row.account == "stack":
                self.stacks[row.sitting_id] += row.amount
        assert not any(sums.values()), "both sides of a transfer cancel out"
        self._transfers |= sums.keys()
        for move in self.rows(WalletMove):
            self.wallets[move.user_id] += move.delta
        state = self.state
        pot = state.hand.pot if state.hand else 0
        behind = sum(seat.chips for seat in state.seats.values())
        assert sum(self.wallets.values()) == self.accounts["wallet"]
        assert self.accounts["wallet"] + behind + pot + self.accounts["house"] == 0
        if state.hand is None:
            booked = {sitting: chips for sitting, chips in self.stacks.items() if chips}
            assert booked == {s.sitting_id: s.chips for s in state.seats.values() if s.chips}
            assert self.accounts["pot"] == 0


def hidden_cards(hand: Hand) -> set[str]:
    """The hole cards of a hand that nobody but their owners may have seen."""
    return {
        card
        for dealt in hand.setup.seats
        if hand.shown(dealt.seat_index) is None
        for card in hand.hole_cards(dealt.seat_index)
    } & set(DECK)


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for one in value.values():
            yield from _strings(one)
    elif isinstance(value, list):
        for one in value:
            yield from _strings(one)


@dataclass
class FakeJournal:
    """A journal in memory that keeps fence, wallets and command ids like the real one.

    `failures` are what the next commits come to, first in line first: an error to raise instead of
    committing, or `COMMITTED_UNKNOWN` to commit and not know it. Each commit is a checkpoint.
    """

    rooms: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    """Epoch, seq and last unit of each room."""
    wallets: dict[str, int] = field(default_factory=dict)
    committed: list[CommitUnit] = field(default_factory=list)
    failures: deque[Exception] = field(default_factory=deque)
    outside: dict[str, int] = field(default_factory=dict)
    """How often somebody wrote to a room from outside; none where it is not named."""
    _commands: set[tuple[str, str]] = field(default_factory=set)

    async def commit(self, unit: CommitUnit, on_committed: Callable[[], None]) -> None:
        """Commit a unit as `persistence.journal.Journal` does."""
        with trio.CancelScope(shield=True):
            await trio.lowlevel.checkpoint()
        failure = self.failures.popleft() if self.failures else None
        if failure is not None and failure is not COMMITTED_UNKNOWN:
            raise failure
        self._write(unit)
        if failure is not None:
            raise failure
        on_committed()

    def _write(self, unit: CommitUnit) -> None:
        assert isinstance(unit.advance, Advance)
        room_id, epoch, seq, next_seq, unit_id, _, outside = unit.advance
        if (*self.rooms[room_id][:2], self.outside.get(room_id, 0)) != (epoch, seq, outside):
            raise Superseded(room_id)
        wallets = dict(self.wallets)
        keys = set(self._commands)
        for row in unit.rows:
            if isinstance(row, WalletMove):
                if row.user_id not in wallets:
                    raise ConstraintViolated(WALLET_MISSING, "wallets")
                wallets[row.user_id] += row.delta
            elif isinstance(row, CommandDone):
                if (key := (row.user_id, row.command_id)) in keys:
                    raise ConstraintViolated("commands_key", "commands")
                keys.add(key)
        if any(balance < 0 for balance in wallets.values()):
            raise ConstraintViolated("wallets_balance_check", "wallets")
        self.wallets, self._commands = wallets, keys
        self.rooms[room_id] = (epoch, next_seq, unit_id)
        self.committed.append(unit)


COMMITTED_UNKNOWN = OutcomeUnknown("committed, but nobody was told")
LOST_UNKNOWN = OutcomeUnknown("not committed, and nobody was told")
AWAY = Unavailable("gone fishing")
