"""The client against a server that drops it, makes it wait, sends it elsewhere, turns it away."""

import random
from functools import partial

import msgspec
import pytest
import trio
import trio.testing
from trio.testing import MockClock

from client.club import CardroomClient, open_club
from client.connection import open_connection
from client.errors import (
    ConnectFailed,
    ConnectionClosed,
    NotAuthenticated,
    NotSent,
    OutcomeUnknown,
    Refused,
    RoomGone,
)
from client.mirror import Mirror, same_state
from client.room import LiveRoom
from client.timing import Timing
from protocol import commands
from protocol.codec import Coding
from protocol.events import Event
from protocol.replies import Changed, Ok, Seen
from protocol.values import SettingsPatch
from tests.support.fake_club import FakeClub, Message, Peer, fake_club
from tests.support.patience import PATIENCE_S
from tests.support.room_play import HOST, PlayedRoom, seated_room

pytestmark = pytest.mark.fail_after(60)

QUICK = Timing(
    connect_s=PATIENCE_S,
    reply_s=PATIENCE_S,
    close_s=0.5,
    heartbeat_s=2 * PATIENCE_S,
    command_s=PATIENCE_S,
    backoff_first_s=0.02,
    backoff_max_s=0.1,
    restart_spread_s=0.05,
    retry_after_max_s=0.3,
)


@pytest.mark.parametrize("coding", list(Coding))
async def test_replies_that_overtake_each_other_find_their_commands(coding: Coding) -> None:
    async with fake_club() as club:
        waiting: list[Message] = []

        async def answer_backwards(peer: Peer, command: Message) -> None:
            waiting.append(command)
            if len(waiting) == 3:
                for each in reversed(waiting):
                    await peer.ok(each, seq=each["amount"])

        club.on("action", answer_backwards)
        answers: dict[int, object] = {}
        async with open_connection(club.url, lambda _: None, coding=coding) as connection:

            async def ask(amount: int) -> None:
                command = commands.Action(room_id="r", action="BET", amount=amount)
                answers[amount] = (await connection.request(command))["seq"]

            async with trio.open_nursery() as nursery:
                for amount in (1, 2, 3):
                    nursery.start_soon(ask, amount)
        assert answers == {1: 1, 2: 2, 3: 3}
        assert club.peers[0].coding is coding


async def test_events_and_replies_are_taken_in_the_order_of_the_stream() -> None:
    async with fake_club() as club:

        async def answer(peer: Peer, command: Message) -> None:
            await peer.send({"type": "before", "channel": "x", "seq": 1, "at": 1})
            await peer.ok(command, at=5)
            await peer.send({"type": "after", "channel": "x", "seq": 2, "at": 1})
            await peer.ok({"id": 999})

        club.on("heartbeat", answer)
        order: list[object] = []
        async with open_connection(club.url, lambda e: order.append(e["type"])) as connection:
            await connection.request(commands.Heartbeat(), lambda r: order.append(r["type"]))
            club.on("heartbeat", lambda peer, command: peer.ok(command, at=6))
            await connection.request(commands.Heartbeat())
        assert order == ["before", "ok", "after"]


async def test_a_block_s_own_error_comes_out_as_it_is() -> None:
    async with fake_club() as club:
        with pytest.raises(KeyError):
            async with open_connection(club.url, lambda _: None):
                raise KeyError("mine")
        with pytest.raises(KeyError):
            async with open_club(club.url, "t", timing=QUICK):
                raise KeyError("mine")


async def test_nobody_there_is_connect_failed() -> None:
    async with fake_club() as club:
        url = club.url
    with pytest.raises(ConnectFailed):
        async with open_connection(url, lambda _: None):
            pass
    with pytest.raises(NotSent):
        async with open_club(url, "t", timing=msgspec.structs.replace(QUICK, command_s=0.3)):
            pass


async def test_a_server_that_says_nothing_is_given_up_in_time() -> None:
    async def say_nothing(_: trio.SocketStream) -> None:
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_tcp, say_nothing, 0, host="127.0.0.1")
        listeners = await nursery.start(serve)
        port = listeners[0].socket.getsockname()[1]
        timing = Timing(connect_s=0.2)
        with pytest.raises(ConnectFailed):
            async with open_connection(f"ws://127.0.0.1:{port}/", lambda _: None, timing=timing):
                pass
        nursery.cancel_scope.cancel()


async def test_heartbeats_go_out_and_one_without_an_answer_ends_the_connection(
    mock_clock: MockClock,
) -> None:
    async with fake_club() as club:
        timing = msgspec.structs.replace(QUICK, heartbeat_s=10.0, reply_s=5.0)
        async with open_club(club.url, "t", timing=timing) as client:
            for number in range(1, 4):
                await next_heartbeat(club, number, mock_clock)
            assert len(club.peers) == 1

            async def silence(peer: Peer, command: Message) -> None:
                pass

            club.on("heartbeat", silence)
            await next_heartbeat(club, 4, mock_clock)
            mock_clock.jump(5)
            await club.until(lambda: len(club.peers) == 2)
            del club.handlers["heartbeat"]
            assert await client.ask(commands.Heartbeat(), Seen) is not None


async def next_heartbeat(club: FakeClub, number: int, clock: MockClock) -> None:
    """Let the time of a heartbeat come, and the heartbeat with it."""
    await trio.testing.wait_all_tasks_blocked(0.05)  # for the answer to the one before it
    clock.jump(10)
    await club.until(lambda: len(club.of_type("heartbeat")) == number)


async def test_a_command_in_flight_is_sent_again_under_its_id() -> None:
    async with fake_club() as club:

        async def drop_first(peer: Peer, command: Message) -> None:
            if len(club.of_type("action")) == 1:
                await peer.cut()
            else:
                await peer.ok(command, seq=7)

        club.on("action", drop_first)
        async with open_club(club.url, "t", timing=QUICK) as client:
            command = commands.Action(room_id="r", action="CALL")
            assert (await client.ask(command, Changed)).seq == 7
            assert client.connections == 2
        first, second = club.of_type("action")
        assert first["command_id"]
        assert first["command_id"] == second["command_id"]


async def test_each_command_has_an_id_of_its_own() -> None:
    async with fake_club() as club:
        club.on("action", lambda peer, command: peer.ok(command, seq=1))
        async with open_club(club.url, "t", timing=QUICK) as client:
            command = commands.Action(room_id="r", action="CALL")
            await client.ask(command, Changed)
            await client.ask(command, Changed)
        assert len({c["command_id"] for c in club.of_type("action")}) == 2
        assert command.command_id is None


async def test_an_answer_that_never_comes_is_an_unknown_outcome_with_the_id() -> None:
    async with fake_club() as club:

        async def silence(peer: Peer, command: Message) -> None:
            pass

        club.on("action", silence)
        async with open_club(club.url, "t", timing=QUICK) as client:
            with pytest.raises(OutcomeUnknown) as raised:
                await client.ask(
                    commands.Action(room_id="r", action="CALL"), Changed, timeout_s=0.2
                )
        assert raised.value.command_id == club.of_type("action")[0]["command_id"]


@pytest.mark.parametrize("code", ["busy", "unavailable", "rate_limited"])
async def test_a_server_that_asks_for_patience_gets_it(code: str) -> None:
    async with fake_club() as club:
        times: list[float] = []

        async def later(peer: Peer, command: Message) -> None:
            times.append(trio.current_time())
            if len(times) < 3:
                await peer.refuse(command, code, retry_after=0.1)
            else:
                await peer.ok(command, seq=1)

        club.on("action", later)
        async with open_club(club.url, "t", timing=QUICK) as client:
            await client.ask(commands.Action(room_id="r", action="CALL"), Changed)
        assert times[1] - times[0] >= 0.1
        assert times[2] - times[1] >= 0.1
        assert len({c["command_id"] for c in club.of_type("action")}) == 1


class Spread(random.Random):
    """Notes up to where a random wait might have gone."""

    def __init__(self) -> None:
        super().__init__(1)
        self.tops: list[float] = []

    def uniform(self, a: float, b: float) -> float:
        self.tops.append(b)
        return super().uniform(a, b)


async def test_a_server_too_slow_to_log_in_is_given_more_and_more_time() -> None:
    """However long it took: a connection without a login was no good one."""
    rng = Spread()
    slow = msgspec.structs.replace(QUICK, reply_s=0.02, settled_s=0.01)
    async with fake_club() as club, trio.open_nursery() as nursery:

        async def silence(peer: Peer, command: Message) -> None:
            pass

        async def come() -> None:
            async with open_club(club.url, "t", timing=slow, rng=rng):
                raise AssertionError("nobody was logged in")

        club.on("authenticate", silence)
        nursery.start_soon(come)
        await club.until(lambda: len(rng.tops) >= 3)
        nursery.cancel_scope.cancel()
    assert rng.tops[:3] == [0.02, 0.04, 0.08]


async def test_refused_logins_are_tried_again_after_longer_and_longer() -> None:
    rng = Spread()
    async with fake_club() as club:

        async def later(peer: Peer, command: Message) -> None:
            if len(rng.tops) < 3:
                await peer.refuse(command, "unavailable", retry_after=0.03)
            else:
                club.handlers.pop("authenticate", None)
                await club.handle(peer, command)

        club.on("authenticate", later)
        async with open_club(club.url, "t", timing=QUICK, rng=rng):
            pass
    # As long again as was asked for, and when that is less than the back-off, that.
    assert rng.tops == [0.03, 0.04, 0.08]


async def test_a_refusal_for_good_is_raised_with_its_code_and_details() -> None:
    async with fake_club() as club:
        club.on(
            "action",
            lambda peer, command: peer.refuse(command, "not_your_turn", details={"actor_seat": 3}),
        )
        async with open_club(club.url, "t", timing=QUICK) as client:
            with pytest.raises(Refused) as raised:
                await client.ask(commands.Action(room_id="r", action="CALL"), Changed)
        assert (raised.value.code, raised.value.details) == ("not_your_turn", {"actor_seat": 3})
        assert len(club.of_type("action")) == 1


async def test_a_room_that_moved_is_found_where_it_is() -> None:
    async with fake_club() as old, fake_club() as new:
        address = new.url.removeprefix("ws://").removesuffix("/ws")
        old.on(
            "action",
            lambda peer, command: peer.refuse(command, "moved", details={"address": address}),
        )
        new.on("action", lambda peer, command: peer.ok(command, seq=3))
        async with open_club(old.url, "t", timing=QUICK) as client:
            done = await client.ask(commands.Action(room_id="r", action="CALL"), Changed)
            assert done.seq == 3
            assert client.url == new.url
        assert old.of_type("action")[0]["command_id"] == new.of_type("action")[0]["command_id"]


@pytest.mark.parametrize("code", [4501, 4503, 4509])
async def test_a_close_that_says_stay_away_is_raised_and_obeyed(code: int) -> None:
    async with fake_club() as club:
        club.on("action", lambda peer, command: peer.close(code))
        async with open_club(club.url, "t", timing=QUICK) as client:
            with pytest.raises(ConnectionClosed) as raised:
                await client.ask(commands.Action(room_id="r", action="CALL"), Changed)
            assert raised.value.code == code
            with pytest.raises(ConnectionClosed):
                await client.ask(commands.Heartbeat(), Ok)
        assert len(club.peers) == 1


@pytest.mark.parametrize("code", [1001, 1011, 1012, 4000, 4008, 4029])
async def test_any_other_close_is_followed_by_a_new_connection(code: int) -> None:
    async with fake_club() as club:
        async with open_club(club.url, "t", timing=QUICK) as client:
            await club.peers[0].close(code)
            await club.until(lambda: len(club.peers) == 2)
            assert (await client.ask(commands.Heartbeat(), Seen)).at == 0


async def test_a_refused_access_token_is_raised() -> None:
    async with fake_club() as club:
        club.on("authenticate", lambda peer, command: peer.refuse(command, "unauthenticated"))
        with pytest.raises(NotAuthenticated):
            async with open_club(club.url, "t", timing=QUICK):
                pass


async def test_a_token_provider_is_asked_for_each_connection() -> None:
    async with fake_club() as club:
        tokens = iter(["one", "two"])
        async with open_club(club.url, lambda: next(tokens), timing=QUICK):
            await club.peers[0].cut()
            await club.until(lambda: len(club.of_type("authenticate")) == 2)
        assert [c["token"] for c in club.of_type("authenticate")] == ["one", "two"]


class Table:
    """A room of the rules behind a fake server: told live, kept, and hydrated."""

    def __init__(self, club: FakeClub, room: PlayedRoom) -> None:
        self.room = room
        self.told: list[Event] = []
        self.live: Peer | None = None
        self.recovers = True
        self._club = club
        room.listen(HOST, self.told.append)
        club.on("subscribe", self._subscribe)
        club.on("hydrate", self._hydrate)
        club.on("authenticate", self._authenticate)

    async def play(self, deadlines: int) -> None:
        """Let time go on and tell what happened to who is there."""
        already = len(self.told)
        for _ in range(deadlines):
            self.room.wait()
        if self.live is not None:
            for event in self.told[already:]:
                await self.live.send(event)

    def _missed(self, command: Message) -> Message:
        last = command.get("last_seq")
        if self.recovers and isinstance(last, int):
            return {"recovered": True, "missed": [e for e in self.told if e.seq > last]}
        return {"recovered": False, "room": self.room.snapshot(HOST)}

    async def _subscribe(self, peer: Peer, command: Message) -> None:
        await peer.ok(
            command,
            channel=command["channel"],
            seq=self.room.state.seq,
            **self._missed(command),
        )
        self.live = peer

    async def _hydrate(self, peer: Peer, command: Message) -> None:
        snapshot = msgspec.to_builtins(self.room.snapshot(HOST))
        await peer.ok(command, **snapshot)

    async def _authenticate(self, peer: Peer, command: Message) -> None:
        reply: Message = {
            "type": "authenticated",
            "re": command["id"],
            "user_id": HOST.user_id,
            "name": HOST.name,
            "role": HOST.role,
        }
        if "rejoin_token" in command and command["rejoin_token"] is not None:
            if command["rejoin_token"] == "stale":
                await peer.refuse(command, "unauthenticated")
                return
            reply |= {"rejoin_token": f"after-{command['rejoin_token']}", **self._missed(command)}
            self.live = peer
        await peer.send(reply)


async def in_step(live: LiveRoom, table: Table) -> bool:
    await live.reached(table.room.state.seq)
    return same_state(live.state, Mirror(table.room.snapshot(HOST)))


@pytest.mark.parametrize("recovers", [True, False])
@pytest.mark.parametrize("rejoins", [True, False])
async def test_a_room_goes_on_after_a_loss_as_if_there_were_none(
    recovers: bool, rejoins: bool
) -> None:
    rng = random.Random(21)
    async with fake_club() as club:
        table = Table(club, seated_room(rng))
        table.recovers = recovers
        tokens = {"r1": "first"} if rejoins else None
        async with open_club(club.url, "t", timing=QUICK, rejoin_tokens=tokens) as client:
            live = await client.enter("r1")
            assert await client.enter("r1") is live
            for _ in range(8):
                await table.play(rng.randint(1, 4))
                assert await in_step(live, table)
                assert table.live is not None
                gone, table.live = table.live, None
                before = client.connections
                await table.play(rng.randint(0, 6))
                await gone.cut()
                while client.connections == before:
                    await client.connection_changed()
                assert await in_step(live, table)
            assert live.snapshots == (1 if recovers else 9)
        used = [c.get("rejoin_token") for c in club.of_type("authenticate")]
        if rejoins:
            assert used[1:3] == ["first", "after-first"]
        else:
            assert set(used) == {None}


async def test_a_stale_rejoin_token_gives_way_to_the_access_token() -> None:
    async with fake_club() as club:
        table = Table(club, seated_room(random.Random(22)))
        async with open_club(club.url, "t", timing=QUICK, rejoin_tokens={"r1": "stale"}) as client:
            live = await client.enter("r1")
            table.live = None
            await table.play(2)
            await club.peers[0].cut()
            assert await in_step(live, table)
            assert client.rejoin_tokens == {}


async def test_an_event_that_got_lost_is_found_and_made_up_for() -> None:
    async with fake_club() as club:
        table = Table(club, seated_room(random.Random(23)))
        async with open_club(club.url, "t", timing=QUICK) as client:
            live = await client.enter("r1")
            table.live, kept = None, table.live
            await table.play(1)
            table.live = kept
            await table.play(1)
            assert await in_step(live, table)
            assert live.snapshots == 2
            assert len(club.of_type("hydrate")) == 1


async def test_a_subscription_without_a_snapshot_is_completed_by_hydrating() -> None:
    async with fake_club() as club:
        table = Table(club, seated_room(random.Random(24)))

        async def bare(peer: Peer, command: Message) -> None:
            await peer.ok(command, channel=command["channel"], seq=table.room.state.seq)
            table.live = peer
            await table.play(2)

        club.on("subscribe", bare)
        async with open_club(club.url, "t", timing=QUICK) as client:
            live = await client.enter("r1")
            assert await in_step(live, table)
            await table.play(3)
            assert await in_step(live, table)


async def test_a_room_that_one_was_put_out_of_meanwhile_is_gone() -> None:
    async with fake_club() as club:
        Table(club, seated_room(random.Random(25)))
        async with open_club(club.url, "t", timing=QUICK) as client:
            live = await client.enter("r1")
            club.on("subscribe", lambda peer, command: peer.refuse(command, "not_approved"))
            await club.peers[0].cut()
            with pytest.raises(RoomGone) as raised:
                await live.until(lambda _: False)
            assert isinstance(raised.value.refusal, Refused)
            with pytest.raises(Refused):
                await client.enter("r1")


async def test_every_missed_event_reaches_the_hook() -> None:
    async with fake_club() as club:
        table = Table(club, seated_room(random.Random(26)))
        raws: list[Message] = []
        async with open_club(club.url, "t", timing=QUICK, on_event=raws.append) as client:
            live = await client.enter("r1")
            first = live.state.seq
            table.live = None
            await table.play(4)
            await club.peers[0].cut()
            assert await in_step(live, table)
        public = [raw["seq"] for raw in raws if "private" not in raw]
        assert public == list(range(first + 1, table.room.state.seq + 1))


async def test_a_command_returns_once_the_room_shows_what_it_did() -> None:
    async with fake_club() as club:
        table = Table(club, seated_room(random.Random(27), 2, auto_start=False))

        async def pause(peer: Peer, command: Message) -> None:
            already = len(table.told)
            reply = table.room.do(HOST, commands.Pause())
            await peer.ok(command, seq=getattr(reply, "seq"))  # noqa: B009
            for event in table.told[already:]:
                await peer.send(event)

        club.on("pause", pause)
        async with open_club(club.url, "t", timing=QUICK) as client:
            live = await client.enter("r1")
            await live.pause()
            assert live.state.room.status == "paused"


async def test_many_callers_share_one_client() -> None:
    async with fake_club() as club:
        club.on("action", lambda peer, command: peer.ok(command, seq=command["amount"]))
        async with open_club(club.url, "t", timing=QUICK) as client:
            got: list[int] = []

            async def ask(client: CardroomClient, amount: int) -> None:
                command = commands.Action(room_id="r", action="BET", amount=amount)
                got.append((await client.ask(command, Changed)).seq)

            async with trio.open_nursery() as nursery:
                for amount in range(1, 51):
                    nursery.start_soon(partial(ask, client, amount))
            assert sorted(got) == list(range(1, 51))


async def test_a_room_made_here_is_told_back() -> None:
    async with fake_club() as club:
        room = PlayedRoom(random.Random(28), SettingsPatch(name="Friday"))
        view = room.snapshot(HOST).room
        club.on("create_room", lambda peer, command: peer.ok(command, seq=0, room=view))
        async with open_club(club.url, "t", timing=QUICK) as client:
            assert (await client.create_room(SettingsPatch(name="Friday"))).name == "Friday"
        assert club.of_type("create_room")[0]["settings"] == {"name": "Friday"}


async def test_each_of_several_rooms_is_taken_up_where_it_was() -> None:
    async with fake_club() as club:
        table = Table(club, seated_room(random.Random(29)))
        async with open_club(club.url, "t", timing=QUICK, rejoin_tokens={"r1": "one"}) as client:
            live = await client.enter("r1")
            await client.enter("r2")
            await table.play(3)
            assert await in_step(live, table)
            await club.peers[0].cut()
            await club.until(lambda: len(club.of_type("subscribe")) == 4)
        again = club.of_type("subscribe")[2:]
        assert {c["channel"] for c in again} == {"room:r1", "room:r2"}
        assert all(isinstance(c["last_seq"], int) for c in again)
        assert club.of_type("authenticate")[1]["token"] == "t"
