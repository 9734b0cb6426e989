"""The client's waitlists: its mirror follows the queue, and it knows the user's own place."""

import random
from contextlib import suppress
from functools import partial

import trio
import trio.testing

from client.mirror import Mirror, Outcome, same_state
from client.waitlists import Waitlists
from protocol import commands
from protocol.errors import Refused
from protocol.events import Event, SeatOffered, WaitlistEnded, WaitlistPosition
from protocol.values import SettingsPatch
from tests.support.room_play import FLOOR, HOST, USERS, PlayedRoom, seated_room


def step(rng: random.Random, room: PlayedRoom) -> None:
    """Have somebody do something with the queue, or with the seats that it waits for."""
    waitlist = room.state.waitlist
    entry_id = rng.choice(waitlist).entry_id if waitlist else "none"
    who = rng.choice(USERS)
    choices: list[commands.AnyRoomCommand] = [
        commands.WaitlistJoin(),
        commands.WaitlistJoin(),
        commands.WaitlistLeave(),
        commands.WaitlistMove(entry_id=entry_id, position=rng.randint(1, 4)),
        commands.WaitlistRemove(entry_id=entry_id),
        commands.WaitlistAccept(entry_id=entry_id, buy_in=2_000),
        commands.LeaveSeat(),
    ]
    command = rng.choice(choices)
    if isinstance(command, commands.WaitlistMove | commands.WaitlistRemove):
        who = FLOOR
    with suppress(Refused):
        room.do(who, command)
    if rng.random() < 0.2:
        room.wait()


def follow(mirror: Mirror, holes: list[Outcome], event: Event) -> None:
    """Apply an event, and note a hole."""
    if (outcome := mirror.apply(event)) is Outcome.HOLE:
        holes.append(outcome)


def test_a_mirror_fed_by_events_has_the_queue_of_a_fresh_snapshot() -> None:
    longest = 0
    for seed in range(20):
        rng = random.Random(seed)
        room = seated_room(rng, players=3)
        full = commands.ChangeSettings(settings=SettingsPatch(max_seats=3))
        room.do(HOST, full)
        mirrors = {who: Mirror(room.snapshot(who), staff=who is FLOOR) for who in (HOST, FLOOR)}
        holes: list[Outcome] = []
        for who, mirror in mirrors.items():
            room.listen(who, partial(follow, mirror, holes))
        for _ in range(60):
            step(rng, room)
            longest = max(longest, len(room.state.waitlist))
            for who, mirror in mirrors.items():
                fresh = Mirror(room.snapshot(who), staff=who is FLOOR)
                assert mirror.waitlist == fresh.waitlist
                assert same_state(mirror, fresh)
        assert not holes
    assert longest >= 3


async def test_the_users_own_place_and_offers_are_kept_by_table() -> None:
    waitlists = Waitlists(None)  # type: ignore[arg-type]
    offer = SeatOffered("t1", "e1", 3, 9_000)
    found = []
    async with trio.open_nursery() as nursery:

        async def wait() -> None:
            found.append(await waitlists.offered("t1"))

        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        waitlists.take(WaitlistPosition("t1", "e1", 1, 0))
        waitlists.take(SeatOffered("t2", "e2", 4, 9_000))
        await trio.testing.wait_all_tasks_blocked()
        assert not found
        waitlists.take(offer)
    assert found == [offer]
    assert waitlists.places["t1"].ahead == 0
    waitlists.take(WaitlistEnded("t1", "e1", "expired"))
    assert set(waitlists.offers) == {"t2"}
    assert not waitlists.places
