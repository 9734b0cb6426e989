"""Saying something by HTTP, in the words of a reply on the socket."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import httpx

from bench.kill_socket import Dropped
from bench.outside import Message


class HttpSender:
    """Sends players' messages as the portals do.

    Args:
        client: what requests are made with.
        url: says where the server is by now.

    Attributes:
        answered: how many requests were answered.
    """

    def __init__(self, client: httpx.AsyncClient, url: Callable[[], str]) -> None:
        self._client = client
        self._url = url
        self.answered = 0

    async def send(self, player_id: str, token: str, command: Message) -> Message:
        """Make a `chat_send` a request, and its response the reply to it.

        Raises:
            Dropped: there is no server, or it ended before it answered.
        """
        body = {
            "playerId": player_id,
            "messageId": command["message_id"],
            "messageText": command["message_text"],
        }
        for name, field in (("session_id", "sessionId"), ("urgency", "urgency")):
            if name in command:
                body[field] = command[name]
        try:
            response = await self._client.post(
                f"{self._url()}/api/unified-chat/send",
                json=body,
                headers={"Authorization": f"Bearer {token}"},
            )
            told: Message = _snake(response.json())
        except (httpx.HTTPError, json.JSONDecodeError):
            raise Dropped from None
        self.answered += 1
        return {**told, "type": "ok" if response.is_success else "error"}


def _snake(value: Any) -> Any:  # whatever JSON holds
    if isinstance(value, dict):
        return {re.sub("([A-Z])", r"_\1", key).lower(): _snake(one) for key, one in value.items()}
    return [_snake(one) for one in value] if isinstance(value, list) else value
