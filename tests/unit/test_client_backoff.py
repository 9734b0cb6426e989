"""How long a client waits before it is back."""

import random

from client.errors import ConnectionClosed
from client.timing import Backoff, Timing


def test_the_first_loss_costs_no_wait_and_a_restart_spreads_its_clients() -> None:
    timing = Timing(restart_spread_s=3.0, backoff_first_s=1.0, backoff_max_s=4.0)
    lost = ConnectionClosed(1006)
    waits = [Backoff(timing, random.Random(seed)) for seed in range(200)]
    assert {backoff.wait_s(lost, 0.0) for backoff in waits} == {0.0}
    for ceiling in (1.0, 2.0, 4.0, 4.0):
        taken = [backoff.wait_s(lost, 0.0) for backoff in waits]
        assert ceiling * 0.9 < max(taken) <= ceiling
        assert min(taken) < ceiling * 0.1
    assert {backoff.wait_s(lost, 60.0) for backoff in waits} == {0.0}
    spread = [backoff.wait_s(ConnectionClosed(1012), 60.0) for backoff in waits]
    assert 0 <= min(spread) < 0.3
    assert 2.7 < max(spread) <= 3.0
    flooding = [b.wait_s(ConnectionClosed(4029), 60.0) for b in waits]
    assert max(flooding) > 0.5


def test_a_refusal_is_waited_out_and_then_some_so_that_not_all_are_back_at_once() -> None:
    timing = Timing(backoff_first_s=0.2, retry_after_max_s=5.0)
    backoffs = [Backoff(timing, random.Random(seed)) for seed in range(200)]
    for asked, attempt, least, most in (
        (1.0, 0, 1.0, 2.0),
        (0.1, 0, 0.1, 0.3),
        # Refused again and again, they spread further.
        (1.0, 4, 1.0, 4.2),
        (1.0, 1_000, 1.0, 6.0),
        # More than that is never waited for.
        (60.0, 0, 5.0, 10.0),
        (None, 0, 0.0, 0.2),
        (None, 4, 0.0, 3.2),
    ):
        waits = [backoff.retry_s(asked, attempt) for backoff in backoffs]
        tenth = (most - least) / 10
        assert least <= min(waits) < least + tenth
        assert most - tenth < max(waits) <= most
