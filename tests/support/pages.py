"""What a browser would do with a page."""

from __future__ import annotations

from html.parser import HTMLParser


class Addresses(HTMLParser):
    """Collects what a browser would fetch, or run."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("script", "link", "iframe", "img", "object", "embed", "base"):
            self.found.append(tag)
        self.found += [name for name, _ in attrs if name in ("href", "src", "srcset", "xlink:href")]


def addresses(page: str) -> list[str]:
    """Return what of a page would be fetched, or run, and the attributes that say so."""
    parser = Addresses()
    parser.feed(page)
    return parser.found
