"""The bench's scenarios in short: each runs to its end and says what it was to find out."""

import os
import signal
import time
from functools import partial
from itertools import count
from pathlib import Path

import msgspec
import psycopg
import pytest
import trio

from bench.harness.generators import generating
from bench.harness.result import Moment, Result, encode
from bench.harness.run import begun, measure
from bench.harness.vitals import SERVER_MEMORY
from bench.scenarios.chat import LOAD as CHAT_LOAD
from bench.scenarios.chat import chat, plan_for
from bench.scenarios.chat_load import RECEIPTS, TO_ABSENT
from bench.scenarios.comeback import recovery, storm
from bench.scenarios.common import SETTINGS, Timing
from bench.scenarios.connections import connections
from bench.scenarios.floor import floor
from bench.scenarios.floor_probe import WARM_UP, Room, Task, probe
from bench.scenarios.growth import Asked, growth
from bench.scenarios.growth_kinds import Of
from bench.scenarios.history import MODEL_HANDS, READS, ROOMS
from bench.scenarios.rooms import durable, fanout, shared_room
from bench.scenarios.rooms_load import RoomsOptions
from bench.scenarios.soak import soak
from bench.scenarios.soak_parts import Club
from bench.scenarios.tables import tables
from bench.scenarios.waitlist import LOAD as WAITLIST_LOAD
from bench.scenarios.waitlist import QUEUE_SETTINGS, hold_against, waitlist
from bench.scenarios.waitlist import plan_for as queues_for
from bench.scenarios.waitlist_load import QueueKnown
from bench.serving import serving
from bench.startup import StartupResult
from bench.startup import report as report_startup

pytestmark = pytest.mark.fail_after(200)

SHORT = Timing(warm_up_s=1, seconds=2)


class Seen:
    """Looks on while a scenario runs."""

    def __init__(self) -> None:
        self.phases: list[str] = []
        self.moments: list[Moment] = []

    def phase(self, text: str) -> None:
        self.phases.append(text)

    def moment(self, moment: Moment) -> None:
        self.moments.append(moment)


def holds(result: Result, seen: Seen) -> None:
    """What is true of every result."""
    sound(result, seen)
    assert result.moments
    assert len(seen.moments) == len(result.moments)
    assert result.generators


def sound(result: Result, seen: Seen) -> None:
    """What is true of those too that are made of several loads."""
    assert not result.failed
    assert seen.moments
    assert msgspec.json.decode(encode(result), type=Result) == result
    assert result.machine.cores > 0
    assert result.software.postgres[0].isdigit()
    assert result.settings
    assert seen.phases[0] == "starting a server"


async def test_durable_commands_are_counted_when_all_of_a_room_know() -> None:
    seen = Seen()
    result = await durable(4, 3, 1, 0.0, Timing(1, 2, generators=2), seen)
    holds(result, seen)
    assert result.latency is not None
    assert result.figures["rate"].value > 0
    assert result.latency.count > 0
    assert len(result.generators) == 2
    assert all(share.cpu_share > 0 for share in result.generators)
    # Whatever the stages are, a commit takes time, and so does deciding.
    stages = {stage.name: stage.ms for stage in result.stages}
    assert set(stages) == {"receive", "queue", "decide", "wait", "commit", "tell"}
    assert min(stages["commit"], stages["decide"], stages["receive"], stages["tell"]) > 0


async def test_frames_are_counted_for_every_spectator() -> None:
    seen = Seen()
    result = await fanout(30, 2, 0.0, SHORT, seen)
    holds(result, seen)
    frames, commands = result.figures["frames"].value, result.figures["rate"].value
    assert frames == pytest.approx(31 * commands)
    # Each command was received by all of them, and little else was.
    events = sum(one.events for one in result.moments)
    assert events >= 31 * sum(one.operations for one in result.moments)


async def test_spectators_of_a_room_are_shared_by_generators() -> None:
    seen = Seen()
    result = await fanout(30, 2, 0.0, Timing(1, 2, generators=3), seen)
    holds(result, seen)
    assert result.figures["rate"].value > 0
    assert len(result.generators) == 3
    assert all(share.events > 0 for share in result.generators)
    # Each command was received by all of them, wherever they are, before it counted.
    events = sum(one.events for one in result.moments)
    assert events >= 31 * sum(one.operations for one in result.moments)


async def test_nothing_is_done_until_the_spectators_of_all_generators_have_read_it() -> None:
    async with serving(SETTINGS) as server:
        plans = shared_room(4, 1, 0.0, 2, server)
        async with generating("bench.scenarios.fanout_load", plans) as generators:
            leader, follower = range(2)
            began = await generators.begin()

            def done_in(number: int) -> int | None:
                told = generators.seconds.get(number, {}).get(leader)
                return None if told is None else sum(told.latencies.values())

            async def until_some_are_done(since: int) -> None:
                for number in count(since):
                    if await generators.until(partial(done_in, number)):
                        return

            await until_some_are_done(0)
            os.kill(generators.pids[follower], signal.SIGSTOP)
            try:
                # What the other one has read by now is done in this second or in the next.
                frozen = int(time.perf_counter() - began) + 2
                still = [await generators.until(partial(done_in, frozen + n)) for n in (0, 1)]
            finally:
                os.kill(generators.pids[follower], signal.SIGCONT)
            assert still == [0, 0]
            await until_some_are_done(frozen + 2)
            longest_us = max(
                us
                for told in generators.seconds.values()
                if leader in told
                for us in told[leader].latencies
            )
    # What was under way took all that time, two whole seconds of it.
    assert longest_us > 2_000_000


async def test_tables_play_hands_and_each_action_is_heard_by_all() -> None:
    seen = Seen()
    result = await tables(2, 3, False, SHORT, seen)
    holds(result, seen)
    assert result.figures["rate"].value > 0
    assert result.figures["hands"].value > 0


async def test_tables_at_a_human_pace_have_pauses() -> None:
    seen = Seen()
    result = await tables(4, 2, True, Timing(0, 8), seen)
    holds(result, seen)
    # A bot thinks for a second at least, and each table has one at a time.
    assert 0 < result.figures["rate"].value <= 4
    assert result.settings.get("CARDROOM_HAND_INTERVAL_S") is None


async def test_messages_are_counted_when_the_other_side_has_them() -> None:
    seen = Seen()
    result = await chat(12, 3, 4, 0.0, True, SHORT, seen)
    holds(result, seen)
    assert result.latency is not None
    assert result.latency.count > 0
    assert result.figures["receipts"].value > 0
    assert result.figures["ok_p99_ms"].value >= result.figures["ok_p50_ms"].value > 0
    stages = {stage.name: stage.ms for stage in result.stages}
    assert min(stages["commit"], stages["decide"], stages["receive"], stages["tell"]) > 0


async def test_messages_fall_due_whatever_has_become_of_those_before() -> None:
    seen = Seen()
    result = await chat(12, 3, 1, 40.0, False, SHORT, seen)
    holds(result, seen)
    assert result.figures["rate"].value > 0
    assert result.figures["receipts"].value == 0


async def test_messages_that_never_arrive_are_found_in_the_end() -> None:
    async with serving(SETTINGS) as server:
        plan = plan_for(server, 4, 2, rate=50.0, receipts=True)
        plan.absent, plan.absent_rate = [server.token("away")], 10.0
        async with generating(CHAT_LOAD, [plan]) as generators:

            def number_of_talk() -> int | None:
                """Return the last second's number, once somebody was heard."""
                told = [one for second in generators.seconds.values() for one in second.values()]
                talk = all(sum(one.counts[name] for one in told) for name in (RECEIPTS, TO_ABSENT))
                return len(told) - 1 if talk else None

            await generators.begin()
            number = await generators.until(number_of_talk)
            server.freeze()
            await generators.second(number + 2)
            [finished] = await generators.finish(0.0)
            server.thaw()
    assert (finished.undone > 0, finished.errors) == (True, 0)


async def test_steps_of_a_queue_are_counted_when_all_know_of_them() -> None:
    seen = Seen()
    result = await waitlist(3, 5, 2, 0.0, SHORT, seen)
    holds(result, seen)
    assert result.figures["rate"].value > 0
    stages = {stage.name: stage.ms for stage in result.stages}
    assert min(stages["commit"], stages["decide"], stages["receive"], stages["tell"]) > 0


async def test_steps_of_a_queue_fall_due_whatever_has_become_of_those_before() -> None:
    seen = Seen()
    result = await waitlist(3, 5, 2, 20.0, SHORT, seen)
    holds(result, seen)
    assert result.latency is not None
    assert result.latency.count > 0


async def test_a_queue_that_is_not_as_it_was_told_is_found() -> None:
    async with serving(QUEUE_SETTINGS) as server:
        plan = queues_for(server, tables=2, waiting=4, staff=1, rate=0.0)
        async with generating(WAITLIST_LOAD, [plan]) as generators:
            await generators.begin()
            await generators.until(
                lambda: any(told[0].latencies for told in generators.seconds.values()) or None
            )
            [finished] = await generators.finish(60.0)
            queues = msgspec.json.decode(finished.known, type=list[QueueKnown])
            assert (finished.undone, finished.errors) == (0, 0)
            assert [len(queue.told) for queue in queues] == [1, 1]
            assert await hold_against(server, queues) == []
            untrue = msgspec.structs.replace(queues[0], told=[*queues[0].told, []])
            unruly = msgspec.structs.replace(queues[1], expected=queues[1].expected[::-1])
            wrong = await hold_against(server, [untrue, unruly])
    assert [queue.table_id in line for queue, line in zip(queues, wrong, strict=True)] == [True] * 2
    assert "told" in wrong[0]
    assert "should be" in wrong[1]


async def test_idle_sockets_are_weighed() -> None:
    seen = Seen()
    result = await connections(40, SHORT, seen)
    holds(result, seen)
    assert result.figures["kib"].samples
    assert result.figures["empty_mib"].value > 10
    # Those of the second generator; the first tenth is another's.
    assert {one.connected for one in result.moments} == {36}
    assert result.stages == []


async def test_all_clients_of_a_killed_server_come_back() -> None:
    seen = Seen()
    result = await storm(5, 3, 2, Timing(1, 0), seen)
    holds(result, seen)
    assert result.latency is not None
    assert result.latency.count == 5 * 3 * 2
    ready, last = result.figures["ready_s"], result.figures["last_back_s"]
    assert len(ready.samples) == len(last.samples) == 2
    assert all(0 < up <= back for up, back in zip(ready.samples, last.samples, strict=True))
    assert [event.title for event in result.events] == ["kill -9", "ready"] * 2


async def test_live_tables_go_on_after_a_kill() -> None:
    seen = Seen()
    result = await recovery(3, 2, 1, Timing(6, 0, generators=2), seen)
    holds(result, seen)
    assert result.latency is not None
    assert result.latency.count == 6
    assert result.figures["first_hand_s"].value > 0


@pytest.mark.parametrize("kill_every_s", [0.0, 6.0])
async def test_a_club_is_open_for_a_while(kill_every_s: float) -> None:
    seen = Seen()
    club = Club(
        tables=2,
        players=2,
        visitors=6,
        stay_s=(0.2, 1.0),
        lobby=3,
        waiting_rooms=1,
        queues=1,
        staff=2,
    )
    result = await soak(club, kill_every_s, Timing(1, 12), seen)
    holds(result, seen)
    assert result.figures["errors"].value == 0
    if not kill_every_s:
        # With kills it may have been away for nearly all of so short a time.
        assert result.figures["rate"].value > 0
        assert result.figures["visits_visits"].value > 0
        assert result.figures["staff_count"].value > 0
    # Those who only listen do not come back by themselves.
    assert len(result.generators) == (3 if kill_every_s else 6)
    assert kill_every_s or result.figures["queues_count"].value > 0
    assert bool(result.events) == bool(kill_every_s)
    assert {one.title for one in result.growth} >= {SERVER_MEMORY, "open files", "database"}
    assert {name for one in result.series for name in one.lines} >= {SERVER_MEMORY, "tasks"}
    assert "gc2_ms" in result.figures


async def test_latency_is_told_beside_the_floor_of_the_same_run() -> None:
    seen = Seen()
    result = await floor(4, 3, 2, Timing(1, 2), seen)
    sound(result, seen)
    assert result.latency is not None
    assert result.latency.count > 0
    assert [each.count > 0 for each in result.beside] == [True, True]
    figures = result.figures
    for name in ("over_p50", "over_p99", "rate", "commit_p50_ms", "loopback_p50_ms"):
        assert len(figures[name].samples) == 2
        assert min(figures[name].samples) > 0
    # Of each round both parts, their warm-ups left out.
    assert [event.at_s for event in result.events] == [0, 2, 4, 6]
    assert len(result.moments) == 8


async def test_the_floor_commits_what_it_times_in_a_room_of_its_own() -> None:
    async with serving(SETTINGS) as server:
        tokens = [[server.token("player"), server.token("watcher")]]
        options = RoomsOptions(server.ws_url, tokens, in_flight=1, rate=0.0)
        async with generating("bench.scenarios.rooms_load", [options]) as generators:
            await measure(server, generators, warm_up_s=0, seconds=1, on_moment=Seen().moment)
        found = await trio.to_thread.run_sync(probe, Task(server.database_url, 0.5))
        with psycopg.connect(server.database_url) as conn:
            rows = conn.execute(
                "SELECT count(*), max(e.seq) - min(e.seq) + 1, g.seq - max(e.seq) "
                "FROM room_events e JOIN game_states g USING (room_id) JOIN rooms r ON r.id = "
                "e.room_id WHERE r.status = 'closed' GROUP BY g.room_id, g.seq"
            ).fetchall()
    exchanges = sum(found.both.values())
    assert exchanges > 0
    assert sum(found.commit.values()) == sum(found.loopback.values()) == exchanges
    assert rows == [(exchanges + WARM_UP, exchanges + WARM_UP, 0)]


async def test_the_floor_needs_a_room_to_copy(database_url: str) -> None:
    with psycopg.connect(database_url) as conn, pytest.raises(LookupError):
        Room(conn)


def grows(result: Result, seen: Seen, *values: int) -> list[dict[str, float]]:
    """What is true of every sweep; return the figures at each value."""
    sound(result, seen)
    assert result.sweep is not None
    assert [point.x for point in result.sweep.points] == list(values)
    measured = [
        {name: figure.value for name, figure in point.figures.items()}
        for point in result.sweep.points
    ]
    for each in measured:
        named = ("rate", "p50_ms", "commit_ms", "log_bytes", "server_mib", "decide_us", "tell_us")
        assert min(each[name] for name in named) > 0
    return measured


@pytest.mark.parametrize("of", ["tables", "spectators"])
async def test_rooms_and_their_spectators_grow_at_the_same_rate(of: Of) -> None:
    seen = Seen()
    result = await growth(Asked(of, (1, 4), 20.0, SHORT), seen)
    for each in grows(result, seen, 1, 4):
        assert each["server_quiet"] >= 0
    assert "server_us" in result.figures


async def test_players_at_a_table_grow() -> None:
    seen = Seen()
    result = await growth(Asked("players", (2, 10), 0.0, SHORT), seen)
    grows(result, seen, 2, 10)
    assert result.operation == "actions"


async def test_history_grows_to_as_much_as_was_asked_for() -> None:
    seen = Seen()
    result = await growth(Asked("history", (0, 2_000), 20.0, SHORT, restarts=1), seen)
    none, some = grows(result, seen, 0, 2_000)
    # Whole copies of what was played, one in each room at least.
    assert some["events"] - none["events"] >= ROOMS * MODEL_HANDS
    assert some["hands"] - none["hands"] == ROOMS * MODEL_HANDS
    # Without hands there is none to be read; all else is read in both.
    assert set(some) - set(none) == {"oldest_ms", "phh_ms"}
    assert set(READS) <= set(some)


async def test_a_load_changes_its_pace_while_it_goes_on() -> None:
    async with serving(SETTINGS) as server:
        tokens = [[server.token(f"r{room}u{user}") for user in range(2)] for room in range(3)]
        options = RoomsOptions(server.ws_url, tokens, in_flight=0, rate=0.0)
        seen = Seen()
        async with (
            generating("bench.scenarios.rooms_load", [options]) as generators,
            begun(server, generators, seen.moment) as course,
        ):
            quiet = await course.measure(warm_up_s=0, seconds=1)
            await course.pace(1, 0.0)
            closed = await course.measure(warm_up_s=1, seconds=1)
            await course.pace(0, 20.0)
            opened = await course.measure(warm_up_s=1, seconds=2)
            await course.pace(0, 0.0)
            still = await course.measure(warm_up_s=1, seconds=1)
    assert quiet.latencies.count == still.latencies.count == 0
    assert closed.latencies.count > 0
    # What was due in two seconds, give or take what the seconds' ends cut off.
    assert 0 < opened.latencies.count <= 20 * 2 * 2
    assert not any(one.errors for one in (quiet, closed, opened, still))


async def test_starts_of_each_kind_are_measured_and_rooms_bring_no_more_queries(
    tmp_path: Path,
) -> None:
    out = tmp_path / "startup.json"
    assert await report_startup(rooms=6, rounds=1, out=out) == 0
    result = msgspec.json.decode(out.read_bytes(), type=StartupResult)
    for starts in (result.first, result.cold, result.empty, result.full):
        assert [seconds > 0 for seconds in starts.ready_s + starts.cpu_s] == [True, True]
    assert result.in_hand == 3
    # One statement claims all rooms, eleven read them, one transaction has their fresh clocks.
    assert result.empty_statements < result.statements < result.empty_statements + 30


async def test_an_open_loop_does_not_hide_a_stall() -> None:
    """While the server stands still, requests go on falling due, and each counts from then."""
    frozen_s, rate = 2, 100.0
    async with serving(SETTINGS) as server:
        tokens = [[server.token("player"), server.token("watcher")]]
        options = RoomsOptions(server.ws_url, tokens, in_flight=1, rate=rate)
        seen = Seen()

        def freeze_for_a_while(moment: Moment) -> None:
            if len(seen.moments) == 0:
                server.freeze()
            elif len(seen.moments) == frozen_s:
                server.thaw()
            seen.moment(moment)

        async with generating("bench.scenarios.rooms_load", [options]) as generators:
            # Nothing is asked of the server while it stands still but by the load.
            measured = await measure(
                server, generators, warm_up_s=0, seconds=8, on_moment=freeze_for_a_while
            )
    slow = sum(
        count
        for second in measured.seconds
        for one in second
        for us, count in one.latencies.items()
        if us > frozen_s * 1e6 / 4
    )
    # A closed loop of one would have had a single slow request.
    assert slow > rate * frozen_s / 4
    assert measured.errors == 0


async def test_a_generator_that_fails_ends_the_run() -> None:
    options = RoomsOptions("ws://127.0.0.1:1/ws", [["no token"]], in_flight=1, rate=0.0)
    with pytest.RaisesGroup(
        pytest.RaisesExc(Exception, match="a load generator ended"), flatten_subgroups=True
    ):
        with trio.fail_after(60):
            async with generating("bench.scenarios.rooms_load", [options]):
                raise AssertionError("it was ready")
