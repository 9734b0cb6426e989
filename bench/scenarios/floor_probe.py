"""The floor under a command's latency: one commit, and one way to another process and back.

`python -m bench.scenarios.floor_probe`, started by `floor.py`, writes `Floor` as a line of JSON. It
starts a second process of itself and sends it messages of the size of a command, over a bare
socket, one after another; an event's bytes come back. Every second time the other process first
commits what a command writes, by a bare connection of its own and the journal's own statement.
Neither decodes, decides or encodes anything meanwhile, and nobody waits for anybody else: nothing
that answers what has been committed can be quicker.

The rows go to a room that no server knows: a copy of one in which commands have been carried out.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from pathlib import Path
from uuid import uuid4

import msgspec
import psycopg
from msgspec import Raw, Struct

from bench.harness.latencies import counted
from bench.light_socket import framed
from game.changes import EventTold, SeatPut

COMMAND = framed("sit_out", room_id="0" * 36)
WARM_UP = 100
"""Exchanges before anything counts: the statement is prepared, its plan is made."""
WRITER_SESSION = (
    "SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; "
    "SET plan_cache_mode = force_generic_plan; SET synchronous_commit = on; SET jit = off; "
    "SET cardroom.journal = on"
)
"""As the journal's connections are set; a test holds it against theirs."""
COMMIT = "SELECT commit_batch(%s::jsonb)"
AHEAD_PER_S = 5_000
"""Documents that are made before the clock runs, for each second of it: more than will be used."""
_ROOT = Path(__file__).resolve().parents[2]
_PATIENCE_S = 30.0
_BARE, _DURABLE = b"b", b"d"
_STAMP_BYTES = 4
_WIRE = 4
"""An event's WebSocket header, where it is longer than 125 bytes."""
_TOLD = """
SELECT e.room_id, (e.payload || jsonb_build_object(
           'type', e.type, 'channel', 'room:' || e.room_id, 'seq', e.seq, 'at', to_ms(e.at)))::text
FROM room_events e JOIN room_seats s USING (room_id)
WHERE e.type = 'player_sat_out' ORDER BY e.at DESC LIMIT 1
"""
_COPIES = (
    "INSERT INTO rooms SELECT (jsonb_populate_record(r, %(of_room)s)).* FROM rooms r "
    "WHERE id = %(room_id)s",
    "INSERT INTO game_states SELECT (jsonb_populate_record(g, %(of_it)s)).* FROM game_states g "
    "WHERE room_id = %(room_id)s",
    "INSERT INTO room_seats SELECT (jsonb_populate_record(s, %(of_it)s)).* FROM room_seats s "
    "WHERE room_id = %(room_id)s",
)
_SEAT = """
SELECT room_id, seat_index, user_id, display_name, chips, status, time_bank_ms, clock_outs, away,
       leaving, leaving_reason, sitting_id, to_ms(last_seen_at)
FROM room_seats WHERE room_id = %s LIMIT 1
"""
_STATE = "SELECT seq, current_state::text, outside FROM game_states WHERE room_id = %s"


class Task(Struct):
    """What the probe is to do."""

    database_url: str
    seconds: float


class Floor(Struct):
    """Microseconds of each kind, counted: the commit alone, the way there and back alone, and both
    in one exchange."""

    commit: dict[int, int]
    loopback: dict[int, int]
    both: dict[int, int]


class Room:
    """A copy of a room, and what the next command there would write.

    Args:
        conn: a connection to the server's database.

    Raises:
        LookupError: nobody has sat out anywhere yet.
    """

    def __init__(self, conn: psycopg.Connection) -> None:
        found = conn.execute(_TOLD).fetchone()
        if found is None:
            raise LookupError("there is no room in which a command was carried out")
        room_id, self.event = found
        self.room_id = str(uuid4())
        copy = {
            "room_id": room_id,
            "of_it": json.dumps({"room_id": self.room_id}),
            "of_room": json.dumps(
                {"id": self.room_id, "code": self.room_id[:8], "status": "closed"}
                | {"owner_node": None}
            ),
        }
        for statement in _COPIES:
            conn.execute(statement, copy)
        seat, state = (conn.execute(one, (self.room_id,)).fetchone() for one in (_SEAT, _STATE))
        assert seat is not None
        assert state is not None
        self._seat = SeatPut(*seat)
        self._seq, self._state, self._outside = state
        conn.execute("UPDATE game_states SET owner_epoch = 1 WHERE room_id = %s", (self.room_id,))

    def next_batch(self) -> str:
        """Return the document for `commit_batch` of the next command in this room."""
        seq, self._seq = self._seq, self._seq + 1
        now = time.time_ns() // 1_000_000
        fence = (self.room_id, 1, seq, seq + 1, seq + 1, Raw(self._state.encode()), self._outside)
        told = EventTold(self.room_id, seq + 1, now, "player_sat_out", Raw(self.event.encode()))
        return document(fence, told, self._seat)


def document(fence: tuple[object, ...], told: EventTold, seat: SeatPut) -> str:
    """Write what one command of the load commits, as the journal would."""
    batch = {"Advance": [fence], "EventTold": [told], "SeatPut": [seat], "Membership": True}
    return msgspec.json.encode(batch).decode()


def probe(task: Task) -> Floor:
    """Measure the floor.

    Raises:
        RuntimeError: the other process failed; it said why.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(_PATIENCE_S)
        far = subprocess.Popen(
            [sys.executable, "-m", __spec__.name, str(listener.getsockname()[1])],
            cwd=_ROOT,
            stdin=subprocess.PIPE,
        )
        try:
            assert far.stdin is not None
            far.stdin.write(msgspec.json.encode(task))
            far.stdin.close()
            with listener.accept()[0] as line:
                line.settimeout(_PATIENCE_S)
                line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return _exchange(line, task.seconds)
        finally:
            far.kill()
            far.wait()


def _exchange(line: socket.socket, seconds: float) -> Floor:
    size = int.from_bytes(line.recv(_STAMP_BYTES), "big")
    clock = time.perf_counter
    loopback: list[int] = []
    both: list[int] = []
    commit: list[int] = []

    def ask(kind: bytes) -> tuple[int, int]:
        message = kind + COMMAND[1:]
        began = clock()
        line.sendall(message)
        answer = line.recv(size)
        while len(answer) < size:
            more = line.recv(size)
            if not more:
                raise RuntimeError("the other process of the probe ended; it said why above")
            answer += more
        took = clock() - began
        return int(took * 1e6), int.from_bytes(answer[:_STAMP_BYTES], "big")

    for _ in range(WARM_UP):
        ask(_BARE)
        ask(_DURABLE)
    until = clock() + seconds
    while clock() < until:
        loopback.append(ask(_BARE)[0])
        whole, committing = ask(_DURABLE)
        both.append(whole)
        commit.append(committing)
    return Floor(counted(commit), counted(loopback), counted(both))


def answer(port: int, task: Task) -> None:
    """Be the other process: commit where asked to, send an event's bytes back."""
    with (
        psycopg.connect(task.database_url, autocommit=True) as conn,
        socket.create_connection(("127.0.0.1", port)) as line,
    ):
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        conn.execute(WRITER_SESSION)
        room = Room(conn)
        size = _WIRE + len(msgspec.msgpack.encode(msgspec.json.decode(room.event)))
        ahead = iter([room.next_batch() for _ in range(round(task.seconds * AHEAD_PER_S))])
        line.sendall(size.to_bytes(_STAMP_BYTES, "big"))
        clock = time.perf_counter
        took = 0
        while message := line.recv(len(COMMAND)):
            if message[:1] == _DURABLE:
                batch = next(ahead, "") or room.next_batch()
                began = clock()
                conn.execute(COMMIT, (batch,), prepare=True)
                took = int((clock() - began) * 1e6)
            line.sendall(took.to_bytes(_STAMP_BYTES, "big") + bytes(size - _STAMP_BYTES))


if __name__ == "__main__":
    asked = msgspec.json.decode(sys.stdin.buffer.read(), type=Task)
    if len(sys.argv) > 1:
        answer(int(sys.argv[1]), asked)
    else:
        sys.stdout.buffer.write(msgspec.json.encode(probe(asked)) + b"\n")
