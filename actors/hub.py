"""Fans committed events out to the subscribers of a channel.

The hub is a plain synchronous object: an actor publishes what it committed, and when `publish`
returns every subscriber has its frames. Each event is encoded once per coding; subscribers that
see the same events in the same coding get the same bytes object, in one `enqueue` per publish.

A subscriber that needs a snapshot first subscribes with `hold=True`, reads the snapshot and then
releases: what was published meanwhile was buffered, what the snapshot contains is dropped, the
rest follows. Since an event is published only after its commit, a snapshot that says `seq` s
contains each event up to s, told already or not; so an event of seq up to s is never sent to this
subscription, not even when it is published after the release. A private event counts as contained
with the public event whose seq it carries. One for operators goes with no change that has a seq of
its own, so a snapshot of its very seq may not contain it: it is sent, perhaps once too often.

`publish` within `publish` (a hook that publishes) is carried out after the running one, so that
events of a channel reach everybody in one order.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Hashable, Mapping, Sequence
from types import MappingProxyType
from typing import Protocol

import structlog

from actors.mailbox import ActorsError
from protocol.audience import Audience, Told
from protocol.events import Event

log = structlog.stdlib.get_logger(__name__)

Channel = str
UserId = str

HOLD_LIMIT = 512
"""Most events that are buffered for a held subscription unless told otherwise."""

_NEVER = sys.maxsize
"""A floor above every seq."""


# An enum's member is a descriptor's work to look up; these are looked at per event and subscriber.
_EVERYONE = Audience.EVERYONE
_OPERATORS = Audience.OPERATORS


class Subscriber(Protocol):
    """One socket. Hashable by identity; its attributes do not change while it is subscribed."""

    @property
    def user_id(self) -> UserId:
        """Whose socket it is."""

    @property
    def coding(self) -> Hashable:
        """How its frames are encoded, as the hub's `encode` knows it."""

    @property
    def is_staff(self) -> bool:
        """Whether it sees events for operators in every room."""

    def enqueue(self, frames: bytes) -> None:
        """Take complete frames in order, without waiting. Raising means that the subscriber is
        lost."""


class HoldOverflow(ActorsError):
    """More events than the hold limit were published before a held subscription was released."""


class Subscription:
    """One subscriber's place in one channel. Made by `Hub.subscribe`."""

    __slots__ = (
        "_coding",
        "_enqueue",
        "_floor",
        "_held",
        "_hub",
        "_user_id",
        "active",
        "channel",
        "operator",
        "overflowed",
        "subscriber",
    )

    def __init__(
        self, hub: Hub, channel: Channel, subscriber: Subscriber, *, operator: bool, hold: bool
    ) -> None:
        self._hub = hub
        self._coding = subscriber.coding
        self._enqueue = subscriber.enqueue
        self._user_id = subscriber.user_id
        # Events up to this seq are not sent at once: they are contained in the snapshot, or all
        # are held.
        self._floor = _NEVER if hold else -1
        self._held: list[tuple[int, bytes]] | None = [] if hold else None
        self.channel = channel
        self.subscriber = subscriber
        self.operator = operator
        self.active = True
        """False once unsubscribed, dropped or replaced by a newer subscription."""
        self.overflowed = False
        """Whether it was dropped because too much was published while it was held."""

    def release(self, after_seq: int, first: bytes = b"") -> bool:
        """Send `first`, then the buffered events with a seq above `after_seq`, and go live.

        `first` is complete frames, usually the reply that carries the snapshot; it and the events
        are one `enqueue`. `after_seq` is the snapshot's seq; -1 for a channel whose events have no
        common sequence, which drops nothing. False when the subscription is not active any more
        (see `overflowed`), and nothing was sent then. Raises `ValueError` when it is live already.
        """
        if not self.active:
            return False
        if self._held is None:
            raise ValueError("the subscription is live already")
        frames = [first] if first else []
        frames += [frame for place, frame in self._held if place > after_seq]
        self._held = None
        self._floor = after_seq
        if frames:
            try:
                self._enqueue(b"".join(frames))
            except Exception as error:
                self._hub._lost(self.subscriber, error)
                return False
        return True


class _Members:
    """The subscriptions of one channel. Never empty while the hub has it."""

    __slots__ = ("subscriptions", "users")

    def __init__(self) -> None:
        self.subscriptions: dict[Subscriber, Subscription] = {}
        self.users: dict[UserId, int] = {}


class _Batch:
    """The events of one publish, encoded as far as somebody needed them."""

    __slots__ = (
        "_encode",
        "_encoded",
        "_for_operators",
        "_private_to",
        "_told",
        "alike",
        "first",
        "joined",
    )

    def __init__(self, encode: Callable[[Hashable, Event], bytes], told: Sequence[Told]) -> None:
        self._encode = encode
        self._told = told
        self._encoded: dict[tuple[Hashable, int], bytes] = {}
        # What subscriptions of one kind see; all of one coding are one kind if they see the same.
        self.joined: dict[Hashable, bytes] = {}
        self._for_operators = False
        self._private_to: set[UserId] | None = None
        self.first = _NEVER
        for event, audience in told:
            if event.seq < self.first:
                self.first = event.seq
            if isinstance(audience, str):
                self._private_to = {*(self._private_to or ()), audience}
            elif audience is _OPERATORS:
                self._for_operators = True
        self.alike = not self._for_operators and self._private_to is None

    def frames_for(self, to: Subscription) -> bytes:
        """Return all that the subscription sees, as the bytes object that all of its kind share."""
        kind: Hashable = to._coding
        if not self.alike:
            # What makes a difference in this batch, and nothing else, tells the kinds apart.
            private_to = self._private_to
            user_id = to._user_id if private_to and to._user_id in private_to else None
            kind = (kind, to.operator and self._for_operators, user_id)
        frames = self.joined.get(kind)
        if frames is None:
            frames = b"".join([frame for _, frame in self.visible_to(to)])
            self.joined[kind] = frames
        return frames

    def visible_to(self, to: Subscription) -> list[tuple[int, bytes]]:
        """Return place and frame of each event that the subscription sees, in order.

        The place is the lowest seq of a snapshot that contains the event for sure.
        """
        coding = to._coding
        visible = []
        for index, (event, audience) in enumerate(self._told):
            if (
                audience is _EVERYONE
                or (audience is _OPERATORS and to.operator)
                or audience == to._user_id
            ):
                key = (coding, index)
                frame = self._encoded.get(key)
                if frame is None:
                    frame = self._encoded[key] = self._encode(coding, event)
                visible.append((event.seq + (audience is _OPERATORS), frame))
        return visible


def _nothing_ready(_: Hashable) -> None:
    return None


class Hub:
    """All channels of this process.

    `encode(coding, event)` returns a complete frame. `hold_limit` is the most events buffered for
    one held subscription. Hooks must not wait; one that raises is logged:

    - `on_presence(channel, user_id, present)` when a user's first subscription of a channel comes,
      or the last one goes;
    - `on_drop(subscriber, error)` after a subscriber was dropped from all its channels, because its
      `enqueue` or the encoding for it raised, or with `HoldOverflow`. The owner closes the socket:
      the client has a hole.
    """

    def __init__(
        self,
        *,
        encode: Callable[[Hashable, Event], bytes],
        on_presence: Callable[[Channel, UserId, bool], None] | None = None,
        on_drop: Callable[[Subscriber, Exception], None] | None = None,
        hold_limit: int = HOLD_LIMIT,
    ) -> None:
        self._encode = encode
        self._on_presence = on_presence
        self._on_drop = on_drop
        self._hold_limit = hold_limit
        self._channels: dict[Channel, _Members] = {}
        self._channels_of: dict[Subscriber, set[Channel]] = {}
        self._publishing = False
        self._postponed: deque[tuple[Channel, Sequence[Told]]] = deque()

    def subscribe(
        self,
        channel: Channel,
        subscriber: Subscriber,
        *,
        operator: bool = False,
        hold: bool = False,
    ) -> Subscription:
        """Let the subscriber have the channel's events from now on.

        `operator` lets it see events for operators. `hold` buffers events until
        `Subscription.release`. A subscription that the subscriber has already is replaced, with
        what it holds.
        """
        subscription = Subscription(self, channel, subscriber, operator=operator, hold=hold)
        members = self._channels.get(channel)
        if members is None:
            members = self._channels[channel] = _Members()
        former = members.subscriptions.get(subscriber)
        members.subscriptions[subscriber] = subscription
        if former is not None:
            self._end(former)
            return subscription
        self._channels_of.setdefault(subscriber, set()).add(channel)
        user_id = subscription._user_id
        count = members.users.get(user_id, 0)
        members.users[user_id] = count + 1
        if not count:
            self._tell_presence(channel, user_id, True)
        return subscription

    def unsubscribe(self, channel: Channel, subscriber: Subscriber) -> bool:
        """End a subscription; what it holds is dropped. False when there was none."""
        members = self._channels.get(channel)
        if members is None:
            return False
        subscription = members.subscriptions.pop(subscriber, None)
        if subscription is None:
            return False
        self._end(subscription)
        channels = self._channels_of[subscriber]
        channels.discard(channel)
        if not channels:
            del self._channels_of[subscriber]
        user_id = subscription._user_id
        count = members.users[user_id] - 1
        if count:
            members.users[user_id] = count
            return True
        del members.users[user_id]
        if not members.subscriptions:
            del self._channels[channel]
        self._tell_presence(channel, user_id, False)
        return True

    def drop(self, subscriber: Subscriber) -> None:
        """End all subscriptions of a subscriber; harmless when it has none."""
        for channel in sorted(self._channels_of.get(subscriber, ())):
            self.unsubscribe(channel, subscriber)

    def unsubscribe_user(self, channel: Channel, user_id: UserId) -> int:
        """End all subscriptions of a user in a channel; return how many there were."""
        subscriptions = self._of_user(channel, user_id)
        for subscription in subscriptions:
            self.unsubscribe(channel, subscription.subscriber)
        return len(subscriptions)

    def set_operator(self, channel: Channel, user_id: UserId, operator: bool) -> None:
        """Say whether a user's subscriptions of a channel see events for operators from now on."""
        for subscription in self._of_user(channel, user_id):
            subscription.operator = operator or subscription.subscriber.is_staff

    def publish(self, channel: Channel, told: Sequence[Told]) -> None:
        """Send committed events, in order, to those subscribers of the channel who may see them.

        Never raises for a subscriber's sake: one whose `enqueue` or encoding raises is dropped,
        the others are served.
        """
        if self._publishing:
            self._postponed.append((channel, told))
            return
        self._publishing = True
        try:
            self._publish(channel, told)
            while self._postponed:
                self._publish(*self._postponed.popleft())
        finally:
            self._publishing = False

    def subscription(self, channel: Channel, subscriber: Subscriber) -> Subscription | None:
        """Return a subscriber's place in a channel, if it has one."""
        members = self._channels.get(channel)
        return None if members is None else members.subscriptions.get(subscriber)

    def channels_of(self, subscriber: Subscriber) -> tuple[Channel, ...]:
        """List the channels that a subscriber has, in no order."""
        return tuple(self._channels_of.get(subscriber, ()))

    def subscribers(self, channel: Channel) -> int:
        """Return how many subscriptions a channel has, held ones included."""
        members = self._channels.get(channel)
        return 0 if members is None else len(members.subscriptions)

    def users(self, channel: Channel) -> Mapping[UserId, int]:
        """Return how many subscriptions each user has in a channel; a read-only view of this
        moment."""
        members = self._channels.get(channel)
        return MappingProxyType({} if members is None else members.users)

    def connected(self, channel: Channel, user_id: UserId) -> bool:
        """Whether a user has a subscription in a channel."""
        members = self._channels.get(channel)
        return members is not None and user_id in members.users

    def _publish(self, channel: Channel, told: Sequence[Told]) -> None:
        members = self._channels.get(channel)
        if members is None or not told:
            return
        batch = _Batch(self._encode, told)
        first = batch.first
        ready = batch.joined.get if batch.alike else _nothing_ready
        # A copy: an `enqueue` that finds its socket closed may unsubscribe.
        for subscription in tuple(members.subscriptions.values()):
            try:
                if subscription._floor >= first:
                    self._publish_apart(subscription, batch)
                    continue
                frames = ready(subscription._coding)
                if frames is None:
                    frames = batch.frames_for(subscription)
                if frames:
                    subscription._enqueue(frames)
            except Exception as error:
                self._lost(subscription.subscriber, error)

    def _publish_apart(self, to: Subscription, batch: _Batch) -> None:
        """Serve a subscription that is held, has its snapshot's seq still ahead of it, or has
        ended."""
        if not to.active:
            return
        visible = batch.visible_to(to)
        if to._held is not None:
            to._held += visible
            if len(to._held) > self._hold_limit:
                to.overflowed = True
                raise HoldOverflow(f"more than {self._hold_limit} events while held")
            return
        frames = [frame for place, frame in visible if place > to._floor]
        if frames:
            to._enqueue(b"".join(frames))

    def _lost(self, subscriber: Subscriber, error: Exception) -> None:
        log.warning("subscriber_dropped", user_id=subscriber.user_id, exc_info=error)
        self.drop(subscriber)
        if self._on_drop is not None:
            try:
                self._on_drop(subscriber, error)
            except Exception:
                log.exception("hub_hook_failed", hook="on_drop")

    def _end(self, subscription: Subscription) -> None:
        subscription.active = False
        subscription._held = None
        # Whoever is going over the channel right now finds it unfit for the fast path.
        subscription._floor = _NEVER

    def _of_user(self, channel: Channel, user_id: UserId) -> list[Subscription]:
        members = self._channels.get(channel)
        if members is None or user_id not in members.users:
            return []
        return [one for one in members.subscriptions.values() if one._user_id == user_id]

    def _tell_presence(self, channel: Channel, user_id: UserId, present: bool) -> None:
        if self._on_presence is None:
            return
        try:
            self._on_presence(channel, user_id, present)
        except Exception:
            log.exception("hub_hook_failed", hook="on_presence", channel=channel)
