"""People and their roles from outside: every way in and out, what host and staff may do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
import trio

from bench.outside import Refusal, connected
from bench.server_process import ServerProcess
from tests.acceptance.people import BUY_IN, Room, opened
from tests.support.served import FAST, rows, serving, web

COOLDOWN_S = 3.0


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with serving(FAST | {"CARDROOM_REJECT_COOLDOWN_S": str(COOLDOWN_S)}) as running:
        yield running


async def join_when_let(room: Room, name: str, retry_at: int) -> None:
    """Have somebody who was rejected ask again until the cool-down is over."""
    socket = await room.socket(name)
    while True:
        try:
            await socket.ask("join", room_id=room.room_id)
        except Refusal as refusal:
            told = refusal.message
        else:
            return
        assert (told["code"], told["details"]["retry_at"]) == ("forbidden", retry_at)
        await trio.sleep(told["retry_after"])


# Transitions


@pytest.mark.fail_after(120)
async def test_a_guest_asks_is_let_in_watches_sits_and_gets_up(server: ServerProcess) -> None:
    async with opened(server, requires_approval=True) as room:
        assert await room.standing("ann") == ("guest", "guest")
        joined = await room.do("ann", "join", display_name="Ann")
        assert (joined["status"], joined["waiting_for_approval"]) == ("pending", True)
        asked = await room.told("host", "player_join_requested", user_id="ann")
        assert (asked["private"], asked["display_name"]) == (True, "Ann")
        assert await room.standing("ann") == ("pending", "pending")
        await room.do("host", "approve", user_id="ann")
        approved = await room.told("ann", "player_approved", channel="player-ann")
        assert await room.standing("ann") == ("approved", "approved")
        async with connected(server.ws_url) as again:
            token = approved["rejoin_token"]
            reply = await again.ask("authenticate", rejoin_token=token, room_id=room.room_id)
            assert (reply["user_id"], reply["room"]["role"]) == ("ann", "approved")
        assert (await room.do("ann", "spectate"))["role"] == "spectator"
        assert await room.standing("ann") == ("approved", "spectator")
        seated = await room.do("ann", "seat", seat_index=3, buy_in=BUY_IN)
        assert (seated["role"], seated["chips"]) == ("player", BUY_IN)
        await room.do("ann", "leave_seat")
        assert await room.standing("ann") == ("approved", "spectator")
        await room.do("ann", "leave_room")
        assert await room.standing("ann") == ("guest", "guest")


@pytest.mark.fail_after(120)
async def test_a_request_that_is_withdrawn_is_gone_from_the_hosts_list(
    server: ServerProcess,
) -> None:
    async with opened(server, requires_approval=True) as room:
        await room.do("ann", "join")
        assert [p["user_id"] for p in (await room.sees("host"))["pending_requests"]] == ["ann"]
        await room.do("ann", "leave_room")
        await room.told("host", "player_join_withdrawn", user_id="ann")
        assert (await room.sees("host"))["pending_requests"] == []
        assert await room.refused("host", "approve", user_id="ann") == "not_found"


@pytest.mark.fail_after(120)
async def test_who_is_rejected_may_ask_again_after_the_cool_down(server: ServerProcess) -> None:
    async with opened(server, requires_approval=True) as room:
        await room.do("ann", "join")
        await room.do("floor", "reject", user_id="ann")
        told = await room.told("ann", "player_rejected", channel="player-ann")
        assert told["retry_at"] - told["at"] == COOLDOWN_S * 1000
        assert await room.standing("ann") == ("rejected", "guest")
        await join_when_let(room, "ann", told["retry_at"])
        (request,) = (await room.sees("host"))["pending_requests"]
        assert request["requested_at"] >= told["retry_at"]
        assert await room.standing("ann") == ("pending", "pending")


@pytest.mark.fail_after(120)
async def test_a_kicked_user_loses_seat_token_and_approval_after_the_hand_and_may_ask_again(
    server: ServerProcess,
) -> None:
    async with opened(server) as room:
        await room.sit("ann", "bob", "cat")
        await room.listen("ann")
        before = await room.wallet("cat")
        token = (await room.sees("cat"))["me"]["rejoin_token"]
        await room.do("host", "start")
        kicked = await room.do("host", "kick", user_id="cat", reason="rude")
        assert kicked["pending"] is True
        assert (await room.standing("cat"))[1] == "player"
        await room.fold()
        told = await room.told("ann", "player_kicked", user_id="cat")
        assert (told["seat_index"], told["reason"]) == (2, "rude")
        assert await room.wallet("cat") == before + told["chips"]
        assert await room.standing("cat") == ("guest", "guest")
        async with connected(server.ws_url) as outside:
            refused = await outside.refused(
                "authenticate", rejoin_token=token, room_id=room.room_id
            )
            assert refused["code"] == "unauthenticated"
        assert await room.refused("cat", "seat", seat_index=4, buy_in=BUY_IN) == "not_approved"
        assert (await room.do("cat", "join"))["status"] == "approved"


# Bans


@pytest.mark.fail_after(120)
async def test_who_is_banned_is_kicked_and_does_not_come_back_until_unbanned(
    server: ServerProcess,
) -> None:
    async with opened(server) as room:
        await room.sit("ann", "bob")
        await room.listen("ann", "bob", "floor")
        await room.do("host", "ban", user_id="ann", reason="cheats")
        kicked = await room.told("bob", "player_kicked", user_id="ann")
        assert kicked["reason"] is None
        reason = await room.told("ann", "player_banned", channel="player-ann")
        assert (reason["reason"], reason["banned_by"]) == ("cheats", None)
        for operator in ("host", "floor"):
            told = await room.told(operator, "player_banned", private=True)
            assert (told["reason"], told["banned_by"]) == ("cheats", "host")
            (ban,) = (await room.sees(operator))["bans"]
            assert ban == {
                "user_id": "ann",
                "reason": "cheats",
                "banned_by": "host",
                "banned_at": told["at"],
            }
        assert "cheats" not in str((await room.socket("bob")).events)
        assert "bans" not in await room.sees("bob")
        code = (await room.sees("host"))["room"]["code"]
        ann = await room.socket("ann")
        for refused in (
            await ann.refused("join", code=code),
            await ann.refused("join", room_id=room.room_id),
            await ann.refused("seat", room_id=room.room_id, seat_index=5, buy_in=BUY_IN),
            await ann.refused("spectate", room_id=room.room_id),
        ):
            assert refused["code"] == "forbidden"
            assert refused["details"] == {"banned": True, "reason": "cheats"}
        await room.do("host", "unban", user_id="ann")
        await room.told("ann", "player_unbanned", channel="player-ann")
        await room.do("ann", "join")


@pytest.mark.fail_after(120)
async def test_bans_are_made_listed_and_lifted_over_http(server: ServerProcess) -> None:
    async with opened(server) as room, web(server, "host") as http:
        path = f"/api/rooms/{room.room_id}/bans"
        made = await http.post(path, json={"userId": 29, "reason": "cheats"})
        assert made.json() == {"success": True, "seq": 1, "pending": False, "chips": 0}
        (ban,) = (await http.get(path)).json()["bans"]
        assert (ban["userId"], ban["reason"], ban["bannedBy"]) == ("29", "cheats", "host")
        assert await room.refused("29", "join") == "forbidden"
        lifted = await http.delete(f"{path}/29")
        assert lifted.json() == {"success": True, "seq": 2}
        assert (await http.get(path)).json()["bans"] == []
        await room.do("29", "join")


# Host and staff


@pytest.mark.fail_after(120)
async def test_staff_enter_any_room_and_do_what_a_host_may_except_see_hole_cards(
    server: ServerProcess,
) -> None:
    closed_to_all = {"is_private": True, "requires_approval": True, "spectators_allowed": False}
    async with opened(server, **closed_to_all) as room:
        async with web(server, "floor", "staff") as http:
            assert room.room_id in {r["id"] for r in (await http.get("/api/rooms")).json()["rooms"]}
        async with web(server, "ann") as http:
            listed = (await http.get("/api/rooms")).json()["rooms"]
            assert room.room_id not in {r["id"] for r in listed}
        await room.do("host", "ban", user_id="floor")
        assert (await room.do("floor", "spectate"))["role"] == "spectator"
        await room.listen("floor")
        for index, name in enumerate(("ann", "bob")):
            await room.do(name, "join")
            await room.do("floor", "approve", user_id=name)
            await room.do(name, "seat", seat_index=index, buy_in=BUY_IN)
        await room.do("floor", "settings", settings={"big_blind": 20, "small_blind": 10})
        await room.do("floor", "adjust_chips", user_id="ann", delta=-100, reason="mistake")
        await room.do("floor", "start")
        seen = await room.sees("floor")
        assert (seen["role"], seen["hand"]["current_bet"]) == ("spectator", 20)
        assert "hole_cards" not in seen["me"]
        assert seen["host_controls"]["can_kick"]
        assert await room.refused("floor", "action", action="FOLD") == "forbidden"
        assert "cards_dealt" not in [e["type"] for e in (await room.socket("floor")).events]
        await room.do("floor", "pause")
        await room.fold()
        assert (await room.sees("host"))["room"]["status"] == "paused"
        assert await room.refused("floor", "start") == "conflict"
        await room.do("floor", "resume")
        await room.do("floor", "kick", user_id="bob")
        assert await room.refused("host", "transfer_host", user_id="floor") == "forbidden"
        await room.do("host", "unban", user_id="floor")
        await room.do("floor", "transfer_host", user_id="floor")
        assert (await room.sees("floor"))["role"] == "host"
        assert await room.refused("host", "pause") == "forbidden"
        await room.do("floor", "close_room", reason="late")
        assert (await room.told("host", "room_closed"))["reason"] == "late"
        assert (await room.sees("floor"))["seats"] == []


@pytest.mark.fail_after(120)
async def test_chips_are_adjusted_between_hands_against_the_house(server: ServerProcess) -> None:
    async with opened(server) as room:
        await room.sit("ann", "bob")
        changed = await room.do("host", "adjust_chips", user_id="ann", delta=250, reason="gift")
        assert changed["chips"] == BUY_IN + 250
        booked = rows(
            server,
            "SELECT account, amount::int, reason FROM ledger_entries "
            "WHERE room_id = %s AND kind = 'adjustment' ORDER BY amount",
            room.room_id,
        )
        assert [(row["account"], row["amount"], row["reason"]) for row in booked] == [
            ("house", -250, "gift"),
            ("stack", 250, "gift"),
        ]
        assert await room.refused("host", "adjust_chips", user_id="ann", delta=5) == "bad_request"
        more = {"user_id": "ann", "delta": -1_251, "reason": "too much"}
        assert await room.refused("host", "adjust_chips", **more) == "bad_request"
        await room.do("host", "start")
        more["delta"] = 1
        assert await room.refused("host", "adjust_chips", **more) == "conflict"


@pytest.mark.fail_after(120)
async def test_settings_apply_from_the_next_hand_on(server: ServerProcess) -> None:
    async with opened(server) as room:
        await room.sit("ann", "bob")
        await room.do("host", "start")
        reply = await room.do("host", "settings", big_blind=40, small_blind=20)
        assert (reply["room"]["big_blind"], reply["room"]["next_settings"]["big_blind"]) == (10, 40)
        assert (await room.sees("ann"))["hand"]["current_bet"] == 10
        await room.fold()
        await room.do("host", "start")
        seen = await room.sees("ann")
        assert (seen["hand"]["current_bet"], seen["room"]["next_settings"]) == (40, None)


# What is noted of it


@pytest.mark.fail_after(120)
@pytest.mark.parametrize(("by", "source"), [("host", "websocket"), ("floor", "http")])
async def test_every_action_of_host_and_staff_is_audited_with_who_what_when_and_from_where(
    server: ServerProcess, by: str, source: str
) -> None:
    async with opened(server, requires_approval=True) as room:
        role = "staff" if by == "floor" else "player"
        async with (
            web(server, by, role) as http,
            web(server, "floor", "staff") as staff,
        ):

            async def run(kind: str, method: str, path: str, **fields: Any) -> None:
                """Do it by the way in that this is about; HTTP has its fields in camelCase."""
                if source == "websocket":
                    await room.do(by, kind, **fields)
                    return
                body = {{"user_id": "userId"}.get(k, k): v for k, v in fields.items()}
                answer = await http.request(method, f"/api/rooms/{room.room_id}{path}", json=body)
                assert answer.status_code == 200, answer.text

            for name in ("ann", "bob", "cat", "dan"):
                await room.do(name, "join")
            for name in ("ann", "bob", "cat"):
                await run("approve", "POST", "/approve", user_id=name)
            await run("reject", "POST", "/reject", user_id="dan")
            for index, name in enumerate(("ann", "bob", "cat")):
                await room.do(name, "seat", seat_index=index, buy_in=BUY_IN)
            await run("settings", "PATCH", "/settings", ante=1)
            await run("adjust_chips", "POST", "/chips", user_id="ann", delta=7, reason="gift")
            await run("start", "POST", "/start")
            await run("pause", "POST", "/pause")
            await room.fold()
            await run("resume", "POST", "/resume")
            await run("kick", "POST", "/kick", user_id="cat", reason="rude")
            await run("ban", "POST", "/bans", user_id="cat", reason="again")
            await run("unban", "DELETE", "/bans/cat", user_id="cat")
            # The host of before goes on as staff do, or as the host that they made themselves.
            heir = by if by == "floor" else "ann"
            if by == "floor":
                await run("spectate", "POST", "/spectate")
            await run("transfer_host", "POST", "/transfer-host", user_id=heir)
            if by == "host":
                await room.do(heir, "transfer_host", user_id=by)
            await run("close_room", "DELETE", "", reason="late")

            page = (await staff.get(f"/api/staff/audit?roomId={room.room_id}&limit=500")).json()
            mine = [line for line in page["entries"] if line["userId"] == by]
            done = [(line["action"], line["subjectId"]) for line in reversed(mine)]
            assert done == [
                *([("create_room", None)] if by == "host" else []),
                *[("approve", name) for name in ("ann", "bob", "cat")],
                ("reject", "dan"),
                ("settings", None),
                ("adjust_chips", "ann"),
                ("start", None),
                ("pause", None),
                ("resume", None),
                ("kick", "cat"),
                ("ban", "cat"),
                ("unban", "cat"),
                *([("spectate", None)] if by == "floor" else []),
                ("transfer_host", heir),
                ("close_room", None),
            ]
            assert {(line["role"], line["source"]) for line in mine} == {(role, source)}
            details = {line["action"]: line["details"] for line in mine}
            assert details["settings"] == {"ante": 1}
            assert details["adjust_chips"] == {"delta": 7, "reason": "gift"}
            assert [details[kind]["reason"] for kind in ("kick", "ban", "close_room")] == [
                "rude",
                "again",
                "late",
            ]
            events = rows(
                server,
                "SELECT type, (extract(epoch FROM at) * 1000)::bigint AS at FROM room_events "
                "WHERE room_id = %s",
                room.room_id,
            )
            told_at = {event["type"]: event["at"] for event in events}
            noted_at = {line["action"]: line["at"] for line in mine}
            assert noted_at["ban"] == told_at["player_banned"]
            assert noted_at["close_room"] == told_at["room_closed"]


@pytest.mark.fail_after(120)
async def test_the_audit_log_is_filtered_and_paged(server: ServerProcess) -> None:
    async with opened(server) as room, web(server, "floor", "staff") as staff:
        for name in ("ann", "bob"):
            await room.do("host", "ban", user_id=name)
            await room.do("floor", "unban", user_id=name)

        async def lines(**query: Any) -> list[tuple[str, str, str]]:
            found = await staff.get(
                "/api/staff/audit", params={"roomId": room.room_id, "limit": 50, **query}
            )
            entries = found.json()["entries"]
            return [(e["userId"], e["action"], e["subjectId"]) for e in reversed(entries)]

        every = await lines()
        assert every == [
            ("host", "create_room", None),
            ("host", "ban", "ann"),
            ("floor", "unban", "ann"),
            ("host", "ban", "bob"),
            ("floor", "unban", "bob"),
        ]
        assert await lines(userId="floor") == [every[2], every[4]]
        assert await lines(subjectId="ann") == every[1:3]
        assert await lines(action="ban") == [every[1], every[3]]
        assert await lines(action="ban", subjectId="bob") == [every[3]]
        assert await lines(roomId="elsewhere") == []
        first = (await staff.get(f"/api/staff/audit?roomId={room.room_id}&limit=2")).json()
        assert [line["action"] for line in first["entries"]] == ["unban", "ban"]
        assert await lines(before=first["nextBefore"]) == every[:3]


@pytest.mark.fail_after(120)
async def test_staff_see_the_whole_floor(server: ServerProcess) -> None:
    private = {"is_private": True, "requires_approval": True, "name": "Back room"}
    async with opened(server, **private) as room, web(server, "floor", "staff") as staff:
        await room.do("ann", "join")
        await room.do("host", "approve", user_id="ann")
        await room.do("ann", "seat", seat_index=4, buy_in=BUY_IN, display_name="Ann")
        await room.do("bob", "join")
        await room.do("floor", "spectate")
        floor = (await staff.get("/api/staff/overview")).json()
        (table,) = [t for t in floor["rooms"] if t["id"] == room.room_id]
        assert floor["openRooms"] == len(floor["rooms"])
        assert floor["quarantined"] == []
        assert (table["name"], table["status"], table["isPrivate"]) == (
            "Back room",
            "waiting",
            True,
        )
        assert [(p["userId"], p["seatIndex"], p["chips"]) for p in table["players"]] == [
            ("ann", 4, BUY_IN)
        ]
        assert (table["spectators"], table["pendingRequests"], table["inHand"]) == (1, 1, False)
        assert table["waitlistLength"] == 0
        await room.do("host", "close_room")
        floor = (await staff.get("/api/staff/overview")).json()
        assert room.room_id not in {t["id"] for t in floor["rooms"]}


# A kill in the midst


@pytest.mark.fail_after(120)
async def test_what_was_under_way_goes_on_after_a_kill(server: ServerProcess) -> None:
    """Tables that are each in the midst of something; one kill -9 for all of them."""
    async with AsyncExitStack() as stack:

        async def table(*names: str, **settings: Any) -> Room:
            room = await stack.enter_async_context(opened(server, **settings))
            await room.sit(*names)
            return room

        paused = await table("ann", "bob")
        await paused.do("host", "start")
        await paused.do("host", "pause")
        asked = await table(requires_approval=True)
        await asked.do("ann", "join", display_name="Ann")
        kicked = await table("ann", "bob", "cat")
        await kicked.do("host", "start")
        await kicked.do("host", "kick", user_id="cat", reason="rude")
        changed = await table("ann", "bob")
        await changed.do("host", "start")
        await changed.do("host", "settings", big_blind=40, small_blind=20)
        closing = await table("ann", "bob")
        await closing.do("host", "start")
        await closing.do("host", "close_room", reason="late")
        handed = await table("ann", "bob")
        await handed.do("host", "transfer_host", user_id="ann")
        banned = await table("ann", "bob", "cat")
        await banned.do("host", "start")
        await banned.do("host", "ban", user_id="cat", reason="cheats")
        rejected = await table(requires_approval=True)
        await rejected.do("ann", "join")
        await rejected.do("host", "reject", user_id="ann")
        rejected_until = (await rejected.told("ann", "player_rejected"))["retry_at"]
        await server.kill()
    await server.start()
    async with AsyncExitStack() as stack:

        async def again(room: Room) -> Room:
            found = Room(server, stack)
            found.room_id = room.room_id
            await found.listen("host")
            return found

        paused = await again(paused)
        await paused.fold()
        seen = await paused.sees("host")
        assert (seen["room"]["status"], seen["game"]["next_hand_at"]) == ("paused", None)
        assert await paused.refused("host", "start") == "conflict"
        await paused.do("host", "resume")
        await paused.do("host", "start")

        asked = await again(asked)
        (request,) = (await asked.sees("host"))["pending_requests"]
        assert (request["user_id"], request["display_name"]) == ("ann", "Ann")
        await asked.do("host", "approve", user_id="ann")
        await asked.do("ann", "seat", seat_index=0, buy_in=BUY_IN)

        kicked = await again(kicked)
        await kicked.fold()
        told = await kicked.told("host", "player_kicked", user_id="cat")
        assert (told["reason"], await kicked.standing("cat")) == ("rude", ("guest", "guest"))

        changed = await again(changed)
        seen = await changed.sees("host")
        assert (seen["hand"]["current_bet"], seen["room"]["big_blind"]) == (10, 10)
        await changed.fold()
        await changed.do("host", "start")
        assert (await changed.sees("host"))["hand"]["current_bet"] == 40

        closing = await again(closing)
        assert await closing.refused("host", "close_room") == "conflict"
        await closing.fold()
        assert (await closing.told("host", "room_closed"))["reason"] == "late"

        handed = await again(handed)
        assert await handed.refused("host", "pause") == "forbidden"
        await handed.do("ann", "pause")

        banned = await again(banned)
        (ban,) = (await banned.sees("host"))["bans"]
        assert (ban["user_id"], ban["reason"]) == ("cat", "cheats")
        await banned.fold()
        await banned.told("host", "player_kicked", user_id="cat")
        assert await banned.refused("cat", "join") == "forbidden"

        rejected = await again(rejected)
        await join_when_let(rejected, "ann", rejected_until)
        (request,) = (await rejected.sees("host"))["pending_requests"]
        assert request["requested_at"] >= rejected_until
