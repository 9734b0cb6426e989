"""What a server has to do with its process: descriptors, sockets, and signals."""

import os
import resource
import signal
import socket
import threading

import structlog
import trio

log = structlog.stdlib.get_logger(__name__)

BACKLOG = 4096
"""Clients that come back together wait here to be accepted; the kernel may allow fewer."""
MOST_DESCRIPTORS = 1_048_576
OTHER_DESCRIPTORS = 256
"""Kept for what is no WebSocket: the database, HTTP, files."""
FEW_SOCKETS = 4_096
"""A server that has room for fewer says so."""
END_WITHIN_S = 9.0
"""After the signal to end; whatever still waits then is dropped, as a kill would drop it."""


class StoppedEarly(Exception):
    """The server was told to end before it was ready."""


def listen(host: str, port: int) -> socket.socket:
    """Open a listening socket that does not block; port 0 is a free one.

    Raises:
        OSError: the port is taken, or not this machine's; the text names it.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise OSError(error.errno, f"{error.strerror}: {host} port {port}") from None
    except BaseException:
        sock.close()
        raise
    return sock


def room_for_sockets() -> int:
    """Let this process have as many descriptors as it may; return how many WebSockets that allows.

    Says in the log how many there are, with a warning where they are few.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MOST_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < most:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        except (OSError, ValueError) as error:
            log.info("descriptor_limit_kept", error=str(error))
            most = soft
    sockets = most - min(OTHER_DESCRIPTORS, most // 4)
    if sockets < FEW_SOCKETS:
        hint = "raise the hard limit of open files (ulimit -Hn, LimitNOFILE=) for more clients"
        log.warning("few_descriptors", descriptors=most, sockets=sockets, hint=hint)
    else:
        log.info("descriptors", descriptors=most, sockets=sockets)
    return sockets


async def watch_signals(
    end: trio.Event,
    starting: trio.CancelScope,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """On SIGTERM or SIGINT, set `end` and give up `starting`, which may wait for a database.

    A process that has not ended within `END_WITHIN_S` after that is ended as it is.
    """
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        task_status.started()
        async for _ in signals:
            if not end.is_set():
                last_resort = threading.Timer(END_WITHIN_S, _give_up)
                last_resort.daemon = True
                last_resort.start()
            end.set()
            starting.cancel()


def _give_up() -> None:
    """End the process at once: nothing that was acknowledged depends on a clean end."""
    log.error("not_stopped_in_time", within_s=END_WITHIN_S)
    os._exit(1)
