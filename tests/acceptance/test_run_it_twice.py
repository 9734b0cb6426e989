"""Two players all-in before the flop agree to see the rest of the board twice, over a kill -9."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest

from bench.outside import JSON, Message, Outside, connected
from tests.acceptance.playing import room_events, serving, table
from tests.acceptance.reducer import Table
from tests.support.hands import rigged_deck
from tests.support.served import rows, web

FIRST = ["2c", "7d", "9h", "Js", "Qd"]
SECOND = ["Kc", "4d", "5h", "8s", "9s"]
VOTE = "8a5b0f0e-7d5c-4b52-9a39-0d5f3c0f4e11"
RIGGED = {"CARDROOM_ENABLE_RIGGED_DECKS": "true"}


def deck() -> list[str]:
    """Aces for the small blind, which win on the first board; kings, which win on the second."""
    one = rigged_deck(["AhAd", "KhKd"], "".join(FIRST))[:12]
    burnt = iter(["3c", "3d", "3h"])
    two = [next(burnt), *SECOND[:3], next(burnt), SECOND[3], next(burnt), SECOND[4]]
    return [*one, *two]


async def fresh(stack: AsyncExitStack, url: str, token: str, room_id: str) -> Outside:
    """Come back as somebody who has lost everything but who they are."""
    client = await stack.enter_async_context(connected(url, coding=JSON))
    client.user_id = (await client.ask("authenticate", token=token, room_id=room_id))["user_id"]
    return client


def told(events: list[Message], kind: str) -> list[Message]:
    return [event for event in events if event["type"] == kind]


@pytest.mark.fail_after(90)
async def test_a_vote_goes_on_after_a_kill_and_both_boards_are_paid() -> None:
    async with serving(RIGGED) as server:
        async with table(server, ["ann", "bob"], auto_start=False, run_it_times=2) as (
            host,
            seated,
        ):
            room_id = seated[0].room_id
            async with connected(server.ws_url, token=server.token("f", role="staff")) as staff:
                await staff.ask("rig_deck", room_id=room_id, cards=deck())
            await host.ask("start", room_id=room_id)
            await seated[0].act("ALL_IN")
            await seated[1].act("ALL_IN")
            offered = await host.event_of("run_it_offered")
            assert (offered["seats"], offered["times"], offered["pot"]) == ([0, 1], 2, 20_000)
            assert not told(room_events(host, room_id), "showdown"), "cards are tabled after it"
            vote = {"room_id": room_id, "times": 2, "command_id": VOTE}
            done = await seated[0].client.ask("run_it", **vote)
            before = await host.ask("hydrate", room_id=room_id)
            assert before["seq"] == done["seq"]
            await server.kill()

        await server.start()
        async with AsyncExitStack() as stack:
            watching = await fresh(stack, server.ws_url, server.token("host"), room_id)
            ann = await fresh(stack, server.ws_url, server.token("ann"), room_id)
            after = await watching.ask("hydrate", room_id=room_id)
            run_it = after["hand"]["run_it"]
            assert run_it["votes"] == [{"seat_index": 0, "times": 2}]
            assert run_it["deadline"] > before["hand"]["run_it"]["deadline"], "a fresh ten seconds"
            for name in ("board", "boards", "pot", "pots", "phase"):
                assert after["hand"][name] == before["hand"][name]
            assert await ann.ask("run_it", **vote) | {"re": 0} == done | {"re": 0}
            assert (await ann.refused("run_it", room_id=room_id, times=2))["code"] == "conflict"
            (again,) = rows(server, "SELECT payload FROM room_events ORDER BY seq DESC LIMIT 1")
            assert again["payload"]["seats"] == [1], "who has answered is not asked again"
            mirror = Table(after)
            async with web(server, "bob") as http:
                answer = await http.post(f"/api/rooms/{room_id}/run-it", json={"times": 2})
                assert answer.status_code == 200, answer.text
            last = await watching.event_of("hand_complete")
            events = [e for e in room_events(watching, room_id) if e["seq"] > after["seq"]]
            for event in events:
                mirror.apply(event)
            assert mirror.view() == Table(await watching.ask("hydrate", room_id=room_id)).view()

        assert [event["type"] for event in events] == [
            "run_it_voted",
            "run_it_decided",
            *["street_advanced"] * 6,
            "showdown",
            "pot_distributed",
            "hand_complete",
        ]
        streets = told(events, "street_advanced")
        assert [(e["runout"], e["street"]) for e in streets] == [
            (runout, street) for runout in (1, 2) for street in ("flop", "turn", "river")
        ]
        assert [streets[2]["board"], streets[5]["board"]] == [FIRST, SECOND]
        ranks = {hand["seat_index"]: hand["ranks"] for hand in told(events, "showdown")[0]["hands"]}
        assert ranks == {0: ["one pair", "one pair"], 1: ["one pair", "three of a kind"]}
        (pot,) = told(events, "pot_distributed")[0]["pots"]
        assert pot["runouts"] == [
            {"runout": 1, "amount": 10_000, "winners": [{"seat_index": 0, "amount": 10_000}]},
            {"runout": 2, "amount": 10_000, "winners": [{"seat_index": 1, "amount": 10_000}]},
        ]
        assert {s["seat_index"]: s["chips"] for s in last["stacks"]} == {0: 10_000, 1: 10_000}
        (hand,) = rows(server, "SELECT * FROM hands WHERE room_id = %s", room_id)
        assert (hand["runouts"], hand["board"]) == (2, FIRST)
        assert (hand["other_boards"], hand["run_it_deadline"]) == (["".join(SECOND)], None)
