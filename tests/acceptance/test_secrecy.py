"""Hole cards reach their owner only, until they are tabled: over every path that there is."""

import json
import random
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import trio
from msgspec.structs import replace
from pokerkit import HandHistory

from bench.outside import JSON, MSGPACK, Closed, Message, Outside, Refusal, connected
from bench.secrecy import over_sockets
from bench.server_process import ServerProcess
from game.poker.hand import Hand
from game.poker.variants import VARIANTS
from protocol.views import HandState
from tests.support.served import FAST, rows, web
from tests.support.two_decks import Leak, compare_hand

HANDS = 20
MORE_HANDS = 10
ROLES = ("host", "player", "spectator", "approved", "pending", "guest")
PLAYERS = ("p0", "p1", "p2", "p3")
PEOPLE = ("host", *PLAYERS, "watcher", "approved", "pending", "stranger", "floor")
CARD = re.compile(r"(?<![0-9A-Za-z])[2-9TJQKA][cdhs](?![0-9A-Za-z])")
"""A card as a word of its own, in whatever text."""
RUN = re.compile(r"(?:[2-9TJQKA][cdhs]){2,}")
ID = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}|[0-9a-f]{12}|[A-Za-z0-9_-]{40,}|[A-HJ-NP-Z2-9]{6}")
"""Ids, tokens and codes: random, so that two cards may stand in one by chance."""


@cache
def has_card(text: str) -> bool:
    """Whether a card stands in a text, alone or in a run of them, outside ids."""
    plain = ID.sub("", text)
    return bool(CARD.search(plain) or RUN.search(plain))


class Truth:
    """What the database knows of every hand, and so what may be told to whom and when."""

    def __init__(self, server: ServerProcess) -> None:
        self.boards = {row["id"]: row["board"] for row in rows(server, "SELECT * FROM hands")}
        self.decks = [row["deck"] for row in rows(server, "SELECT deck FROM hands")]
        self.holes: dict[tuple[str, str], list[str]] = {}
        self.tabled: dict[tuple[str, int], list[str]] = {}
        for row in rows(server, "SELECT * FROM players"):
            self.holes[row["hand_id"], row["user_id"]] = row["hole_cards"]
            if row["shown"]:
                self.tabled[row["hand_id"], row["seat_index"]] = row["hole_cards"]
        self._streets: dict[str, list[tuple[int, int]]] = {}
        for row in rows(server, "SELECT * FROM room_events WHERE type = 'street_advanced'"):
            told = row["payload"]
            dealt = self._streets.setdefault(told["hand_id"], [])
            dealt.append((row["seq"], len(told["board"])))

    def board(self, hand_id: str, seq: int) -> list[str]:
        """Return the board of a hand as it was public at `seq`."""
        shown = max((n for at, n in self._streets.get(hand_id, []) if at <= seq), default=0)
        return list(self.boards[hand_id][:shown])


class Inspector:
    """Goes through what one user received; every card in it must have its reason."""

    def __init__(self, truth: Truth, user_id: str, count: Counter[str]) -> None:
        self._truth = truth
        self._user_id = user_id
        self._count = count

    def inspect(self, value: Any) -> None:
        """Inspect a message, or a part of one."""
        if isinstance(value, dict):
            if value.get("type") == "street_advanced":
                value = self._street(value)
            elif value.get("type") == "showdown":
                value = self._showdown(value)
            elif value.get("type") == "cards_dealt":
                value = self._own_cards(value)
            elif "board" in value and "winners" in value:
                value = self._hand_line(value)
            elif "me" in value and "seats" in value:
                value = self._snapshot(value)
            for key, part in value.items():
                self.inspect(key)
                self.inspect(part)
        elif isinstance(value, list):
            for part in value:
                self.inspect(part)
        elif isinstance(value, str):
            self._text(value)

    def _text(self, text: str) -> None:
        self._count["strings"] += 1
        assert not has_card(text), f"{self._user_id} was told {text!r}"

    def _street(self, told: Message) -> Message:
        board = self._truth.board(told["hand_id"], told["seq"])
        assert told["board"] == board
        assert told["cards"] == board[-len(told["cards"]) :]
        return told | {"board": [], "cards": []}

    def _showdown(self, told: Message) -> Message:
        for hand in told["hands"]:
            assert hand["cards"] == self._truth.tabled[told["hand_id"], hand["seat_index"]]
        self._count["hands tabled"] += len(told["hands"])
        return told | {"hands": []}

    def _own_cards(self, told: Message) -> Message:
        assert told["private"] is True
        assert told["hole_cards"] == self._truth.holes[told["hand_id"], self._user_id]
        self._count["own cards"] += 1
        return told | {"hole_cards": []}

    def _hand_line(self, told: Message) -> Message:
        assert told["board"] == self._truth.boards[told["id"]]
        assert told["boards"] == [told["board"]]
        self._count["hand lines"] += 1
        return told | {"board": [], "boards": []}

    def inspect_text(self, text: str) -> None:
        """Inspect a file: a hand history's actions have cards, each with its reason."""
        if text.startswith("variant = "):
            self._history(HandHistory.loads(text))
            text = re.sub(r"^actions = .*$", "", text, flags=re.MULTILINE)
            self._count["histories"] += 1
        assert not CARD.search(ID.sub("", text)), f"{self._user_id} was told {text!r}"

    def _history(self, history: HandHistory) -> None:
        hand_id, users = (history.user_defined_fields[name] for name in ("_hand_id", "_user_ids"))
        board: list[str] = []
        for action in history.actions:
            match action.split():
                case ["d", "db", cards]:
                    board += re.findall("..", cards)
                case ["d", "dh", player, cards] | [player, "sm", cards]:
                    number = int(player[1:]) - 1
                    assert history.seats is not None
                    hole = self._truth.tabled.get((hand_id, history.seats[number] - 1))
                    if users[number] == self._user_id:
                        hole = self._truth.holes[hand_id, self._user_id]
                    hidden = "??" * len(self._truth.holes[hand_id, users[number]])
                    assert cards == (hidden if hole is None else "".join(hole))
                case _:
                    assert not has_card(action)
        assert board == self._truth.boards[hand_id]

    def _snapshot(self, told: Message) -> Message:
        self._count["snapshots"] += 1
        hand, me = told["hand"], dict(told["me"])
        assert all(seat["shown_cards"] is None for seat in told["seats"])
        if hand is not None:
            assert hand["board"] == self._truth.board(hand["id"], told["seq"])
            assert hand["boards"] == [hand["board"]]
            hand = hand | {"board": [], "boards": []}
            if "hole_cards" in me:
                own = me.pop("hole_cards")
                assert own == self._truth.holes[told["hand"]["id"], self._user_id]
                assert told["role"] in ("host", "player")
                self._count["own cards"] += 1
        return {k: v for k, v in told.items() if k not in ("me", "hand")} | {"_": [me, hand]}


class Person:
    """Somebody who is connected, asks for everything that they can, and keeps all they get."""

    def __init__(self, server: ServerProcess, name: str, seed: int) -> None:
        self.name = name
        self.role = "staff" if name == "floor" else "player"
        self.rng = random.Random(seed)
        self.rooms: list[str] = []
        self.tokens: dict[str, str] = {}
        self.sockets: list[Outside] = []
        self.bodies: list[Any] = []
        self.texts: list[str] = []
        self._server = server

    def received(self) -> Iterator[Any]:
        """Go over every message and body."""
        for socket in self.sockets:
            for frame in socket.frames:
                if isinstance(frame, str):
                    yield json.loads(frame)
                else:
                    yield msgspec.msgpack.decode(frame)
        yield from self.bodies

    async def be_there(self) -> None:
        """Connect, follow the rooms and be nosy; connect again and again, until cancelled."""
        async with web(self._server, self.name, self.role) as http:
            while True:
                coding = self.rng.choice([MSGPACK, JSON])
                room_id = self.rng.choice(self.rooms)
                token = self.tokens.pop(room_id, None)
                if token is None or self.rng.random() < 0.4:
                    how: Message = {"token": self._server.token(self.name, role=self.role)}
                else:
                    how = {"rejoin_token": token}
                how |= self.rng.choice([{}, {"last_seq": self.rng.randrange(400)}])
                await self._session(http, coding, room_id, how)

    async def _session(
        self, http: httpx.AsyncClient, coding: str, room_id: str, how: Message
    ) -> None:
        async with connected(self._server.ws_url, coding=coding) as socket:
            self.sockets.append(socket)
            try:
                await socket.ask("authenticate", room_id=room_id, **how)
            except (Refusal, Closed):
                return
            async with trio.open_nursery() as nursery:
                if self.name in (*PLAYERS, "host"):
                    nursery.start_soon(self._play, socket)
                for other in self.rooms:
                    await self._ask(socket, "subscribe", channel=f"room:{other}")
                until = trio.current_time() + self.rng.uniform(1, 4)
                while trio.current_time() < until:
                    await self._pry(socket, self.rng.choice(self.rooms))
                    await self._look_up(http, self.rng.choice(self.rooms))
                    await trio.sleep(self.rng.uniform(0, 0.05))
                nursery.cancel_scope.cancel()

    async def _ask(self, socket: Outside, type: str, **fields: Any) -> None:
        try:
            reply = await socket.ask(type, **fields)
        except Refusal:
            return
        token = reply.get("rejoin_token") or reply.get("me", {}).get("rejoin_token")
        if token and "room_id" in fields:
            self.tokens[fields["room_id"]] = token

    async def _play(self, socket: Outside) -> None:
        """Decide whenever it is one's turn, by what a fresh look at the room says."""
        while True:
            for room_id in self.rooms:
                try:
                    room = await socket.ask("hydrate", room_id=room_id)
                except Refusal:
                    continue
                legal = room["me"].get("legal_actions")
                if legal:
                    await self._ask(socket, "action", room_id=room_id, **self._decision(legal))
                mine = [seat for seat in room["seats"] if seat["user_id"] == self.name]
                if room["hand"] is None and mine and mine[0]["chips"] < 20_000:
                    await self._ask(socket, "top_up", room_id=room_id, amount=50_000)
                if mine and mine[0]["status"] == "sitting_out":
                    await self._ask(socket, "sit_in", room_id=room_id)
            await trio.sleep(0.01)

    def _decision(self, legal: Message) -> Message:
        action = self.rng.choices(["FOLD", "CALL", "RAISE", "ALL_IN"], [40, 200, 30, 1])[0]
        if action == "CALL" and legal["can_check"]:
            return {"action": "CHECK"}
        if action == "RAISE" and legal["min_raise_to"] is not None:
            return {"action": "RAISE", "amount": legal["min_raise_to"]}
        return {"action": action}

    async def _pry(self, socket: Outside, room_id: str) -> None:
        """Ask for what one may have, and for what one may not."""
        match self.rng.randrange(8):
            case 0:
                await self._ask(socket, "hydrate", room_id=room_id)
            case 1 | 2:
                await self._ask(socket, "hydrate", room_id=room_id, role=self.rng.choice(ROLES))
            case 3:
                last_seq = self.rng.randrange(600)
                await self._ask(socket, "subscribe", channel=f"room:{room_id}", last_seq=last_seq)
            case 4:
                await self._ask(socket, "subscribe", channel=f"player-{self.rng.choice(PLAYERS)}")
            case 5:
                await self._ask(socket, "action", room_id=room_id, action="RAISE", amount=1)
            case 6:
                await self._ask(socket, "list_rooms")
            case _:
                await self._ask(socket, "subscribe", channel="staff-portal")

    async def _look_up(self, http: httpx.AsyncClient, room_id: str) -> None:
        room = f"/api/rooms/{room_id}"
        path = self.rng.choice(
            [
                f"{room}/hydrate",
                f"{room}/hydrate?role={self.rng.choice(ROLES)}",
                f"{room}/hydrate?userId={self.rng.choice(PLAYERS)}",
                room,
                f"{room}/membership",
                f"{room}/spectators",
                f"{room}/hands",
                f"{room}/hands/{self.rng.randrange(1, 15)}.phh",
                f"{room}/ledger.csv",
                "/api/rooms",
                "/api/me",
                "/api/me/ledger",
                "/api/staff/audit",
                "/api/config",
                "/readyz",
                "/metrics",
            ]
        )
        answer = await http.get(path)
        assert answer.status_code != 500, path
        if "json" in answer.headers["content-type"]:
            self.bodies.append(answer.json())
        else:
            self.texts.append(answer.text)


async def make_room(server: ServerProcess, *, host_plays: bool, variant: str) -> str:
    """Make a room with somebody in every role."""
    settings = {
        "variant": variant,
        "big_blind": 10,
        "max_buy_in": 100_000,
        "auto_start": True,
        "turn_seconds": 5,
    }
    async with connected(server.ws_url, token=server.token("host")) as host:
        made = await host.ask("create_room", settings=settings)
        room_id: str = made["room"]["id"]
        seats = [*PLAYERS, "host"] if host_plays else [*PLAYERS]
        for index, name in enumerate([*seats, "watcher", "approved", "pending"]):
            async with connected(server.ws_url, token=server.token(name)) as one:
                if name != "host":
                    await one.ask("join", room_id=room_id)
                if name not in ("host", "pending"):
                    await host.ask("approve", room_id=room_id, user_id=name)
                if name in seats:
                    await one.ask("seat", room_id=room_id, seat_index=index, buy_in=100_000)
                if name == "watcher":
                    await one.ask("spectate", room_id=room_id)
    return room_id


async def play(server: ServerProcess, people: list[Person], hands: int) -> None:
    """Have everybody there until so many hands have ended."""
    ended = "SELECT count(*) AS n FROM hands WHERE ended_at IS NOT NULL"
    wanted = rows(server, ended)[0]["n"] + hands
    async with trio.open_nursery() as nursery:
        for person in people:
            nursery.start_soon(person.be_there)
        while rows(server, ended)[0]["n"] < wanted:  # noqa: ASYNC110 - another process
            await trio.sleep(0.2)
        nursery.cancel_scope.cancel()


@pytest.mark.fail_after(240)
async def test_hole_cards_reach_their_owner_only(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path / "data", FAST)
    await server.start()
    try:
        async with web(server, "p0") as http:
            documents = [(await http.get(f"/{name}.json")).text for name in ("asyncapi", "openapi")]
        room_ids = [
            await make_room(server, host_plays=False, variant="nlhe"),
            await make_room(server, host_plays=True, variant="plo8"),
        ]
        people = [Person(server, name, seed) for seed, name in enumerate(PEOPLE)]
        for person in people:
            person.rooms = room_ids
        await play(server, people, HANDS)
        await server.kill()
        await server.start()
        await play(server, people, MORE_HANDS)
        async with web(server, "p0") as http:
            after = [(await http.get(f"/{name}.json")).text for name in ("asyncapi", "openapi")]
        ports = re.compile(r"127\.0\.0\.1:\d+")
        assert [ports.sub("", text) for text in after] == [ports.sub("", t) for t in documents]

        truth = Truth(server)
        count: Counter[str] = Counter()
        for person in people:
            inspector = Inspector(truth, person.name, count)
            for message in person.received():
                count["messages"] += 1
                inspector.inspect(message)
            for text in person.texts:
                inspector.inspect_text(text)
                count["texts"] += 1
        log = server.log()
        for line in log.splitlines():
            assert not CARD.search(ID.sub("", line)), line
        assert not any(deck[:8] in log for deck in truth.decks)
        assert not any("".join(cards) in ID.sub("", log) for cards in truth.holes.values())
    finally:
        await server.stop()
    print(dict(count), len(truth.decks), "hands")
    assert count["hands tabled"] > 50
    assert count["own cards"] > 50
    assert count["hand lines"] > 50
    assert count["histories"] > 10
    assert len(truth.tabled) < len(truth.holes), "somebody folded or mucked"


@pytest.mark.fail_after(120)
async def test_other_cards_give_bystanders_the_same_bytes_over_sockets() -> None:
    count = await over_sockets(len(VARIANTS), first_seed=1_000)
    assert all(count[variant] == 1 for variant in VARIANTS)
    assert count["compared"] > 100


@pytest.mark.parametrize("variant", VARIANTS)
def test_other_cards_give_bystanders_the_same_bytes(variant: str) -> None:
    count: Counter[str] = Counter()
    for seed in range(50_000, 50_030):
        compare_hand(seed, count, variant)
    assert count["showdowns"] > 5
    assert count["compared"] > 2_500


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_card_that_shows_too_early_is_noticed(
    variant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seat_states = Hand.seat_states

    def careless(hand: Hand) -> list[HandState]:
        return [
            replace(one, shown_cards=hand.hole_cards(0)) if one.seat_index == 0 else one
            for one in seat_states(hand)
        ]

    monkeypatch.setattr(Hand, "seat_states", careless)
    with pytest.raises(Leak, match="seed 3"):
        compare_hand(3, Counter(), variant)
