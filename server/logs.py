"""Structured logs on standard error: structlog in front, the standard library's loggers behind it.

Two nets keep secrets out, whatever a caller passes: keys that must never be logged lose their value
at any depth, and tokens inside texts are cut out. Tracebacks are rendered without local variables,
because the locals of a room's code are decks and hole cards.
"""

import logging
import re
import secrets
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal, TextIO

import msgspec
import structlog
from hypercorn.config import Config
from structlog.typing import EventDict, Processor

REDACTED = "[redacted]"
_MAX_DEPTH = 8

# Compared without `_` and `-` and in lower case, so that `rejoinToken` is `rejoin_token`.
_NEVER = frozenset(
    {
        "authorization",
        "cookie",
        "deck",
        "holecards",
        "initialmessage",
        "messagetext",
        "password",
        "secret",
        "token",
    }
)
_NEVER_ENDINGS = ("token", "secret", "password", "apikey")
_IN_TEXT = (
    (re.compile(r"(?i)\b(bearer)\s+[A-Za-z0-9._~+/=-]{16,}"), rf"\1 {REDACTED}"),
    (re.compile(r"(?i)([?&](?:rejoin_|access_)?token=)[^&\s\"']+"), rf"\1{REDACTED}"),
    (re.compile(r"\beyJ[\w-]+\.[\w-]+\.[\w-]*=*"), REDACTED),
)


def configure(
    log_format: Literal["auto", "json", "console"] = "auto",
    log_level: str = "info",
    stream: TextIO | None = None,
) -> None:
    """Route structlog and the standard library's loggers to `stream` (None: standard error).

    `auto` writes for people on a terminal and JSON, one object a line, anywhere else. May be called
    again: the last call wins.
    """
    target = sys.stderr if stream is None else stream
    as_json = log_format == "json" or (log_format == "auto" and not target.isatty())
    level = logging.getLevelNamesMapping()[log_level.upper()]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    # A traceback becomes text before redacting, so that nothing is rendered past the two nets.
    renderer: list[Processor] = [
        structlog.processors.format_exc_info,
        redact,
        _render_json if as_json else structlog.dev.ConsoleRenderer(colors=target.isatty()),
    ]
    handler = logging.StreamHandler(target)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    # These say at INFO what our own lines say already, once per request.
    for chatty in ("httpx", "httpcore"):
        logging.getLogger(chatty).setLevel(max(level, logging.WARNING))
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )


def route_hypercorn(config: Config) -> None:
    """Make hypercorn log through ours instead of through handlers of its own; no access log."""
    config.accesslog = None
    config.errorlog = logging.getLogger("hypercorn.error")


@contextmanager
def request_scope(request_id: str | None = None, **fields: object) -> Iterator[str]:
    """Put a request id (a fresh one for None) and `fields` on every line logged inside.

    The scope is the task's: tasks started inside inherit it. Yields the id.
    """
    chosen = crash_id() if request_id is None else request_id
    with structlog.contextvars.bound_contextvars(request_id=chosen, **fields):
        yield chosen


def crash_id() -> str:
    """Return a random id of 12 characters by which a client's `internal` is found in the log."""
    return secrets.token_hex(6)


def redact(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Blank what must never be logged (structlog processor)."""
    return {key: _clean(key, value, 0) for key, value in event.items()}


def _clean(key: object, value: object, depth: int) -> Any:  # log values are of any type
    if isinstance(key, str) and _forbidden(key):
        return REDACTED
    if isinstance(value, str):
        return _scrub(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    if depth >= _MAX_DEPTH:
        return REDACTED
    if isinstance(value, msgspec.Struct):
        value = msgspec.structs.asdict(value)
    if isinstance(value, Mapping):
        return {name: _clean(name, item, depth + 1) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean(None, item, depth + 1) for item in value]
    # Anything else becomes text here, because nothing could look into it once it is rendered.
    return _scrub(str(value))


def _forbidden(key: str) -> bool:
    plain = key.replace("_", "").replace("-", "").lower()
    return plain in _NEVER or plain.endswith(_NEVER_ENDINGS)


def _scrub(text: str) -> str:
    for pattern, replacement in _IN_TEXT:
        text = pattern.sub(replacement, text)
    return text


def _render_json(_logger: object, _method: str, event: EventDict) -> str:
    return msgspec.json.encode(event).decode()
