"""Whoever comes back has the same state as one who never left: nothing lost, nothing twice."""

from __future__ import annotations

import random
from contextlib import AsyncExitStack

import pytest
import trio

from bench.outside import JSON, MSGPACK, Message, Outside, Refusal, connected
from bench.server_process import ServerProcess
from tests.acceptance.playing import (
    Seated,
    choose,
    room_events,
    seqs,
    serving,
    table,
)
from tests.acceptance.reducer import Table
from tests.support.patience import PATIENCE_S

PLAYERS = ["ann", "bob", "cat", "dan"]
EVERY_KIND = {
    "ante": 30,
    "ante_kind": "button",
    "straddle": 200,
    "bomb_pot": {"every_n_hands": 3, "amount": 900},
    "run_it_times": 3,
}
"""Settings under which hands of every kind are played."""
WATCHERS = ["eve", "fay", "gus"]
HANDS = 15
RETURNS = 60
LIVES_S = (0.02, 0.6)
WAYS = {f"{way} {how}" for way in ("access", "rejoin", "subscribe") for how in ("since", "whole")}


class Returning:
    """A user who comes and goes, and knows the room only from what the server tells them.

    A player among them acts when it is their turn, also when only a hydration or `missed` told so.
    """

    def __init__(self, server: ServerProcess, user: str, room_id: str, seed: int) -> None:
        self.server = server
        self.user = user
        self.room_id = room_id
        self.rng = random.Random(seed)
        self.table: Table | None = None
        self.rejoin_token: str | None = None
        self.ways: list[str] = []
        self.heard: list[int] = []
        self.dealt_on_return = 0
        self.client: Outside | None = None

    async def come_and_go(self) -> None:
        """Live many short lives, until cancelled."""
        while True:
            async with AsyncExitStack() as stack:
                client = await self.come(stack)
                with trio.move_on_after(self.rng.uniform(*LIVES_S)):
                    await self.follow(client)

    async def come(self, stack: AsyncExitStack) -> Outside:
        """Come back in one of the ways there are."""
        coding = self.rng.choice([MSGPACK, JSON])
        client = await stack.enter_async_context(connected(self.server.ws_url, coding=coding))
        who: Message = {"token": self.server.token(self.user)}
        with_seq = self.table is not None and self.rng.random() < 0.6
        since: Message = {"last_seq": self.table.seq} if with_seq and self.table else {}
        way = self.rng.choice(["access", "rejoin", "subscribe"])
        if way == "rejoin" and self.rejoin_token is not None:
            who = {"rejoin_token": self.rejoin_token}
        elif way == "rejoin":
            way = "access"
        self.ways.append(f"{way} {'since' if since else 'whole'}")
        if way == "subscribe":
            await client.ask("authenticate", **who)
            reply = await client.ask("subscribe", channel=f"room:{self.room_id}", **since)
            if not since:
                # The events since `subscribe` may be older than this: those are ignored.
                self.install(await client.ask("hydrate", room_id=self.room_id), floor=True)
                return client
        else:
            reply = await client.ask("authenticate", room_id=self.room_id, **who, **since)
            self.rejoin_token = reply.get("rejoin_token", self.rejoin_token)
        if since:
            assert reply["recovered"] is True, reply
            assert "room" not in reply
            self.catch_up(reply["missed"])
        else:
            self.install(reply["room"])
        return client

    def install(self, room: Message, *, floor: bool = False) -> None:
        had = self.table
        assert had is None or room["seq"] >= had.seq, "what was told is in every hydration"
        self.table = Table(room)
        self.floor = room["seq"] if floor else 0
        if self.table.hole is not None and (had is None or had.hole is None):
            self.dealt_on_return += 1

    def catch_up(self, missed: list[Message]) -> None:
        assert self.table is not None
        self.floor = 0
        had_cards = self.table.hole
        for event in missed:
            self.table.apply(event)
            if not event.get("private"):
                self.heard.append(event["seq"])
        if self.table.hole is not None and had_cards is None:
            self.dealt_on_return += 1

    async def follow(self, client: Outside) -> None:
        """Apply live events, and act."""
        assert self.table is not None
        at, acted = 0, -1
        channel = f"room:{self.room_id}"
        while True:
            while at < len(client.events):
                event = client.events[at]
                at += 1
                if event["channel"] == channel and event["seq"] > self.floor:
                    self.table.apply(event)
                    if not event.get("private"):
                        self.heard.append(event["seq"])
            if self.table.legal is not None and acted != self.table.seq:
                acted = self.table.seq
                assert self.table.hole is not None, "whoever is to act knows their cards"
                move = choose(self.table.legal, self.rng)
                await client.post("action", room_id=self.room_id, **move)
            seen = at
            await client.event(lambda _: True, after=seen)


async def until_seq(watcher: Returning, seq: int) -> None:
    """Come back for the last time, and stay until a seq was applied."""
    async with AsyncExitStack() as stack:
        client = await watcher.come(stack)
        assert watcher.table is not None
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(watcher.follow, client)
                while watcher.table.seq < seq:  # noqa: ASYNC110 - it follows a socket
                    await trio.sleep(0.01)
                scope.cancel()


@pytest.mark.fail_after(180)
@pytest.mark.parametrize("seed", [1, 2])
async def test_whoever_comes_back_has_what_one_has_who_never_left(
    database_url: str, seed: int
) -> None:
    # The last life before the final one may have ended while its token was being replaced.
    settings = {"DATABASE_URL": database_url, "CARDROOM_REJOIN_OVERLAP_S": str(PATIENCE_S)}
    async with serving(settings) as server, AsyncExitStack() as stack:
        host, seated = await stack.enter_async_context(table(server, PLAYERS, buy_in=100_000))
        room_id = seated[0].room_id
        for user in WATCHERS:
            async with connected(server.ws_url, token=server.token(user)) as client:
                await client.ask("join", room_id=room_id, display_name=user)
                await client.ask("spectate", room_id=room_id, display_name=user)
        steady = await stack.enter_async_context(connected(server.ws_url))
        start = await steady.ask("authenticate", token=server.token("host"), room_id=room_id)
        returning = [
            Returning(server, user, room_id, seed * 100 + number)
            for number, user in enumerate([*PLAYERS, *WATCHERS])
        ]
        async with trio.open_nursery() as nursery:
            for watcher in returning:
                nursery.start_soon(watcher.come_and_go)
            at = 0
            while not _was_load(steady, returning):
                await steady.event(lambda _: True, after=at)
                at = len(steady.events)
            nursery.cancel_scope.cancel()
        with trio.CancelScope() as end:
            async with trio.open_nursery() as nursery:
                for player in seated:
                    nursery.start_soon(_finish, player, random.Random(seed))
                try:
                    await host.ask("pause", room_id=room_id)
                except Refusal as refusal:
                    raise AssertionError(refusal.message) from None
                while True:
                    last = await host.ask("hydrate", room_id=room_id, role="spectator")
                    if last["hand"] is None:
                        break
                    await trio.sleep(0.05)
                end.cancel()
        for watcher in returning:
            await until_seq(watcher, last["seq"])

        async with connected(server.ws_url, token=server.token("gus")) as fresh:
            final = Table(await fresh.ask("hydrate", room_id=room_id)).view()
        assert final["seq"] == last["seq"]
        reference = Table(start["room"])
        await steady.event_of("game_paused")
        await steady.event(lambda e: e["seq"] >= last["seq"])
        for event in steady.events:
            if event["channel"] == f"room:{room_id}":
                reference.apply(event)
        assert reference.view() == final
        for watcher in returning:
            assert watcher.table is not None
            assert watcher.table.view() == final, watcher.user
            assert len(watcher.heard) == len(set(watcher.heard)), "an event came twice"
        assert seqs(room_events(steady, room_id))[-1] == last["seq"]
        assert all(w.dealt_on_return == 0 for w in returning if w.user in WATCHERS)


def _was_load(steady: Outside, returning: list[Returning]) -> bool:
    """Whether enough was played, and people came back in every way and often enough."""
    hands = sum(event["type"] == "hand_complete" for event in steady.events)
    ways = [way for watcher in returning for way in watcher.ways]
    dealt = sum(w.dealt_on_return for w in returning if w.user in PLAYERS)
    return hands >= HANDS and len(ways) >= RETURNS and set(ways) == WAYS and dealt > 0


async def _finish(player: Seated, rng: random.Random) -> None:
    """Play the hand to its end from the sockets that were there from the beginning."""
    while True:
        room = await player.client.ask("hydrate", room_id=player.room_id)
        legal = room["me"].get("legal_actions")
        if legal is not None:
            await player.client.post("action", room_id=player.room_id, **choose(legal, rng))
        await trio.sleep(0.05)


@pytest.mark.fail_after(120)
async def test_a_hydration_in_the_middle_of_a_hand_is_what_the_events_made(
    database_url: str,
) -> None:
    rng = random.Random(7)
    async with (
        serving({"CARDROOM_HAND_INTERVAL_S": "0", "DATABASE_URL": database_url}) as server,
        table(server, PLAYERS, buy_in=3_000, **EVERY_KIND) as (host, seated),
    ):
        room_id = seated[0].room_id
        async with connected(server.ws_url) as watching:
            reply = await watching.ask("authenticate", token=server.token("host"), room_id=room_id)
            state, at = Table(reply["room"]), 0
            acted = 0
            while acted < 80:
                now = await host.ask("hydrate", room_id=room_id)
                while state.seq < now["seq"]:
                    event = await watching.event(lambda _: True, after=at)
                    at += 1
                    if event["channel"] == f"room:{room_id}":
                        state.apply(event)
                assert state.view() == Table(now).view()
                if now["hand"] is not None and now["hand"]["actor_seat"] is not None:
                    actor = seated[now["hand"]["actor_seat"]]
                    told = await actor.client.event(
                        lambda e, now=now: (
                            e["type"] == "turn_started" and e["at"] == now["timer"]["started_at"]
                        )
                    )
                    await actor.act(**choose(told["legal"], rng))
                    acted += 1
                elif now["hand"] is not None and now["hand"]["run_it"] is not None:
                    vote = now["hand"]["run_it"]
                    said = {answer["seat_index"] for answer in vote["votes"]}
                    asked = seated[next(seat for seat in vote["seats"] if seat not in said)]
                    await asked.client.ask("run_it", room_id=room_id, times=rng.choice([1, 2, 3]))
                elif sum(s["chips"] > 0 for s in now["seats"]) < 2:
                    break
                else:
                    await trio.sleep(0.01)
            assert state.game is not None
            assert state.game["hands_played"] >= 3


@pytest.mark.fail_after(120)
async def test_too_long_away_is_told_so_and_gets_the_room(database_url: str) -> None:
    settings = {"DATABASE_URL": database_url}
    async with serving(settings) as server, table(server, ["ann", "bob"]) as (_, seated):
        room_id = seated[0].room_id
        channel = f"room:{room_id}"
        for _ in range(160):
            await seated[0].client.ask("sit_out", room_id=room_id)
            await seated[0].client.ask("sit_in", room_id=room_id)
        async with connected(server.ws_url, token=server.token("host")) as client:
            reply = await client.ask("subscribe", channel=channel, last_seq=1)
            assert reply["recovered"] is False
            assert reply["room"]["seq"] == reply["seq"] > 300
            ahead = await client.ask("subscribe", channel=channel, last_seq=reply["seq"] + 1000)
            assert ahead["recovered"] is False


@pytest.mark.fail_after(120)
async def test_a_used_token_gives_one_successor_for_a_while_and_then_nothing(
    database_url: str,
) -> None:
    async with (
        serving({"CARDROOM_REJOIN_OVERLAP_S": "3", "DATABASE_URL": database_url}) as server,
        table(server, ["ann", "bob"]) as (_, seated),
    ):
        room_id = seated[0].room_id
        first = (await seated[0].client.ask("hydrate", room_id=room_id))["me"]["rejoin_token"]
        second = await _used(server, room_id, first)
        assert second != first
        assert await _used(server, room_id, first) == second
        await trio.sleep(3.1)
        assert await _turned_away(server, room_id, first)
        third = await _used(server, room_id, second)
        assert third not in (first, second)
        async with connected(server.ws_url) as client:
            other = await client.refused("authenticate", rejoin_token=third, room_id="elsewhere")
            assert other["code"] == "unauthenticated"
        async with connected(server.ws_url) as client:
            reply = await client.ask("authenticate", rejoin_token=third)
            assert reply["room"]["room"]["id"] == room_id
            assert (await client.ask("sit_out"))["seq"] > reply["room"]["seq"]


@pytest.mark.fail_after(120)
async def test_the_token_of_a_kicked_user_lets_nobody_in(database_url: str) -> None:
    async with (
        serving({"DATABASE_URL": database_url}) as server,
        table(server, ["ann", "bob"], auto_start=False) as (
            host,
            seated,
        ),
    ):
        room_id = seated[0].room_id
        old = (await seated[0].client.ask("hydrate", room_id=room_id))["me"]["rejoin_token"]
        new = await _used(server, room_id, old)
        await host.ask("kick", room_id=room_id, user_id="ann", reason="enough")
        assert await _turned_away(server, room_id, new)
        assert await _turned_away(server, room_id, old)
        assert await _used(server, room_id, await _token_of(seated[1]))


@pytest.mark.fail_after(120)
async def test_a_token_outlives_its_time_while_its_users_hand_runs(database_url: str) -> None:
    settings = {
        "CARDROOM_REJOIN_TOKEN_TTL_S": "1",
        "CARDROOM_REJOIN_OVERLAP_S": "0.5",
        "DATABASE_URL": database_url,
    }
    async with (
        serving(settings) as server,
        table(server, ["ann", "bob"], auto_start=False, turn_seconds=60) as (host, seated),
    ):
        ann, bob = seated
        room_id = ann.room_id
        token = await _token_of(bob)
        await host.ask("start", room_id=room_id)
        await ann.turn()
        await bob.client.aclose()
        await trio.sleep(2.0)
        newer = await _used(server, room_id, token)
        await trio.sleep(2.0)
        newest = await _used(server, room_id, newer)
        await ann.act("FOLD")
        await trio.sleep(2.0)
        assert await _turned_away(server, room_id, newest)


async def _token_of(player: Seated) -> str:
    room = await player.client.ask("hydrate", room_id=player.room_id)
    token = room["me"]["rejoin_token"]
    assert isinstance(token, str)
    return token


async def _used(server: ServerProcess, room_id: str, token: str) -> str:
    """Come in by a rejoin token; return the next one."""
    async with connected(server.ws_url) as client:
        reply = await client.ask("authenticate", rejoin_token=token, room_id=room_id)
        successor = reply["rejoin_token"]
        assert isinstance(successor, str)
        return successor


async def _turned_away(server: ServerProcess, room_id: str, token: str) -> bool:
    """Whether a rejoin token is refused, and the socket closed for good."""
    async with connected(server.ws_url) as client:
        refusal = await client.refused("authenticate", rejoin_token=token, room_id=room_id)
        return refusal["code"] == "unauthenticated" and (await client.until_closed()).code == 4501
