from __future__ import annotations

import pytest

from cdr_assets.enablex import answers


@pytest.fixture(params=[1, 2, 7, 64, 1000, answers.BATCH_BYTES])
def batch_bytes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Batches of many sizes."""
    monkeypatch.setattr(answers, "BATCH_BYTES", request.param)
    return int(request.param)
