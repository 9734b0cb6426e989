"""A result as one page that needs nothing else: no script, no font, no address."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from pathlib import Path

from bench.harness.result import Result
from bench.report.charts import Line, over_time, percentiles, stage_bar
from bench.report.figures import each, number, shown
from bench.report.sweep import as_html, pictures

_STYLE = Path(__file__).with_name("page.css")
_TILES = 6


def page(result: Result) -> str:
    """Write a result as an HTML document."""
    title = f"{result.scenario}: {result.title}"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"/>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>'
        f"<title>{escape(title)}</title><style>\n{_STYLE.read_text()}</style></head><body><main>\n"
        f'<header><div class="kind">cardroom bench {escape(result.scenario)}</div>'
        f"<h1>{escape(result.title)}</h1><p>{escape(result.about)}</p></header>\n"
        f"{_tiles(result)}{_notes(result)}"
        f'<div class="grid">\n{"".join(_pictures(result))}{"".join(_tables(result))}</div>\n'
        f"<footer>Measured {escape(result.started_at)}. Point at a picture for its figures; "
        "a shaded beginning is warm-up and not in them.</footer>\n"
        "</main></body></html>\n"
    )


def _tiles(result: Result) -> str:
    tiles = []
    for figure in list(result.figures.values())[:_TILES]:
        value, _, unit = shown(figure).partition(" ")
        tiles.append(
            f'<div class="tile"><b>{escape(value)}'
            + (f"<small>{escape(unit)}</small>" if unit else "")
            + f"</b><span>{escape(figure.title)}</span></div>"
        )
    return f'<div class="tiles">{"".join(tiles)}</div>\n'


def _notes(result: Result) -> str:
    notes = [f"<li>{escape(note)}</li>" for note in result.notes]
    if result.failed:
        notes.insert(0, f'<li class="failed">No good: {escape(result.failed)}.</li>')
    return f'<section class="notes"><ul>{"".join(notes)}</ul></section>\n' if notes else ""


def _pictures(result: Result) -> Iterable[str]:
    moments = result.moments
    xs = [moment.at_s for moment in moments]
    events = result.events

    def lines(*named: tuple[str, str]) -> list[Line]:
        return [
            Line(name, [float(getattr(moment, field)) for moment in moments], colour)
            for colour, (name, field) in enumerate(named, 1)
        ]

    if result.latency is not None and result.latency.count:
        kinds = [result.latency, *result.beside]
        yield _section("Latency", percentiles(kinds), "" if result.beside else kinds[0].title)
    if any(stage.ms for stage in result.stages):
        yield _section(
            "Where a command's time goes", stage_bar(result.stages), "in the server, on average"
        )
    if result.sweep is not None:
        for title, picture in pictures(result.sweep):
            yield _section(title, picture, f"over {result.sweep.axis}")
    if not moments:
        return
    if any(moment.operations for moment in moments):
        rate = lines((f"{result.operation}/s", "operations"))
        yield _section(
            f"{result.operation.capitalize()}/s",
            over_time(xs, rate, "/s", events=events, area=True),
        )
        late = lines(("p50", "p50_ms"), ("p99", "p99_ms"), ("longest", "max_ms"))
        yield _section("Latency over time", over_time(xs, late, "ms", events=events))
    if result.scenario in _SOCKETS_MATTER:
        sockets = lines(("sockets", "connected"))
        yield _section("Sockets", over_time(xs, sockets, "", events=events, area=True))
    cpu = lines(
        ("server", "server_cpu"),
        ("PostgreSQL", "postgres_cpu"),
        ("generators", "generators_cpu"),
        ("others on the machine", "other_cpu"),
    )
    yield _section(
        "Processor", over_time(xs, cpu, "cores", events=events), f"{result.machine.cores} cores"
    )
    memory = lines(("server", "server_mib"), ("PostgreSQL", "postgres_mib"))
    yield _section("Memory", over_time(xs, memory, "MiB", events=events))


_SOCKETS_MATTER = frozenset({"connections", "storm", "recovery"})


def _tables(result: Result) -> Iterable[str]:
    if result.sweep is not None:
        yield _section("At each value", as_html(result.sweep), kind="wide")
    yield _section("All figures", _rows((f.title, shown(f)) for f in result.figures.values()))
    machine, ran = result.machine, result.software
    libraries = ", ".join(f"{name} {version}" for name, version in ran.libraries.items())
    ground = {
        "processor": f"{machine.cores} × {machine.cpu}",
        "memory": f"{number(machine.memory_gib)} GiB",
        "kernel": machine.kernel,
        "before it": f"load {number(machine.load)}, {machine.busy:.0%} busy",
        "cardroom": f"{ran.cardroom} ({ran.commit or 'no checkout'})",
        "Python": ran.python,
        "PostgreSQL": ran.postgres,
        "libraries": libraries,
    }
    asked = {name.replace("_", " "): str(value) for name, value in result.options.items()}
    shares = {f"generator {n}": each(share) for n, share in enumerate(result.generators, 1)}
    yield _section("What it ran on", _rows(ground.items()))
    yield _section("What was asked", _rows([*asked.items(), *shares.items()]))
    yield _section("Settings of the server", _rows(result.settings.items()), "beside the defaults")


def _section(title: str, content: str, small: str = "", *, kind: str = "") -> str:
    said = f"<small>{escape(small)}</small>" if small else ""
    opened = f'<section class="{kind}">' if kind else "<section>"
    return f"{opened}<h2>{escape(title)}{said}</h2>{content}</section>\n"


def _rows(pairs: Iterable[tuple[str, str]]) -> str:
    rows = (
        f'<tr><td>{escape(name)}</td><td class="text">{escape(value)}</td></tr>'
        for name, value in pairs
    )
    return f"<table>{''.join(rows)}</table>"
