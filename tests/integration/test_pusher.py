"""The Pusher-compatible endpoint on real sockets: who is let in where, and what they get."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import trio

from protocol.audience import Told
from protocol.errors import CloseCode
from protocol.events import Event
from protocol.ids import STAFF_PORTAL, UserId, player_channel
from server.pusher.people import user_data_of
from server.pusher.wiring import beside
from server.transport import HandshakeRequest, Refusal, TransportLimits
from tests.integration.pusher_harness import PEOPLE, Client, World, world
from tests.integration.transport_harness import BINARY, PONG, TEXT, dialled, masked, upgrade
from tests.support.patience import PATIENCE_S
from tests.support.pusher import APP, OWN, PLAYER, TOLD

pytestmark = pytest.mark.fail_after(60)


class Unwritable(Event, kw_only=True):
    """An event with which the hub cannot serve its subscribers."""

    thing: object


OTHERS = player_channel(UserId("30"))


# Connecting


async def test_connection_is_established_with_an_id_and_a_timeout() -> None:
    async with world() as club:
        first, second = await club.come(), await club.come()
        assert re.fullmatch(r"\d+\.\d+", first.socket_id)
        assert first.socket_id != second.socket_id
        assert first.activity_timeout_s == 30


@pytest.mark.parametrize(
    ("path", "query", "code"),
    [
        ("/app/another", "protocol=7", 4001),
        ("/app/", "protocol=7", 4001),
        ("", "client=js", 4008),
        ("", "protocol=4", 4007),
        ("", "protocol=8", 4007),
        ("", "protocol=seven", 4006),
    ],
)
async def test_wrong_key_or_version_is_told_and_closed_for_good(
    path: str, query: str, code: int
) -> None:
    async with world() as club:
        assert await (await club.dial(path, query)).ended() == (code, code)
        assert len(club.endpoint) == 0


async def test_other_paths_are_those_of_the_other_endpoint() -> None:
    async with world() as club, dialled(club.port) as peer:
        await peer.send(upgrade(f"/app/{APP.key}/more?protocol=7"))
        assert (await peer.read_head()).startswith("HTTP/1.1 404 ")


async def test_without_an_app_the_other_endpoint_is_alone() -> None:
    def elsewhere(request: HandshakeRequest) -> Refusal:
        return Refusal(404, "There is nothing here.")

    assert beside(elsewhere, None) is elsewhere


@pytest.mark.parametrize(
    ("token", "code"),
    [("nonsense", 4009), ("away", 4100)],
    ids=["a bad token does not come back", "one that cannot be checked comes back"],
)
async def test_token_that_lets_nobody_in_ends_the_connection(token: str, code: int) -> None:
    async with world() as club:
        assert await (await club.dial(token=token)).ended() == (code, code)


async def test_messages_ahead_of_the_token_wait_for_it() -> None:
    async with world() as club:
        client = await club.dial(token="paul")
        await client.send("pusher:subscribe", {"channel": OWN})
        await client.greeted()
        assert (await client.told())["channel"] == OWN


async def test_user_has_so_many_sockets_on_all_endpoints() -> None:
    async with world(per_user=2) as club:
        assert club.per_user.enter(PLAYER)  # a socket of another endpoint
        first = await club.come("paul")
        assert await (await club.dial(token="paul")).ended() == (4004, 4004)
        await club.come("other")
        await first.peer.stream.aclose()
        await _gone(club, 1)
        await club.come("paul")


async def _gone(club: World, left: int) -> None:
    while len(club.endpoint) > left:
        await trio.testing.wait_all_tasks_blocked(0.001)


async def test_oldest_socket_of_nobody_makes_way() -> None:
    async with world(max_unknown=2) as club:
        oldest, _ = await club.come(), await club.come()
        await club.come("paul")  # is somebody as soon as the token is checked
        assert await oldest.ended() == (4100, 4100)


# Staying


async def test_ping_is_answered() -> None:
    async with world() as club:
        await (await club.come()).nothing_else()


async def test_silent_client_is_pinged_and_stays_by_answering() -> None:
    limits = TransportLimits(
        handshake_timeout_s=PATIENCE_S, ping_interval_s=0.05, idle_s=PATIENCE_S, idle_code=4000
    )
    async with world(limits) as club:
        client = await club.come()
        for _ in range(2):
            assert (await client.told())["event"] == "pusher:ping"
            await client.send("pusher:pong")


async def test_client_that_answers_no_ping_is_closed_so_that_it_comes_back() -> None:
    limits = TransportLimits(
        handshake_timeout_s=PATIENCE_S, idle_s=0.1, idle_code=CloseCode.IDLE, ping_interval_s=60
    )
    async with world(limits) as club:
        client = await club.come()
        await client.peer.send(masked(PONG))  # of the WebSocket: no sign of life of its user's
        assert (await client.peer.read_close())[0] == 4201


async def test_restart_closes_so_that_clients_come_back_at_once() -> None:
    async with world() as club:
        client = await club.come("paul")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(club.transport.close_all, CloseCode.RESTARTING, "restart", 1.0)
            assert (await client.peer.read_close())[0] == 4200


async def test_client_that_cannot_keep_up_is_closed_and_comes_back_after_a_while() -> None:
    async with world() as club:
        client = await club.come("paul")
        await client.subscribed(OWN)
        club.hub.publish(OWN, [Told(Unwritable(channel=OWN, thing=object()))])
        assert (await client.peer.read_close())[0] == 4100
        await _gone(club, 0)


# Messages


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "7",
        '"pusher:ping"',
        "{}",
        '{"event":7}',
        '{"event":"pusher:subscribe"}',
        '{"event":"pusher:subscribe","data":7}',
        '{"event":"pusher:subscribe","data":"{"}',
        '{"event":"pusher:subscribe","data":{"channel":7}}',
        '{"event":"pusher:unsubscribe","data":{}}',
        '{"event":"pusher:signin","data":[]}',
        '{"event":"pusher:nothing"}',
        '{"event":"pusher_internal:subscription_succeeded","data":{}}',
        '{"event":"waitlist_update","channel":"player-29","data":{}}',
        '{"event":"pusher:subscribe","data":{"channel":"\\ud800"}}',
        '{"event":"client-x","data":"\\ud800 and more text behind it"}',
        "[" * 5000,
    ],
)
async def test_message_that_is_none_is_told_and_harms_nothing(text: str) -> None:
    async with world() as club:
        client = await club.come()
        await client.peer.send(masked(TEXT, text.encode()))
        assert (await client.told())["event"] == "pusher:error"
        await client.nothing_else()


async def test_binary_frames_are_not_supported() -> None:
    async with world() as club:
        client = await club.come()
        await client.peer.send(masked(BINARY, b"{}"))
        assert (await client.peer.read_close())[0] == 1003


async def test_too_many_messages_are_refused_and_far_too_many_end_it() -> None:
    async with world(commands_per_s=0.001, command_burst=3) as club:
        client = await club.come("paul")
        for _ in range(7):
            await client.send("pusher:ping")
        events = [await client.told() for _ in range(6)]
        assert [one["event"] for one in events] == ["pusher:pong"] * 3 + ["pusher:error"] * 3
        assert events[-1]["data"]["code"] == 4301
        assert (await client.peer.read_close())[0] == 4100


async def test_bug_in_checking_a_token_ends_that_socket_only() -> None:
    async with world() as club:
        other = await club.come()
        broken = await club.dial(token="broken")
        assert (await broken.peer.read_close())[0] == 4200
        await other.nothing_else()


# Channels


async def test_token_gives_ones_own_channels_and_no_others() -> None:
    async with world() as club:
        paul, sue = await club.come("paul"), await club.come("sue")
        await paul.subscribed(OWN)
        await sue.subscribed(STAFF_PORTAL)
        await sue.subscribed("player-sue")
        for client, name in [
            (paul, STAFF_PORTAL),
            (paul, OTHERS),
            (paul, f"{OWN}0"),
            (paul, "player-2"),
            (paul, "#server-to-user-30"),
            (paul, "room:r1"),
            (paul, "presence-staff-portal"),
            (sue, OWN),
        ]:
            assert await client.refused(name) == 403
        assert dict(club.endpoint.channels()) == {OWN: 1, STAFF_PORTAL: 1, "player-sue": 1}


async def test_without_a_token_there_are_no_plain_names() -> None:
    async with world() as club:
        client = await club.come()
        for name in (OWN, STAFF_PORTAL, OTHERS, "player-nobody", "#server-to-user-29"):
            assert await client.refused(name) == 401
        await client.private(f"private-{OWN}")
        assert await client.refused(OWN) == 401


async def test_private_names_want_a_signature_of_just_this_socket_and_channel() -> None:
    async with world() as club:
        client, another = await club.come("paul"), await club.come("paul")
        name = f"private-{OWN}"
        good = APP.channel_auth(client.socket_id, name)
        for auth in (
            "",
            "nonsense",
            good.partition(":")[2],
            good[:-1],
            "schlüssel:" + good.partition(":")[2],
            APP.channel_auth(another.socket_id, name),
            APP.channel_auth(client.socket_id, "private-staff-portal"),
            APP.user_auth(client.socket_id, '{"id":"29"}'),
        ):
            assert await client.refused(name, auth) == 401
        await client.subscribed(name, good)
        assert await client.refused("private-staff-portal", good) == 401


async def test_signature_covers_the_data_that_comes_with_it() -> None:
    async with world() as club:
        client = await club.come()
        name, data = "private-staff-portal", '{"user_id":"sue"}'
        auth = APP.channel_auth(client.socket_id, name, data)
        assert await client.refused(name, auth) == 401
        await client.subscribed(name, auth, channel_data=data)


async def test_socket_stays_that_of_one_user() -> None:
    async with world() as club:
        client = await club.come()
        await client.private(f"private-{OWN}")
        name = f"private-{OTHERS}"
        assert await client.refused(name, APP.channel_auth(client.socket_id, name)) == 403
        await client.send("pusher:signin", {"token": "other"})
        assert await client.ended() == (4009, 4009)


async def test_subscribing_twice_is_answered_twice_and_tells_once() -> None:
    async with world() as club:
        client = await club.come("paul")
        await client.subscribed(OWN)
        await client.subscribed(OWN)
        club.offer_seat()
        assert (await client.told())["event"] == "seat_offered"
        await client.nothing_else()


async def test_both_names_of_a_channel_are_told_each() -> None:
    async with world() as club:
        client = await club.come("paul")
        await client.subscribed(OWN)
        await client.private(f"private-{OWN}")
        club.offer_seat()
        told = [await client.told() for _ in range(2)]
        assert [one["channel"] for one in told] == [OWN, f"private-{OWN}"]


async def test_nothing_is_told_after_unsubscribing() -> None:
    async with world() as club:
        client = await club.come("paul")
        await client.subscribed(OWN)
        await client.send("pusher:unsubscribe", {"channel": OWN})
        await client.nothing_else()
        club.offer_seat()
        await client.nothing_else()
        assert not club.endpoint.channels()


async def test_user_is_there_while_a_subscribed_socket_is() -> None:
    async with world() as club:
        client, signed = await club.come("paul"), await club.come()
        assert not club.hub.connected(OWN, PLAYER)
        await client.subscribed(OWN)
        await signed.private(f"private-{OWN}")
        await client.peer.stream.aclose()
        await _gone(club, 1)
        assert club.hub.connected(OWN, PLAYER)
        await signed.peer.stream.aclose()
        await _gone(club, 0)
        assert not club.hub.connected(OWN, PLAYER)
        assert not club.endpoint.channels()


async def test_staff_who_were_given_a_signature_here_are_known_by_it() -> None:
    async with world() as club:
        client = await club.come()
        auth = club.endpoint.authorize(PEOPLE["sue"], client.socket_id, "private-staff-portal")
        assert auth is not None
        await client.subscribed("private-staff-portal", auth)
        assert club.hub.connected(STAFF_PORTAL, "sue")


# Signing in


async def test_sign_in_with_an_access_token() -> None:
    async with world() as club:
        client = await club.come()
        await client.send("pusher:signin", {"token": "sue"})
        told = await client.told()
        assert told["event"] == "pusher:signin_success"
        assert json.loads(told["data"]["user_data"])["id"] == "sue"
        await client.subscribed(STAFF_PORTAL)


async def test_sign_in_with_a_signature() -> None:
    async with world() as club:
        client = await club.come()
        data = user_data_of(PEOPLE["paul"])
        auth = APP.user_auth(client.socket_id, data)
        await client.send("pusher:signin", {"auth": auth, "user_data": data})
        told = await client.told()
        assert told == {"event": "pusher:signin_success", "data": {"user_data": data}}
        await client.subscribed(OWN)
        await client.subscribed("#server-to-user-29")
        assert await client.refused(STAFF_PORTAL) == 403


@pytest.mark.parametrize(
    "data",
    [
        {"token": "nonsense"},
        {"auth": "nonsense", "user_data": '{"id":"29"}'},
        {"user_data": '{"id":"29"}'},
        {},
    ],
)
async def test_sign_in_that_proves_nothing_ends_the_connection(data: dict[str, str]) -> None:
    async with world() as club:
        client = await club.come()
        await client.send("pusher:signin", data)
        assert await client.ended() == (4009, 4009)


@pytest.mark.parametrize(
    "data", ["{}", '{"id":29}', '{"id":""}', "7", "{", '{"id":"%s"}' % ("x" * 65)]
)
async def test_signed_data_without_a_user_signs_nobody_in(data: str) -> None:
    async with world() as club:
        client = await club.come()
        auth = APP.user_auth(client.socket_id, data)
        await client.send("pusher:signin", {"auth": auth, "user_data": data})
        assert await client.ended() == (4009, 4009)


async def test_signing_in_makes_good_the_subscriptions_before_it() -> None:
    async with world() as club:
        client = await club.come()
        for name in (OWN, STAFF_PORTAL, OTHERS, "#server-to-user-29"):
            assert await client.refused(name) == 401
        await client.send("pusher:unsubscribe", {"channel": "#server-to-user-29"})
        await client.send("pusher:signin", {"token": "paul"})
        assert (await client.told())["event"] == "pusher:signin_success"
        answer = await client.told()
        assert answer["event"] == "pusher_internal:subscription_succeeded"
        assert answer["channel"] == OWN
        await client.nothing_else()


# Events


async def test_every_event_of_chat_reaches_whose_it_is_and_nobody_else() -> None:
    async with world() as club:
        paul, other, sue = [await club.come(who) for who in ("paul", "other", "sue")]
        await paul.subscribed(OWN)
        await other.subscribed(OTHERS)
        await sue.subscribed(STAFF_PORTAL)
        for told in TOLD:
            club.hub.publish(told.event.channel, [Told(told.event)])
            client = sue if told.event.channel == STAFF_PORTAL else paul
            got = [await client.told() for _ in told.names]
            assert tuple(one["event"] for one in got) == told.names
            assert all(one["data"]["seq"] == told.event.seq for one in got)
        for client in (paul, other, sue):
            await client.nothing_else()


async def test_back_end_publishes_to_whom_it_names_but_not_to_the_socket_that_asked() -> None:
    async with world() as club:
        first, second, sue = [await club.come(who) for who in ("paul", "paul", "sue")]
        await first.subscribed(OWN)
        await second.private(f"private-{OWN}")
        await sue.subscribed(STAFF_PORTAL)
        names = [OWN, f"private-{OWN}", "unknown"]
        club.endpoint.publish_to(names, "welcome", '"hi"', first.socket_id)
        told = await second.told()
        assert told == {"event": "welcome", "channel": f"private-{OWN}", "data": "hi"}
        club.endpoint.publish_to([STAFF_PORTAL], "note", "{}", None)
        assert (await sue.told())["event"] == "note"
        for client in (first, second, sue):
            await client.nothing_else()


# Events of clients


async def _pair(club: World) -> tuple[Client, Client]:
    clients = await club.come("paul"), await club.come("paul")
    for client in clients:
        await client.private(f"private-{OWN}")
    return clients


async def test_event_of_a_client_reaches_the_others_of_its_private_channel() -> None:
    async with world() as club:
        first, second = await _pair(club)
        await first.send("client-typing", {"on": True}, channel=f"private-{OWN}")
        told = await second.told()
        assert told == {"event": "client-typing", "channel": f"private-{OWN}", "data": {"on": True}}
        await first.nothing_else()


@pytest.mark.parametrize(
    ("channel", "event", "data"),
    [
        (OWN, "client-typing", {}),
        (f"private-{OTHERS}", "client-typing", {}),
        ("private-staff-portal", "client-typing", {}),
        ("", "client-typing", {}),
        (f"private-{OWN}", "client-" + "x" * 200, {}),
        (f"private-{OWN}", "client-typing", "x" * 11_000),
    ],
)
async def test_event_of_a_client_is_rejected_elsewhere(channel: str, event: str, data: Any) -> None:
    async with world() as club:
        first, second = await _pair(club)
        await first.subscribed(OWN)
        await first.send(event, data, channel=channel)
        told = await first.told()
        assert (told["event"], told["data"]["code"]) == ("pusher:error", 4301)
        await second.nothing_else()
