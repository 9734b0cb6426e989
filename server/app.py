"""Where the parts are put together, started in order and stopped in order."""

import os
import signal
import socket
import threading
from collections.abc import Awaitable, Callable
from math import inf
from pathlib import Path
from random import SystemRandom
from typing import NamedTuple

import httpx
import msgspec
import psycopg
import structlog
import trio

from actors.hub import Hub
from actors.room import RoomServices
from actors.supervisor import ChildSpec, Intensity, Restart, Supervisor
from game.poker.variants import VARIANTS
from persistence.connection import TrioConnection
from persistence.durability import check_durability
from persistence.errors import Unavailable
from persistence.journal import Journal
from persistence.migrate import migrate
from persistence.pool import Connection, Pool, application_name
from protocol.errors import CloseCode
from server.auth.rejoin_book import RejoinBook
from server.auth.tokens import AccessTokens
from server.clock import now_ms
from server.club import Club
from server.embedded import EmbeddedPostgres
from server.framing import framed_event
from server.gateway.gateway import WEBSOCKET_PATH, Gateway, GatewayLimits
from server.http.app import create_app
from server.http.serving import serve_http
from server.metrics import Metrics
from server.node import Identity, Node
from server.outside import OutsideWrites
from server.presence import Presence
from server.pusher.wiring import beside, open_pusher
from server.readiness import Readiness
from server.rooms import Rooms
from server.settings import Settings, ensure_jwt_secret
from server.transport import Transport, TransportLimits
from server.transport import serve as serve_websockets

log = structlog.stdlib.get_logger(__name__)

SERVER_FILE = "server.json"
MAX_MEMBERS = 10_000
BACKLOG = 1024
DRAIN_S = 4.0
GOODBYE_S = 2.0
END_WITHIN_S = 9.0
"""After the signal to end; whatever still waits then is dropped, as a kill would drop it."""
PASSIVATION_EVERY_S = 30.0
DATABASE_RETRY_S = 0.5
SILENT_AFTER_TIMEOUTS = 2
"""A database that has not answered for so many times its time-out is as good as away."""


class StoppedEarly(Exception):
    """The server was told to end before it was ready."""


class CannotServe(Exception):
    """The database cannot be asked what has to be asked at the start; the text is psycopg's."""


class Addresses(NamedTuple):
    """Where a running server is reached."""

    http_port: int
    ws_port: int
    database_url: str


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
    data_dir = settings.data_dir.resolve()
    data_dir.mkdir(parents=True, exist_ok=True)
    http_socket = _listen(settings.host, settings.http_port)
    ws_socket = _listen(settings.host, settings.ws_port)
    identity = Identity(data_dir)
    if identity.alone:
        # Left by one that was killed: whoever waits for the file must not find its ports.
        (data_dir / SERVER_FILE).unlink(missing_ok=True)
    embedded = None
    url = settings.database_url
    try:
        if url is None:
            embedded = await EmbeddedPostgres.start(data_dir)
            url = embedded.url()
        server = _Server(settings, data_dir, identity.node_id, url, http_socket, ws_socket)
        try:
            await server.run(task_status)
        finally:
            with trio.CancelScope(shield=True):
                await server.pool.aclose()
    finally:
        _remove_server_file(data_dir)
        identity.release()
        http_socket.close()
        ws_socket.close()
        if embedded is not None:
            with trio.CancelScope(shield=True):
                await embedded.stop()


class _Server:
    """All parts of one server, made but not started."""

    def __init__(
        self,
        settings: Settings,
        data_dir: Path,
        node_id: str,
        url: str,
        http_socket: socket.socket,
        ws_socket: socket.socket,
    ) -> None:
        self._settings = settings
        self._data_dir = data_dir
        self._url = url
        self._http_socket = http_socket
        self._ws_socket = ws_socket
        self.addresses = Addresses(http_socket.getsockname()[1], ws_socket.getsockname()[1], url)
        self.metrics = Metrics()
        self.readiness = Readiness()
        self.pool = Pool(
            url,
            size=max(1, settings.db_connections - 1),
            timeout_s=settings.db_timeout_s,
            block_timeout_s=settings.db_timeout_s * SILENT_AFTER_TIMEOUTS,
        )
        self.journal = Journal(
            self._connect, timeout_s=settings.db_timeout_s, on_batch=self.metrics.committed
        )
        self.hub = Hub(
            encode=framed_event,
            on_presence=lambda *seen: self.presence.note(*seen, at=self.gateway.leaving_since),
            on_drop=lambda *lost: self.gateway.dropped(*lost),
        )
        self.supervisor = Supervisor()
        self.rejoin = RejoinBook(
            self.pool,
            life_ms=_ms(settings.rejoin_token_ttl_s),
            overlap_ms=_ms(settings.rejoin_overlap_s),
        )
        self.node = Node(
            self.pool,
            node_id,
            address=settings.advertised_ws_address
            or f"ws://{settings.host}:{self.addresses.ws_port}{WEBSOCKET_PATH}",
            lease_s=settings.node_lease_s,
        )
        self.rooms = Rooms(
            supervisor=self.supervisor,
            services=self._room_services(),
            intensity=Intensity(settings.restart_intensity, settings.restart_window_s),
            timeout_s=settings.db_timeout_s,
            on_crash=lambda: self.metrics.restarted("room"),
            on_quarantine=self._quarantined,
        )
        self.outside = OutsideWrites(url, self.pool, self.rooms, node_id)
        self.club = Club(
            pool=self.pool,
            rooms=self.rooms,
            rejoin=self.rejoin,
            readiness=self.readiness,
            touch=lambda room_id, user_id: self.presence.touch(room_id, user_id),
            node_id=node_id,
            starting_balance=settings.starting_balance,
        )

        self.readiness.need("database", lambda: self.node.reachable and not self.journal.away)
        self.readiness.tell("rooms", lambda: len(self.rooms))
        self.readiness.tell("quarantined_rooms", lambda: len(self.rooms.quarantined()))
        self.readiness.tell("rigged_decks", lambda: settings.enable_rigged_decks)

    async def run(self, task_status: trio.TaskStatus[Addresses]) -> None:
        """Start everything in order, wait for the end, stop everything in order."""
        async with httpx.AsyncClient() as client, trio.open_nursery() as nursery:
            end = trio.Event()
            with trio.CancelScope() as starting:
                await nursery.start(_watch_signals, end, starting)
                transport = await self._start(nursery, client)
            if starting.cancelled_caught:
                log.info("stopped_before_ready")
                raise StoppedEarly
            task_status.started(self.addresses)
            await end.wait()
            await self._stop(transport)
            nursery.cancel_scope.cancel()

    async def _start(self, nursery: trio.Nursery, client: httpx.AsyncClient) -> Transport:
        """Start everything in order, until every table goes on and clients are let in."""
        secret = self._settings.jwt_secret or ensure_jwt_secret(self._data_dir)
        access_tokens = AccessTokens.from_settings(self._settings, secret, client)
        self.gateway = Gateway(
            club=self.club,
            access_tokens=access_tokens,
            limits=GatewayLimits(
                self._settings.commands_per_s,
                self._settings.command_burst,
                self._settings.sockets_per_user,
                self._settings.auth_timeout_s,
            ),
            nursery=nursery,
            count=self.metrics.command,
        )
        self.presence = self._presence()
        self.pusher = open_pusher(self._settings, self.gateway, nursery)
        await nursery.start(self.supervisor.run)
        app = create_app(
            self.club, access_tokens, self._settings, self.metrics, self.addresses, self.pusher
        )
        self._keep("http", lambda: serve_http(app, self._http_socket))
        await self._await_database()
        await nursery.start(self.journal.run)
        await self._continue_rooms()
        self._keep("outside", self.outside.run)
        nursery.start_soon(self.node.run, self.rooms)
        nursery.start_soon(self.presence.run)
        nursery.start_soon(self.presence.upkeep)
        nursery.start_soon(self._passivate)
        transport: Transport = await nursery.start(self._serve_websockets)
        self._measure(transport)
        self._write_server_file()
        self.readiness.started = True
        log.info(
            "ready", rooms=len(self.rooms), **self.addresses._asdict() | {"database_url": None}
        )
        if self._settings.enable_rigged_decks:
            log.warning("rigged_decks_enabled", hint="for tests only: staff can fix decks")
        return transport

    async def _stop(self, transport: Transport) -> None:
        """Take nothing new, finish what is under way, say goodbye, hand the rooms back."""
        log.info("stopping")
        self.readiness.started = False
        transport.stop_accepting()
        async with trio.open_nursery() as draining:
            drained = trio.Event()
            draining.start_soon(self._drain, drained)
            # Commits that a silent database does not answer are waited for beyond that, but
            # clients need not wait with them.
            with trio.move_on_after(DRAIN_S):
                await drained.wait()
            await transport.close_all(CloseCode.RESTARTING, "server restarting", GOODBYE_S)
        with trio.move_on_after(GOODBYE_S):
            try:
                await self.presence.flush()
            except Unavailable:
                log.info("presence_not_written")
            await self.node.resign()

    async def _drain(self, drained: trio.Event) -> None:
        await self.rooms.stop(DRAIN_S)
        drained.set()

    async def _await_database(self) -> None:
        """Wait for the database for as long as it takes, then bring it up to date."""
        said = False
        while True:
            try:
                async with self.pool.connection(timeout_s=inf) as conn:
                    applied = await migrate(conn)
                    await check_durability(
                        conn, allow_unsafe=self._settings.allow_unsafe_durability
                    )
                break
            except Unavailable as away:
                if not said:
                    log.warning("waiting_for_database", reason=away.reason)
                said = True
                await trio.sleep(DATABASE_RETRY_S)
            except psycopg.Error as error:
                raise CannotServe(f"the database: {str(error).strip()}") from error
        for migration in applied:
            log.info("migrated", version=migration.version, name=migration.name)

    async def _continue_rooms(self) -> None:
        """Go on with every table, however often the database goes away meanwhile."""
        while True:
            try:
                await self.node.continue_rooms(self.rooms)
                return
            except Unavailable as away:
                log.warning("waiting_for_database", reason=away.reason)
                await trio.sleep(DATABASE_RETRY_S)

    async def _connect(self) -> Connection:
        return await TrioConnection.connect(
            self._url, autocommit=True, application_name=application_name()
        )

    def _room_services(self) -> RoomServices:
        settings = self._settings
        shuffler = SystemRandom()

        def new_deck(variant: str) -> tuple[str, ...]:
            deck = list(VARIANTS[variant].deck)
            shuffler.shuffle(deck)
            return tuple(deck)

        return RoomServices(
            pool=self.pool,
            journal=self.journal,
            hub=self.hub,
            node_id=self.node.id,
            now=now_ms,
            new_deck=new_deck,
            new_token=self.rejoin.mint,
            keep_token=self.rejoin.keep,
            known_token=self.rejoin.known,
            room_lost=lambda room_id: self.gateway.room_lost(room_id),
            mailbox_capacity=settings.mailbox_capacity,
            hand_interval_ms=_ms(settings.hand_interval_s),
            reject_cooldown_ms=_ms(settings.reject_cooldown_s),
            seat_offer_ms=_ms(settings.seat_offer_s),
            max_members=MAX_MEMBERS,
            token_life_ms=_ms(settings.rejoin_token_ttl_s),
            old_token_life_ms=_ms(settings.rejoin_overlap_s),
            rigging_enabled=settings.enable_rigged_decks,
        )

    def _presence(self) -> Presence:
        settings = self._settings
        shortest = min(
            settings.disconnect_after_s,
            settings.free_seat_after_s,
            settings.spectator_drop_after_s,
        )
        return Presence(
            pool=self.pool,
            rooms=self.rooms,
            node_id=self.node.id,
            sockets=self.gateway,
            flush_s=min(settings.last_seen_flush_s / 2, max(0.05, shortest / 5)),
            away_ms=_ms(settings.disconnect_after_s),
            free_ms=_ms(settings.free_seat_after_s),
            drop_ms=_ms(settings.spectator_drop_after_s),
            silent_ms=_ms(settings.idle_socket_s + 2 * settings.last_seen_flush_s),
            token_life_ms=_ms(settings.rejoin_token_ttl_s),
            event_retention_ms=settings.event_retention_days * 24 * 60 * 60 * 1000,
        )

    async def _serve_websockets(self, task_status: trio.TaskStatus[Transport]) -> None:
        settings = self._settings
        await serve_websockets(
            [self._ws_socket],
            beside(self.gateway.route, self.pusher),
            TransportLimits(
                max_message_bytes=settings.max_message_bytes,
                queue_messages=settings.queue_messages,
                queue_bytes=settings.queue_bytes,
                handshake_timeout_s=settings.handshake_timeout_s,
                max_half_open=settings.half_open_handshakes,
                idle_s=settings.idle_socket_s,
                idle_code=CloseCode.IDLE,
                ping_interval_s=settings.ping_interval_s,
                send_timeout_s=settings.send_timeout_s,
                close_timeout_s=settings.close_timeout_s,
            ),
            allowed_origins=frozenset(settings.allowed_origins) or None,
            task_status=task_status,
        )

    def _measure(self, transport: Transport) -> None:
        """Have the figures told at `/metrics` that the parts keep themselves."""
        gauge, counter, totals = self.metrics.gauge, self.metrics.counter, transport.counters
        gauge("cardroom_sockets", "WebSockets that are open.", lambda: transport.connections)
        gauge("cardroom_rooms", "Rooms with a live actor.", lambda: len(self.rooms))
        gauge(
            "cardroom_rooms_quarantined",
            "Rooms that failed too often and are closed off.",
            lambda: len(self.rooms.quarantined()),
        )
        gauge("cardroom_journal_depth", "Units that wait for a commit.", lambda: self.journal.depth)
        gauge(
            "cardroom_pool_waiting",
            "Tasks that wait for a database connection.",
            lambda: self.pool.waiting,
        )
        counter("cardroom_messages_in", "Messages of clients.", lambda: totals.frames_in)
        counter("cardroom_sends", "Ready frames (or runs of them) sent.", lambda: totals.frames_out)
        counter("cardroom_bytes_in", "Bytes from clients.", lambda: totals.bytes_in)
        counter("cardroom_bytes_out", "Bytes to clients.", lambda: totals.bytes_out)
        counter(
            "cardroom_slow_closes",
            "WebSockets closed because they could not keep up.",
            lambda: totals.slow_closes,
        )
        counter(
            "cardroom_handshake_failures",
            "Sockets that never became WebSockets.",
            lambda: totals.handshake_failures,
        )

    def _keep(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        """Keep a part of the edge running, whatever happens to it."""
        self.supervisor.start(
            ChildSpec(
                name=name,
                run=run,
                restart=Restart.PERMANENT,
                intensity=Intensity(restarts=1_000_000),
                on_crash=lambda error, life: self.metrics.restarted(name),
            )
        )

    async def _passivate(self) -> None:
        while True:
            await trio.sleep(PASSIVATION_EVERY_S)
            self.rooms.passivate_idle(self._settings.passivate_after_s)

    def _quarantined(self, room_id: str) -> None:
        log.error("room_quarantined", room_id=room_id)

    def _write_server_file(self) -> None:
        path = self._data_dir / SERVER_FILE
        scratch = path.with_suffix(".tmp")
        # The database's URL may hold a password.
        scratch.touch(mode=0o600)
        scratch.write_bytes(
            msgspec.json.format(
                msgspec.json.encode({"pid": os.getpid(), **self.addresses._asdict()})
            )
        )
        scratch.replace(path)


def _remove_server_file(data_dir: Path) -> None:
    """Remove the file, unless it is that of another server in this folder."""
    path = data_dir / SERVER_FILE
    try:
        told = msgspec.json.decode(path.read_bytes())
    except (FileNotFoundError, msgspec.DecodeError):
        return
    if isinstance(told, dict) and told.get("pid") == os.getpid():
        path.unlink(missing_ok=True)


def _listen(host: str, port: int) -> socket.socket:
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


async def _watch_signals(
    end: trio.Event,
    starting: trio.CancelScope,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """On SIGTERM or SIGINT, set `end` and give up `starting`, which may wait for a database."""
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


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
