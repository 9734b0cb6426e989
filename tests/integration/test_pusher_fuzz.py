"""Whatever clients of Pusher's send: their socket stays, and they hear nothing of others'."""

from __future__ import annotations

import json

import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from protocol.audience import Told
from protocol.events import SeatOffered
from protocol.ids import STAFF_PORTAL
from tests.integration.pusher_harness import world
from tests.integration.transport_harness import TEXT, masked
from tests.support.patience import PATIENCE_S
from tests.support.pusher import APP, OWN

CHANNELS = [
    OWN,
    STAFF_PORTAL,
    f"private-{OWN}",
    "private-staff-portal",
    "#server-to-user-29",
    "player-30",
    "room:r1",
    "",
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)
CHANNEL = st.sampled_from(CHANNELS) | st.text(max_size=12)
DATA = (
    st.fixed_dictionaries(
        {},
        optional={
            "channel": CHANNEL | JSON,
            "auth": st.sampled_from([APP.key, f"{APP.key}:", "x"]) | JSON,
            "channel_data": JSON,
        },
    )
    | JSON
)
EVENTS = ["pusher:ping", "pusher:pong", "pusher:subscribe", "pusher:unsubscribe", "client-x"]
MESSAGE = st.fixed_dictionaries(
    {"event": st.sampled_from(EVENTS) | st.text(max_size=8)},
    optional={"channel": CHANNEL, "data": DATA | DATA.map(json.dumps), "more": JSON},
)
SUBSCRIBE = st.fixed_dictionaries(
    {
        "event": st.just("pusher:subscribe"),
        "data": st.fixed_dictionaries(
            {"channel": st.sampled_from(CHANNELS), "auth": st.sampled_from(["", f"{APP.key}:"])}
        ),
    }
)


@given(messages=st.lists(SUBSCRIBE | MESSAGE | JSON, max_size=12), signed_in=st.booleans())
@settings(max_examples=150)
async def test_outsider_is_told_nothing_whatever_they_send(
    messages: list[object], signed_in: bool
) -> None:
    """Signed in or not as somebody else, nobody gets into a player's or the staff's channel."""
    with capture_logs() as logs, trio.fail_after(PATIENCE_S):
        async with world() as club:
            outsider = await club.come("other" if signed_in else None)
            for message in messages:
                await outsider.peer.send(masked(TEXT, json.dumps(message).encode()))
            for channel in (OWN, STAFF_PORTAL):
                secret = SeatOffered(
                    channel=channel, table_id="r1", entry_id="e", seat_index=1, expires_at=1
                )
                club.hub.publish(channel, [Told(secret)])
            await outsider.send("pusher:unsubscribe", {"channel": "the end"})
            await outsider.send("pusher:signin", {"token": "nobody's"})
            while (told := await outsider.told())["event"] != "pusher:error" or (
                told["data"]["code"] != 4009
            ):
                assert told["event"] != "seat_offered"
    assert not [line for line in logs if line["log_level"] == "error"]
