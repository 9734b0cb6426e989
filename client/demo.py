"""A table of bots to look at, and to sit down at: what `cardroom demo` runs."""

import random
import signal
import time
from collections import deque
from collections.abc import Callable
from uuid import uuid4

import trio
from rich.console import Console
from rich.live import Live

from client.bots import Bot, BotPolicy
from client.club import CardroomClient, open_club
from client.errors import ClientError, Refused, RoomGone
from client.picture import table, told
from client.room import LiveRoom
from protocol.values import BombPot, SettingsPatch

NAMES = ("Ada", "Blaise", "Carl", "Dorothy", "Emmy", "Fermat")
BUY_IN = 5_000
LOG_LINES = 6
GOODBYE_S = 10.0
"""Longest wait for the running hand before leaving."""

Mint = Callable[[str, str, str], str]
"""Makes an access token of user id, name and role."""


async def demo(
    ws_url: str,
    mint: Mint,
    *,
    variant: str = "nlhe",
    think_s: tuple[float, float] = (0.6, 1.5),
    hands: int | None = None,
    console: Console | None = None,
    rng: random.Random | None = None,
) -> None:
    """Make a room, let six bots play in it, and draw it until Ctrl-C; then close the room.

    A server that goes away meanwhile is waited for.

    Args:
        ws_url: the server's socket.
        mint: makes the bots' access tokens.
        variant: what they play.
        think_s: shortest and longest time of a bot's decision, in seconds.
        hands: after how many hands to end by itself; None for never.
        console: where to draw; where it is no terminal, events are written line by line.
        rng: all the bots' chance.
    """
    console = console or Console()
    rng = rng or random.Random()
    run = uuid4().hex[:6]
    # Bots of each demo are new people: the wallets of earlier ones may be empty.
    ids = {name: f"demo-{name.lower()}-{run}" for name in NAMES}
    try:
        async with open_club(ws_url, mint(ids[NAMES[0]], NAMES[0], "player")) as host:
            settings = SettingsPatch(
                name="Demo table",
                variant=variant,
                small_blind=50,
                big_blind=100,
                min_buy_in=2_000,
                max_buy_in=10_000,
                max_seats=8,
                requires_approval=False,
                bomb_pot=BombPot(every_n_hands=10, amount=300),
                run_it_times=2,
            )
            view = await host.create_room(settings, NAMES[0])
            room = await host.enter(view.id)
            policy = BotPolicy(think_s=think_s, buy_in=BUY_IN)
            async with trio.open_nursery() as nursery:
                for index, name in enumerate(NAMES):
                    token = mint(ids[name], name, "player")
                    bot = Bot(ws_url, token, name, random.Random(rng.random()), policy)
                    if index == 0:
                        nursery.start_soon(_host, bot, room)
                    else:
                        nursery.start_soon(bot.run, view.code)
                nursery.start_soon(_refill, room, set(ids.values()))
                nursery.start_soon(_draw, console, host, room)
                await _until_told_to_stop(room, hands)
                nursery.start_soon(_stop_at_once, nursery.cancel_scope)
                await _close(room)
                nursery.cancel_scope.cancel()
        console.print("The demo is over; its room is closed.")
    except* ClientError as group:
        console.print(f"The demo ended: {group.exceptions[0]}")


async def _host(bot: Bot, room: LiveRoom) -> None:
    try:
        await bot.play(room)
    except RoomGone:
        return


async def _refill(room: LiveRoom, bots: set[str]) -> None:
    """Give broke bots chips from the house, which a host may do between hands."""
    while True:
        try:
            state = await room.until(lambda state: state.hand is None)
            broke = [s for s in state.seats.values() if s.user_id in bots and not s.chips]
            for seat in broke:
                await room.adjust_chips(seat.user_id, BUY_IN, "demo")
            await room.changed()
        except Refused:
            # A hand began meanwhile, or the bot left: look again after what comes next.
            await room.changed()
        except RoomGone:
            return


async def _draw(console: Console, client: CardroomClient, room: LiveRoom) -> None:
    log: deque[str] = deque(maxlen=LOG_LINES)
    code = room.state.room.code
    note = (
        f"Sit down beside them:  cardroom play --user you --room {code}      Ctrl-C ends the demo"
    )
    async with trio.open_nursery() as nursery:
        if not console.is_terminal:
            console.print(note)
        nursery.start_soon(_listen, room, log, None if console.is_terminal else console)
        if not console.is_terminal:
            return
        with Live(console=console, auto_refresh=False, screen=True) as live:
            while room.gone is None:
                line = note if client.connected else "reconnecting…"
                picture = table(room.state, now_ms=now_ms(), log=list(log), note=line)
                live.update(picture, refresh=True)
                with trio.move_on_after(0.25):
                    await room.changed()
        nursery.cancel_scope.cancel()


async def _listen(room: LiveRoom, log: deque[str], console: Console | None) -> None:
    async with room.events() as events:
        async for event in events:
            line = told(event, room.state)
            if line is not None:
                log.append(line)
                if console is not None:
                    console.print(line, highlight=False)


async def _until_told_to_stop(room: LiveRoom, hands: int | None) -> None:
    async with trio.open_nursery() as nursery:

        async def count() -> None:
            await room.until(
                lambda state: (
                    hands is not None
                    and state.game is not None
                    and state.game.hands_played >= hands
                    and state.hand is None
                )
            )
            nursery.cancel_scope.cancel()

        nursery.start_soon(count)
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async for _ in signals:
                break
        nursery.cancel_scope.cancel()


async def _stop_at_once(scope: trio.CancelScope) -> None:
    """End on a second Ctrl-C, without waiting for the hand."""
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            scope.cancel()


async def _close(room: LiveRoom) -> None:
    with trio.move_on_after(GOODBYE_S):
        try:
            await room.close("The demo is over.")
            await room.until(lambda state: state.room.status == "closed")
        except ClientError:
            return


def now_ms() -> int:
    """Return the time of day as the wire tells it: UTC in ms since 1970."""
    return time.time_ns() // 1_000_000
