"""What the bench does to a queue leaves it one: nobody twice or lost, something always next."""

import random

import pytest

from bench.scenarios.waitlist_table import FEWEST_WAITING, SEATS, Player, Table


@pytest.mark.parametrize("waiting", [FEWEST_WAITING, 10])
def test_a_queue_has_somebody_to_call_and_to_move_after_every_step(waiting: int) -> None:
    rng = random.Random(waiting)
    players = [Player(number, f"p{number}") for number in range(SEATS + waiting)]
    table = Table(players)
    done: set[str] = set()
    sitting, called = players[:SEATS], 0
    for _ in range(2_000):
        step = table.step(rng)
        done.add(step.command)
        match step.command:
            case "waitlist_accept":
                assert step.player is not None
                sitting.append(step.player)
                called -= 1
            case "leave_seat":
                assert step.player is not None
                sitting.remove(step.player)
                called += 1
        # Every seat is taken or held: whoever joins is not called at once.
        assert len(sitting) + called == SEATS
        assert len(set(table.queue)) == len(table.queue) >= 1
        assert not set(sitting) & set(table.queue)
        assert 1 <= step.own <= len(players) + 1
    assert done == {
        "waitlist_join",
        "waitlist_leave",
        "waitlist_move",
        "waitlist_call",
        "waitlist_accept",
        "waitlist_decline",
        "leave_seat",
    }
