"""At most once: the first outcome of each command with an id."""

from collections import OrderedDict

import msgspec
from msgspec import UNSET

from actors.refusals import unavailable, used_otherwise
from actors.room.messages import Ask
from actors.room.services import RoomServices
from persistence import events
from persistence.errors import Unavailable
from protocol.errors import Refused
from protocol.replies import REPLIES, Joined, Ok, RoleTaken

REMEMBERED_OUTCOMES = 256


class Outcomes:
    """A room's outcomes: the last ones in memory, all that changed something in the database.

    Refusals are only remembered; after a restart a refused command is decided anew.
    """

    def __init__(self, room_id: str, services: RoomServices) -> None:
        self._room_id = room_id
        self._services = services
        self._remembered: OrderedDict[tuple[str, str], tuple[str, Ok | Refused]] = OrderedDict()

    def remember(self, ask: Ask, outcome: Ok | Refused) -> None:
        """Keep a command's outcome, if it has an id."""
        if ask.key is not None:
            self._remembered[ask.key] = (ask.kind, outcome)
            if len(self._remembered) > REMEMBERED_OUTCOMES:
                self._remembered.popitem(last=False)

    def again(self, ask: Ask) -> Ok | Refused | None:
        """Return what a command is answered that was sent before, as far as is remembered."""
        found = None if ask.key is None else self._remembered.get(ask.key)
        return None if found is None else self._for(ask, *found)

    async def of_refused(self, ask: Ask, refusal: Refused) -> Ok | Refused:
        """Return the answer to a command with an id that is refused now: the outcome that it had
        in an earlier life, or the refusal."""
        command_id = ask.command.command_id
        assert command_id is not None
        try:
            found = await events.outcome_of(self._services.pool, command_id, ask.principal.user_id)
        except Unavailable as away:
            return unavailable(away)
        if found is None:
            self.remember(ask, refusal)
            return refusal
        kind, room_id, stored = found
        if kind != ask.kind or room_id != self._room_id:
            return used_otherwise()
        reply = msgspec.json.decode(stored, type=REPLIES[type(ask.command)])
        assert isinstance(reply, Ok)
        self.remember(ask, reply)
        return self._for(ask, kind, reply)

    def _for(self, ask: Ask, kind: str, outcome: Ok | Refused) -> Ok | Refused:
        if kind != ask.kind:
            return used_otherwise()
        if isinstance(outcome, Joined | RoleTaken):
            token = self._services.known_token(self._room_id, ask.principal.user_id)
            return msgspec.structs.replace(outcome, rejoin_token=UNSET if token is None else token)
        return outcome
