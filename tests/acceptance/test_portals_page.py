"""Every example in docs/portals.md is what a server does."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import httpx
import pytest

from server.http.app import ALL_ROUTES
from server.http.openapi import in_camel
from tests.support.examples import Reality, examples_on, people_on
from tests.support.patience import PATIENCE_S
from tests.support.served import served

PAGE = (Path(__file__).parents[2] / "docs" / "portals.md").read_text(encoding="utf-8")
EXAMPLES = examples_on(PAGE)
CHAT = re.compile(r"/api/(\w+-chat|\w+-chat-integration|staff/(chats|canned-replies))(/|$)")


@pytest.mark.fail_after(120)
async def test_every_example_is_what_a_server_does(tmp_path: Path) -> None:
    began = int(time.time() * 1000)
    async with (
        served(tmp_path) as server,
        httpx.AsyncClient(base_url=server.http_url, timeout=PATIENCE_S) as http,
    ):
        tokens = {
            user: server.token(user, person.name, person.role)
            for user, person in people_on(PAGE).items()
        }
        reality = Reality(tokens, began)
        for example in EXAMPLES:
            at = f"{example.method} {example.path}"
            answer = await http.request(
                example.method,
                reality.sent(example.path),
                headers={name: reality.sent(value) for name, value in example.headers.items()},
                content=None if example.body is None else reality.sent(json.dumps(example.body)),
            )
            told = answer.status_code, answer.headers["Content-Type"]
            assert told == (example.status, example.media_type), (at, answer.text)
            reality.compare(example.answer, answer.json(), at)


def test_every_route_of_chat_has_an_example() -> None:
    asked = {(example.method, example.path.partition("?")[0]) for example in EXAMPLES}
    routes = [route for route in ALL_ROUTES if CHAT.match(route.path)]
    assert len(routes) >= 19
    for route in routes:
        shape = re.compile(re.sub(r"{\w+}", "[^/]+", route.path) + r"\Z")
        shown = [path for method, path in asked if method == route.method and shape.match(path)]
        assert shown, f"{route.method} {in_camel(route.path)} is not on the page"


def test_a_session_and_its_message_are_shown_whole_in_either_vocabulary() -> None:
    """Elsewhere they may be shown in part."""
    whole = [e.answer for e in EXAMPLES if "…" not in str(e.answer) and "session" in e.answer]
    assert [answer["session"]["status"] for answer in whole] == ["waiting", "pending"]
    assert all("message" in answer for answer in whole)
