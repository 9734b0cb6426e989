"""The commands that a chat session decides together: their decision, answers and rows."""

import msgspec
from msgspec import Raw

from actors.chat.messages import ChatAsk
from actors.chat.services import ChatServices
from game.chat import ChatContext, ChatDecision, ChatState, decide
from persistence.units import ChatAdvance, CommandDone, CommitUnit, Row
from protocol.audience import Told
from protocol.commands import ChatSend, ChatTyping
from protocol.errors import Refused
from protocol.ids import STAFF_PORTAL, UserId, player_channel
from protocol.replies import Ok

_encode = msgspec.json.Encoder().encode


class ChatBatch:
    """What grows while asks are decided one after another on one state.

    Args:
        state: the session; deciding changes it.
        services: what sessions share.
    """

    def __init__(self, state: ChatState, services: ChatServices) -> None:
        self.state = state
        self.out = ChatDecision(state)
        self.asks: list[ChatAsk] = []
        self.applied = False
        self._services = services
        self._now = services.now()
        self._answers: list[tuple[ChatAsk, Ok | Refused]] = []
        self._done: list[Row] = []
        self._online = services.hub.connected(
            player_channel(UserId(state.player_id)), state.player_id
        )

    def decide(self, ask: ChatAsk) -> None:
        """Decide an ask; its answer, a refusal too, is told when what it stands on is committed."""
        ctx = ChatContext(
            now=self._now,
            source=ask.source,
            player_online=self._online,
            staff_name=ask.staff_name,
        )
        seq = self.out.state.seq
        try:
            answer: Ok | Refused = decide(self.state, ask.command, ask.principal, ctx, self.out)
        except Refused as refusal:
            answer = refusal
        command_id = ask.command.command_id
        if command_id is not None and self.state.seq != seq and isinstance(answer, Ok):
            self._done.append(
                CommandDone(
                    command_id,
                    ask.principal.user_id,
                    self.state.session_id,
                    ask.kind,
                    Raw(_encode(answer)),
                    self._now,
                )
            )
        self.asks.append(ask)
        self._answers.append((ask, answer))

    @property
    def doubtful(self) -> bool:
        """Whether somebody who knows the session as it is by now might answer otherwise, although
        nothing is to be committed."""
        return any(
            isinstance(answer, Refused) or not isinstance(ask.command, ChatSend | ChatTyping)
            for ask, answer in self._answers
        )

    def unit(self, unit_id: int) -> CommitUnit:
        """Make the commit unit of the whole batch; call it once."""
        state = self.state
        advance = ChatAdvance(
            state.session_id,
            self.out.first_seq,
            state.seq,
            unit_id,
            state.outside,
            self.out.opens,
            state.player_id,
            state.player_name,
            state.initial_message,
            state.status,
            state.assigned_staff,
            state.assigned_staff_name,
            state.urgency,
            state.unread_by("player"),
            state.unread_by("staff"),
            state.created_at,
            state.updated_at,
            state.waiting_since,
            state.first_reply_at,
            state.last_message_at,
            state.resolved_at,
        )
        return CommitUnit(advance, [*self.out.changes, *self._done])

    def apply(self) -> None:
        """Tell both sides what is committed by now, and answer every ask."""
        self.applied = True
        hub = self._services.hub
        if self.out.for_staff:
            hub.publish(STAFF_PORTAL, [Told(event) for event in self.out.for_staff])
        if self.out.for_player:
            channel = player_channel(UserId(self.state.player_id))
            hub.publish(channel, [Told(event) for event in self.out.for_player])
        for ask, answer in self._answers:
            ask.answer(answer)
