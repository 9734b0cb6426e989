"""`tables`: how fast tables play, or how they fare at the pace of people.

An action is counted when its event has reached all clients of the table, and so after its
transaction is on disk.
"""

from __future__ import annotations

from bench.harness.generators import generating, shares
from bench.harness.result import Figure, Result
from bench.harness.run import mean, usual_figures
from bench.scenarios.common import SETTINGS, Timing, Watch, ground, measured_by, result_of
from bench.scenarios.tables_load import BUY_IN, TablesOptions
from bench.server_process import ServerProcess
from bench.serving import serving

LOAD = "bench.scenarios.tables_load"
TABLE_SETTINGS = SETTINGS | {"CARDROOM_STARTING_BALANCE": str(BUY_IN * 2)}
HUMAN_THINK_S = (1.0, 5.0)


async def tables(tables: int, players: int, human: bool, timing: Timing, watch: Watch) -> Result:
    """Measure tables of bots that act as soon as it is their turn, or (`human`) after a while.

    At once, hands follow each other without a pause; each table has one action under way.
    """
    settings = dict(TABLE_SETTINGS)
    if not human:
        settings["CARDROOM_HAND_INTERVAL_S"] = "0"
    watch.phase("starting a server")
    async with serving(settings) as server:
        stands_on = await ground(server)
        watch.phase(f"seating {tables * players:,} players")
        plans = plans_for(server, tables, players, timing.generators, human=human)
        async with generating(LOAD, plans) as generators:
            measured = await measured_by(server, generators, timing, watch)
        watch.phase("stopping the server")
    hands = measured.counted("hands")
    figures = usual_figures(measured, "actions")
    figures = {
        "rate": figures.pop("rate"),
        "hands": Figure("hands/s", mean(hands), "/s", "higher", hands, timed=True),
        **figures,
    }
    return result_of(
        stands_on,
        measured,
        figures,
        scenario="tables",
        title=f"{tables} tables of {players}, " + ("at a human pace" if human else "at once"),
        about="Bots play hold'em. An action is done when the last client of its table has read its "
        "event, and so after its transaction is on disk.",
        options={
            "tables": tables,
            "players": players,
            "human": human,
            "seconds": timing.seconds,
            "warm_up_s": timing.warm_up_s,
            "generators": timing.generators,
        },
        operation="actions",
        latency_title="action "
        + ("due" if human else "sent")
        + " until the last client of the table has read its event",
        open_loop=human,
    )


def plans_for(
    server: ServerProcess, tables: int, players: int, generators: int, *, human: bool = False
) -> list[TablesOptions]:
    """Share tables among generators."""
    names = [[f"t{table}p{player}" for player in range(players)] for table in range(tables)]
    users = [[(name, server.token(name)) for name in table] for table in names]
    plans = []
    for share in shares(tables, generators):
        some, users = users[:share], users[share:]
        plans.append(TablesOptions(server.ws_url, some, HUMAN_THINK_S if human else (0.0, 0.0)))
    return plans
