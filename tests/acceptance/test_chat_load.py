"""Many people talking at once. The long form is `cardroom bench chat`."""

import pytest
import trio

from bench.chat import at_rate
from bench.chat_generator import SETTINGS, talking
from bench.chat_load import Phase
from bench.serving import serving


@pytest.mark.fail_after(120)
async def test_every_message_reaches_the_other_side_and_is_answered() -> None:
    async with serving(SETTINGS) as server, talking(server, 20, 2, absent=2) as generator:
        paced = await generator.phase(at_rate(1.0, 50, absent_rate=5))
        hurried = await generator.phase(Phase(0.5, 0, 10, True, 0))
    assert (paced.lost, hurried.lost) == (0, 0)
    assert paced.messages == 50
    assert paced.to_absent == 5
    assert paced.receipts == 2 * 45
    assert paced.heard.p50_ms > 0
    assert paced.answered.p99_ms >= paced.answered.p50_ms
    assert hurried.receipts == 2 * hurried.messages


async def test_a_generator_that_cannot_work_says_so() -> None:
    async with serving({}) as server:
        await server.stop()
        with pytest.raises(RuntimeError, match="the load generator failed"), trio.fail_after(30):
            async with talking(server, 1, 1):
                pass
        await server.start()
