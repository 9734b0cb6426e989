"""Where button and blinds go."""

from hypothesis import given
from hypothesis import strategies as st

from game.button import next_positions
from protocol import commands
from tests.support.rooms import Table

ready_seats = st.sets(st.integers(0, 9), min_size=2, max_size=10).map(sorted)


def test_heads_up_the_button_posts_the_small_blind_and_acts_first() -> None:
    table = Table()
    table.sit(("ann", 3), ("bob", 7))
    hand = table.deal()
    assert hand.setup.button_seat == hand.small_blind_seat == table.actor.seat_index == 3
    assert hand.big_blind_seat == 7


def test_with_the_same_players_the_button_moves_one_seat_a_hand() -> None:
    table = Table()
    table.sit(("ann", 1), ("bob", 4), ("cat", 8))
    seen = []
    for _ in range(4):
        hand = table.deal()
        seen.append((hand.setup.button_seat, hand.small_blind_seat, hand.big_blind_seat))
        table.fold_out()
    assert seen == [(1, 4, 8), (4, 8, 1), (8, 1, 4), (1, 4, 8)]


def test_from_three_to_two_nobody_posts_the_big_blind_twice() -> None:
    for leaver in ("ann", "bob", "cat"):
        table = Table()
        table.sit(("ann", 0), ("bob", 1), ("cat", 2))
        before = table.deal().big_blind_seat
        table.fold_out()
        table.do(leaver, commands.LeaveSeat())
        after = table.deal().big_blind_seat
        assert after != before, leaver


@given(ready_seats)
def test_the_first_button_is_the_lowest_seat(ready: list[int]) -> None:
    assert next_positions(ready, None).button == ready[0]


@given(ready_seats, ready_seats, st.integers(0, 9))
def test_the_big_blind_moves_to_the_next_player_whoever_comes_and_goes(
    first: list[int], second: list[int], last: int
) -> None:
    one = next_positions(first, last)
    two = next_positions(second, one.big_blind)
    passed = [(one.big_blind + step) % 10 for step in range(1, 11)]
    assert two.big_blind == next(seat for seat in passed if seat in second)
    assert two.big_blind != one.big_blind


@given(ready_seats, st.integers(0, 9) | st.none())
def test_blinds_and_order_follow_the_button(ready: list[int], last: int | None) -> None:
    positions = next_positions(ready, last)
    assert sorted(positions.order) == ready
    assert positions.order[:2] == (positions.small_blind, positions.big_blind)
    at = ready.index(positions.button)
    if len(ready) == 2:
        assert positions.small_blind == positions.button
    else:
        assert positions.small_blind == ready[(at + 1) % len(ready)]
        assert positions.order[-1] == positions.button
