"""Players and staff who outlive the server: they talk, and after each kill come back and go on.

A bot gives each command an id, sends again what was not answered, and finds out by history or inbox
what it missed. What it is told goes to the `ChatWitness`.
"""

from __future__ import annotations

import random
import uuid
import zlib
from abc import abstractmethod
from collections import deque
from typing import Any

import trio

from bench.chat_http import HttpSender
from bench.chat_witness import ChatWitness, Confirmed, Key, Side, session_of
from bench.kill_socket import Dropped, Socket
from bench.killing import ANSWER_S, TRANSIENT, Survivor
from bench.outside import Message

THINK_S = (0.3, 3.0)
"""Between the things that a player says."""
HEARTBEAT_S = 10.0
MAX_OPEN = 24
"""Commands that a bot has under way at most."""
PAGE = 200
QUERIES = frozenset({"chat_history", "chat_inbox"})
KEPT_EVENTS = frozenset(
    {
        "new-chat-request",
        "chat-message-received",
        "chat-status-changed",
        "chat-assigned",
        "chat-read",
        "chat-received",
        "staff-message-received",
        "chat-status-updated",
        "player-confirmation",
    }
)
PASSING_EVENTS = frozenset({"chat-typing", "chat-online"})


class ChatBot(Survivor):
    """Somebody who talks.

    Attributes:
        known: the highest seq that the bot was told, of each session.
        here: the highest seq that it was told on this connection, of each session.
    """

    side: Side

    def __init__(
        self, user_id: str, token: str, coding: str, witness: ChatWitness, rng: random.Random
    ) -> None:
        super().__init__(coding, rng)
        self.user_id = user_id
        self.known: dict[str, int] = {}
        self.here: dict[str, int] = {}
        self._token = token
        self._witness = witness
        self._begun: dict[str, int] = {}
        self._before: dict[str, int] = {}
        self._todo: deque[Message] = deque()
        self._heard_of: set[Key] = set()
        self._talks = True

    @property
    def _knows_all(self) -> bool:
        """Whether a session that the bot has not heard of is new."""
        return self.side == "player" and self.caught_up.is_set()

    @property
    def busy(self) -> bool:
        """Whether there is something that the bot waits for or has yet to do."""
        return bool(self._todo or self.open_commands or self._asked)

    def quiet(self) -> None:
        """Only listen from now on; what was not begun is left."""
        self._talks = False
        self._todo.clear()

    async def _connected(self, socket: Socket) -> None:
        self.here, self._begun, self._before = {}, {}, self.known.copy()
        try:
            await self._authenticate(socket)
        except trio.TooSlowError:
            self._witness.wrong(f"{self.user_id} got no answer in {ANSWER_S} s")
            raise Dropped from None
        self.caught_up.set()
        for command in list(self.open_commands.values()):
            self._witness.resent += 1
            await self._post(socket, command)
        beat_at = trio.current_time() + HEARTBEAT_S
        while True:
            while self._todo and len(self._asked) < MAX_OPEN:
                await self._command(socket, self._todo.popleft())
            with trio.move_on_at(min(beat_at, self._speaks_at())):
                for message in await socket.receive():
                    self._take(message)
            now = trio.current_time()
            if now >= beat_at:
                beat_at = now + HEARTBEAT_S
                await self._post(socket, {"type": "heartbeat"})
            if now >= self._speaks_at():
                self._speak()

    async def _authenticate(self, socket: Socket) -> None:
        """Come in, and ask for what was missed."""
        for message in self._entering():
            reply, later = await self._reply_to(socket, await self._post(socket, message))
            if reply["type"] == "error":
                if reply["code"] not in TRANSIENT:
                    self._witness.wrong(f"{self.user_id} cannot come back: {reply}")
                raise Dropped
            self._answered(message, reply)
            for received in later:
                self._take(received)

    @abstractmethod
    def _entering(self) -> list[Message]:
        """Say what brings the bot up to date, one after another."""

    async def _command(self, socket: Socket, command: Message) -> None:
        if command["type"] not in QUERIES:
            self.open_commands[_id_of(command)] = command
        await self._post(socket, command)

    # What comes in

    def _take(self, message: Message) -> None:
        if "re" in message:
            self._reply(message)
        elif message["type"] in KEPT_EVENTS:
            self._event(message)
        elif message["type"] in PASSING_EVENTS and not message.get("private"):
            self._witness.wrong(f"{self.user_id} was told as if it were kept: {message}")

    def _reply(self, reply: Message) -> None:
        command = self._asked.pop(reply["re"], None)
        if command is None or command["type"] == "heartbeat":
            return
        kind = command["type"]
        if reply["type"] == "error" and reply["code"] in TRANSIENT:
            if reply["code"] == "internal":
                self._witness.wrong(f"{kind} was answered {reply}")
            # Comes again with the next connection, as from a client that had enough.
            raise Dropped
        self.open_commands.pop(_id_of(command), None)
        if reply["type"] == "ok":
            self._witness.acks += kind not in QUERIES
            self._answered(command, reply)
            return
        self._witness.refusals[f"{kind} {reply['code']}"] += 1
        if reply["code"] != "conflict":
            self._witness.wrong(f"{self.user_id}: {kind} was answered {reply}")
        if kind == "chat_send":
            self._witness.refused.append((self._player_of(command), command["message_id"]))

    def _answered(self, command: Message, reply: Message) -> None:
        if reply.get("session") is not None:
            session = reply["session"]
            self._witness.session(self.user_id, session)
            if command["type"] in QUERIES:
                self._hydrated(session)
            self._knows(session["id"], session["seq"])
        for session in reply.get("sessions", ()):
            self._witness.session(self.user_id, session)
            self._hydrated(session)
            self._knows(session["id"], session["seq"])
        for message in reply.get("messages", ()):
            self._witness.message(self.user_id, message)
            if message["sender"] != self.side and message["status"] != "read":
                self._hear(message)
        match command["type"]:
            case "chat_send":
                message = reply["message"]
                self._witness.message(self.user_id, message)
                key = (message["player_id"], message["id"])
                self._witness.confirmed.append(
                    Confirmed(key, self.user_id, message["session_id"], message["seq"])
                )
            case "chat_received":
                self._witness.got_to(self._marked(command, reply), "received")
            case "chat_read":
                key = self._marked(command, reply)
                self._witness.was_read(reply["session"]["id"], self.side, key)
            case _:
                pass

    def _marked(self, command: Message, reply: Message) -> Key:
        return reply["session"]["player_id"], command["message_id"]

    def _hydrated(self, session: Message) -> None:
        """Hold a session as it is in the database against what was told of it."""
        session_id, seq = session["id"], session["seq"]
        begun = self._begun.setdefault(session_id, seq + 1)
        if seq < (before := self._before.get(session_id, 0)):
            self._witness.wrong(f"{self.user_id} saw {before} of {session_id} and is now at {seq}")
        if begun > seq + 1:
            self._witness.wrong(f"{self.user_id}: {session_id} is at {seq}, events from {begun}")

    def _knows(self, session_id: str, seq: int) -> None:
        self.known[session_id] = max(seq, self.known.get(session_id, 0))

    def _event(self, event: Message) -> None:
        session_id, seq = session_of(event), event["seq"]
        self._witness.event(self.user_id, self.side, event)
        last = self.here.get(session_id)
        if last is None:
            hole = seq > self._begun.setdefault(session_id, 1 if self._knows_all else seq)
        else:
            hole = seq != last + 1
        if hole:
            self._witness.wrong(f"{self.user_id}: {seq} of {session_id} follows {last}: {event}")
        self.here[session_id] = seq
        self._knows(session_id, seq)
        message = event.get("message")
        if message is not None:
            self._witness.message(self.user_id, message)
            if message["sender"] != self.side:
                self._hear(message)
        if "session" in event:
            self._witness.session(self.user_id, event["session"])
        self._told_of(event)

    def _told_of(self, event: Message) -> None:
        """Note what an event says of messages that were told before."""
        if event["type"] not in ("chat-read", "chat-received"):
            return
        keys = self._witness.messages_of[event["session_id"]]
        key = next((key for key in keys if key[1] == event["message_id"]), None)
        if key is None:
            self._witness.wrong(f"{self.user_id} was never told what {event} is about")
        elif event["type"] == "chat-received":
            self._witness.got_to(key, "received")
        else:
            self._witness.was_read(event["session_id"], event["reader"], key)

    # What it does

    def _speaks_at(self) -> float:
        """Say when the bot says something unasked, on trio's clock."""
        return trio.current_time() + HEARTBEAT_S

    def _speak(self) -> None:
        """Say something unasked."""

    @abstractmethod
    def _player_of(self, command: Message) -> str:
        """Say in whose conversation a message is."""

    def _hear(self, message: Message) -> None:
        # What is done about a message outlives a connection: it is done once.
        key = (message["player_id"], message["id"])
        if key not in self._heard_of:
            self._heard_of.add(key)
            self._heard(message)

    @abstractmethod
    def _heard(self, message: Message) -> None:
        """Do something about a message of the other side."""

    def _do(self, type: str, **fields: Any) -> None:
        self._todo.append({"type": type, **fields})

    def _confirm(self, message: Message, *, reads: bool) -> None:
        """Say that a message has come, and perhaps that it was read."""
        fields = {"message_id": message["id"]}
        if self._rng.random() < 0.5:
            fields["session_id"] = message["session_id"]
        key = (message["player_id"], message["id"])
        self._witness.asked_received.add(key)
        self._do("chat_received", command_id=self._new_id(), **fields)
        if reads:
            place = (message["session_id"], self.side)
            asked = self._witness.asked_to_read
            asked[place] = max(asked[place], message["seq"])
            self._do("chat_read", command_id=self._new_id(), **fields)

    def _new_id(self) -> str:
        return str(uuid.UUID(int=self._rng.getrandbits(128), version=4))


class PlayerBot(ChatBot):
    """A player.

    Args:
        speaks: off for a second device of theirs, which only listens.
        http: makes what they say a request; sent again it goes over the socket.
    """

    side = "player"

    def __init__(self, *args: Any, speaks: bool = True, http: HttpSender | None = None) -> None:
        super().__init__(*args)
        self._speaks = speaks
        self._http = http
        self._next_at = trio.current_time() + self._rng.uniform(*THINK_S)

    def _entering(self) -> list[Message]:
        return [
            {"type": "authenticate", "token": self._token},
            {"type": "chat_inbox", "limit": PAGE},
            {"type": "chat_history", "limit": PAGE},
        ]

    def _player_of(self, command: Message) -> str:
        return self.user_id

    async def _command(self, socket: Socket, command: Message) -> None:
        if self._http is None or command["type"] != "chat_send":
            await super()._command(socket, command)
            return
        self.open_commands[_id_of(command)] = command
        self._next_id += 1
        self._asked[self._next_id] = command
        reply = await self._http.send(self.user_id, self._token, command)
        self._reply({**reply, "re": self._next_id})

    def _speaks_at(self) -> float:
        return self._next_at

    def _speak(self) -> None:
        self._next_at = trio.current_time() + self._rng.uniform(*THINK_S)
        sending = any(c["type"] == "chat_send" for c in (*self.open_commands.values(), *self._todo))
        if not self._speaks or not self._talks or sending:
            return
        if self._rng.random() < 0.2:
            self._do("chat_typing", command_id=self._new_id())
        message_id = self._new_id()
        fields: Message = {"urgency": "high"} if self._rng.random() < 0.1 else {}
        if self.known and self._rng.random() < 0.2:
            fields["session_id"] = self._rng.choice(list(self.known))
        self._do("chat_send", message_id=message_id, message_text=f"I, {message_id}", **fields)

    def _heard(self, message: Message) -> None:
        self._confirm(message, reads=self._rng.random() < 0.8)


class StaffBot(ChatBot):
    """One of `of` staff, number `number`, who sees to those sessions that fall to them."""

    side = "staff"

    def __init__(self, *args: Any, number: int, of: int) -> None:
        super().__init__(*args)
        self._number = number
        self._of = of
        self._players: dict[str, str] = {}

    def _entering(self) -> list[Message]:
        return [
            {"type": "authenticate", "token": self._token},
            {"type": "subscribe", "channel": "staff-portal"},
            {"type": "chat_inbox", "limit": PAGE},
        ]

    def _player_of(self, command: Message) -> str:
        return self._players[command["session_id"]]

    def _answered(self, command: Message, reply: Message) -> None:
        super()._answered(command, reply)
        for session in reply.get("sessions", ()):
            if session["unread_by_staff"] and self._sees_to(session["id"]):
                self._do("chat_history", session_id=session["id"])

    def _sees_to(self, session_id: str) -> bool:
        return zlib.crc32(session_id.encode()) % self._of == self._number

    def _heard(self, message: Message) -> None:
        session_id = message["session_id"]
        self._players[session_id] = message["player_id"]
        # Now and then somebody else is faster, and two answer at once.
        if not self._sees_to(session_id) and self._rng.random() > 0.03:
            return
        lot = self._rng.random()
        self._confirm(message, reads=lot < 0.7)
        if not self._talks:
            return
        if lot < 0.6:
            self._answer(session_id)
        elif lot < 0.75:
            self._set(session_id, status="resolved")
            if lot < 0.65:
                self._set(session_id, status="in_progress")
            elif lot < 0.68:
                self._answer(session_id)
        elif lot < 0.8:
            self._do("chat_assign", session_id=session_id, command_id=self._new_id())
        elif lot < 0.85:
            self._set(session_id, urgency=self._rng.choice(("low", "normal", "high")))
        elif lot < 0.9:
            self._do("chat_typing", session_id=session_id, command_id=self._new_id())

    def _answer(self, session_id: str) -> None:
        message_id = self._new_id()
        self._do(
            "chat_send",
            session_id=session_id,
            message_id=message_id,
            message_text=f"We, {message_id}",
        )

    def _set(self, session_id: str, **fields: str) -> None:
        self._do("chat_status", session_id=session_id, command_id=self._new_id(), **fields)


def _id_of(command: Message) -> str:
    """Return the id that makes a command happen once."""
    return str(command.get("command_id") or command.get("message_id"))
