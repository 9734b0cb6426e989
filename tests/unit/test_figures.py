"""What `/metrics` has, and what operators are told that it has."""

import re
from pathlib import Path
from unittest.mock import MagicMock

from server.collector import Collections
from server.figures import tell_figures
from server.metrics import Metrics

OPERATION = Path(__file__).parents[2] / "docs" / "operation.md"


async def test_the_list_for_operators_is_that_of_a_server() -> None:
    metrics = Metrics()
    metrics.registry.register(Collections())
    tell_figures(metrics, *(MagicMock() for _ in range(5)))
    told = {
        one.name.removeprefix("cardroom_") + ("_total" if one.type == "counter" else "")
        for one in metrics.registry.collect()
    }

    _, rows = OPERATION.read_text(encoding="utf-8").split("| figures, each after `cardroom_` | |\n")
    names = [row.split("|")[1] for row in rows.split("\n\n")[0].splitlines()]
    labels = re.compile(r"by `\w+`(?: and `\w+`)?")
    listed = re.findall(r"`(\w+)`", labels.sub("", "".join(names)))
    assert sorted(listed) == sorted(told)
