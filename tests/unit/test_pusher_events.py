"""What clients of Pusher get for the events of the hub."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from actors.hub import Hub
from protocol.audience import Told
from protocol.codec import Coding, encode
from protocol.events import Event, Published, SeatOffered, WaitlistUpdate
from protocol.ids import STAFF_PORTAL
from server.framing import framed_event
from server.pusher.channels import Naming, find
from server.pusher.events import frames_of
from tests.support.pusher import OWN, TOLD, ToldAs

NAMED = [pytest.param(told, id=f"{told.event.channel}-{told.names[-1]}") for told in TOLD]


def unframed(frames: bytes) -> list[dict[str, Any]]:
    """Take text frames apart."""
    found = []
    while frames:
        assert frames[0] == 0x81
        length, at = frames[1], 2
        if length == 126:
            length, at = int.from_bytes(frames[2:4], "big"), 4
        found.append(json.loads(frames[at : at + length]))
        frames = frames[at + length :]
    return found


@pytest.mark.parametrize("told", NAMED)
def test_event_is_told_under_its_name_and_the_older_ones(told: ToldAs) -> None:
    found = unframed(frames_of(Naming.PLAIN, told.event))
    assert tuple(one["event"] for one in found) == told.names
    for one in found:
        assert set(one) == {"event", "channel", "data"}
        assert one["channel"] == told.event.channel


@pytest.mark.parametrize("told", NAMED)
def test_data_is_json_text_with_the_fields_of_the_event(told: ToldAs) -> None:
    first, *older = [
        json.loads(one["data"]) for one in unframed(frames_of(Naming.PLAIN, told.event))
    ]
    fields = msgspec.to_builtins(told.event)
    del fields["type"], fields["channel"]
    assert first == fields
    for data in older:
        assert data == fields | {"session_id": "s1"}


def test_private_name_of_a_channel_stands_in_front_of_the_same() -> None:
    [told, *_] = TOLD
    plain = unframed(frames_of(Naming.PLAIN, told.event))
    private = unframed(frames_of(Naming.PRIVATE, told.event))
    assert [one["channel"] for one in private] == ["private-staff-portal"] * 2
    assert [{**one, "channel": ""} for one in private] == [{**one, "channel": ""} for one in plain]


def test_waitlist_update_says_as_its_type_what_has_changed() -> None:
    event = WaitlistUpdate(
        channel=STAFF_PORTAL,
        seq=7,
        change="player_joined",
        player_id="29",
        player_name="Paul",
        table_id="r1",
        position=1,
        timestamp=5,
        entries=[],
    )
    [one] = unframed(frames_of(Naming.PLAIN, event))
    data = json.loads(one["data"])
    assert (one["event"], data["type"], data["position"]) == ("waitlist_update", "player_joined", 1)


def test_player_is_offered_a_seat() -> None:
    event = SeatOffered(channel=OWN, table_id="r1", entry_id="e1", seat_index=3, expires_at=9)
    [one] = unframed(frames_of(Naming.PLAIN, event))
    assert (one["event"], one["channel"]) == ("seat_offered", OWN)
    assert json.loads(one["data"])["seat_index"] == 3


def test_what_a_back_end_publishes_goes_out_as_it_came() -> None:
    event = Published(channel=OWN, name="welcome", data='{"a" : 1}')
    [one] = unframed(frames_of(Naming.PRIVATE, event))
    assert one == {"event": "welcome", "channel": f"private-{OWN}", "data": '{"a" : 1}'}


class Listener:
    def __init__(self, coding: Naming | Coding) -> None:
        self.user_id, self.is_staff, self.coding = "29", False, coding
        self.got: list[bytes] = []

    def enqueue(self, frames: bytes) -> None:
        self.got.append(frames)


def test_event_is_encoded_once_for_all_who_have_its_channel_under_one_name() -> None:
    encoded: list[object] = []

    def counted(coding: object, event: Event) -> bytes:
        encoded.append(coding)
        return framed_event(coding, event)

    hub = Hub(encode=counted)
    codings: list[Naming | Coding] = [*[Naming.PLAIN] * 2, Naming.PRIVATE, *[Coding.JSON] * 2]
    listeners = [Listener(coding) for coding in codings]
    for listener in listeners:
        hub.subscribe(OWN, listener)
    event = Published(channel=OWN, name="welcome", data="{}")
    hub.publish(OWN, [Told(event)])
    assert encoded == [Naming.PLAIN, Naming.PRIVATE, Coding.JSON]
    assert listeners[0].got[0] is listeners[1].got[0]
    assert listeners[3].got[0].endswith(encode(Coding.JSON, event))


@pytest.mark.parametrize(
    "name",
    [
        "",
        "player-",
        "private-player-",
        "private-",
        "room:r1",
        "private-room:r1",
        "presence-staff-portal",
        "private-encrypted-staff-portal",
        "private-private-staff-portal",
        "Staff-Portal",
        "staff-portal ",
        "#server-to-user-",
        "cache-staff-portal",
    ],
)
def test_other_channels_are_not_there(name: str) -> None:
    assert find(name) is None
