"""Killing the server while bots play. The long form is `cardroom bench kills`."""

import psycopg
import pytest

from bench.audit import findings
from bench.kill_checks import Checks
from bench.kill_witness import Sent, Witness
from bench.kills import SETTINGS, kill_again_and_again
from bench.serving import serving

KILLS = 10
TABLES = 6


@pytest.mark.fail_after(240)
async def test_ten_kills_lose_nothing_that_anybody_was_told() -> None:
    async with serving(SETTINGS) as server:
        killed = await kill_again_and_again(server, kills=KILLS, tables=TABLES, seed=10)
    assert killed.lost == []
    assert killed.kills >= KILLS
    assert killed.acks > 100
    assert killed.events > 300
    assert killed.received > killed.events
    assert killed.finished > 10


@pytest.fixture
def room_url(database_url: str) -> str:
    """A database with one room in which one event was told, by one command, and one hand runs."""
    with psycopg.connect(database_url) as db:
        db.execute(
            "INSERT INTO rooms (id, code, host_id, name, variant, small_blind, big_blind, ante, "
            "min_buy_in, max_buy_in, max_seats, turn_seconds, time_bank_seconds, auto_start, "
            "requires_approval, spectators_allowed, rake_basis_points, rake_cap, is_private, "
            "created_at) VALUES ('r', 'ABCDEF', 'a', 'Table', 'nlhe', 1, 2, 0, 2, 200, 9, 20, 0, "
            "true, false, true, 0, 0, false, now())"
        )
        db.execute(
            "INSERT INTO game_states (room_id, seq, owner_epoch, current_state, updated_at) "
            "VALUES ('r', 1, 0, '{}', now())"
        )
        db.execute(
            "INSERT INTO room_events VALUES ('r', 1, from_ms(5), 'player_sat_in', "
            """'{"seat_index": 0, "user_id": "a"}')"""
        )
        db.execute(f"INSERT INTO commands VALUES ('{KEY}', 'a', 'r', 'sit_in', '{OUTCOME}', now())")
        db.execute("INSERT INTO wallets VALUES ('a', 'a', 100, now())")
        db.execute(
            "INSERT INTO ledger_entries (transfer_id, account, user_id, amount, kind, at) VALUES "
            "('t', 'bank', NULL, -100, 'credit', now()), ('t', 'wallet', 'a', 100, 'credit', now())"
        )
        db.execute(
            "INSERT INTO hands (id, room_id, game_id, number, variant, deck, button_seat, "
            "small_blind_seat, big_blind_seat, small_blind, big_blind, ante, rake_basis_points, "
            "rake_cap, board, pot, current_bet, phase, rake, started_at) VALUES ('h', 'r', 'g', 1, "
            "'nlhe', 'AhKhQhJhTh9h8h7h6h5h4h3h2h', 0, 0, 1, 1, 2, 0, 0, 0, "
            "'{9h,8h,7h}', 0, 0, 'flop', 0, now())"
        )
        db.execute(
            "INSERT INTO players (hand_id, room_id, position, user_id, seat_index, hole_cards, "
            "starting_stack) VALUES ('h', 'r', 0, 'a', 0, '{Ah,Qh}', 10), "
            "('h', 'r', 1, 'b', 1, '{Kh,Jh}', 10)"
        )
    return database_url


KEY = "6b3f7a52-8a0e-4a9b-9f63-0f3a2b1c4d5e"
OUTCOME = '{"type": "ok", "seq": 1}'
TOLD = {
    "type": "player_sat_in",
    "channel": "room:r",
    "seq": 1,
    "at": 5,
    "seat_index": 0,
    "user_id": "a",
}


def witness() -> Witness:
    seen = Witness()
    seen.public("a", "r", dict(TOLD))
    seen.dealt("a", "h", ["Ah", "Qh"])
    seen.acknowledged(Sent(KEY, "a", "r", "sit_in", 1, {}))
    return seen


def violations(url: str, *damage: str) -> str:
    """Check before and after the damage, as around a kill; return what was found."""
    seen = witness()
    checks = Checks(seen)
    checks.after_kill(url)
    assert seen.violations == []
    with psycopg.connect(url) as db:
        for statement in damage:
            db.execute(statement)
    checks.at_the_end(url)
    return "\n".join(seen.violations)


def test_the_checks_find_nothing_where_nothing_is_lost(room_url: str) -> None:
    assert violations(room_url) == ""


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        ("DELETE FROM room_events", "its 0 events go"),
        ("UPDATE game_states SET seq = 2", "r is at 2"),
        ("UPDATE room_events SET payload = payload || '{\"seat_index\": 1}'", "was told as"),
        ("UPDATE room_events SET at = from_ms(6)", "was told as"),
        ("DELETE FROM commands", "was acknowledged"),
        ("UPDATE commands SET outcome = '{\"seq\": 2}'", "was acknowledged"),
        ("UPDATE wallets SET balance = 99", "99 chips are there, 100 were credited"),
        ("UPDATE ledger_entries SET amount = -101 WHERE account = 'bank'", "not sum to nothing"),
        ("UPDATE hands SET pot = 7", "107 chips are there"),
        ("UPDATE hands SET deck = reverse(deck)", "dealt otherwise before the kill"),
        ("UPDATE players SET hole_cards = '{Kh,Qh}' WHERE user_id = 'a'", "was told other cards"),
        ("UPDATE hands SET board = '{8h,9h,7h}'", "board"),
        ("DELETE FROM players; DELETE FROM hands", "is not stored"),
        (
            "INSERT INTO commands SELECT gen_random_uuid(), user_id, room_id, type, outcome, at "
            "FROM commands",
            "player_sat_in in r: 1, commands for it: 2",
        ),
        (
            "INSERT INTO actions VALUES ('h', 1, 'r', 1, 0, 'a', 'CHECK', 0, NULL, false, now())",
            "actions of a in r: 1, commands for it: 0",
        ),
    ],
)
def test_the_checks_find_what_is_wrong(room_url: str, damage: str, told: str) -> None:
    assert told in violations(room_url, damage)


def test_what_the_audit_finds_is_among_what_is_wrong(room_url: str) -> None:
    """The room of these tests is made by hand, so the audit has something to say about it."""
    found = findings(room_url)
    assert "The deck of hand h is not the whole deck of its variant (nlhe)." in found
    assert any("belongs to games g, which is not there" in sentence for sentence in found)
    (failure,) = findings("postgresql://127.0.0.1:1/cardroom")
    assert failure.startswith("the audit could not look")


def test_a_refused_command_that_took_effect_is_found(room_url: str) -> None:
    seen = Witness()
    seen.turned_down(Sent(KEY, "a", "r", "sit_in", None, {}), "conflict")
    Checks(seen).after_kill(room_url)
    assert "was refused and is stored" in seen.violations[0]


def test_clients_that_were_told_differently_are_found() -> None:
    seen = witness()
    seen.public("b", "r", {**TOLD, "seat_index": 3})
    seen.dealt("a", "h", ["Ah", "Qc"])
    assert len(seen.violations) == 2
