"""Who is there for a chat: staff hear of players, players hear whether staff are there.

Nothing of it is kept. Whoever comes later asks: `chat_inbox` and `chat_history` say how it stands.
"""

from actors.hub import Hub
from protocol.audience import Told
from protocol.chat_events import ChatOnline
from protocol.ids import STAFF_PORTAL, UserId, player_channel, player_of
from server.chat_desk import ChatDesk
from server.clock import now_ms


class ChatPresence:
    """Tells `chat-online`.

    Args:
        hub: knows who has sockets.
        desk: knows the conversations that are open.
    """

    def __init__(self, hub: Hub, desk: ChatDesk) -> None:
        self._hub = hub
        self._desk = desk

    def note(self, channel: str, user_id: str, present: bool) -> None:
        """Note that a user's first socket in a channel came, or the last one went."""
        if channel == STAFF_PORTAL:
            # The first to come, or the last to leave.
            if len(self._hub.users(STAFF_PORTAL)) == present:
                self._tell_players(present)
        elif player_of(channel) == user_id:
            self._tell_staff(user_id, present)

    def _tell_staff(self, player_id: str, online: bool) -> None:
        session_id = self._desk.open_session(player_id)
        if session_id is not None:
            told = ChatOnline(online=online, session_id=session_id, player_id=player_id)
            self._publish(STAFF_PORTAL, told)

    def _tell_players(self, online: bool) -> None:
        for player_id, _ in self._desk.open_sessions():
            self._publish(player_channel(UserId(player_id)), ChatOnline(online=online))

    def _publish(self, channel: str, told: ChatOnline) -> None:
        told.channel = channel
        told.at = now_ms()
        self._hub.publish(channel, [Told(told)])
