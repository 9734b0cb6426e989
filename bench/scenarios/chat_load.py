"""Players and staff who talk: a socket for each player, a few of staff, who all hear everything.

A message has arrived when its event has been read by the player, or by every socket of staff, and
is timed until then; of the kind `ANSWERED` it is timed until its writer has the `ok`.

Closed loop: so many sessions talk to and fro, each message sent when the one before it has arrived,
and, with receipts, when the server has noted that it was read. Open loop: messages are due at a
constant rate, from both sides in turn, whatever the server does, and are timed from then.
"""

from __future__ import annotations

import random
import time
import uuid
from collections import deque
from collections.abc import Sequence

import msgspec
from msgspec import Raw, Struct

from bench.harness.loop import Loop
from bench.light_socket import LightSocket, framed
from bench.scenarios.clients import ask_each, beginning, connect, count_refusal

ANSWERED = "answered"
RECEIPTS, TO_ABSENT = "receipts", "to_absent"
TEXT = "Could somebody have a look at table seven, please? "
_ANY_ID = str(uuid.UUID(int=0))
_ID = b"\xa2id\xd9\x24"
_ID_SKIP, _ID_END = len(_ID), len(_ID) + len(_ANY_ID)
_TO_PLAYER = beginning("staff-message-received")
_TO_STAFF = beginning("chat-message-received")
_OK = beginning("ok")
_ERROR = beginning("error")
# Each kind of command has an id of its own (heartbeats have 1), and so its replies say which kind
# they are of.
_SEND, _RECEIVED, _READ = 2, 3, 4
_TO_SEND, _TO_RECEIVED, _TO_READ = b"\xa2re\x02", b"\xa2re\x03", b"\xa2re\x04"


class ChatOptions(Struct):
    """Tokens of the players, and of as many sockets of staff.

    `in_flight` sessions talk at the same time, or (`rate` > 0) so many messages a second are due.
    With `receipts` each message that arrives is answered by `chat_received` and `chat_read`. The
    players of `absent` have opened sessions and hung up; at a rate, `absent_rate` of its messages
    a second are for them.
    """

    url: str
    players: list[str]
    staff: list[str]
    in_flight: int
    rate: float
    receipts: bool
    absent: list[str] = []
    absent_rate: float = 0.0


class _Template:
    """The frame of a command in which one id changes."""

    def __init__(self, command: bytes) -> None:
        self._before, self._after = command.split(_ANY_ID.encode())

    def about(self, message_id: bytes) -> bytes:
        return self._before + message_id + self._after


class _Session:
    """A conversation; `player` is None where nobody is there to read what staff say."""

    __slots__ = ("answer", "id", "player", "said", "staff")

    def __init__(
        self, session_id: str, player: LightSocket | None, staff: LightSocket, answer: _Template
    ) -> None:
        self.id = session_id.encode()
        self.player = player
        self.staff = staff
        self.answer = answer
        self.said: _Message | None = None


class _Message:
    """A message under way, until all who wait for it and its writer's `ok` are done with it."""

    __slots__ = ("answered", "awaited", "by_staff", "due", "id", "session")

    def __init__(
        self, message_id: bytes, session: _Session, due: float, awaited: int, *, by_staff: bool
    ) -> None:
        self.id = message_id
        self.session = session
        self.due = due
        self.awaited = awaited
        self.by_staff = by_staff
        self.answered = False


class _Ear:
    """A socket, called with what it received."""

    __slots__ = ("_by_staff", "_load", "_sent", "_socket", "_told")

    def __init__(self, load: ChatLoad, socket: LightSocket, *, of_staff: bool) -> None:
        self._load = load
        self._sent = load.sent
        self._socket = socket
        self._told = _TO_STAFF if of_staff else _TO_PLAYER
        # All sockets of staff are told what staff say, too.
        self._by_staff = not of_staff

    def __call__(self, payloads: list[bytes]) -> None:
        for payload in payloads:
            if payload.startswith(self._told, 1):
                at = payload.find(_ID)
                message = self._sent.get(payload[at + _ID_SKIP : at + _ID_END])
                if message is not None and message.by_staff is self._by_staff:
                    self._load.heard(message, self._socket)
            elif payload.startswith(_OK, 1):
                self._load.replied(payload)
            elif payload.startswith(_ERROR, 1):
                self._load.refused(payload)


class ChatLoad:
    """The load of `chat`, and of those who want people to talk meanwhile.

    Attributes:
        sent: the messages under way, by their ids.
    """

    def __init__(self, options: ChatOptions, loop: Loop, seed: int) -> None:
        self.counts = {RECEIPTS: 0, TO_ABSENT: 0}
        self.sent: dict[bytes, _Message] = {}
        self._options = options
        self._receipts = options.receipts
        self._loop = loop
        self._rng = random.Random(seed)
        self._record = loop.latencies_us.append
        self._record_answered = loop.kinds_us.setdefault(ANSWERED, []).append
        self._ask = _Template(
            framed("chat_send", id=_SEND, message_id=_ANY_ID, message_text=TEXT),
        )
        self._received = _Template(framed("chat_received", id=_RECEIVED, message_id=_ANY_ID))
        self._read = _Template(framed("chat_read", id=_READ, message_id=_ANY_ID))
        self._staff: list[LightSocket] = []
        self._sessions: list[_Session] = []
        self._absent: list[_Session] = []
        self._by_id: dict[bytes, _Session] = {}
        self._silent: deque[_Session] = deque()
        self._confirming = 0
        self._number = 0
        self._next_due = 0.0
        self._to_and_fro = options.rate <= 0
        self._finishing = False

    def set_up(self) -> None:
        """Have every player open a session, and staff answer it, so that all are in work."""
        url, options = self._options.url, self._options
        staff = self._staff = connect(url, options.staff)
        opened = self._opened([*options.players, *options.absent])
        self._sessions = opened[: len(options.players)]
        self._by_id = {session.id: session for session in self._sessions}
        self._absent = opened[len(options.players) :]
        for session in self._absent:
            assert session.player is not None
            session.player.close()
            session.player = None
        for first in range(0, len(opened), len(staff)):
            # One command a socket: whoever waits for a reply drops what comes before it.
            ask_each("chat_send", [_first_answer(each) for each in opened[first:][: len(staff)]])
        ask_each("subscribe", [(one, {"channel": "staff-portal"}) for one in staff])
        players = [session.player for session in self._sessions if session.player is not None]
        for sockets, of_staff in ((players, False), (staff, True)):
            for socket in sockets:
                self._loop.watch(socket, _Ear(self, socket, of_staff=of_staff))
            self._loop.keep_alive(sockets, self._rng)

    def _opened(self, tokens: Sequence[str]) -> list[_Session]:
        players = connect(self._options.url, tokens)
        first = [(one, {"message_id": str(uuid.uuid4()), "message_text": TEXT}) for one in players]
        sessions = []
        answers = ask_each("chat_send", first)
        for place, (player, answer) in enumerate(zip(players, answers, strict=True)):
            session_id = answer["session"]["id"]
            frame = framed(
                "chat_send",
                id=_SEND,
                message_id=_ANY_ID,
                message_text=TEXT,
                session_id=session_id,
            )
            staff = self._staff[place % len(self._staff)]
            sessions.append(_Session(session_id, player, staff, _Template(frame)))
        return sessions

    def begin(self, now: float) -> None:
        """Say the first messages."""
        if not self._to_and_fro:
            self._next_due = now
            self._loop.at(now, self._say_due)
            return
        sessions = self._sessions.copy()
        self._rng.shuffle(sessions)
        self._silent.extend(sessions)
        for _ in range(min(self._options.in_flight, len(sessions))):
            self._say(self._silent.popleft(), time.perf_counter(), by_staff=False)

    def finish(self) -> None:
        """Say nothing any more."""
        self._finishing = True

    def undone(self) -> int:
        """Return how many messages, and confirmations of messages, are under way."""
        return len(self.sent) + self._confirming

    def known(self) -> None:
        """Return nothing."""

    # What comes back

    def heard(self, message: _Message, socket: LightSocket) -> None:
        """Note that a socket of the other side has a message."""
        session = message.session
        if self._receipts and socket is (session.player if message.by_staff else session.staff):
            # As the oldest clients do it: by the message's id alone.
            socket.send_frames(self._received.about(message.id))
            socket.send_frames(self._read.about(message.id))
            self._confirming += 2
            self.counts[RECEIPTS] += 2
        message.awaited -= 1
        if message.awaited:
            return
        now = time.perf_counter()
        self._record(int((now - message.due) * 1e6))
        if message.answered:
            del self.sent[message.id]
        if self._to_and_fro and not self._receipts:
            self._go_on(message, now)

    def replied(self, payload: bytes) -> None:
        """Take the `ok` of a command."""
        if _TO_SEND in payload:
            # The session comes first, then the message.
            at = payload.rfind(_ID)
            message = self.sent.get(payload[at + _ID_SKIP : at + _ID_END])
            if message is None:
                return
            self._record_answered(int((time.perf_counter() - message.due) * 1e6))
            message.answered = True
            if not message.awaited:
                del self.sent[message.id]
        elif _TO_RECEIVED in payload:
            self._confirming -= 1
        elif _TO_READ in payload:
            self._confirming -= 1
            if self._to_and_fro:
                at = payload.find(_ID)
                said = self._by_id[payload[at + _ID_SKIP : at + _ID_END]].said
                assert said is not None
                self._go_on(said, time.perf_counter())

    def refused(self, payload: bytes) -> None:
        """Count a refusal, which leaves its message undone."""
        self._loop.errors += 1
        count_refusal(self.counts, payload)

    # What is said

    def _go_on(self, message: _Message, now: float) -> None:
        """Have a message followed by its answer, and an answer by what another session has to say,
        so that all of them are in use."""
        if self._finishing:
            return
        if not message.by_staff:
            self._say(message.session, now, by_staff=True)
            return
        self._silent.append(message.session)
        self._say(self._silent.popleft(), now, by_staff=False)

    def _say_due(self) -> None:
        """Say what is due by now."""
        if self._finishing:
            return
        now, options = time.perf_counter(), self._options
        absent_each = int(options.rate / options.absent_rate) if options.absent_rate else 0
        while self._next_due <= now:
            if absent_each and self._number % absent_each == 0:
                self.counts[TO_ABSENT] += 1
                self._say(self._rng.choice(self._absent), self._next_due, by_staff=True)
            else:
                session = self._rng.choice(self._sessions)
                self._say(session, self._next_due, by_staff=self._number % 2 == 0)
            self._number += 1
            self._next_due += 1 / options.rate
        self._loop.at(self._next_due, self._say_due)

    def _say(self, session: _Session, due: float, *, by_staff: bool) -> None:
        message_id = self._new_id()
        if by_staff:
            socket, template = session.staff, session.answer
            awaited = 0 if session.player is None else 1
        else:
            assert session.player is not None
            socket, template, awaited = session.player, self._ask, len(self._staff)
        message = _Message(message_id, session, due, awaited, by_staff=by_staff)
        self.sent[message_id] = session.said = message
        socket.send_frames(template.about(message_id))

    def _new_id(self) -> bytes:
        """Make a UUID of version 4, quicker than the library does."""
        drawn = b"%032x" % self._rng.getrandbits(128)
        return b"%b-%b-4%b-a%b-%b" % (
            drawn[:8],
            drawn[8:12],
            drawn[12:15],
            drawn[15:18],
            drawn[18:30],
        )


def _first_answer(session: _Session) -> tuple[LightSocket, dict[str, str]]:
    return session.staff, {
        "message_id": str(uuid.uuid4()),
        "message_text": TEXT,
        "session_id": session.id.decode(),
    }


def make(options: Raw, loop: Loop, seed: int) -> ChatLoad:
    """Make the load in a generator."""
    return ChatLoad(msgspec.json.decode(options, type=ChatOptions), loop, seed)
