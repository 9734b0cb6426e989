"""The figures at `/metrics` that the parts of a server keep themselves."""

from trio.lowlevel import current_statistics

from persistence.journal import Journal
from persistence.pool import Pool
from server.metrics import Metrics
from server.push.worker import PushWorker
from server.rooms import Rooms
from server.transport import Transport


def tell_figures(
    metrics: Metrics,
    transport: Transport,
    rooms: Rooms,
    journal: Journal,
    pool: Pool,
    push: PushWorker,
) -> None:
    """Have the parts' own figures read at each scrape."""
    gauge, counter, totals = metrics.gauge, metrics.counter, transport.counters
    gauge("cardroom_sockets", "WebSockets that are open.", lambda: transport.connections)
    gauge("cardroom_tasks", "Tasks that live.", lambda: current_statistics().tasks_living)
    gauge(
        "cardroom_sockets_limit",
        "WebSockets that this process has room for: what it may have open, less what it needs.",
        lambda: transport.max_sockets,
    )
    gauge("cardroom_rooms", "Rooms with a live actor.", lambda: len(rooms))
    gauge(
        "cardroom_rooms_quarantined",
        "Rooms that failed too often and are closed off.",
        lambda: len(rooms.quarantined()),
    )
    gauge("cardroom_journal_depth", "Units that wait for a commit.", lambda: journal.depth)
    gauge(
        "cardroom_pool_waiting",
        "Tasks that wait for a database connection.",
        lambda: pool.waiting,
    )
    gauge(
        "cardroom_push_waiting",
        "Push notifications that are not done with.",
        lambda: push.waiting,
    )
    gauge(
        "cardroom_push_oldest_waiting_seconds",
        "For how long the oldest of them has waited.",
        lambda: push.oldest_waiting_s,
    )
    counter("cardroom_messages_in", "Messages of clients.", lambda: totals.frames_in)
    counter(
        "cardroom_receive_seconds",
        "Parsing and decoding messages, and handing commands on.",
        lambda: totals.receive_s,
    )
    counter("cardroom_sends", "Ready frames (or runs of them) sent.", lambda: totals.frames_out)
    counter("cardroom_bytes_in", "Bytes from clients.", lambda: totals.bytes_in)
    counter("cardroom_bytes_out", "Bytes to clients.", lambda: totals.bytes_out)
    counter(
        "cardroom_slow_closes",
        "WebSockets closed because they could not keep up.",
        lambda: totals.slow_closes,
    )
    counter(
        "cardroom_accept_pauses",
        "Pauses in accepting sockets, for want of descriptors above all.",
        lambda: totals.accept_pauses,
    )
    counter(
        "cardroom_handshake_failures",
        "Sockets that never became WebSockets.",
        lambda: totals.handshake_failures,
    )
