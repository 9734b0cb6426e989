"""Any sequence of commands leaves a live session and the database alike."""

from __future__ import annotations

import contextlib
from typing import Any

import hypothesis
import trio
from hypothesis import given
from hypothesis import strategies as st

from persistence.chats import load_session
from protocol.errors import Refused
from tests.support.chat_books import COMMANDS, PLAYER, say
from tests.support.live_chats import comparable, make_people, open_desk
from tests.support.postgres import PostgresForTests


@hypothesis.settings(max_examples=15)
@given(
    steps=st.lists(
        st.tuples(st.sampled_from([PLAYER, "staff", "sue", "bob"]), COMMANDS, st.booleans()),
        max_size=20,
    )
)
def test_the_database_has_the_live_state_after_any_sequence(
    postgres: PostgresForTests, steps: list[tuple[str, Any, bool]]
) -> None:
    async def run(url: str) -> None:
        async with open_desk(url) as desk:
            await make_people(desk.pool, PLAYER, "bob")
            session_id = (await desk.say(PLAYER, say(0))).session.id
            for user_id, command, rest in steps:
                command.session_id = session_id
                desk.now += 7
                with contextlib.suppress(Refused):
                    await desk.do(user_id, command)
                assert desk.crashes == 0
                actor = desk.chats._registry.get(session_id)
                if actor is not None and actor._state is not None:
                    stored = await load_session(desk.pool, session_id)
                    assert stored is not None
                    assert comparable(desk.state(session_id)) == comparable(stored.state)
                if rest:
                    await desk.rest()
            for event in (*desk.staff.got, *desk.player.got):
                told = event.get("message")
                if told is not None:
                    kept = await desk.all(
                        "SELECT message_text FROM chat_messages WHERE id = %s AND player_id = %s "
                        "AND seq = %s",
                        told["id"],
                        told["player_id"],
                        event["seq"],
                    )
                    assert kept == [(told["message_text"],)]

    with postgres.database() as url:
        trio.run(run, url)
