"""The floor under a command is made of what the server itself would send to the database."""

import msgspec

from bench.scenarios import floor_probe
from game.changes import EventTold, SeatPut
from persistence import journal
from persistence.units import Advance, CommitUnit, encode_batch
from protocol import commands
from tests.support.rooms import HOST, ROOM_ID, Table


def test_it_writes_what_a_command_of_the_load_writes() -> None:
    table = Table(auto_start=False)
    table.sit((HOST, 0))
    table.do(HOST, commands.SitOut())
    (told,) = [row for row in table.wrote if isinstance(row, EventTold)]
    (seat,) = [row for row in table.wrote if isinstance(row, SeatPut)]
    fence = Advance(ROOM_ID, 1, told.seq - 1, told.seq, 1, msgspec.Raw(b"{}"), 0)
    ours = msgspec.json.decode(encode_batch([CommitUnit(fence, list(table.wrote))]))
    probed = msgspec.json.decode(floor_probe.document(fence, told, seat))
    assert probed == ours


def test_its_connection_is_set_as_the_journals_are() -> None:
    assert floor_probe.WRITER_SESSION == journal.WRITER_SESSION
