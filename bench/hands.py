"""Recorded hands, played through a running server by one client a seat.

Staff make a room for each hand, with the recorded stacks and the deck fixed. Every seat's client,
half of them in each coding, then does what its player did. What all of them were told, what the
database holds and what is there after a restart is held against the record.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import msgspec
import psycopg
import trio

from bench.outside import JSON, MSGPACK, Closed, Message, Outside, Refusal, connected
from bench.recorded_hands import RecordedHand
from bench.server_process import ServerProcess

SETTINGS = {"CARDROOM_ENABLE_RIGGED_DECKS": "1"}
"""What the server needs for decks to be fixed."""

STAFF = "floor"
TURN_SECONDS = 120
WAIT_S = 10.0
_CARDS = re.compile("(?:[2-9TJQKA][cdhs])+")


class Person:
    """One user over all the sockets that they have had.

    Attributes:
        told: the room's public events by seq.
        cards: every card that any message to them ever named.
    """

    def __init__(self, user_id: str, token: str, coding: str) -> None:
        self.user_id = user_id
        self.coding = coding
        self.told: dict[int, Message] = {}
        self.cards: set[str] = set()
        self.hole_cards: tuple[str, ...] = ()
        self.socket: Outside
        self._token = token
        self._rejoin_token: str | None = None
        self._room_id = ""

    async def arrive(self) -> None:
        """Authenticate on a fresh socket; in a room, by rejoin token and with what was missed."""
        self.socket.on_event = self._heard
        if self._rejoin_token is None:
            await self.socket.ask("authenticate", token=self._token)
            if self._room_id:
                await self.socket.ask("subscribe", channel=f"room:{self._room_id}")
            return
        reply = await self.socket.ask(
            "authenticate",
            rejoin_token=self._rejoin_token,
            room_id=self._room_id,
            last_seq=max(self.told),
        )
        assert reply["recovered"], "so few missed events are told one by one"
        self._rejoin_token = reply["rejoin_token"]
        for event in reply["missed"]:
            self._heard(event)

    def entered(self, room_id: str, reply: Message) -> None:
        """Note the room, and the token to rejoin it with if the reply has one."""
        self._room_id = room_id
        self._rejoin_token = reply.get("rejoin_token", self._rejoin_token)

    def leave(self) -> None:
        """Look through all that came over the socket that is about to close."""
        for frame in self.socket.frames:
            message = json.loads(frame) if isinstance(frame, str) else _decode(frame)
            self.cards.update(_cards_in(message))

    async def told_of(self, kind: str) -> Message:
        """Wait for the one event of a type."""
        with trio.fail_after(WAIT_S):
            while True:
                for event in self.told.values():
                    if event["type"] == kind:
                        return event
                await self.socket.event_of(kind)

    def _heard(self, event: Message) -> None:
        if event["type"] == "cards_dealt":
            self.hole_cards = tuple(event["hole_cards"])
        if event["channel"].startswith("room:") and not event.get("private"):
            known = self.told.setdefault(event["seq"], event)
            assert known == event, "one seq, one event"


@dataclass
class Played:
    """One recorded hand, and what did not come out as recorded.

    Attributes:
        killed: whether the server was killed in the middle of it.
        people: the players, by their number, and a spectator.
        events: how many public events there were.
        problems: what differs, one sentence each; none if all is as recorded.
    """

    hand: RecordedHand
    killed: bool
    room_id: str = ""
    people: list[Person] = field(default_factory=list)
    events: int = 0
    problems: list[str] = field(default_factory=list)

    def expect(self, what: str, found: object, recorded: object) -> None:
        """Note a problem unless both are equal."""
        if found != recorded:
            self.problems.append(f"{what}: {found}, recorded {recorded}")

    def by_seat(self, amounts: tuple[int, ...]) -> dict[int, int]:
        """Key amounts, which go by player, by seat."""
        return {self.seat_of(player): amount for player, amount in enumerate(amounts)}

    def seat_of(self, player: int) -> int:
        """Say where a player sits, so that the first hand's button is where it was."""
        order = self.hand.dealing_order
        place = order.index(player)
        return place if len(order) == 2 else (place + 1) % len(order)


async def play(server: ServerProcess, hand: RecordedHand, *, kill: bool = False) -> Played:
    """Play a recorded hand on a running server, and compare everything.

    Args:
        server: with `SETTINGS` in force.
        hand: the record.
        kill: whether to kill the server (-9) half-way and go on with a new one.
    """
    played = Played(hand, kill)
    try:
        await _play(server, played)
        await compare(server, played)
    except (Refusal, Closed, trio.TooSlowError, AssertionError) as error:
        played.problems.append(f"{type(error).__name__}: {error}")
    return played


async def compare(server: ServerProcess, played: Played) -> None:
    """Hold what a fresh client is told, and what the database holds, against the record."""
    for person in played.people:
        token = server.token(person.user_id)
        async with connected(server.ws_url, coding=person.coding, token=token) as fresh:
            room = await fresh.ask("hydrate", room_id=played.room_id)
        stacks = {seat["seat_index"]: seat["chips"] for seat in room["seats"]}
        played.expect("stacks hydrated", stacks, played.by_seat(played.hand.final_stacks))
        played.expect("hand hydrated", room["hand"], None)
    await trio.to_thread.run_sync(_compare_database, server.database_url, played)


async def _play(server: ServerProcess, played: Played) -> None:
    hand = played.hand
    name = f"hand-{hand.name}"
    staff = Person(STAFF, server.token(STAFF, role="staff"), MSGPACK)
    watcher = Person(f"{name}-watcher", server.token(f"{name}-watcher"), JSON)
    players = [
        Person(f"{name}-p{player + 1}", server.token(f"{name}-p{player + 1}"), coding)
        for player, coding in zip(range(len(hand.stacks)), [MSGPACK, JSON] * 5, strict=False)
    ]
    played.people = [*players, watcher]
    everybody = [*played.people, staff]
    await _fund(server, {p.user_id: s for p, s in zip(players, hand.stacks, strict=True)})
    cut = len(hand.actions) // 2 if played.killed else len(hand.actions)
    async with _present(server, everybody):
        await _seat(played, staff, watcher, players)
        await _act(played, players, 0, cut)
        if played.killed:
            await server.kill()
        else:
            await _finish(everybody)
    if played.killed:
        await server.start()
        async with _present(server, everybody):
            await _act(played, players, cut, len(hand.actions))
            await _finish(everybody)
    _compare_told(played, staff, watcher, players)


async def _seat(played: Played, staff: Person, watcher: Person, players: list[Person]) -> None:
    hand = played.hand
    reply = await staff.socket.ask(
        "create_room",
        settings={
            "name": f"Hand {hand.name}",
            "small_blind": hand.small_blind,
            "big_blind": hand.big_blind,
            "ante": hand.ante,
            "min_buy_in": min(hand.stacks),
            "max_buy_in": max(hand.stacks),
            "max_seats": len(hand.stacks),
            "turn_seconds": TURN_SECONDS,
            "auto_start": False,
            "requires_approval": False,
        },
    )
    room_id = played.room_id = reply["room"]["id"]
    staff.entered(room_id, reply)
    await staff.socket.ask("subscribe", channel=f"room:{room_id}")
    for player, person in enumerate(players):
        await person.socket.ask("join", room_id=room_id)
        reply = await person.socket.ask(
            "seat",
            room_id=room_id,
            seat_index=played.seat_of(player),
            buy_in=hand.stacks[player],
        )
        person.entered(room_id, reply)
    await watcher.socket.ask("join", room_id=room_id)
    watcher.entered(room_id, await watcher.socket.ask("spectate", room_id=room_id))
    await staff.socket.ask("rig_deck", room_id=room_id, cards=list(hand.deck))
    await staff.socket.ask("start", room_id=room_id)


async def _act(played: Played, players: list[Person], first: int, last: int) -> None:
    for player, action, amount in played.hand.actions[first:last]:
        fields: dict[str, Any] = {} if amount is None else {"amount": amount}
        await players[player].socket.ask("action", room_id=played.room_id, action=action, **fields)


async def _finish(people: list[Person]) -> None:
    for person in people:
        await person.told_of("hand_complete")


def _compare_told(played: Played, staff: Person, watcher: Person, players: list[Person]) -> None:
    """Hold what every client was told against the record, and look for cards that leaked."""
    hand = played.hand
    final = played.by_seat(hand.final_stacks)
    shown = {played.seat_of(player): list(cards) for player, cards in hand.shown.items()}
    public = {*hand.board, *(card for cards in hand.shown.values() for card in cards)}
    holes = {
        player: tuple(hand.deck[place + n * len(players)] for n in range(2))
        for place, player in enumerate(hand.dealing_order)
    }
    for person in (*players, watcher, staff):
        who = person.user_id
        events = [person.told[seq] for seq in sorted(person.told)]
        (complete,) = (e for e in events if e["type"] == "hand_complete")
        stacks = {seat["seat_index"]: seat["chips"] for seat in complete["stacks"]}
        played.expect(f"stacks told to {who}", stacks, final)
        board = [e["board"] for e in events if e["type"] == "street_advanced"][-1:]
        played.expect(f"board told to {who}", board, [list(hand.board)] if hand.board else [])
        tabled = {
            h["seat_index"]: h["cards"]
            for e in events
            if e["type"] == "showdown"
            for h in e["hands"]
        }
        played.expect(f"hands shown to {who}", tabled, shown)
        for seq in watcher.told.keys() & person.told.keys():
            played.expect(f"event {seq} told to {who}", person.told[seq], watcher.told[seq])
        own = set(holes[players.index(person)]) if person in players else set()
        played.expect(f"cards that {who} may not see", person.cards - public - own, set())
    for player, person in enumerate(players):
        played.expect(f"cards dealt to {person.user_id}", person.hole_cards, holes[player])
    played.events = len(watcher.told)


def _compare_database(url: str, played: Played) -> None:
    hand, room = played.hand, (played.room_id,)
    final = played.by_seat(hand.final_stacks)
    with psycopg.connect(url) as db:
        seats = db.execute("SELECT seat_index, chips FROM room_seats WHERE room_id = %s", room)
        played.expect("stacks in room_seats", dict(seats.fetchall()), final)
        results = db.execute("SELECT seat_index, final_stack FROM players WHERE room_id = %s", room)
        played.expect("stacks in players", dict(results.fetchall()), final)
        booked = db.execute(
            "SELECT s.seat_index, sum(l.amount)::bigint FROM ledger_entries l "
            "JOIN room_seats s USING (room_id, user_id) "
            "WHERE room_id = %s AND l.account = 'stack' GROUP BY s.seat_index",
            room,
        )
        # An account that comes to nothing is in the books all the same.
        played.expect("stacks by the ledger", dict(booked.fetchall()), final)
        uneven = db.execute(
            "SELECT transfer_id FROM ledger_entries GROUP BY 1 HAVING sum(amount) <> 0"
        )
        played.expect("transfers that do not balance", uneven.fetchall(), [])
        board = db.execute("SELECT board FROM hands WHERE room_id = %s", room).fetchall()
        played.expect("board in hands", board, [(list(hand.board),)])
        actions = db.execute(
            "SELECT action, auto FROM actions WHERE room_id = %s ORDER BY seq", room
        )
        played.expect("actions", actions.fetchall(), [(name, False) for _, name, _ in hand.actions])
        rows = db.execute(
            "SELECT seq, to_ms(at), type, payload FROM room_events WHERE room_id = %s", room
        )
        stored = {
            seq: {"channel": f"room:{room[0]}", "seq": seq, "at": at, "type": kind, **payload}
            for seq, at, kind, payload in rows
        }
        for person in played.people:
            for seq, event in person.told.items():
                played.expect(f"event {seq} told to {person.user_id}", event, stored.get(seq))


async def _fund(server: ServerProcess, stacks: dict[str, int]) -> None:
    staff = {"Authorization": f"Bearer {server.token(STAFF, role='staff')}"}
    async with httpx.AsyncClient(base_url=server.http_url, headers=staff) as http:
        for user_id, chips in stacks.items():
            answer = await http.post(
                f"/api/staff/wallets/{user_id}/credit",
                json={"amount": chips, "reason": "recorded stack"},
            )
            answer.raise_for_status()


@asynccontextmanager
async def _present(server: ServerProcess, people: list[Person]) -> AsyncIterator[None]:
    """Connect everybody; look through what they received as they go."""
    async with AsyncExitStack() as stack:
        for person in people:
            person.socket = await stack.enter_async_context(
                connected(server.ws_url, coding=person.coding)
            )
            await person.arrive()
        yield
        for person in people:
            person.leave()


def _decode(frame: bytes) -> Any:
    return msgspec.msgpack.decode(frame)


def _cards_in(value: object) -> Iterator[str]:
    """Yield every card in a message, cards that are run together in one text included."""
    if isinstance(value, str):
        if _CARDS.fullmatch(value):
            yield from (value[i : i + 2] for i in range(0, len(value), 2))
    elif isinstance(value, dict):
        for part in value.values():
            yield from _cards_in(part)
    elif isinstance(value, list):
        for part in value:
            yield from _cards_in(part)
