"""Support chat from outside: the stories of players and staff, over bare sockets."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import Any

import pytest
import trio

from bench.outside import JSON, MSGPACK, Message, Outside, connected
from bench.server_process import ServerProcess
from tests.support.served import FAST, rows, serving

pytestmark = pytest.mark.fail_after(120)


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with serving(FAST) as made:
        yield made
        errors = [line for line in made.log().splitlines() if '"level":"error"' in line]
        assert not errors, errors


class Stage:
    """A player of this test, and staff; each has sockets of their own."""

    def __init__(self, server: ServerProcess, nursery: trio.Nursery) -> None:
        self.server = server
        self.player_id = f"player-{uuid.uuid4().hex[:8]}"
        self.over = trio.Event()
        self._nursery = nursery

    async def player(self, user_id: str | None = None, *, coding: str = JSON) -> Outside:
        """Connect a player, the one of the test unless another is named."""
        user_id = user_id or self.player_id
        token = self.server.token(user_id, name=f"Name of {user_id}")
        return await self._connect(token, coding)

    async def staff(self, user_id: str = "anna") -> Outside:
        """Connect somebody of the staff, who looks at the portal."""
        token = self.server.token(user_id, name=user_id.title(), role="staff")
        socket = await self._connect(token)
        await socket.ask("subscribe", channel="staff-portal")
        return socket

    async def _connect(self, token: str, coding: str = JSON) -> Outside:
        async def live(task_status: trio.TaskStatus[Outside] = trio.TASK_STATUS_IGNORED) -> None:
            async with connected(self.server.ws_url, coding=coding, token=token) as socket:
                task_status.started(socket)
                await self.over.wait()

        made: Outside = await self._nursery.start(live)
        return made

    async def begin(self) -> tuple[Outside, Outside, str]:
        """Have the player say something to staff."""
        staff, player = await self.staff(), await self.player()
        return staff, player, (await say(player, "hello"))["session"]["id"]


@pytest.fixture
async def stage(server: ServerProcess) -> AsyncIterator[Stage]:
    async with trio.open_nursery() as nursery:
        made = Stage(server, nursery)
        yield made
        made.over.set()


async def say(socket: Outside, text: str, **fields: Any) -> Message:
    fields = {"message_id": str(uuid.uuid4()), "message_text": text, **fields}
    return await socket.ask("chat_send", **fields)


def kept(socket: Outside, session_id: str, channel: str) -> list[Message]:
    """A conversation's events that a socket got and that are kept, in the order of arrival."""
    return [
        event
        for event in socket.events
        if event["channel"] == channel
        and not event.get("private")
        and session_id in (event.get("session_id"), event.get("session", {}).get("id"))
    ]


async def test_a_first_message_appears_to_staff_as_a_new_chat(stage: Stage) -> None:
    staff, player = await stage.staff(), await stage.player()
    sent = await say(player, "Where is my seat?", urgency="high")
    told = await staff.event(
        lambda e: e["type"] == "new-chat-request" and e["message"]["id"] == sent["message"]["id"]
    )
    session = told["session"]
    assert (session["status"], session["urgency"], session["unread_by_staff"]) == (
        "waiting",
        "high",
        1,
    )
    assert session["player_name"] == f"Name of {stage.player_id}"
    assert session["initial_message"] == told["message"]["message_text"] == "Where is my seat?"
    assert (told["channel"], told["seq"], sent["seq"]) == ("staff-portal", 1, 1)
    confirmed = await player.event_of("player-confirmation", message_id=sent["message"]["id"])
    assert (confirmed["session_id"], confirmed["seq"]) == (session["id"], 1)
    (push,) = rows(
        stage.server,
        "SELECT kind, title, body FROM push_notifications WHERE data->>'session_id' = %s",
        session["id"],
    )
    assert push == {
        "kind": "chat_request",
        "title": f"New chat request from Name of {stage.player_id}"[:84],
        "body": "Where is my seat?",
    }
    listed = (await staff.ask("chat_inbox", player_id=stage.player_id))["sessions"]
    assert [(s["id"], s["player_online"]) for s in listed] == [(session["id"], True)]


async def test_staffs_answer_appears_to_the_player(stage: Stage) -> None:
    staff, player, session_id = await stage.begin()
    answer = await say(staff, "On its way.", session_id=session_id)
    told = await player.event_of("staff-message-received", session_id=session_id)
    assert told["message"]["message_text"] == "On its way."
    assert told["message"]["sender_name"] == "Anna"
    assert answer["session"]["status"] == "in_progress"
    updated = await player.event_of("chat-status-updated", session_id=session_id)
    assert updated["status"] == "in_progress"
    changed = await staff.event_of("chat-status-changed", session_id=session_id)
    assert (changed["from"], changed["to"], changed["by"]) == ("waiting", "in_progress", "anna")
    assigned = await staff.event_of("chat-assigned", session_id=session_id)
    assert assigned["assigned_staff_name"] == "Anna"


async def test_after_the_end_the_next_message_opens_another_chat(stage: Stage) -> None:
    staff, player, session_id = await stage.begin()
    await staff.ask("chat_status", session_id=session_id, status="resolved")
    await player.event_of("chat-status-updated", session_id=session_id, status="resolved")
    sent = await say(player, "One more thing")
    assert sent["session"]["id"] != session_id
    await staff.event(
        lambda e: e["type"] == "new-chat-request" and e["session"]["id"] == sent["session"]["id"]
    )
    listed = (await player.ask("chat_inbox"))["sessions"]
    assert [s["status"] for s in listed] == ["waiting", "resolved"]


async def test_older_words_for_statuses_are_understood(stage: Stage) -> None:
    staff, _, session_id = await stage.begin()
    for word, status in (("active", "in_progress"), ("pending", "waiting")):
        changed = await staff.ask("chat_status", session_id=session_id, status=word)
        assert changed["session"]["status"] == status


async def test_two_staff_who_answer_at_once_are_in_one_order_for_everybody(stage: Stage) -> None:
    anna, player, session_id = await stage.begin()
    bert = await stage.staff("bert")
    second = await stage.player()
    async with trio.open_nursery() as nursery:
        for number in range(10):
            for socket in (anna, bert):
                answer = partial(say, socket, f"answer {number}", session_id=session_id)
                nursery.start_soon(answer)
            nursery.start_soon(say, player, f"question {number}")
    history = await player.ask("chat_history", session_id=session_id)
    last = history["session"]["seq"]
    for socket in (anna, bert, player, second):
        await socket.event(lambda e: e["seq"] == last and session_id == e.get("session_id"))
    orders = [
        [
            (e["seq"], e["message"]["id"])
            for e in kept(socket, session_id, channel)
            if "message" in e
        ]
        for socket, channel in (
            (anna, "staff-portal"),
            (bert, "staff-portal"),
            (player, f"player-{stage.player_id}"),
            (second, f"player-{stage.player_id}"),
        )
    ]
    stored = [(m["seq"], m["id"]) for m in history["messages"]]
    assert orders[0] == orders[2] == stored
    # These came later than the first message.
    assert orders[1] == orders[3] == stored[1:]
    assert len(stored) == 31
    assert [e["seq"] for e in kept(anna, session_id, "staff-portal")] == list(range(1, last + 1))
    own = f"player-{stage.player_id}"
    assert [e["seq"] for e in kept(player, session_id, own)] == list(range(1, last + 1))


async def test_what_a_socket_says_without_waiting_stays_in_its_order(stage: Stage) -> None:
    staff, player, session_id = await stage.begin()
    ids = [str(uuid.uuid4()) for _ in range(40)]
    numbers = [
        await player.post("chat_send", message_id=one, message_text=str(place))
        for place, one in enumerate(ids)
    ]
    replies = [await player.reply_to(number) for number in numbers]
    assert [reply["message"]["id"] for reply in replies] == ids
    history = await player.ask("chat_history", session_id=session_id)
    assert [m["id"] for m in history["messages"]][1:] == ids
    resolving = await staff.post("chat_assign", session_id=session_id)
    resolved = await staff.post("chat_status", session_id=session_id, status="resolved")
    assert (await staff.reply_to(resolving))["session"]["status"] == "in_progress"
    assert (await staff.reply_to(resolved))["session"]["status"] == "resolved"


async def test_both_sides_see_receipts(stage: Stage) -> None:
    staff, player, session_id = await stage.begin()
    message_id = (await say(player, "again"))["message"]["id"]
    await staff.ask("chat_received", message_id=message_id)
    for socket in (staff, player):
        told = await socket.event_of("chat-received", message_id=message_id)
        assert told["receiver"] == "staff"
    read = await staff.ask("chat_read", message_id=message_id)
    assert read["session"]["unread_by_staff"] == 0
    for socket in (staff, player):
        told = await socket.event_of("chat-read", message_id=message_id)
        assert (told["reader"], told["unread_by_staff"]) == ("staff", 0)
    history = await player.ask("chat_history", session_id=session_id)
    assert [m["status"] for m in history["messages"]] == ["read", "read"]


async def test_both_sides_see_typing(stage: Stage) -> None:
    staff, player, session_id = await stage.begin()
    await player.ask("chat_typing")
    told = await staff.event_of("chat-typing", session_id=session_id)
    assert (told["sender"], told["typing"], told["private"]) == ("player", True, True)
    await staff.ask("chat_typing", session_id=session_id, typing=False)
    told = await player.event_of("chat-typing", session_id=session_id)
    assert (told["sender"], told["sender_name"], told["typing"]) == ("staff", "Anna", False)


async def test_staff_see_the_player_come_and_go(stage: Stage) -> None:
    staff, player, session_id = await stage.begin()
    await player.aclose()
    gone = await staff.event_of("chat-online", session_id=session_id, online=False)
    await stage.player()
    after = staff.events.index(gone)
    back = await staff.event_of("chat-online", session_id=session_id, online=True, after=after)
    assert (back["player_id"], back["seq"], back["private"]) == (stage.player_id, 0, True)


async def test_a_player_sees_staff_come_and_go(stage: Stage) -> None:
    player = await stage.player()
    await say(player, "anybody?")
    history = await player.ask("chat_history")
    assert history["staff_online"] is False
    staff = await stage.staff()
    await player.event_of("chat-online", online=True)
    assert (await player.ask("chat_history"))["staff_online"] is True
    await staff.ask("unsubscribe", channel="staff-portal")
    told = await player.event_of("chat-online", online=False)
    assert "player_id" not in told


async def test_a_client_that_comes_back_pages_what_it_missed(stage: Stage) -> None:
    staff, player, session_id = await stage.begin()
    await player.aclose()
    answers = [
        (await say(staff, f"answer {n}", session_id=session_id))["message"]["id"] for n in range(7)
    ]
    player = await stage.player()
    seen: list[str] = []
    before: str | None = None
    while True:
        page = await player.ask("chat_history", limit=3, before=before)
        seen = [m["id"] for m in page["messages"]] + seen
        if not page["more"]:
            break
        before = seen[0]
    assert seen[1:] == answers
    assert page["session"]["unread_by_player"] == 7
    await player.ask("chat_read", message_id=answers[-1])
    sent = await say(player, "thanks")
    assert sent["session"]["unread_by_player"] == 0


async def test_a_message_sent_again_on_another_socket_is_there_once(stage: Stage) -> None:
    _, player, session_id = await stage.begin()
    message_id = str(uuid.uuid4())
    first = await say(player, "once", message_id=message_id)
    again = await say(await stage.player(), "once", message_id=message_id)
    assert again["message"] == first["message"]
    history = await player.ask("chat_history", session_id=session_id)
    assert [m["message_text"] for m in history["messages"]] == ["hello", "once"]


@pytest.mark.parametrize(
    "text",
    ["<img src=x onerror=alert(1)> & \"'", "\x01\x1b[2J\x7f\r\n\u202e", "\U0001f0a1" * 4000],
    ids=["html", "controls", "long"],
)
async def test_texts_arrive_as_they_were_written(stage: Stage, text: str) -> None:
    # As UTF-8 the longest text fits into a frame; Python's JSON would make it three times as long.
    staff, player = await stage.staff(), await stage.player(coding=MSGPACK)
    sent = await say(player, text)
    told = await staff.event(
        lambda e: e["type"] == "new-chat-request" and e["message"]["id"] == sent["message"]["id"]
    )
    assert told["message"]["message_text"] == text
    assert (await player.ask("chat_history"))["messages"][0]["message_text"] == text


@pytest.mark.parametrize("text", ["", "x" * 4001, "a\x00b"])
async def test_texts_that_cannot_be_are_refused_with_the_field(stage: Stage, text: str) -> None:
    player = await stage.player()
    told = await player.refused("chat_send", message_id=str(uuid.uuid4()), message_text=text)
    assert (told["code"], told["details"]["field"]) == ("bad_request", "message_text")


async def test_a_stranger_hears_nothing_of_a_conversation(stage: Stage) -> None:
    """Whatever they try, they cannot even tell that there is one."""
    staff, player = await stage.staff(), await stage.player()
    secret = uuid.uuid4().hex
    sent = await say(player, f"my secret is {secret}")
    session_id, message_id = sent["session"]["id"], sent["message"]["id"]
    stranger = await stage.player(f"stranger-{uuid.uuid4().hex[:6]}")
    nowhere, nothing = str(uuid.uuid4()), str(uuid.uuid4())

    def probes(session: str, message: str) -> list[Message]:
        named = {"session_id": session, "message_id": message}
        return [
            {"type": "chat_send", **named, "message_text": "hi"},
            {"type": "chat_history", "session_id": session},
            {"type": "chat_history", "before": message},
            {"type": "chat_history", "session_id": session, "before": message},
            *({"type": kind, **named} for kind in ("chat_received", "chat_read")),
            *({"type": kind, "message_id": message} for kind in ("chat_received", "chat_read")),
            {"type": "chat_typing", "session_id": session},
            {"type": "chat_status", "session_id": session, "status": "resolved"},
            {"type": "chat_assign", "session_id": session},
        ]

    async def refused(probe: Message) -> Message:
        told = await stranger.refused(**probe)
        return {key: value for key, value in told.items() if key != "re"}

    for there, not_there in zip(
        probes(session_id, message_id), probes(nowhere, nothing), strict=True
    ):
        assert await refused(there) == await refused(not_there), there
    for player_id in (stage.player_id, "nobody-at-all"):
        for kind in ("chat_history", "chat_inbox"):
            told = await stranger.refused(kind, player_id=player_id)
            assert told["code"] == "forbidden"
    for channel in (f"player-{stage.player_id}", "staff-portal", f"chat:{session_id}"):
        told = await stranger.refused("subscribe", channel=channel)
        assert told["code"] in ("forbidden", "bad_request")
    assert (await stranger.ask("chat_inbox"))["sessions"] == []
    # The id of somebody else's message is as good as any.
    own = await say(stranger, "hello", message_id=message_id)
    assert own["session"]["id"] != session_id
    await say(staff, "an answer", session_id=session_id)
    await stranger.ask("heartbeat")
    everything = json.dumps([str(frame) for frame in stranger.frames])
    for hidden in (secret, session_id, "an answer", stage.player_id):
        assert hidden not in everything
    (seen,) = (await staff.ask("chat_inbox", player_id=stage.player_id))["sessions"]
    assert (seen["status"], seen["unread_by_staff"]) == ("in_progress", 1)
