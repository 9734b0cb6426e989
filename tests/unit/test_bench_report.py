"""A result's page stands by itself, and of two results only what is more than noise changes."""

import io
import random
import re
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest
from rich.console import Console

from bench.harness.latencies import Latencies, counted, percentile
from bench.harness.machine import Machine, Software
from bench.harness.result import (
    Event,
    Figure,
    GeneratorShare,
    Growth,
    Latency,
    Moment,
    Point,
    Result,
    ResultError,
    Series,
    Stage,
    Sweep,
    encode,
    read,
)
from bench.report.charts import Line, growing, nice_ticks
from bench.report.compare import compare, differences
from bench.report.page import page
from bench.report.sweep import rows
from bench.report.terminal import show
from tests.support.pages import addresses


def moment(at_s: float, operations: float) -> Moment:
    return Moment(at_s, operations, 9.0, 0, 1.0, 2.0, 3.0, 4, 0.5, 0.25, 0.125, 0.0, 90.0, 80.0)


def result(rates: list[float], **changed: object) -> Result:
    rate = Figure("commands/s", sum(rates) / len(rates), "/s", "higher", rates, timed=True)
    latencies = Latencies()
    latencies.add({1_000: 90, 9_000: 10})
    made = Result(
        scenario="durable",
        title="2 rooms <of> 3 & more",
        about="What it is.",
        started_at="2026-01-02T03:04:05+00:00",
        options={"rooms": 2},
        machine=Machine("A processor", 2, 4.0, "6.1", 0.5, 0.25),
        software=Software("0.1.0", "abc", "3.11", "18", {"trio": "1"}),
        settings={"CARDROOM_X": "1"},
        figures={"rate": rate, "alone": Figure("alone", 2.0)},
        latency=Latency("sent", 100, 1.8, latencies.curve(), latencies.encoded()),
        moments=[moment(second - 1.0, each) for second, each in enumerate(rates)],
        events=[Event(0.5, "kill -9")],
        stages=[Stage("decide", "decide", 1.5), Stage("commit", "commit", 2.5)],
        generators=[GeneratorShare(0.5, 5.0, 100, 0.25)],
        notes=["Something <else> ran."],
    )
    return msgspec.structs.replace(made, **changed)


def noisy(mean: float, seed: int) -> list[float]:
    rng = random.Random(seed)
    return [mean * rng.uniform(0.9, 1.1) for _ in range(30)]


def grown(log: bool, *values: int) -> Sweep:
    """A sweep in which one figure is missing from its first value."""

    def figures(value: int) -> dict[str, Figure]:
        found = {"p50_ms": Figure("half <in>", 2.5, "ms"), "server_us": Figure("CPU", 1e3, "µs")}
        return found | ({"phh_ms": Figure("a hand", value / 10, "ms")} if value else {})

    return Sweep("things", log, [Point(value, figures(value)) for value in values])


PAGES = {
    "whole": result(noisy(100, 1)),
    "bare": result([1.0], latency=None, moments=[], events=[], stages=[], generators=[], notes=[]),
    "nothing happened": result([0.0] * 5, latency=None),
    "failed": result(noisy(100, 1), failed="there were <errors>"),
    "beside": result(noisy(100, 1), beside=[result([1.0]).latency] * 2),
    "grown": result([1.0], latency=None, moments=[], sweep=grown(True, 0, 10, 100_000)),
    "one value": result([1.0], latency=None, moments=[], sweep=grown(False, 0)),
}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_well_formed_and_needs_nothing_else(name: str) -> None:
    text = page(PAGES[name])
    body = text.removeprefix("<!doctype html>\n")
    ElementTree.fromstring(body)
    assert addresses(text) == []
    assert not re.search(r"url\(|@import|https?:|//[a-z]", body)


def test_the_check_of_pages_finds_what_would_be_fetched() -> None:
    assert addresses('<img src="x"/><script></script>') == ["img", "src", "script"]


def test_a_page_has_its_figures_and_pictures_and_what_it_ran_on() -> None:
    text = page(PAGES["whole"])
    for said in ("commands/s", "A processor", "PostgreSQL", "kill -9", "CARDROOM_X", "decide"):
        assert said in text
    assert "<of>" not in text
    assert text.count("<svg") == 6  # percentiles, stages, rate, latency, processor, memory


def test_what_grows_is_told_with_how_sure_that_is() -> None:
    series = Series("Held <by> it", "MiB", [5.0, 10.0], {"server": [90.0, 91.0]})
    grows = Growth("server memory", "MiB", 90.0, 91.0, 4.0, 3.0, 5.0)
    unknown = Growth("files", "", 7.0, 7.0, None, None, None)
    long = result(noisy(100, 1), series=[series], growth=[grows, unknown])
    text = page(long)
    ElementTree.fromstring(text.removeprefix("<!doctype html>\n"))
    for said in ("Held &lt;by&gt; it", "90 to 91 MiB; 4 MiB an hour (3 to 5)", "too little"):
        assert said in text
    console = Console(record=True, width=120, file=io.StringIO())
    show(console, long)
    assert "4 MiB an hour (3 to 5)" in console.export_text()


def test_a_sweep_has_a_picture_of_each_kind_and_all_values_in_a_table() -> None:
    text = page(PAGES["grown"])
    # Stages, and what was measured three times over: processor, latency, reading.
    assert text.count("<svg") == 4
    assert text.count("<circle") == 3 + 3 + 2
    assert rows(grown(True, 0, 10, 100_000)) == [
        ["things", "0", "10", "100,000"],
        ["half <in>", "2.50 ms", "2.50 ms", "2.50 ms"],
        ["CPU", "1,000 µs", "1,000 µs", "1,000 µs"],
        ["a hand", "–", "1 ms", "10,000 ms"],
    ]


def places(picture: str) -> list[float]:
    return [float(at) for at in re.findall(r'<circle[^>]* cx="([^"]+)"', picture)]


@pytest.mark.parametrize("log", [True, False])
def test_what_grows_stands_where_its_value_says(log: bool) -> None:
    xs = [0.0, 10.0, 100.0, 1000.0]
    at = places(growing(xs, [Line("a", [1.0] * 4, 1)], "ms", "things", log=log))
    steps = [after - before for before, after in pairwise(at)]
    assert min(steps) > 0
    assert (max(steps) == pytest.approx(min(steps), abs=0.2)) is log


@pytest.mark.parametrize("highest", [0.0, 0.003, 1.0, 7.3, 99.9, 100.0, 123_456.0])
def test_ticks_are_few_and_reach_what_is_drawn(highest: float) -> None:
    ticks = nice_ticks(highest)
    assert ticks[0] == 0
    assert ticks[-1] >= highest * (1 - 1e-9)
    assert 2 <= len(ticks) <= 6


def test_a_result_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_bytes(encode(PAGES["whole"]))
    assert read(path) == PAGES["whole"]


@pytest.mark.parametrize("text", ["{}", "[]", "no JSON", '{"format": 99}', '{"format": "x"}'])
def test_what_is_no_result_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "result.json"
    path.write_text(text)
    with pytest.raises(ResultError):
        read(path)


def test_noise_is_no_change() -> None:
    for seed in range(20):
        change, alone = compare(result(noisy(100, seed)), result(noisy(100, seed + 100)))
        assert change.verdict in ("the same", "better", "worse")
        assert abs((change.ratio or 0) - 1) < 0.1
        assert alone.verdict == ""
    verdicts = [
        compare(result(noisy(100, seed)), result(noisy(100, seed + 100)))[0].verdict
        for seed in range(20)
    ]
    # One in twenty may look like a change, by what 95 % means.
    assert verdicts.count("the same") >= 17


@pytest.mark.parametrize(("mean", "verdict"), [(120.0, "better"), (80.0, "worse")])
def test_more_than_noise_is_a_change(mean: float, verdict: str) -> None:
    change, _ = compare(result(noisy(100, 1)), result(noisy(mean, 2)))
    assert change.verdict == verdict
    assert change.low is not None
    assert change.high is not None
    assert change.low < mean / 100 < change.high


def test_lower_is_better_where_it_is() -> None:
    slower = Figure("p99", 20.0, "ms", "lower", noisy(20, 1))
    faster = Figure("p99", 10.0, "ms", "lower", noisy(10, 2))
    before, after = result([1.0], figures={"p": slower}), result([1.0], figures={"p": faster})
    assert compare(before, after)[0].verdict == "better"
    assert compare(after, before)[0].verdict == "worse"


def test_neighbours_that_are_alike_widen_the_bounds() -> None:
    """A run with a slow half tells less than its thirty seconds of any order."""
    drifting = [100.0] * 15 + [130.0] * 15
    mixed = [100.0, 130.0] * 15
    steady = noisy(115, 1)
    one, other = (compare(result(each), result(steady))[0] for each in (drifting, mixed))
    assert one.high is not None
    assert one.low is not None
    assert other.high is not None
    assert other.low is not None
    assert one.high - one.low > other.high - other.low


def test_what_else_differs_is_said() -> None:
    other = result([1.0], options={"rooms": 3}, settings={})
    other.software.commit = "def"
    assert differences(result([1.0]), other) == [
        "commit: abc → def",
        "option rooms: 2 → 3",
        "setting CARDROOM_X: 1 → -",
    ]


def test_neighbours_that_differ_are_a_warning() -> None:
    quiet, busy = result(noisy(100, 1)), result(noisy(100, 2))
    for one in busy.moments:
        one.other_cpu = 1.0
    assert differences(quiet, quiet) == []
    assert "no more than that" in differences(quiet, busy)[-1]


def test_latencies_keep_three_digits() -> None:
    rng = random.Random(1)
    values = [int(10 ** rng.uniform(0, 8)) for _ in range(5_000)]
    latencies = Latencies()
    latencies.add(counted(values))
    values.sort()
    assert latencies.count == len(values)
    for percent in (1, 50, 90, 99, 100):
        true = values[max(0, int(len(values) * percent / 100) - 1)]
        assert latencies.ms(percent) == pytest.approx(true / 1000, rel=0.01, abs=0.002)


def test_the_percentile_of_a_second_is_one_of_its_values() -> None:
    counts = {1: 50, 2: 49, 1_000: 1}
    assert percentile(counts, 50) == 1
    assert percentile(counts, 99) == 2
    assert percentile(counts, 100) == 1_000
    assert percentile({}, 99) == 0


def test_a_curve_ends_where_there_is_too_little_to_tell() -> None:
    latencies = Latencies()
    latencies.add({1_000: 1_000})
    percents = [percent for percent, _ in latencies.curve()]
    assert 99.9 in percents
    assert 99.99 not in percents
    assert percents[-1] == 100.0
