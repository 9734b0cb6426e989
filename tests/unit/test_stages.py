"""Where a command's time goes, as `/metrics` tells it."""

import pytest

from persistence.journal import CommittedBatch
from server.metrics import Metrics


def told(metrics: Metrics) -> dict[str, float]:
    lines = metrics.exposition().decode().splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if line.startswith("cardroom_stage_seconds_"))
    return {name.removeprefix("cardroom_stage_seconds_"): float(value) for name, value in pairs}


def test_each_unit_of_a_batch_spent_the_whole_commit() -> None:
    metrics = Metrics()
    metrics.committed(CommittedBatch(units=4, commit_s=0.5, waited_s=1.0, told_s=0.25))
    metrics.committed(CommittedBatch(units=1, commit_s=0.25, waited_s=0.0, told_s=0.125))
    stages = told(metrics)
    assert stages['count{stage="commit"}'] == 5
    assert stages['sum{stage="commit"}'] == pytest.approx(4 * 0.5 + 0.25)
    assert stages['sum{stage="wait"}'] == pytest.approx(1.0)
    assert stages['sum{stage="tell"}'] == pytest.approx(0.375)


def test_deciding_is_counted_by_the_unit() -> None:
    metrics = Metrics()
    metrics.decided(0.5)
    metrics.decided(0.25)
    stages = told(metrics)
    assert stages['count{stage="decide"}'] == 2
    assert stages['sum{stage="decide"}'] == pytest.approx(0.75)
