"""The peer in Python: Starlette on uvicorn and uvloop, asyncpg, msgspec.

One prepared statement a command on a connection of its own pool (asyncpg's would reset the session
each time it is given back: another way to the database), an event encoded once for all sockets.
Runs in an environment of its own, where nothing of Cardroom is installed.
"""

from __future__ import annotations

import asyncio
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
        UPDATE game_states SET seq = seq + 1 WHERE room_id = $1 AND seq = $2 RETURNING seq
    ), told AS (
        INSERT INTO room_events (room_id, seq, type, payload)
        SELECT $1, seq, $3, $4 FROM advanced
    ), seated AS (
        UPDATE room_seats SET status = $6, last_seen_at = now()
        WHERE room_id = $1 AND seat_index = $5 AND EXISTS (SELECT FROM advanced)
    )
    SELECT seq FROM advanced
"""

encode = msgspec.msgpack.Encoder().encode
encode_json = msgspec.json.Encoder().encode


class Message(msgspec.Struct):
    """What a client sends: a hello, with its room and seat, or a command."""

    type: str
    id: int
    room: int = 0
    seat: int = 0
    status: str = ""


class Event(msgspec.Struct):
    """What all of a room are told."""

    type: str
    channel: str
    seq: int
    at: int
    seat_index: int
    user_id: str
    status: str


decode = msgspec.msgpack.Decoder(Message).decode


class Room:
    """A room's members and where it is."""

    def __init__(self, id: int, seq: int) -> None:
        self.id = id
        self.channel = f"room:{id}"
        self.seq = seq
        self.members: list[WebSocket] = []


rooms: dict[int, Room] = {}
statements: asyncio.LifoQueue[Any] = asyncio.LifoQueue()


async def member(websocket: WebSocket) -> None:
    """Serve one socket."""
    await websocket.accept()
    hello = decode(await websocket.receive_bytes())
    room, user = rooms[hello.room], f"r{hello.room}p{hello.seat}"
    room.members.append(websocket)
    try:
        await websocket.send_bytes(encode({"type": "ok", "re": hello.id}))
        while True:
            message = decode(await websocket.receive_bytes())
            await command(websocket, room, hello.seat, user, message)
    except WebSocketDisconnect:
        pass
    finally:
        room.members.remove(websocket)


async def command(websocket: WebSocket, room: Room, seat: int, user: str, message: Message) -> None:
    """Commit, then tell all."""
    seq = room.seq + 1
    at = int(time.time() * 1000)
    event = Event("event", room.channel, seq, at, seat, user, message.status)
    statement = await statements.get()
    try:
        done = await statement.fetchval(
            room.id, room.seq, event.type, encode_json(event).decode(), seat, message.status
        )
    finally:
        statements.put_nowait(statement)
    if done is None:
        error = "the room is not where we believed it to be"
        await websocket.send_bytes(encode({"type": "error", "re": message.id, "message": error}))
        return
    room.seq = seq
    frame = encode(event)
    for each in room.members:
        await each.send_bytes(frame)
    await websocket.send_bytes(encode({"type": "ok", "re": message.id, "seq": seq}))


async def main() -> None:
    """Serve on a free port, and say which."""
    for _ in range(int(os.environ["PEER_CONNECTIONS"])):
        connection = await asyncpg.connect()
        statements.put_nowait(await connection.prepare(CHANGE))
    for row in await connection.fetch("SELECT room_id, seq FROM game_states"):
        rooms[row["room_id"]] = Room(row["room_id"], row["seq"])
    listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
    print(json.dumps({"port": listener.getsockname()[1]}), flush=True)
    config = uvicorn.Config(
        Starlette(routes=[WebSocketRoute("/", member)]),
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        log_level="warning",
        lifespan="off",
    )
    await uvicorn.Server(config).serve(sockets=[listener])


if __name__ == "__main__":
    import uvloop

    uvloop.run(main())
