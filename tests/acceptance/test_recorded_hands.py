"""Hands that people played, through the running server."""

import dataclasses

import httpx
import pytest
from rich.console import Console

from bench.hands import SETTINGS, play
from bench.hands_report import compare_all, play_all, table_of
from bench.outside import connected
from bench.recorded_hands import recorded_hands
from bench.serving import serving
from tests.support.patience import PATIENCE_S
from tests.support.served import PATIENT


@pytest.mark.fail_after(240)
async def test_recorded_hands_end_as_they_did_and_still_do_after_a_restart() -> None:
    async with serving(SETTINGS | PATIENT) as server:
        everything = await play_all(server)
        await server.kill()
        await server.start()
        await compare_all(server, everything)
    Console(width=160).print(table_of(everything))
    assert len(everything) == 12
    assert sum(played.killed for played in everything) == 1
    assert {p.hand.name: p.problems for p in everything if p.problems} == {}


@pytest.mark.fail_after(120)
async def test_what_is_not_as_recorded_is_found(database_url: str) -> None:
    hand = next(hand for hand in recorded_hands() if hand.shown)
    first, second, *rest = hand.final_stacks
    wrong = dataclasses.replace(
        hand, final_stacks=(first + 1, second - 1, *rest), board=hand.board[:4], shown={}
    )
    async with serving(SETTINGS | PATIENT | {"DATABASE_URL": database_url}) as server:
        problems = " ".join((await play(server, wrong)).problems)
    for told in ("stacks told", "stacks hydrated", "stacks in players", "board in", "may not see"):
        assert told in problems


@pytest.mark.fail_after(120)
@pytest.mark.parametrize("enabled", [False, True])
async def test_decks_are_fixed_only_where_that_is_enabled(database_url: str, enabled: bool) -> None:
    settings = PATIENT | {"DATABASE_URL": database_url} | (SETTINGS if enabled else {})
    async with serving(settings) as server:
        async with httpx.AsyncClient(base_url=server.http_url, timeout=PATIENCE_S) as http:
            ready = (await http.get("/readyz")).json()
        token = server.token("floor", role="staff")
        async with connected(server.ws_url, token=token) as staff:
            room = (await staff.ask("create_room", settings={}))["room"]
            rig = {"room_id": room["id"], "cards": ["Ah", "Kd"]}
            if enabled:
                assert "seq" in await staff.ask("rig_deck", **rig)
            else:
                assert (await staff.refused("rig_deck", **rig))["code"] == "forbidden"
        async with connected(server.ws_url, token=server.token("host")) as host:
            room = (await host.ask("create_room", settings={}))["room"]
            rig = {"room_id": room["id"], "cards": ["Ah", "Kd"]}
            assert (await host.refused("rig_deck", **rig))["code"] == "forbidden"
    assert ready["details"]["rigged_decks"] is enabled
