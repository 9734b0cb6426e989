"""A comparison as one page that needs nothing else: no script, no font, no address."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from bench.peers.charts import Bar, Part, Points, bars, over_flush, stacked
from bench.peers.result import OURS, PeersResult, Series
from bench.peers.terminal import LIMIT_COLUMNS, ROWS, flush_title, limit_cells
from bench.report.charts import Curve, percentiles
from bench.report.figures import number
from bench.report.page import document, ground, notes, rows, section, tile


def page(result: PeersResult) -> str:
    """Write a comparison as an HTML document."""
    asked = result.options
    colours = _colours(result)
    return document(
        kind="cardroom bench peers",
        title="Cardroom beside other servers",
        about=(
            f"{asked['rooms']} rooms of {asked['players']} sockets, one small command under way "
            "in each: it advances its room, writes an event and a seat, is committed durably and "
            "told to all of the room; it counts when the last one has read it. One after another, "
            f"on one PostgreSQL, by one generator. Rounds: {asked['rounds']}, of "
            f"{asked['seconds']:g} s; {asked['connections']} connections for each peer."
        ),
        body="".join(
            [
                _tiles(result),
                notes([*result.notes, *_left_out(result.missing)], "; ".join(_failures(result))),
                *_flushes(result.series, colours),
                *(
                    _part(series, colours, heading=len(result.series) > 1)
                    for series in result.series
                ),
                '<h2 class="part">What it stands on</h2>' if len(result.series) > 1 else "",
                f'<div class="grid">\n{"".join(_ground(result))}</div>\n',
            ]
        ),
        footer=f"Measured {result.started_at}. Bars and points are medians of the rounds, thin "
        "lines reach from the lowest to the highest. Point at a picture for its figures.",
    )


def _colours(result: PeersResult) -> dict[str, int]:
    names = dict.fromkeys(one.name for series in result.series for one in series.standings)
    return {name: colour for colour, name in enumerate(names, 1)}


def _tiles(result: PeersResult) -> str:
    first = result.series[0]
    tiles = []
    for one in first.standings:
        if one.name == OURS:
            tiles.append(tile(number(one.commands_per_s.median), "/s", "Cardroom's commands"))
            tiles.append(tile(number(one.p50_ms), "ms", "until the last has read it, p50"))
        else:
            tiles.append(tile(f"{one.ratio.median:.2f}", "×", f"as many as {one.title}"))
    return f'<div class="tiles">{"".join(tiles)}</div>\n'


def _left_out(reasons: dict[str, str]) -> list[str]:
    return [f"Left out: {name}: {reason}" for name, reason in reasons.items()]


def _failures(result: PeersResult) -> list[str]:
    return [reason.splitlines()[0].rstrip(":") for reason in result.failed.values()]


def _flushes(measured: Sequence[Series], colours: dict[str, int]) -> Iterable[str]:
    """Draw what a slower disk changes, if more than one was tried."""
    if len(measured) < 2:
        return
    titles = {one.name: one.title for series in measured for one in series.standings}
    rates, ratios = [], []
    for name, title in titles.items():
        standings = [
            (series.flush_ms, one)
            for series in measured
            for one in series.standings
            if one.name == name
        ]
        rates.append(
            Points(title, [(x, one.commands_per_s) for x, one in standings], colours[name])
        )
        if name != OURS:
            ratios.append(Points(title, [(x, one.ratio) for x, one in standings], colours[name]))
    yield '<div class="grid">'
    yield section("Commands a second", over_flush(rates, "/s"), "each flush so much longer")
    if ratios:
        yield section("Ours to theirs", over_flush(ratios, "×", mark=1.0), "dashed: as many")
    yield "</div>\n"


def _part(series: Series, colours: dict[str, int], *, heading: bool) -> str:
    standings = series.standings
    rates = [Bar(one.title, one.commands_per_s, colours[one.name]) for one in standings]
    rates += [Bar(limit.title, limit.per_s, 0) for limit in series.limits if "pgb" in limit.name]
    ratios = [Bar(one.title, one.ratio, colours[one.name]) for one in standings if one.name != OURS]
    curves = [Curve(one.title, one.curve, colours[one.name]) for one in standings]
    cpu = [
        Part("server", [one.server_cpu_us_per_command for one in standings], 5),
        Part("PostgreSQL", [one.postgres_cpu_us_per_command for one in standings], 6),
    ]
    sections = [
        section("Commands a second", bars(rates, ""), "and of PostgreSQL by itself"),
        section("Ours to theirs", bars(ratios, "×", mark=1.0), "round by round; dashed: as many")
        if ratios
        else "",
        section("From a command to its last event", percentiles(curves), "all rounds"),
        section(
            "Processor time", stacked([one.title for one in standings], cpu, "µs"), "a command"
        ),
        _wide("All figures", _figures(series)),
    ]
    if series.limits:
        sections.append(_wide("Limits", _limits(series)))
    said = flush_title(series.flush_ms)
    title = f'<h2 class="part">{escape(said[0].upper() + said[1:])}</h2>' if heading else ""
    return f'{title}<div class="grid">\n{"".join(sections)}</div>\n'


def _wide(title: str, content: str) -> str:
    return section(title, content).replace("<section>", '<section class="wide">', 1)


def _figures(series: Series) -> str:
    return _table(
        ["", *(one.title for one in series.standings)],
        ((what, *map(text, series.standings)) for what, text in ROWS),
    )


def _limits(series: Series) -> str:
    return _table(
        ["", *LIMIT_COLUMNS], ((limit.title, *limit_cells(limit)) for limit in series.limits)
    )


def _table(head: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    def row(kind: str, cells: Sequence[str]) -> str:
        return f"<tr>{''.join(f'<{kind}>{escape(cell)}</{kind}>' for cell in cells)}</tr>"

    return f"<table>{row('th', head)}{''.join(row('td', cells) for cells in body)}</table>"


def _ground(result: PeersResult) -> Iterable[str]:
    titles = {one.name: one.title for series in result.series for one in series.standings}
    built = (
        (titles.get(name, name), ", ".join(f"{what} {version}" for what, version in each.items()))
        for name, each in result.versions.items()
    )
    asked = {name.replace("_", " "): str(value) for name, value in result.options.items()}
    yield section("What it ran on", ground(result.machine, result.software))
    yield section("What was asked", rows(asked.items()))
    yield section("What peers are built from", rows(built))
    yield section("PostgreSQL", rows(result.database.items()), "the same for everybody")
    yield section("Settings of Cardroom", rows(result.settings.items()), "beside the defaults")
