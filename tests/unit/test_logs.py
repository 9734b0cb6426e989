"""Logs: their two forms, the request id, and that nothing secret gets through."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
import structlog
import trio
from hypercorn.config import Config
from hypercorn.logging import Logger as HypercornLogger

from server import logs


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Give the root logger and structlog back as they were."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    configured = structlog.get_config()
    yield
    root.handlers = handlers
    root.setLevel(level)
    structlog.configure(**configured)
    structlog.contextvars.clear_contextvars()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_json_when_it_is_no_terminal() -> None:
    stream = io.StringIO()
    logs.configure("auto", "info", stream)
    structlog.get_logger("cardroom.x").info("room.opened", room_id="r1")
    (line,) = lines(stream)
    assert line["event"] == "room.opened"
    assert line["room_id"] == "r1"
    assert line["level"] == "info"
    assert line["logger"] == "cardroom.x"
    assert line["timestamp"].endswith("Z")


def test_text_for_people_on_a_terminal_unless_json_is_asked_for() -> None:
    terminal = Terminal()
    logs.configure("auto", "info", terminal)
    structlog.get_logger().info("room.opened", room_id="r1")
    assert "room.opened" in terminal.getvalue()
    with pytest.raises(json.JSONDecodeError):
        lines(terminal)
    terminal = Terminal()
    logs.configure("json", "info", terminal)
    structlog.get_logger().info("room.opened")
    assert lines(terminal)[0]["event"] == "room.opened"


def test_lines_below_the_level_are_left_out() -> None:
    stream = io.StringIO()
    logs.configure("json", "warning", stream)
    structlog.get_logger().info("quiet")
    logging.getLogger("quart").info("quiet")
    structlog.get_logger().warning("loud")
    assert [line["event"] for line in lines(stream)] == ["loud"]


def test_the_standard_librarys_loggers_come_out_the_same_way() -> None:
    stream = io.StringIO()
    logs.configure("json", "info", stream)
    with logs.request_scope("req-1"):
        logging.getLogger("quart.app").warning("odd %s", "thing")
    (line,) = lines(stream)
    assert line["event"] == "odd thing"
    assert line["logger"] == "quart.app"
    assert line["request_id"] == "req-1"


def test_hypercorn_writes_through_ours_and_adds_no_handler() -> None:
    stream = io.StringIO()
    logs.configure("json", "info", stream)
    config = Config()
    logs.route_hypercorn(config)
    hypercorn = HypercornLogger(config)
    assert hypercorn.access_logger is None
    assert hypercorn.error_logger is not None
    assert hypercorn.error_logger.handlers == []
    hypercorn.error_logger.error("worker gone")
    assert [line["event"] for line in lines(stream)] == ["worker gone"]


async def test_the_request_id_follows_its_task_only() -> None:
    stream = io.StringIO()
    logs.configure("json", "info", stream)
    log = structlog.get_logger()

    async def one(name: str) -> None:
        with logs.request_scope(name, user_id="u"):
            await trio.lowlevel.checkpoint()
            log.info(name)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(one, "a")
        nursery.start_soon(one, "b")
    log.info("after")
    found = {line["event"]: (line.get("request_id"), line.get("user_id")) for line in lines(stream)}
    assert found == {"a": ("a", "u"), "b": ("b", "u"), "after": (None, None)}


class Deal(msgspec.Struct):
    seat: int
    hole_cards: tuple[str, str]


@pytest.mark.parametrize(
    "fields",
    [
        {"deck": "S3CRET"},
        {"hole_cards": ["S3CRET"]},
        {"token": "S3CRET"},
        {"rejoin_token": "S3CRET"},
        {"message_text": "S3CRET"},
        {"authorization": "S3CRET"},
        {"Authorization": "S3CRET"},
        {"secret": "S3CRET"},
        {"jwt_secret": "S3CRET"},
        {"rejoinToken": "S3CRET"},
        {"onesignal_api_key": "S3CRET"},
        {"command": {"type": "authenticate", "token": "S3CRET"}},
        {"events": [{"type": "cards_dealt", "hole_cards": ["S3CRET"]}]},
        {"deal": Deal(1, ("S3CRET", "S3CRET"))},
        {"deals": (Deal(1, ("S3CRET", "S3CRET")),)},
        {"header": "Bearer abcdefghijklmnopqrstuv.S3CRET"},
        {"path": "/app/key?protocol=7&token=S3CRET"},
        {"text": "got eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.S3CRET today"},
        {"error": ValueError("?token=S3CRET")},
    ],
)
@pytest.mark.parametrize("log_format", ["json", "console"])
def test_what_must_never_be_logged_is_not(fields: dict[str, object], log_format: Any) -> None:
    stream = io.StringIO()
    logs.configure(log_format, "info", stream)
    structlog.get_logger().info("command", room_id="kept", **fields)
    assert "S3CRET" not in stream.getvalue()
    assert logs.REDACTED in stream.getvalue()
    assert "kept" in stream.getvalue()


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_traceback_comes_without_the_local_variables(log_format: Any) -> None:
    stream = Terminal() if log_format == "console" else io.StringIO()
    logs.configure(log_format, "info", stream)
    cards = "-".join(["S3", "CRET"])
    try:
        raise LookupError(f"no seat for {len(cards)}")
    except LookupError:
        structlog.get_logger().exception("room.crashed")
        logging.getLogger("quart").exception("request.crashed")
    assert stream.getvalue().count("no seat for 7") == 2
    assert "test_logs.py" in stream.getvalue()
    assert cards not in stream.getvalue()


def test_a_token_in_a_traceback_is_cut_out() -> None:
    stream = io.StringIO()
    logs.configure("json", "info", stream)
    try:
        raise LookupError("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.S3CRET")
    except LookupError:
        structlog.get_logger().exception("crashed")
    assert "S3CRET" not in stream.getvalue()


def test_public_cards_and_counts_stay_readable() -> None:
    stream = io.StringIO()
    logs.configure("json", "info", stream)
    structlog.get_logger().info("street", board=["Ah", "Td", "2c"], pot=150, final=True, next=None)
    (line,) = lines(stream)
    assert (line["board"], line["pot"], line["final"], line["next"]) == (
        ["Ah", "Td", "2c"],
        150,
        True,
        None,
    )


def test_crash_ids_are_short_and_differ() -> None:
    ids = {logs.crash_id() for _ in range(100)}
    assert len(ids) == 100
    assert {len(crash_id) for crash_id in ids} == {12}
