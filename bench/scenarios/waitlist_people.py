"""The people of `waitlist`: in their rooms, on seats and in queues, with sockets that hear all."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from msgspec import Struct

from bench.light_socket import LightSocket
from bench.scenarios.clients import ask_each, connect
from bench.scenarios.waitlist_table import BUY_IN, SEATS, Player, Step, Table

_ROOM = {
    "requires_approval": False,
    "auto_start": False,
    "max_seats": SEATS,
    "min_buy_in": 1,
    "max_buy_in": 10 * BUY_IN,
    "small_blind": 1,
    "big_blind": 1,
}


class WaitlistOptions(Struct):
    """`tables`: ids and tokens of everybody at each table; `staff`: tokens of staff's sockets.

    With `rate` > 0 so many steps a second are due.
    """

    url: str
    tables: list[list[tuple[str, str]]]
    staff: list[str]
    rate: float


class Driven:
    """A table that is driven: its sockets, and the step that is under way.

    Attributes:
        sockets: of its people, by their places. `staff`: who steps in for staff here.
        listeners: how many sockets are told of its queue.
        left: what is still to be read of the step, by all sockets together.
        due: when the step was, and `later` when those after it were that could not begin yet.
    """

    __slots__ = (
        "due",
        "later",
        "left",
        "listeners",
        "room_id",
        "sockets",
        "staff",
        "step",
        "table",
    )

    def __init__(
        self,
        room_id: str,
        table: Table,
        sockets: list[LightSocket],
        staff: LightSocket,
        listeners: int,
    ) -> None:
        self.room_id = room_id
        self.table = table
        self.sockets = sockets
        self.staff = staff
        self.listeners = listeners
        self.left = 0
        self.step: Step | None = None
        self.due = 0.0
        self.later: deque[float] = deque()


def gather(options: WaitlistOptions) -> tuple[list[Driven], list[LightSocket]]:
    """Have everybody at their table, the first on its seats and the others in its queue.

    Returns:
        The tables, and the sockets of staff. All hear what happens from now on, and nothing is left
        of what they were told before.
    """
    staff = connect(options.url, options.staff)
    tokens = [token for users in options.tables for _, token in users]
    sockets = iter(connect(options.url, tokens))
    rooms = _rooms([[next(sockets) for _ in users] for users in options.tables])
    tables = []
    for number, ((room_id, some), users) in enumerate(zip(rooms, options.tables, strict=True)):
        players = [Player(place, user_id) for place, (user_id, _) in enumerate(users)]
        listeners = len(some) + len(staff)
        sees_to = staff[number % len(staff)]
        tables.append(Driven(room_id, Table(players), some, sees_to, listeners))
    for place in range(SEATS, len(options.tables[0])):
        # One of each table at a time: their order is the queue's.
        joining = [(one.sockets[place], {"room_id": one.room_id}) for one in tables]
        for one, answer in zip(tables, ask_each("waitlist_join", joining), strict=True):
            one.table.queue[place - SEATS].entry_id = answer["entry"]["id"]
    hosts = [(one.sockets[0], {"room_id": one.room_id}) for one in tables]
    hearing = []
    for one, room in zip(tables, ask_each("hydrate", hosts), strict=True):
        wanted = {"channel": f"room:{one.room_id}", "last_seq": room["seq"]}
        hearing += [(socket, wanted) for socket in one.sockets]
    ask_each("subscribe", hearing)
    ask_each("subscribe", [(one, {"channel": "staff-portal"}) for one in staff])
    return tables, staff


def _rooms(tables: Sequence[list[LightSocket]]) -> list[tuple[str, list[LightSocket]]]:
    """Make rooms and let all in, the first on its seats, deaf until all are there."""
    made = ask_each("create_room", [(host, {"settings": _ROOM}) for host, *_ in tables])
    rooms = [
        (str(answer["room"]["id"]), sockets) for answer, sockets in zip(made, tables, strict=True)
    ]
    ask_each("join", [(one, {"room_id": at}) for at, (_, *others) in rooms for one in others])
    for index in range(SEATS):
        seat = {"seat_index": index, "buy_in": BUY_IN}
        ask_each("seat", [(some[index], {"room_id": at, **seat}) for at, some in rooms])
    ask_each("spectate", [(one, {"room_id": at}) for at, some in rooms for one in some[SEATS:]])
    ask_each(
        "unsubscribe", [(one, {"channel": f"room:{at}"}) for at, some in rooms for one in some]
    )
    return rooms
