"""Bots that outlive the server: they play, and after each kill they come back and go on.

A bot knows what any good client knows: it gives each command an id, sends again what was not
answered, ignores nothing and invents nothing. What it is told goes to the `Witness`.
"""

from __future__ import annotations

import random
import uuid
from typing import Any

import trio

from bench.kill_socket import Dropped, Socket, opened
from bench.kill_witness import Sent, Witness
from bench.killing import ANSWER_S, TRANSIENT, Survivor
from bench.outside import Message

THINK_S = (0.02, 0.16)
CHORE_S = (1.0, 4.0)
"""Between a bot's doings beside playing: topping up, sitting out, leaving, coming back."""
HEARTBEAT_S = 10.0
BUY_IN = 10_000
LOW_STACK = 3_000
DECISIONS = frozenset({"action", "run_it"})
"""The commands that a hand waits for."""


class Bot(Survivor):
    """A user at a table.

    Args:
        user_id: who.
        token: their access token.
        coding: the subprotocol.
        rejoins: whether it comes back by rejoin token (else by access token).
        recovers: whether it names its `last_seq` as it comes back (else it is hydrated).
        seat_index: where it plays; None for a spectator.
        is_host: whether it also adjusts chips, pauses and resumes.
    """

    def __init__(
        self,
        user_id: str,
        token: str,
        *,
        coding: str,
        rejoins: bool,
        recovers: bool,
        seat_index: int | None,
        is_host: bool,
        witness: Witness,
        rng: random.Random,
    ) -> None:
        super().__init__(coding, rng)
        self.user_id = user_id
        self.room_id = ""
        self.seq: int | None = None
        self._token = token
        self._rejoins = rejoins
        self._recovers = recovers
        self._seat_index = seat_index
        self._is_host = is_host
        self._witness = witness
        self._rejoin_token: str | None = None
        self._hold_until = 0
        self._hand_id = ""
        self._preflop = False
        self._legal: Message | None = None
        self._act_at = 0.0
        self._chore_at = trio.current_time() + rng.uniform(*CHORE_S)
        self._seated = False
        self._sitting_out = False
        self._paused = False
        self._chips = 0
        self._chores = True

    async def settle(self, url: str, room_id: str) -> None:
        """Enter a room that lets everybody in; the bot's life begins here, before any kill."""
        self.room_id = room_id
        async with opened(url, self._coding) as socket:
            await self._ask(socket, {"type": "authenticate", "token": self._token})
            if not self._is_host:
                await self._ask(socket, {"type": "join", "room_id": room_id})
            fields = {"type": "spectate"} if self._seat_index is None else self._seat()
            command = self._with_id(**fields)
            reply = await self._ask(socket, command)
            self._rejoin_token = reply["rejoin_token"]
            self._witness.acknowledged(self._sent(command, reply["seq"]))

    def quiet(self) -> None:
        """Only play from now on, and let a paused game go on."""
        self._chores = False
        self._chore_at = 0.0

    # A connection

    def _dropped(self, dropped: Dropped) -> None:
        if dropped.code == 4501:
            # Killed again and again, a server can be away for longer than a replaced token is good
            # for; the access token is for that.
            self._witness.locked_out += 1
            self._rejoin_token = None

    async def _connected(self, socket: Socket) -> None:
        self._legal = None
        await self._authenticate(socket)
        self.caught_up.set()
        for command in list(self.open_commands.values()):
            self._witness.resent += 1
            await self._post(socket, command)
        beat_at = trio.current_time() + HEARTBEAT_S
        while True:
            with trio.move_on_at(min(beat_at, self._next_at())):
                for message in await socket.receive():
                    self._take(message)
            now = trio.current_time()
            if now >= beat_at:
                beat_at = now + HEARTBEAT_S
                await self._post(socket, {"type": "heartbeat"})
            legal = self._due()
            if legal is not None and now >= self._act_at:
                self._legal = None
                await self._command(socket, **self._choose(legal))
            elif now >= self._chore_at:
                await self._do_chore(socket)

    async def _authenticate(self, socket: Socket) -> None:
        message: Message = {"type": "authenticate", "room_id": self.room_id}
        if self._rejoins and self._rejoin_token is not None:
            message["rejoin_token"] = self._rejoin_token
        else:
            message["token"] = self._token
        if self._recovers and self.seq is not None:
            message["last_seq"] = self.seq
        try:
            reply, later = await self._reply_to(socket, await self._post(socket, message))
        except trio.TooSlowError:
            self._witness.wrong(f"{self.user_id} got no answer to authenticate in {ANSWER_S} s")
            raise Dropped from None
        if reply["type"] != "authenticated":
            if reply["code"] in TRANSIENT:
                raise Dropped
            if reply["code"] == "unauthenticated":
                raise Dropped(4501)
            self._witness.wrong(f"{self.user_id} cannot come back: {reply}")
            raise Dropped
        self._welcomed(reply)
        for received in later:
            self._take(received)

    def _welcomed(self, reply: Message) -> None:
        self._rejoin_token = reply.get("rejoin_token", self._rejoin_token)
        if reply.get("recovered"):
            for event in reply["missed"]:
                self._event(event)
        elif "room" in reply:
            self._hydrated(reply["room"])
        else:
            self._witness.wrong(f"{self.user_id} was authenticated without room: {reply}")

    async def _ask(self, socket: Socket, message: Message) -> Message:
        reply, later = await self._reply_to(socket, await self._post(socket, message))
        if reply["type"] == "error":
            raise RuntimeError(f"{message['type']} was refused: {reply}")
        for received in later:
            self._take(received)
        return reply

    async def _command(self, socket: Socket, **fields: Any) -> None:
        command = self._with_id(**fields)
        self.open_commands[command["command_id"]] = command
        await self._post(socket, command)

    def _with_id(self, **fields: Any) -> Message:
        command_id = uuid.UUID(int=self._rng.getrandbits(128), version=4)
        return {"room_id": self.room_id, "command_id": str(command_id), **fields}

    def _sent(self, command: Message, seq: int | None) -> Sent:
        return Sent(
            command["command_id"], self.user_id, self.room_id, command["type"], seq, command
        )

    # What comes in

    def _take(self, message: Message) -> None:
        if "re" in message:
            self._reply(message)
        elif message.get("channel", "").startswith("room:"):
            self._event(message)

    def _reply(self, reply: Message) -> None:
        command = self._asked.pop(reply["re"], None)
        if command is None or "command_id" not in command:
            return
        if reply["type"] == "error" and reply["code"] in TRANSIENT:
            # Comes again with the next connection, as from a client that had enough.
            if reply["code"] == "internal":
                self._witness.wrong(f"{command} was answered {reply}")
            raise Dropped
        del self.open_commands[command["command_id"]]
        seq = reply.get("seq") if reply["type"] == "ok" else None
        sent = self._sent(command, seq)
        if seq is None:
            self._witness.turned_down(sent, reply["code"])
        else:
            self._witness.acknowledged(sent)
            self._rejoin_token = reply.get("rejoin_token", self._rejoin_token)
            if command["type"] in DECISIONS:
                self._hold_until = seq

    def _hydrated(self, room: Message) -> None:
        if self.seq is not None and room["seq"] < self.seq:
            self._witness.wrong(f"{self.user_id} saw {self.seq} and is hydrated at {room['seq']}")
        self.seq = room["seq"]
        self._seated = False
        self._paused = room["room"]["status"] == "paused"
        for seat in room["seats"]:
            if seat["user_id"] == self.user_id:
                self._seated = True
                self._sitting_out = seat["status"] == "sitting_out"
                self._chips = seat["chips"]
        hand, me, timer = room["hand"], room["me"], room["timer"]
        self._hand_id = hand["id"] if hand else ""
        self._preflop = hand is not None and hand["phase"] == "preflop"
        if me.get("hole_cards"):
            self._witness.dealt(self.user_id, self._hand_id, me["hole_cards"])
        if timer and self._seated and timer["actor_seat"] == me.get("seat_index"):
            self._turn(me["legal_actions"])
        run_it = (hand and hand["run_it"]) or {"seats": [], "votes": []}
        said = {answer["seat_index"] for answer in run_it["votes"]}
        if self._seated and self._seat_index in {*run_it["seats"]} - said:
            self._turn({"times": run_it["times"]})

    def _event(self, event: Message) -> None:
        kind, seq = event["type"], event["seq"]
        if event.get("private"):
            if kind == "cards_dealt":
                if self._seat_index is None:
                    self._witness.wrong(f"spectator {self.user_id} was told {event}")
                self._witness.dealt(self.user_id, event["hand_id"], event["hole_cards"])
            return
        self._witness.public(self.user_id, self.room_id, event)
        if self.seq is not None and seq != self.seq + 1:
            self._witness.wrong(f"{self.user_id} in {self.room_id}: {seq} follows {self.seq}")
        self.seq = seq
        mine = event.get("user_id") == self.user_id
        match kind:
            case "hand_started":
                self._preflop = True
            case "street_advanced":
                self._preflop = False
            case "turn_started" if mine:
                self._turn(event["legal"])
            case "run_it_offered" if self._seated and self._seat_index in event["seats"]:
                self._turn({"times": event["times"]})
            case "run_it_voted" if mine:
                self._legal = None
            case "run_it_decided":
                self._legal = None
            case "player_action" if mine:
                self._legal = None
                self._chips = event["chips"]
            case "hand_complete":
                self._legal = None
                for stack in event["stacks"]:
                    if stack["seat_index"] == self._seat_index and self._seated:
                        self._chips = stack["chips"]
            case "player_seated" if mine:
                self._seated, self._sitting_out = True, False
                self._chips = event["chips"]
            case "player_left_seat" | "seat_freed" if mine:
                self._seated = False
            case "player_sat_out" if mine:
                self._sitting_out = True
            case "player_sat_in" if mine:
                self._sitting_out = False
            case "chips_added" | "chips_adjusted" if mine:
                self._chips = event["chips"]
            case "game_paused":
                self._paused = True
            case "game_resumed":
                self._paused = False

    # What it does

    def _turn(self, legal: Message) -> None:
        """Decide soon: what is legal at the bot's turn, or how many `times` it may say."""
        self._legal = legal
        self._act_at = trio.current_time() + self._rng.uniform(*THINK_S)

    def _due(self) -> Message | None:
        """Return what the bot may decide now, all that it did being answered and told."""
        if (self.seq or 0) < self._hold_until:
            return None
        if any(command["type"] in DECISIONS for command in self.open_commands.values()):
            return None
        return self._legal

    def _next_at(self) -> float:
        return self._chore_at if self._due() is None else min(self._chore_at, self._act_at)

    def _choose(self, legal: Message) -> Message:
        if "times" in legal:
            # Twice often enough that it comes about.
            return {"type": "run_it", "times": self._rng.choice((1, 2, 2, 2, legal["times"]))}
        return {"type": "action", **self._choose_action(legal)}

    def _choose_action(self, legal: Message) -> Message:
        lot = self._rng.random()
        low, high = legal["min_raise_to"], legal["max_raise_to"]
        if lot < 0.15 and low is not None:
            amount = high if lot < 0.01 else min(high, low * self._rng.choice((1, 1, 2)))
            is_raise = self._preflop or legal["call_amount"] is not None
            return {"action": "RAISE" if is_raise else "BET", "amount": amount}
        if legal["can_check"]:
            return {"action": "CHECK"}
        if lot < 0.65 and legal["call_amount"] is not None:
            return {"action": "CALL"}
        return {"action": "FOLD"}

    async def _do_chore(self, socket: Socket) -> None:
        self._chore_at = trio.current_time() + self._rng.uniform(*CHORE_S)
        busy = any(c["type"] not in DECISIONS for c in self.open_commands.values())
        if self._seat_index is None or busy:
            return
        lot = self._rng.random()
        if self._paused:
            if self._is_host:
                await self._command(socket, type="resume")
        elif not self._seated:
            await self._command(socket, **self._seat())
        elif self._chips < LOW_STACK:
            await self._command(socket, type="top_up", amount=BUY_IN - self._chips)
        elif self._sitting_out:
            await self._command(socket, type="sit_in")
        elif not self._chores:
            return
        elif lot < 0.15:
            await self._command(socket, type="sit_out")
        elif lot < 0.30:
            await self._command(socket, type="leave_seat")
        elif self._is_host and lot < 0.50:
            delta = self._rng.choice((-7, 11))
            await self._command(
                socket, type="adjust_chips", user_id=self.user_id, delta=delta, reason="bench"
            )
        elif self._is_host and lot < 0.55:
            await self._command(socket, type="pause")

    def _seat(self) -> Message:
        return {"type": "seat", "seat_index": self._seat_index, "buy_in": BUY_IN}
