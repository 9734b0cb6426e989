"""The hub: encoded once, in order, to those who may see it, and exactly joined to a snapshot."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from actors.hub import HoldOverflow, Hub, Subscriber
from protocol.audience import Audience, Told
from protocol.events import Event


class Note(Event, kw_only=True):
    text: str = ""


class Socket:
    """A subscriber that keeps the very objects it was given."""

    def __init__(self, user_id: str, coding: str = "m") -> None:
        self.user_id = user_id
        self.coding = coding
        self.is_staff = False
        self.got: list[bytes] = []
        self.before_taking: Callable[[], None] | None = None

    def enqueue(self, frames: bytes) -> None:
        if self.before_taking is not None:
            self.before_taking()
        self.got.append(frames)

    def breaks(self) -> None:
        def fail() -> None:
            raise ConnectionResetError("gone")

        self.before_taking = fail

    @property
    def frames(self) -> list[str]:
        return b"".join(self.got).decode().split()


@dataclass
class World:
    """A hub and what it was seen to do."""

    encoded: list[tuple[Hashable, Event]] = field(default_factory=list)
    presence: list[tuple[str, str, bool]] = field(default_factory=list)
    dropped: list[tuple[Subscriber, Exception]] = field(default_factory=list)
    hub: Hub = field(init=False)

    def __post_init__(self) -> None:
        self.hub = Hub(
            encode=self.encode,
            on_presence=lambda *told: self.presence.append(told),
            on_drop=lambda *told: self.dropped.append(told),
            hold_limit=4,
        )

    def encode(self, coding: Hashable, event: Event) -> bytes:
        self.encoded.append((coding, event))
        assert isinstance(event, Note)
        return f"{coding}:{event.seq}{event.text} ".encode()


@pytest.fixture(autouse=True)
def logs() -> Iterator[list[dict[str, object]]]:
    with capture_logs() as captured:
        yield captured  # type: ignore[misc]


@pytest.fixture
def world() -> World:
    return World()


def public(seq: int) -> Told:
    return Told(Note(seq=seq))


def private(seq: int, user_id: str) -> Told:
    return Told(Note(seq=seq, text="p"), user_id)


def for_operators(seq: int) -> Told:
    return Told(Note(seq=seq, text="o"), Audience.OPERATORS)


def test_each_event_is_encoded_once_per_coding_and_shared(world: World) -> None:
    sockets = [Socket(f"u{n}", coding) for n in range(4) for coding in ("m", "j")]
    for socket in sockets:
        world.hub.subscribe("r", socket)
    world.hub.publish("r", [public(1), public(2)])
    assert len(world.encoded) == 2 * 2
    for coding in ("m", "j"):
        taken = [socket.got for socket in sockets if socket.coding == coding]
        assert all(got == [f"{coding}:1 {coding}:2 ".encode()] for got in taken)
        assert len({id(got[0]) for got in taken}) == 1


def test_different_views_share_the_encoding_of_each_event(world: World) -> None:
    alice, bob, host = Socket("alice"), Socket("bob"), Socket("host")
    world.hub.subscribe("r", alice)
    world.hub.subscribe("r", bob)
    world.hub.subscribe("r", host, operator=True)
    told = [public(1), private(1, "alice"), private(1, "absent"), for_operators(2), public(2)]
    world.hub.publish("r", told)
    assert alice.frames == ["m:1", "m:1p", "m:2"]
    assert bob.frames == ["m:1", "m:2"]
    assert host.frames == ["m:1", "m:2o", "m:2"]
    # Once each; the one for somebody who is not there, never.
    assert len(world.encoded) == 4


def test_all_sockets_of_a_user_get_the_same_private_bytes(world: World) -> None:
    one, two = Socket("alice"), Socket("alice")
    world.hub.subscribe("r", one)
    world.hub.subscribe("r", two)
    world.hub.publish("r", [public(1), private(1, "alice")])
    assert one.got[0] is two.got[0]


def test_an_operator_among_plain_events_shares_the_bytes_of_everyone(world: World) -> None:
    alice, host = Socket("alice"), Socket("host")
    world.hub.subscribe("r", alice)
    world.hub.subscribe("r", host, operator=True)
    world.hub.publish("r", [public(1), private(1, "bob"), public(2)])
    assert alice.frames == ["m:1", "m:2"]
    assert alice.got[0] is host.got[0]


def test_operators_do_not_see_private_events(world: World) -> None:
    host = Socket("host")
    world.hub.subscribe("r", host, operator=True)
    world.hub.publish("r", [private(1, "alice")])
    assert host.got == []
    assert world.encoded == []


def test_user_named_like_an_audience_is_still_a_user(world: World) -> None:
    odd, other = Socket("operators"), Socket("everyone")
    world.hub.subscribe("r", odd)
    world.hub.subscribe("r", other)
    world.hub.publish("r", [private(1, "everyone"), for_operators(1)])
    assert (odd.frames, other.frames) == ([], ["m:1p"])


def test_nothing_is_encoded_where_nobody_listens(world: World) -> None:
    world.hub.subscribe("r", Socket("alice"))
    world.hub.publish("elsewhere", [public(1)])
    world.hub.publish("r", [])
    assert world.encoded == []


def test_operator_can_come_and_go_while_subscribed(world: World) -> None:
    alice = Socket("alice")
    world.hub.subscribe("r", alice)
    world.hub.set_operator("r", "alice", True)
    world.hub.publish("r", [for_operators(1)])
    world.hub.set_operator("r", "alice", False)
    world.hub.publish("r", [for_operators(2)])
    assert alice.frames == ["m:1o"]


def test_raising_subscriber_is_dropped_everywhere_and_the_others_are_served(world: World) -> None:
    before, bad, after = Socket("before"), Socket("bad"), Socket("after")
    for socket in (before, bad, after):
        world.hub.subscribe("r", socket)
    world.hub.subscribe("other", bad)
    bad.breaks()
    world.hub.publish("r", [public(1)])
    assert before.frames == after.frames == ["m:1"]
    assert [(subscriber, type(error)) for subscriber, error in world.dropped] == [
        (bad, ConnectionResetError)
    ]
    assert (world.hub.subscribers("r"), world.hub.subscribers("other")) == (2, 0)
    assert ("r", "bad", False) in world.presence


def test_coding_that_cannot_encode_loses_its_subscribers_only() -> None:
    def encode(coding: Hashable, event: Event) -> bytes:
        if coding == "bad":
            raise TypeError("cannot encode")
        return b"x"

    dropped: list[Subscriber] = []
    hub = Hub(encode=encode, on_drop=lambda subscriber, _: dropped.append(subscriber))
    bad, good = Socket("a", "bad"), Socket("b", "good")
    hub.subscribe("r", bad)
    hub.subscribe("r", good)
    hub.publish("r", [public(1)])
    assert (dropped, good.got) == ([bad], [b"x"])


def test_raising_hooks_are_logged_and_change_nothing(logs: list[dict[str, object]]) -> None:
    def hook(*_: object) -> None:
        raise RuntimeError("hook")

    hub = Hub(encode=lambda *_: b"x", on_presence=hook, on_drop=hook)
    bad, good = Socket("bad"), Socket("good")
    hub.subscribe("r", bad)
    hub.subscribe("r", good)
    bad.breaks()
    hub.publish("r", [public(1)])
    assert good.got == [b"x"]
    assert hub.subscribers("r") == 1
    events = Counter(entry["event"] for entry in logs)
    assert events == {"hub_hook_failed": 4, "subscriber_dropped": 1}


def test_publish_from_within_publish_keeps_one_order_for_all(world: World) -> None:
    first, second = Socket("a"), Socket("b")
    world.hub.subscribe("r", first)
    world.hub.subscribe("r", second)

    def publishes_once() -> None:
        first.before_taking = None
        world.hub.publish("r", [public(2)])
        # Postponed: it is with nobody yet.
        assert second.frames == []

    first.before_taking = publishes_once
    world.hub.publish("r", [public(1)])
    assert first.frames == second.frames == ["m:1", "m:2"]


def test_subscriber_that_leaves_during_a_publish_gets_nothing_more(world: World) -> None:
    first, second = Socket("a"), Socket("b", "j")
    world.hub.subscribe("r", first)
    world.hub.subscribe("r", second)
    first.before_taking = lambda: world.hub.drop(second)
    world.hub.publish("r", [public(1)])
    assert (first.frames, second.frames) == (["m:1"], [])
    assert world.encoded == [("m", Note(seq=1))]
    assert world.dropped == []


def test_unsubscribed_gets_nothing_and_a_second_time_is_harmless(world: World) -> None:
    alice = Socket("alice")
    subscription = world.hub.subscribe("r", alice)
    assert world.hub.unsubscribe("r", alice)
    assert not world.hub.unsubscribe("r", alice)
    assert not subscription.active
    world.hub.publish("r", [public(1)])
    world.hub.drop(alice)
    assert alice.got == []


def test_drop_and_unsubscribe_user_reach_all_that_they_name(world: World) -> None:
    phone, laptop, other = Socket("alice"), Socket("alice"), Socket("bob")
    for socket in (phone, laptop, other):
        world.hub.subscribe("r", socket)
        world.hub.subscribe("q", socket)
    assert world.hub.unsubscribe_user("r", "alice") == 2
    assert world.hub.unsubscribe_user("r", "alice") == 0
    world.hub.drop(phone)
    assert dict(world.hub.users("r")) == {"bob": 1}
    assert dict(world.hub.users("q")) == {"alice": 1, "bob": 1}


def test_presence_is_told_for_the_first_and_the_last_socket_of_a_user(world: World) -> None:
    phone, laptop = Socket("alice"), Socket("alice")
    assert not world.hub.connected("r", "alice")
    world.hub.subscribe("r", phone)
    world.hub.subscribe("r", laptop)
    world.hub.subscribe("r", laptop)
    assert (world.hub.subscribers("r"), dict(world.hub.users("r"))) == (2, {"alice": 2})
    world.hub.drop(phone)
    assert world.hub.connected("r", "alice")
    world.hub.drop(laptop)
    assert not world.hub.connected("r", "alice")
    assert world.presence == [("r", "alice", True), ("r", "alice", False)]


def test_held_events_follow_the_snapshot_in_one_piece(world: World) -> None:
    alice = Socket("alice")
    subscription = world.hub.subscribe("r", alice, hold=True)
    world.hub.publish("r", [public(5), private(5, "alice")])
    world.hub.publish("r", [public(6), private(6, "alice")])
    assert alice.got == []
    assert subscription.release(5, b"snapshot ")
    assert alice.got == [b"snapshot m:6 m:6p "]
    world.hub.publish("r", [public(7)])
    assert alice.frames == ["snapshot", "m:6", "m:6p", "m:7"]
    with pytest.raises(ValueError, match="live"):
        subscription.release(7)


def test_snapshot_ahead_of_the_hub_is_not_told_again(world: World) -> None:
    alice, bob = Socket("alice"), Socket("bob")
    subscription = world.hub.subscribe("r", alice, hold=True)
    world.hub.subscribe("r", bob)
    # The database had 2 before the hub has told 1.
    assert subscription.release(2)
    world.hub.publish("r", [public(1), private(1, "alice")])
    world.hub.publish("r", [public(2), private(2, "alice"), public(3), private(3, "alice")])
    assert alice.frames == ["m:3", "m:3p"]
    assert bob.frames == ["m:1", "m:2", "m:3"]


def test_release_without_a_common_sequence_drops_nothing(world: World) -> None:
    alice = Socket("alice")
    subscription = world.hub.subscribe("player-alice", alice, hold=True)
    world.hub.publish("player-alice", [public(9), public(0), public(4)])
    assert subscription.release(-1)
    world.hub.publish("player-alice", [public(0)])
    assert alice.frames == ["m:9", "m:0", "m:4", "m:0"]


def test_hold_that_overflows_drops_the_subscriber(world: World) -> None:
    alice = Socket("alice")
    subscription = world.hub.subscribe("r", alice, hold=True)
    for seq in range(1, 5):
        world.hub.publish("r", [public(seq)])
    assert world.dropped == []
    world.hub.publish("r", [public(5)])
    assert subscription.overflowed
    assert [type(error) for _, error in world.dropped] == [HoldOverflow]
    assert not subscription.release(0, b"snapshot")
    assert alice.got == []
    assert world.hub.subscribers("r") == 0


def test_events_that_a_held_subscription_may_not_see_take_no_place(world: World) -> None:
    subscription = world.hub.subscribe("r", Socket("alice"), hold=True)
    for seq in range(1, 20):
        world.hub.publish("r", [private(seq, "bob"), for_operators(seq)])
    assert not subscription.overflowed


def test_newer_subscription_replaces_the_held_one(world: World) -> None:
    alice = Socket("alice")
    older = world.hub.subscribe("r", alice, hold=True)
    world.hub.publish("r", [public(1)])
    newer = world.hub.subscribe("r", alice, hold=True)
    world.hub.publish("r", [public(2)])
    assert not older.release(0, b"old ")
    assert not older.overflowed
    assert newer.release(1, b"new ")
    assert alice.frames == ["new", "m:2"]


def test_subscriber_that_raises_on_release_is_dropped(world: World) -> None:
    alice = Socket("alice")
    subscription = world.hub.subscribe("r", alice, hold=True)
    alice.breaks()
    assert not subscription.release(0, b"snapshot")
    assert [subscriber for subscriber, _ in world.dropped] == [alice]
    assert world.hub.subscribers("r") == 0


USERS = ("alice", "bob", "host")
COMMIT = st.tuples(
    st.just("commit"),
    st.lists(
        st.tuples(st.sampled_from((*USERS, None)), st.booleans(), st.booleans()),
        min_size=1,
        max_size=3,
    ),
)
STEPS = st.lists(
    COMMIT
    | st.tuples(st.just("publish"), st.none())
    | st.tuples(st.sampled_from(("subscribe", "snapshot", "release")), st.integers(0, 5)),
    max_size=60,
)


class Joiner:
    """A client that subscribes held, reads a snapshot and is released, in its own time."""

    def __init__(self, hub: Hub, number: int) -> None:
        self.hub = hub
        self.user_id = USERS[number % len(USERS)]
        self.operator = self.user_id == "host"
        self.socket = Socket(self.user_id, "mj"[number // len(USERS)])
        self.snapshot: int | None = None
        self.live = False
        self.subscribed = False

    def sees(self, told: Told) -> bool:
        return (
            told.audience is Audience.EVERYONE
            or told.audience == self.user_id
            or (told.audience is Audience.OPERATORS and self.operator)
        )

    def step(self, name: str, committed: int) -> None:
        if name == "subscribe" and not self.subscribed:
            self.subscribed = True
            self.subscription = self.hub.subscribe(
                "r", self.socket, operator=self.operator, hold=True
            )
        elif name == "snapshot" and self.subscribed and self.snapshot is None:
            self.snapshot = committed
        elif name == "release" and self.snapshot is not None and not self.live:
            self.live = self.subscription.release(self.snapshot, b"snapshot ")
            assert self.live


@given(steps=STEPS)
def test_whatever_the_interleaving_nothing_is_lost_and_nothing_comes_twice(
    steps: list[tuple[str, object]],
) -> None:
    world = World()
    world.hub = Hub(encode=world.encode, hold_limit=10_000)
    joiners = [Joiner(world.hub, number) for number in range(6)]
    committed, waiting, published = 0, list[list[Told]](), list[Told]()

    def publish() -> None:
        batch = waiting.pop(0)
        world.hub.publish("r", batch)
        published.extend(batch)

    for name, argument in steps:
        if name == "commit":
            batch: list[Told] = []
            for user_id, with_operators, later in argument:  # type: ignore[attr-defined]
                committed += 1
                batch.append(public(committed))
                if later:
                    # What goes with a public event may be published apart from it.
                    waiting.append(batch)
                    batch = []
                if with_operators:
                    batch.append(for_operators(committed))
                if user_id is not None:
                    batch.append(private(committed, user_id))
            waiting.append(batch)
        elif name == "publish":
            if waiting:
                publish()
        else:
            assert isinstance(argument, int)
            joiners[argument].step(name, committed)
    while waiting:
        publish()
    for joiner in joiners:
        if not joiner.live:
            assert joiner.socket.got == []
            continue
        assert joiner.snapshot is not None
        coding = joiner.socket.coding
        assert joiner.socket.frames == ["snapshot"] + [
            f"{coding}:{told.event.seq}{told.event.text}"  # type: ignore[attr-defined]
            for told in published
            if told.event.seq > joiner.snapshot and joiner.sees(told)
        ]
    assert max(Counter(map(repr, world.encoded)).values(), default=0) <= 1
