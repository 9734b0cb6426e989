"""What deciding costs in `game/`, for each variant: an action, a street, a showdown.

A table of six plays random hands by the rules alone: `decide`, and the rows that the decision
writes, as the room's actor has them. Each hand is played twice, with the same cards and decisions:
with PokerKit's own hand types and with ours, in turn, so that both see the same machine. What is
measured is processor time: waiting for a busy machine does not count.
"""

from __future__ import annotations

import gc
import random
import statistics
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast
from unittest.mock import patch

from pokerkit import Card
from rich.console import Console
from rich.table import Table

from bench.showdowns import name_of
from game.decide import decide
from game.decision import Context, Decision
from game.poker import hand as hands
from game.poker.variants import VARIANTS, VariantRules
from game.state import Member, RoomState
from protocol import commands
from protocol.events import Event, PotDistributed, Showdown, StreetAdvanced
from protocol.ids import UserId
from protocol.principal import Principal
from protocol.values import RoomSettings

PLAYERS = 6
STACK = 10_000
WARM_UP = 20
"""Hands before anything is measured: tables are built, caches filled."""
KINDS = ("action", "street", "last fold", "showdown")
"""What a decision brings, the dearest thing counting."""
HOST = Principal(UserId("p0"), "p0", "player")

Times = dict[str, list[int]]
"""Processor time of each decision in nanoseconds, by kind."""


@dataclass(frozen=True, slots=True)
class PlainRules(VariantRules):
    """A variant whose hands are PokerKit's own."""

    def rank(self, hole: Sequence[Card], board: Sequence[Card]) -> str:
        """Name a hand as `VariantRules` does."""
        hands = [kind.from_game_or_none(hole, board) for kind in self.hand_types]
        return " / ".join(name_of(hand) for hand in hands if hand is not None)


def with_plain_types(rules: VariantRules) -> PlainRules:
    """Return the same variant with PokerKit's own hand types."""
    references = tuple(kind.reference for kind in rules.hand_types)
    return PlainRules(rules.name, rules.game, cast(Any, references), rules.bet_sizes)


class Room:
    """A room under the rules, whose players have the same stacks in each hand."""

    def __init__(self, rules: VariantRules, seed: int) -> None:
        self.times: Times = defaultdict(list)
        self._rules = rules
        self._rng = random.Random(seed)
        self._now = 1_000_000
        settings = RoomSettings(
            variant=rules.name,
            requires_approval=False,
            auto_start=False,
            max_seats=PLAYERS,
            max_buy_in=STACK,
        )
        host = Member(HOST.user_id, "p0", "approved", 0, 0, 0)
        self.state = RoomState("room", "ROOM", HOST.user_id, settings, 0, 0, 1)
        self.state.members[HOST.user_id] = host
        for index in range(PLAYERS):
            who = Principal(UserId(f"p{index}"), f"p{index}", "player")
            if who != HOST:
                self._decide(commands.Join(), who)
            self._decide(commands.Seat(seat_index=index, buy_in=STACK), who)

    def play(self) -> None:
        """Play one hand to its end, and keep what its decisions took."""
        state, rng = self.state, self._rng
        for seat in state.seats.values():
            seat.chips = STACK
        with patch.object(hands, "VARIANTS", {self._rules.name: self._rules}):
            self._decide(commands.Start(), HOST)
            while state.hand is not None and state.clock is not None:
                who = state.seats[state.clock.seat_index].user_id
                command = self._choose(rng)
                principal = Principal(UserId(who), who, "player")
                began = time.thread_time_ns()
                events = self._decide(command, principal)
                took = time.thread_time_ns() - began
                self.times[_kind(events)].append(took)

    def _decide(self, command: commands.AnyRoomCommand, who: Principal) -> list[Event]:
        out = Decision(self.state)
        decide(self.state, command, who, self._context(command), out)
        out.writes()
        return [told.event for told in out.told]

    def _context(self, command: commands.AnyRoomCommand) -> Context:
        deck = None
        if isinstance(command, commands.Start):
            cards = list(self._rules.deck)
            self._rng.shuffle(cards)
            deck = tuple(cards)
        return Context(
            now=self._now,
            hand_interval_ms=3_000,
            reject_cooldown_ms=60_000,
            seat_offer_ms=60_000,
            max_members=100,
            rigging_enabled=False,
            deck=deck,
        )

    def _choose(self, rng: random.Random) -> commands.Action:
        hand = self.state.hand
        assert hand is not None
        legal, lot = hand.legal(), rng.random()
        if lot < 0.1 and legal.min_raise_to is not None:
            name: Any = "RAISE" if hand.current_bet else "BET"
            return commands.Action(action=name, amount=legal.min_raise_to)
        if legal.can_check:
            return commands.Action(action="CHECK")
        return commands.Action(action="FOLD" if lot > 0.75 else "CALL")


def measure(variant: str, count: int, seed: int) -> tuple[Times, Times]:
    """Play hands with PokerKit's own types and with ours, in turn.

    Returns:
        What each decision took, by kind: with PokerKit's own types, then with ours.
    """
    rules = VARIANTS[variant]
    rooms = Room(with_plain_types(rules), seed), Room(rules, seed)
    for _ in range(WARM_UP):
        for room in rooms:
            room.play()
    for room in rooms:
        room.times.clear()
    gc.collect()
    for _ in range(count):
        for room in rooms:
            room.play()
    plain, ours = (room.times for room in rooms)
    assert all(len(plain[kind]) == len(ours[kind]) for kind in KINDS), "the same hands were played"
    return plain, ours


def report(variants: Sequence[str], count: int, seed: int) -> int:
    """Measure each variant and print what its decisions cost, in µs."""
    table = Table("variant", "decision", "count", "PokerKit's types p50 / p99", "ours p50 / p99")
    for variant in variants:
        plain, ours = measure(variant, count, seed)
        for kind in KINDS:
            if ours[kind]:
                made = f"{len(ours[kind]):,}"
                table.add_row(variant, kind, made, _figures(plain[kind]), _figures(ours[kind]))
    Console().print(table)
    return 0


def _kind(events: Sequence[Event]) -> str:
    told = {type(event) for event in events}
    if Showdown in told:
        return "showdown"
    if PotDistributed in told:
        return "last fold"
    return "street" if StreetAdvanced in told else "action"


def _figures(took_ns: Sequence[int]) -> str:
    p99 = sorted(took_ns)[len(took_ns) * 99 // 100]
    return f"{statistics.median(took_ns) / 1000:,.0f} / {p99 / 1000:,.0f} µs"
