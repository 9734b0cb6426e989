"""What a club does all day, as parts: each is a load in a generator process of its own.

A new part is a line in `parts_of`. The first one is what is counted and timed each second; the
others have a figure of their own. A part whose load does not come back by itself is left out of a
soak with kills.
"""

from __future__ import annotations

from typing import NamedTuple

from msgspec import Struct

from bench.scenarios.comeback_load import ComebackOptions
from bench.scenarios.idle_load import IdleOptions
from bench.scenarios.rooms_load import RoomsOptions
from bench.scenarios.staff_load import StaffOptions
from bench.scenarios.visits_load import VisitsOptions
from bench.scenarios.waitlist import plan_for
from bench.scenarios.waitlist_table import FEWEST_WAITING
from bench.server_process import ServerProcess

THINK_S = (1.0, 5.0)
STAFF_LOOKS_EVERY_S = 5.0
SITTING_PER_S = 2.0
"""Players who sit out or in again, over all tables that are not played at."""
QUEUE_STEPS_PER_S = 1.0
"""Players who join, leave or are called, and staff who put queues in order, over all of them."""
QUEUE_STAFF = 2
SITTING_SOCKETS = 6


class Club(Struct, frozen=True):
    """How large the club is.

    `tables` of `players` who stay play at a human pace; `visitors` come and go, each for between
    `stay_s` seconds; `lobby` have the app open; at `waiting_rooms` nobody plays; at `queues` tables
    players wait for a seat; `staff` look on.
    """

    tables: int = 20
    players: int = 4
    visitors: int = 30
    stay_s: tuple[float, float] = (20.0, 90.0)
    lobby: int = 100
    waiting_rooms: int = 5
    queues: int = 2
    staff: int = 3


class Part(NamedTuple):
    """A load, and what its operations are called. `stands_kills`: it comes back by itself."""

    name: str
    operations: str
    module: str
    options: Struct
    stands_kills: bool


def parts_of(club: Club, server: ServerProcess) -> list[Part]:
    """Return a club's parts."""
    url, secret, token = server.ws_url, server.secret, server.token
    names = [
        [f"t{table}p{player}" for player in range(club.players)] for table in range(club.tables)
    ]
    tables = [[(name, token(name)) for name in table] for table in names]
    rooms = [
        [token(f"r{room}u{user}") for user in range(SITTING_SOCKETS)]
        for room in range(club.waiting_rooms)
    ]
    idle = [token(f"idle{number}") for number in range(club.lobby)]
    visits = VisitsOptions(url, secret, club.visitors, club.stay_s, THINK_S)
    staff = StaffOptions(url, secret, club.staff, STAFF_LOOKS_EVERY_S)
    queues = plan_for(server, club.queues, FEWEST_WAITING, QUEUE_STAFF, QUEUE_STEPS_PER_S)
    here = "bench.scenarios"
    return [
        Part(
            "tables",
            "actions",
            f"{here}.comeback_load",
            ComebackOptions(url, tables, THINK_S),
            True,
        ),
        Part("visits", "visitors' commands", f"{here}.visits_load", visits, True),
        Part("staff", "staff's commands", f"{here}.staff_load", staff, True),
        Part(
            "rooms",
            "sitting out and in",
            f"{here}.rooms_load",
            RoomsOptions(url, rooms, 1, SITTING_PER_S),
            False,
        ),
        Part("queues", "steps of queues", f"{here}.waitlist_load", queues, False),
        Part("lobby", "", f"{here}.idle_load", IdleOptions(url, idle), False),
    ]
