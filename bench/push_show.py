"""The stand-in for OneSignal as a command: what it gets it writes to the terminal."""

from __future__ import annotations

from functools import partial

import trio
from rich.console import Console
from rich.markup import escape

from bench.push_stand_in import (
    BAD_KEY,
    BROKEN,
    GARBAGE,
    HANG,
    LOST_ANSWER,
    TRICKLE,
    Fault,
    Push,
    PushStandIn,
    limited,
    slow,
)

FAULTS: dict[str, Fault] = {
    "hang": HANG,
    "lost-answer": LOST_ANSWER,
    "500": BROKEN,
    "429": limited("30"),
    "401": BAD_KEY,
    "garbage": GARBAGE,
    "slow": slow(3.0),
    "trickle": TRICKLE,
}
_HOW = """\
Standing in for OneSignal on {url}. Have a server send its push notifications here:

  CARDROOM_ONESIGNAL_BASE_URL={url} \\
  CARDROOM_ONESIGNAL_APP_ID={app_id} \\
  CARDROOM_ONESIGNAL_API_KEY={api_key} cardroom serve
"""
ANY_APP = "00000000-0000-4000-8000-000000000000"


async def show(port: int, app_id: str | None, api_key: str | None, fail: str | None) -> None:
    """Serve until Ctrl-C; write each notification that is taken."""
    console = Console()
    stand_in = PushStandIn(app_id=app_id, api_key=api_key, on_push=partial(_write, console))
    stand_in.fault = None if fail is None else FAULTS[fail]
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(stand_in.run, port)
            console.print(
                _HOW.format(
                    url=stand_in.url, app_id=app_id or ANY_APP, api_key=api_key or "anything"
                ),
                highlight=False,
                markup=False,
                soft_wrap=True,
            )
    except* KeyboardInterrupt:
        console.print("Bye.")


def _write(console: Console, push: Push) -> None:
    console.print(
        f"[bold]{escape(push.title)}[/]  to {escape(', '.join(push.to))}\n  {escape(push.text)}\n"
        f"  [dim]{escape(str(push.data))}[/]",
        highlight=False,
    )
