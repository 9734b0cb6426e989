"""The waitlist from outside, over sockets and HTTP, with the server killed in the middle of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from uuid import uuid4

import pytest
import trio

from bench.audit import findings
from bench.outside import Message, Outside, connected
from bench.server_process import ServerProcess
from client.club import open_club
from tests.acceptance.playing import TABLE, assert_no_gap, room_events, seqs, serving
from tests.support.served import rows, web

pytestmark = pytest.mark.fail_after(120)

BUY_IN = 10_000
WALLET = 1_000_000
LONG = {"CARDROOM_SEAT_OFFER_S": "600"}
SHORT = {"CARDROOM_SEAT_OFFER_S": "1.5"}


class Floor:
    """A full table of two that lets nobody in without the host, and whoever is connected to it."""

    def __init__(self, server: ServerProcess) -> None:
        self.server = server
        self.room_id = ""
        self.sockets: dict[str, Outside] = {}
        self._stack = AsyncExitStack()

    async def open(self) -> None:
        """Make the table and seat ann and bob."""
        host = await self.come("host")
        settings = {**TABLE, "max_seats": 2, "auto_start": False, "requires_approval": True}
        made = await host.ask("create_room", settings=settings)
        self.room_id = made["room"]["id"]
        await host.ask("subscribe", channel=f"room:{self.room_id}")
        for index, user in enumerate(("ann", "bob")):
            one = await self.come(user)
            await one.ask("join", room_id=self.room_id)
            await host.ask("approve", room_id=self.room_id, user_id=user)
            await one.ask("seat", room_id=self.room_id, seat_index=index, buy_in=BUY_IN)
        await (await self.come("floor")).ask("subscribe", channel="staff-portal")

    async def come(self, user: str) -> Outside:
        """Connect a user."""
        role = "staff" if user == "floor" else "player"
        token = self.server.token(user, role=role)
        client = await self._stack.enter_async_context(connected(self.server.ws_url, token=token))
        self.sockets[user] = client
        return client

    async def crash(self, *back: str) -> None:
        """Kill the server, start it again, and connect some users again."""
        await self.server.kill()
        await self._stack.aclose()
        self.sockets = {}
        await self.server.start()
        for user in back:
            await self.come(user)

    async def ask(self, user: str, kind: str, **fields: Any) -> Message:
        """Send a command about the table."""
        return await self.sockets[user].ask(kind, table_id=self.room_id, **fields)

    async def wait_in_line(self, user: str, **wishes: Any) -> str:
        """Have a user join the queue; return the entry's id."""
        await self.come(user)
        entry = (await self.ask(user, "waitlist_join", **wishes))["entry"]
        assert entry["player_id"] == user
        return str(entry["id"])

    async def leave_seat(self, user: str) -> None:
        """Free a seat."""
        await self.sockets[user].ask("leave_seat", room_id=self.room_id)

    async def queue(self) -> list[tuple[str, int, str]]:
        """List the table's queue, as anybody may see it."""
        async with web(self.server, "anybody") as http:
            answer = (await http.get(f"/api/waitlist/table/{self.room_id}")).json()
        assert answer["success"] is True
        return [(e["playerName"], e["position"], e["status"]) for e in answer["entries"]]

    async def http(self, user: str, method: str, path: str, **body: Any) -> Message:
        """Make a request; return the answer, which may be a problem."""
        async with web(self.server, user, "staff" if user == "floor" else "player") as http:
            answer = await http.request(method, path, json=body or None)
        told: Message = answer.json()
        return told

    async def close(self) -> None:
        """Disconnect everybody."""
        await self._stack.aclose()


@asynccontextmanager
async def floor(settings: dict[str, str]) -> AsyncIterator[Floor]:
    async with serving(settings) as server:
        made = Floor(server)
        await made.open()
        try:
            yield made
        finally:
            await made.close()
        assert await trio.to_thread.run_sync(findings, server.database_url) == []


async def balance(server: ServerProcess, user: str) -> int:
    async with web(server, user) as http:
        return int((await http.get("/api/me")).json()["balance"])


async def test_a_seat_that_comes_free_calls_the_first_in_line_who_accepts_without_approval() -> (
    None
):
    """…with a crash while they wait, and another while the seat is held for them."""
    async with floor(LONG) as club:
        kim_id = await club.wait_in_line("kim", notes="likes the corner")
        await club.wait_in_line("leo")
        placed = await club.sockets["leo"].event_of("waitlist_position")
        assert (placed["position"], placed["ahead"], placed["private"]) == (2, 1, True)
        await club.crash("host", "ann", "kim", "leo")
        assert await club.queue() == [("kim", 1, "waiting"), ("leo", 2, "waiting")]

        await club.leave_seat("ann")
        offer = await club.sockets["kim"].event_of("seat_offered")
        assert (offer["entry_id"], offer["seat_index"]) == (kim_id, 0)
        assert offer["table_id"] == club.room_id
        assert offer["expires_at"] == offer["at"] + 600_000

        await club.crash("host", "ann", "kim", "leo")
        again = await club.ask("kim", "waitlist_join")
        assert again["already_waiting"] is True
        assert (again["entry"]["status"], again["entry"]["seat_index"]) == ("called", 0)
        assert again["entry"]["expires_at"] > offer["expires_at"], "the whole time, anew"
        assert "notes" not in again["entry"]
        held = await club.sockets["ann"].refused(
            "seat", room_id=club.room_id, seat_index=0, buy_in=BUY_IN
        )
        assert held["code"] == "seat_taken"
        early = await club.sockets["leo"].refused("waitlist_accept", entry_id=kim_id, buy_in=BUY_IN)
        assert early["code"] == "forbidden"

        # The table need not be named: it is the entry's.
        key = str(uuid4())
        seated = await club.sockets["kim"].ask(
            "waitlist_accept", entry_id=kim_id, buy_in=BUY_IN, command_id=key
        )
        assert (seated["role"], seated["seat_index"], seated["chips"]) == ("player", 0, BUY_IN)
        assert seated["entry"]["status"] == "seated"
        assert seated["rejoin_token"]
        await club.sockets["kim"].event_of("player_seated", user_id="kim")
        moved = await club.sockets["leo"].event_of("waitlist_position")
        assert (moved["position"], moved["ahead"]) == (1, 0)
        await club.crash("kim", "leo")
        twice = await club.sockets["kim"].ask(
            "waitlist_accept", entry_id=kim_id, buy_in=BUY_IN, command_id=key
        )
        assert (twice["seq"], twice["seat_index"]) == (seated["seq"], 0)
        assert await balance(club.server, "kim") == WALLET - BUY_IN
        room = await club.sockets["kim"].ask("hydrate", room_id=club.room_id)
        assert [seat["user_id"] for seat in room["seats"]] == ["kim", "bob"]
        assert [(e["player_id"], e["position"]) for e in room["waitlist"]] == [("leo", 1)]
        assert "corner" not in str(room)


async def test_no_answer_expires_and_the_next_is_called_over_a_crash_too() -> None:
    async with floor(SHORT) as club:
        kim_id = await club.wait_in_line("kim")
        await club.wait_in_line("leo")
        await club.leave_seat("ann")
        await club.sockets["kim"].event_of("seat_offered")
        await club.crash("host", "floor", "kim", "leo")
        offer = await club.sockets["leo"].event_of("seat_offered")
        expired = rows(club.server, "SELECT status, position FROM waitlist WHERE id = %s", kim_id)
        assert [(row["status"], row["position"]) for row in expired] == [("expired", None)]
        gone = await club.sockets["kim"].refused("waitlist_accept", entry_id=kim_id, buy_in=BUY_IN)
        assert gone["code"] == "not_found"
        declined = await club.sockets["leo"].ask("waitlist_decline", entry_id=offer["entry_id"])
        assert declined["entry"]["status"] == "declined"
        assert await club.queue() == []


async def test_join_with_a_free_seat_and_nobody_waiting_is_called_at_once() -> None:
    async with floor(LONG) as club:
        await club.leave_seat("ann")
        entry_id = await club.wait_in_line("kim")
        offer = await club.sockets["kim"].event_of("seat_offered")
        assert offer["entry_id"] == entry_id
        await club.wait_in_line("leo")
        left = await club.ask("kim", "waitlist_leave")
        assert left["entry"]["status"] == "declined"
        assert await club.sockets["leo"].event_of("seat_offered")


async def test_a_second_join_answers_the_first_entry_whichever_way_it_comes() -> None:
    async with floor(LONG) as club:
        asked = await club.http(
            "29", "POST", "/api/seat-requests", playerId=29, tableId=club.room_id
        )
        assert (asked["alreadyWaiting"], asked["entry"]["source"]) == (False, "player_portal")
        by_staff = await club.http(
            "floor", "POST", f"/api/waitlist/table/{club.room_id}", playerId=29, playerName="X"
        )
        by_socket = await (await club.come("29")).ask("waitlist_join", room_id=club.room_id)
        assert by_staff["alreadyWaiting"] is by_socket["already_waiting"] is True
        assert by_staff["entry"]["id"] == by_socket["entry"]["id"] == asked["entry"]["id"]
        stored = rows(club.server, "SELECT player_id, source FROM waitlist")
        assert [(row["player_id"], row["source"]) for row in stored] == [("29", "player_portal")]
        requests = await club.http("29", "GET", "/api/seat-requests/29")
        (entry,) = requests["entries"]
        assert (entry["position"], entry["source"]) == (1, "player_portal")
        withdrawn = await club.http("29", "DELETE", f"/api/seat-requests/{entry['id']}")
        assert withdrawn["entry"]["status"] == "cancelled"
        history = await club.http("floor", "GET", "/api/seat-requests/29")
        assert [(e["status"], e["position"]) for e in history["entries"]] == [("cancelled", None)]


async def test_staff_call_seat_move_and_remove_by_hand_and_add_who_has_no_client() -> None:
    async with floor(LONG) as club:
        added = await club.http(
            "floor",
            "POST",
            f"/api/waitlist/table/{club.room_id}",
            playerName="Old Joe",
            notes="at the bar\nred hat",
        )
        joe = added["entry"]
        assert (joe["hasClient"], joe["source"]) == (False, "staff_portal")
        assert joe["notes"] == "at the bar\nred hat"
        for user in ("kim", "leo", "mia"):
            await club.wait_in_line(user)
        entries = (await club.http("floor", "GET", f"/api/waitlist/table/{club.room_id}"))[
            "entries"
        ]
        ids = {entry["playerName"]: entry["id"] for entry in entries}

        moved = await club.http("floor", "POST", f"/api/waitlist/{ids['mia']}/move", position=1)
        assert moved["entry"]["position"] == 1
        await club.sockets["mia"].event_of("waitlist_position", position=1)
        full = await club.http("floor", "POST", f"/api/waitlist/{ids['kim']}/call")
        assert full["code"] == "room_full"
        await club.crash("host", "floor", "ann", "bob", "kim", "leo", "mia")
        await club.sockets["floor"].ask("subscribe", channel="staff-portal")

        await club.leave_seat("ann")
        await club.sockets["mia"].event_of("seat_offered", seat_index=0)
        again = await club.http("floor", "POST", f"/api/waitlist/{ids['mia']}/call")
        assert again["entry"]["status"] == "called"
        await club.http("floor", "POST", f"/api/waitlist/{ids['mia']}/no-show")
        ended = await club.sockets["mia"].event_of("waitlist_ended")
        assert ended["status"] == "no_show"
        # Old Joe is next, and sits down at the desk.
        called = await club.sockets["floor"].event_of("waitlist_update", player_name="Old Joe")
        assert (called["change"], called["table_id"]) == ("player_called", club.room_id)
        seated = await club.http("floor", "POST", f"/api/waitlist/{ids['Old Joe']}/seat")
        assert (seated["entry"]["status"], "chips" in seated) == ("seated", False)
        # The seat is still free, so kim is called; staff seat leo on another.
        await club.sockets["kim"].event_of("seat_offered", seat_index=0)
        await club.leave_seat("bob")
        await club.sockets["leo"].event_of("seat_offered", seat_index=1)
        with_chips = await club.http(
            "floor", "POST", f"/api/waitlist/{ids['leo']}/seat", buyIn=BUY_IN
        )
        assert (with_chips["seatIndex"], with_chips["chips"]) == (1, BUY_IN)
        assert "rejoinToken" not in with_chips
        let_in = await club.sockets["leo"].event_of("player_approved")
        assert let_in["rejoin_token"]
        declined = await club.http("kim", "POST", f"/api/waitlist/{ids['kim']}/decline")
        assert declined["entry"]["status"] == "declined"
        assert await club.queue() == []

        async with web(club.server, "floor", "staff") as http:
            audit = (await http.get("/api/staff/audit?limit=100")).json()["entries"]
        steps = [
            (e["userId"], e["action"], e["source"]) for e in audit if "waitlist" in e["action"]
        ]
        assert ("floor", "waitlist_join", "staff_portal") in steps
        assert ("kim", "waitlist_join", "websocket") in steps
        for action in ("move", "call", "no_show", "seat"):
            assert ("floor", f"waitlist_{action}", "http") in steps
        assert ("kim", "waitlist_decline", "http") in steps
        assert ("server", "waitlist_call", "server") in steps


async def test_everybody_in_the_room_and_staff_see_the_same_queue_and_players_only_their_own() -> (
    None
):
    async with floor(LONG) as club:
        for user in ("kim", "leo"):
            await club.wait_in_line(user, notes="not for everybody")
        await club.leave_seat("ann")
        await club.sockets["leo"].event_of("waitlist_position")
        await club.ask("leo", "waitlist_leave")
        host, staff = club.sockets["host"], club.sockets["floor"]
        await host.event_of("waitlist_update", change="player_left")
        await staff.event_of("waitlist_update", change="player_left")
        told = room_events(host, club.room_id)
        assert_no_gap(seqs(told))
        updates = [event for event in told if event["type"] == "waitlist_update"]
        copies = [event for event in staff.events if event["type"] == "waitlist_update"]
        assert [e | {"channel": f"room:{club.room_id}"} for e in copies] == updates
        assert [e["change"] for e in updates] == [
            *["player_joined", "player_joined", "player_called", "player_left"]
        ]
        for update in updates:
            assert [e["position"] for e in update["entries"]] == list(
                range(1, len(update["entries"]) + 1)
            )
        stored = rows(
            club.server,
            "SELECT seq, payload FROM room_events WHERE type = 'waitlist_update' ORDER BY seq",
        )
        envelope = ("type", "channel", "seq", "at")
        assert [(row["seq"], row["payload"]) for row in stored] == [
            (e["seq"], {k: v for k, v in e.items() if k not in envelope}) for e in updates
        ]
        assert "not for everybody" not in str(host.events) + str(staff.events)
        for user in ("kim", "leo"):
            own = club.sockets[user].events
            assert {event["channel"] for event in own} == {f"player-{user}"}
        watching = await club.http("kim", "GET", f"/api/waitlist/table/{club.room_id}")
        assert "not for everybody" not in str(watching)
        running = await club.http("host", "GET", f"/api/waitlist/table/{club.room_id}")
        assert "not for everybody" in str(running)


async def test_closing_the_room_tells_everybody_that_they_wait_in_vain() -> None:
    async with floor(LONG) as club:
        await club.wait_in_line("kim")
        await club.sockets["host"].ask("close_room", room_id=club.room_id)
        ended = await club.sockets["kim"].event_of("waitlist_ended")
        assert (ended["status"], ended["table_id"]) == ("cancelled", club.room_id)
        closed = await club.sockets["kim"].refused("waitlist_join", table_id=club.room_id)
        assert closed["code"] == "room_closed"


async def test_the_python_client_waits_for_its_seat_and_takes_it() -> None:
    async with floor(LONG) as club, open_club(club.server.ws_url, club.server.token("kim")) as kim:
        joined = await kim.waitlists.join(club.room_id)
        assert joined.entry.position == 1
        await club.leave_seat("bob")
        offer = await kim.waitlists.offered(club.room_id)
        await kim.waitlists.accept(offer, BUY_IN)
        assert club.room_id in kim.rejoin_tokens
        room = await kim.enter(club.room_id)
        assert room.state.my_seat is not None
        token = club.server.token("floor", role="staff")
        async with open_club(club.server.ws_url, token) as staff:
            added = await staff.waitlists.add(club.room_id, player_name="Old Joe")
            await room.until(lambda state: len(state.waitlist) == 1)
            moved = await staff.waitlists.move(club.room_id, added.entry.id, 1)
            assert moved.entry.position == 1
            removed = await staff.waitlists.remove(club.room_id, added.entry.id)
            assert removed.entry.status == "cancelled"
            await room.until(lambda state: not state.waitlist)
