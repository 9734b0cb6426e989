"""From settings to a server: its folder, its ports and its database, while its code is loaded.

Loading takes half a second of processor time. PostgreSQL comes up beside it.
"""

from importlib import import_module

import trio

from server.embedded import EmbeddedPostgres
from server.garbage import collect_rarely, left_alone
from server.identity import Identity
from server.process import listen
from server.server_file import Addresses, ServerFile
from server.settings import Settings


async def run_server(
    settings: Settings,
    *,
    task_status: trio.TaskStatus[Addresses] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run a server until SIGTERM or SIGINT, or until cancelled.

    Reports its addresses as the started value once every table goes on.

    Raises:
        StoppedEarly: told to end before it was ready.
        OSError: a port is taken.
        SettingsError: the data folder's secret is too short.
        CannotServe, EmbeddedFailed, SchemaTooNew, UnsafeDurability: the database cannot be served
            from.
    """
    collect_rarely()
    data_dir = settings.data_dir.resolve()
    data_dir.mkdir(parents=True, exist_ok=True)
    http_socket = listen(settings.host, settings.http_port)
    ws_socket = listen(settings.host, settings.ws_port)
    server_file = ServerFile(data_dir)
    identity = Identity(data_dir)
    if identity.alone:
        # Left by one that was killed: whoever waits for the file must not find its ports.
        server_file.clear()
    embedded = None
    url = settings.database_url
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_load)
            if url is None:
                embedded = await EmbeddedPostgres.start(data_dir)
                url = embedded.url()
        from server.app import Server

        server = Server(
            settings, data_dir, server_file, identity.node_id, url, http_socket, ws_socket
        )
        try:
            await server.run(task_status)
        finally:
            with trio.CancelScope(shield=True):
                await server.pool.aclose()
    finally:
        server_file.remove()
        identity.release()
        http_socket.close()
        ws_socket.close()
        if embedded is not None:
            with trio.CancelScope(shield=True):
                await embedded.stop()


async def _load() -> None:
    with left_alone():
        await trio.to_thread.run_sync(import_module, "server.app")
