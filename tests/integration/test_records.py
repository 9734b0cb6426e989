"""Histories and books read from a real database, after real play, by everybody who may ask."""

import warnings
from collections.abc import AsyncIterator, Callable

import pytest
from pokerkit import HandHistory

from persistence.hands import BATCH, all_finished_hands
from protocol import commands
from protocol.errors import ErrorCode, Refused
from protocol.values import SettingsPatch
from server import archive
from server.archive import STAFF_SEE_ALL_AFTER_MS
from tests.support.rooms import HOST, STAFF, START, principal
from tests.support.scene import PLAYERS, ROOM, Scene, table

pytestmark = pytest.mark.fail_after(60)


@pytest.fixture
async def scene(database_url: str) -> AsyncIterator[Scene]:
    async with table(database_url) as made:
        yield made


async def refusal(call: Callable[..., object], *given: object, **named: object) -> ErrorCode:
    with pytest.raises(Refused) as refused:
        await call(*given, **named)  # type: ignore[misc]
    return refused.value.code


def dealt(history: HandHistory) -> dict[str, str]:
    """The cards that the history deals to each user."""
    users = history.user_defined_fields["_user_ids"]
    deals = [action.split() for action in history.actions if action.startswith("d dh")]
    return {users[int(player[1:]) - 1]: cards for _, _, player, cards in deals}


def stacks_of(history: HandHistory) -> list[int]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        *_, final = history
    return list(final.stacks)


# Histories


async def test_everybody_sees_their_own_cards_and_what_was_shown(scene: Scene) -> None:
    await scene.hand()
    stored = await scene.club.one(
        "SELECT jsonb_object_agg(user_id, array_to_string(hole_cards, '')) FROM players"
    )
    hidden = dict.fromkeys(PLAYERS, "????")
    for user in PLAYERS:
        assert dealt(await scene.history(user)) == {**hidden, user: stored[user]}
    assert dealt(await scene.history(HOST)) == hidden
    assert dealt(await scene.history(STAFF)) == hidden
    assert dealt(await scene.history("bob", role="staff")) == {**hidden, "bob": stored["bob"]}


async def test_staff_see_all_cards_a_day_after_the_hand_and_nobody_else_does(scene: Scene) -> None:
    await scene.hand()
    hidden = dict.fromkeys(PLAYERS, "????")
    day = STAFF_SEE_ALL_AFTER_MS
    ended = await scene.club.one("SELECT to_ms(ended_at) FROM hands")
    scene.club.now = ended
    assert dealt(await scene.history(STAFF, later_ms=day - 1)) == hidden
    assert "????" not in dealt(await scene.history(STAFF, later_ms=day)).values()
    assert dealt(await scene.history(HOST, later_ms=day)) == hidden
    assert dealt(await scene.history("ann", later_ms=day))["bob"] == "????"


async def test_a_history_ends_with_the_stacks_of_the_ledger_for_whoever_asks(scene: Scene) -> None:
    await scene.hand(quick=False)
    stored = await scene.club.one("SELECT jsonb_object_agg(user_id, final_stack) FROM players")
    for user in (*PLAYERS, HOST, STAFF):
        history = await scene.history(user)
        users = history.user_defined_fields["_user_ids"]
        assert stacks_of(history) == [stored[user_id] for user_id in users]
        assert history.finishing_stacks == stacks_of(history)


async def test_rake_is_exactly_what_a_replay_has_too_much(scene: Scene) -> None:
    await scene.ask(HOST, commands.ChangeSettings(settings=SettingsPatch(rake_basis_points=500)))
    await scene.hand(quick=False)
    history = await scene.history(HOST)
    rake = history.user_defined_fields["_rake"]
    assert rake == await scene.club.one("SELECT rake FROM hands") > 0
    assert sum(stacks_of(history)) - sum(history.finishing_stacks or []) == rake


async def test_names_are_those_of_the_time_of_the_hand(scene: Scene) -> None:
    await scene.hand()
    await scene.ask("ann", commands.LeaveSeat())
    await scene.ask("ann", commands.Seat(seat_index=0, buy_in=1_000, display_name="Countess"))
    await scene.hand()
    assert "Ann" in ((await scene.history(HOST, 1)).players or [])
    assert "Countess" in ((await scene.history(HOST, 2)).players or [])


async def test_a_running_hand_has_no_history_yet(scene: Scene) -> None:
    await scene.ask(HOST, commands.Start())
    for user in ("ann", HOST, STAFF):
        assert await refusal(scene.history, user, 1) == ErrorCode.CONFLICT
        assert await refusal(scene.history, user, 2) == ErrorCode.NOT_FOUND
        assert await scene.listed(user) == []
    assert await refusal(scene.history, "dan", 1) == ErrorCode.FORBIDDEN


async def test_who_was_not_let_in_gets_nothing(scene: Scene) -> None:
    await scene.hand()
    assert await refusal(scene.history, "dan") == ErrorCode.FORBIDDEN
    assert await refusal(scene.history, "dan", 99) == ErrorCode.FORBIDDEN
    assert await refusal(scene.listed, "dan") == ErrorCode.FORBIDDEN
    await scene.ask(HOST, commands.ChangeSettings(settings=SettingsPatch(requires_approval=True)))
    await scene.ask("dan", commands.Join())
    assert await refusal(scene.history, "dan") == ErrorCode.FORBIDDEN
    await scene.ask(HOST, commands.Approve(user_id="dan"))
    assert await scene.listed("dan") == [1]
    assert dealt(await scene.history("dan")) == dict.fromkeys(PLAYERS, "????")


async def test_who_left_keeps_the_hands_that_they_played(scene: Scene) -> None:
    await scene.hand()
    await scene.ask(HOST, commands.Kick(user_id="cleo"))
    await scene.hand()
    assert await scene.listed("cleo") == [1]
    assert dealt(await scene.history("cleo", 1))["cleo"] != "????"
    assert await refusal(scene.history, "cleo", 2) == ErrorCode.FORBIDDEN
    assert await refusal(scene.history, "cleo", 3) == ErrorCode.FORBIDDEN
    assert await scene.listed("ann") == [2, 1]


@pytest.mark.parametrize("reason", ["late", None])
async def test_a_closed_room_keeps_its_hands_and_books_for_its_members(
    scene: Scene, reason: str | None
) -> None:
    await scene.hand()
    await scene.ask("dan", commands.Join())
    await scene.sit("eve", 5)
    await scene.ask(HOST, commands.CloseRoom(reason=reason))
    for user in ("ann", "dan", "eve", HOST, STAFF):
        assert await scene.listed(user) == [1]
    books = await scene.books(HOST)
    assert [(row["stack"], bool(row["session_end_at"])) for row in books] == [("0", True)] * 4


async def test_hands_are_listed_newest_first_by_pages(scene: Scene) -> None:
    for _ in range(3):
        await scene.hand()
    assert await scene.listed("ann", limit=2) == [3, 2]
    assert await scene.listed("ann", before=2, limit=2) == [1]
    assert await scene.listed("ann", before=1) == []


async def test_a_line_says_who_played_and_who_took_what(scene: Scene) -> None:
    await scene.hand()
    room = await scene.room("ann")
    (line,) = await archive.list_hands(scene.club.pool, principal("ann"), room, None, 20)
    assert [(p.seat_index, p.user_id, p.display_name) for p in line.players] == [
        (1, "bob", "Bob"),
        (2, "cleo", "Cleo"),
        (0, "ann", "Ann"),
    ]
    assert (line.number, line.variant, line.board, line.pot) == (1, "nlhe", [], 10)
    assert [(w.seat_index, w.user_id, w.amount, w.rank) for w in line.winners] == [
        (2, "cleo", 10, None)
    ]
    assert START < line.started_at < line.ended_at == scene.club.now


async def test_an_export_goes_through_all_hands_in_order_however_many(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("persistence.hands.BATCH", 2)
    times = []
    for _ in range(5):
        times.append(scene.club.now)
        await scene.hand()
    assert BATCH > 2

    async def numbers(
        room_id: str | None, since: int | None = None, until: int | None = None
    ) -> list[int]:
        async with scene.club.pool.transaction(read_only=True) as conn:
            return [
                hand.setup.number
                async for hand in all_finished_hands(
                    conn, room_id=room_id, since=since, until=until
                )
            ]

    assert await numbers(None) == await numbers(ROOM) == [1, 2, 3, 4, 5]
    assert await numbers("elsewhere") == []
    assert await numbers(None, since=times[1] + 1, until=times[3] + 1) == [2, 3]


# Books


async def test_the_ledger_is_for_host_and_staff(scene: Scene) -> None:
    assert await refusal(scene.books, "ann") == ErrorCode.FORBIDDEN
    assert await refusal(scene.books, "dan") == ErrorCode.FORBIDDEN
    assert await scene.books(STAFF) == await scene.books(HOST)


async def test_every_sitting_adds_up_and_the_table_sums_to_the_rake(scene: Scene) -> None:
    await scene.ask(HOST, commands.ChangeSettings(settings=SettingsPatch(rake_basis_points=1000)))
    await scene.hand(quick=False)
    await scene.ask("ann", commands.TopUp(amount=300))
    await scene.ask(HOST, commands.AdjustChips(user_id="bob", delta=50, reason="gift"))
    await scene.ask(HOST, commands.AdjustChips(user_id="cleo", delta=-70, reason="fine"))
    await scene.hand(quick=False)
    await scene.ask("cleo", commands.LeaveSeat())
    await scene.ask("cleo", commands.Seat(seat_index=4, buy_in=500, display_name="=Cleo"))
    books = await scene.books(HOST)
    rake = await scene.club.one("SELECT sum(rake)::int FROM hands")
    assert rake > 0
    assert sum(int(row["net"]) for row in books) == -rake
    for row in books:
        made = int(row["buy_out"]) + int(row["stack"]) - int(row["buy_in"])
        assert int(row["net"]) == made
    assert [(r["player_nickname"], r["player_id"], r["buy_in"]) for r in books] == [
        ("Ann", "ann", "1300"),
        ("Bob", "bob", "1050"),
        ("Cleo", "cleo", "930"),
        ("'=Cleo", "cleo", "500"),
    ]
    assert [bool(r["session_end_at"]) for r in books] == [False, False, True, False]
    assert [r["buy_out"] == "0" for r in books] == [True, True, False, True]
    chips = await scene.club.one("SELECT jsonb_object_agg(user_id, chips) FROM room_seats")
    assert {r["player_id"]: int(r["stack"]) for r in books if not r["session_end_at"]} == chips
    assert books[2]["stack"] == "0"


async def test_bets_of_a_running_hand_are_still_the_players(scene: Scene) -> None:
    await scene.ask(HOST, commands.Start())
    await scene.act("RAISE", 400)
    books = await scene.books(HOST)
    assert [(row["stack"], row["net"]) for row in books] == [("1000", "0")] * 3
