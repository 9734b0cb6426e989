"""A room's state rebuilt from a hydration and events, written from the protocol alone.

It shares nothing with the server or the Python client, so that all three can be held against each
other.
"""

from __future__ import annotations

import copy
from typing import Any

Message = dict[str, Any]

_STREETS = {3: "flop", 4: "turn", 5: "river"}


class Table:
    """One user's view of a room. `apply` takes the next event; `view` is what is compared."""

    def __init__(self, room: Message) -> None:
        room = copy.deepcopy(room)
        self.seq: int = room["seq"]
        self.me: str = room["me"]["user_id"]
        self.status: str = room["room"]["status"]
        self.host: str = room["room"]["host_id"]
        self.seats: dict[int, Message] = {s["seat_index"]: s for s in room["seats"]}
        self.spectators: dict[str, str] = {
            s["user_id"]: s["display_name"] for s in room["spectators"]
        }
        self.game: Message | None = room["game"]
        self.hand: Message | None = room["hand"]
        self.hole: list[str] | None = room["me"].get("hole_cards")
        self.legal: Message | None = room["me"].get("legal_actions")
        self.recent: list[Message] = room["recent_actions"]
        self.timer: Message | None = room["timer"]

    def view(self) -> Message:
        """Return everything that events tell."""
        hand = self.hand
        return {
            "seq": self.seq,
            "status": self.status,
            "host": self.host,
            "seats": {
                index: {
                    name: seat[name]
                    for name in (
                        "user_id",
                        "display_name",
                        "chips",
                        "bet",
                        "status",
                        "in_hand",
                        "all_in",
                        "shown_cards",
                    )
                }
                for index, seat in self.seats.items()
            },
            "spectators": self.spectators,
            "game": self.game
            and {k: self.game[k] for k in ("id", "status", "hands_played", "current_hand_id")},
            "hand": hand
            and {
                k: hand[k]
                for k in (
                    "id",
                    "number",
                    "phase",
                    "board",
                    "boards",
                    "run_it",
                    "pot",
                    "current_bet",
                    "min_raise_to",
                    "button_seat",
                    "actor_seat",
                )
            },
            "hole": self.hole,
            "legal": self.legal,
            "recent": self.recent,
            "timer": self.timer,
        }

    def apply(self, event: Message) -> None:
        """Apply the next event of the room's channel."""
        if event.get("private"):
            assert event["seq"] <= self.seq, "a private event goes with one that was told"
            if event["type"] == "cards_dealt":
                assert self.hand is not None
                assert self.hand["id"] == event["hand_id"]
                self.hole = event["hole_cards"]
            return
        assert event["seq"] == self.seq + 1, f"{event['seq']} follows {self.seq}"
        getattr(self, f"_{event['type']}")(event)
        self.seq = event["seq"]

    # A hand

    def _hand_started(self, e: Message) -> None:
        assert self.game is not None
        self.game |= {"hands_played": e["number"], "current_hand_id": e["hand_id"]}
        self.timer = self.legal = self.hole = None
        posted = {p["seat_index"]: (p["ante"], p["bet"]) for p in e["posted"]}
        for dealt in e["seats"]:
            seat = self.seats[dealt["seat_index"]]
            ante, bet = posted.get(dealt["seat_index"], (0, 0))
            chips = dealt["chips"] - ante - bet
            seat |= {"chips": chips, "bet": bet, "in_hand": True, "all_in": chips == 0}
        self.hand = {
            "id": e["hand_id"],
            "number": e["number"],
            "phase": "preflop",
            "board": [],
            "boards": [[]],
            "run_it": None,
            "pot": sum(ante + bet for ante, bet in posted.values()),
            "current_bet": max(bet for _, bet in posted.values()),
            "min_raise_to": None,
            "button_seat": e["button_seat"],
            "actor_seat": None,
        }

    def _turn_started(self, e: Message) -> None:
        assert self.hand is not None
        self.hand |= {"actor_seat": e["seat_index"], "min_raise_to": e["legal"]["min_raise_to"]}
        self.legal = e["legal"] if e["user_id"] == self.me else None
        self.timer = {
            "actor_seat": e["seat_index"],
            "started_at": e["at"],
            "deadline": e["deadline"],
            "timebank_remaining": e["timebank_remaining"],
        }

    def _player_action(self, e: Message) -> None:
        assert self.hand is not None
        seat = self.seats[e["seat_index"]]
        seat |= {"chips": e["chips"], "bet": e["bet"], "all_in": e["chips"] == 0}
        if e["action"] == "FOLD":
            seat |= {"in_hand": False, "all_in": False}
        self.hand |= {
            "pot": e["pot"],
            "current_bet": max(self.hand["current_bet"], e["bet"]),
            "actor_seat": None,
        }
        self.timer = self.legal = None
        told = ("hand_id", "seq", "seat_index", "user_id", "action", "amount", "auto", "at")
        self.recent = [*self.recent, {k: e[k] for k in told}][-20:]

    def _street_advanced(self, e: Message) -> None:
        assert self.hand is not None
        phase = _STREETS[len(e["board"])]
        boards = [*self.hand["boards"][: e.get("runout", 1) - 1], e["board"]]
        self.hand |= {"phase": phase, "board": boards[0], "boards": boards}
        self._bets_in(e["pot"])

    def _bets_in(self, pot: int) -> None:
        """Take the street's bets in; what only one player bet goes back."""
        assert self.hand is not None
        self.hand |= {"pot": pot, "current_bet": 0}
        called = sorted(seat["bet"] for seat in self.seats.values())[-2]
        for seat in self.seats.values():
            if seat["bet"] > called:
                seat |= {"chips": seat["chips"] + seat["bet"] - called, "all_in": False}
            seat["bet"] = 0

    def _run_it_offered(self, e: Message) -> None:
        assert self.hand is not None
        self._bets_in(e["pot"])
        asked = self.hand["run_it"] or {"seats": e["seats"], "votes": [], "times": e["times"]}
        self.hand["run_it"] = asked | {"deadline": e["deadline"]}

    def _run_it_voted(self, e: Message) -> None:
        assert self.hand is not None
        votes = self.hand["run_it"]["votes"]
        votes.append({"seat_index": e["seat_index"], "times": e["times"]})
        votes.sort(key=lambda vote: vote["seat_index"])

    def _run_it_decided(self, e: Message) -> None:
        assert self.hand is not None
        self.hand["run_it"] = None

    def _showdown(self, e: Message) -> None:
        pass

    def _pot_distributed(self, e: Message) -> None:
        pass

    def _hand_complete(self, e: Message) -> None:
        assert self.game is not None
        self.game["current_hand_id"] = None
        self.hand = self.hole = self.timer = self.legal = None
        for stack in e["stacks"]:
            self.seats[stack["seat_index"]]["chips"] = stack["chips"]
        for seat in self.seats.values():
            seat |= {"bet": 0, "in_hand": False, "all_in": False, "shown_cards": None}

    # The room

    def _player_approved(self, e: Message) -> None:
        pass

    def _player_seated(self, e: Message) -> None:
        self.seats[e["seat_index"]] = {
            "user_id": e["user_id"],
            "display_name": e["display_name"],
            "chips": e["chips"],
            "bet": 0,
            "status": "active",
            "in_hand": False,
            "all_in": False,
            "shown_cards": None,
        }

    def _player_left_seat(self, e: Message) -> None:
        del self.seats[e["seat_index"]]

    def _spectator_joined(self, e: Message) -> None:
        self.spectators[e["user_id"]] = e["display_name"]

    def _spectator_left(self, e: Message) -> None:
        del self.spectators[e["user_id"]]

    def _player_sat_out(self, e: Message) -> None:
        self.seats[e["seat_index"]]["status"] = "sitting_out"

    def _player_sat_in(self, e: Message) -> None:
        self.seats[e["seat_index"]]["status"] = "active"

    def _chips_added(self, e: Message) -> None:
        self.seats[e["seat_index"]]["chips"] = e["chips"]

    def _game_started(self, e: Message) -> None:
        self.game = {
            "id": e["game_id"],
            "status": "playing",
            "hands_played": 0,
            "current_hand_id": None,
        }
        self.status = "playing"

    def _game_paused(self, e: Message) -> None:
        assert self.game is not None
        self.game["status"] = self.status = "paused"
