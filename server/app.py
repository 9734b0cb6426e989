"""Where the parts are put together, started in order and stopped in order."""

import secrets
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib import import_module
from pathlib import Path

import httpx
import structlog
import trio

from actors.chat import ChatServices
from actors.hub import Hub
from actors.room import RoomServices
from actors.supervisor import ChildSpec, Intensity, Restart, Supervisor
from persistence.connection import TrioConnection
from persistence.errors import Unavailable
from persistence.journal import Journal
from persistence.pool import Connection, Pool, application_name
from protocol.errors import CloseCode
from server.auth.rejoin_book import RejoinBook
from server.auth.tokens import AccessTokens
from server.chat_presence import ChatPresence
from server.chats import Chats
from server.clock import in_ms, now_ms
from server.club import Club
from server.club_database import ClubDatabase
from server.collector import Collections, collect_now_and_then
from server.database_start import await_database
from server.decks import shuffled_deck
from server.figures import tell_figures
from server.framing import framed_event
from server.garbage import left_alone
from server.gateway.gateway import WEBSOCKET_PATH, Gateway
from server.limits import gateway_limits, transport_limits
from server.metrics import Metrics
from server.node import Node
from server.outside import OutsideWrites
from server.presence import Presence
from server.process import StoppedEarly, room_for_sockets, watch_signals
from server.push.worker import PushWorker, push_settings
from server.pusher.wiring import beside, open_pusher
from server.readiness import Readiness
from server.rooms import Rooms
from server.server_file import Addresses, ServerFile
from server.settings import Settings, ensure_jwt_secret
from server.transport import Transport
from server.transport import serve as serve_websockets

log = structlog.stdlib.get_logger(__name__)

MAX_MEMBERS = 10_000
DRAIN_S = 4.0
GOODBYE_S = 2.0
PASSIVATION_EVERY_S = 30.0
SILENT_AFTER_TIMEOUTS = 2
"""A database that has not answered for so many times its time-out is as good as away."""


class Server:
    """All parts of one server, made but not started."""

    def __init__(
        self,
        settings: Settings,
        data_dir: Path,
        server_file: ServerFile,
        node_id: str,
        url: str,
        http_socket: socket.socket,
        ws_socket: socket.socket,
    ) -> None:
        self._settings = settings
        self._data_dir = data_dir
        self._server_file = server_file
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
            self._connect,
            timeout_s=settings.db_timeout_s,
            on_batch=self.metrics.committed,
            on_push=lambda: self.push.nudge(),
        )
        self.push = PushWorker(self.pool, push_settings(settings), self.metrics.push)
        self.hub = Hub(
            encode=framed_event,
            on_presence=self._came_or_went,
            on_drop=lambda *lost: self.gateway.dropped(*lost),
        )
        self.supervisor = Supervisor()
        self.rejoin = RejoinBook(
            self.pool,
            life_ms=in_ms(settings.rejoin_token_ttl_s),
            overlap_ms=in_ms(settings.rejoin_overlap_s),
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
        self.chats = Chats(
            supervisor=self.supervisor,
            services=self._chat_services(),
            intensity=Intensity(settings.restart_intensity, settings.restart_window_s),
            timeout_s=settings.db_timeout_s,
            on_crash=lambda: self.metrics.restarted("chat"),
        )
        self.outside = OutsideWrites(url, self.pool, self.rooms, self.chats, node_id)
        self.club = Club(
            database=ClubDatabase(self.pool, self.readiness),
            rooms=self.rooms,
            chats=self.chats,
            rejoin=self.rejoin,
            readiness=self.readiness,
            touch=lambda room_id, user_id: self.presence.touch(room_id, user_id),
            node_id=node_id,
            starting_balance=settings.starting_balance,
        )

        self.chat_presence = ChatPresence(self.hub, self.club.chats)
        self.readiness.need("database", lambda: self.node.reachable and not self.journal.away)
        self.readiness.tell("rooms", lambda: len(self.rooms))
        self.readiness.tell("quarantined_rooms", lambda: len(self.rooms.quarantined()))
        self.readiness.tell("rigged_decks", lambda: settings.enable_rigged_decks)

    async def run(self, task_status: trio.TaskStatus[Addresses]) -> None:
        """Start everything in order, wait for the end, stop everything in order."""
        collections = Collections()
        self.metrics.registry.register(collections)
        with collections.watched():
            await self._run(task_status)

    async def _run(self, task_status: trio.TaskStatus[Addresses]) -> None:
        async with _for_keys(self._settings) as client, trio.open_nursery() as nursery:
            end = trio.Event()
            with trio.CancelScope() as starting:
                await nursery.start(watch_signals, end, starting)
                transport = await self._start(nursery, client)
            if starting.cancelled_caught:
                log.info("stopped_before_ready")
                raise StoppedEarly
            task_status.started(self.addresses)
            await end.wait()
            await self._stop(transport)
            nursery.cancel_scope.cancel()

    async def _start(self, nursery: trio.Nursery, client: httpx.AsyncClient | None) -> Transport:
        """Start everything in order, until every table goes on and clients are let in."""
        secret = self._settings.jwt_secret or ensure_jwt_secret(self._data_dir)
        access_tokens = AccessTokens.from_settings(self._settings, secret, client)
        self.gateway = Gateway(
            club=self.club,
            access_tokens=access_tokens,
            limits=gateway_limits(self._settings),
            nursery=nursery,
            count=self.metrics.command,
        )
        self.presence = self._presence()
        self.pusher = open_pusher(self._settings, self.gateway, nursery)
        await nursery.start(self.supervisor.run)
        async with trio.open_nursery() as opening:
            opening.start_soon(self._open_http, access_tokens)
            await await_database(
                self.pool, allow_unsafe_durability=self._settings.allow_unsafe_durability
            )
            await nursery.start(self.journal.run)
            await self.node.begin(self.rooms)
        self._keep("outside", self.outside.run)
        self._keep("push", self.push.run)
        nursery.start_soon(self.node.run, self.rooms)
        nursery.start_soon(self.presence.run)
        nursery.start_soon(self.presence.upkeep)
        nursery.start_soon(self._passivate)
        with left_alone():
            # All rooms make their first decision here, if they have not yet.
            transport: Transport = await nursery.start(self._serve_websockets)
        tell_figures(self.metrics, transport, self.rooms, self.journal, self.pool, self.push)
        nursery.start_soon(collect_now_and_then)
        self._server_file.write(self.addresses)
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
        async with trio.open_nursery() as stopping:
            stopping.start_soon(self.rooms.stop, DRAIN_S)
            stopping.start_soon(self.chats.stop, DRAIN_S)
        drained.set()

    def _came_or_went(self, channel: str, user_id: str, present: bool) -> None:
        self.presence.note(channel, user_id, present, at=self.gateway.leaving_since)
        self.chat_presence.note(channel, user_id, present)

    async def _connect(self) -> Connection:
        return await TrioConnection.connect(
            self._url, autocommit=True, application_name=application_name()
        )

    def _room_services(self) -> RoomServices:
        settings = self._settings
        return RoomServices(
            pool=self.pool,
            journal=self.journal,
            hub=self.hub,
            node_id=self.node.id,
            now=now_ms,
            new_deck=shuffled_deck,
            new_token=self.rejoin.mint,
            keep_token=self.rejoin.keep,
            known_token=self.rejoin.known,
            room_lost=lambda room_id: self.gateway.room_lost(room_id),
            decided=self.metrics.decided,
            mailbox_capacity=settings.mailbox_capacity,
            hand_interval_ms=in_ms(settings.hand_interval_s),
            reject_cooldown_ms=in_ms(settings.reject_cooldown_s),
            seat_offer_ms=in_ms(settings.seat_offer_s),
            max_members=MAX_MEMBERS,
            token_life_ms=in_ms(settings.rejoin_token_ttl_s),
            old_token_life_ms=in_ms(settings.rejoin_overlap_s),
            rigging_enabled=settings.enable_rigged_decks,
        )

    def _chat_services(self) -> ChatServices:
        return ChatServices(
            pool=self.pool,
            journal=self.journal,
            hub=self.hub,
            now=now_ms,
            new_unit_id=lambda: secrets.randbits(63),
            decided=self.metrics.decided,
            mailbox_capacity=self._settings.mailbox_capacity,
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
            away_ms=in_ms(settings.disconnect_after_s),
            free_ms=in_ms(settings.free_seat_after_s),
            drop_ms=in_ms(settings.spectator_drop_after_s),
            silent_ms=in_ms(settings.idle_socket_s + 2 * settings.last_seen_flush_s),
            token_life_ms=in_ms(settings.rejoin_token_ttl_s),
            event_retention_ms=settings.event_retention_days * 24 * 60 * 60 * 1000,
        )

    async def _open_http(self, access_tokens: AccessTokens) -> None:
        """Load what HTTP needs, much of it not ours, while the database is waited for; serve."""
        await trio.to_thread.run_sync(import_module, "server.http.serving")
        from server.http.app import create_app
        from server.http.serving import serve_http

        app = await trio.to_thread.run_sync(
            create_app,
            self.club,
            access_tokens,
            self._settings,
            self.metrics,
            self.addresses,
            self.pusher,
        )
        self._keep("http", lambda: serve_http(app, self._http_socket))

    async def _serve_websockets(self, task_status: trio.TaskStatus[Transport]) -> None:
        await serve_websockets(
            [self._ws_socket],
            beside(self.gateway.route, self.pusher),
            transport_limits(self._settings, room_for_sockets()),
            allowed_origins=frozenset(self._settings.allowed_origins) or None,
            task_status=task_status,
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
            self.chats.passivate_idle(self._settings.passivate_after_s)

    def _quarantined(self, room_id: str) -> None:
        log.error("room_quarantined", room_id=room_id)


@asynccontextmanager
async def _for_keys(settings: Settings) -> AsyncIterator[httpx.AsyncClient | None]:
    """Give what fetches an identity provider's keys, where there is one."""
    if settings.jwks_url is None:
        yield None
        return
    async with httpx.AsyncClient() as client:
        yield client
