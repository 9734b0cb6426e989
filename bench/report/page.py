"""A result as one page that needs nothing else: no script, no font, no address."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from bench.harness.machine import Machine, Software
from bench.harness.result import Result
from bench.report.charts import Curve, Line, over_time, percentiles, stage_bar
from bench.report.figures import an_hour, each, number, shown, span
from bench.report.sweep import as_html, pictures

_STYLE = Path(__file__).with_name("page.css")
_TILES = 6


def page(result: Result) -> str:
    """Write a result as an HTML document."""
    return document(
        kind=f"cardroom bench {result.scenario}",
        title=result.title,
        about=result.about,
        body=f"{_tiles(result)}{notes(result.notes, result.failed)}"
        f'<div class="grid">\n{"".join(_pictures(result))}{"".join(_tables(result))}</div>\n',
        footer=f"Measured {result.started_at}. Point at a picture for its figures; "
        "a shaded beginning is warm-up and not in them.",
    )


def document(*, kind: str, title: str, about: str, body: str, footer: str) -> str:
    """Put a page together; all but `body` is plain text."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"/>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>'
        f"<title>{escape(kind)}: {escape(title)}</title>"
        f"<style>\n{_STYLE.read_text()}</style></head><body><main>\n"
        f'<header><div class="kind">{escape(kind)}</div>'
        f"<h1>{escape(title)}</h1><p>{escape(about)}</p></header>\n"
        f"{body}<footer>{escape(footer)}</footer>\n</main></body></html>\n"
    )


def tile(value: str, unit: str, title: str) -> str:
    """Show a figure in large."""
    said = f"<small>{escape(unit)}</small>" if unit else ""
    return f'<div class="tile"><b>{escape(value)}{said}</b><span>{escape(title)}</span></div>'


def notes(said: Sequence[str], failed: str) -> str:
    """Show what a reader has to know."""
    items = [f"<li>{escape(note)}</li>" for note in said]
    if failed:
        items.insert(0, f'<li class="failed">No good: {escape(failed)}.</li>')
    return f'<section class="notes"><ul>{"".join(items)}</ul></section>\n' if items else ""


def section(title: str, content: str, small: str = "", *, kind: str = "") -> str:
    """Frame a picture or a table; a kind of sections has its own style."""
    said = f"<small>{escape(small)}</small>" if small else ""
    opened = f'<section class="{kind}">' if kind else "<section>"
    return f"{opened}<h2>{escape(title)}{said}</h2>{content}</section>\n"


def rows(pairs: Iterable[tuple[str, str]]) -> str:
    """Make a table of names and what they are."""
    written = (
        f'<tr><td>{escape(name)}</td><td class="text">{escape(value)}</td></tr>'
        for name, value in pairs
    )
    return f"<table>{''.join(written)}</table>"


def ground(machine: Machine, ran: Software) -> str:
    """Make the table of what a run stood on."""
    libraries = ", ".join(f"{name} {version}" for name, version in ran.libraries.items())
    return rows(
        {
            "processor": f"{machine.cores} × {machine.cpu}",
            "memory": f"{number(machine.memory_gib)} GiB",
            "kernel": machine.kernel,
            "before it": f"load {number(machine.load)}, {machine.busy:.0%} busy",
            "cardroom": f"{ran.cardroom} ({ran.commit or 'no checkout'})",
            "Python": ran.python,
            "PostgreSQL": ran.postgres,
            "libraries": libraries,
        }.items()
    )


def _tiles(result: Result) -> str:
    tiles = []
    for figure in list(result.figures.values())[:_TILES]:
        value, _, unit = shown(figure).partition(" ")
        tiles.append(tile(value, unit, figure.title))
    return f'<div class="tiles">{"".join(tiles)}</div>\n'


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
        alone = not result.beside
        curves = [
            Curve("" if alone else kind.title, kind.curve, colour)
            for colour, kind in enumerate(kinds, 1)
        ]
        yield section("Latency", percentiles(curves), kinds[0].title if alone else "")
    if any(stage.ms for stage in result.stages):
        yield section(
            "Where a command's time goes", stage_bar(result.stages), "in the server, on average"
        )
    if result.sweep is not None:
        for title, picture in pictures(result.sweep):
            yield section(title, picture, f"over {result.sweep.axis}")
    if not moments:
        return
    if any(moment.operations for moment in moments):
        rate = lines((f"{result.operation}/s", "operations"))
        yield section(
            f"{result.operation.capitalize()}/s",
            over_time(xs, rate, "/s", events=events, area=True),
        )
        late = lines(("p50", "p50_ms"), ("p99", "p99_ms"), ("longest", "max_ms"))
        yield section("Latency over time", over_time(xs, late, "ms", events=events))
    if result.scenario in _SOCKETS_MATTER:
        sockets = lines(("sockets", "connected"))
        yield section("Sockets", over_time(xs, sockets, "", events=events, area=True))
    cpu = lines(
        ("server", "server_cpu"),
        ("PostgreSQL", "postgres_cpu"),
        ("generators", "generators_cpu"),
        ("others on the machine", "other_cpu"),
    )
    yield section(
        "Processor", over_time(xs, cpu, "cores", events=events), f"{result.machine.cores} cores"
    )
    if result.series:
        for series in result.series:
            named = enumerate(series.lines.items(), 1)
            drawn = [Line(name, values, colour) for colour, (name, values) in named]
            picture = over_time(series.at_s, drawn, series.unit, events=events)
            yield section(series.title, picture)
        return
    memory = lines(("server", "server_mib"), ("PostgreSQL", "postgres_mib"))
    yield section("Memory", over_time(xs, memory, "MiB", events=events))


_SOCKETS_MATTER = frozenset({"connections", "storm", "recovery"})


def _tables(result: Result) -> Iterable[str]:
    if result.sweep is not None:
        yield section("At each value", as_html(result.sweep), kind="wide")
    yield section("All figures", rows((f.title, shown(f)) for f in result.figures.values()))
    if result.growth:
        trends = ((one.title, f"{span(one)}; {an_hour(one)}") for one in result.growth)
        yield section("What grows", rows(trends), "an hour, between what it lies with 95 %")
    asked = {name.replace("_", " "): str(value) for name, value in result.options.items()}
    shares = {f"generator {n}": each(share) for n, share in enumerate(result.generators, 1)}
    yield section("What it ran on", ground(result.machine, result.software))
    yield section("What was asked", rows([*asked.items(), *shares.items()]))
    yield section("Settings of the server", rows(result.settings.items()), "beside the defaults")
