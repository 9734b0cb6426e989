"""Queues written by socket, HTTP and SQL at once. The long form is `cardroom bench queue`."""

import pytest

from bench.queue_run import SETTINGS, run
from bench.serving import serving

OPERATIONS = 300


@pytest.mark.fail_after(180)
async def test_four_sources_and_a_kill_leave_one_queue_that_all_know() -> None:
    async with serving(SETTINGS) as server:
        result = await run(server, operations=OPERATIONS, tables=2, players=12, seed=7, kills=1)
    assert result.wrong == []
    assert result.done > OPERATIONS / 2
    assert result.told > OPERATIONS / 4
