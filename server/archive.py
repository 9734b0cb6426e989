"""What is kept of a room: its finished hands and its books, each as the asker may have it.

Nothing here asks the room's actor: what is finished is in the database.
"""

import trio
from msgspec import Struct

from game.poker.history import compose, open_seats
from persistence import hands, room_ledger
from persistence.hands import FinishedHand
from persistence.pool import Pool
from persistence.snapshot import StoredRoom
from protocol.errors import ErrorCode, Refused
from protocol.principal import Principal
from protocol.values import Variant, Winner
from server.ledger_csv import ledger_csv

STAFF_SEE_ALL_AFTER_MS = 24 * 60 * 60 * 1000
"""How long after a hand its unshown cards are kept from staff, too."""

_WATCHERS = frozenset({"host", "player", "spectator", "approved"})


class File(Struct, frozen=True):
    """A text to be saved, with the name that it should have."""

    name: str
    text: str


class PlayerOfHand(Struct, frozen=True, kw_only=True):
    """Who was dealt in, under the name of that time."""

    seat_index: int
    user_id: str
    display_name: str


class HandLine(Struct, frozen=True, kw_only=True):
    """A finished hand in short. Times are UTC in ms; `pot` is all that was contested, with rake."""

    number: int
    id: str
    variant: Variant
    started_at: int
    ended_at: int
    players: list[PlayerOfHand]
    board: list[str]
    pot: int
    winners: list[Winner]


async def list_hands(
    pool: Pool, principal: Principal, room: StoredRoom, before: int | None, limit: int
) -> list[HandLine]:
    """List finished hands, newest first; to who may not watch, those that they played.

    Raises:
        Refused: `forbidden` for who neither may watch nor ever played here.
        Unavailable: the database is away.
    """
    room_id, user_id = room.room.id, principal.user_id
    player = None if _may_watch(principal, room) else user_id
    if player is not None and not await hands.has_played(pool, user_id, room_id):
        raise _forbidden()
    found = await hands.finished_hands(pool, room_id, player=player, before=before, limit=limit)
    lines = []
    for hand in found:
        lines.append(_line(hand))
        # Each is a replay: tables come first.
        await trio.lowlevel.checkpoint()
    return lines


async def hand_history(
    pool: Pool, principal: Principal, room: StoredRoom, number: int, now: int
) -> File:
    """Write one finished hand in PHH, with the hole cards that the asker may know.

    Those are the asker's own and those that were shown; for staff all of them, once the hand is a
    day old.

    Raises:
        Refused: `forbidden` for who may not watch and was not in the hand (or there is no such
            hand), `conflict` while it runs, `not_found`.
        Unavailable: the database is away.
    """
    stored = await hands.finished_hand(pool, room.room.id, number)
    players = () if stored is None else tuple(seat.user_id for seat in stored.setup.seats)
    if not _may_watch(principal, room) and principal.user_id not in players:
        raise _forbidden()
    if stored is None:
        if await hands.is_running(pool, room.room.id, number):
            raise Refused(ErrorCode.CONFLICT, "This hand is still being played.")
        raise Refused(ErrorCode.NOT_FOUND, "There is no hand with this number.")
    aged = now - stored.about.ended_at >= STAFF_SEE_ALL_AFTER_MS
    hand = stored.replay()
    known = open_seats(hand, principal.user_id, everything=principal.is_staff and aged)
    return File(f"{stored.name}.phh", compose(hand, stored.about, known).dumps() + "\n")


async def room_books(pool: Pool, principal: Principal, room: StoredRoom) -> File:
    """Write the room's ledger as CSV, for its host and for staff.

    Raises:
        Refused: `forbidden`.
        Unavailable: the database is away.
    """
    if room.role_of(principal.user_id) != "host" and not principal.is_staff:
        raise Refused(ErrorCode.FORBIDDEN, "Only the host or staff may do this.")
    lines = await room_ledger.sittings(pool, room.room.id)
    return File(f"{room.room.code}-ledger.csv", ledger_csv(lines))


def _may_watch(principal: Principal, room: StoredRoom) -> bool:
    return principal.is_staff or room.role_of(principal.user_id) in _WATCHERS


def _forbidden() -> Refused:
    return Refused(ErrorCode.FORBIDDEN, "You have not been let into this room.")


def _line(stored: FinishedHand) -> HandLine:
    hand, about = stored.replay(), stored.about
    winners = hand.winners()
    return HandLine(
        number=stored.setup.number,
        id=stored.setup.hand_id,
        variant=stored.setup.variant,
        started_at=about.started_at,
        ended_at=about.ended_at,
        players=[
            PlayerOfHand(
                seat_index=seat.seat_index,
                user_id=seat.user_id,
                display_name=about.names.get(seat.seat_index, seat.user_id),
            )
            for seat in stored.setup.seats
        ],
        board=hand.board,
        pot=hand.rake + sum(winner.amount for winner in winners),
        winners=winners,
    )
