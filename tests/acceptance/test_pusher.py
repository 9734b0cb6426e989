"""Existing portals: the npm packages `pusher-js` and `pusher` as they are, in Node."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import msgspec
import pytest
import trio

from bench.outside import connected
from bench.server_process import ServerProcess
from protocol.ids import STAFF_PORTAL
from tests.acceptance.people import PLAY
from tests.support.node import ROOT, Node, node_modules, running
from tests.support.pusher import APP, OWN, PLAYER, SETTINGS, TOLD
from tests.support.served import PATIENT, serving, web

pytestmark = pytest.mark.fail_after(120)

SOCKETS = 3
SNIPPETS = re.findall(r"^```js\n(.*?)^```$", (ROOT / "docs" / "pusher.md").read_text(), re.S | re.M)


@pytest.fixture(scope="session")
def modules() -> Path:
    return node_modules()


@pytest.fixture(scope="module")
def server(modules: Path) -> Iterator[ServerProcess]:
    ours = {f"CARDROOM_{name.upper()}": value for name, value in SETTINGS.items()}
    with serving(PATIENT | ours | {"CARDROOM_SOCKETS_PER_USER": str(SOCKETS)}) as server:
        yield server
        errors = [line for line in server.log().splitlines() if '"level":"error"' in line]
        assert not errors, errors
        assert APP.secret not in server.log()


@pytest.fixture
async def node(modules: Path) -> AsyncIterator[Node]:
    async with running(modules) as node:
        yield node


def bearer(server: ServerProcess, user: str) -> dict[str, str]:
    """Return the headers with which a portal speaks for a user; ``sue`` is staff."""
    token = server.token(user, role="staff" if user == "sue" else "player")
    return {"Authorization": f"Bearer {token}"}


async def connect(
    node: Node, server: ServerProcess, user: str, *, client: str = "", signin: bool = True
) -> str:
    """Connect a portal of a user and sign in; return the name that it has in reports."""
    client = client or user
    headers = bearer(server, user)
    options = {
        "cluster": "club",
        "wsHost": "127.0.0.1",
        "wsPort": urlsplit(server.ws_url).port,
        "forceTLS": False,
        "enabledTransports": ["ws"],
        "channelAuthorization": {"endpoint": f"{server.http_url}/pusher/auth", "headers": headers},
        "userAuthentication": {
            "endpoint": f"{server.http_url}/pusher/user-auth",
            "headers": headers,
        },
    }
    await node.do("connect", client=client, key=APP.key, options=options)
    await node.told("state", client=client, state="connected")
    if signin:
        await node.do("signin", client=client)
        await node.told("signed_in", client=client)
    return client


async def subscribe(node: Node, client: str, *channels: str) -> None:
    """Subscribe to channels that one may have."""
    for channel in channels:
        await node.do("subscribe", client=client, channel=channel)
        await heard(node, client, channel, "pusher:subscription_succeeded")


async def refused(node: Node, client: str, channel: str) -> int:
    """Subscribe to a channel that one may not have; return the status."""
    await node.do("subscribe", client=client, channel=channel)
    event = await heard(node, client, channel, "pusher:subscription_error")
    return int(event["status"])


async def heard(node: Node, client: str, channel: str, event: str, after: int = 0) -> Any:
    """Wait for an event and return its data."""
    report = await node.told("event", after=after, client=client, channel=channel, event=event)
    return report["data"]


async def back_end(node: Node, server: ServerProcess, secret: str = APP.secret) -> None:
    """Let the process be a back end too."""
    port = str(urlsplit(server.http_url).port)
    await node.do("backend", appId=APP.id, key=APP.key, secret=secret, host="127.0.0.1", port=port)


async def call(node: Node, method: str, *args: Any) -> Any:
    """Call the back end's library and return status and body."""
    before = len(node.reports)
    await node.do("call", method=method, args=list(args))
    answer = await node.told("answer", after=before)
    return answer["status"], answer["body"]


async def trigger(node: Node, channel: str, event: str, data: object, **params: str) -> None:
    """Publish an event as an existing back end does."""
    assert await call(node, "trigger", channel, event, data, params) == (200, "{}")


async def test_waitlist_reaches_players_and_staff(server: ServerProcess, node: Node) -> None:
    paul, sue = await connect(node, server, PLAYER), await connect(node, server, "sue")
    await subscribe(node, paul, OWN)
    await subscribe(node, sue, STAFF_PORTAL, "private-staff-portal")
    async with web(server, "host") as host, web(server, PLAYER) as player:
        made = (await host.post("/api/rooms", json=PLAY)).json()
        room_id = made["room"]["id"]
        answer = await player.post(
            "/api/seat-requests", json={"playerId": PLAYER, "tableId": room_id}
        )
        entry = answer.json()["entry"]
        assert (await heard(node, paul, OWN, "seat_offered"))["entry_id"] == entry["id"]
        for channel in (STAFF_PORTAL, "private-staff-portal"):
            update = await heard(node, sue, channel, "waitlist_update")
            assert (update["type"], update["player_id"]) == ("player_joined", PLAYER)
            assert update["table_id"] == room_id
        await player.delete(f"/api/seat-requests/{entry['id']}")
        await heard(node, paul, OWN, "waitlist_ended")


async def test_conversation_reaches_both_sides_under_all_names(
    server: ServerProcess, node: Node
) -> None:
    paul, sue = await connect(node, server, PLAYER), await connect(node, server, "sue")
    await subscribe(node, sue, STAFF_PORTAL)
    await subscribe(node, paul, OWN)
    async with (
        connected(server.ws_url, token=server.token(PLAYER)) as player,
        connected(server.ws_url, token=server.token("sue", role="staff")) as staff,
    ):
        ids = [str(uuid4()) for _ in range(3)]
        sent = await player.ask("chat_send", message_id=ids[0], message_text="Is there a seat?")
        session = {"session_id": sent["session"]["id"]}
        await player.ask("chat_send", message_id=ids[1], message_text="Hello?")
        await staff.ask("chat_received", message_id=ids[1], **session)
        await staff.ask("chat_read", **session)
        await staff.ask("chat_send", message_id=ids[2], message_text="In a minute.", **session)
        await player.ask("chat_received", message_id=ids[2], **session)
        await player.ask("chat_read", **session)
        await player.ask("chat_typing", **session)
        await staff.ask("chat_typing", **session)
        await staff.ask("chat_status", status="resolved", **session)
        for client, channel in ((sue, STAFF_PORTAL), (paul, OWN)):
            names = {name for told in TOLD if told.event.channel == channel for name in told.names}
            # Who is there is told of conversations that were open before.
            for name in names - {"chat-online"}:
                await heard(node, client, channel, name)
    for channel, client, name, said in (
        (STAFF_PORTAL, sue, "new-player-message", ids[:2]),
        (OWN, paul, "new-gre-message", ids[2:]),
        (OWN, paul, "chat-message-received", ids[2:]),
        (OWN, paul, "message-sent", ids[:2]),
    ):
        told = [data for event, data in node.events(client, channel) if event == name]
        assert [data["message"]["id"] for data in told] == said
        assert all(data["session_id"] == session["session_id"] for data in told)


async def test_portal_that_listens_makes_its_user_online(server: ServerProcess, node: Node) -> None:
    async with (
        web(server, "31") as player,
        connected(server.ws_url, token=server.token("sue", role="staff")) as staff,
    ):
        body = {"playerId": "31", "messageText": "Anybody?"}
        assert (await player.post("/api/unified-chat/send", json=body)).status_code == 200

        async def online() -> bool:
            [session] = (await staff.ask("chat_inbox", player_id="31"))["sessions"]
            return bool(session["player_online"])

        portal = await connect(node, server, "31")
        assert not await online()
        await subscribe(node, portal, "player-31")
        assert await online()


async def test_every_event_of_chat_comes_from_a_back_end_too(
    server: ServerProcess, node: Node
) -> None:
    paul, sue = await connect(node, server, PLAYER), await connect(node, server, "sue")
    await subscribe(node, paul, OWN)
    await subscribe(node, sue, STAFF_PORTAL)
    await back_end(node, server)
    wanted: dict[str, list[tuple[str, Any]]] = {OWN: [], STAFF_PORTAL: []}
    batch = []
    for told in TOLD:
        data = msgspec.to_builtins(told.event)
        for name in told.names:
            wanted[told.event.channel].append((name, data))
            batch.append({"channel": told.event.channel, "name": name, "data": data})
    for at in range(0, len(batch), 10):
        assert await call(node, "triggerBatch", batch[at : at + 10]) == (200, "{}")
    for client, channel in ((paul, OWN), (sue, STAFF_PORTAL)):
        await trigger(node, channel, "last", {})
        await heard(node, client, channel, "last")
        got = [one for one in node.events(client, channel) if not one[0].startswith("pusher:")]
        assert got[:-1] == wanted[channel]


async def test_nobody_hears_other_peoples_channels(server: ServerProcess, node: Node) -> None:
    otto = await connect(node, server, "30")
    nobody = await connect(node, server, "30", client="nobody", signin=False)
    await back_end(node, server)
    others = [OWN, STAFF_PORTAL, f"private-{OWN}", "private-staff-portal"]
    for channel in others:
        assert await refused(node, otto, channel) == 403
    for channel in (*others[:2], "player-30"):
        assert await refused(node, nobody, channel) == 401
    await subscribe(node, otto, "player-30")
    for channel in others:
        await trigger(node, channel, "secret", {"for": "its owner"})
    await trigger(node, "player-30", "last", {})
    await heard(node, otto, "player-30", "last")
    assert not [one for one in node.reports if one.get("event") == "secret"]


async def test_back_end_publishes_looks_and_signs(server: ServerProcess, node: Node) -> None:
    first = await connect(node, server, PLAYER)
    second = await connect(node, server, PLAYER, client="second")
    await subscribe(node, first, OWN)
    await subscribe(node, second, f"private-{OWN}")
    await back_end(node, server)
    socket_id = (await node.told("state", client=first, state="connected"))["socket_id"]
    async with connected(server.ws_url, token=server.token(PLAYER)) as native:
        await trigger(node, OWN, "welcome", {"table": "Vegas"}, socket_id=socket_id)
        assert await heard(node, second, f"private-{OWN}", "welcome") == {"table": "Vegas"}
        told = await native.event_of("published", name="welcome")
        assert (told["channel"], json.loads(told["data"])) == (OWN, {"table": "Vegas"})
    status, _ = await call(node, "sendToUser", PLAYER, "hello", {"you": PLAYER})
    assert status == 200
    told = await node.told("user", client=first, event="hello")
    assert told["data"] == {"you": PLAYER}
    assert "welcome" not in dict(node.events(first, OWN))

    request = {
        "path": "/channels",
        "params": {"filter_by_prefix": "p", "info": "subscription_count"},
    }
    status, body = await call(node, "get", request)
    one = {"subscription_count": 1}
    assert (status, json.loads(body)) == (200, {"channels": {OWN: one, f"private-{OWN}": one}})
    status, body = await call(node, "get", {"path": "/channels/player-30"})
    assert json.loads(body) == {"occupied": False}

    name = f"private-{OWN}"
    _, signed = await call(node, "authorizeChannel", socket_id, name)
    assert signed == {"auth": APP.channel_auth(socket_id, name)}
    _, signed = await call(node, "authenticateUser", socket_id, {"id": PLAYER})
    assert signed["auth"] == APP.user_auth(socket_id, signed["user_data"])


async def test_back_end_with_another_secret_is_told_why_not(
    server: ServerProcess, node: Node
) -> None:
    await back_end(node, server, secret="not the secret")
    answer = await call(node, "trigger", STAFF_PORTAL, "note", {})
    assert answer == (401, "Invalid signature.")


async def test_clients_send_each_other_events_on_their_private_channel(
    server: ServerProcess, node: Node
) -> None:
    first = await connect(node, server, PLAYER, signin=False)
    second = await connect(node, server, PLAYER, client="second", signin=False)
    for client in (first, second):
        await subscribe(node, client, f"private-{OWN}")
    data = {"typing": True}
    await node.do(
        "trigger", client=first, channel=f"private-{OWN}", event="client-typing", data=data
    )
    assert await heard(node, second, f"private-{OWN}", "client-typing") == data


async def test_wrong_key_makes_the_portal_give_up(server: ServerProcess, node: Node) -> None:
    port = urlsplit(server.ws_url).port
    options = {"cluster": "c", "wsHost": "127.0.0.1", "wsPort": port, "forceTLS": False}
    await node.do("connect", client="lost", key="another", options=options)
    error = await node.told("error", client="lost")
    assert error["error"]["error"]["data"]["code"] == 4001
    await node.told("state", client="lost", state="disconnected")


async def test_sockets_of_all_endpoints_count_as_the_users(
    server: ServerProcess, node: Node
) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(SOCKETS):
            socket = connected(server.ws_url, token=server.token("crowd"))
            await stack.enter_async_context(socket)
        await connect(node, server, "crowd", signin=False)
        await node.do("signin", client="crowd")
        error = await node.told("error", client="crowd")
        assert error["error"]["data"]["code"] == 4004
        await node.told("state", client="crowd", state="disconnected")


async def test_portal_comes_back_after_a_killed_server_and_goes_on(
    tmp_path: Path, database_url: str, node: Node
) -> None:
    with _port() as ws_port, _port() as http_port:
        ports = {"ws_port": str(ws_port), "http_port": str(http_port)}
    settings = {**SETTINGS, **ports, "jwt_secret": "a secret that is long enough for HS256"}
    environment = PATIENT | {f"CARDROOM_{name.upper()}": text for name, text in settings.items()}
    server = ServerProcess(tmp_path / "data", environment | {"DATABASE_URL": database_url})
    try:
        await server.start()
        paul = await connect(node, server, PLAYER)
        await subscribe(node, paul, OWN, f"private-{OWN}")
        await back_end(node, server)
        before = len(node.reports)
        await server.kill()
        await server.start()
        # pusher-js tries once after a second, and then every 15.
        for channel in (OWN, f"private-{OWN}"):
            await heard(node, paul, channel, "pusher:subscription_succeeded", after=before)
            await trigger(node, channel, f"back on {channel}", {})
            await heard(node, paul, channel, f"back on {channel}")
        before = len(node.reports)
        await server.stop()
        error = await node.told("error", after=before, client=paul)
        assert error["error"]["data"]["code"] == 4200
        await node.told("state", after=before, client=paul, state="connecting")
    finally:
        with trio.CancelScope(shield=True):
            await server.stop()


class _port:  # noqa: N801 - a context manager, read as a function
    """A port that is free while it is held, and most likely after that."""

    def __enter__(self) -> int:
        self._socket = socket.create_server(("127.0.0.1", 0))
        return int(self._socket.getsockname()[1])

    def __exit__(self, *_: object) -> None:
        self._socket.close()


async def test_snippets_of_the_documentation_run(server: ServerProcess, node: Node) -> None:
    [signed_in, by_token, private, publishing] = SNIPPETS
    ports = {"8001": urlsplit(server.ws_url).port, "8000": urlsplit(server.http_url).port}

    async def run(snippet: str, user: str) -> None:
        for written, real in ports.items():
            snippet = snippet.replace(written, str(real))
        role = "staff" if user == "sue" else "player"
        given = {"accessToken": server.token(user, role=role), "secret": APP.secret}
        await node.do("run", code=snippet, given=given)

    await run(signed_in, PLAYER)
    await run(by_token, "sue")
    await run(private, PLAYER)
    await back_end(node, server)
    for channel in (OWN, STAFF_PORTAL, f"private-{OWN}"):
        await _occupied(node, channel)
    message = {"message": {"message_text": "Coming."}}
    await trigger(node, OWN, "seat_offered", {"seat_index": 3})
    await trigger(node, OWN, "staff-message-received", message)
    await trigger(node, OWN, "new-gre-message", message)
    await trigger(node, STAFF_PORTAL, "waitlist_update", {"type": "moved", "player_name": "Ann"})
    await trigger(node, STAFF_PORTAL, "new-player-message", message)
    await trigger(node, f"private-{OWN}", "chat-status-updated", {"status": "resolved"})
    await trigger(node, f"private-{OWN}", "client-typing", {"typing": True})
    for name, data in [
        ("a seat", 3),
        ("staff", "Coming."),
        ("staff, by its older name", "Coming."),
        ("moved", "Ann"),
        ("player", "Coming."),
        ("status", "resolved"),
        ("another of my windows", True),
    ]:
        await node.told("shown", name=name, data=data)
    await run(publishing, "")
    await node.told("shown", name="published", data=200)


async def _occupied(node: Node, channel: str) -> None:
    """Wait until somebody has a channel."""
    while True:
        _, body = await call(node, "get", {"path": f"/channels/{channel}"})
        if json.loads(body)["occupied"]:
            return
