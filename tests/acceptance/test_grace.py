"""Being away: grace times, the turn clock, and what a stopped server does not count."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import trio

from bench.outside import connected
from bench.server_process import ServerProcess
from tests.acceptance.playing import Seated, serving, table
from tests.support.served import web

DISCONNECT_S = 1.5
FREE_SEAT_S = 4.5
GRACE = {
    "CARDROOM_DISCONNECT_AFTER_S": str(DISCONNECT_S),
    "CARDROOM_FREE_SEAT_AFTER_S": str(FREE_SEAT_S),
    "CARDROOM_SPECTATOR_DROP_AFTER_S": "1.5",
}
BUY_IN = 10_000
WALLET = 1_000_000
LATE_MS = 5_000
"""Later than this nobody is acted for, on however busy a machine."""


async def balance(server: ServerProcess, user: str) -> int:
    """Ask for a user's wallet."""
    async with web(server, user) as http:
        return int((await http.get("/api/me")).json()["balance"])


@pytest.mark.fail_after(120)
async def test_who_stays_away_sits_out_and_then_loses_the_seat_and_keeps_the_chips(
    database_url: str,
) -> None:
    async with (
        serving(GRACE | {"DATABASE_URL": database_url}) as server,
        table(server, ["ann", "bob", "cat"], buy_in=BUY_IN, auto_start=False) as (host, seated),
    ):
        ann = seated[0]
        async with connected(server.ws_url, token=server.token("eve")) as eve:
            await eve.ask("join", room_id=ann.room_id)
            await eve.ask("spectate", room_id=ann.room_id)
        assert await balance(server, "ann") == WALLET - BUY_IN
        left = trio.current_time()
        await ann.client.aclose()
        gone = await host.event_of("player_disconnected", user_id="ann")
        assert trio.current_time() - left > DISCONNECT_S - 0.1
        assert gone["last_seen_at"] <= gone["at"] - DISCONNECT_S * 1000
        await host.event_of("player_sat_out", user_id="ann", reason="disconnected")
        await host.event_of("spectator_left", user_id="eve", reason="unseen")
        freed = await host.event_of("seat_freed", user_id="ann")
        assert trio.current_time() - left > FREE_SEAT_S - 0.1
        assert freed["chips"] == BUY_IN
        assert await balance(server, "ann") == WALLET
        room = await host.ask("hydrate", room_id=ann.room_id)
        assert [seat["user_id"] for seat in room["seats"]] == ["bob", "cat"]
        assert room["spectators"] == []
        # They had a socket all the time.
        away = [e for e in host.events if e["type"] == "player_disconnected"]
        assert [e["user_id"] for e in away] == ["ann"]


@pytest.mark.fail_after(120)
async def test_who_is_back_in_time_keeps_the_seat(database_url: str) -> None:
    async with (
        serving(GRACE | {"DATABASE_URL": database_url}) as server,
        table(server, ["ann", "bob"], buy_in=BUY_IN, auto_start=False) as (host, seated),
    ):
        ann, bob = seated
        await ann.client.aclose()
        await bob.client.aclose()
        await host.event_of("player_disconnected", user_id="ann")
        async with connected(
            server.ws_url, token=server.token("ann"), room_id=ann.room_id
        ) as client:
            await host.event_of("player_reconnected", user_id="ann")
            # Bob left after her: by then her seat would be free as well.
            await host.event_of("seat_freed", user_id="bob")
            room = await client.ask("hydrate", room_id=ann.room_id)
            (mine,) = room["seats"]
            assert (mine["user_id"], mine["connected"]) == ("ann", True)


@pytest.mark.fail_after(120)
async def test_the_clock_acts_for_who_does_not_and_twice_sits_them_out(
    database_url: str,
) -> None:
    async with (
        serving({"DATABASE_URL": database_url}) as server,
        table(
            server,
            ["ann", "bob"],
            buy_in=BUY_IN,
            turn_seconds=5,
            time_bank_seconds=1,
            auto_start=False,
        ) as (host, seated),
    ):
        ann, bob = seated
        await host.ask("start", room_id=ann.room_id)
        turn = await ann.turn()
        assert (turn["deadline"] - turn["at"], turn["timebank_remaining"]) == (5000, 1000)
        first = await host.event_of("player_action", user_id="ann")
        # Five seconds and the time bank; heads-up, the button has the small blind to complete.
        assert 6000 <= first["at"] - turn["at"] < 6000 + LATE_MS
        assert (first["action"], first["auto"]) == ("FOLD", True)
        await host.event_of("hand_complete")
        mark = len(host.events)
        await host.ask("start", room_id=ann.room_id)
        turn = await bob.turn(after=0)
        await bob.act("CALL")
        checked = await host.event_of("player_action", user_id="ann", after=mark)
        asked = next(
            e for e in host.events[mark:] if e["type"] == "turn_started" and e["user_id"] == "ann"
        )
        assert (asked["deadline"] - asked["at"], asked["timebank_remaining"]) == (5000, 0)
        assert 5000 <= checked["at"] - asked["at"] < 5000 + LATE_MS
        assert (checked["action"], checked["auto"]) == ("CHECK", True)
        out = await host.event_of("player_sat_out", user_id="ann")
        assert out["reason"] == "clock"


@pytest.mark.fail_after(120)
async def test_who_comes_back_in_the_hand_is_dealt_in_and_after_it_sits_in_by_asking(
    database_url: str,
) -> None:
    settings = {"DATABASE_URL": database_url, "CARDROOM_DISCONNECT_AFTER_S": "1.5"}
    async with (
        serving(settings) as server,
        table(server, ["ann", "bob"], buy_in=BUY_IN, auto_start=False) as (host, (ann, bob)),
    ):
        room_id = ann.room_id

        async def away() -> None:
            mark = len(host.events)
            await ann.client.aclose()
            await host.event_of("player_disconnected", user_id="ann", after=mark)

        @asynccontextmanager
        async def back() -> AsyncIterator[Seated]:
            mark = len(host.events)
            async with connected(
                server.ws_url, token=server.token("ann"), room_id=room_id
            ) as client:
                await host.event_of("player_reconnected", user_id="ann", after=mark)
                yield Seated(client, room_id, 0)

        await host.ask("start", room_id=room_id)
        await ann.turn()
        await away()
        async with back() as ann:
            await ann.act("FOLD")
            await host.ask("start", room_id=room_id)
            await bob.turn()
            await bob.act("FOLD")
            assert "player_sat_out" not in [e["type"] for e in host.events]
            await away()
        await host.event_of("player_sat_out", user_id="ann", reason="disconnected")
        async with back() as ann:
            refused = await host.refused("start", room_id=room_id)
            assert refused["code"] == "conflict"
            await ann.client.ask("sit_in", room_id=room_id)
            await host.ask("start", room_id=room_id)
            await ann.turn()


@pytest.mark.fail_after(120)
async def test_a_client_without_a_socket_is_there_as_long_as_it_asks(database_url: str) -> None:
    settings = {
        "DATABASE_URL": database_url,
        "CARDROOM_DISCONNECT_AFTER_S": "5",
        "CARDROOM_FREE_SEAT_AFTER_S": "7",
    }
    async with (
        serving(settings) as server,
        table(server, ["ann", "bob"], buy_in=BUY_IN, auto_start=False) as (host, (ann, bob)),
        web(server, "bob") as http,
        trio.open_nursery() as nursery,
    ):

        async def ask_again_and_again() -> None:
            while True:
                answer = await http.get(f"/api/rooms/{ann.room_id}/hydrate")
                assert answer.status_code == 200
                await trio.sleep(0.2)

        nursery.start_soon(ask_again_and_again)
        await bob.client.aclose()
        await ann.client.aclose()
        await host.event_of("seat_freed", user_id="ann")
        assert [e["user_id"] for e in host.events if e["type"] == "player_disconnected"] == ["ann"]
        nursery.cancel_scope.cancel()


@pytest.mark.fail_after(120)
async def test_a_socket_that_falls_silent_was_there_when_it_last_spoke(database_url: str) -> None:
    settings = {
        "DATABASE_URL": database_url,
        "CARDROOM_IDLE_SOCKET_S": "3",
        "CARDROOM_DISCONNECT_AFTER_S": "5",
    }
    async with (
        serving(settings) as server,
        table(server, ["ann", "bob"], buy_in=BUY_IN, auto_start=False) as (host, (ann, _)),
        trio.open_nursery() as nursery,
    ):

        async def stay() -> None:
            while True:
                await host.ask("heartbeat")
                await trio.sleep(0.5)

        nursery.start_soon(stay)
        spoke = await ann.client.ask("heartbeat")
        assert (await ann.client.until_closed()).code == 4000
        gone = await host.event_of("player_disconnected", user_id="ann")
        assert spoke["at"] - 1_000 < gone["last_seen_at"] < spoke["at"] + 1_000
        nursery.cancel_scope.cancel()


@pytest.mark.fail_after(120)
async def test_a_token_lives_past_the_last_heartbeat_and_a_dead_one_is_not_given_out(
    database_url: str,
) -> None:
    settings = {
        "DATABASE_URL": database_url,
        "CARDROOM_REJOIN_TOKEN_TTL_S": "5",
        "CARDROOM_LAST_SEEN_FLUSH_S": "0.2",
    }
    async with (
        serving(settings) as server,
        table(server, ["ann", "bob"], buy_in=BUY_IN, auto_start=False) as (_, (ann, _)),
    ):
        room_id = ann.room_id
        token = (await ann.client.ask("hydrate", room_id=room_id))["me"]["rejoin_token"]
        for _ in range(20):
            await ann.client.ask("heartbeat")
            await trio.sleep(0.3)
        async with connected(server.ws_url) as client:
            reply = await client.ask("authenticate", rejoin_token=token, room_id=room_id)
            last = reply["rejoin_token"]
        await ann.client.aclose()
        await trio.sleep(8.0)
        async with connected(server.ws_url) as client:
            refused = await client.refused("authenticate", rejoin_token=last, room_id=room_id)
            assert refused["code"] == "unauthenticated"
        async with connected(server.ws_url) as client:
            reply = await client.ask("authenticate", token=server.token("ann"), room_id=room_id)
            fresh = reply["rejoin_token"]
        assert fresh != last
        async with connected(server.ws_url) as client:
            await client.ask("authenticate", rejoin_token=fresh, room_id=room_id)


@pytest.mark.fail_after(120)
async def test_time_in_which_the_server_stands_still_counts_against_nobody(
    database_url: str,
) -> None:
    settings = {
        "DATABASE_URL": database_url,
        "CARDROOM_DISCONNECT_AFTER_S": "4",
        "CARDROOM_FREE_SEAT_AFTER_S": "7",
        "CARDROOM_SPECTATOR_DROP_AFTER_S": "4",
    }
    async with (
        serving(settings) as server,
        table(server, ["ann", "bob"], buy_in=BUY_IN, auto_start=False) as (host, (ann, _)),
    ):
        await ann.client.aclose()
        await host.ask("heartbeat")
        server.freeze()
        await trio.sleep(12.0)
        server.thaw()
        # Still hers: told as disconnected first, and only then freed.
        gone = await host.event_of("player_disconnected", user_id="ann")
        assert "seat_freed" not in [e["type"] for e in host.events]
        freed = await host.event_of("seat_freed", user_id="ann")
        assert freed["at"] - gone["last_seen_at"] >= 7_000


@pytest.mark.parametrize("successor", ["the same node", "another node"])
@pytest.mark.fail_after(120)
async def test_time_without_a_server_counts_against_nobody(
    database_url: str, successor: str
) -> None:
    settings = {
        "DATABASE_URL": database_url,
        "CARDROOM_DISCONNECT_AFTER_S": "4",
        "CARDROOM_FREE_SEAT_AFTER_S": "7",
        "CARDROOM_NODE_LEASE_S": "3",
        "CARDROOM_JWT_SECRET": "0123456789abcdef" * 4,
    }
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(serving(settings))
        async with table(server, ["ann", "bob"], buy_in=BUY_IN, turn_seconds=6) as (_, seated):
            room_id = seated[0].room_id
            turn = await seated[0].turn()
            await trio.sleep(2.0)
            await server.kill()
        await trio.sleep(9.0)
        began = trio.current_time()
        if successor == "the same node":
            await server.start()
        else:
            server = await stack.enter_async_context(serving(settings))
        async with connected(server.ws_url) as watching:
            reply = await watching.ask("authenticate", token=server.token("host"), room_id=room_id)
            room = reply["room"]
            assert [seat["user_id"] for seat in room["seats"]] == ["ann", "bob"]
            assert room["hand"]["actor_seat"] == turn["seat_index"]
            timer = room["timer"]
            assert timer["deadline"] - timer["started_at"] == 6000
            assert timer["deadline"] > turn["deadline"]
            assert timer["timebank_remaining"] == turn["timebank_remaining"]
            # The one who is to act comes back and has their whole turn.
            async with connected(
                server.ws_url, token=server.token("ann"), room_id=room_id
            ) as client:
                ann = Seated(client, room_id, 0)
                await ann.act("CALL")
            told = await watching.event_of("player_disconnected", user_id="bob")
            assert trio.current_time() - began > 2.0
            assert told["last_seen_at"] > turn["at"] + 9000
