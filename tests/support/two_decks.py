"""The same hand on decks that differ only in what a bystander may not know.

Whatever is told to a bystander (events in both codings, snapshots, replies, refusals, stored rows)
must be the same bytes on all of them, up to the moment at which the rules show a card that differs.
Comparing says more than looking for cards: a secret that leaks in whatever form changes something.

Run as a module it plays as many hands as asked for, and names the seed of one that differs.
"""

import random
import struct
import sys
import time
from collections import Counter
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress

import msgspec

from actors.hub import Hub
from game.changes import ActionDone, EventTold
from game.decide import decide, decide_internal, next_deadline
from game.decision import Context, Decision
from game.poker.variants import VARIANTS
from game.presence import Tick
from game.room_settings import changed_settings
from game.table import table_state
from protocol import commands
from protocol.audience import Told
from protocol.codec import Coding, encode
from protocol.commands import AnyRoomCommand
from protocol.errors import Refused
from protocol.events import Event, Showdown, StreetAdvanced
from protocol.ids import RoomId, UserId, room_channel
from protocol.principal import Principal
from protocol.replies import Ok
from protocol.values import RoomSettings, SettingsPatch
from tests.support.room_play import FLOOR, HOST, PlayedRoom, user

WATCHER = user("watcher")
NAMES = ["anna", "bert", "cleo", "dora", "emil", "fred", "gina", "hugo"]
BOARD = 5
SHOWN_AFTER = (0, 3, 4, 5)
"""How many cards of the board two decks may share: those of whole streets."""

Deck = tuple[str, ...]


class Leak(Exception):
    """A bystander was told something that depends on what they may not know."""


class Ear:
    """One subscriber; keeps what it is told, one entry for each thing."""

    def __init__(self, principal: Principal, coding: Coding) -> None:
        self.user_id = UserId(principal.user_id)
        self.is_staff = principal.is_staff
        self.coding = coding
        self.heard: list[bytes] = []

    def enqueue(self, frames: bytes) -> None:
        """Take what the hub sends: events, each after its length."""
        at = 0
        while at < len(frames):
            (length,) = struct.unpack_from(">I", frames, at)
            self.heard.append(frames[at + 4 : at + 4 + length])
            at += 4 + length


def _measured(coding: object, event: Event) -> bytes:
    assert isinstance(coding, Coding)
    data = encode(coding, event)
    return struct.pack(">I", len(data)) + data


class DealtRoom(PlayedRoom):
    """A room whose every hand has one deck, and whose people all listen."""

    def __init__(self, seed: int, deck: Deck, variant: str) -> None:
        # Only what to do is drawn from it, never anything from the cards.
        rng = random.Random(seed)
        super().__init__(rng, SettingsPatch(requires_approval=False, auto_start=False))
        self.deck = deck
        self.rng = rng
        seats = VARIANTS[variant].max_players
        self.rows: list[bytes] = []
        self.stages: list[tuple[int, dict[str, int]]] = []
        self.hub = Hub(encode=_measured, on_presence=lambda *_: None, on_drop=_lost)
        self.channel = room_channel(RoomId(self.state.room_id))
        self.state.settings = changed_settings(
            RoomSettings(),
            SettingsPatch(
                variant=variant,
                requires_approval=False,
                auto_start=False,
                small_blind=5,
                big_blind=10,
                ante=rng.choice([0, 0, 1]),
                min_buy_in=20,
                max_buy_in=2_000,
                max_seats=seats,
            ),
        )
        names = NAMES[: rng.randint(1, 8)]
        self.seated = [user(name) for name in names]
        if rng.random() < 0.5:
            self.seated.append(HOST)
        if rng.random() < 0.3 or len(self.seated) < 2:
            self.seated.append(FLOOR)
        self.seated = self.seated[-seats:]
        self.people = [*dict.fromkeys([*self.seated, HOST, FLOOR, WATCHER])]
        self.ears = {
            f"{who.user_id} {coding.name}": Ear(who, coding)
            for who in self.people
            for coding in Coding
        }

    def open(self) -> None:
        """Seat everybody, let them listen, and deal."""
        for who in [*self.seated, WATCHER]:
            if who is not HOST:
                self.ask(who, commands.Join())
        for index, who in enumerate(self.seated):
            buy_in = self.rng.choice([20, 100, 500, 1_000, 2_000])
            self.ask(who, commands.Seat(seat_index=index, buy_in=buy_in))
        self.ask(WATCHER, commands.Spectate())
        for ear in self.ears.values():
            self.hub.subscribe(self.channel, ear, operator=ear.user_id == HOST.user_id)
        self.ask(HOST, commands.Start())

    def ask(self, who: Principal, command: AnyRoomCommand) -> None:
        """Have a command decided; the asker hears the answer."""
        out = Decision(self.state)
        try:
            reply: Ok | Refused = decide(self.state, command, who, self._context(), out)
        except Refused as refused:
            reply = refused
        self._publish(out)
        answer = reply.reply(1) if isinstance(reply, Refused) else reply
        for name, ear in self.ears.items():
            if name.startswith(f"{who.user_id} "):
                ear.heard.append(encode(ear.coding, answer))

    def clock(self) -> None:
        """Let the next deadline come."""
        due = next_deadline(self.state)
        if due is not None:
            self.now = max(self.now, due)
            out = Decision(self.state)
            decide_internal(self.state, Tick(), self._context(), out)
            self._publish(out)

    def _context(self) -> Context:
        return msgspec.structs.replace(super()._context(), deck=self.deck)

    def _publish(self, out: Decision) -> None:
        told = out.told
        for one in told:
            self._mark(one)
            self.hub.publish(self.channel, [one])
            self._told([one])
        for row in out.writes():
            if isinstance(row, EventTold | ActionDone):
                self.rows.append(msgspec.json.encode(row))
        if not told:
            return
        self.rows.append(msgspec.json.encode(table_state(self.state)))
        # Two at a time: drawing snapshots for everybody would take most of the time.
        for who in self.rng.sample(self.people, 2):
            with suppress(Refused):
                seen = msgspec.json.encode(self.snapshot(who))
                self.ears[f"{who.user_id} {Coding.JSON.name}"].heard.append(seen)

    def _mark(self, told: Told) -> None:
        """Note where everybody's record stands before an event that shows cards."""
        event = told.event
        if isinstance(event, Showdown | StreetAdvanced):
            board = len(event.board) if isinstance(event, StreetAdvanced) else BOARD + 1
            marks = {name: len(ear.heard) for name, ear in self.ears.items()}
            # Rows of a decision are written whole after its events.
            self.stages.append((board, marks | {"rows": len(self.rows)}))


def _lost(subscriber: object, error: Exception) -> None:
    raise error


class Course:
    """One hand as everybody was told it. `seats` are in dealing order."""

    def __init__(self, seed: int, deck: Deck, variant: str) -> None:
        room = DealtRoom(seed, deck, variant)
        self.deck = deck
        self.stages = room.stages
        room.open()
        assert room.state.hand is not None or room.stages
        hand = room.state.hand
        self.seats = [] if hand is None else [seat.user_id for seat in hand.setup.seats]
        for _ in range(200):
            if room.state.hand is None:
                break
            hand = room.state.hand
            _one_step(room)
        assert room.state.hand is None, "the hand never ends"
        shown = [] if hand is None else [s for s in hand.seat_states() if s.shown_cards]
        mucked = [] if hand is None else [s for s in hand.seat_states() if s.in_hand]
        by_index = {} if hand is None else {s.seat_index: s.user_id for s in hand.setup.seats}
        self.shown = {by_index[s.seat_index] for s in shown}
        self.mucked = {by_index[s.seat_index] for s in mucked} - self.shown if shown else set()
        self.bystanders = {who.user_id for who in room.people} - set(self.seats)
        self.records = {name: ear.heard for name, ear in room.ears.items()} | {"rows": room.rows}

    def until(self, board: int) -> dict[str, int]:
        """Say how far each record goes before a card shows beyond `board` cards of the board."""
        for shown, marks in self.stages:
            if shown > board:
                return marks
        return {name: len(record) for name, record in self.records.items()}


def _one_step(room: DealtRoom) -> None:
    state, rng = room.state, room.rng
    hand, clock = state.hand, state.clock
    assert hand is not None
    assert clock is not None
    actor = next(w for w in room.people if w.user_id == state.seats[clock.seat_index].user_id)
    chance = rng.random()
    other = rng.choice(room.people)
    if chance < 0.04:
        room.clock()
    elif chance < 0.06:
        room.ask(other, commands.LeaveSeat())
    elif chance < 0.08:
        room.ask(other, commands.SitOut())
    elif chance < 0.09:
        room.ask(HOST, commands.Kick(user_id=other.user_id))
    elif chance < 0.16:
        # Somebody else's turn, or nothing that is legal: the refusal must say nothing either.
        amount = rng.choice([None, 1, 7, 10**9])
        action = rng.choice(["CHECK", "BET", "RAISE", "CALL", "FOLD"])
        who = other if action in ("CALL", "FOLD") else actor
        if who is not actor or amount != 7:
            room.ask(who, commands.Action(action=action, amount=amount))  # type: ignore[arg-type]
    else:
        legal = hand.legal()
        low, high = legal.min_raise_to, legal.max_raise_to
        action = rng.choices(["FOLD", "CALL", "RAISE", "ALL_IN"], [3, 14, 4, 1])[0]
        amount = None
        if action == "CALL" and legal.can_check:
            action = "CHECK"
        if action == "RAISE":
            if low is None or high is None:
                action = "CHECK" if legal.can_check else "CALL"
            else:
                amount = rng.randint(low, min(high, low * 3))
        room.ask(actor, commands.Action(action=action, amount=amount))  # type: ignore[arg-type]


def compare_hand(seed: int, count: Counter[str], variant: str = "nlhe") -> None:
    """Play one hand on its deck and on others, and compare what everybody was told.

    Raises:
        Leak: somebody was told what they may not know.
    """
    rng = random.Random(f"decks of {seed}")
    rules = VARIANTS[variant]
    deck = list(rules.deck)
    rng.shuffle(deck)
    first = Course(seed, tuple(deck), variant)
    count["hands"] += 1
    count["frames"] += sum(len(record) for record in first.records.values())
    if not first.seats:
        count["over at once"] += 1
        return
    players = len(first.seats)
    dealt = rules.hole_cards * players
    board_at = [dealt + 1, dealt + 2, dealt + 3, dealt + 5, dealt + 7]
    shared = rng.choice(SHOWN_AFTER)
    kept = set(board_at[:shared])

    second = Course(seed, _reshuffled(deck, kept, rng), variant)
    _same(seed, first, second, first.bystanders, shared, count)
    position = rng.randrange(players)
    own = set(range(position, dealt, players))
    third = Course(seed, _reshuffled(deck, kept | own, rng), variant)
    _same(seed, first, third, {first.seats[position]}, shared, count)
    if first.mucked:
        hidden = {
            place
            for position, user_id in enumerate(first.seats)
            if user_id in first.mucked
            for place in range(position, dealt, players)
        }
        stay = set(range(len(deck))) - hidden - set(range(max(board_at) + 1, len(deck)))
        mucks = Course(seed, _reshuffled(deck, stay, rng), variant)
        if mucks.shown == first.shown:
            everybody_else = (first.bystanders | set(first.seats)) - first.mucked
            _same(seed, first, mucks, everybody_else, BOARD + 1, count)
            count["mucked hands"] += 1
    if first.shown:
        count["showdowns"] += 1


def _reshuffled(deck: Sequence[str], kept: set[int], rng: random.Random) -> Deck:
    places = [place for place in range(len(deck)) if place not in kept]
    cards = [deck[place] for place in places]
    rng.shuffle(cards)
    mixed = list(deck)
    for place, card in zip(places, cards, strict=True):
        mixed[place] = card
    return tuple(mixed)


def _same(
    seed: int, one: Course, two: Course, users: AbstractSet[str], board: int, count: Counter[str]
) -> None:
    """Compare the records of some users, and what was stored, until more than `board` shows."""
    ends = one.until(board), two.until(board)
    for name in one.records:
        if name.partition(" ")[0] not in users and name != "rows":
            continue
        first, second = (
            course.records[name][: end[name]] for course, end in zip((one, two), ends, strict=True)
        )
        count["compared"] += len(first)
        if first == second:
            continue
        at = next((i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), -1)
        raise Leak(
            f"seed {seed}: {name} is told different things on decks that differ in what they may "
            f"not know:\n{first[at]!r}\n{second[at]!r}"
        )


def main(arguments: Sequence[str]) -> int:
    """Compare as many hands as asked for; 1 if one of them leaks.

    Args:
        arguments: how many hands (10,000), the first seed (0), and the variants that they take in
            turn (all).
    """
    hands = int(arguments[0]) if arguments else 10_000
    first_seed = int(arguments[1]) if len(arguments) > 1 else 0
    variants = arguments[2:] or tuple(VARIANTS)
    count: Counter[str] = Counter()
    began = time.perf_counter()
    for seed in range(first_seed, first_seed + hands):
        variant = variants[seed % len(variants)]
        try:
            compare_hand(seed, count, variant)
        except Leak as leak:
            print(f"{variant}, {leak}", file=sys.stderr)
            return 1
        count[variant] += 1
    count["seconds"] = round(time.perf_counter() - began)
    print(msgspec.json.encode(count).decode())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
