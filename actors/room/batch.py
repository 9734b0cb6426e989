"""The commands that a room decides together: their decision, answers and rows."""

import msgspec
from msgspec import UNSET, Raw

from actors.room.messages import Ask, Message
from game.decision import Decision, TokenGrant
from game.state import RoomState
from game.table import table_state
from persistence.units import Advance, CommandDone, CommitUnit, Row, TokenGranted
from protocol.errors import Refused
from protocol.events import MembershipApproved
from protocol.replies import Joined, Ok, RoleTaken

_encode = msgspec.json.Encoder().encode


class Batch:
    """What grows while messages are decided one after another on one state.

    Args:
        state: the room; deciding changes it.
        now: UTC in milliseconds, one moment for the whole batch.
    """

    __slots__ = (
        "_epoch",
        "_rows",
        "answers",
        "applied",
        "keys",
        "messages",
        "now",
        "out",
        "state",
        "tokens",
    )

    def __init__(self, state: RoomState, now: int) -> None:
        self.state = state
        self.now = now
        self.out = Decision(state)
        self.answers: list[tuple[Ask, Ok | Refused]] = []
        self.messages: list[Message] = []
        self.keys: set[tuple[str, str]] = set()
        self.tokens: dict[str, str] = {}
        self.applied = False
        self._rows: list[Row] = []
        self._epoch = state.epoch

    @property
    def empty(self) -> bool:
        """Whether there is nothing to commit."""
        return self.out.empty and not self._rows

    def add_internal(self, message: Message) -> None:
        """Note a message of the server's own as decided."""
        self.messages.append(message)

    def add(self, ask: Ask, reply: Ok) -> None:
        """Note an ask as decided; one with an id leaves its outcome for whoever sends it again."""
        self.messages.append(ask)
        self.answers.append((ask, reply))
        key = ask.key
        if key is None:
            return
        self.keys.add(key)
        outcome = reply
        if isinstance(reply, Joined | RoleTaken):
            outcome = msgspec.structs.replace(reply, rejoin_token=UNSET)
        user_id, command_id = key
        self._rows.append(
            CommandDone(
                command_id,
                user_id,
                self.state.room_id,
                ask.kind,
                Raw(_encode(outcome)),
                self.now,
            )
        )

    def refuse(self, ask: Ask, refusal: Refused) -> None:
        """Note an ask as refused on what the batch has changed so far."""
        self.messages.append(ask)
        self.answers.append((ask, refusal))

    def grant(
        self, grant: TokenGrant, token: str, token_hash: str, *, life_ms: int, old_life_ms: int
    ) -> None:
        """Give a user a token: its hash is stored, the user alone is told the token itself."""
        self.tokens[grant.user_id] = token
        self._rows.append(
            TokenGranted(
                self.state.room_id,
                grant.user_id,
                grant.role,
                grant.seat_index,
                token_hash,
                self.now,
                self.now + life_ms,
                self.now + old_life_ms,
            )
        )
        for user_id, event in self.out.personal:
            if user_id == grant.user_id and isinstance(event, MembershipApproved):
                event.rejoin_token = token

    def unit(self, unit_id: int) -> CommitUnit:
        """Make the commit unit of the whole batch; call it once."""
        state = self.state
        advance = Advance(
            state.room_id,
            self._epoch,
            self.out.first_seq,
            state.seq,
            unit_id,
            Raw(_encode(table_state(state))),
            state.outside,
        )
        return CommitUnit(advance, [*self.out.writes(), *self._rows])

    def answer_all(self) -> None:
        """Answer every ask of the batch."""
        for ask, reply in self.answers:
            ask.answer(reply)
