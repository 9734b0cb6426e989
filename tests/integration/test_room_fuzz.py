"""Whatever anybody does to a room, its actor and the database agree, and the books balance.

`cardroom bench fuzz` is the long form.
"""

from tests.support.postgres import PostgresForTests
from tests.support.room_fuzz import fuzz

RUNS = 15


def test_whatever_is_done_to_a_room_the_database_agrees(postgres: PostgresForTests) -> None:
    done = fuzz(postgres, RUNS, shrink=False)
    assert done["hands"] > 0, "nothing much was tried"
