"""What the fuzz of rooms does to them: its steps, each command drawn from its own type."""

from types import UnionType
from typing import Any, Union, get_args, get_origin

import msgspec
from hypothesis import strategies as st
from msgspec import UNSET, Struct

from game.poker.variants import VARIANTS
from game.presence import Gone, Seen, TakenOver, Unseen
from protocol import commands
from protocol.commands import AnyRoomCommand
from protocol.values import Card, SettingsPatch
from tests.support.rooms import HOST, ROOM_ID, STAFF

USERS = ["cat", "ann", "dan", "bob", HOST, STAFF]
POOR = "dan"
"""Whose wallet is soon empty."""
FOR_OPERATORS = (
    commands.Approve
    | commands.Reject
    | commands.Kick
    | commands.Ban
    | commands.Unban
    | commands.Start
    | commands.Pause
    | commands.Resume
    | commands.ChangeSettings
    | commands.AdjustChips
    | commands.TransferHost
    | commands.CloseRoom
)
WHOEVER_WAITS = "whoever-waits"
"""Stands for an entry of the waitlist, as it is when the command is sent."""

users = st.sampled_from(USERS)
chips = st.sampled_from([1, 10, 20, 99, 100, 500, 1_000, 2_000, 2_001])

BY_NAME: dict[str, st.SearchStrategy[Any]] = {
    "id": st.none(),
    "command_id": st.none(),
    "room_id": st.just(ROOM_ID),
    "table_id": st.none(),
    "entry_id": st.just(WHOEVER_WAITS),
    "user_id": st.sampled_from(["ann", "cat", "bob", "dan", HOST, STAFF, "zoe"]),
    "player_id": users | st.just("zoe"),
    "buy_in": st.just(1_000) | chips,
    "amount": chips,
    "delta": st.integers(-1_100, 1_100),
    "seat_index": st.integers(0, 5),
    "variant": st.sampled_from(sorted(VARIANTS)),
    "turn_seconds": st.just(20),
    "max_seats": st.integers(2, 6),
    "big_blind": st.sampled_from([10, 20, 50]),
    "small_blind": st.sampled_from([1, 5, 10]),
    "min_buy_in": st.sampled_from([100, 500]),
    "max_buy_in": st.sampled_from([1_000, 2_000]),
    "settings": st.deferred(lambda: patches),
    "cards": st.lists(st.sampled_from(["Ah", "Kd", "2c", "Ts"]), min_size=1, max_size=3),
}
"""What fields hold whose type alone would give little that is worth trying."""


def of_type(kind: Any) -> st.SearchStrategy[Any]:
    """Draw values that a field's type takes; small ones."""
    if get_origin(kind) in (Union, UnionType):
        return st.one_of(*(of_type(one) for one in get_args(kind)))
    if kind is msgspec.UnsetType:
        return st.just(UNSET)
    if kind == Card:
        return st.sampled_from(["Ah", "2c"])
    info = msgspec.inspect.type_info(kind)
    match info.type if isinstance(info, msgspec.inspect.Metadata) else info:
        case msgspec.inspect.BoolType():
            return st.booleans()
        case msgspec.inspect.NoneType():
            return st.none()
        case msgspec.inspect.LiteralType(values=values):
            return st.sampled_from(values)
        case msgspec.inspect.IntType(ge=low, le=high):
            low = low or 0
            return st.integers(low, low + 9 if high is None else min(high, low + 9))
        case msgspec.inspect.StrType():
            return st.sampled_from(["x", "Änn 🂡"])
        case msgspec.inspect.ListType(item_type=item):
            return st.lists(of_type(item), max_size=2)
        case msgspec.inspect.StructType(cls=cls):
            return built(cls)
        case _:
            raise TypeError(f"say in BY_NAME how to draw {kind}")


def built(cls: type[Struct]) -> st.SearchStrategy[Any]:
    """Draw structs of a class; fields that have defaults are mostly left at them."""
    fields: dict[str, st.SearchStrategy[Any]] = {}
    for field in msgspec.structs.fields(cls):
        drawn = BY_NAME[field.name] if field.name in BY_NAME else of_type(field.type)
        if field.required:
            fields[field.name] = drawn
        elif field.name not in ("id", "command_id"):
            default = UNSET if field.default is UNSET else field.default
            if default is not msgspec.NODEFAULT:
                fields[field.name] = st.just(default) | st.just(default) | drawn
    return st.builds(cls, **fields)


patches: st.SearchStrategy[Any] = built(SettingsPatch)
closing = st.integers(0, 15).flatmap(
    lambda n: built(commands.CloseRoom if n == 0 else commands.Resume)
)
anything = st.sampled_from(get_args(AnyRoomCommand)).flatmap(
    lambda cls: closing if cls is commands.CloseRoom else built(cls)
)
by_members = st.one_of(
    built(commands.Join),
    built(commands.Join),
    st.builds(commands.Seat, seat_index=st.integers(0, 4), buy_in=st.just(1_000)),
    st.builds(commands.Seat, seat_index=st.integers(0, 4), buy_in=st.just(1_000)),
    built(commands.Spectate),
    built(commands.SitIn),
    built(commands.SitOut),
    built(commands.TopUp),
    built(commands.LeaveSeat),
    built(commands.LeaveRoom),
    built(commands.WaitlistJoin),
    built(commands.WaitlistAccept),
)
by_operators = st.one_of(
    *(built(cls) for cls in get_args(FOR_OPERATORS) if cls is not commands.CloseRoom),
    st.builds(commands.Ban, user_id=st.sampled_from(["cat", "dan", "ann"])),
    st.builds(commands.Unban, user_id=st.sampled_from(["cat", "dan", "ann"])),
    st.builds(commands.Approve, user_id=st.sampled_from(["cat", "dan", "ann"])),
    built(commands.Resume),
    built(commands.Start),
    built(commands.WaitlistJoin),
    built(commands.WaitlistSeat),
)
decisions = st.builds(
    commands.Action,
    action=st.sampled_from(["FOLD", "CHECK", "CALL", "CALL", "CALL", "BET", "RAISE", "ALL_IN"]),
    amount=st.none() | chips,
)


class Sent(Struct, frozen=True):
    """A command; from whoever is to act where `user_id` is None."""

    user_id: str | None
    command: AnyRoomCommand
    keyed: bool


class Decided(Struct, frozen=True):
    """Decisions one after another, each by whoever is to act then."""

    actions: list[commands.Action]


class Again(Struct, frozen=True):
    """An earlier command with an id, sent once more."""

    which: int


class Later(Struct, frozen=True):
    """Time passes, and what is due by then comes."""

    ms: int


class Restart(Struct, frozen=True):
    """The actor is dropped; `at_once`: without waiting for what was just sent."""

    at_once: bool


class Fenced(Struct, frozen=True):
    """Somebody else claims the room for a moment: what the actor holds cannot be committed."""


keyed = st.integers(0, 3).map(lambda n: n == 0)
sent = st.one_of(
    st.builds(Sent, users, anything, keyed),
    st.builds(Sent, users, by_members, keyed),
    st.builds(Sent, users, by_members, keyed),
    st.builds(Sent, users, by_operators, keyed),
    st.builds(Sent, st.just(STAFF), by_operators, keyed),
    st.builds(Sent, st.sampled_from([HOST, STAFF]), by_operators, keyed),
    st.builds(Sent, st.none(), decisions, keyed),
)


def coming_in(user_id: str, seat_index: int) -> list[Sent]:
    """Come in and sit down, all at once, as far as that is allowed."""
    return [
        Sent(user_id, commands.Join(), False),
        Sent(STAFF, commands.Approve(user_id=user_id), False),
        Sent(user_id, commands.Seat(seat_index=seat_index, buy_in=1_000), False),
    ]


come = st.builds(coming_in, st.sampled_from(["cat", "dan", "ann", "bob"]), st.integers(0, 4))
played = st.builds(Decided, st.lists(decisions, min_size=2, max_size=8))
word = st.one_of(
    st.builds(Seen, users),
    st.builds(Unseen, users, st.just(5)),
    st.builds(Gone, users),
    st.builds(TakenOver),
)
steps = st.lists(
    st.one_of(
        st.lists(sent, min_size=1, max_size=1),
        st.lists(sent, min_size=1, max_size=4),
        st.lists(sent | word, min_size=1, max_size=3),
        come,
        played,
        played,
        st.builds(Later, st.sampled_from([1, 3_000, 3_000, 3_000, 30_000, 90_000])),
        st.builds(Again, st.integers(0, 20)),
        st.builds(Restart, st.booleans()) | st.just(Fenced()),
    ),
    min_size=25,
    max_size=50,
)
