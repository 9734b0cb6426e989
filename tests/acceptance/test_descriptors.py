"""A server whose descriptors are used up: those who are there go on, others get in later."""

import resource
from contextlib import AsyncExitStack
from pathlib import Path

import psutil
import pytest
import trio

from bench.outside import connected
from tests.integration.transport_harness import dialled, upgrade
from tests.support.patience import PATIENCE_S
from tests.support.served import served

pytestmark = pytest.mark.fail_after(3 * PATIENCE_S)

ROOM_FOR = 20


async def test_a_server_out_of_descriptors_serves_who_is_there_and_recovers(tmp_path: Path) -> None:
    async with served(tmp_path) as server, AsyncExitStack() as stack:
        port = int(server.ws_url.rsplit(":", 1)[1].partition("/")[0])
        async with connected(server.ws_url, token=server.token("amy")) as player:
            open_now = psutil.Process(server.pid).num_fds()
            limit = open_now + ROOM_FOR
            # Behind the server's back: it counts on as many as it found at its start.
            resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (limit, limit))
            async with AsyncExitStack() as crowd:
                for _ in range(2 * ROOM_FOR):
                    peer = await crowd.enter_async_context(dialled(port))
                    await peer.send(upgrade())
                while server.log().count("accept_paused") == 0:  # noqa: ASYNC110 - another process
                    await trio.sleep(0.05)
                for _ in range(20):
                    await player.ask("heartbeat")
                late = await stack.enter_async_context(dialled(port))
                await late.send(upgrade())
            assert (await late.read_head()).startswith("HTTP/1.1 101 ")
            async with connected(server.ws_url, token=server.token("bob")) as other:
                await other.ask("list_rooms")
            await player.ask("list_rooms")
        log = server.log()
    assert log.count("accept_paused") == 1
    assert '"level":"error"' not in log
    assert '"descriptors"' in log
