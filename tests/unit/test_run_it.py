"""Running the board out more than once: the cards, the pots, and the vote of those all-in."""

import pytest

from game.changes import HandPlay, SeatPlay
from game.poker.hand import Hand, ReplayMismatch
from game.presence import Gone, TakenOver, Tick, Unseen
from game.run_it import VOTE_MS
from protocol import commands
from protocol.commands import RunIt
from protocol.errors import ErrorCode, Refused
from protocol.events import (
    HandComplete,
    PotDistributed,
    PublicEvent,
    RunItDecided,
    RunItOffered,
    RunItVoted,
    Showdown,
    StreetAdvanced,
)
from protocol.values import PotAward, PotShare, RunoutAward, ShownHand
from tests.support.hands import make_setup, public_state, rigged_deck
from tests.support.rooms import START, Table

ACES_THEN_KINGS = rigged_deck(["AhAd", "KhKd"], "2c7d9hJsQd")
"""Aces win on the first board."""


def with_second_board(deck: tuple[str, ...], *cards: str) -> tuple[str, ...]:
    """Put cards (burnt ones included) right behind the first board of a deck for two."""
    first, rest = deck[:12], [card for card in deck[12:] if card not in cards]
    return (*first, *cards, *rest)


SPLIT = with_second_board(ACES_THEN_KINGS, "3c", "Kc", "4d", "5h", "3d", "8s", "3h", "9s")
"""And kings on the second."""


def all_in(setup_deck: tuple[str, ...] = SPLIT, **more: object) -> Hand:
    hand = Hand.start(
        make_setup([1_000, 1_000], deck=setup_deck, **{"run_it_times": 2, **more})  # type: ignore[arg-type]
    )
    hand.act(9, "ALL_IN", None)
    hand.act(8, "CALL", None)
    return hand


def of(events: list[PublicEvent], kind: type[PublicEvent]) -> list[PublicEvent]:
    return [event for event in events if isinstance(event, kind)]


# The hand


def test_a_hand_waits_for_the_word_once_betting_is_over() -> None:
    hand = all_in()
    assert not hand.finished
    assert (hand.actor_seat, hand.phase, hand.board) == (None, "preflop", [])
    assert (hand.run_it_seats, hand.most_runouts) == ([9, 8], 2)
    assert (hand.pot, hand.legal().can_fold) == (2_000, False)
    assert hand.shown(9) is None


def test_each_board_burns_and_deals_on_from_the_one_before() -> None:
    hand = all_in()
    events = hand.run_out(2)
    streets = [event for event in events if isinstance(event, StreetAdvanced)]
    assert [(event.street, event.runout) for event in streets] == [
        ("flop", 1),
        ("turn", 1),
        ("river", 1),
        ("flop", 2),
        ("turn", 2),
        ("river", 2),
    ]
    assert [event.cards for event in streets[3:]] == [["Kc", "4d", "5h"], ["8s"], ["9s"]]
    assert {event.pot for event in streets} == {2_000}
    assert hand.boards == [
        ["2c", "7d", "9h", "Js", "Qd"],
        ["Kc", "4d", "5h", "8s", "9s"],
    ]
    assert hand.board == hand.boards[0]


def test_every_board_decides_its_part_of_the_pot() -> None:
    hand = all_in()
    events = hand.run_out(2)
    (showdown,) = of(events, Showdown)
    assert isinstance(showdown, Showdown)
    assert sorted(showdown.hands, key=lambda shown: shown.seat_index) == [
        ShownHand(8, ["Kh", "Kd"], "one pair", ["one pair", "three of a kind"]),
        ShownHand(9, ["Ah", "Ad"], "one pair", ["one pair", "one pair"]),
    ]
    distributed = events[-1]
    assert isinstance(distributed, PotDistributed)
    assert distributed.pots == [
        PotAward(
            2_000,
            0,
            [PotShare(9, 1_000), PotShare(8, 1_000)],
            [
                RunoutAward(1, 1_000, [PotShare(9, 1_000)]),
                RunoutAward(2, 1_000, [PotShare(8, 1_000)]),
            ],
        )
    ]
    assert [(w.seat_index, w.amount, w.rank) for w in hand.winners()] == [
        (9, 1_000, "one pair"),
        (8, 1_000, "three of a kind"),
    ]


def test_the_rake_is_taken_once_and_odd_chips_go_to_the_first_board() -> None:
    hand = all_in(rake_basis_points=333)
    distributed = hand.run_out(2)[-1]
    assert isinstance(distributed, PotDistributed)
    assert distributed.pots == [
        PotAward(
            2_000,
            66,
            [PotShare(9, 967), PotShare(8, 967)],
            [RunoutAward(1, 967, [PotShare(9, 967)]), RunoutAward(2, 967, [PotShare(8, 967)])],
        )
    ]
    odd = all_in(rake_basis_points=335)
    distributed = odd.run_out(2)[-1]
    assert isinstance(distributed, PotDistributed)
    assert distributed.pots[0].rake == 67
    assert distributed.pots[0].winners == [PotShare(9, 967), PotShare(8, 966)]


def test_run_out_once_the_hand_is_told_as_if_nobody_had_been_asked() -> None:
    asked, plain = all_in(), Hand.start(make_setup([1_000, 1_000], deck=SPLIT))
    plain.act(9, "ALL_IN", None)
    _, told = plain.act(8, "CALL", None)
    assert asked.run_out(1) == told[1:]
    assert asked.runouts == 1
    assert plain.runouts is None


def test_boards_share_what_was_dealt_before_the_word() -> None:
    hand = Hand.start(make_setup([1_000, 1_000], run_it_times=3))
    hand.act(9, "CALL", None)
    hand.act(8, "CHECK", None)
    flop = hand.board
    hand.act(8, "ALL_IN", None)
    hand.act(9, "CALL", None)
    events = hand.run_out(3)
    streets = [event.street for event in events if isinstance(event, StreetAdvanced)]
    assert streets == ["turn", "river"] * 3
    assert [board[:3] for board in hand.boards] == [flop] * 3
    assert len({card for board in hand.boards for card in board}) == 3 + 6


def test_a_complete_board_leaves_nothing_to_ask() -> None:
    hand = Hand.start(make_setup([1_000, 1_000], run_it_times=3))
    hand.act(9, "CALL", None)
    for seat in (8, 8, 9, 8, 9):
        hand.act(seat, "CHECK", None)
    assert hand.phase == "river"
    hand.act(8, "ALL_IN", None)
    hand.act(9, "CALL", None)
    assert hand.finished


def test_no_more_boards_are_offered_than_the_deck_has_cards_for() -> None:
    ten = Hand.start(make_setup([50] * 10, variant="shortdeck", ante=50, run_it_times=3))
    # 36 cards, 20 of them dealt: two boards of five with three burnt cards each.
    assert ten.most_runouts == 2
    full = Hand.start(make_setup([50] * 10, variant="plo", ante=50, run_it_times=3))
    assert full.finished, "12 cards are left: one board"
    assert len(full.boards) == 1


def test_a_bet_that_nobody_could_call_has_gone_back_before_the_word() -> None:
    hand = Hand.start(make_setup([1_000, 400], run_it_times=2))
    hand.act(9, "ALL_IN", None)
    hand.act(8, "CALL", None)
    assert (hand.pot, hand.chips()) == (800, {9: 600, 8: 0})


def test_replay_wants_a_word_that_can_have_been_given() -> None:
    hand = all_in()
    open_again = Hand.replay(hand.setup, hand.actions)
    assert public_state(open_again) == public_state(hand)
    hand.run_out(2)
    again = Hand.replay(hand.setup, hand.actions, 2)
    assert public_state(again) == public_state(hand)
    with pytest.raises(ReplayMismatch, match="3 times"):
        Hand.replay(hand.setup, hand.actions, 3)
    with pytest.raises(ReplayMismatch, match="2 times"):
        Hand.replay(hand.setup, hand.actions[:1], 2)


# The vote


def asked(times: int = 3, players: int = 2, **settings: object) -> Table:
    """A table whose first players are all-in before the flop, and asked."""
    table = Table(run_it_times=times, **settings)
    table.sit(*[("ann", 0), ("bob", 1), ("cat", 2)][:players])
    table.deal()
    for _ in range(players):
        table.act("ALL_IN")
    return table


def test_the_players_are_asked_with_a_deadline() -> None:
    table = asked()
    assert table.names() == ["player_action", "run_it_offered"]
    offered = table.event(RunItOffered)
    assert (sorted(offered.seats), offered.times) == ([0, 1], 3)
    assert offered.deadline == table.now + VOTE_MS
    assert offered.pot == 2_000
    (play,) = table.rows(HandPlay)
    assert (play.run_it_deadline, play.run_it_votes, play.runouts) == (offered.deadline, {}, None)
    assert table.state.clock is None


def test_what_goes_back_before_the_vote_is_behind_again() -> None:
    table = Table(run_it_times=2)
    table.sit(("ann", 0, 1_000), ("bob", 1, 400))
    table.deal()
    table.act("ALL_IN")
    table.act("ALL_IN")
    assert table.event(RunItOffered).pot == 800
    assert {row.seat_index: row.chips for row in table.rows(SeatPlay)} == {0: 600, 1: 0}
    assert table.rows(HandPlay)[-1].pot == 800


def test_a_vote_is_told_and_written() -> None:
    table = asked()
    table.do("ann", RunIt(times=3))
    assert table.names() == ["run_it_voted"]
    voted = table.event(RunItVoted)
    assert (voted.seat_index, voted.user_id, voted.times) == (0, "ann", 3)
    (play,) = table.rows(HandPlay)
    assert play.run_it_votes == {"0": 3}


@pytest.mark.parametrize(("votes", "times"), [((3, 3), 3), ((3, 2), 2), ((2, 3), 2), ((3, 1), 1)])
def test_more_than_once_needs_all_and_the_smallest_number_is_dealt(
    votes: tuple[int, int], times: int
) -> None:
    table = asked()
    for user_id, said in zip(("ann", "bob"), votes, strict=True):
        table.do(user_id, RunIt(times=said))
    names = table.names()
    assert names[:2] == ["run_it_voted", "run_it_decided"]
    assert table.event(RunItDecided).times == times
    assert names.count("street_advanced") == 3 * times
    assert table.state.hand is None
    play = table.rows(HandPlay)[-1]
    assert (play.runouts, len(play.other_boards)) == (times, times - 1)
    assert play.run_it_deadline is None
    assert play.ended_at == table.now


def test_one_who_says_once_settles_it() -> None:
    table = asked(players=3)
    table.do("bob", RunIt(times=1))
    assert table.event(RunItDecided).times == 1
    assert table.state.hand is None
    complete = table.event(HandComplete)
    assert sum(winner.amount for winner in complete.winners) == 3_000


def test_time_up_is_once_and_not_a_moment_earlier() -> None:
    table = asked()
    table.do("ann", RunIt(times=2))
    table.wait(VOTE_MS - 1)
    assert table.state.vote is not None
    table.wait(1)
    assert table.names()[0] == "run_it_decided"
    assert table.event(RunItDecided).times == 1


def refusal(table: Table, user_id: str, times: int) -> Refused:
    with pytest.raises(Refused) as caught:
        table.do(user_id, RunIt(times=times))
    return caught.value


def test_only_who_is_asked_answers_once_and_within_the_offer() -> None:
    table = asked(times=2, players=2)
    table.sit(("dan", 3))
    assert refusal(table, "dan", 2).code == ErrorCode.FORBIDDEN
    assert refusal(table, "host", 2).code == ErrorCode.FORBIDDEN
    over = refusal(table, "ann", 3)
    assert (over.code, over.details) == (ErrorCode.BAD_REQUEST, {"field": "times"})
    table.do("ann", RunIt(times=2))
    assert refusal(table, "ann", 1).code == ErrorCode.CONFLICT
    assert refusal(table, "ann", 2).code == ErrorCode.CONFLICT


def test_nobody_is_asked_while_there_is_betting() -> None:
    table = Table(run_it_times=2)
    table.sit(("ann", 0), ("bob", 1))
    assert refusal(table, "ann", 2).code == ErrorCode.CONFLICT
    table.deal()
    assert refusal(table, "ann", 2).code == ErrorCode.CONFLICT


def test_who_folded_is_not_asked() -> None:
    table = Table(run_it_times=2)
    table.sit(("ann", 0), ("bob", 1), ("cat", 2))
    table.deal()
    folded = table.actor
    table.act("FOLD")
    table.act("ALL_IN")
    table.act("ALL_IN")
    assert folded.seat_index not in table.event(RunItOffered).seats
    assert refusal(table, folded.user_id, 2).code == ErrorCode.FORBIDDEN


def test_nobody_acts_while_the_vote_is_on() -> None:
    table = asked()
    with pytest.raises(Refused) as caught:
        table.do("ann", commands.Action(action="CHECK"))
    assert caught.value.code == ErrorCode.NOT_YOUR_TURN


@pytest.mark.parametrize(
    "leaving",
    [
        ("ann", commands.LeaveSeat()),
        ("ann", commands.LeaveRoom()),
        ("ann", commands.SitOut()),
        ("host", commands.Kick(user_id="ann")),
    ],
)
def test_who_gets_up_during_the_vote_counts_as_once(
    leaving: tuple[str, commands.AnyRoomCommand],
) -> None:
    table = asked()
    table.do("bob", RunIt(times=3))
    table.do(*leaving)
    assert table.event(RunItDecided).times == 1
    assert table.state.hand is None


@pytest.mark.parametrize("internal", [Unseen("ann", START), Gone("ann")])
def test_who_is_away_during_the_vote_counts_as_once(internal: Unseen | Gone) -> None:
    table = asked()
    table.internal(internal)
    assert table.event(RunItDecided).times == 1


def test_an_answer_stands_when_its_player_leaves() -> None:
    table = asked(players=3)
    table.do("ann", RunIt(times=2))
    table.do("ann", commands.LeaveSeat())
    assert table.state.vote is not None
    table.do("bob", RunIt(times=2))
    table.do("cat", RunIt(times=2))
    assert table.state.hand is None
    assert 0 not in table.state.seats


def test_nobody_is_asked_when_one_cannot_answer() -> None:
    table = Table(run_it_times=3)
    table.sit(("ann", 0), ("bob", 1))
    table.deal()
    first = table.actor
    table.act("ALL_IN")
    table.do(first.user_id, commands.SitOut())
    table.act("ALL_IN")
    assert "run_it_offered" not in table.names()
    assert "run_it_decided" not in table.names()
    assert table.state.hand is None
    assert table.rows(HandPlay)[-1].runouts == 1


def test_pause_and_close_wait_for_the_vote() -> None:
    table = asked()
    table.do("host", commands.Pause())
    table.do("host", commands.CloseRoom())
    assert table.state.vote is not None
    table.do("ann", RunIt(times=2))
    table.do("bob", RunIt(times=2))
    assert table.state.closed


def test_after_a_restart_the_vote_has_its_whole_time_again_and_answers_stand() -> None:
    table = asked()
    table.do("ann", RunIt(times=2))
    table.now += 60_000
    table.internal(TakenOver())
    again = table.event(RunItOffered)
    assert (again.seats, again.deadline) == ([1], table.now + VOTE_MS)
    assert table.state.vote is not None
    assert table.state.vote.votes == {0: 2}
    table.internal(Tick())
    table.do("bob", RunIt(times=2))
    assert table.event(RunItDecided).times == 2


def test_players_all_in_by_their_antes_are_asked_as_the_hand_begins() -> None:
    table = Table(run_it_times=2, ante=2_000)
    table.sit(("ann", 0), ("bob", 1))
    table.deal()
    assert table.names() == ["hand_started", "run_it_offered"]
    table.do("ann", RunIt(times=2))
    table.do("bob", RunIt(times=2))
    assert table.state.hand is None
