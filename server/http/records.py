"""What is kept of a room: finished hands, hand histories in PHH, the ledger as CSV."""

from msgspec import Struct
from quart import Response

from server.archive import File
from server.http.answers import HandsAnswer
from server.http.bodies import HandsQuery, NoBody
from server.http.calls import Call, Routes, plain_response

_ROOM = "/api/rooms/{room_id}"

ROUTES = Routes("records")

PHH = "text/plain; charset=utf-8"
CSV = "text/csv; charset=utf-8"


@ROUTES("GET", f"{_ROOM}/hands", takes=HandsQuery, answers=HandsAnswer)
async def list_hands(call: Call, query: HandsQuery) -> Struct:
    """List a room's finished hands, newest first."""
    hands = list(
        await call.club.records.hands(call.principal, call.room_id, query.before, query.limit)
    )
    more = len(hands) == query.limit
    return HandsAnswer(hands=hands, next_before=hands[-1].number if more else None)


@ROUTES("GET", f"{_ROOM}/hands/{{number}}.phh", takes=NoBody, answers=PHH)
async def hand_history(call: Call, _: NoBody) -> Response:
    """Get a finished hand's history in PHH, with the cards that the asker may know."""
    number = int(call.path["number"])
    return _download(
        await call.club.records.hand_history(call.principal, call.room_id, number), PHH
    )


@ROUTES("GET", f"{_ROOM}/ledger.csv", takes=NoBody, answers=CSV)
async def ledger_csv(call: Call, _: NoBody) -> Response:
    """Get the room's ledger, one row per player and sitting (host and staff)."""
    return _download(await call.club.records.room_books(call.principal, call.room_id), CSV)


def _download(file: File, media_type: str) -> Response:
    response = plain_response(file.text, media_type)
    # A join code and a number: nothing in it needs quoting.
    response.headers["Content-Disposition"] = f'attachment; filename="{file.name}"'
    return response
