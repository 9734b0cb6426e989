"""The room's inbox: what was written past the server, in the order in which it was written.

The rows of seats and waitlist are as the database has them now; the room's own row is as its server
last wrote it (see `persistence.hydration`), and what was written to it since is carried out here.
"""

from game import play, waitlist
from game.changes import OutsideTold
from game.decision import Context, Decision
from game.outside import corrections, queue
from game.state import OutsideWrite, RoomState

PLACES_AT_ONCE = 2_000
"""How many places of the queue are told in one commit at most: each write tells the whole queue,
and a bulk of them must not overflow the sockets of those who can keep up."""


def reconcile(state: RoomState, ctx: Context, out: Decision) -> list[str]:
    """Tell what was written from outside, mend what must be mended, empty the inbox.

    Of a bulk it tells a part; `state.untold` has the rest. No write that the schema lets pass
    raises.

    Returns:
        What could not be as it was written and was undone, a sentence each.
    """
    ctx = queue.as_outside(ctx)
    writes = _take(state)
    undone: list[str] = []
    out.places_told = queue.places_untouched(state, writes)
    for write in writes:
        match write.relation:
            case "waitlist":
                if not state.closed:
                    queue.tell_write(state, write, ctx, out)
            case "room_seats":
                corrections.tell_seat(state, write, ctx, out)
            case "rooms":
                undone += corrections.correct_room(state, write, ctx, out)
    out.write(OutsideTold(state.room_id, writes[-1].id))
    if state.untold:
        return undone
    if state.closed:
        waitlist.cancel_all(state, ctx, out)
        return undone
    corrections.settle_table(state, ctx, out)
    undone += queue.offer_seats(state, writes, ctx, out)
    waitlist.settle(state, ctx, out)
    play.schedule(state, ctx, out)
    return undone


def _take(state: RoomState) -> list[OutsideWrite]:
    """Take out of the inbox what is told now."""
    writes, limit = state.untold, max(1, PLACES_AT_ONCE // max(1, len(state.waitlist)))
    # The room's row is read back as it was before the first write to it that is not told: all of
    # these are carried out at once.
    whole = any(write.relation == "rooms" for write in writes[limit:])
    taken = writes if whole else writes[:limit]
    state.untold = writes[len(taken) :]
    return taken
