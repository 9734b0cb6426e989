"""Support chat written with SQL by others: told as if it had been asked, or refused."""

from collections.abc import AsyncIterator

import psycopg
import pytest

from persistence.connection import TrioConnection
from persistence.pool import Connection
from protocol import commands
from protocol.replies import ChatSent
from tests.support.live_chats import STAFF, ChatScene, chat_scene, names
from tests.support.rooms import principal

pytestmark = pytest.mark.fail_after(60)

SAY = "INSERT INTO chat_messages (player_id, sender, message_text) VALUES (%s, %s, %s)"
MESSAGE = "8c9d4d0c-0000-4000-8000-00000000000"


@pytest.fixture
async def scene(database_url: str) -> AsyncIterator[ChatScene]:
    async with chat_scene(database_url) as made:
        await made.club.wallets("ann", "bob")
        made.player("ann")
        yield made


async def session_id(scene: ChatScene, player_id: str = "ann") -> str:
    found: str = await scene.club.one(
        "SELECT id FROM chat_sessions WHERE player_id = %s ORDER BY created_at DESC LIMIT 1",
        player_id,
    )
    return found


# Messages


async def test_a_players_first_message_opens_a_session(scene: ChatScene) -> None:
    await scene.write(SAY, "ann", "player", "help")
    staff, own = await scene.told()
    assert names(staff) == ["new-chat-request"]
    assert staff[0]["message"]["message_text"] == "help"
    assert staff[0]["session"]["initial_message"] == "help"
    assert staff[0]["session"]["player_name"] == staff[0]["message"]["sender_name"] == "Ann"
    assert (staff[0]["session"]["status"], staff[0]["session"]["unread_by_staff"]) == ("waiting", 1)
    assert names(own["ann"]) == ["player-confirmation"]
    assert own["ann"][0]["seq"] == staff[0]["seq"] == staff[0]["message"]["seq"] == 1
    pushed = await scene.row("SELECT kind, body FROM push_notifications")
    assert pushed == {"kind": "chat_request", "body": "help"}


async def test_a_staff_message_answers(scene: ChatScene) -> None:
    sent = await scene.say("ann", "hello")
    await scene.told()
    await scene.write(
        "INSERT INTO chat_messages (session_id, sender, sender_id, message_text) "
        "VALUES (%s, 'staff', 's1', 'hi')",
        sent.session.id,
    )
    staff, own = await scene.told()
    assert names(staff) == ["chat-message-received", "chat-assigned", "chat-status-changed"]
    assert names(own["ann"]) == ["staff-message-received", "chat-assigned", "chat-status-updated"]
    assert [event["seq"] for event in staff] == [event["seq"] for event in own["ann"]] == [2, 3, 4]
    assert (staff[0]["message"]["sender_name"], staff[1]["assigned_staff"]) == ("Staff", "s1")
    row = await scene.row("SELECT * FROM chat_sessions")
    assert (row["status"], row["unread_by_player"], row["seq"]) == ("in_progress", 1, 4)
    assert row["first_reply_at"] is not None


async def test_whoever_answers_under_an_odd_id_breaks_nothing(scene: ChatScene) -> None:
    for number, sender_id in enumerate(("", "x" * 65)):
        await scene.say(player := f"p{number}", "hello")
        await scene.write(
            "INSERT INTO chat_messages (player_id, sender, sender_id, message_text) "
            "VALUES (%s, 'staff', %s, 'hi')",
            player,
            sender_id,
        )
    await scene.told()
    given = "SELECT array_agg(assigned_staff ORDER BY player_id) FROM chat_sessions"
    assert await scene.club.one(given) == [None, "x" * 64]


async def test_a_system_message_is_told_and_answers_nothing(scene: ChatScene) -> None:
    sent = await scene.say("ann", "hello")
    await scene.told()
    await scene.write(SAY, "ann", "system", "closing soon")
    staff, own = await scene.told()
    assert names(staff) == ["chat-message-received"]
    assert own["ann"][0]["message"]["sender"] == "system"
    assert (await scene.state(sent.session.id)).status == "waiting"


async def test_the_same_message_again_is_made_once_by_whichever_way(scene: ChatScene) -> None:
    insert = (
        "INSERT INTO chat_messages (id, player_id, sender, message_text) "
        f"VALUES ('{MESSAGE}1', 'ann', 'player', 'help')"
    )
    await scene.write(insert)
    await scene.write(insert)
    command = commands.ChatSend(message_id=f"{MESSAGE}1", message_text="help")
    reply = await scene.run("ann", command)
    assert isinstance(reply, ChatSent)
    assert (reply.message.id, reply.message.seq) == (f"{MESSAGE}1", 1)
    await scene.write(insert)
    staff, _ = await scene.told()
    assert names(staff) == ["new-chat-request"]


async def test_a_message_for_a_session_that_is_over_goes_to_the_open_one(scene: ChatScene) -> None:
    sent = await scene.say("ann", "one")
    resolve = commands.SetChatStatus(session_id=sent.session.id, status="resolved")
    await scene.run(STAFF, resolve, "staff")
    await scene.told()
    await scene.write(
        "INSERT INTO chat_messages (session_id, sender, message_text) VALUES (%s, 'player', 'two')",
        sent.session.id,
    )
    staff, _ = await scene.told()
    assert names(staff) == ["new-chat-request"]
    assert staff[0]["session"]["id"] != sent.session.id


async def test_seq_orders_what_was_written_by_a_clock_that_is_slow(scene: ChatScene) -> None:
    first = await scene.say("ann", "first")
    await scene.write(
        'INSERT INTO chat_messages (player_id, sender, message_text, "timestamp") '
        "VALUES ('ann', 'player', 'second', '2001-01-01Z'), "
        "('ann', 'player', 'third', '2999-01-01Z')"
    )
    await scene.told()
    await scene.say("ann", "fourth")
    history = await scene.desk.history(
        ann := principal("ann"), commands.ChatHistory(player_id="ann")
    )
    assert [m.message_text for m in history.messages] == ["first", "second", "third", "fourth"]
    before = commands.ChatHistory(player_id="ann", before=history.messages[2].id)
    page = await scene.desk.history(ann, before)
    assert [m.message_text for m in page.messages] == ["first", "second"]
    assert [m.seq for m in history.messages] == [1, 2, 3, 4]
    assert history.messages[1].timestamp == first.message.timestamp


async def test_receipts_are_told_and_counted(scene: ChatScene) -> None:
    for text in ("a", "b", "c"):
        sent = await scene.say("ann", text)
    await scene.told()
    await scene.write("UPDATE chat_messages SET status = 'received' WHERE message_text = 'c'")
    staff, _ = await scene.told()
    assert (names(staff), staff[0]["receiver"]) == (["chat-received"], "staff")
    await scene.write("UPDATE chat_messages SET status = 'read' WHERE message_text IN ('a', 'b')")
    staff, own = await scene.told()
    assert names(staff) == names(own["ann"]) == ["chat-read"]
    assert (staff[0]["reader"], staff[0]["unread_by_staff"]) == ("staff", 1)
    await scene.write("UPDATE chat_messages SET status = 'sent'")
    assert await scene.told() == ([], {"ann": []})
    await scene.write("UPDATE chat_requests SET unread_by_staff = 0, last_message_at = now()")
    staff, _ = await scene.told()
    assert (staff[0]["message_id"], staff[0]["unread_by_staff"]) == (sent.message.id, 0)
    assert await scene.club.one("SELECT count(*) FROM chat_messages WHERE status = 'read'") == 3


async def test_a_message_read_by_sql_is_read_with_all_before_it(scene: ChatScene) -> None:
    for text in ("a", "b"):
        await scene.say("ann", text)
    await scene.write("UPDATE chat_messages SET status = 'read' WHERE message_text = 'b'")
    await scene.told()
    assert await scene.club.one("SELECT count(*) FROM chat_messages WHERE status = 'read'") == 2
    assert await scene.club.one("SELECT unread_by_staff FROM chat_sessions") == 0


async def test_what_was_said_may_be_corrected_and_deleted(scene: ChatScene) -> None:
    for text in ("a", "b"):
        await scene.say("ann", text)
    await scene.told()
    await scene.write("UPDATE chat_messages SET message_text = 'B' WHERE message_text = 'b'")
    await scene.write("DELETE FROM chat_messages WHERE message_text = 'a'")
    assert await scene.told() == ([], {"ann": []})
    history = await scene.desk.history(principal("ann"), commands.ChatHistory(player_id="ann"))
    assert [m.message_text for m in history.messages] == ["B"]
    assert history.session is not None
    assert history.session.unread_by_staff == 1


async def test_a_message_deleted_before_it_was_told_is_not_told(scene: ChatScene) -> None:
    await scene.write(SAY, "ann", "player", "oops")
    await scene.write("DELETE FROM chat_messages")
    staff, _ = await scene.told()
    assert [(event["type"], event["message"]) for event in staff] == [("new-chat-request", None)]


# Sessions


async def test_a_message_of_no_session_may_be_deleted_as_soon_as_it_is_written(
    scene: ChatScene,
) -> None:
    async with scene.sql.transaction():
        await scene.write(
            "INSERT INTO chat_messages (id, session_id, player_id, sender, message_text) "
            "VALUES (%s, 'never-made', 'ann', 'player', 'x')",
            MESSAGE + "1",
        )
        await scene.write("DELETE FROM chat_messages WHERE id = %s", MESSAGE + "1")
    staff, _ = await scene.told()
    assert [event["message"] for event in staff if "message" in event] == [None]
    await scene.assert_sound()


@pytest.mark.parametrize("relation", ["chat_sessions", "chat_requests"])
async def test_a_session_is_opened_under_either_name(scene: ChatScene, relation: str) -> None:
    await scene.write(
        f"INSERT INTO {relation} (player_id, initial_message, status) "
        "VALUES ('ann', 'help', 'pending')"
    )
    staff, own = await scene.told()
    assert [(event["type"], event["message"]) for event in staff] == [("new-chat-request", None)]
    assert (staff[0]["session"]["status"], staff[0]["session"]["seq"]) == ("waiting", 1)
    assert [(e["type"], e["status"]) for e in own["ann"]] == [("chat-status-updated", "waiting")]
    assert await scene.club.one("SELECT body FROM push_notifications") == "help"


@pytest.mark.parametrize("message_first", [False, True])
async def test_a_session_is_told_with_the_message_that_it_came_with(
    scene: ChatScene, message_first: bool
) -> None:
    statements = [
        "INSERT INTO chat_requests (id, player_id, initial_message) VALUES ('s', 'ann', 'help')",
        "INSERT INTO chat_messages (session_id, player_id, sender, message_text) "
        "VALUES ('s', 'ann', 'player', 'help')",
    ]
    async with scene.sql.transaction():
        for statement in reversed(statements) if message_first else statements:
            await scene.write(statement)
    staff, own = await scene.told()
    assert names(staff) == ["new-chat-request"]
    assert staff[0]["message"]["message_text"] == "help"
    assert (staff[0]["session"]["id"], names(own["ann"])) == ("s", ["player-confirmation"])


async def test_a_second_open_session_is_not_made_and_its_messages_find_the_first(
    scene: ChatScene,
) -> None:
    sent = await scene.say("ann", "hello")
    await scene.told()
    await scene.write("INSERT INTO chat_requests (id, player_id) VALUES ('mine', 'ann')")
    await scene.write(
        "INSERT INTO chat_messages (session_id, player_id, sender, message_text) "
        "VALUES ('mine', 'ann', 'player', 'again')"
    )
    staff, _ = await scene.told()
    assert names(staff) == ["chat-message-received"]
    assert staff[0]["message"]["session_id"] == sent.session.id
    assert await scene.club.one("SELECT count(*) FROM chat_sessions") == 1


@pytest.mark.parametrize("relation", ["chat_sessions", "chat_requests"])
async def test_statuses_are_told_in_either_vocabulary(scene: ChatScene, relation: str) -> None:
    sent = await scene.say("ann", "hello")
    await scene.told()
    for word, status in (
        ("active", "in_progress"),
        ("pending", "waiting"),
        ("in_progress", "in_progress"),
        ("resolved", "resolved"),
        ("waiting", "waiting"),
    ):
        before = (await scene.state(sent.session.id)).status
        await scene.write(f"UPDATE {relation} SET status = %s, updated_at = now()", word)
        staff, own = await scene.told()
        assert [(e["type"], e["from"], e["to"], e["by"]) for e in staff] == [
            ("chat-status-changed", before, status, "system")
        ]
        assert [(e["type"], e["status"]) for e in own["ann"]] == [("chat-status-updated", status)]
        row = await scene.row("SELECT status, resolved_at FROM chat_sessions")
        assert (row["status"], row["resolved_at"] is None) == (status, status != "resolved")


async def test_assignment_takes_into_work_and_urgency_is_told(scene: ChatScene) -> None:
    await scene.say("ann", "hello")
    await scene.told()
    await scene.write("UPDATE chat_requests SET assigned_staff = 's1', urgency = 'high'")
    staff, _ = await scene.told()
    assert names(staff) == ["chat-status-changed", "chat-assigned", "chat-status-changed"]
    assert (staff[0]["from"], staff[0]["to"], staff[0]["urgency"]) == ("waiting", "waiting", "high")
    assert (staff[1]["assigned_staff"], staff[2]["to"]) == ("s1", "in_progress")
    await scene.write("UPDATE chat_requests SET status = 'resolved'")
    await scene.write("UPDATE chat_requests SET assigned_staff = 's2'")
    await scene.told()
    # Not to be had by a command either.
    assert await scene.club.one("SELECT assigned_staff FROM chat_sessions") == "s1"


async def test_a_bygone_session_is_brought_along_as_it_was(scene: ChatScene) -> None:
    await scene.say("ann", "now")
    async with scene.sql.transaction():
        await scene.write(
            "INSERT INTO chat_sessions (id, player_id, status, created_at) "
            "VALUES ('old', 'ann', 'resolved', '2001-01-01Z')"
        )
        for number, sender in enumerate(("player", "staff", "player")):
            await scene.write(
                'INSERT INTO chat_messages (session_id, sender, message_text, "timestamp", status) '
                "VALUES ('old', %s, %s, %s, 'read')",
                sender,
                str(number),
                f"2001-01-01 00:00:0{number}Z",
            )
    await scene.told()
    state = await scene.state("old")
    assert (state.status, state.unread, state.assigned_staff) == ("resolved", {}, None)
    assert await scene.club.one("SELECT count(*) FROM push_notifications") == 1


async def test_a_bulk_is_told_whole(scene: ChatScene) -> None:
    await scene.write(
        "INSERT INTO chat_messages (player_id, sender, message_text) "
        "SELECT 'ann', 'player', n::text FROM generate_series(1, 450) n"
    )
    staff, _ = await scene.told()
    assert [event["message"]["message_text"] for event in staff] == [str(n) for n in range(1, 451)]
    assert [event["seq"] for event in staff] == list(range(1, 451))


# What cannot be told


async def test_what_cannot_be_told_is_refused(scene: ChatScene) -> None:
    sent = await scene.say("ann", "hello")
    await scene.say("bob", "hello")
    for statement in (
        "UPDATE chat_sessions SET id = 'other' WHERE player_id = 'ann'",
        "UPDATE chat_requests SET player_id = 'cat' WHERE player_id = 'ann'",
        "UPDATE chat_sessions SET seq = 9",
        "UPDATE chat_sessions SET outside = 9",
        "UPDATE chat_messages SET seq = 9 WHERE player_id = 'ann'",
        "UPDATE chat_messages SET session_id = 'other'",
        "UPDATE chat_messages SET sender = 'staff'",
        "UPDATE chat_messages SET \"timestamp\" = '2001-01-01Z'",
        "DELETE FROM chat_requests",
        "TRUNCATE chat_messages",
        "TRUNCATE chat_sessions",
        "INSERT INTO chat_messages (sender, message_text) VALUES ('player', 'whose?')",
        "INSERT INTO chat_messages (session_id, player_id, sender, message_text) "
        f"VALUES ('{sent.session.id}', 'bob', 'player', 'x')",
    ):
        assert await scene.refused(statement)
    await scene.told()
    assert await scene.club.one("SELECT count(*) FROM audit_log WHERE source = 'sql'") == 0


async def test_who_wrote_is_noted_without_what_was_said(scene: ChatScene) -> None:
    await scene.write("SET application_name = 'portal'")
    await scene.write(SAY, "ann", "player", "a secret")
    await scene.write("UPDATE chat_requests SET status = 'active'")
    await scene.told()
    noted = await scene.club.one(
        "SELECT string_agg(action || ' ' || (details ->> 'by'), ', ' ORDER BY id) FROM audit_log "
        "WHERE source = 'sql'"
    )
    writer = await scene.club.one("SELECT session_user")
    actions = ("chat_messages.insert", "chat_sessions.insert", "chat_sessions.update")
    assert sorted(noted.split(", ")) == [f"{action} {writer}/portal" for action in actions]
    assert "secret" not in await scene.club.one("SELECT string_agg(a::text, ' ') FROM audit_log a")


# Together with others


async def test_two_who_open_a_session_at_once_are_in_the_same_one(
    scene: ChatScene, database_url: str
) -> None:
    other: Connection = await TrioConnection.connect(database_url, autocommit=True)
    async with other:
        async with scene.sql.transaction():
            await scene.write(SAY, "ann", "player", "one")
            # Who comes second waits for the first, and not for ever.
            async with other.transaction():
                await other.execute("SET LOCAL lock_timeout = '50ms'")
                with pytest.raises(psycopg.errors.LockNotAvailable):
                    async with other.transaction():
                        await other.execute(SAY.encode(), ("ann", "staff", "two"))
        await other.execute(SAY.encode(), ("ann", "staff", "two"))
    staff, _ = await scene.told()
    assert names(staff)[:2] == ["new-chat-request", "chat-message-received"]
    assert await scene.club.one("SELECT count(*) FROM chat_sessions") == 1


async def test_a_command_finds_what_was_written_before_it(scene: ChatScene) -> None:
    sent = await scene.say("ann", "hello")
    await scene.told()
    await scene.write("UPDATE chat_requests SET status = 'resolved'")
    await scene.write(SAY, "ann", "player", "by sql")
    # Nobody was notified: the fence is what tells.
    await scene.say("ann", "by socket")
    staff, _ = await scene.told()
    by_session: dict[str, list[str]] = {
        name: [] for name in (sent.session.id, await session_id(scene))
    }
    for event in staff:
        by_session[event.get("session_id") or event["session"]["id"]].append(event["type"])
    assert by_session[sent.session.id] == ["chat-status-changed"]
    assert by_session[await session_id(scene)] == ["new-chat-request", "chat-message-received"]


async def test_nothing_is_decided_on_what_somebody_has_changed(scene: ChatScene) -> None:
    await scene.say("ann", "hello")
    await scene.told()
    await scene.write("UPDATE chat_requests SET urgency = 'high'")
    reply = await scene.say("ann", "urgent")
    assert reply.session.urgency == "high"
    staff, _ = await scene.told()
    assert names(staff) == ["chat-status-changed", "chat-message-received"]


async def test_of_two_servers_one_tells(scene: ChatScene, database_url: str) -> None:
    async with chat_scene(database_url) as second:
        sent = await scene.say("ann", "hello")
        for number in range(10):
            await scene.write(SAY, "ann", "player", str(number))
            for one in (scene, second):
                await one.sessions.take_up_writes([sent.session.id])
        heard = (await scene.told())[0] + (await second.told())[0]
        seqs = sorted(event["seq"] for event in heard)
        assert seqs == list(range(1, 12))
