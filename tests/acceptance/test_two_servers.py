"""Two server processes on one database: one writer for each room, whatever happens to a process."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import trio

from bench.outside import Closed, Message, Outside, Refusal, connected
from bench.server_process import ServerProcess
from tests.acceptance.playing import (
    TABLE,
    Seated,
    assert_no_gap,
    choose,
    room_events,
    seqs,
    serving,
    table,
)
from tests.support.patience import PATIENCE_S

LEASE_S = 4.0
"""Short, to be waited for; long enough for a process that has to wait for the processor."""
LONG_S = 600.0
"""A lease whose end no test lives to see."""
USERS = ["ann", "bob", "cat"]
BUY_IN = 50_000


@asynccontextmanager
async def pair(
    database_url: str, lease_s: float = LEASE_S
) -> AsyncIterator[tuple[ServerProcess, ServerProcess]]:
    """Run two servers on one database."""
    settings = {
        "CARDROOM_JWT_SECRET": "0123456789abcdef" * 4,
        "CARDROOM_NODE_LEASE_S": str(lease_s),
        "DATABASE_URL": database_url,
    }
    async with serving(settings) as a, serving(settings) as b:
        yield a, b


async def come_in(stack: AsyncExitStack, server: ServerProcess, room_id: str) -> list[Seated]:
    """Have the seated users come to a server that has the room, as soon as it has it."""
    seated = []
    for index, user in enumerate(USERS):
        while True:
            client = await stack.enter_async_context(connected(server.ws_url))
            try:
                await client.ask("authenticate", token=server.token(user), room_id=room_id)
            except (Refusal, Closed):
                await trio.sleep(0.1)
            else:
                break
        client.user_id = user
        seated.append(Seated(client, room_id, index))
    return seated


async def play(seated: list[Seated], decisions: int, seed: int) -> int:
    """Have the table make so many decisions; return the last one's seq."""
    rng = random.Random(seed)
    seq = 0
    for _ in range(decisions):
        while True:
            room = await seated[0].client.ask("hydrate", room_id=seated[0].room_id)
            if room["timer"] is not None:
                break
            await trio.sleep(0.02)
        actor = seated[room["timer"]["actor_seat"]]
        mine = await actor.client.ask("hydrate", room_id=actor.room_id)
        seq = (await actor.act(**choose(mine["me"]["legal_actions"], rng)))["seq"]
    return seq


async def events_of(server: ServerProcess, room_id: str, after: int) -> list[Message]:
    """Read the room's public events after a seq."""
    async with connected(server.ws_url, token=server.token("host")) as client:
        reply = await client.ask("subscribe", channel=f"room:{room_id}", last_seq=after)
        assert reply["recovered"] is True, reply
        return [event for event in reply["missed"] if not event.get("private")]


def chips_in(room: Message) -> int:
    """Sum a hydrated room's stacks and pot."""
    pot = room["hand"]["pot"] if room["hand"] else 0
    return int(pot + sum(seat["chips"] for seat in room["seats"]))


async def outcome(client: Outside, id: int) -> str:
    """Return what became of a command: ``ok``, an error's code, or how the socket was closed."""
    try:
        return str((await client.reply_to(id))["type"])
    except Refusal as refusal:
        return refusal.code
    except Closed as closed:
        return f"closed {closed.code}"


async def until_running(server: ServerProcess, room_id: str) -> None:
    """Wait until a server runs a room."""
    with trio.fail_after(PATIENCE_S):
        async with connected(server.ws_url, token=server.token("host")) as client:
            while True:
                try:
                    await client.ask("subscribe", channel=f"room:{room_id}")
                except Refusal as refusal:
                    if refusal.code not in ("moved", "unavailable"):
                        raise
                    await trio.sleep(0.02)
                else:
                    return


@pytest.mark.fail_after(120)
async def test_a_room_is_another_servers_and_both_serve_their_own(database_url: str) -> None:
    async with pair(database_url) as (a, b), table(a, USERS, buy_in=BUY_IN) as (_, seated):
        room_id = seated[0].room_id
        async with connected(b.ws_url, token=b.token("ann")) as stranger:
            moved = await stranger.refused("action", room_id=room_id, action="FOLD")
            assert moved["code"] == "moved"
            assert moved["details"]["address"] == a.ws_url
            moved = await stranger.refused("sit_out", room_id=room_id)
            assert moved["code"] == "moved"
            there = moved["details"]["address"]
            async with connected(there, token=b.token("ann")) as followed:
                await followed.ask("subscribe", channel=f"room:{room_id}")
            own = await stranger.ask("create_room", settings=TABLE)
            moved = await seated[1].client.refused("join", room_id=own["room"]["id"])
            assert moved["details"]["address"] == b.ws_url
        await trio.sleep(LEASE_S * 1.5)
        await play(seated, 12, 1)
        assert not b.log().count("rooms_taken_over")


@pytest.mark.fail_after(180)
async def test_a_frozen_server_commits_nothing_more_once_its_lease_is_over(
    database_url: str,
) -> None:
    async with pair(database_url) as (a, b), AsyncExitStack() as stack:
        host, seated = await stack.enter_async_context(table(a, USERS, buy_in=BUY_IN))
        room_id = seated[0].room_id
        before = await play(seated, 9, 2)
        a.freeze()
        # These wait in the sockets of a process that does not know yet that it lost the room.
        late = [(player, await player.client.post("sit_out", room_id=room_id)) for player in seated]
        turn = [
            (player, await player.client.post("action", room_id=room_id, action="FOLD"))
            for player in seated
        ]
        await until_running(b, room_id)
        at_b = await come_in(stack, b, room_id)
        played = await play(at_b, 15, 3)
        heard = {player: len(player.client.events) for player in seated}
        a.thaw()
        # Whoever is not to act by what A knew may be told so; nobody is told that it was done.
        outcomes = {await outcome(player.client, id) for player, id in late + turn}
        assert outcomes <= {"moved", "not_your_turn", "closed 1012"}
        assert outcomes & {"moved", "closed 1012"}
        for client in [host, *(player.client for player in seated)]:
            assert (await client.until_closed()).code == 1012
        for player in seated:
            told = player.client.events[heard[player] :]
            assert [e for e in told if e["channel"] == f"room:{room_id}"] == []
        after = await play(at_b, 9, 4)
        assert after > played > before
        told = await events_of(b, room_id, 0)
        assert_no_gap([0, *seqs(told)])
        assert "player_sat_out" not in [event["type"] for event in told]
        heard_at_a = [e for e in room_events(host, room_id) if e["seq"] <= before]
        assert heard_at_a == told[heard_at_a[0]["seq"] - 1 : before]
        room = await at_b[0].client.ask("hydrate", room_id=room_id)
        assert chips_in(room) == BUY_IN * len(USERS)
        async with connected(a.ws_url, token=a.token("ann")) as client:
            moved = await client.refused("action", room_id=room_id, action="FOLD")
            assert moved["details"]["address"] == b.ws_url


@pytest.mark.fail_after(180)
async def test_rooms_of_a_killed_server_go_on_elsewhere_after_its_lease(
    database_url: str,
) -> None:
    async with pair(database_url) as (a, b), AsyncExitStack() as stack:
        _, seated = await stack.enter_async_context(table(a, USERS, buy_in=BUY_IN))
        room_id = seated[0].room_id
        before = await play(seated, 7, 5)
        await a.kill()
        await until_running(b, room_id)
        at_b = await come_in(stack, b, room_id)
        assert await play(at_b, 9, 6) > before
        await a.start()
        async with connected(a.ws_url, token=a.token("ann")) as client:
            moved = await client.refused("sit_out", room_id=room_id)
            assert moved["details"]["address"] == b.ws_url
        assert await play(at_b, 9, 7) > before
        assert_no_gap([0, *seqs(await events_of(b, room_id, 0))])
        room = await at_b[0].client.ask("hydrate", room_id=room_id)
        assert chips_in(room) == BUY_IN * len(USERS)


@pytest.mark.fail_after(180)
async def test_a_server_restarted_in_its_folder_has_its_rooms_at_once(database_url: str) -> None:
    """At once: a start, not a lease."""
    async with pair(database_url, LONG_S) as (a, b), AsyncExitStack() as stack:
        _, seated = await stack.enter_async_context(table(a, USERS, buy_in=BUY_IN))
        room_id = seated[0].room_id
        before = await play(seated, 7, 8)
        await a.kill()
        async with connected(b.ws_url, token=b.token("ann")) as client:
            assert (await client.refused("sit_out", room_id=room_id))["code"] == "moved"
        await a.start()
        again = await come_in(stack, a, room_id)
        assert await play(again, 9, 9) > before
        assert_no_gap([0, *seqs(await events_of(a, room_id, 0))])


@pytest.mark.fail_after(180)
async def test_a_server_that_stops_hands_its_rooms_over_at_once(database_url: str) -> None:
    """At once: neither A's lease nor the time at which B looks round is waited for."""
    async with pair(database_url, LONG_S) as (a, b), AsyncExitStack() as stack:
        _, seated = await stack.enter_async_context(table(a, USERS, buy_in=BUY_IN))
        room_id = seated[0].room_id
        before = await play(seated, 7, 10)
        await a.stop()
        assert (await seated[0].client.until_closed()).code == 1012
        await until_running(b, room_id)
        at_b = await come_in(stack, b, room_id)
        assert await play(at_b, 9, 11) > before
        assert_no_gap([0, *seqs(await events_of(b, room_id, 0))])
