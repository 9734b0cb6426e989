"""A comparison's sums are made by the round, its page stands by itself, and of two comparisons only
what is more than noise has changed."""

from __future__ import annotations

import io
import random
import re
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest
from click.testing import CliRunner
from rich.console import Console

from bench.cli import bench
from bench.harness.latencies import Latencies
from bench.harness.machine import Machine, Software
from bench.harness.result import ResultError
from bench.peers import compare as comparing
from bench.peers import terminal
from bench.peers.compare import compare, differences, show
from bench.peers.page import page
from bench.peers.result import Limit, PeersResult, Turn, encode, is_peers, read
from bench.peers.standings import notes, series, standing
from tests.support.pages import addresses

TITLES = {"cardroom": "Cardroom", "tuned": "ws <&> pg"}


def turn(name: str, number: int, rates: list[float], **changed: float) -> Turn:
    latencies = Latencies()
    latencies.add({1000 * number: 90, 9000 * number: 10})
    made = Turn(
        contestant=name,
        round=number,
        commands_per_s=sum(rates) / len(rates),
        p50_ms=number,
        p90_ms=number,
        p99_ms=9.0 * number,
        max_ms=9.0 * number,
        server_cpu_share=0.5,
        server_cpu_us_per_command=100.0,
        postgres_cpu_share=0.25,
        postgres_cpu_us_per_command=50.0,
        generator_cpu_share=0.25,
        generator_cpu_us_per_event=5.0,
        others_cpu_share=0.0,
        flushes_per_s=10.0,
        commands_per_flush=10.0,
        wal_bytes_per_command=700.0,
        rates=rates,
        p50s_ms=[1.0] * len(rates),
        p99s_ms=[9.0] * len(rates),
        histogram=latencies.encoded(),
    )
    return msgspec.structs.replace(made, **changed)


def noisy(mean: float, rng: random.Random) -> list[float]:
    return [mean * rng.uniform(0.9, 1.1) for _ in range(10)]


def result(
    ours: float = 200.0,
    theirs: float = 100.0,
    *,
    seed: int = 0,
    rounds: int = 3,
    flushes_ms: tuple[float, ...] = (0.0,),
    weather: Sequence[float] = (1.0, 1.0, 1.0),
    **changed: object,
) -> PeersResult:
    """`weather`: what all of a round's rates are multiplied by."""
    rng = random.Random(seed)
    measured = []
    for flush_ms in flushes_ms:
        turns, limits = [], []
        for number, luck in enumerate(weather[:rounds], 1):
            turns.append(turn("cardroom", number, noisy(ours * luck, rng)))
            turns.append(turn("tuned", number, noisy(theirs * luck, rng)))
            limits.append(Limit("pgbench_1", "pgbench, 1 connection", 400.0, 2.5, ours * luck))
        measured.append(series(flush_ms, TITLES, turns, limits))
    made = PeersResult(
        started_at="2026-01-02T03:04:05+00:00",
        options={"rooms": 2, "players": 6, "seconds": 10, "rounds": rounds, "connections": 32},
        machine=Machine("A processor", 2, 4.0, "6.1", 0.5, 0.05),
        software=Software("0.1.0", "abc", "3.11", "18", {"trio": "1"}),
        load_after=1.0,
        settings={"CARDROOM_X": "1"},
        database={"fsync": "on"},
        versions={"tuned": {"node": "20.1.0", "ws": "8.0.0"}},
        series=measured,
    )
    return msgspec.structs.replace(made, **changed)


def changes(before: PeersResult, after: PeersResult) -> dict[str, str]:
    """Return the verdicts, by title."""
    found = compare(before.series[0], after.series[0])
    return {change.title: change.verdict for change in found}


def test_ratios_are_those_of_the_rounds() -> None:
    ours = [turn("cardroom", n, [rate]) for n, rate in enumerate((300.0, 100.0, 400.0), 1)]
    theirs = [turn("tuned", n, [rate]) for n, rate in enumerate((100.0, 200.0, 200.0), 1)]
    compared = standing("Tuned", theirs, ours)
    assert (compared.ratio.lowest, compared.ratio.median, compared.ratio.highest) == (0.5, 2.0, 3.0)
    assert compared.commands_per_s.median == 200.0


def test_the_latency_curve_is_that_of_all_rounds() -> None:
    turns = [turn("cardroom", number, [1.0]) for number in (1, 2, 3)]
    curve = dict(standing("Cardroom", turns, turns).curve)
    assert curve[0.0] == pytest.approx(1, rel=0.01)
    assert curve[100.0] == pytest.approx(27, rel=0.01)


def test_who_was_the_limit_is_said() -> None:
    machine = Machine("A processor", 2, 4.0, "6.1", 0.5, 0.05)
    turns = [
        turn("cardroom", 1, [1.0], server_cpu_share=0.95),
        turn("tuned", 1, [1.0], postgres_cpu_share=1.2, others_cpu_share=0.6),
        turn("asgi", 1, [1.0], generator_cpu_share=0.9),
        turn("socketio", 1, [1.0]),
    ]
    titles = {each.contestant: each.contestant for each in turns}
    said = list(notes([series(5.0, titles, turns, [])], machine))
    assert len(said) == 4
    assert "0% to 60% of a core" in said[0]
    assert said[1] == "Its own core was the limit of cardroom with a flush 5 ms longer."
    assert "machine was the limit of tuned" in said[2]
    assert "generator was the limit of asgi" in said[3]


PAGES = {
    "one flush time": result(),
    "a series": result(flushes_ms=(0.0, 5.0)),
    "alone": result(
        series=[series(0.0, TITLES, [turn("cardroom", 1, [1.0])], [])],
        versions={},
        missing={"tuned": "Node <18> is missing"},
    ),
    "one failed": result(failed={"asgi": "Starlette <c> ended at its start:\nno & such"}),
}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_well_formed_and_needs_nothing_else(name: str) -> None:
    text = page(PAGES[name])
    body = text.removeprefix("<!doctype html>\n")
    ElementTree.fromstring(body)
    assert addresses(text) == []
    assert not re.search(r"url\(|@import|https?:|//[a-z]", body)


def test_a_page_has_everybody_and_what_it_stands_on() -> None:
    text = page(PAGES["one flush time"])
    for said in ("Cardroom", "ws &lt;&amp;&gt; pg", "A processor", "fsync", "CARDROOM_X", "8.0.0"):
        assert said in text
    assert text.count("<svg") == 4  # rates, ratios, latencies, processor
    assert page(PAGES["a series"]).count("<svg") == 2 + 2 * 4


def test_a_page_says_who_was_left_out() -> None:
    assert "Left out: tuned: Node &lt;18&gt; is missing" in page(PAGES["alone"])
    assert "No good: Starlette &lt;c&gt; ended at its start." in page(PAGES["one failed"])


@pytest.mark.parametrize("name", PAGES)
def test_the_terminal_shows_who_took_part_and_who_was_left_out(name: str) -> None:
    console = Console(file=io.StringIO(), width=200)
    terminal.show(PAGES[name], console)
    assert isinstance(console.file, io.StringIO)
    said = console.file.getvalue()
    assert "Cardroom" in said
    for reason in (*PAGES[name].missing.values(), *PAGES[name].failed.values()):
        assert reason in said


@pytest.mark.parametrize("name", PAGES)
def test_a_result_is_read_back_as_it_was_written(name: str, tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_bytes(encode(PAGES[name]))
    assert is_peers(path.read_bytes())
    assert read(path) == PAGES[name]


@pytest.mark.parametrize("text", ["{}", "[]", "no JSON", '{"turns": []}', '{"format": 99}'])
def test_what_is_no_result_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "result.json"
    path.write_text(text)
    with pytest.raises(ResultError):
        read(path)


def test_noise_is_no_change(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparing, "DRAWS", 200)
    verdicts = [changes(result(seed=seed), result(seed=seed + 100)) for seed in range(20)]
    for title in ("ours to theirs: ws <&> pg", "Cardroom: commands/s"):
        # One in twenty may look like a change, by what 95 % means.
        assert [each[title] for each in verdicts].count("the same") >= 17


def test_ratios_tell_what_rates_do_not_when_all_else_goes_up_and_down() -> None:
    verdicts = changes(result(weather=(1.0, 2.0, 4.0)), result(ours=240.0, weather=(4.0, 1.0, 2.0)))
    assert verdicts["ours to theirs: ws <&> pg"] == "better"
    assert verdicts["Cardroom: commands/s"] == "the same"


def test_a_slower_server_of_ours_is_worse_and_one_of_theirs_has_changed() -> None:
    verdicts = changes(result(), result(ours=100.0, theirs=50.0, seed=1))
    assert verdicts["Cardroom: commands/s"] == "worse"
    assert verdicts["ws <&> pg: commands/s"] == "changed"
    assert verdicts["ours to theirs: ws <&> pg"] == "the same"


def test_below_three_rounds_nothing_is_said() -> None:
    assert set(changes(result(rounds=2), result(ours=400.0, rounds=2)).values()) == {""}


def test_what_else_differs_is_said() -> None:
    other = result(versions={"tuned": {"node": "22.0.0", "ws": "8.0.0"}}, database={"fsync": "off"})
    assert differences(result(), other) == [
        "PostgreSQL's fsync: on → off",
        "built from tuned: node: 20.1.0 → 22.0.0",
    ]


def test_flush_times_that_only_one_has_are_named_and_not_compared() -> None:
    console = Console(file=io.StringIO(), width=200)
    show(console, ("a", "b"), result(), result(flushes_ms=(0.0, 5.0)))
    assert isinstance(console.file, io.StringIO)
    said = console.file.getvalue()
    assert said.count("ours to theirs") == 1
    assert "in one of them only: each flush 5 ms longer" in said


def test_bench_compare_takes_two_comparisons_but_no_mixture(tmp_path: Path) -> None:
    ours, scenario = tmp_path / "peers.json", tmp_path / "scenario.json"
    ours.write_bytes(encode(result()))
    scenario.write_text("{}")
    compared = CliRunner().invoke(bench, ["compare", str(ours), str(ours)])
    assert compared.exit_code == 0
    assert "ours to theirs" in compared.output
    mixed = CliRunner().invoke(bench, ["compare", str(ours), str(scenario)])
    assert mixed.exit_code == 1
    assert "the other of a scenario" in mixed.output
