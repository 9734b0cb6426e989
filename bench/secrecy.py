"""Prove that nobody is told anything that depends on other people's cards.

Each hand is played in two rooms of one server whose decks (`rig_deck`) differ only in cards that a
bystander may not know, with the same decisions. Every frame and every HTTP answer that a bystander
gets must be the same in both, ids and clocks aside, until the cards are tabled.

`cardroom bench secrecy` also plays 10,000 hands by the rules alone (`tests.support.two_decks`),
where every kind of bystander and decision is cheap to have. The variants take turns. It ends with 1
if a hand differs, and names its seed.
"""

import json
import random
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import trio

from bench.outside import JSON, MSGPACK, Message, Outside, Refusal, connected
from bench.server_process import ServerProcess
from game.poker.variants import VARIANTS

ROOT = Path(__file__).resolve().parent.parent
HAND_TIMEOUT_S = 60.0
PLAYERS = ("p0", "p1", "p2")
PEOPLE = {"host": MSGPACK, "watcher": JSON, "floor": MSGPACK, "p0": JSON, "p1": MSGPACK, "p2": JSON}
"""Who listens, and in which coding; the host has no seat, the floor is staff."""
VIEWS = ("host", "player", "spectator", "approved", "pending", "guest")
REVEALING = ("showdown", "hand_complete")
SETTINGS = {
    "CARDROOM_DB_TIMEOUT_S": "60",
    "CARDROOM_ENABLE_RIGGED_DECKS": "1",
    "CARDROOM_COMMANDS_PER_S": "100000",
    "CARDROOM_COMMAND_BURST": "100000",
    "CARDROOM_STARTING_BALANCE": "1000000000",
}
CLOCKS = frozenset(
    {"at", "deadline", "started_at", "timestamp", "created_at", "last_seen_at", "requested_at"}
    | {"timebank_remaining", "next_hand_at", "rejoin_token", "request_id", "re", "channel"}
)
"""What differs between two rooms although nothing is wrong; ids are replaced beside these."""


class Leak(Exception):
    """A bystander was told something that depends on what they may not know."""


def canonical(value: Any, ids: dict[str, str]) -> Any:
    """Return a message without clocks, its ids replaced by what they name."""
    if isinstance(value, dict):
        return {k: canonical(v, ids) for k, v in value.items() if k not in CLOCKS}
    if isinstance(value, list):
        return [canonical(item, ids) for item in value]
    return ids.get(value, value) if isinstance(value, str) else value


class Club:
    """A server with everybody connected to it, over both ways in."""

    def __init__(self, server: ServerProcess) -> None:
        self.server = server
        self.people: dict[str, Outside] = {}
        self.web: dict[str, httpx.AsyncClient] = {}
        self.count: Counter[str] = Counter()

    async def ask(self, who: str, type: str, **fields: Any) -> Message:
        """Send a command as somebody and wait for its reply."""
        return await self.people[who].ask(type, **fields)


@asynccontextmanager
async def club_of(server: ServerProcess) -> AsyncIterator[Club]:
    """Connect everybody to a running server."""
    club = Club(server)
    async with AsyncExitStack() as stack:
        for who, coding in PEOPLE.items():
            token = server.token(who, role="staff" if who == "floor" else "player")
            club.people[who] = await stack.enter_async_context(
                connected(server.ws_url, coding=coding, token=token)
            )
            club.web[who] = await stack.enter_async_context(
                httpx.AsyncClient(
                    base_url=server.http_url, headers={"Authorization": f"Bearer {token}"}
                )
            )
        yield club


class Table:
    """One room in which one hand is played, and what everybody was told of it."""

    def __init__(self, club: Club, deck: list[str], variant: str) -> None:
        self.club = club
        self.deck = deck
        self.variant = variant
        self.room_id = ""
        self.ids: dict[str, str] = {}
        self.seen: dict[str, list[Any]] = {who: [] for who in PEOPLE}
        self._from = {who: len(outside.events) for who, outside in club.people.items()}

    async def open(self) -> None:
        """Make the room, seat three players, fix the deck and start."""
        club = self.club
        made = await club.ask(
            "host",
            "create_room",
            settings={
                "variant": self.variant,
                "requires_approval": False,
                "auto_start": False,
                "big_blind": 10,
                "turn_seconds": 120,
            },
        )
        self.room_id = made["room"]["id"]
        self.ids = {self.room_id: "room", made["room"]["code"]: "code"}
        for index, who in enumerate(PLAYERS):
            await club.ask(who, "join", room_id=self.room_id)
            await club.ask(who, "seat", room_id=self.room_id, seat_index=index, buy_in=1_000)
        await club.ask("watcher", "join", room_id=self.room_id)
        await club.ask("watcher", "spectate", room_id=self.room_id)
        for who in ("host", "floor"):
            await club.ask(who, "subscribe", channel=f"room:{self.room_id}")
        await club.ask("floor", "rig_deck", room_id=self.room_id, cards=self.deck)
        started = await club.ask("host", "start", room_id=self.room_id)
        await self.settle(started["seq"])

    def events(self, who: str) -> Iterable[Message]:
        """List what somebody was told of this room."""
        channel = f"room:{self.room_id}"
        events = self.club.people[who].events[self._from[who] :]
        return [event for event in events if event["channel"] == channel]

    async def settle(self, seq: int) -> None:
        """Wait until everybody was told all up to `seq`, private events included."""
        channel = f"room:{self.room_id}"
        for outside in self.club.people.values():
            await outside.event(
                lambda e: e["channel"] == channel and e["seq"] >= seq and "private" not in e
            )

    def turn(self) -> Message | None:
        """Return the running turn, or None if the hand is over."""
        told = [e for e in self.events("watcher") if "private" not in e]
        last = told[-1]
        return last if last["type"] == "turn_started" else None

    def open_to_bets(self) -> bool:
        """Whether a check that is free means that nobody has bet: not so before the flop."""
        return any(e["type"] == "street_advanced" for e in self.events("watcher"))

    async def act(self, who: str, fields: Message) -> bool:
        """Carry out one decision; False if it is refused, which the one who asked is told."""
        try:
            reply = await self.club.ask(who, "action", room_id=self.room_id, **fields)
        except Refusal as refusal:
            self.seen[who].append(refusal.message)
            return False
        await self.settle(reply["seq"])
        return True

    async def look(self, who: str, rng: random.Random) -> None:
        """Have somebody ask for the room in every way that there is, and keep the answers."""
        role = rng.choice([None, *VIEWS])
        wanted = {} if role is None else {"role": role}
        try:
            answer = await self.club.ask(who, "hydrate", room_id=self.room_id, **wanted)
        except Refusal as refusal:
            answer = refusal.message
        self.seen[who].append(answer)
        path = f"/api/rooms/{self.room_id}/hydrate"
        got = await self.club.web[who].get(path, params=wanted)
        self.seen[who].append(got.json())
        missed = await self.club.ask(
            who, "subscribe", channel=f"room:{self.room_id}", last_seq=rng.randrange(3)
        )
        self.seen[who].append(missed)

    def told(self, who: str) -> list[bytes]:
        """Return everything that somebody was told before cards were tabled, comparable."""
        events = []
        for event in self.events(who):
            if event["type"] == "hand_started":
                self.ids[event["hand_id"]] = "hand"
            if event["type"] == "game_started":
                self.ids[event["game_id"]] = "game"
            events.append(event)
        until = next((i for i, e in enumerate(events) if e["type"] in REVEALING), len(events))
        if until < len(events) and events[until]["type"] != "showdown":
            until = len(events)  # Nobody tabled anything: all of it must be the same.
        return [
            json.dumps(canonical(one, self.ids)).encode()
            for one in [*events[:until], *self.seen[who]]
        ]


def second_deck(deck: list[str], own: int, hole_cards: int, rng: random.Random) -> list[str]:
    """Change every card that the player in dealing position `own` may not know, and no other.

    The board stays: burnt cards, undealt ones and the others' hole cards change places.
    """
    dealt = hole_cards * len(PLAYERS)
    kept = {*range(own, dealt, len(PLAYERS)), *(dealt + place for place in (1, 2, 3, 5, 7))}
    places = [place for place in range(len(deck)) if place not in kept]
    cards = [deck[place] for place in places]
    rng.shuffle(cards)
    mixed = list(deck)
    for place, card in zip(places, cards, strict=True):
        mixed[place] = card
    return mixed


async def compare_hand(club: Club, seed: int, variant: str) -> None:
    """Play a hand on both decks and compare what the bystanders were told.

    Raises:
        Leak: the first difference, with the hand's seed.
    """
    rng = random.Random(seed)
    rules = VARIANTS[variant]
    deck = list(rules.deck)
    rng.shuffle(deck)
    position = rng.randrange(len(PLAYERS))
    # The first hand's button is seat 0, so seat 1 is dealt first.
    knows = PLAYERS[(position + 1) % len(PLAYERS)]
    other_deck = second_deck(deck, position, rules.hole_cards, rng)
    tables = [Table(club, deck, variant), Table(club, other_deck, variant)]
    for table in tables:
        await table.open()
    bystanders = ("host", "watcher", "floor", knows)
    while (turn := tables[0].turn()) is not None:
        other = tables[1].turn()
        if other is None or other["legal"] != turn["legal"]:
            raise Leak(f"seed {seed}: other cards make other turns: {turn} {other}")
        fields = _choice(turn["legal"], rng, bets=tables[0].open_to_bets())
        looker, looks = rng.choice(bystanders), rng.randrange(1 << 30)
        for table in tables:
            await table.look(looker, random.Random(looks))
            if not await table.act(turn["user_id"], fields):
                # All-in above the limit: the refusal counts, too, and the hand goes on.
                await table.act(turn["user_id"], _free_or_call(turn["legal"]))
    for who in bystanders:
        one, two = (table.told(who) for table in tables)
        club.count["compared"] += len(one)
        if one != two:
            first = next(((a, b) for a, b in zip(one, two, strict=False) if a != b), (one, two))
            raise Leak(f"seed {seed}: {who} is told different things:\n{first[0]!r}\n{first[1]!r}")
    club.count["hands"] += 1
    club.count[variant] += 1
    for table in tables:
        await club.ask("host", "close_room", room_id=table.room_id)


def _choice(legal: Message, rng: random.Random, *, bets: bool) -> Message:
    low, high = legal["min_raise_to"], legal["max_raise_to"]
    action = rng.choices(["FOLD", "CALL", "RAISE", "ALL_IN"], [3, 10, 3, 1])[0]
    if action == "RAISE" and low is not None:
        amount = rng.randint(low, min(high, 3 * low))
        return {"action": "BET" if bets and legal["can_check"] else "RAISE", "amount": amount}
    if action in ("FOLD", "ALL_IN"):
        return {"action": action}
    return _free_or_call(legal)


def _free_or_call(legal: Message) -> Message:
    return {"action": "CHECK" if legal["can_check"] else "CALL"}


async def over_sockets(
    hands: int, first_seed: int = 0, variants: Sequence[str] = tuple(VARIANTS)
) -> Counter[str]:
    """Compare hands on a server of their own; return what was counted.

    Args:
        hands: how many.
        first_seed: of the first one; the next one's is one more.
        variants: what they play, in turn.

    Raises:
        Leak: a hand differs.
    """
    with tempfile.TemporaryDirectory() as folder:
        server = ServerProcess(Path(folder) / "data", SETTINGS)
        await server.start()
        try:
            found: Leak | None = None
            async with club_of(server) as club:
                try:
                    for seed in range(first_seed, first_seed + hands):
                        with trio.fail_after(HAND_TIMEOUT_S):
                            await compare_hand(club, seed, variants[seed % len(variants)])
                except Leak as leak:
                    found = leak  # Raised in here it would leave as a group of groups.
            if found is not None:
                raise found
            return club.count
        finally:
            await server.stop()


def report(hands: int, socket_hands: int, seed: int, variants: Sequence[str]) -> int:
    """Compare hands over sockets, then by the rules alone; print what was compared.

    Returns:
        1 if a hand differs; its seed is on the error output.
    """
    try:
        count = trio.run(over_sockets, socket_hands, seed, variants)
    except Leak as leak:
        print(leak, file=sys.stderr)
        return 1
    print(json.dumps({"over sockets": count}))
    # A process of its own: what it plays with belongs to the tests.
    rules = [sys.executable, "-m", "tests.support.two_decks", str(hands), str(seed), *variants]
    return subprocess.run(rules, cwd=ROOT, check=False).returncode
