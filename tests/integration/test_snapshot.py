"""What each role is shown of a room, what a client missed, and whom a rejoin token lets in."""

import hashlib
from collections.abc import AsyncIterator

import msgspec
import pytest
import trio
from msgspec import UNSET

from persistence import events, tokens
from persistence.snapshot import read_room, read_rooms, snapshot_for
from protocol import commands
from protocol.errors import ErrorCode, Refused
from protocol.values import ClubRole, RoomRole, SettingsPatch
from protocol.views import BanView, RoomSnapshot
from tests.support.live_rooms import Club, Socket, ask, attach, live_state, open_club, running
from tests.support.patience import PATIENCE_S
from tests.support.rooms import HOST, STAFF, START, hidden_cards, principal

pytestmark = pytest.mark.fail_after(60)

ROOM = "room-1"
TOKEN_MS = 300_000
OLD_MS = 10_000


@pytest.fixture
async def club(database_url: str) -> AsyncIterator[Club]:
    """A hand between the host and ann, one decision old; sue watches, app is let in, pen waits."""
    async with open_club(database_url) as made:
        await made.make_room(ROOM)
        await made.wallets(HOST, "ann", "bob")
        async with running(made.actor()) as actor:
            for user_id in ("ann", "sue", "app"):
                await ask(actor, user_id, commands.Join())
            await ask(actor, HOST, commands.ChangeSettings(settings=_approval()))
            await ask(actor, "pen", commands.Join(display_name="Penny"))
            await ask(actor, "sue", commands.Spectate(display_name="Sue B."))
            await ask(actor, HOST, commands.Seat(seat_index=2, buy_in=1_000))
            await ask(actor, "ann", commands.Seat(seat_index=5, buy_in=1_000))
            await ask(actor, HOST, commands.Start())
            await ask(actor, HOST, commands.Action(action="RAISE", amount=30))
        yield made


def _approval() -> SettingsPatch:
    return SettingsPatch(requires_approval=True)


async def seen_by(
    club: Club, user_id: str, *, wanted: RoomRole | None = None, role: ClubRole | None = None
) -> RoomSnapshot:
    stored = await read_room(club.pool, ROOM, user_id)
    assert stored is not None
    who = principal(user_id, role)
    return snapshot_for(stored, who, wanted=wanted, rejoin_token="token", now=START)


async def hands_of(club: Club) -> dict[str, list[str]]:
    async with club.pool.connection() as conn:
        rows = await (await conn.execute("SELECT user_id, hole_cards FROM players")).fetchall()
    return dict(rows)


def cards_in(snapshot: RoomSnapshot, cards: set[str]) -> set[str]:
    """Those of the cards that stand anywhere in a snapshot."""
    text = msgspec.json.encode(snapshot).decode()
    return {card for card in cards if f'"{card}"' in text or card in text.split('"')}


@pytest.mark.parametrize(
    ("user_id", "role"),
    [
        (HOST, "host"),
        ("ann", "player"),
        ("sue", "spectator"),
        ("app", "approved"),
        (STAFF, "spectator"),
    ],
)
async def test_each_role_sees_the_table_and_its_own_cards_only(
    club: Club, user_id: str, role: RoomRole
) -> None:
    hands = await hands_of(club)
    snapshot = await seen_by(club, user_id)
    assert (snapshot.role, snapshot.me.role) == (role, role)
    own = set(hands.get(user_id, []))
    everything = {card for hand in hands.values() for card in hand}
    assert cards_in(snapshot, everything) == own
    assert snapshot.me.hole_cards == (hands[user_id] if own else UNSET)
    assert [seat.user_id for seat in snapshot.seats] == [HOST, "ann"]
    assert [(seat.bet, seat.chips, seat.in_hand) for seat in snapshot.seats] == [
        (30, 970, True),
        (10, 990, True),
    ]
    assert [(one.user_id, one.display_name) for one in snapshot.spectators] == [("sue", "Sue B.")]
    assert snapshot.hand is not None
    assert (snapshot.hand.pot, snapshot.hand.current_bet) == (40, 30)
    assert snapshot.hand.actor_seat == 5
    assert snapshot.timer is not None
    assert snapshot.timer.actor_seat == 5
    assert [action.action for action in snapshot.recent_actions] == ["RAISE"]


async def test_only_the_one_to_act_is_told_what_they_may_do(club: Club) -> None:
    legal = (await seen_by(club, "ann")).me.legal_actions
    assert legal is not UNSET
    assert legal.call_amount == 20
    assert (await seen_by(club, HOST)).me.legal_actions is UNSET


@pytest.mark.parametrize("user_id", [HOST, STAFF])
async def test_operators_see_requests_and_controls(club: Club, user_id: str) -> None:
    snapshot = await seen_by(club, user_id)
    assert snapshot.pending_requests is not UNSET
    assert [(one.user_id, one.display_name) for one in snapshot.pending_requests] == [
        ("pen", "Penny")
    ]
    assert snapshot.host_controls is not UNSET
    controls = snapshot.host_controls
    assert (controls.can_pause, controls.can_start, controls.can_adjust_chips) == (
        True,
        False,
        False,
    )


@pytest.mark.parametrize("user_id", ["ann", "sue", "app"])
async def test_others_see_neither_requests_nor_controls(club: Club, user_id: str) -> None:
    snapshot = await seen_by(club, user_id)
    assert (snapshot.pending_requests, snapshot.host_controls) == (UNSET, UNSET)
    assert b"pending_requests" not in msgspec.json.encode(snapshot)


async def test_a_lesser_role_may_be_asked_for_and_shows_less(club: Club) -> None:
    snapshot = await seen_by(club, HOST, wanted="spectator")
    assert snapshot.role == "spectator"
    assert (snapshot.me.hole_cards, snapshot.me.seat_index) == (UNSET, UNSET)
    assert (snapshot.pending_requests, snapshot.host_controls) == (UNSET, UNSET)
    assert not cards_in(snapshot, set((await hands_of(club))[HOST]))


@pytest.mark.parametrize(
    ("user_id", "wanted"), [("ann", "host"), ("sue", "player"), ("app", "spectator")]
)
async def test_a_greater_role_is_forbidden(club: Club, user_id: str, wanted: RoomRole) -> None:
    with pytest.raises(Refused) as caught:
        await seen_by(club, user_id, wanted=wanted)
    assert caught.value.code is ErrorCode.FORBIDDEN


@pytest.mark.parametrize("user_id", ["pen", "zoe"])
async def test_who_is_not_let_in_sees_nothing(club: Club, user_id: str) -> None:
    with pytest.raises(Refused) as caught:
        await seen_by(club, user_id)
    assert caught.value.code is ErrorCode.FORBIDDEN


async def test_staff_who_play_see_their_own_cards_and_no_others(club: Club) -> None:
    hands = await hands_of(club)
    snapshot = await seen_by(club, "ann", role="staff")
    assert snapshot.me.hole_cards == hands["ann"]
    assert not cards_in(snapshot, set(hands[HOST]))
    assert snapshot.pending_requests is not UNSET


async def test_an_unknown_room_is_none(club: Club) -> None:
    assert await read_room(club.pool, "nowhere", HOST) is None


# What was missed


@pytest.mark.parametrize("user_id", [HOST, "ann", "sue"])
async def test_what_is_missed_is_what_a_socket_got(club: Club, user_id: str) -> None:
    """Play on with a socket listening; asked later, the events are the same, private ones too."""
    socket = Socket(user_id)
    async with running(club.actor()) as actor:
        hand = live_state(actor).hand
        assert hand is not None
        after = live_state(actor).seq
        (await attach(actor, user_id, socket)).release(after)
        await ask(actor, "ann", commands.Action(action="FOLD"))
        await ask(actor, HOST, commands.Start())
        await ask(actor, "ann", commands.Action(action="CALL"))
        await ask(actor, "bob", commands.Join())
        hidden = hidden_cards(hand) | hidden_cards(live_state(actor).hand or hand)
        missed = await missed_by(club, user_id, after, operator=user_id == HOST)
        assert missed is not None
        seq, told = missed
        assert seq == live_state(actor).seq
    dealt = [event for event in told if event["type"] == "cards_dealt"]
    assert len(dealt) == (0 if user_id == "sue" else 1)
    if user_id == "sue":
        assert not hidden & set(str(told).split("'"))
    assert told == socket.got


async def test_many_who_missed_something_are_told_what_each_would_be_told_alone(club: Club) -> None:
    async with running(club.actor()) as actor:
        await club.make_room("room-2")
        started = live_state(actor).seq
        await ask(actor, "ann", commands.Action(action="FOLD"))
        await ask(actor, HOST, commands.Start())
        await ask(actor, STAFF, commands.Ban(user_id="zoe", reason="rude"))
        await ask(actor, "kim", commands.Join())
    absences = [
        events.Absence(room_id, after, user_id, user_id in (HOST, STAFF))
        for room_id in (ROOM, "room-2", "nowhere")
        for after in (0, started, started + 2, started + 1_000)
        for user_id in (HOST, STAFF, "ann", "sue", "ann")
    ]
    alone = [(await events.missed_events(club.pool, [absence]))[0] for absence in absences]
    assert await events.missed_events(club.pool, absences) == alone
    assert sum(missed is not None for missed in alone) > len(alone) / 4
    assert len({len(missed.events) for missed in alone if missed is not None}) > 2
    assert await events.missed_events(club.pool, []) == []


async def test_rooms_read_together_are_what_each_asker_would_read_alone(club: Club) -> None:
    await club.make_room("room-2")
    asked = [
        (room_id, user_id)
        for user_id in (HOST, "ann", "sue", "nobody", "ann")
        for room_id in (ROOM, "nowhere", "room-2")
    ]
    alone = [await read_room(club.pool, *pair) for pair in asked]
    assert await read_rooms(club.pool, asked) == alone
    hole_cards = {str(stored.hole_cards) for stored in alone if stored is not None}
    assert len(hole_cards) > 1
    assert await read_rooms(club.pool, []) == []


async def test_a_connection_that_ended_between_hand_and_cards_misses_the_cards(club: Club) -> None:
    started = int(await club.one("SELECT seq FROM room_events WHERE type = 'hand_started'"))
    for user_id, dealt in (("ann", True), ("sue", False)):
        missed = await missed_by(club, user_id, started)
        assert missed is not None
        cards = [event for event in missed[1] if event["type"] == "cards_dealt"]
        assert [event["seq"] for event in cards] == ([started] if dealt else [])


async def test_operators_who_missed_a_ban_learn_its_reason_once(club: Club) -> None:
    socket = Socket(HOST)
    async with running(club.actor()) as actor:
        after = live_state(actor).seq
        (await attach(actor, HOST, socket)).release(after)
        await ask(actor, STAFF, commands.Ban(user_id="zoe", reason="first"))
        first = live_state(actor).seq
        await ask(actor, HOST, commands.Unban(user_id="zoe"))
        await ask(actor, STAFF, commands.Ban(user_id="zoe", reason="again"))
        await ask(actor, STAFF, commands.Ban(user_id="sue"))
    told = {}
    for operator in (True, False):
        missed = await missed_by(club, "app", after, operator=operator)
        assert missed is not None
        told[operator] = missed[1]
    # That of the ban that was lifted is gone with it.
    assert told[True] == [e for e in socket.got if "private" not in e or e["seq"] > first]
    assert told[False] == [e for e in socket.got if "private" not in e]
    assert "again" in str(told[True])
    assert "again" not in str(told[False])


async def test_only_host_and_staff_are_shown_who_is_banned_and_why(club: Club) -> None:
    async with running(club.actor()) as actor:
        await ask(actor, STAFF, commands.Ban(user_id="sue", reason="rude"))
    for user_id in (HOST, STAFF):
        bans = (await seen_by(club, user_id)).bans
        assert bans == [BanView("sue", "rude", STAFF, START)]
    for user_id in ("ann", "app"):
        snapshot = await seen_by(club, user_id)
        assert snapshot.bans is UNSET
        assert b"rude" not in msgspec.json.encode(snapshot)
    assert (await seen_by(club, HOST, wanted="player")).bans is UNSET


async def missed_by(
    club: Club, user_id: str, after: int, *, operator: bool = False, room_id: str = ROOM
) -> events.Missed | None:
    absence = events.Absence(room_id, after, user_id, operator)
    return (await events.missed_events(club.pool, [absence]))[0]


async def test_missed_events_have_no_silent_hole(club: Club) -> None:
    seq = int(await club.one("SELECT seq FROM game_states"))
    assert await missed_by(club, "sue", seq) == (seq, [])
    assert await missed_by(club, "sue", seq + 1) is None
    assert await missed_by(club, "sue", 0, room_id="nowhere") is None
    async with club.pool.connection() as conn:
        await conn.execute("DELETE FROM room_events WHERE seq = 2")
    assert await missed_by(club, "sue", 0) is None
    assert await missed_by(club, "sue", 2) is not None


async def test_more_than_can_be_made_up_for_is_none(club: Club) -> None:
    async with club.pool.connection() as conn:
        await conn.execute("UPDATE game_states SET seq = %s", (events.MAX_MISSED + 1,))
    assert await missed_by(club, "sue", 0) is None


# Rejoin tokens


async def holder_of(
    club: Club, digest: bytes, room_id: str | None, now: int
) -> tokens.TokenHolder | None:
    return (await tokens.holders_of(club.pool, [(digest, room_id)], now))[0]


async def holder(club: Club, token: str | None, now: int) -> tokens.TokenHolder | None:
    assert token is not None
    digest = hashlib.sha256(token.encode()).digest()
    return await holder_of(club, digest, ROOM, now)


async def rotate(club: Club, user_id: str, token: str, now: int) -> None:
    assert await rotate_all(club, [rotation(user_id, token)], now) == [True]


def rotation(user_id: str, token: str) -> tokens.Rotation:
    digest = hashlib.sha256(token.encode()).digest()
    return tokens.Rotation(ROOM, user_id, "spectator", None, digest)


async def rotate_all(club: Club, rotations: list[tokens.Rotation], now: int) -> list[bool]:
    until = {"expires_at": now + TOKEN_MS, "old_good_until": now + OLD_MS}
    return await tokens.rotate(club.pool, rotations, now=now, **until)


async def test_tokens_of_many_are_replaced_at_once_and_of_one_user_one_by_one(club: Club) -> None:
    several = [rotation("sue", "s1"), rotation("ann", "a1"), rotation("sue", "s2")]
    assert await rotate_all(club, several, START) == [True, True, False]
    until = {"expires_at": START + TOKEN_MS, "old_good_until": START + OLD_MS}
    await tokens.rotate_one(club.pool, several[2], now=START, **until)
    names = ("s1", "a1", "s2")
    held = [await holder(club, token, START + OLD_MS - 1) for token in names]
    assert [one and (one.user_id, one.replaced) for one in held] == [
        ("sue", True),
        ("ann", False),
        ("sue", False),
    ]
    digests = [(one.token_hash, ROOM) for one in several]
    assert await tokens.are_good(club.pool, digests, START) == [False, True, True]


async def test_replacing_tokens_waits_for_nobody_who_is_changing_one(club: Club) -> None:
    async with club.pool.transaction() as conn:
        await conn.execute("SELECT FROM rejoin_tokens WHERE user_id = 'sue' FOR UPDATE")
        with trio.fail_after(PATIENCE_S):
            both = [rotation("sue", "s1"), rotation("ann", "a1")]
            assert await rotate_all(club, both, START) == [False, True]


async def test_a_token_names_its_user_and_lives_so_long(club: Club) -> None:
    token = club.tokens[ROOM, "sue"]
    found = await holder(club, token, START + TOKEN_MS - 1)
    assert found == tokens.TokenHolder(ROOM, "sue", "spectator", False, "Sue B.")
    assert await holder(club, token, START + TOKEN_MS) is None
    assert await holder(club, "nonsense", START) is None
    digest = hashlib.sha256(str(token).encode()).digest()
    assert await holder_of(club, digest, "room-2", START) is None
    assert await holder_of(club, digest, None, START) == found


async def test_using_a_token_replaces_it_and_the_old_one_is_good_for_a_moment(club: Club) -> None:
    old = club.tokens[ROOM, "sue"]
    await rotate(club, "sue", "new", START + 1_000)
    replaced = await holder(club, old, START + 1_000 + OLD_MS - 1)
    assert replaced is not None
    assert replaced.replaced
    assert await holder(club, old, START + 1_000 + OLD_MS) is None
    fresh = await holder(club, "new", START + TOKEN_MS)
    assert fresh is not None
    assert not fresh.replaced


async def test_rotating_never_lengthens_an_older_tokens_life(club: Club) -> None:
    old = club.tokens[ROOM, "sue"]
    await rotate(club, "sue", "new", START + 1_000)
    await rotate(club, "sue", "newer", START + 5_000)
    assert await holder(club, old, START + 1_000 + OLD_MS) is None
    assert await holder(club, "new", START + 5_000 + OLD_MS - 1) is not None


async def test_a_token_is_good_to_the_end_of_the_running_hand(club: Club) -> None:
    late = START + 10 * TOKEN_MS
    token = club.tokens[ROOM, "ann"]
    assert await holder(club, token, late) is not None
    assert await tokens.sweep(club.pool, late) > 0
    assert await holder(club, token, late) is not None
    async with running(club.actor()) as actor:
        await ask(actor, "ann", commands.Action(action="FOLD"))
    assert await holder(club, token, late) is None
    await tokens.sweep(club.pool, late)
    assert await club.one("SELECT count(*) FROM rejoin_tokens") == 0


async def test_who_is_kicked_has_no_token(club: Club) -> None:
    token = club.tokens[ROOM, "sue"]
    async with running(club.actor()) as actor:
        await ask(actor, HOST, commands.Kick(user_id="sue"))
    assert await holder(club, token, START) is None


async def test_only_hashes_of_tokens_are_stored(club: Club) -> None:
    async with club.pool.connection() as conn:
        rows = await (await conn.execute("SELECT t::text FROM rejoin_tokens t")).fetchall()
        told = await (await conn.execute("SELECT outcome::text FROM commands")).fetchall()
    text = str(rows) + str(told)
    assert rows
    assert not [token for token in club.tokens.values() if token and token in text]
