"""One room's state as a client knows it: a snapshot, and events applied to it one by one.

No I/O and no clock: the same snapshot and events always make the same state, and a state built from
events equals the one that a snapshot at the same `seq` would give. What no event tells is not in
that comparison (`same_state`): when somebody was last seen, and when the next hand is due after
something else than the end of a hand.
"""

from enum import Enum
from typing import Any

from msgspec import UNSET, Struct, structs

from client.messages import AnyEvent, OtherEvent
from client.mirror_hand import HandResult, HandTracker
from protocol import events
from protocol.events import Event
from protocol.values import LegalActions, RoomRole, RoomSettings
from protocol.views import (
    BanView,
    GameView,
    HandView,
    HostControls,
    PendingRequest,
    RecentAction,
    RoomSnapshot,
    RoomView,
    RunItView,
    SeatView,
    SpectatorView,
    TimerView,
    WaitlistPlace,
)

RECENT_ACTIONS = 20
_SETTINGS = RoomSettings.__struct_fields__


class Outcome(Enum):
    """What an event was to a mirror."""

    NEWS = "news"
    STALE = "stale"
    """Nothing new; the state did not change."""
    HOLE = "hole"
    """Something is missing: only a new snapshot helps."""


class Mirror:
    """The room as one user sees it. Read it freely; only `install` and `apply` change it.

    Args:
        snapshot: where to start.
        staff: whether the user is staff of the club.
    """

    def __init__(self, snapshot: RoomSnapshot, *, staff: bool = False) -> None:
        self.user_id = snapshot.me.user_id
        self.staff = staff
        self.last_result: HandResult | None = None
        self.install(snapshot)

    def install(self, snapshot: RoomSnapshot) -> None:
        """Start again from a snapshot."""
        me = snapshot.me
        self.seq = snapshot.seq
        self.room: RoomView = snapshot.room
        self.game: GameView | None = snapshot.game
        self.seats: dict[int, SeatView] = {seat.seat_index: seat for seat in snapshot.seats}
        self.spectators: dict[str, SpectatorView] = {s.user_id: s for s in snapshot.spectators}
        self.display_name = me.display_name
        self.hole_cards: list[str] | None = me.hole_cards or None
        self.recent_actions: list[RecentAction] = list(snapshot.recent_actions)
        self.timer: TimerView | None = snapshot.timer
        self.waitlist: list[WaitlistPlace] = list(snapshot.waitlist)
        self.pending: dict[str, PendingRequest] | None = (
            None
            if snapshot.pending_requests is UNSET
            else {request.user_id: request for request in snapshot.pending_requests}
        )
        self.bans: dict[str, BanView] | None = (
            None if snapshot.bans is UNSET else {ban.user_id: ban for ban in snapshot.bans}
        )
        """Who may not come in; None for all but host and staff."""
        self._let_in: RoomRole = "approved"
        self._legal: LegalActions | None = me.legal_actions or None
        self._hand: HandTracker | None = (
            None if snapshot.hand is None else HandTracker.taken_up(snapshot.hand, snapshot.seats)
        )

    # What is read

    @property
    def hand(self) -> HandView | None:
        """The running hand; None between hands."""
        return None if self._hand is None else self._hand.view(self.seats)

    @property
    def my_seat(self) -> SeatView | None:
        """The user's own seat."""
        return next((s for s in self.seats.values() if s.user_id == self.user_id), None)

    @property
    def legal_actions(self) -> LegalActions | None:
        """What the user may do just now; None when it is not their turn."""
        seat = self.my_seat
        if self.timer is None or seat is None or seat.seat_index != self.timer.actor_seat:
            return None
        return self._legal

    @property
    def run_it(self) -> RunItView | None:
        """The vote on how often to deal the rest of the board, where the user is yet to answer."""
        hand, seat = self.hand, self.my_seat
        vote = None if hand is None else hand.run_it
        if vote is None or seat is None or seat.seat_index not in vote.seats:
            return None
        answered = any(answer.seat_index == seat.seat_index for answer in vote.votes)
        return None if answered else vote

    @property
    def may_go_all_in(self) -> bool:
        """Whether going all-in puts in the user's last chip just now.

        Pot limit and fixed limit may be below the stack; `ALL_IN` is refused then.
        """
        legal, seat = self.legal_actions, self.my_seat
        if legal is None or seat is None:
            return False
        if legal.max_raise_to is not None:
            return legal.max_raise_to == seat.bet + seat.chips
        return legal.call_amount == seat.chips

    @property
    def role(self) -> RoomRole:
        """What the user is in this room."""
        if self.user_id == self.room.host_id:
            return "host"
        if self.my_seat is not None:
            return "player"
        if self.staff or self.user_id in self.spectators:
            return "spectator"
        return self._let_in

    @property
    def host_controls(self) -> HostControls | None:
        """What the user may do as host or staff just now; None for others."""
        if not self._operates:
            return None
        is_open, paused = self.room.status != "closed", self.room.status == "paused"
        ready = sum(seat.status == "active" and seat.chips > 0 for seat in self.seats.values())
        between = self._hand is None
        return HostControls(
            can_pause=is_open and not paused,
            can_kick=is_open,
            can_adjust_chips=is_open and between,
            can_start=is_open and not paused and between and ready >= 2,
        )

    @property
    def pending_requests(self) -> list[PendingRequest]:
        """Who waits to be let in, the longest first; empty for all but host and staff."""
        return sorted((self.pending or {}).values(), key=lambda request: request.requested_at)

    @property
    def _operates(self) -> bool:
        return self.staff or self.user_id == self.room.host_id

    # What changes

    def apply(self, event: AnyEvent) -> Outcome:
        """Apply the next event of the room's channel."""
        private = event.private if isinstance(event, OtherEvent) else not _is_public(event)
        if private:
            return self._apply_private(event)
        if event.seq <= self.seq:
            return Outcome.STALE
        if event.seq > self.seq + 1:
            return Outcome.HOLE
        if isinstance(event, OtherEvent):
            if event.known:
                return Outcome.HOLE
            self.seq = event.seq
            return Outcome.NEWS
        complete = self._apply_public(event)
        self.seq = event.seq
        return Outcome.NEWS if complete else Outcome.HOLE

    def _apply_private(self, event: AnyEvent) -> Outcome:
        if event.seq > self.seq:
            return Outcome.HOLE
        match event:
            case events.CardsDealt(hand_id=hand_id, hole_cards=cards):
                hand = self._hand
                if hand is None or hand.hand_id != hand_id or self.hole_cards is not None:
                    return Outcome.STALE
                self.hole_cards = cards
                return Outcome.NEWS
            case events.PlayerJoinRequested():
                if self.pending is None or event.seq < self.seq or event.user_id in self.pending:
                    return Outcome.STALE
                self.pending[event.user_id] = PendingRequest(
                    event.user_id, event.display_name, event.requested_at
                )
                return Outcome.NEWS
            case events.BanTold(banned_by=str(banned_by)):
                if self.bans is None or event.seq < self.seq or event.user_id in self.bans:
                    return Outcome.STALE
                self.bans[event.user_id] = BanView(
                    event.user_id, event.reason, banned_by, event.banned_at
                )
                return Outcome.NEWS
            case _:
                return Outcome.STALE

    def _apply_public(self, event: Event) -> bool:
        """Apply a public event; say whether nothing is missing to go on."""
        match event:
            case (
                events.HandStarted()
                | events.TurnStarted()
                | events.PlayerAction()
                | events.RunItOffered()
                | events.RunItVoted()
                | events.RunItDecided()
                | events.StreetAdvanced()
                | events.Showdown()
                | events.PotDistributed()
                | events.HandComplete()
            ):
                return self._apply_to_hand(event)
            case (
                events.PlayerSeated()
                | events.PlayerLeftSeat()
                | events.SeatFreed()
                | events.PlayerDisconnected()
                | events.PlayerReconnected()
                | events.PlayerSatOut()
                | events.PlayerSatIn()
                | events.ChipsAdded()
                | events.ChipsAdjusted()
            ):
                self._apply_to_seat(event)
            case events.PlayerApproved():
                self._decided(event.user_id)
            case events.PlayerRejected():
                self._decided(event.user_id)
                if event.user_id == self.user_id:
                    self._let_in = "guest"
            case events.SpectatorJoined():
                who = SpectatorView(event.user_id, event.display_name)
                self.spectators[event.user_id] = who
            case events.SpectatorLeft():
                self.spectators.pop(event.user_id, None)
                if event.user_id == self.user_id and event.reason in ("left", "kicked"):
                    self._let_in = "guest"
            case events.PlayerKicked():
                self._decided(event.user_id)
                if event.seat_index is not None:
                    self.seats.pop(event.seat_index, None)
                if event.user_id == self.user_id:
                    self._let_in = "guest"
            case events.PlayerJoinWithdrawn():
                if self.pending is not None:
                    self.pending.pop(event.user_id, None)
            case events.PlayerBanned():
                # Host and staff are told why and by whom right behind it.
                pass
            case events.PlayerUnbanned():
                if self.bans is not None:
                    self.bans.pop(event.user_id, None)
            case _:
                return self._apply_to_room(event)
        return True

    def _decided(self, user_id: str) -> None:
        if self.pending is not None:
            self.pending.pop(user_id, None)
        if user_id == self.user_id:
            self._let_in = "approved"

    def _apply_to_room(self, event: Event) -> bool:
        match event:
            case events.SettingsChanged():
                if self._hand is None:
                    self._take_settings(event.settings)
                else:
                    self._set_room(next_settings=event.settings)
            case events.GameStarted():
                self.game = GameView(
                    id=event.game_id,
                    status="playing",
                    hands_played=0,
                    current_hand_id=None,
                    next_hand_at=None,
                )
                self._set_room(status="playing")
            case events.GamePaused():
                self._set_game(status="paused", next_hand_at=None)
                self._set_room(status="paused")
            case events.GameResumed():
                self._set_game(status="playing")
                self._set_room(status="playing")
            case events.HostChanged():
                self._set_room(host_id=event.host_id)
                if not self._operates:
                    self.pending = self.bans = None
                # A new host has not been told who waits, nor who is banned.
                return not self._operates or self.pending is not None
            case events.WaitlistUpdate():
                self.waitlist = event.entries
            case events.RoomClosed():
                self._set_game(status="ended", next_hand_at=None)
                self._set_room(status="closed")
            case _:
                return False
        return True

    def _apply_to_seat(self, event: Event) -> None:
        match event:
            case events.PlayerSeated():
                self.seats[event.seat_index] = SeatView(
                    seat_index=event.seat_index,
                    user_id=event.user_id,
                    display_name=event.display_name,
                    chips=event.chips,
                    bet=0,
                    status="active",
                    in_hand=False,
                    all_in=False,
                    connected=True,
                    last_seen_at=event.at,
                    shown_cards=None,
                )
                if event.user_id == self.user_id:
                    self.display_name = event.display_name
            case events.PlayerLeftSeat() | events.SeatFreed():
                self.seats.pop(event.seat_index, None)
            case events.PlayerDisconnected():
                self._set_seat(event.seat_index, connected=False, last_seen_at=event.last_seen_at)
            case events.PlayerReconnected():
                self._set_seat(event.seat_index, connected=True, last_seen_at=event.at)
            case events.PlayerSatOut():
                self._set_seat(event.seat_index, status="sitting_out")
            case events.PlayerSatIn():
                self._set_seat(event.seat_index, status="active")
            case events.ChipsAdded() | events.ChipsAdjusted():
                self._set_seat(event.seat_index, chips=event.chips)

    def _apply_to_hand(self, event: Event) -> bool:
        if isinstance(event, events.HandStarted):
            self._hand = HandTracker.begun(event, self.seats)
            self.hole_cards = None
            self._clock(None)
            self._set_game(
                hands_played=event.number, current_hand_id=event.hand_id, next_hand_at=None
            )
            return True
        hand = self._hand
        if hand is None:
            return False
        match event:
            case events.TurnStarted():
                hand.turn(event)
                self._clock(event)
                mine = event.user_id == self.user_id
                return not mine or self.hole_cards is not None
            case events.PlayerAction():
                hand.acted(event, self.seats)
                self._clock(None)
                self._remember(event)
            case events.RunItOffered():
                hand.offered(event, self.seats)
            case events.RunItVoted():
                hand.voted(event)
            case events.RunItDecided():
                hand.decided()
            case events.StreetAdvanced():
                hand.street(event, self.seats)
            case events.Showdown():
                hand.shown(event, self.seats)
            case events.PotDistributed():
                hand.distributed(event)
            case events.HandComplete():
                self.last_result = hand.complete(event, self.seats)
                self._hand = None
                self.hole_cards = None
                self._clock(None)
                self._set_game(current_hand_id=None, next_hand_at=event.next_hand_at)
                if self.room.next_settings is not None:
                    self._take_settings(self.room.next_settings)
        return True

    def _clock(self, turn: events.TurnStarted | None) -> None:
        if turn is None:
            self.timer, self._legal = None, None
            return
        self._legal = turn.legal
        self.timer = TimerView(
            actor_seat=turn.seat_index,
            started_at=turn.at,
            deadline=turn.deadline,
            timebank_remaining=turn.timebank_remaining,
        )

    def _remember(self, event: events.PlayerAction) -> None:
        self.recent_actions.append(
            RecentAction(
                hand_id=event.hand_id,
                seq=event.seq,
                seat_index=event.seat_index,
                user_id=event.user_id,
                action=event.action,
                amount=event.amount,
                auto=event.auto,
                at=event.at,
            )
        )
        del self.recent_actions[:-RECENT_ACTIONS]

    # A struct's fields, by name: mypy knows no types for `structs.replace`.

    def _set_seat(self, seat_index: int, **fields: Any) -> None:
        seat = self.seats.get(seat_index)
        if seat is not None:
            self.seats[seat_index] = structs.replace(seat, **fields)

    def _set_game(self, **fields: Any) -> None:
        if self.game is not None:
            self.game = structs.replace(self.game, **fields)

    def _set_room(self, **fields: Any) -> None:
        self.room = structs.replace(self.room, **fields)

    def _take_settings(self, settings: RoomSettings) -> None:
        given = {name: getattr(settings, name) for name in _SETTINGS}
        self._set_room(next_settings=None, **given)


class Comparable(Struct, frozen=True):
    """What two mirrors of one user in one room must agree on."""

    seq: int
    role: RoomRole
    room: RoomView
    game: GameView | None
    hand: HandView | None
    seats: list[SeatView]
    spectators: list[SpectatorView]
    hole_cards: list[str] | None
    legal_actions: LegalActions | None
    recent_actions: list[RecentAction]
    timer: TimerView | None
    waitlist: list[WaitlistPlace]
    pending: list[PendingRequest]
    bans: list[BanView] | None
    host_controls: HostControls | None


def comparable(mirror: Mirror) -> Comparable:
    """Draw what is derived from events alone, in one order."""
    game = mirror.game
    return Comparable(
        seq=mirror.seq,
        role=mirror.role,
        room=mirror.room,
        game=None if game is None else structs.replace(game, next_hand_at=None),
        hand=mirror.hand,
        seats=[
            structs.replace(seat, connected=True, last_seen_at=0)
            for _, seat in sorted(mirror.seats.items())
        ],
        spectators=[mirror.spectators[user_id] for user_id in sorted(mirror.spectators)],
        hole_cards=mirror.hole_cards,
        legal_actions=mirror.legal_actions,
        recent_actions=mirror.recent_actions,
        timer=mirror.timer,
        waitlist=mirror.waitlist,
        pending=mirror.pending_requests,
        bans=None
        if mirror.bans is None
        else [mirror.bans[user_id] for user_id in sorted(mirror.bans)],
        host_controls=mirror.host_controls,
    )


def same_state(one: Mirror, other: Mirror) -> bool:
    """Say whether two mirrors, of the same user and room, are in the same state."""
    return comparable(one) == comparable(other)


def _is_public(event: Event) -> bool:
    return isinstance(event, events.PublicEvent)
