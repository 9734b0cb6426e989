"""The bench's scenarios in short: each runs to its end and says what it was to find out."""

from pathlib import Path

import msgspec
import pytest
import trio

from bench.harness.generators import generating
from bench.harness.result import Moment, Result, encode
from bench.harness.run import measure
from bench.scenarios.comeback import recovery, storm
from bench.scenarios.common import SETTINGS, Timing
from bench.scenarios.connections import connections
from bench.scenarios.rooms import durable, fanout
from bench.scenarios.rooms_load import RoomsOptions
from bench.scenarios.tables import tables
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
    assert not result.failed
    assert result.moments
    assert len(seen.moments) == len(result.moments)
    assert msgspec.json.decode(encode(result), type=Result) == result
    assert result.machine.cores > 0
    assert result.software.postgres[0].isdigit()
    assert result.settings
    assert result.generators
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
