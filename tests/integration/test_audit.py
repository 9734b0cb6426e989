"""The audit finds nothing where nothing is wrong, and each thing that can be wrong by its name."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator

import psycopg
import pytest

from game.poker.variants import VARIANTS
from persistence.audit import MOST_TOLD, REPLAYS, AuditReport, Check, audit, load_checks
from persistence.pool import Pool
from protocol import commands
from protocol.values import SettingsPatch
from tests.support.rooms import HOST
from tests.support.scene import Scene, table

pytestmark = pytest.mark.fail_after(60)


@pytest.fixture
async def scene(database_url: str) -> AsyncIterator[Scene]:
    """A room with raked hands behind it, a player gone, books of every kind, a hand running."""
    async with table(database_url) as made:
        await made.ask(
            HOST, commands.ChangeSettings(settings=SettingsPatch(rake_basis_points=1000))
        )
        await made.hand(quick=False)
        await made.ask("ann", commands.TopUp(amount=300))
        await made.ask(HOST, commands.AdjustChips(user_id="bob", delta=50, reason="gift"))
        await made.sit("dan", 5)
        await made.hand()
        await made.ask("dan", commands.LeaveSeat())
        await made.ask(HOST, commands.Start())
        await made.act("CALL")
        await made.act("RAISE", 60)
        yield made


async def damaged(scene: Scene, *statements: str) -> AuditReport:
    async with scene.club.pool.transaction() as conn:
        # Triggers would set some of it right again.
        await conn.execute("SET LOCAL session_replication_role = replica")
        for statement in statements:
            await conn.execute(statement.encode())
    return await audit(scene.club.pool)


async def test_a_sound_database_has_no_findings_at_any_moment(scene: Scene) -> None:
    async def sound() -> None:
        assert (await audit(scene.club.pool)).findings == []

    await sound()
    await scene.act("CALL")
    await sound()
    await scene.ask("ann", commands.LeaveSeat())
    await sound()
    await scene.ask(HOST, commands.CloseRoom(reason="late"))
    await sound()
    while (await scene.club.one("SELECT count(*) FROM hands WHERE ended_at IS NULL")) > 0:
        await scene.act("FOLD")
        await sound()
    assert await scene.club.one("SELECT status FROM rooms") == "closed"
    await sound()


async def test_a_sound_conversation_has_no_findings(scene: Scene) -> None:
    assert (await damaged(scene, *CHAT)).findings == []


async def test_an_empty_database_adds_up(database_url: str) -> None:
    async with Pool(database_url, size=1, timeout_s=5) as pool:
        report = await audit(pool)
    assert report.clean
    assert report.counts == dict.fromkeys([check.name for check in load_checks()], 0)


FINISHED = "(SELECT id FROM hands WHERE number = 1)"
RUNNING = "(SELECT id FROM hands WHERE ended_at IS NULL)"
NO_PARENT = "ALTER TABLE {0} DROP CONSTRAINT IF EXISTS {0}_room_id_fkey"

CHAT = [
    "INSERT INTO chat_sessions (id, player_id, player_name, seq, unread_by_staff) "
    "VALUES ('s', 'ann', 'Ann', 2, 2)",
    "INSERT INTO chat_messages (id, session_id, player_id, sender, sender_name, message_text, seq) "
    "VALUES ('m1', 's', 'ann', 'player', 'Ann', 'Hello?', 1), "
    "('m2', 's', 'ann', 'player', 'Ann', 'Anybody?', 2)",
    "INSERT INTO commands VALUES (gen_random_uuid(), 'ann', 's', 'chat_read', '{}', now())",
]
"""A conversation as its actor would leave it."""

DAMAGE: list[tuple[str, str, list[str]]] = [
    ("chats", "from 1 to 2", [*CHAT, "UPDATE chat_sessions SET seq = 1"]),
    (
        "chats",
        "0 and 2 are said to be unread by player and staff, 0 and 1 are",
        [*CHAT, "UPDATE chat_messages SET status = 'read' WHERE id = 'm1'"],
    ),
    (
        "chats",
        "0 and 2 are said to be unread by player and staff, 1 and 1 are",
        [*CHAT, "UPDATE chat_messages SET sender = 'staff' WHERE id = 'm1'"],
    ),
    ("transfers", "sums to 1", ["UPDATE ledger_entries SET amount = amount + 1 WHERE id = 1"]),
    ("conservation", "chips", ["UPDATE wallets SET balance = balance + 1 WHERE user_id = 'ann'"]),
    ("conservation", "chips", ["UPDATE room_seats SET chips = chips - 1 WHERE user_id = 'ann'"]),
    ("conservation", "chips", ["UPDATE hands SET pot = pot + 7 WHERE ended_at IS NULL"]),
    (
        "wallets",
        "The wallet of ann holds",
        ["UPDATE wallets SET balance = balance + 1 WHERE user_id = 'ann'"],
    ),
    (
        "wallets",
        "The wallet of ann holds None",
        ["DELETE FROM wallets WHERE user_id = 'ann'"],
    ),
    (
        "wallets",
        "The wallet of zoe holds 5, its entries sum to 0",
        ["INSERT INTO wallets VALUES ('zoe', 'Zoe', 5, now())"],
    ),
    (
        "stacks",
        "The stack of eve in room room-1 is 5, its entries sum to 0",
        [
            "INSERT INTO room_seats (room_id, seat_index, user_id, display_name, chips, status, "
            "time_bank_ms, clock_outs, away, sitting_id, last_seen_at) "
            "VALUES ('room-1', 8, 'eve', 'Eve', 5, 'active', 0, 0, false, 's-eve', now())"
        ],
    ),
    (
        "stacks",
        "The stack of ann",
        [f"UPDATE players SET starting_stack = 7 WHERE user_id = 'ann' AND hand_id = {RUNNING}"],
    ),
    (
        "stacks",
        "The stack of dan in room room-1 is 0, its entries sum to",
        ["DELETE FROM ledger_entries WHERE kind = 'cash_out'"],
    ),
    (
        "running_pots",
        "its players have put in",
        ["UPDATE hands SET pot = pot + 7 WHERE ended_at IS NULL"],
    ),
    (
        "running_pots",
        "its players have put in",
        [
            "UPDATE room_seats SET chips = chips + 9 WHERE user_id = 'ann'",
            "UPDATE room_seats SET chips = chips - 8 WHERE user_id = 'bob'",
        ],
    ),
    ("finished_pots", "still holds 7", ["UPDATE hands SET pot = 7 WHERE number = 1"]),
    (
        "pot_accounts",
        "sums to",
        ["DELETE FROM ledger_entries WHERE account = 'pot' AND kind = 'rake'"],
    ),
    (
        "results",
        "the final stack of ann is None",
        [f"UPDATE players SET final_stack = NULL WHERE user_id = 'ann' AND hand_id = {FINISHED}"],
    ),
    (
        "results",
        "has ended: False; the final stack of bob is 3",
        [f"UPDATE players SET final_stack = 3 WHERE user_id = 'bob' AND hand_id = {RUNNING}"],
    ),
    (
        "hand_transfers",
        "the stack of ann changed by",
        [
            "UPDATE players SET final_stack = final_stack + 1 "
            f"WHERE user_id = 'ann' AND hand_id = {FINISHED}"
        ],
    ),
    (
        "hand_transfers",
        "booked is 0",
        ["DELETE FROM ledger_entries WHERE kind = 'hand' AND user_id = 'ann'"],
    ),
    ("rakes", "The rake of hand", ["UPDATE hands SET rake = rake + 1 WHERE number = 1"]),
    ("rakes", "booked is 0", ["DELETE FROM ledger_entries WHERE kind = 'rake'"]),
    ("events", "Room room-1 is at seq", ["DELETE FROM room_events WHERE seq = 5"]),
    (
        "events",
        "Room room-1 is at seq",
        ["DELETE FROM room_events WHERE seq = (SELECT max(seq) FROM room_events)"],
    ),
    ("events", "Room room-1 is at seq", ["UPDATE game_states SET seq = seq - 1"]),
    ("events", "from 0 to", ["UPDATE room_events SET seq = 0 WHERE seq = 1"]),
    (
        "sittings",
        "ann has a seat in room room-1: True; the sitting lasts: False",
        ["UPDATE sittings SET ended_at = now() WHERE user_id = 'ann'"],
    ),
    (
        "sittings",
        "dan has a seat in room room-1: False; the sitting lasts: True",
        ["UPDATE sittings SET ended_at = NULL WHERE user_id = 'dan'"],
    ),
    (
        "running_hands",
        "Room room-1 is waiting and has 2 running hands",
        [
            "DROP INDEX hands_running",
            "UPDATE rooms SET status = 'waiting'",
            "UPDATE hands SET ended_at = NULL WHERE number = 1",
        ],
    ),
    (
        "running_hands",
        "Room room-1 is closed and has 1 running hands",
        ["UPDATE rooms SET status = 'closed'"],
    ),
    (
        "running_players",
        "ann was dealt in at seat 0 and does not sit there",
        ["DELETE FROM room_seats WHERE user_id = 'ann'"],
    ),
    (
        "hand_numbers",
        "has 3 hands, numbered up to 3; its game has counted 4",
        ["UPDATE games SET hands_played = 4"],
    ),
    (
        "hand_numbers",
        "has 3 hands, numbered up to 9; its game has counted 3",
        ["UPDATE hands SET number = 9 WHERE number = 2"],
    ),
    ("actions", "numbered from 1 to", ["DELETE FROM actions WHERE ordinal = 0"]),
    (
        "actions",
        "numbered from 0 to",
        ["UPDATE actions SET ordinal = 77 WHERE ordinal = 1"],
    ),
    (
        "waitlist",
        "has 2 live entries, at positions 1, 3",
        [
            "INSERT INTO waitlist (table_id, player_id, player_name, position) "
            "VALUES ('room-1', 'zed', 'Zed', 1), ('room-1', 'zoe', 'Zoe', 3)"
        ],
    ),
    (
        "waitlist",
        "has 2 live entries, at positions 1, none",
        [
            "INSERT INTO waitlist (table_id, player_id, player_name, position) "
            "VALUES ('room-1', 'zed', 'Zed', 1), ('room-1', 'zoe', 'Zoe', NULL)"
        ],
    ),
    ("decks", "is not the whole deck", ["UPDATE hands SET deck = left(deck, 102)"]),
    (
        "decks",
        "is not the whole deck",
        ["UPDATE hands SET deck = left(deck, 2) || left(deck, 2) || substr(deck, 5)"],
    ),
    ("decks", "of its variant (chess)", ["UPDATE hands SET variant = 'chess'"]),
]

ORPHANS: list[tuple[str, str, list[str]]] = [
    ("chat_messages", "chat_sessions", [*CHAT, "UPDATE chat_messages SET session_id = 'gone'"]),
    ("chat_messages", "chat_sessions", [*CHAT, "UPDATE chat_messages SET player_id = 'bob'"]),
    ("rooms", "game_states", ["DELETE FROM game_states"]),
    ("hands", "rooms", ["UPDATE hands SET room_id = 'gone' WHERE number = 1"]),
    ("hands", "games", ["UPDATE hands SET game_id = 'gone' WHERE number = 1"]),
    ("hands", "players", [f"DELETE FROM players WHERE hand_id = {FINISHED}"]),
    ("players", "hands", ["DELETE FROM hands WHERE number = 1"]),
    ("actions", "players", ["UPDATE actions SET hand_id = 'gone' WHERE ordinal = 0 AND seq < 20"]),
    ("room_events", "game_states", ["UPDATE room_events SET room_id = 'gone' WHERE seq < 3"]),
    (
        "sittings",
        "rooms",
        [NO_PARENT.format("sittings"), "UPDATE sittings SET room_id = 'gone'"],
    ),
    ("sittings", "wallets", ["DELETE FROM wallets WHERE user_id = 'ann'"]),
    (
        "rejoin_tokens",
        "rooms",
        [NO_PARENT.format("rejoin_tokens"), "UPDATE rejoin_tokens SET room_id = 'gone'"],
    ),
    (
        "outside_writes",
        "rooms",
        [
            "INSERT INTO outside_writes (room_id, relation, written_by, written_at) "
            "VALUES ('gone', 'rooms', 'operator', now())"
        ],
    ),
    (
        "commands",
        "rooms",
        ["INSERT INTO commands VALUES (gen_random_uuid(), 'a', 'gone', 'start', '{}', now())"],
    ),
    ("ledger_entries", "rooms", ["UPDATE ledger_entries SET room_id = 'gone' WHERE kind = 'rake'"]),
    ("ledger_entries", "hands", ["UPDATE ledger_entries SET hand_id = 'gone' WHERE kind = 'rake'"]),
    (
        "ledger_entries",
        "sittings",
        ["UPDATE ledger_entries SET sitting_id = NULL WHERE kind = 'top_up'"],
    ),
    ("ledger_entries", "wallets", ["DELETE FROM wallets WHERE user_id = 'ann'"]),
]


def cards_in(text: str) -> list[str]:
    """The cards of a text that is all about a deck."""
    return [card for card in VARIANTS["nlhe"].deck if card in text.split()]


@pytest.mark.parametrize(("check", "sentence", "statements"), DAMAGE)
async def test_what_is_wrong_is_named(
    scene: Scene, check: str, sentence: str, statements: list[str]
) -> None:
    report = await damaged(scene, *statements)
    assert not report.clean
    assert report.counts[check] > 0
    told = [finding for finding in report.findings if finding.check == check]
    assert sentence in " ".join(finding.sentence for finding in told)
    hand_ids = await scene.club.one("SELECT jsonb_agg(id) FROM hands")
    if check == "decks":
        assert all(finding.row["hand_id"] in hand_ids for finding in told)


@pytest.mark.parametrize(("child", "parent", "statements"), ORPHANS)
async def test_orphans_are_named_with_the_parent_that_is_missing(
    scene: Scene, child: str, parent: str, statements: list[str]
) -> None:
    report = await damaged(scene, *statements)
    found = {
        (finding.row["child"], finding.row["parent"])
        for finding in report.findings
        if finding.check == "orphans"
    }
    assert (child, parent) in found


async def test_every_check_is_seen_to_find_something() -> None:
    tried = {check for check, _, _ in DAMAGE} | {"orphans"}
    assert tried == {check.name for check in load_checks()}


REPLAYED: list[tuple[str, str]] = [
    ("the board", "UPDATE hands SET board = board[2:] || board[1:1] WHERE number = 1"),
    ("the rake", "UPDATE hands SET rake = rake + 1 WHERE number = 1"),
    (
        "the hole cards of ann",
        "UPDATE players SET hole_cards = hole_cards[2:] || hole_cards[1:1] "
        f"WHERE user_id = 'ann' AND hand_id = {FINISHED}",
    ),
    (
        "the final stack of bob",
        f"UPDATE players SET final_stack = 3 WHERE user_id = 'bob' AND hand_id = {FINISHED}",
    ),
    (
        "whether cleo has shown",
        f"UPDATE players SET shown = NOT shown WHERE user_id = 'cleo' AND hand_id = {FINISHED}",
    ),
    ("its actions", f"DELETE FROM actions WHERE ordinal = 1 AND hand_id = {FINISHED}"),
    ("its actions", "UPDATE hands SET deck = left(deck, 102) WHERE number = 1"),
    ("its actions", f"DELETE FROM players WHERE hand_id = {FINISHED}"),
]


@pytest.mark.parametrize(("differs", "statement"), REPLAYED)
async def test_a_hand_that_plays_out_otherwise_is_named(
    scene: Scene, differs: str, statement: str
) -> None:
    await damaged(scene, statement)
    report = await audit(scene.club.pool, replay_hands=True)
    (finding,) = [finding for finding in report.findings if finding.check == REPLAYS]
    assert finding.row["differs"] == [differs]
    assert report.counts[REPLAYS] == 1
    assert not cards_in(finding.sentence)


async def test_sound_hands_play_out_as_they_are_stored(scene: Scene) -> None:
    report = await audit(scene.club.pool, replay_hands=True)
    assert (report.counts[REPLAYS], report.clean) == (0, True)


async def test_deleted_old_events_are_nothing_wrong(scene: Scene) -> None:
    assert (await damaged(scene, "DELETE FROM room_events WHERE seq < 9")).clean
    assert (await damaged(scene, "DELETE FROM room_events")).clean


async def test_many_findings_are_counted_and_some_are_told(scene: Scene) -> None:
    report = await damaged(
        scene,
        "INSERT INTO wallets SELECT 'u' || n, 'x', 1, now() FROM generate_series(1, 250) n",
    )
    assert report.counts["wallets"] == 250
    assert len([f for f in report.findings if f.check == "wallets"]) == MOST_TOLD


async def test_no_card_is_ever_told(scene: Scene) -> None:
    report = await damaged(
        scene,
        "UPDATE hands SET deck = reverse(deck), pot = 3, rake = 9, number = number + 5",
        "UPDATE players SET final_stack = 3",
        "UPDATE games SET id = 'other', hands_played = 77",
        "UPDATE actions SET ordinal = ordinal + 100, user_id = 'x'",
    )
    assert len({finding.check for finding in report.findings}) > 6
    for finding in report.findings:
        assert "deck" not in finding.row
        assert not cards_in(finding.sentence)
        assert not cards_in(json.dumps(finding.row))


async def test_all_checks_see_one_snapshot(
    scene: Scene, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaking() -> Iterator[Check]:
        for check in load_checks():
            yield check
            with psycopg.connect(database_url) as other:
                other.execute("UPDATE wallets SET balance = balance + 1 WHERE user_id = 'ann'")

    monkeypatch.setattr("persistence.audit.load_checks", breaking)
    assert (await audit(scene.club.pool)).clean
    monkeypatch.undo()
    assert not (await audit(scene.club.pool)).clean
