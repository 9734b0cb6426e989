"""Figures as people read them."""

from __future__ import annotations

from bench.harness.result import Figure, GeneratorShare, Growth


def number(value: float) -> str:
    """Write a number with three digits or so, and no more."""
    size = abs(value)
    if size >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:,.1f}" if size >= 10 else f"{value:,.2f}"


def shown(figure: Figure) -> str:
    """Write a figure with its unit."""
    if figure.unit == "cores":
        return f"{figure.value:.0%} of a core"
    if figure.unit in ("", "/s"):
        return number(figure.value)
    return f"{number(figure.value)} {figure.unit}"


def each(share: GeneratorShare) -> str:
    """Write what a generator used."""
    used = f"{share.cpu_share:.0%} of a core"
    if share.cpu_us_per_event is None:
        return used
    return f"{used}, {number(share.cpu_us_per_event)} µs an event"


def span(growth: Growth) -> str:
    """Write what something was at the beginning and at the end."""
    return f"{number(growth.first)} to {_with_unit(growth.last, growth)}"


def an_hour(growth: Growth) -> str:
    """Write by how much something grows in an hour."""
    if growth.per_hour is None or growth.low is None or growth.high is None:
        return "too little is known"
    each_hour = _with_unit(growth.per_hour, growth)
    return f"{each_hour} an hour ({number(growth.low)} to {number(growth.high)})"


def _with_unit(value: float, growth: Growth) -> str:
    return f"{number(value)} {growth.unit}".rstrip()
