"""Books that tests keep beside a room, to see that rows and events tell the same as its state."""

from game import rows
from game.changes import PushQueued, WaitlistPut
from game.decision import Decision
from game.state import RoomState
from protocol.events import SeatOffered, WaitlistPosition, WaitlistUpdate
from protocol.ids import STAFF_PORTAL


class WaitlistBooks:
    """A waitlist as its rows, its room, staff and its players know it."""

    def __init__(self) -> None:
        self.stored: dict[str, WaitlistPut] = {}
        self.shown: list[str] = []
        self.told: dict[str, int] = {}

    def keep(self, state: RoomState, out: Decision) -> None:
        """Take a decision in; `out.changes` holds its rows."""
        for row in out.changes:
            if isinstance(row, WaitlistPut):
                self.stored[row.entry_id] = row
                live = [r.player_id for r in self.stored.values() if r.position is not None]
                assert len(live) == len(set(live)), "one live entry a player, after every row"
        self._compare_rows(state)
        self._compare_events(state, out)

    def _compare_rows(self, state: RoomState) -> None:
        due = [rows.waitlist_entry(state.room_id, e, i) for i, e in enumerate(state.waitlist, 1)]
        live = [row for row in self.stored.values() if row.position is not None]
        assert sorted(live, key=lambda row: row.position or 0) == due
        held = [entry.seat_index for entry in state.waitlist if entry.seat_index is not None]
        assert len(held) == len(set(held)), "a seat is held for one"
        assert not set(held) & set(state.seats), "a held seat is free"
        for entry in state.waitlist:
            assert entry.status in ("waiting", "called")
            called = entry.status == "called"
            assert (entry.seat_index is not None) == called == (entry.expires_at is not None)
            assert entry.player_id not in state.bans
            assert state.seat_of(entry.player_id) is None
        free = set(range(state.seat_count)) - set(state.seats) - set(held)
        waits = any(entry.status == "waiting" for entry in state.waitlist)
        assert not (free and waits), "a free seat calls the first in line"

    def _compare_events(self, state: RoomState, out: Decision) -> None:
        public = [told.event for told in out.told if isinstance(told.event, WaitlistUpdate)]
        assert [_bare(event) for event in out.for_staff] == [_bare(event) for event in public]
        assert all(event.channel == STAFF_PORTAL for event in out.for_staff)
        for event in public:
            assert [e.position for e in event.entries] == list(range(1, len(event.entries) + 1))
            self.shown = [f"{e.id} {e.status} {e.seat_index} {e.expires_at}" for e in event.entries]
        assert self.shown == [
            f"{e.entry_id} {e.status} {e.seat_index} {e.expires_at}" for e in state.waitlist
        ]
        offers = [(who, e.expires_at) for who, e in out.personal if isinstance(e, SeatOffered)]
        pushed = [row for row in out.changes if isinstance(row, PushQueued)]
        assert offers == [(r.user_id, r.expires_at) for r in pushed if r.kind == "seat_offer"]
        clients = {entry.entry_id for entry in state.waitlist if entry.has_client}
        moved = {event.player_id for event in public if event.change == "moved"}
        for user_id, place in out.personal:
            if isinstance(place, WaitlistPosition):
                assert place.ahead == place.position - 1
                news = user_id in moved or self.told.get(place.entry_id) != place.position
                assert news, "told only when changed, or when a seat is offered no more"
                self.told[place.entry_id] = place.position
        self.told = {key: place for key, place in self.told.items() if key in clients}
        assert self.told == {key: state.places[key] for key in clients}


def _bare(event: object) -> object:
    assert isinstance(event, WaitlistUpdate)
    return (event.change, event.player_id, event.position, event.timestamp, event.entries)
