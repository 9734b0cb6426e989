"""What integration tests share."""

import pytest

from tests.support.patience import PATIENCE_S


@pytest.fixture(autouse=True)
def patient_cancelling(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give no connection up because a busy machine takes its time to cancel a statement."""
    for module in ("connection", "pool"):
        monkeypatch.setattr(f"persistence.{module}.CANCEL_TIMEOUT_S", PATIENCE_S)
