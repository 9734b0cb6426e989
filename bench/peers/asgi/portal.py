"""The peer in Python: Starlette on uvicorn and uvloop, asyncpg, msgspec.

One prepared statement a command on a connection of its own pool (asyncpg's would reset the session
each time it is given back: another way to the database), an event encoded once for all sockets.
Runs in an environment of its own, where nothing of Cardroom is installed.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import socket
import time
from typing import Any

import asyncpg
import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

CHANGE = """
    WITH advanced AS (
        UPDATE game_states SET seq = seq + 1, updated_at = now()
        WHERE room_id = $1 AND seq = $2
        RETURNING seq
    ), told AS (
        INSERT INTO room_events (room_id, seq, at, type, payload)
        SELECT $1, seq, now(), $3, $4 FROM advanced
    ), seated AS (
        UPDATE room_seats SET status = $6, last_seen_at = now()
        WHERE room_id = $1 AND seat_index = $5 AND EXISTS (SELECT FROM advanced)
    )
    SELECT seq FROM advanced
"""
STATUSES = {"sit_in": "active", "sit_out": "sitting_out"}

encode = msgspec.msgpack.Encoder().encode
encode_json = msgspec.json.Encoder().encode


class Message(msgspec.Struct):
    """What a client sends: a hello, with its seat and user, or a command."""

    type: str
    id: int
    room_id: str
    seat: int = 0
    user: str = ""


class Payload(msgspec.Struct, omit_defaults=True):
    """What is stored of an event, beside columns of its own."""

    seat_index: int = -1
    user_id: str = ""
    reason: str = ""


class Event(Payload):
    """What all of a room are told."""

    type: str = ""
    channel: str = ""
    seq: int = 0
    at: int = 0


decode = msgspec.msgpack.Decoder(Message).decode


class Room:
    """A room's members and where it is."""

    def __init__(self, id: str, seq: int) -> None:
        self.id = id
        self.channel = f"room:{id}"
        self.seq = seq
        self.statuses: dict[int, str] = {}
        self.members: list[WebSocket] = []


rooms: dict[str, Room] = {}
statements: list[Any] = []
# First come, first served: a queue's waiters are overtaken by whoever asks while they wake up.
free = asyncio.Semaphore(0)


async def member(websocket: WebSocket) -> None:
    """Serve one socket."""
    await websocket.accept()
    hello = decode(await websocket.receive_bytes())
    room = rooms[hello.room_id]
    room.members.append(websocket)
    try:
        await websocket.send_bytes(encode({"type": "ok", "re": hello.id}))
        while True:
            message = decode(await websocket.receive_bytes())
            refused = await command(websocket, room, hello, message)
            if refused:
                error = {"type": "error", "re": message.id, "message": refused}
                await websocket.send_bytes(encode(error))
    except WebSocketDisconnect:
        pass
    finally:
        room.members.remove(websocket)


async def command(websocket: WebSocket, room: Room, who: Message, message: Message) -> str:
    """Commit, then tell all; return why not, if so."""
    status = STATUSES.get(message.type)
    if status is None:
        return "no such command"
    if message.room_id != room.id:
        return "not in this room"
    if room.statuses[who.seat] == status:
        return "it is so already"
    seq = room.seq + 1
    payload = Payload(who.seat, who.user, "" if status == "active" else "asked")
    told = "player_sat_in" if status == "active" else "player_sat_out"
    async with free:
        statement = statements.pop()
        try:
            done = await statement.fetchval(
                room.id, room.seq, told, encode_json(payload).decode(), who.seat, status
            )
        finally:
            statements.append(statement)
    if done is None:
        return "the room is not where we believed it to be"
    room.seq = seq
    room.statuses[who.seat] = status
    at = int(time.time() * 1000)
    frame = encode(Event(who.seat, who.user, payload.reason, told, room.channel, seq, at))
    for each in room.members:
        await each.send_bytes(frame)
    await websocket.send_bytes(encode({"type": "ok", "re": message.id, "seq": seq}))
    return ""


async def main() -> None:
    """Serve on a free port, and say which."""
    for _ in range(int(os.environ["PEER_CONNECTIONS"])):
        connection = await asyncpg.connect()
        statements.append(await connection.prepare(CHANGE))
        free.release()
    for row in await connection.fetch("SELECT room_id, seq FROM game_states"):
        rooms[row["room_id"]] = Room(row["room_id"], row["seq"])
    for row in await connection.fetch("SELECT room_id, seat_index, status FROM room_seats"):
        rooms[row["room_id"]].statuses[row["seat_index"]] = row["status"]
    listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
    print(json.dumps({"port": listener.getsockname()[1]}), flush=True)
    config = uvicorn.Config(
        Starlette(routes=[WebSocketRoute("/", member)]),
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        # Nobody is closed for being silent while a thousand others are set up.
        ws_ping_timeout=300.0,
        log_level="warning",
        lifespan="off",
    )
    # As Cardroom does: full collections find nothing, and stop everybody meanwhile.
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 100)
    await uvicorn.Server(config).serve(sockets=[listener])


if __name__ == "__main__":
    import uvloop

    uvloop.run(main())
