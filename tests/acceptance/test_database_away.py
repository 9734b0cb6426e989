"""The database goes away and comes back: nothing untrue is told, and all goes on by itself."""

from __future__ import annotations

import random
import re
import socket
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from uuid import uuid4

import pytest
import trio

from bench.outside import Message, Outside, Refusal, connected
from bench.server_process import ServerProcess
from server.embedded import EmbeddedPostgres
from tests.acceptance.playing import (
    Seated,
    assert_no_gap,
    choose,
    room_events,
    seqs,
    serving,
    table,
)
from tests.support.database_proxy import Commit, DatabaseProxy, database_proxy
from tests.support.patience import PATIENCE_S
from tests.support.postgres import kill_postgres

USERS = ["ann", "bob", "cat"]
DB_TIMEOUT_S = 2.0
PROMPT_S = 10.0
"""That, and whatever a busy machine adds; no time-out is longer."""
BUY_IN = 50_000


@asynccontextmanager
async def wired(
    database_url: str, *, start: bool = True
) -> AsyncIterator[tuple[ServerProcess, DatabaseProxy]]:
    """Run a server with a wire to its database that can be cut."""
    async with database_proxy(database_url) as proxy:
        settings = {
            "DATABASE_URL": proxy.url,
            "CARDROOM_DB_TIMEOUT_S": str(DB_TIMEOUT_S),
            "CARDROOM_HTTP_PORT": str(_free_port()),
        }
        if not start:
            await proxy.cut()
        async with serving(settings, start=start) as server:
            yield server, proxy


async def ready(server: ServerProcess) -> tuple[int, str]:
    """Ask `/readyz`; return its status and text."""
    url = f"http://127.0.0.1:{server.settings['CARDROOM_HTTP_PORT']}/readyz"

    def ask() -> tuple[int, str]:
        try:
            with urllib.request.urlopen(url, timeout=PATIENCE_S) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except (urllib.error.URLError, OSError) as error:
            return 0, str(error)

    return await trio.to_thread.run_sync(ask)


async def metric(server: ServerProcess, name: str) -> float:
    """Sum a metric over its labels."""

    def read() -> str:
        with urllib.request.urlopen(f"{server.http_url}/metrics", timeout=PATIENCE_S) as answer:
            return str(answer.read().decode())

    text = await trio.to_thread.run_sync(read)
    found = re.findall(rf"^{name}(?:\{{[^}}]*\}})? (\S+)$", text, re.MULTILINE)
    return sum(float(value) for value in found)


async def assert_away(client: Outside, room_id: str) -> None:
    """Hold that every kind of command is answered `unavailable`, promptly."""

    async def refused(type: str, **fields: object) -> None:
        began = trio.current_time()
        refusal = await client.refused(type, **fields)
        assert refusal["code"] == "unavailable", refusal
        assert refusal["retry_after"] > 0
        assert trio.current_time() - began < PROMPT_S

    commands: list[tuple[str, Message]] = [
        ("sit_out", {"room_id": room_id}),
        ("hydrate", {"room_id": room_id}),
        ("leave_seat", {"room_id": room_id}),
        ("create_room", {"settings": {}}),
        ("list_rooms", {}),
    ]
    async with trio.open_nursery() as nursery:
        for type, fields in commands:
            nursery.start_soon(partial(refused, type, **fields))


async def back(client: Outside, room_id: str) -> None:
    """Wait until commands are carried out again."""
    with trio.fail_after(PATIENCE_S):
        while True:
            try:
                await client.ask("hydrate", room_id=room_id)
                await client.ask("list_rooms")
            except Refusal as refusal:
                if refusal.code != "unavailable":
                    raise
                await trio.sleep(0.1)
            else:
                return


async def until_ready(server: ServerProcess, wanted: bool) -> str:
    """Wait until `/readyz` says yes, or no; return what it says."""
    with trio.fail_after(PATIENCE_S):
        while True:
            status, text = await ready(server)
            if status and (status == 200) is wanted:
                return text
            await trio.sleep(0.1)


async def told_everything(players: list[Seated]) -> None:
    """Wait until each player's socket has brought all that was sent before."""
    for player in players:
        await player.client.ask("heartbeat")


async def play(
    seated: list[Seated], decisions: int, seed: int, *, recovering: bool = False
) -> None:
    """Have the table make so many decisions; `recovering`, try again what is `unavailable`."""
    rng = random.Random(seed)
    for _ in range(decisions):
        while True:
            room = await seated[0].client.ask("hydrate", room_id=seated[0].room_id)
            if room["timer"] is not None:
                break
            await trio.sleep(0.02)
        actor = seated[room["timer"]["actor_seat"]]
        mine = await actor.client.ask("hydrate", room_id=actor.room_id)
        action = choose(mine["me"]["legal_actions"], rng)
        while True:
            try:
                await actor.act(**action)
                break
            except Refusal as refusal:
                # Reading may be back a moment before committing is; nothing was changed then.
                if not recovering or refusal.code != "unavailable":
                    raise
                await trio.sleep(refusal.message["retry_after"])


async def assert_unharmed(server: ServerProcess, host: Outside, room_id: str) -> None:
    """Hold that nothing was restarted or set aside, no event is missing, no chip lost."""
    assert await metric(server, "cardroom_restarts_total") == 0
    assert await metric(server, "cardroom_rooms_quarantined") == 0
    heard = seqs(room_events(host, room_id))
    assert_no_gap(heard)
    room = await host.ask("hydrate", room_id=room_id)
    kept = await host.ask("subscribe", channel=f"room:{room_id}", last_seq=0)
    told = [event for event in kept["missed"] if not event.get("private")]
    assert_no_gap([0, *seqs(told)])
    first = heard[0]
    assert room_events(host, room_id)[: len(told) - first + 1] == told[first - 1 :]
    pot = room["hand"]["pot"] if room["hand"] else 0
    assert pot + sum(seat["chips"] for seat in room["seats"]) == BUY_IN * len(USERS)


@pytest.mark.fail_after(120)
async def test_nothing_is_told_while_it_is_away_and_all_goes_on_when_it_is_back(
    database_url: str,
) -> None:
    async with (
        wired(database_url) as (server, proxy),
        table(server, USERS, buy_in=BUY_IN) as (host, seated),
    ):
        room_id = seated[0].room_id
        await play(seated, 8, 1)
        assert (await ready(server))[0] == 200
        await proxy.cut()
        # The server has noticed, and what it had been told before is with everybody.
        await assert_away(seated[0].client, room_id)
        await told_everything(seated)
        heard = {player: len(player.client.events) for player in seated}
        await assert_away(seated[0].client, room_id)
        assert '"away"' in (await until_ready(server, False)).replace(" ", "")
        await told_everything(seated)
        for player in seated:
            assert len(player.client.events) == heard[player], "something was told"
        proxy.mend()
        await back(seated[0].client, room_id)
        await until_ready(server, True)
        await play(seated, 12, 2)
        await assert_unharmed(server, host, room_id)


@pytest.mark.fail_after(120)
@pytest.mark.parametrize("fate", list(Commit))
async def test_a_command_in_flight_at_the_cut_is_answered_truly(
    database_url: str, fate: Commit
) -> None:
    async with (
        wired(database_url) as (server, proxy),
        table(server, USERS, buy_in=BUY_IN, auto_start=False) as (host, seated),
    ):
        room_id = seated[0].room_id
        client = seated[1].client
        before = (await client.ask("hydrate", room_id=room_id))["seq"]
        key = str(uuid4())
        command: Message = {"type": "sit_out", "room_id": room_id, "command_id": key}
        proxy.next_commit = fate
        in_flight = await client.post(**command)
        await proxy.fallen.wait()
        await trio.sleep(1.0)
        await host.ask("heartbeat")
        assert seqs(room_events(host, room_id))[-1] == before, "nobody can know yet"
        proxy.mend()
        if fate is Commit.UNANSWERED:
            with trio.fail_after(PATIENCE_S):
                first = await client.reply_to(in_flight)
            assert first["seq"] == before + 1
        else:
            with trio.fail_after(PATIENCE_S), pytest.raises(Refusal) as refused:
                await client.reply_to(in_flight)
            assert refused.value.code == "unavailable"
            first = await client.ask(**command)
            assert first["seq"] == before + 1
        again = await client.ask(**command)
        assert {**again, "re": 0} == {**first, "re": 0}
        async with connected(server.ws_url, token=server.token("bob")) as other:
            again = await other.ask(**command)
            assert {**again, "re": 0} == {**first, "re": 0}
        sat_out = [e for e in room_events(host, room_id) if e["type"] == "player_sat_out"]
        assert seqs(sat_out) == [before + 1]
        await assert_unharmed(server, host, room_id)


@pytest.mark.fail_after(120)
async def test_many_short_cuts_under_play_lose_nothing(database_url: str) -> None:
    rng = random.Random(3)
    async with (
        wired(database_url) as (server, proxy),
        table(server, USERS, buy_in=BUY_IN) as (host, seated),
    ):
        room_id = seated[0].room_id
        cuts = 0
        with trio.CancelScope() as end:
            async with trio.open_nursery() as nursery:
                for number, player in enumerate(seated):
                    nursery.start_soon(_act_whenever, player, random.Random(number))
                while cuts < 12 or len(room_events(host, room_id)) <= 60:
                    cuts += 1
                    await trio.sleep(rng.uniform(0.1, 0.6))
                    if rng.random() < 0.5:
                        proxy.next_commit = rng.choice(list(Commit))
                        with trio.move_on_after(1.0):
                            await proxy.fallen.wait()
                    else:
                        await proxy.cut()
                    proxy.fallen = trio.Event()
                    await trio.sleep(rng.uniform(0.0, 0.4))
                    proxy.next_commit = None
                    proxy.mend()
                end.cancel()
        await back(host, room_id)
        await play(seated, 9, 4, recovering=True)
        await assert_unharmed(server, host, room_id)


async def _act_whenever(player: Seated, rng: random.Random) -> None:
    while True:
        try:
            room = await player.client.ask("hydrate", room_id=player.room_id)
            legal = room["me"].get("legal_actions")
            if legal is not None:
                await player.act(**choose(legal, rng))
        except Refusal as refusal:
            if refusal.code not in ("unavailable", "not_your_turn"):
                raise
        await trio.sleep(0.02)


@pytest.mark.fail_after(120)
async def test_a_killed_postgresql_under_a_running_server() -> None:
    settings = {"CARDROOM_DB_TIMEOUT_S": str(DB_TIMEOUT_S)}
    async with serving(settings) as server, table(server, USERS, buy_in=BUY_IN) as (host, seated):
        room_id = seated[0].room_id
        await play(seated, 8, 5)
        pid = int((server.data_dir / "postgres" / "postmaster.pid").read_text().split()[0])
        await kill_postgres(pid)
        await assert_away(seated[0].client, room_id)
        # Whoever starts it again lets go of it at once: the server still uses it.
        await (await EmbeddedPostgres.start(server.data_dir)).stop()
        await back(seated[0].client, room_id)
        await play(seated, 12, 6, recovering=True)
        await assert_unharmed(server, host, room_id)


@pytest.mark.fail_after(120)
async def test_a_server_whose_database_is_away_at_start_waits_says_so_and_then_serves(
    database_url: str,
) -> None:
    async with wired(database_url, start=False) as (server, proxy):
        server.launch()
        assert '"away"' in (await until_ready(server, False)).replace(" ", "")
        await trio.sleep(3.0)
        assert (await ready(server))[0] == 503
        assert server.log().count("waiting_for_database") == 1
        assert not (server.data_dir / "server.json").exists()
        proxy.mend()
        await until_ready(server, True)


def _free_port() -> int:
    """Pick a port that nobody has, and that the kernel gives nobody who asks for any."""
    while True:
        port = random.randrange(20_000, 30_000)
        with socket.socket() as sock, suppress(OSError):
            sock.bind(("127.0.0.1", port))
            return port
