"""Examples of HTTP requests and answers on a page: found there, sent to a server, compared.

On the page a request and its answer are two blocks fenced as ``http``. A UUID, an id of 12 hex
digits and a time in milliseconds stand for others of their kind: the same id on the page is the
same id in reality, two are two, and times keep their order. ``…`` as an object's last field stands
for any others.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

_BLOCK = re.compile(r"^```http\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_ID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_ANY_ID = re.compile(rf"{_ID}|[0-9a-f]{{12}}")
_PERSON = re.compile(r"^\$ cardroom token --user (\w+) --name (\w+)(?: --role (\w+))?$", re.M)
_TOKEN = re.compile(r"<token of (\w+)>")
_REST = re.compile(r"([{,])\s*…\s*}")
_OTHERS = "…"
_FIRST_TIME = 10**12


class Example(NamedTuple):
    """One exchange as it stands on the page; `body` and `answer` are JSON, None for none."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: Any
    status: int
    media_type: str
    answer: Any


class Person(NamedTuple):
    """Somebody whose token the page uses."""

    user_id: str
    name: str
    role: str


def people_on(page: str) -> dict[str, Person]:
    """Find who the page says there is, by user id."""
    return {
        user: Person(user, name, role or "player") for user, name, role in _PERSON.findall(page)
    }


def examples_on(page: str) -> list[Example]:
    """Find the examples of a page, in order."""
    blocks = [_parts(found) for found in _BLOCK.findall(page)]
    if len(blocks) % 2:
        raise AssertionError("a request on the page has no answer")
    found = []
    for (request, headers, body), (told, told_headers, answer) in zip(
        blocks[::2], blocks[1::2], strict=True
    ):
        method, path = request.split()
        protocol, status = told.split()[:2]
        assert protocol == "HTTP/1.1", f"{request} is not followed by its answer"
        media_type = told_headers["Content-Type"]
        found.append(Example(method, path, headers, body, int(status), media_type, answer))
    return found


@dataclass
class Reality:
    """What the ids and times of a page have turned out to be.

    Attributes:
        tokens: by user id.
        began: UTC in ms; no time that is told is before it.
    """

    tokens: Mapping[str, str]
    began: int
    _ids: dict[str, str] = field(default_factory=dict)
    _times: dict[int, int] = field(default_factory=dict)

    def sent(self, text: str) -> str:
        """Write a part of a request with the real ids and tokens; an id that is new is itself."""
        text = _ANY_ID.sub(lambda found: self._ids.setdefault(found[0], found[0]), text)
        return _TOKEN.sub(lambda found: self.tokens[found[1]], text)

    def compare(self, shown: Any, real: Any, at: str = "") -> None:
        """Hold what the page shows against what came.

        Raises:
            AssertionError: it is not the same.
        """
        if isinstance(shown, dict) and isinstance(real, dict):
            keys = set(shown) - {_OTHERS}
            assert keys == set(real) if _OTHERS not in shown else keys < set(real), (
                at,
                shown,
                real,
            )
            for key in keys:
                self.compare(shown[key], real[key], f"{at}.{key}")
        elif isinstance(shown, list) and isinstance(real, list):
            assert len(shown) == len(real), (at, shown, real)
            for n, (one, other) in enumerate(zip(shown, real, strict=True)):
                self.compare(one, other, f"{at}[{n}]")
        elif isinstance(shown, str) and isinstance(real, str) and _ANY_ID.fullmatch(shown):
            assert _ANY_ID.fullmatch(real), (at, shown, real)
            assert self._ids.setdefault(shown, real) == real, (at, shown, real)
            assert len(set(self._ids.values())) == len(self._ids), (at, shown, real)
        elif type(shown) is type(real) is int and shown >= _FIRST_TIME:
            assert real >= self.began, (at, shown, real)
            self._times[shown] = real
            told = [self._times[time] for time in sorted(self._times)]
            assert told == sorted(told), (at, shown, real)
        else:
            assert type(shown) is type(real), (at, shown, real)
            assert shown == real, (at, shown, real)


def _parts(block: str) -> tuple[str, dict[str, str], Any]:
    """Take a block apart: its first line, its headers, its JSON."""
    head, _, body = block.partition("\n\n")
    first, *lines = head.strip().split("\n")
    headers = dict(line.split(": ", 1) for line in lines)
    plain = _REST.sub(_rest, body)
    return first, headers, json.loads(plain) if plain.strip() else None


def _rest(found: re.Match[str]) -> str:
    return f'{found[1]} "{_OTHERS}": 0}}'
