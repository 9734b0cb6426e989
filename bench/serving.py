"""A server for as long as it is needed, and nothing of it afterwards."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import trio

from bench.server_process import ServerProcess


@asynccontextmanager
async def serving(
    settings: Mapping[str, str], data_dir: Path | None = None
) -> AsyncIterator[ServerProcess]:
    """Run a server on a data folder of its own; at the end its PostgreSQL ends with it.

    Args:
        settings: environment variables for the server.
        data_dir: an empty folder, which stays; None takes a temporary one.

    Cancellation stops the server too; that takes some seconds.
    """
    with ExitStack() as stack:
        if data_dir is None:
            folder = stack.enter_context(TemporaryDirectory(prefix="cardroom-bench-"))
            data_dir = Path(folder) / "data"
        server = ServerProcess(data_dir, settings)
        try:
            await server.start()
            yield server
        finally:
            with trio.CancelScope(shield=True):
                if not server.running:
                    # A killed server leaves its PostgreSQL running, on purpose: only the next one
                    # on the folder, told to stop, ends both.
                    await server.start()
                await server.stop()
