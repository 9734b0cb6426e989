"""A process in which many players and a few staff talk; started by `bench.chat_generator`.

Reads a `Setup` as JSON from its standard input and writes "ready" once every session is open. Then
it reads one `Phase` after another and writes what came of each, as `Said`.

In a phase with a rate, messages are sent when they are due, whatever became of those before, and
times count from when each was due. Without a rate a number of sessions talk to and fro, each
message sent when the one before it has reached the other side (and there, with receipts, the server
has taken note of its being read).
"""

from __future__ import annotations

import random
import selectors
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec
from hdrh.histogram import HdrHistogram
from msgspec import Struct

from bench.light_socket import LightSocket

DRAIN_S = 20.0
SPIN_NS = 1_500_000
"""A selector sleeps by the millisecond; what is left until a message is due is waited for awake."""
TEXT = "Could somebody have a look at table seven, please? "
RECEIVED_AFTER = {"chat-message-received", "staff-message-received", "new-chat-request"}
_ns = time.perf_counter_ns


class Setup(Struct):
    """Who talks: tokens of the players and of staff. The last `absent` players hang up."""

    url: str
    players: list[str]
    staff: list[str]
    absent: int
    seed: int


class Phase(Struct):
    """How they talk.

    Attributes:
        seconds: for how long.
        rate: messages a second; 0: as fast as it goes.
        at_once: without a rate, how many sessions talk.
        receipts: whether each message is answered by `chat_received` and `chat_read`.
        absent_rate: messages a second of staff, among the others, to players who are not there.
    """

    seconds: float
    rate: float
    at_once: int
    receipts: bool
    absent_rate: float


class Said(Struct):
    """What came of a phase; histograms are HdrHistogram's own encoding, in microseconds.

    Attributes:
        refusals: how often what was refused, by the error's code.
        heard: until the other side had it: the player, or the last socket of staff.
        answered: until its writer had the `ok`.
        late: how much later than due messages were sent, by this process's own fault.
        unheard: messages without their event or `ok` when all was over.
    """

    messages: int
    receipts: int
    to_absent: int
    seconds: float
    refusals: dict[str, int]
    unheard: int
    cpu_share: float
    heard: str
    answered: str
    late: str


class _Message(Struct):
    """Of a message in an event or a reply, as much as is needed."""

    id: str = ""
    sender: str = ""
    session_id: str = ""


class _Incoming(Struct):
    type: str
    re: int | None = None
    code: str = ""
    message: _Message | str | None = None


_decode = msgspec.msgpack.Decoder(_Incoming).decode


class _Sent:
    """A message under way: since when, and how many of the other side's sockets want it yet."""

    __slots__ = ("awaited", "since", "then")

    def __init__(self, since: int, awaited: int, then: Callable[[], None] | None) -> None:
        self.since = since
        self.awaited = awaited
        self.then = then


class _Person:
    """A socket: a player's, or one of staff. `place` is the player's or the staff's number."""

    __slots__ = ("asked", "is_staff", "place", "reads", "socket")

    def __init__(self, socket: LightSocket, place: int, *, is_staff: bool) -> None:
        self.socket = socket
        self.place = place
        self.is_staff = is_staff
        # By the id of a command: since when a message is under way, what follows on its being read.
        self.asked: dict[int, int] = {}
        self.reads: dict[int, Callable[[], None] | None] = {}


class _Session(Struct):
    id: str
    player: _Person | None
    place: int


def _histogram() -> HdrHistogram:
    return HdrHistogram(1, 60_000_000, 3)


class Talk:
    """All sockets of a generator."""

    def __init__(self, setup: Setup) -> None:
        self._rng = random.Random(setup.seed)
        self._selector = selectors.DefaultSelector()
        self._sent: dict[str, _Sent] = {}
        self._phase = Phase(0, 0, 0, False, 0)
        self._clear()
        opened = [self._open(setup.url, n, token) for n, token in enumerate(setup.players)]
        self._staff = [self._of_staff(setup.url, n, t) for n, t in enumerate(setup.staff)]
        self._absent = opened[len(opened) - setup.absent :]
        self._sessions = opened[: len(opened) - setup.absent]
        for session in self._absent:
            assert session.player is not None
            session.player.socket.close()
            session.player = None
        self._by_id = {session.id: session for session in self._sessions}
        for person in (*self._staff, *(s.player for s in self._sessions if s.player)):
            person.socket.watch()
            self._selector.register(person.socket.sock, selectors.EVENT_READ, person)

    def _open(self, url: str, place: int, token: str) -> _Session:
        socket = LightSocket(url)
        socket.ask("authenticate", token=token)
        reply = socket.ask("chat_send", message_id=str(uuid.uuid4()), message_text=TEXT)
        return _Session(reply["session"]["id"], _Person(socket, place, is_staff=False), place)

    def _of_staff(self, url: str, place: int, token: str) -> _Person:
        socket = LightSocket(url)
        socket.ask("authenticate", token=token)
        socket.ask("subscribe", channel="staff-portal")
        return _Person(socket, place, is_staff=True)

    def greet(self, rate: float) -> None:
        """Have staff answer every session once, at a rate, so that all are in work."""
        began = _ns()
        for number, session in enumerate((*self._absent, *self._sessions)):
            self._poll_until(began + int(number / rate * 1e9))
            self._answer(session, _ns(), None)
        self._drain()
        self._clear()

    def run(self, phase: Phase) -> Said:
        """Talk for a phase, and wait until all of it has arrived."""
        self._phase = phase
        began, cpu = _ns(), time.process_time()
        if phase.rate:
            self._at_a_rate(began)
        else:
            self._to_and_fro(began + int(phase.seconds * 1e9))
        self._drain()
        seconds = (_ns() - began) / 1e9
        said = Said(
            messages=self._messages,
            receipts=self._receipts,
            to_absent=self._to_absent,
            seconds=seconds,
            refusals=self._refusals,
            unheard=len(self._sent) + sum(len(p.asked) for p in self._everybody()),
            cpu_share=(time.process_time() - cpu) / seconds,
            heard=self._heard.encode().decode(),
            answered=self._answered.encode().decode(),
            late=self._late.encode().decode(),
        )
        self._clear()
        return said

    def _clear(self) -> None:
        self._heard, self._answered, self._late = _histogram(), _histogram(), _histogram()
        self._refusals: Counter[str] = Counter()
        self._messages = self._receipts = self._to_absent = 0

    def _everybody(self) -> list[_Person]:
        return [key.data for key in self._selector.get_map().values()]

    # Two ways to talk

    def _at_a_rate(self, began: int) -> None:
        phase = self._phase
        count = int(phase.seconds * phase.rate)
        absent_each = int(phase.rate / phase.absent_rate) if phase.absent_rate else 0
        for number in range(count):
            due = began + int(number / phase.rate * 1e9)
            self._poll_until(due)
            self._late.record_value(max(1, (_ns() - due) // 1000))
            if absent_each and number % absent_each == 0:
                self._to_absent += 1
                self._answer(self._rng.choice(self._absent), due, None)
                continue
            session = self._rng.choice(self._sessions)
            if number % 2:
                self._ask(session, due, None)
            else:
                self._answer(session, due, None)

    def _to_and_fro(self, until: int) -> None:
        waiting = self._sessions.copy()
        self._rng.shuffle(waiting)
        talking = [waiting.pop() for _ in range(min(self._phase.at_once, len(waiting)))]

        def begin(session: _Session) -> None:
            self._ask(session, _ns(), lambda: reply(session))

        def reply(session: _Session) -> None:
            if _ns() < until:
                self._answer(session, _ns(), lambda: end(session))

        def end(session: _Session) -> None:
            # Sessions take turns, so that all of them are in use.
            waiting.insert(0, session)
            if _ns() < until:
                begin(waiting.pop())

        for session in talking:
            begin(session)
        self._poll_until(until)

    # What is said and heard

    def _ask(self, session: _Session, since: int, then: Callable[[], None] | None) -> None:
        assert session.player is not None
        self._say(session.player, since, len(self._staff), then)

    def _answer(self, session: _Session, since: int, then: Callable[[], None] | None) -> None:
        sockets = 0 if session.player is None else 1
        self._say(self._who_sees_to(session), since, sockets, then, session_id=session.id)

    def _who_sees_to(self, session: _Session) -> _Person:
        return self._staff[session.place % len(self._staff)]

    def _say(
        self,
        person: _Person,
        since: int,
        awaited: int,
        then: Callable[[], None] | None,
        **fields: Any,
    ) -> None:
        message_id = str(uuid.UUID(int=self._rng.getrandbits(128), version=4))
        if awaited:
            self._sent[message_id] = _Sent(since, awaited, then)
        self._messages += 1
        re = person.socket.send("chat_send", message_id=message_id, message_text=TEXT, **fields)
        person.asked[re] = since

    def _read(self, person: _Person) -> None:
        for payload in person.socket.read():
            incoming = _decode(payload)
            if incoming.re is not None:
                self._replied(person, incoming)
            elif incoming.type in RECEIVED_AFTER and isinstance(incoming.message, _Message):
                self._arrived(person, incoming.message)

    def _confirms(self, person: _Person, message: _Message) -> bool:
        """Whether it is for this socket to say that a message has come and was read."""
        if not person.is_staff:
            return True
        return person is self._who_sees_to(self._by_id[message.session_id])

    def _replied(self, person: _Person, reply: _Incoming) -> None:
        assert reply.re is not None
        since = person.asked.pop(reply.re, None)
        then = person.reads.pop(reply.re, None)
        if reply.type == "error":
            self._refusals[reply.code] += 1
        elif since is not None:
            self._answered.record_value(max(1, (_ns() - since) // 1000))
        elif then is not None:
            then()

    def _arrived(self, person: _Person, message: _Message) -> None:
        # All sockets of staff are told what staff say, too.
        if person.is_staff == (message.sender == "staff"):
            return
        sent = self._sent.get(message.id)
        then = None if sent is None else sent.then
        if self._phase.receipts and self._confirms(person, message):
            # As the oldest clients do it: by the message's id alone.
            person.reads[person.socket.send("chat_received", message_id=message.id)] = None
            person.reads[person.socket.send("chat_read", message_id=message.id)] = then
            self._receipts += 2
        if sent is None:
            return
        sent.awaited -= 1
        if not sent.awaited:
            del self._sent[message.id]
            self._heard.record_value(max(1, (_ns() - sent.since) // 1000))
            if then is not None and not self._phase.receipts:
                then()

    # Waiting

    def _poll_until(self, at: int) -> None:
        while (left := at - _ns()) > 0:
            self._poll(0 if left < SPIN_NS else (left - SPIN_NS) / 1e9)

    def _poll(self, timeout_s: float) -> None:
        for key, _ in self._selector.select(timeout_s):
            self._read(key.data)

    def _drain(self) -> None:
        until = time.perf_counter() + DRAIN_S
        while time.perf_counter() < until and (
            self._sent or any(person.asked or person.reads for person in self._everybody())
        ):
            self._poll(0.05)


def main() -> None:
    """Do what standard input says."""
    lines = sys.stdin.buffer
    talk = Talk(msgspec.json.decode(lines.readline(), type=Setup))
    talk.greet(rate=200)
    print("ready", flush=True)
    for line in lines:
        said = talk.run(msgspec.json.decode(line, type=Phase))
        sys.stdout.buffer.write(msgspec.json.encode(said) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
