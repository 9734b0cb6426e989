"""What people see and type at the terminal, and what bots choose."""

import random

import msgspec
import pytest
from rich.console import Console

from client.bots import Move, choose
from client.messages import event_of
from client.mirror import Mirror
from client.picture import cards, table, told
from client.play import HELP, choices, parse, times_offered
from game.poker.variants import VARIANTS
from protocol import commands
from protocol.values import LegalActions
from tests.support.room_play import HOST, USERS, PlayedRoom, seated_room


def running(room: PlayedRoom) -> Mirror:
    """Begin a hand and look at it as the player whose turn it is."""
    room.wait()
    assert room.state.clock is not None
    seat = room.state.seats[room.state.clock.seat_index]
    return Mirror(room.snapshot(next(u for u in USERS if u.user_id == seat.user_id)))


def drawn(room: Mirror, **more: str) -> str:
    console = Console(width=80, force_terminal=False)
    with console.capture() as captured:
        console.print(table(room, now_ms=room.timer.started_at if room.timer else 0, **more))
    return captured.get()


@pytest.mark.parametrize(
    ("line", "move"),
    [
        ("f", Move("FOLD")),
        ("K\n", Move("CHECK")),
        (" c ", Move("CALL")),
        ("a", Move("ALL_IN")),
        ("r 900", Move("RAISE", 900)),
        ("b 1,200", Move("RAISE", 1_200)),
    ],
)
def test_what_is_typed_becomes_a_move(line: str, move: Move) -> None:
    assert parse(line, running(seated_room(random.Random(1)))) == move


def test_a_bet_is_a_bet_where_there_is_none_yet() -> None:
    between = Mirror(seated_room(random.Random(1)).snapshot(HOST))
    assert parse("r 300", between) == Move("BET", 300)


@pytest.mark.parametrize("line", ["r", "b", "b much", "r -5", "b 0"])
def test_a_bet_without_an_amount_is_asked_for_one(line: str) -> None:
    answer = parse(line, running(seated_room(random.Random(1))))
    assert isinstance(answer, str)
    assert "how much" in answer


def test_anything_else_gets_the_help() -> None:
    assert parse("hello", running(seated_room(random.Random(1)))) == HELP


def test_only_what_is_legal_is_offered() -> None:
    free = choices(LegalActions(True, True, None, 100, 5_000))
    assert "k check" in free
    assert "call" not in free
    assert "100 to 5,000" in free
    short = choices(LegalActions(True, False, 70, None, None))
    assert "c call 70" in short
    assert "raise" not in short
    assert "check" not in short


def test_a_bet_of_one_size_is_offered_and_typed_without_an_amount() -> None:
    room = seated_room(random.Random(1), variant="flhe")
    mirror = running(room)
    assert parse("r", mirror) == Move("RAISE", 200)
    assert mirror.legal_actions is not None
    offered = choices(mirror.legal_actions, all_in=mirror.may_go_all_in)
    assert "r bet or raise to 200" in offered
    assert "all-in" not in offered


def test_all_in_is_offered_where_it_takes_the_whole_stack() -> None:
    assert running(seated_room(random.Random(1))).may_go_all_in
    assert not running(seated_room(random.Random(1), variant="plo")).may_go_all_in
    assert not Mirror(seated_room(random.Random(1)).snapshot(HOST)).may_go_all_in


def test_omaha_players_hold_four_cards() -> None:
    mirror = running(seated_room(random.Random(2), variant="plo"))
    assert mirror.hole_cards is not None
    assert len(mirror.hole_cards) == 4
    assert drawn(mirror).count("▒▒ ▒▒ ▒▒ ▒▒") == 2


def test_the_picture_shows_seats_pot_turn_and_only_one_s_own_cards() -> None:
    room = seated_room(random.Random(2))
    mirror = running(room)
    text = drawn(mirror, note="hello there")
    assert "pot 150" in text
    assert "ABCDEF" in text
    assert "20 s" in text
    assert "hello there" in text
    for who in USERS[:3]:
        assert who.name in text
    assert mirror.hole_cards is not None
    assert text.count("▒▒ ▒▒") == 2
    assert all(line == "" or len(line) <= 80 for line in text.splitlines())


def test_the_picture_tells_how_the_last_hand_ended() -> None:
    room = seated_room(random.Random(3))
    mirror = Mirror(room.snapshot(HOST))
    assert "waiting for the first hand" in drawn(mirror)
    lines = []

    def heard(event: object) -> None:
        typed = event_of(on_the_wire(event))
        mirror.apply(typed)
        lines.append(told(typed, mirror))

    room.listen(HOST, heard)
    room.wait()
    while room.state.hand is not None:
        room.wait()
    assert "wins" in drawn(mirror)
    assert any(line is not None and "folds (time is up)" in line for line in lines)


def test_two_boards_are_asked_for_told_and_drawn() -> None:
    room = seated_room(random.Random(4), 2, run_it_times=2)
    mirror = Mirror(room.snapshot(HOST))
    lines: list[str | None] = []

    def heard(event: object) -> None:
        typed = event_of(on_the_wire(event))
        mirror.apply(typed)
        lines.append(told(typed, mirror))

    room.listen(HOST, heard)
    room.wait()
    for _ in range(2):
        assert room.state.clock is not None
        room.do(USERS[room.state.clock.seat_index], commands.Action(action="ALL_IN"))
    asked = mirror.run_it
    assert asked is not None
    assert times_offered(asked) == ["1", "2"]
    room.do(HOST, commands.RunIt(times=2))
    assert mirror.run_it is None, "who has answered is not asked again"
    room.do(USERS[1], commands.RunIt(times=2))
    assert "Host would deal the board twice" in lines
    assert "the rest of the board is dealt twice" in lines
    assert mirror.last_result is not None
    first, second = mirror.last_result.boards
    text = drawn(mirror)
    assert cards(first).plain in text
    assert cards(second).plain in text
    (shows,) = [line for line in lines if line is not None and "shows" in line]
    assert all(", " in hand for hand in shows.split("; ")), "a rank for each board"


def on_the_wire(event: object) -> dict[str, object]:
    """Turn an event into the plain map that comes over the wire."""
    plain = msgspec.to_builtins(event)
    assert isinstance(plain, dict)
    return plain


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("seed", range(4))
def test_a_bot_only_chooses_what_the_rules_allow(seed: int, variant: str) -> None:
    rng = random.Random(seed)
    room = seated_room(rng, 4, variant=variant)
    moves = set()
    for _ in range(150):
        clock = room.state.clock
        if clock is None:
            for index, seat in room.state.seats.items():
                if not seat.chips and room.state.hand is None:
                    room.do(
                        HOST,
                        commands.AdjustChips(
                            user_id=room.state.seats[index].user_id, delta=2_000, reason="test"
                        ),
                    )
            assert room.wait()
            continue
        seat = room.state.seats[clock.seat_index]
        who = next(user for user in USERS if user.user_id == seat.user_id)
        mirror = Mirror(room.snapshot(who))
        legal = mirror.legal_actions
        assert legal is not None
        move = choose(rng, mirror, legal)
        moves.add(move.action)
        room.do(who, commands.Action(action=move.action, amount=move.amount))
    assert {"FOLD", "CHECK", "CALL", "RAISE"} <= moves
