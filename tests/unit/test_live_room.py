"""A room built from events equals one built from a snapshot, whatever happened in between."""

import random
from functools import partial

import msgspec
import pytest

from client.errors import Lagged, RoomGone
from client.messages import AnyEvent, OtherEvent, event_of
from client.mirror import Mirror, Outcome, comparable, same_state
from client.room import KEPT_EVENTS, LiveRoom
from game.poker.variants import VARIANTS
from protocol import commands
from protocol.errors import Refused
from protocol.events import CardsDealt, Event, HandComplete, PlayerJoinRequested, TurnStarted
from protocol.principal import Principal
from protocol.values import BombPot, SettingsPatch
from tests.support.room_play import FLOOR, HOST, USERS, PlayedRoom, seated_room

BOMBS = [BombPot(every_n_hands=2, amount=70), BombPot(every_n_hands=1, amount=1_999)]


def over_the_wire(event: Event) -> AnyEvent:
    """Read an event as a client does."""
    return event_of(msgspec.msgpack.decode(msgspec.msgpack.encode(event)))


def random_command(rng: random.Random, room: PlayedRoom) -> tuple[Principal, commands.Command]:
    """Choose something that somebody might ask for: mostly play, some of it nonsense."""
    state = room.state
    clock = state.clock
    if clock is not None and state.hand is not None and rng.random() < 0.8:
        seat = state.seats[clock.seat_index]
        legal = state.hand.legal()
        low, high = legal.min_raise_to, legal.max_raise_to
        action = rng.choices(
            ["FOLD", "CHECK", "CALL", "BET", "RAISE", "ALL_IN"], [2, 8, 8, 3, 3, 2]
        )[0]
        amount = rng.randint(low, min(high, low * 3)) if low and high and high >= low else None
        if action in ("BET", "RAISE") and amount is None:
            action = "CALL"
        who = next(u for u in USERS if u.user_id == seat.user_id)
        return who, commands.Action(action=action, amount=amount)  # type: ignore[arg-type]
    if state.hand is not None and state.hand.run_it_seats and rng.random() < 0.7:
        seat = state.seats[rng.choice(state.hand.run_it_seats)]
        who = next(u for u in USERS if u.user_id == seat.user_id)
        return who, commands.RunIt(times=rng.choice([1, 2, 2, 3, 3, 3]))
    who = rng.choice(USERS)
    other = rng.choice(USERS).user_id
    choices: list[commands.Command] = [
        commands.Join(),
        commands.Seat(seat_index=rng.randrange(6), buy_in=rng.choice([2_000, 3_111, 10_000])),
        commands.Seat(seat_index=rng.randrange(6), buy_in=2_000),
        commands.LeaveSeat(),
        commands.Spectate(),
        commands.SitOut(),
        commands.SitIn(),
        commands.SitIn(),
        commands.TopUp(amount=rng.randint(1, 3_000)),
        commands.Start(),
        commands.Pause(),
        commands.Resume(),
        commands.Resume(),
        commands.Approve(user_id=other),
        commands.Reject(user_id=other),
        commands.Kick(user_id=other),
        commands.Ban(user_id=other, reason=rng.choice([None, "rude"])),
        commands.Unban(user_id=other),
        commands.Unban(user_id=other),
        commands.LeaveRoom(),
        commands.AdjustChips(user_id=other, delta=rng.choice([-1_999, 777]), reason="test"),
        commands.ChangeSettings(settings=SettingsPatch(ante=rng.choice([0, 25, 90]))),
        commands.ChangeSettings(settings=SettingsPatch(straddle=rng.choice([0, 200, 500]))),
        commands.ChangeSettings(settings=SettingsPatch(bomb_pot=rng.choice([None, *BOMBS]))),
        commands.ChangeSettings(settings=SettingsPatch(requires_approval=rng.random() < 0.5)),
        commands.ChangeSettings(settings=SettingsPatch(variant=rng.choice(list(VARIANTS)))),
        commands.TransferHost(user_id=other),
    ]
    return who, rng.choice(choices)


@pytest.mark.parametrize("seed", range(40))
def test_events_and_snapshots_make_the_same_room(seed: int) -> None:
    rng = random.Random(seed)
    room = seated_room(
        rng,
        3,
        variant=rng.choice(list(VARIANTS)),
        ante=rng.choice([0, 0, 30]),
        ante_kind=rng.choice(["all", "big_blind", "button"]),
        rake_basis_points=rng.choice([0, 500]),
        bomb_pot=rng.choice([None, *BOMBS]),
        run_it_times=rng.choice([1, 2, 3]),
    )
    followers: dict[str, Mirror] = {}
    outcomes: dict[str, list[Outcome]] = {}

    def follow(who: Principal) -> None:
        followers[who.user_id] = Mirror(room.snapshot(who), staff=who.role == "staff")
        outcomes[who.user_id] = []
        room.listen(
            who,
            lambda event: outcomes[who.user_id].append(
                followers[who.user_id].apply(over_the_wire(event))
            ),
        )

    follow(HOST)
    follow(USERS[1])
    follow(FLOOR)
    watched = {HOST.user_id: HOST, USERS[1].user_id: USERS[1], FLOOR.user_id: FLOOR}
    hands = 0
    for _ in range(250):
        if rng.random() < 0.25 or (room.state.hand is None and rng.random() < 0.5):
            room.wait()
        elif rng.random() < 0.03:
            room.take_over()
        else:
            who, command = random_command(rng, room)
            try:
                room.do(who, command)  # type: ignore[arg-type]
            except Refused:
                continue
        hands += room.state.hand is None
        for user_id, who in watched.items():
            mirror, got = followers[user_id], outcomes[user_id]
            try:
                fresh = Mirror(room.snapshot(who), staff=who.role == "staff")
            except Refused:
                continue  # turned out; the server ends the subscription
            if Outcome.HOLE in got:
                # Only a new host has to ask again: they were not told who waits.
                assert mirror.role == "host"
                mirror.install(room.snapshot(who))
            got.clear()
            assert comparable(mirror) == comparable(fresh)
            snapshot = room.snapshot(who)
            controls = snapshot.host_controls
            assert (mirror.host_controls or msgspec.UNSET) == controls
            assert mirror.role == snapshot.role
            assert mirror.hand == snapshot.hand
            if rng.random() < 0.1:
                followers[user_id] = fresh
    assert hands > 20


def test_an_ante_that_takes_its_poster_all_in_is_a_pot_of_its_own() -> None:
    room = seated_room(random.Random(1), 4, ante=300, ante_kind="big_blind", auto_start=False)
    big_blind = USERS[2].user_id  # The first hand's, with four players.
    room.do(HOST, commands.AdjustChips(user_id=big_blind, delta=-1_800, reason="test"))
    mirror = Mirror(room.snapshot(HOST))
    room.listen(HOST, lambda event: mirror.apply(over_the_wire(event)))
    room.do(HOST, commands.Start())
    assert mirror.seats[2].all_in
    hand = mirror.hand
    assert hand is not None
    assert [pot.amount for pot in hand.pots] == [200, 50]
    while room.state.hand is not None:
        assert same_state(mirror, Mirror(room.snapshot(HOST)))
        clock = room.state.clock
        assert clock is not None
        who = next(u for u in USERS if u.user_id == room.state.seats[clock.seat_index].user_id)
        room.do(who, commands.Action(action="CHECK" if clock.legal.can_check else "CALL"))


def test_between_hands_there_is_no_hand_and_no_card() -> None:
    room = seated_room(random.Random(1))
    mirror = Mirror(room.snapshot(HOST))
    room.listen(HOST, lambda event: mirror.apply(over_the_wire(event)))
    room.wait()
    hand, cards = mirror.hand, mirror.hole_cards
    assert hand is not None
    assert cards is not None
    assert sum(seat.bet for seat in mirror.seats.values()) == hand.pot
    while room.state.hand is not None:
        room.wait()
    assert mirror.hand is None
    assert mirror.hole_cards is None
    assert mirror.legal_actions is None
    assert mirror.last_result is not None
    assert {seat.bet for seat in mirror.seats.values()} == {0}


def recorded(room: PlayedRoom, who: Principal) -> list[AnyEvent]:
    heard: list[AnyEvent] = []
    room.listen(who, lambda event: heard.append(over_the_wire(event)))
    return heard


def test_an_event_is_applied_once() -> None:
    room = seated_room(random.Random(2))
    mirror = Mirror(room.snapshot(HOST))
    heard = recorded(room, HOST)
    room.wait()
    assert [mirror.apply(event) for event in heard] == [Outcome.NEWS] * len(heard)
    assert {mirror.apply(event) for event in heard} == {Outcome.STALE}
    assert same_state(mirror, Mirror(room.snapshot(HOST)))


def test_a_missing_event_is_noticed_and_changes_nothing() -> None:
    room = seated_room(random.Random(3))
    mirror = Mirror(room.snapshot(HOST))
    before = comparable(mirror)
    heard = recorded(room, HOST)
    room.wait()
    assert mirror.apply(heard[-1]) is Outcome.HOLE
    assert comparable(mirror) == before


def test_cards_that_a_snapshot_lacks_are_news_whatever_their_seq() -> None:
    room = seated_room(random.Random(4))
    heard = recorded(room, HOST)
    room.wait()
    (dealt,) = [event for event in heard if isinstance(event, CardsDealt)]
    mirror = Mirror(room.snapshot(HOST))
    assert mirror.apply(dealt) is Outcome.STALE
    mirror.hole_cards = None
    assert mirror.apply(dealt) is Outcome.NEWS
    assert mirror.hole_cards == dealt.hole_cards


def test_a_turn_without_the_cards_to_play_it_is_a_hole() -> None:
    room = seated_room(random.Random(5))
    mirrors = {str(who.user_id): Mirror(room.snapshot(who)) for who in USERS[:3]}
    heard = recorded(room, HOST)
    room.wait()
    (turn,) = [event for event in heard if isinstance(event, TurnStarted)]
    mirror = mirrors[turn.user_id]
    public = [event for event in heard if not isinstance(event, CardsDealt)]
    assert mirror.apply(public[0]) is Outcome.NEWS
    assert mirror.apply(turn) is Outcome.HOLE


def test_a_request_of_an_earlier_moment_is_stale() -> None:
    room = PlayedRoom(random.Random(6))
    heard = recorded(room, HOST)
    room.do(USERS[1], commands.Join())
    (request,) = heard
    assert isinstance(request, PlayerJoinRequested)
    mirror = Mirror(room.snapshot(HOST))
    assert mirror.apply(request) is Outcome.STALE
    room.do(HOST, commands.Approve(user_id=USERS[1].user_id))
    mirror = Mirror(room.snapshot(HOST))
    assert mirror.apply(request) is Outcome.STALE
    assert mirror.pending_requests == []


def test_an_event_of_an_unknown_type_only_counts() -> None:
    room = seated_room(random.Random(7))
    mirror = Mirror(room.snapshot(HOST))
    before = comparable(mirror)
    event = event_of({"type": "fireworks", "channel": "room:r1", "seq": mirror.seq + 1, "at": 1})
    assert isinstance(event, OtherEvent)
    assert mirror.apply(event) is Outcome.NEWS
    assert comparable(mirror) == msgspec.structs.replace(before, seq=before.seq + 1)


def test_a_known_event_with_unreadable_content_is_a_hole() -> None:
    room = seated_room(random.Random(8))
    mirror = Mirror(room.snapshot(HOST))
    raw: dict[str, object] = {"type": "player_seated", "channel": "room:r1", "at": 1}
    assert mirror.apply(event_of(raw | {"seq": mirror.seq + 1})) is Outcome.HOLE


class NoCommands:
    """A client that nobody is to ask."""

    async def ask(self, *args: object, **kwargs: object) -> object:
        raise AssertionError("no command is sent here")


class Followed:
    """A live room without a socket; it counts how often it wants a snapshot."""

    def __init__(self) -> None:
        self.wanted = 0
        self.live = LiveRoom(
            NoCommands(),  # type: ignore[arg-type]
            "r1",
            staff=False,
            need_snapshot=self._want,
        )

    def _want(self, _: LiveRoom) -> None:
        self.wanted += 1


async def test_events_before_and_during_a_snapshot_join_it_exactly() -> None:
    room = seated_room(random.Random(9))
    followed = Followed()
    heard = recorded(room, HOST)
    room.wait()
    for event in heard:
        followed.live.receive(event)
    assert followed.live.seq is None
    snapshot = room.snapshot(HOST)
    room.wait()
    for event in heard[-2:]:
        followed.live.receive(event)
    followed.live.install(snapshot)
    assert followed.wanted == 0
    assert same_state(followed.live.state, Mirror(room.snapshot(HOST)))


async def test_a_hole_is_filled_by_a_snapshot_and_what_came_meanwhile() -> None:
    room = seated_room(random.Random(10))
    followed = Followed()
    followed.live.install(room.snapshot(HOST))
    heard = recorded(room, HOST)
    room.wait()
    followed.live.receive(heard[-1])
    assert followed.wanted == 1
    snapshot = room.snapshot(HOST)
    already = len(heard)
    room.wait()
    for event in heard[already:]:
        followed.live.receive(event)
    followed.live.install(snapshot)
    assert followed.wanted == 1
    assert followed.live.seq == room.state.seq
    assert same_state(followed.live.state, Mirror(room.snapshot(HOST)))


async def test_a_reader_sees_each_event_and_one_that_lags_is_told() -> None:
    room = seated_room(random.Random(11))
    followed = Followed()
    followed.live.install(room.snapshot(HOST))
    heard = recorded(room, HOST)
    async with followed.live.events() as events:
        while room.state.game is None or room.state.game.hands_played < 1 or room.state.hand:
            room.wait()
        for event in heard:
            followed.live.receive(event)
        seen = []
        async for event in events:
            seen.append(event)
            if isinstance(event, HandComplete):
                break
        assert seen == heard[: len(seen)]
    async with followed.live.events() as events:
        first = followed.live.state.seq
        for step in range(1, KEPT_EVENTS + 2):
            raw: dict[str, object] = {"type": "tick", "channel": "room:r1", "seq": first + step}
            followed.live.receive(event_of(raw))
        with pytest.raises(Lagged):
            async for _ in events:
                pass


async def test_who_waits_for_a_room_learns_that_it_is_gone() -> None:
    followed = Followed()
    followed.live.end()
    with pytest.raises(RoomGone):
        await followed.live.my_turn()
    with pytest.raises(RoomGone):
        await followed.live.changed()


async def test_who_is_kicked_follows_the_room_no_longer() -> None:
    room = seated_room(random.Random(12), 3, auto_start=False)
    kicked, other = Followed(), Followed()
    for followed, who in ((kicked, USERS[1]), (other, USERS[2])):
        followed.live.install(room.snapshot(who))
        live = followed.live
        room.listen(who, partial(lambda live, event: live.receive(over_the_wire(event)), live))
    room.do(HOST, commands.Kick(user_id=USERS[1].user_id))
    assert kicked.live.gone is not None
    assert other.live.gone is None
    assert other.live.seq == room.state.seq
